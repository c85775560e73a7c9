// What an operator forces: a switch away from a region that is lost, before the
// cluster would do it, and a recovery from the loss of a majority.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster, makeContainer, run, until } from "../sdk/lib.mjs";
import { Documents, command, isReady, topologyOf, untilTopology } from "./lib.mjs";

const [A, B, C] = ["eastus", "westeurope", "southeastasia"];
// The cluster waits long enough for the operator to be first.
process.env.BASTIDE_TIMEOUTS_REGION_DOWN_MS = "600000";
process.env.BASTIDE_TIMEOUTS_REGION_UP_MS = "1500";

let cluster, container, documents;
before(async () => {
  cluster = await Cluster.start({ flags: ["--consistency", "session"] });
  container = await makeContainer(cluster.client());
  documents = new Documents(cluster, container);
});
after(() => {
  documents?.close();
  return cluster?.stop();
});

const killRegion = (region) =>
  Promise.all(cluster.reload().nodes.filter((node) => node.region === region).map(({ name }) => cluster.kill(name)));
const audit = async () => JSON.parse((await command(cluster, "audit", "-o", "json")).stdout).records;
const write = async (count) => {
  const end = Date.now() + 20_000;
  const { ids, refused } = await documents.write(({ ids: made }) => made.length >= count || Date.now() > end, { writers: 3 });
  assert.ok(ids.length >= count, `${ids.length} of ${count} written: ${refused.at(-1)?.text}`);
};

test("a region that is lost is given up by force, after a look at the loss", async () => {
  await write(50);
  await killRegion(A);
  // A planned switch is refused once the loss is known.
  const planned = await until("the loss is known", async () => {
    const result = await command(cluster, "region", "switch", C, "--dry-run");
    return result.code === 1 && /does not answer, so a planned switch is impossible/.test(result.stderr) && result;
  });
  assert.match(planned.stderr, /use force/);
  const unasked = await command(cluster, "region", "switch", C, "--force");
  assert.equal(unasked.code, 2, unasked.stderr);
  assert.match(unasked.stdout, /Plan: a forced switch of the writes from eastus to southeastasia\n +would lose: not known exactly/);
  assert.match(unasked.stderr, /add --yes, nothing was changed/);
  const dry = await command(cluster, "region", "switch", C, "--force", "--dry-run", "-o", "json");
  assert.equal(dry.code, 0, dry.stderr);
  assert.equal(JSON.parse(dry.stdout).kind, "forced");
  assert.equal((await topologyOf(cluster)).write_region, A);

  const forced = await command(cluster, "region", "switch", C, "--force", "--yes");
  assert.equal(forced.code, 0, forced.stderr);
  assert.match(forced.stdout, /Writes go to southeastasia/);
  assert.match((await audit())[0].what, /forced switch/);
  await write(20);
  await cluster.restart("all");
  await untilTopology(cluster, "it is back", (t) => t.settled && t.regions.every(({ state }) => state === "up"), 60_000);
  await documents.compare(cluster.info.endpoint);
});

test("survivors of a lost majority become a cluster of their own, and the others rejoin", async () => {
  await write(20);
  // What is written here is on every node, so that nothing is lost below.
  await untilTopology(cluster, "all have it", (t) => t.regions.every(({ nodes }) => nodes.every((n) => n.behind_entries === 0)));
  const { recovered, epoch } = await topologyOf(cluster);
  await killRegion(B);
  await killRegion(C);
  await untilTopology(cluster, "the survivor knows", (t) => t.unavailable, 20_000);
  const shown = await command(cluster, "region", "recover", "--survivors", A);
  assert.equal(shown.code, 2);
  assert.match(shown.stdout, /FORCED RECOVERY of cluster demo from eastus/);
  assert.match(shown.stdout, /westeurope-1 +westeurope +silent/);
  assert.match(shown.stderr, /add --force/);

  const done = await command(cluster, "region", "recover", "--survivors", A, "--force", "--yes");
  assert.equal(done.code, 0, done.stderr + done.stdout);
  assert.match(done.stdout, /eastus-1 has taken it\nWrites go to eastus/);
  const topology = await topologyOf(cluster);
  assert.equal(topology.recovered, recovered + 1);
  assert.ok(topology.epoch > epoch);
  assert.equal(topology.write_region, A);
  assert.equal(topology.unavailable, null);
  const record = (await audit()).find(({ what }) => /recover/.test(what));
  assert.ok(record, "it is in the audit");
  await write(50);
  await documents.compare(cluster.nodes.find(({ region }) => region === A).endpoint);

  await cluster.restart("all");
  await until("the others are ready", async () => (await Promise.all(cluster.nodes.map((node) => isReady(cluster, node)))).every(Boolean), 60_000);
  for (const node of cluster.nodes) await documents.compare(node.endpoint, undefined, node.name);
  assert.equal((await topologyOf(cluster)).write_region, A, "they follow");
});

test("a node that the recovery overruled says so, and is rebuilt; what it had becomes conflicts", async () => {
  const strong = await command(cluster, "consistency", "set", "strong");
  assert.equal(strong.code, 0, strong.stderr);
  const moved = await command(cluster, "region", "switch", B);
  assert.equal(moved.code, 0, moved.stderr);
  // What is written now has a majority, without the later survivor.
  await killRegion(A);
  const survivor = cluster.nodes.find(({ region }) => region === A);
  const elsewhere = cluster.nodes.find(({ region }) => region === B).endpoint;
  const lost = [];
  for (let n = 0; n < 10; n++) {
    const { status, text } = await documents.request("POST", undefined, `l${n}`,
      { endpoint: elsewhere, body: JSON.stringify({ id: `lost${n}`, pk: `l${n}` }) });
    assert.equal(status, 201, text);
    lost.push(`lost${n}`);
  }
  const others = cluster.nodes.filter(({ region }) => region !== A);
  for (const { pid } of others) process.kill(pid, "SIGSTOP"); // out of reach, and alive
  // Alone it does not get ready, and knows where writes went only if that is
  // in its store already.
  await run(["demo", "--dir", cluster.dir, "--start", survivor.name], 2_000);
  const done = await command(cluster, "region", "recover", "--survivors", A, "--force", "--yes");
  assert.equal(done.code, 0, done.stderr + done.stdout);
  assert.match(done.stdout, /started anew and cannot tell the level|The level known here is (strong|session.*\n.*may have missed a later)/);
  for (const [n, id] of lost.entries())
    assert.equal((await documents.request("GET", id, `l${n}`, { endpoint: survivor.endpoint })).status, 404, id);

  for (const { pid } of others) process.kill(pid, "SIGCONT");
  await until("they are overruled, and the recovery is known", async () => {
    const { stdout } = await command(cluster, "status");
    return others.every(({ name }) => new RegExp(`of ${name} was overruled: `).test(stdout)) &&
      /Recovered from the loss of a majority 2 time\(s\)/.test(stdout);
  });
  // It shows nobody its own history, and is not ready.
  for (const { endpoint, name } of others)
    for (const [n, id] of lost.entries()) {
      await until(`${name} has contact again`, async () => {
        const { status } = await documents.request("GET", id, `l${n}`, { endpoint });
        assert.notEqual(status, 200, `${id} at ${name}`);
        return status === 404;
      });
    }
  assert.match((await cluster.request({ endpoint: new URL(others[0].admin).origin, path: "/readyz?verbose", sign: false })).text, /overruled/);

  // What was flushed to its store is not given up by a start alone.
  for (const { name } of others) {
    await cluster.kill(name);
    const rebuilt = await run(["demo", "--dir", cluster.dir, "--start", name, "--rebuild", "--yes"]);
    assert.equal(rebuilt.code, 0, rebuilt.stderr);
  }
  for (const node of cluster.reload().nodes) await documents.compare(node.endpoint, undefined, node.name);
  const conflicts = cluster.client({ keepAlive: false }).database(container.database.id).container(container.id).conflicts;
  await until("what was given up is in conflicts", async () => {
    const { resources } = await conflicts.readAll().fetchAll();
    const found = new Set(resources.map(({ content }) => JSON.parse(content).id));
    return lost.every((id) => found.has(id));
  });
});
