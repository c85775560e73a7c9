# Walls of fences that a test can open (FENCE_OPENABLE of failover/fence.h), to
# see each hold alone: the links' own test, and a whole node, which opens those
# that TEST_FENCE_OPEN names (tests/lib/fence_open.c). No other build has that.

FENCE_MODULES = failover replication node/server node/cosmos
FENCE_LIB_OBJ = $(foreach m,$(1),$(patsubst $(BUILD)/obj/%,$(BUILD)/fence-open/%,$(filter-out $($(m)_GENERATED),$($(m)_OBJ))) $($(m)_GENERATED))
FENCE_OPEN_OBJ = $(BUILD)/fence-open/tests/lib/fence_open.o
FENCE_TEST_BIN = $(BUILD)/tests/fence/test_links_fence
FENCE_NODE_BIN = $(BUILD)/tests/fence/bastide

$(BUILD)/fence-open/%.o: %.c | $(PROTO_H)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -DFENCE_OPENABLE -MMD -MP -c $< -o $@

$(FENCE_TEST_BIN): $(BUILD)/fence-open/tests/unit/replication/test_links_fence.o $(FENCE_OPEN_OBJ) \
		$(call FENCE_LIB_OBJ,replication failover) $(call lib_of,consensus) $(call lib_of,node/base)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS_replication) -lcmocka

FENCE_LIBS = $(foreach m,$(filter-out $(FENCE_MODULES),$(MODULES)),$(call lib_of,$(m)))
$(FENCE_NODE_BIN): $(BUILD)/obj/node/cli/main.o $(FENCE_OPEN_OBJ) $(call FENCE_LIB_OBJ,$(FENCE_MODULES)) $(FENCE_LIBS)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(FENCE_LIBS) -Wl,--end-group $(LIBS_ALL)

-include $(shell [ -d $(BUILD)/fence-open ] && find $(BUILD)/fence-open -name '*.d')
