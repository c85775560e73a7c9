// What a lost region had acknowledged and nobody else had got: it is overwritten
// when another region takes over, and comes back as conflicts when the lost
// region's disks do. All of it, and nothing else.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster, clean, failure, makeContainer, until } from "./lib.mjs";
import { admin, heal, inject } from "../system/lib.mjs";

// Far enough apart that what is under way at a cut never arrives.
const ROUND_TRIP_MS = 100;

let cluster;
const conflicted = []; // containers that have some
before(async () => {
  cluster = await Cluster.start({ flags: ["--latency", `${ROUND_TRIP_MS}ms`, "--consistency", "session"] });
});
after(() => cluster?.stop());

const writeRegion = async (endpoint) => (await cluster.request({ endpoint })).json.writableLocations[0].name;
const nodeOf = (region) => cluster.nodes.find((node) => node.region === region);
const everywhere = (container, id, pk) => until(`${id} is everywhere`, async () => {
  const path = `/dbs/${container.database.id}/colls/${container.id}/docs/${id}`;
  const headers = { "x-ms-documentdb-partitionkey": JSON.stringify([pk]), "x-ms-consistency-level": "Eventual" };
  const found = await Promise.all(cluster.nodes.map(({ endpoint }) => cluster.request({ endpoint, path, headers })));
  return found.every(({ status }) => status === 200);
});
const same = (container, client) => client.database(container.database.id).container(container.id);

/** Cuts the write region off, runs `writes` in it while it may still answer,
 *  kills it if told to; resolves when another region takes writes. */
async function loseRegion(container, writes, { kill = false } = {}) {
  const lost = await writeRegion();
  const node = nodeOf(lost);
  const others = cluster.info.regions.map(({ name }) => name).filter((name) => name !== lost);
  const writer = same(container, cluster.client({ endpoint: node.endpoint }));
  await writer.item("warm", "w").read(); // connected, and knows the account
  await Promise.all(others.map((to) => inject(cluster, { kind: "cut", from: lost, to, both: true }, [node])));
  await writes(writer);
  if (kill) await cluster.kill(node.name);
  const other = nodeOf(others[0]);
  await until("the account names another region", async () => (await writeRegion(other.endpoint)) !== lost);
  // A client that begins now; others may ask the cut-off node for a while.
  const survivor = same(container, cluster.client({ endpoint: other.endpoint }));
  await until("another region takes writes", () =>
    survivor.items.upsert({ id: "after", pk: "w" }).then(() => true, () => false));
  return { node, survivor };
}

const byOperation = (conflicts) => Object.fromEntries(conflicts.map((one) => [one.operationType, one]));

test("a container without conflicts has none", async () => {
  const container = await makeContainer(cluster.client());
  assert.deepEqual((await container.conflicts.readAll().fetchAll()).resources, []);
  assert.equal((await failure(container.conflict("1-1.1-1-0").read())).code, 404);
  assert.equal((await failure(container.conflict("no such", "p").delete())).code, 404);
});

test("acknowledged writes that a failover overwrote become conflicts", async () => {
  const container = await makeContainer(cluster.client());
  for (const id of ["warm", "kept", "gone"]) {
    const pk = id === "warm" ? "w" : "p";
    await container.items.create({ id, pk, text: "before" });
    await everywhere(container, id, pk);
  }
  const { node, survivor } = await loseRegion(container, (writer) => Promise.all([
    writer.items.create({ id: "lost", pk: "p", text: "ä \"quoted\" \\ text", n: [1, 2.50] }),
    writer.item("kept", "p").replace({ id: "kept", pk: "p", text: "after" }),
    writer.item("gone", "p").delete(),
  ]), { kill: true });
  // The other regions never had them.
  assert.equal((await survivor.item("lost", "p").read()).statusCode, 404);
  assert.equal((await survivor.item("kept", "p").read()).resource.text, "before");
  assert.equal((await survivor.item("gone", "p").read()).statusCode, 200);
  assert.deepEqual((await survivor.conflicts.readAll().fetchAll()).resources, []);

  await cluster.restart(node.name);
  const conflicts = await until("the conflicts are there", async () => {
    const { resources } = await survivor.conflicts.readAll().fetchAll();
    return resources.length >= 3 && resources;
  }, 60_000);
  assert.equal(conflicts.length, 3);
  const { create, replace, delete: deleted } = byOperation(conflicts);
  assert.deepEqual(clean(JSON.parse(create.content)), { id: "lost", pk: "p", text: "ä \"quoted\" \\ text", n: [1, 2.5] });
  assert.deepEqual(clean(JSON.parse(replace.content)), { id: "kept", pk: "p", text: "after" });
  assert.equal(deleted.content, "");
  for (const one of conflicts) {
    assert.equal(one.resourceType, "document");
    assert.equal(one._acknowledged, null); // the region died with what it knew
    assert.ok(one._lsn > 0 && one._epoch >= 0);
    assert.match(one._self, /^dbs\/.*\/colls\/.*\/conflicts\/.*\/$/);
  }
  // They name the documents as they are, or would have been.
  const kept = (await survivor.item("kept", "p").read()).resource;
  assert.equal(replace.resourceId, kept._rid);
  assert.equal(create.resourceId, JSON.parse(create.content)._rid);

  // Pages, queries, one by one.
  const pages = survivor.conflicts.readAll({ maxItemCount: 1 });
  const seen = [];
  while (pages.hasMoreResults()) seen.push(...((await pages.fetchNext()).resources ?? []));
  assert.deepEqual(seen.map(({ id }) => id).sort(), conflicts.map(({ id }) => id).sort());
  const query = survivor.conflicts.query("SELECT * FROM c WHERE c.operationType = 'delete'");
  assert.deepEqual((await query.fetchAll()).resources.map(({ id }) => id), [deleted.id]);
  const { resource, statusCode } = await survivor.conflict(create.id, "p").read();
  assert.equal(statusCode, 200);
  assert.deepEqual(resource, create);

  // An operator takes one back by hand, and lays it aside.
  await survivor.items.create(JSON.parse(create.content));
  assert.equal((await survivor.conflict(create.id, "p").delete()).statusCode, 204);
  assert.equal((await survivor.conflict(replace.id).delete()).statusCode, 204);
  assert.equal((await failure(survivor.conflict(create.id, "p").read())).code, 404);
  assert.deepEqual((await survivor.conflicts.readAll().fetchAll()).resources.map(({ id }) => id), [deleted.id]);

  // Nothing comes back with the next start of any node.
  for (const { name } of [...cluster.nodes]) {
    await cluster.kill(name);
    await cluster.restart(name);
  }
  await until("writes go on", () => container.items.upsert({ id: "end", pk: "p" }).then(() => true, () => false));
  conflicted.push(survivor);
  assert.deepEqual((await survivor.conflicts.readAll().fetchAll()).resources.map(({ id }) => id), [deleted.id]);
});

test("a region that was cut off knows which answers it gave", async () => {
  const container = await makeContainer(cluster.client());
  await container.items.create({ id: "warm", pk: "w" });
  await everywhere(container, "warm", "w");
  const { survivor } = await loseRegion(container, (writer) =>
    Promise.all([1, 2, 3, 4, 5].map((n) => writer.items.create({ id: `lost ${n}`, pk: "p", n }))));
  await heal(cluster);
  const conflicts = await until("the conflicts are there", async () => {
    const { resources } = await survivor.conflicts.readAll().fetchAll();
    return resources.length >= 5 && resources;
  }, 60_000);
  assert.deepEqual(conflicts.map(({ content }) => JSON.parse(content).n).sort(), [1, 2, 3, 4, 5]);
  for (const { _acknowledged } of conflicts) assert.equal(_acknowledged, true);
  conflicted.push(survivor);
});

test("a container that is deleted takes its conflicts along", async () => {
  const container = await makeContainer(cluster.client());
  await container.items.create({ id: "warm", pk: "w" });
  await everywhere(container, "warm", "w");
  const { node, survivor } = await loseRegion(
    container, (writer) => writer.items.create({ id: "lost", pk: "p" }), { kill: true });
  await survivor.delete();
  const again = await makeContainer(cluster.client());
  await cluster.restart(node.name);
  const status = () => cluster.request({ path: `/dbs/${container.database.id}/colls/${container.id}/conflicts` });
  assert.equal((await status()).status, 404);
  await until("the region is back", () => again.items.upsert({ id: "x", pk: "p" }).then(() => true, () => false));
  assert.deepEqual((await again.conflicts.readAll().fetchAll()).resources, []);
});

test("when its group is split, a container with conflicts waits until they are gone", async () => {
  const [node] = cluster.nodes;
  const splitNow = async () => {
    const answers = await Promise.all(cluster.nodes.map((one) => admin(cluster, one, "GET", "/placement").catch(() => undefined)));
    return answers.map((answer) => answer?.json?.groups?.[0].split).filter((split) => split);
  };
  await until("the split begins", async () =>
    (await admin(cluster, node, "POST", "/placement/split", { group: "default", shards: 4 })).status === 202, 60_000, 500);
  await until("all others have moved, and it says what it waits for", async () =>
    (await splitNow()).some(({ left, moving, waits_for }) =>
      left === conflicted.length && moving === 0 && /has conflicts, which do not move/.test(waits_for)), 60_000, 200);
  for (const container of conflicted) {
    const { resources } = await container.conflicts.readAll().fetchAll();
    assert.ok(resources.length > 0);
    for (const { id } of resources) await container.conflict(id, "p").delete();
  }
  await until("they move, too", async () => (await splitNow()).every(({ left }) => left === 0), 60_000, 200);
  for (const container of conflicted)
    assert.equal((await container.readPartitionKeyRanges().fetchAll()).resources.length, 4);
});
