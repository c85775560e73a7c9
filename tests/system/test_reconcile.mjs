// What a lost majority had committed, and a forced recovery gave up, comes back
// as conflicts when its nodes are rebuilt: from their old logs and stores.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { Cluster, makeContainer, program, until } from "../sdk/lib.mjs";
import { admin, command, heal, inject, killAlone, startAlone, untilTopology } from "./lib.mjs";

const [A, B, C] = ["eastus", "westeurope", "southeastasia"];
// Nothing but what the operator orders.
process.env.BASTIDE_TIMEOUTS_REGION_DOWN_MS = "600000";

let cluster, container;
const children = [];
before(async () => {
  cluster = await Cluster.start({ flags: ["--consistency", "session"] });
  container = await makeContainer(cluster.client());
});
after(async () => {
  for (const child of children) child.kill("SIGKILL");
  await killAlone();
  await cluster?.stop();
});

const nodeOf = (region) => cluster.nodes.find((node) => node.region === region);
const at = (region) => cluster.client({ endpoint: nodeOf(region).endpoint })
  .database(container.database.id).container(container.id);
// None while it is starting.
const shards = (region) => admin(cluster, nodeOf(region), "GET", "/status").then(({ json }) => json.shards ?? [], () => []);
const conflictsAt = async (region) => (await at(region).conflicts.readAll().fetchAll()).resources;

/** Starts a node that is down, told to put its data away. */
async function rebuild(region) {
  const node = nodeOf(region);
  const child = spawn("setpriv", ["--pdeathsig", "TERM", program, "node", "--config", path.join(node.dir, "node.yaml"),
    "--rebuild", "--yes"], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += data));
  children.push(child);
  await until(`${node.name} is rebuilt`, () => {
    assert.equal(child.exitCode, null, output);
    return /this node is rebuilt and votes again/.test(output);
  }, 60_000).catch((error) => { throw new Error(`${error.message}\n${output.slice(-4000)}`); });
  return output;
}

test("what a recovery gave up becomes conflicts once the others are rebuilt", async () => {
  for (const id of ["kept", "gone"]) await container.items.create({ id, pk: "p", text: "before" });
  await untilTopology(cluster, "all have it", (t) => t.regions.every(({ nodes }) => nodes.every((n) => n.behind_entries === 0)));
  // Two regions go on without the third, until what they wrote has left their logs' tails.
  for (const to of [A, B]) await inject(cluster, { kind: "cut", from: C, to, both: true }, [nodeOf(C)]);
  const writer = at(A);
  await until("writes go on without it", () =>
    writer.items.upsert({ id: "lost", pk: "p", text: "lost" }).then(() => true, () => false));
  await writer.item("kept", "p").replace({ id: "kept", pk: "p", text: "lost" });
  await writer.item("gone", "p").delete();
  for (const region of [A, B]) await admin(cluster, nodeOf(region), "POST", "/scrub", {}); // a round begins with a flush
  for (const region of [A, B])
    await until(`${region} has stored it`, async () =>
      (await shards(region)).filter(({ flushed_lsn, lsn }) => flushed_lsn === lsn).length === 3, 60_000);
  // They burn down.
  for (const region of [A, B]) await cluster.kill(nodeOf(region).name);
  await heal(cluster, [nodeOf(C)]);
  await until("the loss is known", async () =>
    (await command(cluster, "region", "recover", "--survivors", C, "--force", "--yes")).code === 0, 60_000, 500);
  assert.equal((await at(C).item("lost", "p").read()).statusCode, 404);
  assert.equal((await at(C).item("kept", "p").read()).resource.text, "before");
  await at(C).items.create({ id: "new", pk: "p" });

  // Their disks come back, and contradict what is there now: one is sent entries,
  // the other a snapshot.
  const overruled = (region) => until(`${region} sees that it was overruled`, async () =>
    (await shards(region)).some((shard) => shard.overruled), 60_000);
  const returned = {};
  const giveBack = async (region) => (returned[region] = await startAlone(cluster, nodeOf(region), {}, { waitReady: false }));
  await giveBack(B);
  await overruled(B);
  const pad = "x".repeat(128 * 1024);
  for (let n = 0; n < 120; n++) await at(C).items.create({ id: `pad ${n}`, pk: `p${n % 40}`, pad });
  await until("the log begins later", async () => (await shards(C)).slice(1).every(({ base_lsn }) => base_lsn > 10), 60_000);
  await giveBack(A);
  await overruled(A);
  assert.deepEqual(await conflictsAt(C), []);

  // One lost its log as well: its store tells of the documents it had.
  await returned[B].kill();
  rmSync(path.join(nodeOf(B).dir, "data/wal"), { recursive: true });
  assert.match(await rebuild(B), /overwritten entries of the old data become conflicts/);
  const two = await until("two conflicts", async () => {
    const found = await conflictsAt(C);
    return found.length >= 2 && found;
  }, 60_000);
  assert.deepEqual(two.map(({ operationType }) => operationType).sort(), ["create", "replace"]);

  // The other has its log, which tells of the deletion, too.
  await returned[A].kill();
  await rebuild(A);
  const three = await until("three conflicts", async () => {
    const found = await conflictsAt(C);
    return found.length >= 3 && found;
  }, 60_000);
  assert.deepEqual(three.map(({ operationType }) => operationType).sort(), ["create", "delete", "replace"]);
  for (const { content, operationType } of three)
    if (operationType !== "delete") assert.equal(JSON.parse(content).text, "lost");
  for (const region of [A, B, C]) assert.equal((await at(region).item("kept", "p").read()).resource.text, "before");
});
