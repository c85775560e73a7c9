// Links between real nodes: imitated distances, cuts of one and both directions,
// and a disk that hangs, all switched on and off in a running cluster.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster, run, until } from "../sdk/lib.mjs";
import { admin, heal, inject, statusOf } from "./lib.mjs";

const RTT_MS = 80;
let cluster;
before(async () => {
  cluster = await Cluster.start({ flags: ["--latency", `${RTT_MS}ms`, "--consistency", "session"] });
});
after(() => cluster?.stop());

const regions = () => cluster.info.regions.map(({ name }) => name);
const nodeOf = (region) => cluster.nodes.find((node) => node.region === region);
/** How `from` sees its link to `to`. */
async function link(from, to) {
  const { status, json } = await admin(cluster, nodeOf(from), "GET", "/status");
  assert.equal(status, 200);
  return json.links.find(({ node }) => node === nodeOf(to).name);
}
const isUp = async (a, b) => (await link(a, b)).state === "up" && (await link(b, a)).state === "up";
const isDown = async (a, b) => (await link(a, b)).state !== "up" && (await link(b, a)).state !== "up";

test("round trips are as long as configured", async () => {
  for (const a of regions())
    for (const b of regions().filter((name) => name !== a)) {
      const { rtt_us, out } = await until(`${a} measured its link to ${b}`, async () => {
        const l = await link(a, b);
        return l.rtt_us > 0 && l.rtt_us < (RTT_MS + 40) * 1000 && l;
      });
      assert.ok(rtt_us >= RTT_MS * 1000, `${a} to ${b}: ${rtt_us} us`);
      assert.equal(out.delay_ms, RTT_MS / 2);
    }
  // What is configured is no fault.
  for (const status of (await statusOf(cluster)).values()) assert.deepEqual(status.faults, []);
});

test("a cut is noticed by silence and heals within a second", async () => {
  const [a, b] = regions().slice(1);
  for (const fault of [{ from: a, to: b, both: true }, { from: a, to: b }, { from: b, to: a }]) {
    await until(`${a} and ${b} are connected`, () => isUp(a, b));
    const began = Date.now();
    assert.equal(await inject(cluster, { kind: "cut", ...fault }), 2);
    await until(`the cut is noticed: ${JSON.stringify(fault)}`, () => isDown(a, b), 5000);
    const noticed = Date.now() - began;
    assert.ok(noticed > 500 && noticed < 2500, `noticed after ${noticed} ms`);
    const { faults } = (await statusOf(cluster)).get(nodeOf(a).name);
    assert.deepEqual(faults, [`cut ${fault.from} -> ${fault.to}${fault.both ? ", both ways" : ""}`]);
    // Nobody gets through meanwhile.
    const until2 = Date.now() + 1500;
    while (Date.now() < until2) assert.ok(await isDown(a, b));
    const healed = Date.now();
    await heal(cluster);
    await until("the link is back", () => isUp(a, b), 5000, 10);
    assert.ok(Date.now() - healed < 1500, `back after ${Date.now() - healed} ms`);
  }
});

test("delay and loss are changed at run time", async () => {
  const [a, b] = regions();
  await until(`${a} and ${b} are connected`, () => isUp(a, b));
  await inject(cluster, { kind: "delay", from: a, to: b, both: true, delay_ms: 150, jitter_ms: 5 });
  await inject(cluster, { kind: "loss", from: a, to: b, both: true, percent: 10 });
  await until("the round trip is longer", async () => (await link(a, b)).rtt_us >= 300_000);
  // What is injected comes on top of what is configured.
  assert.deepEqual((await link(a, b)).out, { delay_ms: RTT_MS / 2 + 150, jitter_ms: 5, loss_permille: 100, cut: false });
  const { faults } = (await statusOf(cluster)).get(nodeOf(a).name);
  assert.deepEqual(faults, [`delay ${a} -> ${b}, both ways: by 150 ms, up to 5 ms more`, `loss ${a} -> ${b}, both ways: 10%`]);
  await heal(cluster);
  await until("the round trip is as before", async () => (await link(a, b)).rtt_us < 150_000);
});

test("what cannot be meant is refused with what was expected", async () => {
  const [a, b] = regions();
  for (const [fault, expected] of [
    [{ kind: "cut", from: a }, /cut needs to; it takes from \(needed\), to \(needed\), both, for, id/],
    [{ kind: "cut", from: "nowhere", to: b }, /from: there is no region or node nowhere in this cluster/],
    [{ kind: "delay", from: a, to: b, delay_ms: -1 }, /delay_ms: expected a whole number from 1 to 60000/],
    [{ kind: "loss", from: a, to: b, percent: 101 }, /percent: expected/],
    [{ kind: "cut", from: a, to: b, both: "yes" }, /both: expected true or false/],
    [{ kind: "cut", from: a, to: b, extra: true }, /cut has no member extra/],
    [{ kind: "down", at: "moon" }, /at: there is no region or node moon/],
    [{ kind: "fire" }, /kind: expected one of cut, delay/],
    [[], /expected an object/]]) {
    const { status, json } = await admin(cluster, cluster.nodes[0], "POST", "/faults", fault);
    assert.equal(status, 400);
    assert.match(json.message, expected);
  }
  assert.equal((await admin(cluster, cluster.nodes[0], "POST", "/faults/fire", {})).status, 404);
  assert.equal((await admin(cluster, cluster.nodes[0], "PUT", "/faults", {})).status, 405);
  assert.deepEqual((await admin(cluster, cluster.nodes[0], "DELETE", "/faults/fire")).json, { removed: 0 });
  const anonymous = await cluster.request({ endpoint: new URL(cluster.nodes[0].admin).origin, path: "/faults", sign: false });
  assert.equal(anonymous.status, 403);
});

test("a disk hangs until it is released", async () => {
  const node = cluster.nodes.at(-1);
  const stalled = async () => (await admin(cluster, node, "GET", "/status")).json.disk_stalled_us;
  assert.equal(await inject(cluster, { kind: "disk-hang", at: node.name }), 1);
  const client = cluster.client();
  const { database } = await client.databases.createIfNotExists({ id: "links" });
  const { container } = await database.containers.createIfNotExists({ id: "c", partitionKey: { paths: ["/pk"] } });
  // The other nodes are enough, if need be with another leader.
  await until("a write succeeds", async () => {
    try {
      return (await container.items.upsert({ id: "1", pk: "1" })).statusCode < 300;
    } catch {
      return false;
    }
  });
  await until("the log is stuck for more than a second", async () => (await stalled()) > 1_000_000);
  assert.deepEqual((await admin(cluster, node, "GET", "/faults")).json.faults.map(({ kind, at }) => [kind, at]), [["disk-hang", node.name]]);
  await heal(cluster);
  await until("the log goes on", async () => (await stalled()) < 500_000);
});

test("a leader whose disk hangs hands over, and no write fails", async () => {
  const client = cluster.client({ endpoint: nodeOf(regions()[1]).endpoint });
  const { database } = await client.databases.createIfNotExists({ id: "links" });
  const { container } = await database.containers.createIfNotExists({ id: "h", partitionKey: { paths: ["/pk"] } });
  const leader = async () => [...(await statusOf(cluster)).values()].find(({ shards }) => shards[1].role === "leader");
  const { node: name } = await until("shard 1 has a leader", leader);
  const node = cluster.nodes.find((each) => each.name === name);
  assert.equal(await inject(cluster, { kind: "disk-hang", at: node.name }), 1);
  let n = 0;
  try {
    await until("another node leads while the disk hangs", async () => {
      for (let i = 0; i < 5; i++, n++) await container.items.create({ id: `h${n}`, pk: `p${n % 7}` });
      const now = await leader();
      return now !== undefined && now.node !== name;
    }, 20_000);
  } finally {
    await heal(cluster);
  }
  for (let i = 0; i < n; i++)
    assert.equal((await container.item(`h${i}`, `p${i % 7}`).read()).statusCode, 200, `h${i} was acknowledged`);
});

test("faults are refused where they are not allowed", async () => {
  const { name } = cluster.nodes.at(-1);
  process.env.BASTIDE_FAULT_INJECTION = "false";
  try {
    await cluster.halt();
    await cluster.launch();
  } finally {
    delete process.env.BASTIDE_FAULT_INJECTION;
  }
  const node = cluster.nodes.find((each) => each.name === name);
  const { status, json } = await admin(cluster, node, "POST", "/faults", { kind: "cut", from: "*", to: "*" });
  assert.equal(status, 403);
  assert.match(json.message, /fault_injection: true/);
  assert.equal((await admin(cluster, node, "DELETE", "/faults")).status, 403);
  assert.equal((await admin(cluster, node, "GET", "/faults")).json.fault_injection, false);
});

test("a later start takes other latencies but no other level", async () => {
  await cluster.halt();
  const refused = await run(["demo", "--dir", cluster.dir, "--consistency", "strong"]);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /made with level session; .*bastide consistency set/);
  const unknown = await run(["demo", "--dir", cluster.dir, "--latency", "eastus:moon=80ms"]);
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /there is no region "moon"/);
  cluster.flags = [];
  await cluster.launch(["--latency", "eastus:westeurope=30ms"]);
  await until("the new round trip", async () => {
    const { rtt_us } = await link("eastus", "westeurope");
    return rtt_us >= 30_000 && rtt_us < 70_000;
  });
  await until("the others have none", async () => {
    const { rtt_us } = await link("eastus", "southeastasia");
    return rtt_us > 0 && rtt_us < 20_000;
  });
});
