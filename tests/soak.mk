# Everything that can fail, at random, in a real cluster under the SDK, everything
# acknowledged compared (tests/soak/regions.mjs):
#
#     make soak MINUTES=30 LEVEL=strong|...|any|changing SEED=7 SHAPE=3x1|3x3 LATENCY=40ms
export ROUNDS MINUTES LEVEL SEED SHAPE LATENCY FAULTS KEEP
.PHONY: soak
soak: $(BUILD)/bastide
	@deploy/install-deps.sh sdk
	@$(NODE) tests/soak/regions.mjs
