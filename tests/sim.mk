# The simulator of the consensus core, and of whole shards.
#
#   make sim SEEDS=500           that many seeds over all shapes, as TAP
#   make sim SEED=17 SHAPE=3x3   one seed again; V=1 prints the trace
#   make sim FROM=1000           other seeds
#   make sim REPLICA=shard       whole shards in place of the bare core
#   make canary                  every planted bug must be caught
#
# A planted bug (consensus/canary.h) is compiled in with -DRAFT_CANARY=...,
# from the same sources.

SIM_SRC    = $(wildcard tests/sim/*.c tests/sim/site/*.c)
SIM_OBJ    = $(SIM_SRC:%.c=$(BUILD)/obj/%.o)
SIM_BIN    = $(BUILD)/tests/sim/sim
SEEDS     ?= 100
FROM      ?= 1
SIM_ARGS   = $(if $(SEED),--seed $(SEED),--seeds $(SEEDS) --from $(FROM)) \
	$(if $(SHAPE),--shape $(SHAPE)) $(if $(V),-v)
SIM_USES   = node/govern $(USES_node/govern)
SIM_LINK   = -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS_node/shard) $(LIBS_replication)

$(SIM_BIN): $(SIM_OBJ) $(foreach m,$(SIM_USES),$(call lib_of,$(m)))
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(SIM_LINK)

.PHONY: sim
sim: $(SIM_BIN)
	$(if $(filter shard,$(REPLICA)),,$(SIM_BIN) $(SIM_ARGS))
	$(if $(filter raft,$(REPLICA)),,$(SIM_BIN) --replica shard $(SIM_ARGS))

CANARIES   = VOTE_ANY_LOG FORGET_VOTE LONG_LEASE COUNT_OLD_TERM ACK_BEFORE_SYNC \
	MAJORITY_ONLY READ_AT_ONCE SKIP_JOINT \
	AMNESIAC_VOTES AMNESIAC_ACKS AMNESIA_ENDS_EARLY \
	VISIBLE_UNVERIFIED ANNOUNCE_NO_LEASE REGION_PAST_CONFIG
CANARY_BIN = $(CANARIES:%=$(BUILD)/tests/sim/canary_%)

define canary_rules
$(BUILD)/canary/$(1)/%.o: consensus/%.c
	@mkdir -p $$(@D)
	$$(CC) $$(ALL_CFLAGS) -DRAFT_CANARY=RAFT_CANARY_$(1) -MMD -MP -c $$< -o $$@
$(BUILD)/tests/sim/canary_$(1): $(patsubst consensus/%.c,$(BUILD)/canary/$(1)/%.o,$(wildcard consensus/*.c)) $(SIM_OBJ) $(foreach m,$(filter-out consensus,$(SIM_USES)),$(call lib_of,$(m)))
	@mkdir -p $$(@D)
	$$(CC) $$(ALL_LDFLAGS) -o $$@ $$(filter %.o,$$^) $$(SIM_LINK)
endef
$(foreach c,$(CANARIES),$(eval $(call canary_rules,$(c))))

# The same for node/shard/canary.h, with -DSHARD_CANARY=...
SHARD_CANARIES = FORGET_OPS READ_ANYWHERE ANSWER_EARLY REFUSE_EARLY
CANARY_BIN += $(SHARD_CANARIES:%=$(BUILD)/tests/sim/canary_SHARD_%)

define shard_canary_rules
$(BUILD)/canary/SHARD_$(1)/%.o: node/shard/%.c
	@mkdir -p $$(@D)
	$$(CC) $$(ALL_CFLAGS) -DSHARD_CANARY=SHARD_CANARY_$(1) -MMD -MP -c $$< -o $$@
$(BUILD)/tests/sim/canary_SHARD_$(1): $(patsubst node/shard/%.c,$(BUILD)/canary/SHARD_$(1)/%.o,$(wildcard node/shard/*.c)) $(SIM_OBJ) $(foreach m,$(filter-out node/shard,$(SIM_USES)),$(call lib_of,$(m)))
	@mkdir -p $$(@D)
	$$(CC) $$(ALL_LDFLAGS) -o $$@ $$(filter %.o,$$^) $$(SIM_LINK)
endef
$(foreach c,$(SHARD_CANARIES),$(eval $(call shard_canary_rules,$(c))))

.PHONY: canary
canary: $(CANARY_BIN)
	tests/sim/canary.sh $(CANARY_BIN)

-include $(shell [ -d $(BUILD)/canary ] && find $(BUILD)/canary -name '*.d')
