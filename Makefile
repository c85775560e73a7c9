# Bastide. `make help` lists what there is to do.
#
# Every folder of MODULES becomes one static library, made of all its .c files.
# A test of tests/unit/<module>/ links only what that module may use, so that
# the link line proves the direction of includes.

CC      ?= gcc
BUILD   ?= build
SANITIZE ?=

CFLAGS_COMMON = -std=gnu11 -D_GNU_SOURCE -I. -I$(BUILD) -g -fno-omit-frame-pointer \
	-fstack-protector-strong -fPIE \
	-Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wvla -Wpointer-arith -Wwrite-strings
ifeq ($(SANITIZE),)
CFLAGS_MODE = -O2 -D_FORTIFY_SOURCE=2
else
CFLAGS_MODE = -O1 -fsanitize=$(SANITIZE) -fno-sanitize-recover=all
LDFLAGS_MODE = -fsanitize=$(SANITIZE)
endif
ALL_CFLAGS  = $(CFLAGS_COMMON) $(CFLAGS_MODE) $(CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now $(LDFLAGS_MODE) $(LDFLAGS)

# Modules in link order: a module may use those to its right (and below).
MODULES = node/cli node/server node/govern node/scenario node/history node/cosmos node/auth node/http node/catalog node/shard node/query node/inject node/json \
	node/store node/config replication failover consensus node/crypt node/base

# What a unit test of a module links, besides the module itself.
USES_node/base    =
USES_consensus    = node/base
USES_failover     = node/base
USES_replication  = consensus failover node/base
USES_node/crypt   = node/base
USES_node/json    = node/base
USES_node/inject  = node/json node/base
USES_node/query   = node/json node/base
USES_node/store   = node/crypt node/base
USES_node/config  = node/crypt node/base
USES_node/catalog = node/json node/crypt node/base
USES_node/scenario = node/inject node/catalog node/json node/crypt node/base
USES_node/history = node/catalog node/json node/crypt node/base
USES_node/auth    = node/catalog node/json node/crypt node/base
USES_node/shard   = replication node/query node/catalog node/json node/store consensus node/crypt node/base
USES_node/govern  = node/shard node/query node/catalog node/json node/store replication failover consensus node/crypt node/base
USES_node/http    = replication node/crypt node/base consensus failover
USES_node/cosmos  = node/auth node/http node/catalog node/shard node/query node/inject node/json node/store replication failover consensus node/crypt node/base
USES_node/server  = $(filter-out node/cli node/server,$(MODULES))
USES_node/cli     = $(filter-out node/cli,$(MODULES))

LIBS_node/base    =
LIBS_consensus    =
LIBS_failover     =
LIBS_replication  = -lev -lssl -lcrypto -lprotobuf-c
LIBS_node/crypt   = -lssl -lcrypto
LIBS_node/json    = -lm
LIBS_node/inject  = -lm
LIBS_node/query   = -lm
LIBS_node/store   = -llmdb -lcrypto -lpthread
LIBS_node/config  = -lyaml -lcrypto
LIBS_node/catalog = -lcrypto -lm
LIBS_node/scenario = -lyaml -lcrypto -lm
LIBS_node/history = -lcrypto -lm
LIBS_node/auth    = -lcrypto -lm
LIBS_node/shard   = -llmdb -lcrypto -lpthread -lm
LIBS_node/govern  = $(LIBS_ALL)
LIBS_node/http    = -lev -lssl -lcrypto -lprotobuf-c -lhttp_parser
LIBS_node/cosmos  = $(LIBS_ALL)
LIBS_node/server  = $(LIBS_ALL)
LIBS_node/cli     = $(LIBS_ALL)
LIBS_ALL          = -lev -lssl -lcrypto -lprotobuf-c -lhttp_parser -llmdb -lyaml -lpthread -lm

lib_of = $(BUILD)/lib/$(subst /,_,$(1)).a
LIBS   = $(foreach m,$(MODULES),$(call lib_of,$(m)))

.PHONY: all
all: $(BUILD)/bastide

# -- protobuf ---------------------------------------------------------------
PROTOS   = $(wildcard replication/wire/*.proto)
PROTO_C  = $(PROTOS:%.proto=$(BUILD)/%.pb-c.c)
PROTO_H  = $(PROTOS:%.proto=$(BUILD)/%.pb-c.h)
$(BUILD)/%.pb-c.c $(BUILD)/%.pb-c.h: %.proto
	@mkdir -p $(BUILD)
	protoc-c --c_out=$(BUILD) $<
replication_GENERATED = $(PROTO_C:$(BUILD)/%.c=$(BUILD)/obj/%.o)
$(BUILD)/obj/%.pb-c.o: $(BUILD)/%.pb-c.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -Wno-missing-prototypes -MMD -MP -c $< -o $@

# -- the scenarios of deploy/scenarios, as strings (node/cli/shipped.h) ----------
SCENARIOS = $(sort $(wildcard deploy/scenarios/*.yaml))
node/cli_GENERATED = $(BUILD)/obj/node/cli/shipped.o
$(BUILD)/node/cli/shipped.c: $(SCENARIOS) deploy/scenarios Makefile
	@mkdir -p $(@D)
	@{ echo '#include "node/cli/shipped.h"'; \
	echo 'const struct shipped_scenario shipped_scenarios[] = {'; \
	for f in $(SCENARIOS); do \
		echo "{\"$$(basename $$f .yaml)\","; \
		sed 's/\\/\\\\/g; s/"/\\"/g; s/^/"/; s/$$/\\n"/' $$f; \
		echo '},'; \
	done; \
	echo '{NULL, NULL}};'; } | sed '1a #include <stddef.h>' > $@
$(BUILD)/obj/node/cli/shipped.o: $(BUILD)/node/cli/shipped.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

# -- objects and libraries --------------------------------------------------
$(BUILD)/obj/%.o: %.c | $(PROTO_H)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

define module_rules
$(1)_OBJ = $$(patsubst %.c,$$(BUILD)/obj/%.o,$$(filter-out node/cli/main.c,$$(wildcard $(1)/*.c $(1)/*/*.c))) $$($(1)_GENERATED)
ifneq ($(1),replication)
$(1)_OBJ := $$(patsubst %.c,$$(BUILD)/obj/%.o,$$(filter-out node/cli/main.c,$$(wildcard $(1)/*.c))) $$($(1)_GENERATED)
endif
$(call lib_of,$(1)): $$($(1)_OBJ)
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(AR) rcs $$@ $$^
endef
$(foreach m,$(MODULES),$(eval $(call module_rules,$(m))))

$(BUILD)/bastide: $(BUILD)/obj/node/cli/main.o $(LIBS)
	$(CC) $(ALL_LDFLAGS) -o $@ $< -Wl,--start-group $(LIBS) -Wl,--end-group $(LIBS_ALL)

# -- unit tests: tests/unit/<module>/test_*.c, one program each ---------------
UNIT_SRC = $(wildcard tests/unit/*/test_*.c tests/unit/*/*/test_*.c)
UNIT_BIN = $(UNIT_SRC:%.c=$(BUILD)/%)
unit_module = $(patsubst tests/unit/%/,%,$(dir $(1)))
# What the tests of a module share beyond headers: tests/lib/*.c.
TESTLIB_node/shard = tests/lib/shard_cluster.c
TESTLIB_node/govern = tests/lib/shard_cluster.c
define unit_rules
$(BUILD)/$(1:%.c=%): $(BUILD)/obj/$(1:%.c=%.o) $(patsubst %.c,$(BUILD)/obj/%.o,$(TESTLIB_$(call unit_module,$(1)))) $(foreach m,$(call unit_module,$(1)) $(USES_$(call unit_module,$(1))),$(call lib_of,$(m)))
	@mkdir -p $$(@D)
	$$(CC) $$(ALL_LDFLAGS) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $(LIBS_$(call unit_module,$(1))) -lcmocka
endef
$(foreach t,$(UNIT_SRC),$(eval $(call unit_rules,$(t))))

# What only tests run is compiled sooner rather than better.
$(BUILD)/obj/tests/unit/%.o $(BUILD)/fence-open/%.o: CFLAGS_MODE := $(patsubst -O2,-O1,$(CFLAGS_MODE))

.PHONY: unit
unit: $(UNIT_BIN)
	@tests/run.sh $(UNIT_BIN)

-include $(wildcard $(BUILD)/tests.mk) $(wildcard tests/*.mk) $(wildcard deploy/*.mk)
-include $(shell [ -d $(BUILD)/obj ] && find $(BUILD)/obj -name '*.d')

.PHONY: clean
clean:
	rm -rf $(BUILD)
