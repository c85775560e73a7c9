# What people type. Included by the Makefile.

JOBS       ?= $(shell nproc)
# System tests wait more than they compute: a third to a half of their time is
# work of the processor.
TEST_JOBS  ?= $(shell expr $(JOBS) + 1)
CHECK_SEEDS ?= 500
CHECK_SHARD_SEEDS ?= 500
CHECK_SITE_SEEDS ?= 1000
DIR        ?= demo
NODE       ?= $(firstword $(wildcard build-node/node_modules/node/bin/node) node)
FUZZ_SECONDS ?= 20

.PHONY: help deps deps-test demo check system sdk asan fuzz fuzz-programs

help:
	@echo 'make               build $(BUILD)/bastide'
	@echo 'make demo          install what is missing, build, run a cluster of three regions'
	@echo '                   in ./demo until Ctrl-C   (DIR=folder, ARGS="--base-port 9000 ...")'
	@echo 'make image         build the container images bastide and bastide-gateway; needs Docker'
	@echo '                   (WITH=observability: and bastide-prometheus)'
	@echo 'make compose-up    run a cluster of three regions in containers; ./cluster gets its keys'
	@echo 'make cross-arm64   build-arm64/bastide, on a machine of another kind'
	@echo 'make check         install what is missing, build, run every test'
	@echo 'make unit          unit tests only'
	@echo 'make sim           simulated clusters            (SEEDS=100, REPLICA=raft, shard or site)'
	@echo 'make model         the formal model of elections and acknowledgement (FULL=1)'
	@echo 'make system sdk    tests with real processes; sdk: with the official SDK'
	@echo 'make asan          unit tests under address and undefined-behaviour sanitizers'
	@echo 'make fuzz          every fuzzer for a while      (FUZZ_SECONDS=20)'
	@echo 'make soak          half an hour of random faults under the SDK   (MINUTES, LEVEL, SEED, SHAPE, LATENCY)'
	@echo 'make scenarios     every fault scenario that ships, on a cluster of its own (ONLY="a b")'
	@echo 'make bench         measure, beside etcd'
	@echo 'make deps          only install what building needs'
	@echo 'make clean         remove $(BUILD)'

deps:
	@deploy/install-deps.sh build
# Without Node.js, the SDK, Prometheus or Docker the tests that need them are
# skipped, loudly.
deps-test:
	@deploy/install-deps.sh build test
	@deploy/install-deps.sh sdk || true
	@deploy/install-deps.sh observability || true
	@deploy/install-deps.sh docker || true
	@deploy/install-deps.sh manifests || true

demo: deps
	@$(MAKE) --no-print-directory -s -j$(JOBS) $(BUILD)/bastide
	@exec $(BUILD)/bastide demo --dir $(DIR) $(ARGS)

SYSTEM_TESTS = $(sort $(wildcard tests/system/test_*.sh tests/system/test_*.mjs))
SDK_TESTS    = $(sort $(wildcard tests/sdk/test_*.mjs))

# Variables that tests read. Not BASTIDE_*: that is the node's.
export TEST_BASTIDE = $(abspath $(BUILD)/bastide)
export NODE

check: deps-test
	@$(MAKE) --no-print-directory -s -j$(JOBS) $(BUILD)/bastide check-programs
	@[ "$$(id -u)" -ne 0 ] || { deploy/docker/engine.sh && deploy/docker/image.sh; } || true
	@tests/run.sh --jobs $(TEST_JOBS) $(UNIT_BIN) $(FENCE_TEST_BIN) $(SELFTEST_BIN) "$(SIM_BIN) --jobs $(JOBS) --seeds $(CHECK_SEEDS)" \
		"$(SIM_BIN) --jobs $(JOBS) --replica shard --seeds $(CHECK_SHARD_SEEDS)" \
		"$(SIM_BIN) --jobs $(JOBS) --replica site --seeds $(CHECK_SITE_SEEDS)" \
		"tests/sim/canary.sh $(CANARY_BIN)" \
		"tests/failover-canary.sh $(BUILD)/tests/failover" \
		"consensus/model/check.sh $(BUILD)/model" \
		$(SYSTEM_TESTS) $(SDK_TESTS)

.PHONY: check-programs
check-programs: $(UNIT_BIN) $(FENCE_TEST_BIN) $(FENCE_NODE_BIN) $(SIM_BIN) $(CANARY_BIN) $(SELFTEST_BIN) $(FAILOVER_CANARY_BIN) $(NEXT_BIN)

system: $(BUILD)/bastide $(NEXT_BIN) $(FENCE_NODE_BIN)
	@tests/run.sh --jobs $(TEST_JOBS) $(SYSTEM_TESTS)
sdk: $(BUILD)/bastide
	@deploy/install-deps.sh sdk || true
	@tests/run.sh --jobs $(TEST_JOBS) $(SDK_TESTS)

asan:
	@$(MAKE) --no-print-directory -s -j$(JOBS) BUILD=build-asan SANITIZE=address,undefined unit

# -- fuzzers: tests/fuzz/*_fuzz.c, one program each, over all libraries --------
FUZZ_SRC = $(wildcard tests/fuzz/*_fuzz.c)
FUZZ_BIN = $(FUZZ_SRC:%.c=$(BUILD)/%)
$(BUILD)/tests/fuzz/%_fuzz: $(BUILD)/obj/tests/fuzz/%_fuzz.o $(LIBS)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $< -Wl,--start-group $(LIBS) -Wl,--end-group $(LIBS_ALL)
fuzz-programs: $(FUZZ_BIN)

fuzz:
	@$(MAKE) --no-print-directory -s -j$(JOBS) CC=clang BUILD=build-fuzz SANITIZE=address,undefined \
		CFLAGS=-fsanitize=fuzzer-no-link fuzz-programs
	@for f in $(FUZZ_SRC:tests/fuzz/%.c=%); do \
		mkdir -p build-fuzz/corpus/$$f; \
		build-fuzz/tests/fuzz/$$f -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 \
			build-fuzz/corpus/$$f $$(ls -d tests/fuzz/corpus/$$f 2>/dev/null) >build-fuzz/$$f.log 2>&1 || \
			{ tail -n 60 build-fuzz/$$f.log; echo "rerun: build-fuzz/tests/fuzz/$$f FILE"; exit 1; }; \
		echo "$$f: $$(sed -n 's/^stat::number_of_executed_units: *//p' build-fuzz/$$f.log) inputs, no failure"; \
	done
