# make model: checks the formal model of the regional quorum (SPIN), and that its
# planted bugs are found. FULL=1 for larger bounds. Included by the Makefile.
.PHONY: model
model:
	@deploy/install-deps.sh build test
	@consensus/model/check.sh $(BUILD)/model
