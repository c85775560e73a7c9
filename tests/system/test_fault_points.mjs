// Every named fault point, in one node of a running cluster: the node dies
// there, comes back, and has every acknowledged write.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { Cluster, makeContainer, until } from "../sdk/lib.mjs";
import { Documents, killAlone, startAlone, statusOf } from "./lib.mjs";

const LOAD_LIMIT_MS = 25_000;
const LARGE = 60_000;

let cluster, documents;
before(async () => {
  // Small log files, so that making and deleting them happens too.
  process.env.BASTIDE_LIMITS_LOG_SEGMENT_BYTES = "1MiB";
  cluster = await Cluster.start();
  documents = new Documents(cluster, await makeContainer(cluster.client()));
  await documents.write(({ ids }) => ids.length > 0);
});
after(async () => {
  documents?.close();
  await killAlone();
  await cluster?.stop();
});

const alive = (except) => () => cluster.nodes.filter(({ name }) => name !== except.name).map(({ endpoint }) => endpoint);

/** Writes until the node has died at its fault point. */
async function writeUntilDead(node, faulty, bytes) {
  const end = Date.now() + LOAD_LIMIT_MS;
  const { ids } = await documents.write(() => faulty.ended() || Date.now() > end, { bytes, endpoints: alive(node) });
  assert.ok(faulty.ended(), `${node.name} did not come to the fault point\n${faulty.output().slice(-1000)}`);
  assert.equal(faulty.code(), "SIGKILL", faulty.output().slice(-2000));
  return ids;
}

// Which hit of which point, and how large the documents are that lead there.
const crashes = {
  "log.append.before": ["crash@25", 1000],
  "log.append.after": ["crash@25", 1000],
  "log.sync.before": ["crash@25", 1000],
  "log.sync.after": ["crash@25", 1000],
  "log.segment.before": ["crash@1", LARGE],
  "log.segment.after": ["crash@1", LARGE],
  "log.delete.before": ["crash@2", LARGE],
  "store.flush.before": ["crash@1", LARGE],
  "store.flush.after": ["crash@1", LARGE],
  "store.commit.before": ["crash@2", LARGE],
  "store.commit.after": ["crash@2", LARGE],
};
// Come to without a document being written.
const atStart = { "log.read": "crash@1", "store.read": "crash@1", "loop.turn": "crash@200" };
const snapshots = ["store.snapshot.write", "store.snapshot.adopt.before", "store.snapshot.adopt.after"];
const starts = ["log.replay.before"];
const elsewhere = [/^move\./, /^split\./, /^quarantine\./, /^renewal\./, /^store\.record\./]; // test_placement_move_kills.mjs, test_split_kills.mjs, test_scrub.mjs

test("every fault point is tested here", () => {
  const header = readFileSync(new URL("../../node/base/fault_points.h", import.meta.url), "utf8");
  const points = [...header.matchAll(/X\("([^"]+)"/g)].map(([, name]) => name)
    .filter((name) => !elsewhere.some((pattern) => pattern.test(name)));
  assert.deepEqual(points.toSorted(),
    [...Object.keys(crashes), ...Object.keys(atStart), ...snapshots, ...starts].toSorted());
});

let turn = 0;
for (const [point, [action, bytes]] of [...Object.entries(crashes), ["log.append.before", ["short@25", 1000]]])
  test(`a node that dies at ${point}=${action} comes back with every acknowledged write`, async () => {
    const node = cluster.reload().nodes[turn++ % cluster.nodes.length];
    await cluster.kill(node.name);
    const faulty = await startAlone(cluster, node, { BASTIDE_FAULTS: `${point}=${action}` });
    const ids = await writeUntilDead(node, faulty, bytes);
    await cluster.restart(node.name);
    await documents.compare(node.endpoint, ids, `${node.name} after ${point}`);
  });

for (const [point, action] of Object.entries(atStart))
  test(`a node that dies at ${point}=${action} comes back`, async () => {
    const node = cluster.reload().nodes[turn++ % cluster.nodes.length];
    await cluster.kill(node.name);
    const faulty = await startAlone(cluster, node, { BASTIDE_FAULTS: `${point}=${action}` }, { waitReady: false });
    await until(`${node.name} dies at ${point}`, faulty.ended);
    assert.equal(faulty.code(), "SIGKILL", faulty.output().slice(-2000));
    await cluster.restart(node.name);
    await documents.compare(node.endpoint, undefined, `${node.name} after ${point}`);
  });

test("a node that dies while it receives a snapshot takes it the next time", async () => {
  const node = cluster.reload().nodes[1];
  const before = (await statusOf(cluster)).get(node.name).shards;
  await cluster.kill(node.name);
  // Until the others have nothing left of what this node lacks but a snapshot.
  await documents.write(async ({ ids }) => ids.length % 50 === 49 && [...(await statusOf(cluster)).values()].every(({ shards }) =>
    shards.some(({ shard, base_lsn }) => shard > 0 && base_lsn > before[shard].lsn)), { bytes: LARGE, endpoints: alive(node) });
  for (const point of snapshots) {
    const faulty = await startAlone(cluster, node, { BASTIDE_FAULTS: `${point}=crash@1` }, { waitReady: false });
    await until(`${node.name} dies at ${point}`, faulty.ended);
    assert.equal(faulty.code(), "SIGKILL", `${point}: ${faulty.output().slice(-2000)}`);
  }
  await cluster.restart(node.name);
  await documents.compare(node.endpoint);
});

test("a node that dies while it starts starts the next time", async () => {
  const node = cluster.reload().nodes[2];
  await cluster.kill(node.name);
  for (const point of starts) {
    const faulty = await startAlone(cluster, node, { BASTIDE_FAULTS: `${point}=crash@1` }, { waitReady: false });
    await until(`${node.name} dies at ${point}`, faulty.ended);
    assert.equal(faulty.code(), "SIGKILL", `${point}: ${faulty.output().slice(-2000)}`);
  }
  await cluster.restart(node.name);
});

test("after all this every node has every acknowledged write", async () => {
  for (const { endpoint, name } of cluster.reload().nodes) {
    const container = cluster.client({ endpoint }).database(documents.path.split("/")[2]).container("items");
    const { resources } = await container.items.query("SELECT VALUE c.id FROM c").fetchAll();
    const found = new Set(resources);
    assert.equal(found.size, resources.length, name);
    for (const id of documents.acknowledged.keys()) assert.ok(found.has(id), `${name}: ${id}`);
  }
});
