# The simulator: of the consensus core, of whole shards, of whole sites.
#
#   make sim SEEDS=500                that many seeds over all shapes, as TAP, on all cores
#   make sim REPLICA=site             only sites (raft: the bare core; shard: one shard)
#   make sim REPLICA=site SEED=17 SHAPE=3x3 V=1
#                                     one seed again, with its story; V=2 with every decision
#   make sim FROM=1000                other seeds
#   make canary                       every planted bug must be caught
#   make sim-selftest                 the checkers, with histories made by hand
#
# How many seeds a commit has survived is kept in build/sim-ledger, and printed.

SIM_SRC    = $(filter-out tests/sim/plant.c,$(wildcard tests/sim/*.c tests/sim/site/*.c))
SIM_OBJ    = $(SIM_SRC:%.c=$(BUILD)/obj/%.o)
SIM_BIN    = $(BUILD)/tests/sim/sim
SIM_LEDGER = $(BUILD)/sim-ledger
SEEDS     ?= 100
FROM      ?= 1
REPLICA   ?= raft shard site
SIM_ARGS   = $(if $(SEED),--seed $(SEED),--seeds $(SEEDS) --from $(FROM) --jobs $(JOBS)) \
	$(if $(SHAPE),--shape $(SHAPE)) $(if $(V),$(if $(filter 2,$(V)),-vv,-v))
SIM_USES   = node/history node/govern $(USES_node/govern)
SIM_LINK   = -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS_node/shard) $(LIBS_replication)

$(SIM_BIN): $(SIM_OBJ) $(foreach m,$(SIM_USES),$(call lib_of,$(m)))
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(SIM_LINK)

.PHONY: sim
sim: $(SIM_BIN)
	@tests/sim/run.sh $(SIM_LEDGER) "$(REPLICA)" $(SIM_BIN) $(SIM_ARGS)

# -- planted bugs: the modules that have some are built once more, with all of
# them; which one is chosen when the program runs (plant.h).
CANARY_BIN    = $(BUILD)/tests/sim/sim-canary
CANARY_MODULES = consensus node/shard failover node/govern
CANARY_SRC    = $(wildcard $(CANARY_MODULES:%=%/*.c))
CANARY_FLAGS  = -DSIM_PLANTS -include tests/sim/plant.h -I$(BUILD)/canary
CANARY_LIBS   = $(foreach m,$(filter-out $(CANARY_MODULES),$(SIM_USES)),$(call lib_of,$(m)))
CANARY_OBJ    = $(patsubst %.c,$(BUILD)/canary/%.o,$(CANARY_SRC) tests/sim/plant.c tests/sim/main.c \
	tests/sim/world.c) \
	$(filter-out %/sim/main.o %/sim/world.o,$(SIM_OBJ))
CANARY_HEADERS = $(CANARY_MODULES:%=%/canary.h)

$(BUILD)/canary/tests/sim/plants.inc: $(CANARY_HEADERS)
	@mkdir -p $(@D)
	@for m in RAFT:consensus SHARD:node/shard FAILOVER:failover GOVERN:node/govern; do \
		p=$${m%%:*} n=0; \
		for c in $$(sed -n "s/^ *$${p}_CANARY_\([A-Z_]*\),.*/\1/p" $${m#*:}/canary.h); do \
			[ $$c = NONE ] || echo "{\"$${p}_$$c\", &sim_planted_$$(echo $$p | tr A-Z a-z), $$n},"; \
			n=$$((n + 1)); \
		done; \
	done > $@

$(BUILD)/canary/%.o: %.c $(BUILD)/canary/tests/sim/plants.inc | $(PROTO_H)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(CANARY_FLAGS) -MMD -MP -c $< -o $@

$(CANARY_BIN): $(CANARY_OBJ) $(CANARY_LIBS)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(SIM_LINK)

.PHONY: canary
canary: $(CANARY_BIN)
	tests/sim/canary.sh $(CANARY_BIN)

# -- the checkers themselves
SELFTEST_SRC = $(wildcard tests/sim/selftest/test_*.c)
SELFTEST_BIN = $(SELFTEST_SRC:%.c=$(BUILD)/%)
$(BUILD)/tests/sim/selftest/%: $(BUILD)/obj/tests/sim/selftest/%.o \
		$(BUILD)/obj/tests/sim/site/history.o $(BUILD)/obj/tests/sim/site/judge.o \
		$(foreach m,node/history $(USES_node/history),$(call lib_of,$(m)))
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group \
		$(LIBS_node/catalog) $(LIBS_node/crypt) -lcmocka

.PHONY: sim-selftest
sim-selftest: $(SELFTEST_BIN)
	@tests/run.sh $(SELFTEST_BIN)

-include $(shell [ -d $(BUILD)/canary ] && find $(BUILD)/canary -name '*.d')
