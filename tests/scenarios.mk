# make scenarios: every scenario that ships, each on a cluster of its own, as a
# table (tests/soak/scenarios.sh). ONLY="a b": these. KEEP=1: keeps what the
# good ones leave, too.
export ONLY KEEP
.PHONY: scenarios
scenarios: $(BUILD)/bastide
	@tests/soak/scenarios.sh $(abspath $(BUILD)/bastide) $(abspath $(BUILD)/scenarios)
