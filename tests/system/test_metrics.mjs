// GET /metrics of real nodes: the format, counters that move by what was done,
// and what cuts, kills and switches of regions leave behind in them.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import https from "node:https";
import { after, before, test } from "node:test";
import { Cluster, makeContainer, run, until } from "../sdk/lib.mjs";
import { Documents, heal, inject, isReady, statusOf } from "./lib.mjs";
import { lintMetrics, scrape } from "./metrics.mjs";

const COUNT = 40;
const BYTES = 1000;

let cluster, documents, agent;
before(async () => {
  cluster = await Cluster.start({ flags: ["--consistency", "session"] });
  documents = new Documents(cluster, await makeContainer(cluster.client()));
  // One connection, so that its requests are answered by one node.
  agent = new https.Agent({ ca: cluster.ca, keepAlive: true, maxSockets: 1 });
});
after(async () => {
  agent?.destroy();
  documents?.close();
  await cluster?.stop();
});

const node = (i = 0) => cluster.nodes[i];
const at = (i = 0) => scrape(cluster, node(i));
const send = (method, id, { status, body, headers = {}, to = node() }) =>
  cluster.request({ method, path: id === undefined ? documents.path : `${documents.path}/${id}`, endpoint: to.endpoint, agent, body,
    headers: { "x-ms-documentdb-partitionkey": '["a"]', ...headers } })
    .then((answer) => assert.equal(answer.status, status, answer.text));
const document = (id) => JSON.stringify({ id, pk: "a", text: "x".repeat(BYTES) });

test("the format is what Prometheus reads", async () => {
  for (let i = 0; i < cluster.nodes.length; i++) lintMetrics((await at(i)).families);
});

test("promtool agrees", async (t) => {
  if (spawnSync("promtool", ["--version"]).error)
    return t.skip("no promtool; deploy/install-deps.sh observability");
  const { text } = await at();
  execFileSync("promtool", ["check", "metrics"], { input: text, stdio: ["pipe", "pipe", "inherit"] });
});

test("docs/monitoring.md lists every metric, and no other", async () => {
  const text = readFileSync(new URL("../../docs/monitoring.md", import.meta.url), "utf8");
  const documented = [...text.matchAll(/^\| `((?:bastide|process)_\w+)`/gm)].map(([, name]) => name);
  const { families } = await at();
  assert.deepEqual(documented.toSorted(), [...families.keys()].toSorted());
});

test("nothing that a user wrote is in it", async () => {
  await send("POST", undefined, { body: document("a-secret-name"), status: 201 });
  const { text } = await at();
  const [, , database, , container] = documents.path.split("/");
  for (const name of [database, container, "a-secret-name"]) assert.ok(!text.includes(name), name);
});

/** [metric, labels, how much more] after doing something once. */
async function expectMoves(what, moves) {
  const before = await at();
  await what();
  const now = await at();
  for (const [name, labels, by] of moves) {
    const moved = now.get(name, labels) - (before.get(name, labels) ?? 0);
    assert.equal(moved, by, `${name} ${JSON.stringify(labels)} moved by ${moved}`);
  }
}

test("requests and their latencies are counted by kind, class and level", async () => {
  const requests = "bastide_requests_total", seconds = "bastide_request_duration_seconds_count";
  await expectMoves(async () => {
    for (let i = 0; i < COUNT; i++) await send("POST", undefined, { body: document(`r${i}`), status: 201 });
    for (let i = 0; i < COUNT; i++) await send("GET", `r${i}`, { status: 200 });
    for (let i = 0; i < 5; i++) await send("GET", `r${i}`, { status: 200, headers: { "x-ms-consistency-level": "Eventual" } });
    for (let i = 0; i < 3; i++) await send("POST", undefined, { body: document(`r${i}`), status: 409 });
    await send("PUT", "r0", { body: document("r0"), status: 200 });
    await send("DELETE", "r1", { status: 204 });
    await send("GET", "r1", { status: 404 });
  }, [
    [requests, { operation: "create", class: "2xx" }, COUNT],
    [requests, { operation: "create", class: "4xx" }, 3],
    [requests, { operation: "read", class: "2xx" }, COUNT + 5],
    [requests, { operation: "read", class: "4xx" }, 1],
    [requests, { operation: "replace", class: "2xx" }, 1],
    [requests, { operation: "delete", class: "2xx" }, 1],
    [requests, {}, 2 * COUNT + 11],
    [seconds, { operation: "read", level: "Session" }, COUNT + 1],
    [seconds, { operation: "read", level: "Eventual" }, 5],
    [seconds, { operation: "create" }, COUNT + 3],
    ["bastide_request_refusals_total", { status: "409" }, 3],
    ["bastide_request_refusals_total", { status: "404" }, 1],
    ["bastide_request_refusals_total", { status: "429" }, 0],
  ]);
});

test("bytes, connections and refused requests are counted", async () => {
  await send("GET", "r0", { status: 200 }); // the connection is there
  const before = await at();
  await expectMoves(() => cluster.bytes("NONSENSE\r\n\r\n", { endpoint: node().endpoint }), [
    ["bastide_http_connections_accepted_total", {}, 1],
    ["bastide_http_rejects_total", {}, 1],
    ["bastide_requests_total", {}, 0],
  ]);
  for (let i = 0; i < 10; i++) await send("GET", "r0", { status: 200 });
  const now = await at();
  assert.ok(now.get("bastide_http_sent_bytes_total") - before.get("bastide_http_sent_bytes_total") > 10 * BYTES);
  assert.ok(now.get("bastide_http_connections") >= 1);
});

test("the log and the store", async () => {
  const before = await at();
  for (let i = 0; i < 10; i++) await send("POST", undefined, { body: document(`w${i}`), status: 201 });
  const now = await at();
  const moved = (name) => now.get(name) - before.get(name);
  assert.ok(moved("bastide_log_written_bytes_total") > 10 * BYTES);
  // Not one for each write: two other nodes are a majority without this disk.
  assert.ok(moved("bastide_log_sync_duration_seconds_count") >= 1);
  assert.ok(moved("bastide_shard_last_lsn") >= 10);
  assert.ok(now.get("bastide_shard_memtable_bytes") > 0);
  assert.ok(now.get("bastide_shard_memtable_limit_bytes") > now.get("bastide_shard_memtable_bytes"));
  // A flush comes by itself after 10 s.
  const flushed = await until("a flush of what was written", async () => {
    const { get } = await at();
    return get("bastide_store_flushed_bytes_total") > 10 * BYTES && get;
  }, 25_000, 200);
  assert.ok(flushed("bastide_store_commit_duration_seconds_count") > 0);
  assert.ok(flushed("bastide_shard_flushed_lsn") > 0);
});

test("certificates, keys, process and build", async () => {
  const { get } = await at();
  const now = Date.now() / 1000, day = 86400;
  const left = (get("bastide_certificate_not_after_timestamp_seconds", { certificate: "node" }) - now) / day;
  assert.ok(left > 800 && left < 830, `${left} days`);
  assert.ok(get("bastide_certificate_not_after_timestamp_seconds", { certificate: "ca" }) > now + 3000 * day);
  for (const key of ["kek", "cluster", "account"]) {
    const age = now - get("bastide_key_created_timestamp_seconds", { key });
    assert.ok(age > -2 && age < 600, `${key}: ${age} s old`);
  }
  assert.ok(Math.abs(now - get("bastide_clock_timestamp_seconds")) < 5);
  assert.ok(get("process_start_time_seconds") > now - 600);
  assert.ok(get("process_resident_memory_bytes") > 1e6);
  assert.ok(get("process_cpu_seconds_total") > 0);
  assert.ok(get("process_open_fds") > 10 && get("process_open_fds") < get("process_max_fds"));
  const { version } = (await statusOf(cluster)).get(node().name);
  assert.equal(get("bastide_build_info", { version }), 1);
  assert.equal(get("bastide_node_info", { node: node().name, region: node().region, cluster: "demo" }), 1);
});

test("a region that is cut off lags, what it lacks is at risk, and both end", async () => {
  const others = cluster.nodes.slice(1).map(({ region }) => region);
  assert.equal((await at()).get("bastide_faults_active"), 0);
  // One other region is left: writes go on, and it has them at once.
  await inject(cluster, { kind: "cut", from: others[0], to: "*", both: true });
  try {
    await until("the fault is counted", async () => (await at()).get("bastide_faults_active", { family: "link", kind: "cut" }) > 0);
    await until("the link is down", async () =>
      (await at()).get("bastide_link_up", { peer: node(1).name, peer_region: others[0] }) === 0);
    await until("the region is down", async () =>
      (await at()).get("bastide_region_state", { region: others[0], state: "down" }) === 1);
    for (let i = 0; i < 10; i++) await send("POST", undefined, { body: document(`c${i}`), status: 201 });
    // It says so itself: it does not know how far the others are.
    await until("it is isolated", async () => (await at(1)).get("bastide_isolated") === 1);
    await until("it knows that it cannot write", async () => (await at(1)).get("bastide_writes_possible") === 0);
    assert.equal((await at()).get("bastide_writes_possible"), 1);
    assert.equal((await at()).get("bastide_region_lag_seconds", { region: others[0] }), undefined);
  } finally {
    await heal(cluster);
  }
  await until("the region is heard again, and caught up", async () => {
    const { get } = await at();
    return get("bastide_region_lag_entries", { region: others[0] }) === 0 && get("bastide_isolated") === 0;
  });
  assert.equal((await at()).get("bastide_faults_active"), 0);
});

test("entries at risk rise while the others get them late, and fall", async () => {
  await inject(cluster, { kind: "delay", from: node().region, to: "*", delay_ms: 400 });
  try {
    for (let i = 0; i < 20; i++) await send("POST", undefined, { body: document(`l${i}`), status: 201 });
    const { get } = await at();
    assert.ok(get("bastide_shard_at_risk_entries") > 0);
    assert.ok(get("bastide_shard_at_risk_seconds") > 0);
    await until("the others lag", async () => (await at()).get("bastide_region_lag_seconds", { region: node(1).region }) > 0.3);
  } finally {
    await heal(cluster);
  }
  await until("nothing is at risk", async () => (await at()).get("bastide_shard_at_risk_entries") === 0);
});

test("a planned switch and a loss are counted, with elections and epochs", async () => {
  await until("all are ready", async () =>
    (await Promise.all(cluster.nodes.map((n) => isReady(cluster, n)))).every(Boolean));
  const witness = 2, kinds = "bastide_write_region_changes_total";
  const before = await at(witness);
  const to = node(1).region;
  await until("the switch is taken", async () => (await run(["region", "switch", to, "--dir", cluster.dir])).code === 0);
  const moved = await until("the switch is counted", async () => {
    const now = await at(witness);
    return now.get("bastide_write_region", { region: to }) === 1 && now;
  });
  assert.equal(moved.get(kinds, { kind: "planned" }) - before.get(kinds, { kind: "planned" }), 1);
  assert.equal(moved.get(kinds, { kind: "forced" }), before.get(kinds, { kind: "forced" }));
  assert.ok(moved.get("bastide_epoch") > before.get("bastide_epoch"));
  await until("the leader changed", async () => (await at(witness)).get("bastide_shard_leader_changes_total", { shard: "1" }) >
    before.get("bastide_shard_leader_changes_total", { shard: "1" }));

  await cluster.kill(node(1).name);
  const lost = await until("the writes are somewhere else", async () => {
    const now = await at(witness);
    return now.get("bastide_write_region", { region: to }) === 0 && now.get(kinds, { kind: "forced" }) > 0 && now;
  });
  assert.equal(lost.get(kinds, { kind: "forced" }) - before.get(kinds, { kind: "forced" }), 1);
  const won = async (i) => (await at(i)).get("bastide_shard_elections_won_total", { shard: "1" });
  const beforeWon = before.get("bastide_shard_elections_won_total", { shard: "1" });
  await until("somebody was elected", async () => (await won(0)) >= 1 && (await won(witness)) >= beforeWon &&
    ((await at(0)).get("bastide_shard_leader", { shard: "1" }) + (await at(witness)).get("bastide_shard_leader", { shard: "1" })) === 1);
  assert.ok((await at(0)).get("bastide_shard_elections_started_total") + (await at(witness)).get("bastide_shard_elections_started_total") > 0);
  await cluster.restart(node(1).name);
  await until("it is ready", async () => (await isReady(cluster, node(1))) && (await at(1)).get("bastide_ready") === 1);
});
