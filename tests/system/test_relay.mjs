// Entries cross to a region once and are passed on inside it; a node that passes
// nothing on any more costs its neighbour a moment, and nobody a document.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster, makeContainer, until } from "../sdk/lib.mjs";
import { Documents, admin, statusOf } from "./lib.mjs";

const NODES = 3;
let cluster, documents;
before(async () => {
  cluster = await Cluster.start({
    flags: ["--regions", "eastus,westeurope", "--nodes-per-region", String(NODES), "--latency", "10ms",
      "--consistency", "session", "--shards", "1"] });
  documents = new Documents(cluster, await makeContainer(cluster.client()));
});
after(() => {
  documents?.close();
  return cluster?.stop();
});

const status = async (node) => (await admin(cluster, node, "GET", "/status")).json;
const isFar = ({ region }) => region !== "eastus";
const far = () => cluster.nodes.filter(isFar);
const near = () => cluster.nodes.filter((node) => !isFar(node));
/** The node that leads shard 1, where leaders that are spread belong, and its
 *  links to the other region. */
async function leader() {
  const found = await until("shard 1 has its leader", async () => {
    const answer = await status(near()[1 % NODES]);
    return answer.shards[1].role === "leader" ? answer : undefined;
  });
  return { ...found, far: found.links.filter(isFar) };
}
const sum = (list, member) => list.reduce((total, each) => total + each[member], 0);

/** All replicas have all there is. */
const caughtUp = () => until("all replicas have caught up", async () => {
  const all = [...(await statusOf(cluster)).values()];
  const lsns = new Set(all.map(({ shards }) => `${shards[1].applied_lsn} ${shards[1].lsn}`));
  return all.length === cluster.nodes.length && lsns.size === 1;
});
// Not by the account's address: a process that hangs would still get connections.
const load = { bytes: 2000, writers: 4, endpoints: () => near().map(({ endpoint }) => endpoint) };
const writeSome = (count) => documents.write(({ ids }) => ids.length >= count, load);

test("entries cross once and reach every node", async () => {
  const start = await leader();
  await writeSome(400);
  await caughtUp();
  const { far: links } = await leader();
  const crossed = sum(links, "raft_entries_out") - sum(start.far, "raft_entries_out");
  const bare = sum(links, "appends_bare") - sum(start.far, "appends_bare");
  const shared = sum(links, "appends_shared") - sum(start.far, "appends_shared");
  assert.ok(shared > 0 && bare > shared, `${shared} shared, ${bare} bare`);
  // A machine that is busy may keep a neighbour waiting; then it costs twice.
  assert.ok(crossed < 400 * 2000 * 2.5, `${crossed} bytes of entries crossed`);
  for (const node of cluster.nodes) await documents.compare(node.endpoint);
});

test("a node that hangs while it should pass on holds nobody up", async () => {
  const { far: links } = await leader();
  const relay = links.reduce((a, b) => (a.appends_shared >= b.appends_shared ? a : b));
  const { pid } = cluster.nodes.find(({ name }) => name === relay.node);
  process.kill(pid, "SIGSTOP");
  try {
    await writeSome(200);
    const others = far().filter(({ name }) => name !== relay.node);
    for (const node of others) {
      const { commit_lsn } = (await leader()).shards[1];
      await until(`${node.name} has caught up`, async () => (await status(node)).shards[1].applied_lsn >= commit_lsn);
    }
  } finally {
    process.kill(pid, "SIGCONT");
  }
  await caughtUp();
  for (const node of cluster.nodes) await documents.compare(node.endpoint);
});

test("a node that dies while it should pass on loses nothing", async () => {
  const { far: links } = await leader();
  const relay = links.reduce((a, b) => (a.appends_shared >= b.appends_shared ? a : b));
  let killed = false;
  await documents.write(async ({ ids }) => {
    if (ids.length > 100 && !killed) {
      killed = true;
      await cluster.kill(relay.node);
    }
    return ids.length >= 300;
  }, load);
  await cluster.restart(relay.node);
  await caughtUp();
  for (const node of cluster.nodes) await documents.compare(node.endpoint);
});
