# The failover controller with planted bugs (failover/canary.h): each must be
# caught by its unit tests. The simulator plants them, too (sim.mk).

FAILOVER_CANARIES   = IGNORE_PRIORITY ONE_WORD NO_HYSTERESIS FAILBACK_BEHIND
FAILOVER_CANARY_BIN = $(foreach c,$(FAILOVER_CANARIES),$(foreach t,test_plan test_health test_scenarios,$(BUILD)/tests/failover/$(c)/$(t)))

define failover_canary_rules
$(BUILD)/failover-canary/$(1)/%.o: failover/%.c
	@mkdir -p $$(@D)
	$$(CC) $$(ALL_CFLAGS) -DFAILOVER_CANARY=FAILOVER_CANARY_$(1) -MMD -MP -c $$< -o $$@
$(BUILD)/tests/failover/$(1)/%: $(BUILD)/obj/tests/unit/failover/%.o $(patsubst failover/%.c,$(BUILD)/failover-canary/$(1)/%.o,$(wildcard failover/*.c)) $(call lib_of,node/base)
	@mkdir -p $$(@D)
	$$(CC) $$(ALL_LDFLAGS) -o $$@ $$^ -lcmocka
endef
$(foreach c,$(FAILOVER_CANARIES),$(eval $(call failover_canary_rules,$(c))))

.PHONY: failover-canary
failover-canary: $(FAILOVER_CANARY_BIN)
	tests/failover-canary.sh $(BUILD)/tests/failover

-include $(shell [ -d $(BUILD)/failover-canary ] && find $(BUILD)/failover-canary -name '*.d')
