# make bench: Bastide beside etcd. Included by the Makefile.
#
#     make bench CLIENTS="1 64" DURATION=10 ONLY=bastide OUT=result.json

BENCH_DIR = $(BUILD)/bench
ETCD_LOAD = $(BUILD)/tests/bench/etcd-load
export CLIENTS DURATION WARM_UP ONLY OUT

.PHONY: bench
bench:
	@deploy/install-deps.sh build bench
	@command -v $(NODE) >/dev/null || deploy/install-deps.sh sdk
	@$(MAKE) --no-print-directory -s -j$(JOBS) $(BUILD)/bastide $(ETCD_LOAD)
	@$(NODE) tests/bench/bench.mjs $(abspath $(BENCH_DIR) $(BUILD)/bastide $(ETCD_LOAD))

# What a committed byte costs between regions, with one and three nodes in each.
.PHONY: wan
wan: $(BUILD)/bastide
	@$(NODE) tests/bench/wan.mjs $(abspath $(BENCH_DIR) $(BUILD)/bastide)

# What each consistency level costs a client, here and far away.
.PHONY: latency
latency: $(BUILD)/bastide
	@$(NODE) tests/bench/latency.mjs $(abspath $(BENCH_DIR) $(BUILD)/bastide)

# Debian's packages of the client, no download.
$(ETCD_LOAD): tests/bench/etcd-load/main.go
	@mkdir -p $(@D)
	GOPATH=/usr/share/gocode GO111MODULE=off GOFLAGS= CGO_ENABLED=0 \
		GOCACHE=$(abspath $(BUILD)/go-cache) go build -o $@ ./tests/bench/etcd-load

# The front without a database behind it, as a target for `bastide bench`.
FRONT_LIBS = $(foreach m,node/http replication consensus failover node/crypt node/base,$(call lib_of,$(m)))
$(BUILD)/tests/bench/front: $(BUILD)/obj/tests/bench/front.o $(FRONT_LIBS)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $< -Wl,--start-group $(FRONT_LIBS) -Wl,--end-group $(LIBS_node/http)

# How long clients cannot write when a node or a region is lost:
#
#     make bench-failover RUNS=100 FAULTS="leader-kill region-kill"
export RUNS FAULTS CONSISTENCY VERBOSE
.PHONY: bench-failover
bench-failover: $(BUILD)/bastide
	@deploy/install-deps.sh sdk
	@$(NODE) tests/bench/failover.mjs
