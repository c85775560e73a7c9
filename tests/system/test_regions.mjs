// Levels and regions of a running cluster, as its operator changes them: by
// the commands, under load, and by losing regions.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster, makeContainer, until } from "../sdk/lib.mjs";
import { Documents, admin, command, heal, inject, statusOf, topologyOf, untilTopology } from "./lib.mjs";

const [A, B, C] = ["eastus", "westeurope", "southeastasia"];
// Regions come back sooner than a cautious operator would have it.
process.env.BASTIDE_TIMEOUTS_REGION_UP_MS = "1500";

let cluster, container, documents;
before(async () => {
  cluster = await Cluster.start({ flags: ["--consistency", "session"] });
  container = await makeContainer(cluster.client());
  documents = new Documents(cluster, container);
  const made = await documents.request("POST", undefined, "seed", { body: JSON.stringify({ id: "seed", pk: "seed" }) });
  assert.equal(made.status, 201);
  for (const { endpoint } of cluster.nodes)
    await until("the seed is everywhere", async () => (await documents.request("GET", "seed", "seed", { endpoint })).status === 200);
});
after(() => {
  documents?.close();
  return cluster?.stop();
});

const ok = async (...args) => {
  const result = await command(cluster, ...args);
  assert.equal(result.code, 0, `bastide ${args.join(" ")}: ${result.stderr}${result.stdout}`);
  return result.stdout;
};
const newestAudit = async () => JSON.parse(await ok("audit", "--max", "1", "-o", "json")).records[0];
const settledIn = (region, more = () => true, limitMs) => untilTopology(cluster, `writes go to ${region}`,
  (t) => t.write_region === region && t.settled && more(t), limitMs);
const write = async (count) => {
  const end = Date.now() + 20_000;
  const { ids, refused } = await documents.write(({ ids: made }) => made.length >= count || Date.now() > end, { writers: 2 });
  assert.ok(ids.length >= count, `${ids.length} of ${count} written: ${refused.at(-1)?.text}`);
};
const killRegion = (region) =>
  Promise.all(cluster.reload().nodes.filter((node) => node.region === region).map(({ name }) => cluster.kill(name)));

/** Runs `action` while clients of every region write and read with raw
 *  requests, which nobody repeats; answers what failed. */
async function underLoad(action) {
  let finished = false, done = 0;
  const failures = [];
  const client = async (region, n) => {
    const { endpoint } = cluster.info.regions.find(({ name }) => name === region);
    for (let i = 0; !finished; i++) {
      const id = `${region}-${n}-${i}`;
      try {
        const { status, text } = i % 4 === 3
          ? await documents.request("GET", "seed", "seed", { endpoint, reuse: true })
          : await documents.request("POST", undefined, id.slice(0, 3),
              { endpoint, reuse: true, body: JSON.stringify({ id, pk: id.slice(0, 3), n: i, text: "x".repeat(500) }) });
        if (status !== (i % 4 === 3 ? 200 : 201)) failures.push(`${id}: ${status} ${text.slice(0, 200)}`);
        else done++;
      } catch (error) {
        failures.push(`${id}: ${error.message}`);
      }
    }
  };
  const clients = [A, B, C].flatMap((region) => [0, 1, 2].map((n) => client(region, `${n}-${Math.random().toString(36).slice(2)}`)));
  let result;
  try {
    await until("the load runs", () => done > 100);
    result = await action();
    const before = done;
    await until("the load goes on", () => done > before + 100);
  } finally {
    finished = true;
    await Promise.all(clients);
  }
  return { result, failures, done };
}

test("every level can be set while clients write; every node applies it within a second", async () => {
  const { failures } = await underLoad(async () => {
    for (const [args, name, policy] of [
      [["strong"], "Strong"], [["bounded-staleness", "--max-staleness-entries", "100000", "--max-staleness-seconds", "300"], "BoundedStaleness"],
      [["session"], "Session"], [["consistent-prefix"], "ConsistentPrefix"], [["eventual"], "Eventual"], [["session"], "Session"]]) {
      const set = JSON.parse(await ok("consistency", "set", ...args, "-o", "json"));
      assert.equal(set.level, name);
      assert.deepEqual(set.applied, cluster.nodes.map((node) => node.name), name);
      assert.ok(set.took_ms < 1000, `${name}: applied after ${set.took_ms} ms`);
      const { resource } = await cluster.client().getDatabaseAccount();
      assert.equal(resource.consistencyPolicy, name);
      const record = await newestAudit();
      assert.equal(record.what, "set consistency");
      assert.match(record.after, new RegExp(name));
      assert.match(record.who, /admin/);
    }
  });
  assert.deepEqual(failures, []);
});

test("bounds can be as tight as one entry and one second, and are shown", async () => {
  await ok("consistency", "set", "bounded", "--max-staleness-entries", "1", "--max-staleness-seconds", "1");
  assert.match(await ok("consistency", "show"), /^bounded-staleness \(1 entries, 1 s\)\n$/);
  assert.equal((await command(cluster, "consistency", "set", "bounded", "--max-staleness-entries", "1")).code, 2);
  await ok("consistency", "set", "session");
});

test("a planned switch under load fails no request, and tells the pause", async () => {
  for (const [from, to] of [[A, B], [B, C], [C, A]]) {
    const { result, failures } = await underLoad(() => ok("region", "switch", to));
    assert.deepEqual(failures, []);
    assert.match(result, new RegExp(`^Plan: a planned switch of the writes from ${from} to ${to}\n +loses nothing`));
    const [, pause] = /Writes go to \S+ \(epoch \d+\)\. They paused for (\d+) ms\. Nothing was lost\.\n$/.exec(result) ?? assert.fail(result);
    assert.ok(Number(pause) < 1000, `paused for ${pause} ms`);
    const topology = await topologyOf(cluster);
    assert.equal(topology.write_region, to);
    const record = await newestAudit();
    assert.match(record.what, /switch/);
    assert.match(record.before, new RegExp(`write region ${from}`));
    assert.match(record.after, new RegExp(`write region ${to}`));
    for (const status of (await statusOf(cluster)).values())
      for (const shard of status.shards.slice(1))
        assert.ok(shard.leader.startsWith(to), `${status.node}: shard ${shard.shard} is led by ${shard.leader}`);
  }
  assert.match(await ok("region", "switch", A), /Writes go to eastus already/);
});

test("what is impossible is refused with what to do", async () => {
  const unknown = await command(cluster, "region", "switch", "atlantis");
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /regions/);
  const needless = await command(cluster, "region", "switch", B, "--force", "--yes");
  assert.equal(needless.code, 1);
  assert.match(needless.stderr, /heard by a majority: a planned switch \(without force\) loses nothing/);
  const order = await command(cluster, "region", "priority", `${A},${B}`);
  assert.equal(order.code, 1);
  assert.match(order.stderr, /once/);
  const recover = await command(cluster, "region", "recover", "--survivors", A, "--force", "--yes");
  assert.equal(recover.code, 1);
  assert.match(recover.stderr, /3 of 3 nodes answer: a majority is alive/);
  assert.equal((await topologyOf(cluster)).write_region, A);
});

test("an order that is not understood does nothing", async () => {
  const { epoch } = await topologyOf(cluster);
  const recover = { survivors: [A], confirm: cluster.info.cluster ?? "demo", epoch: 5000 };
  for (const [target, ...bodies] of [
    ["/consistency", {}, [], { level: "Weak" }, { level: 5 }, { level: "Strong", max_staleness_prefix: "1" },
      { level: "BoundedStaleness", max_staleness_prefix: 0, max_staleness_interval: 1 }, { level: "Strong", levels: 1 }],
    ["/regions/switch", {}, { to: "atlantis" }, { to: [B] }, { to: B, dryrun: true }, { to: B, dry_run: "yes" }, { to: B, force: 1 }],
    ["/regions/priority", {}, { order: [] }, { order: [A, B] }, { order: [A, A, B] }, { order: [B, A, C, B] }, { order: [B, A, "atlantis"] },
      { order: [B, A, C], move: "no" }, { order: [B, A, C], failback: "maybe" }, { order: [B, A, C], moves: false }],
    ["/regions/recover", {}, { ...recover, confirm: "another" }, { ...recover, survivors: [] }, { ...recover, survivors: ["atlantis"] },
      { ...recover, epoch: 0 }, { ...recover, epoch: 2 ** 32 - 1 }, { ...recover, force: true }]])
    for (const body of bodies) {
      const { status, json } = await admin(cluster, cluster.nodes[0], "POST", target, body);
      assert.ok([400, 404].includes(status), `${target} ${JSON.stringify(body)}: ${status} ${JSON.stringify(json)}`);
      assert.equal(typeof json.message, "string");
    }
  const now = await topologyOf(cluster);
  assert.deepEqual([now.epoch, now.write_region], [epoch, A]);
});

test("a node that is cut off does not judge who could take the writes", async () => {
  const asked = cluster.nodes.find(({ region }) => region === C);
  await inject(cluster, { kind: "cut", from: C, to: "*", both: true });
  try {
    for (const force of [false, true])
      await until("it says so", async () => {
        const { status, json } = await admin(cluster, asked, "POST", "/regions/switch", { to: B, force, dry_run: true });
        return status === 503 && /ask another/.test(json.message);
      }, 10_000);
  } finally {
    await heal(cluster);
  }
  await untilTopology(cluster, "all regions are up", (t) => t.settled && t.regions.every(({ state }) => state === "up"), 60_000);
});

test("a region that is down does not speak for the others, though its nodes answer", async () => {
  const home = (await settledIn(A)).write_region;
  await inject(cluster, { kind: "down", at: home });
  try {
    // As long as it is alone with its opinion, which it gives first.
    await untilTopology(cluster, "another region takes the writes", (t) => t.write_region !== home && !t.unavailable, 10_000);
    assert.match(await ok("region", "list"), new RegExp(`^${home} +0 down`, "m"));
    assert.equal((await admin(cluster, cluster.nodes.find(({ region }) => region === home), "GET", "/topology")).json.write_region, home);
  } finally {
    await heal(cluster);
  }
  await settledIn(A);
});

test("a new order moves the writes, unless told not to", async () => {
  const { result, failures } = await underLoad(() => ok("region", "priority", `${B},${A},${C}`, "--failback", "manual"));
  assert.deepEqual(failures, []);
  assert.match(result, /fail-back manual\nWrites go to westeurope/);
  const topology = await topologyOf(cluster);
  assert.deepEqual(topology.regions.map(({ name, priority }) => [name, priority]), [[B, 0], [A, 1], [C, 2]]);
  await ok("region", "priority", `${A},${B},${C}`, "--no-move");
  assert.equal((await topologyOf(cluster)).write_region, B, "it stays");
  await ok("region", "priority", `${A},${B},${C}`);
  assert.equal((await topologyOf(cluster)).write_region, A);
});

const loseAndReturn = async () => {
  await killRegion(A);
  const over = await settledIn(B, (t) => t.regions[0].state === "down", 20_000);
  assert.ok(over.forced, "nobody asked the lost region");
  assert.match((await newestAudit()).who, /controller/);
  const status = await command(cluster, "status");
  assert.match(status.stdout, /^eastus +0 down +reads +0 of 1/m);
  await write(20);
  await cluster.restart("all");
  return untilTopology(cluster, "all regions are up", (t) => t.settled && t.regions.every(({ state }) => state === "up"), 60_000);
};

test("a lost region is replaced, and gets the writes back when it has caught up", async () => {
  await ok("region", "priority", `${A},${B},${C}`, "--failback", "automatic");
  await loseAndReturn();
  const { failures } = await underLoad(() => settledIn(A, () => true, 60_000));
  assert.deepEqual(failures, [], "fail-back is a planned switch");
  await documents.compare(cluster.info.endpoint);
});

test("with manual fail-back the writes stay until somebody moves them", async () => {
  await ok("region", "priority", `${A},${B},${C}`, "--failback", "manual");
  const { epoch } = await loseAndReturn();
  const long = Date.now() + 4 * Number(process.env.BASTIDE_TIMEOUTS_REGION_UP_MS);
  await until("automatic fail-back would have come", () => Date.now() > long);
  assert.equal((await topologyOf(cluster)).epoch, epoch, "nothing was decided");
  await ok("region", "switch", A);
  await documents.compare(cluster.info.endpoint);
});

test("with two regions of three lost writes stop, and status says why", async () => {
  await killRegion(A);
  await settledIn(B, () => true, 20_000);
  await killRegion(B);
  const topology = await untilTopology(cluster, "the survivor knows", (t) => t.unavailable?.includes("1 of the 3 voters"), 20_000);
  assert.match(topology.unavailable, /^writes stop: .* majority/);
  const { stdout, code } = await command(cluster, "status");
  assert.equal(code, 0);
  assert.match(stdout, /^Writes stop: 1 of the 3 voters answer/m);
  const { status, json } = await documents.request("POST", undefined, "p", { body: JSON.stringify({ id: "no", pk: "p" }) });
  assert.equal(status, 503, JSON.stringify(json));
  assert.ok(json.message.length > 0);
  await cluster.restart("all");
  await untilTopology(cluster, "writes go on", (t) => t.settled && !t.unavailable, 60_000);
  await write(10);
});

test("a node that starts while no leader is known does not become a cluster of its own", async () => {
  const node = cluster.nodes.find(({ region }) => region === C);
  const { write_region: home, recovered } = await topologyOf(cluster);
  await killRegion(home === C ? A : home);
  await cluster.kill(node.name);
  const started = cluster.restart(node.name);
  let asked = 0;
  const end = Date.now() + 2000;
  while (Date.now() < end) {
    const answer = await admin(cluster, node, "POST", "/regions/recover",
      { survivors: [C], confirm: "demo", epoch: 1_000_000 }).catch(() => undefined); // not listening yet
    if (!answer || answer.json.message === "the node is starting") continue;
    asked++;
    assert.equal(answer.status, 409, JSON.stringify(answer.json));
  }
  assert.ok(asked > 0, "it was asked");
  await started;
  await cluster.restart("all");
  await untilTopology(cluster, "writes go on", (t) => t.settled && !t.unavailable && t.recovered === recovered, 60_000);
  await write(10);
});
