# Regions of a real cluster killed, cut, switched and returned at random under the
# SDK, everything acknowledged compared (tests/soak/regions.mjs):
#
#     make soak ROUNDS=10 LEVEL=strong|...|any|changing SEED=7 SHAPE=3x1|3x3 LATENCY=40ms
export ROUNDS LEVEL SEED SHAPE LATENCY FAULTS KEEP
.PHONY: soak
soak: $(BUILD)/bastide
	@deploy/install-deps.sh sdk
	@$(NODE) tests/soak/regions.mjs
