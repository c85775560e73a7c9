// Losing any one node loses nothing, and a client of the account endpoint
// notices one slow request at most.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster, isAlive, makeContainer, until } from "./lib.mjs";

const WRITERS = 4;
const LONGEST_MS = 10_000;

let cluster;
before(async () => (cluster = await Cluster.start()));
after(() => cluster?.stop());

/** Writes documents until told to stop. Requests do not share connections, so
 *  that only what is under way at the moment of the kill can be cut off. */
function load(container, client, tag) {
  const state = { acknowledged: new Map(), unknown: new Map(), errors: [], longestMs: 0, stopped: false };
  const target = client.database(container.database.id).container(container.id);
  const one = async (writer) => {
    for (let n = 0; !state.stopped; n++) {
      const document = { id: `${tag}-${writer}-${n}`, pk: `p${n % 7}`, n };
      const begun = Date.now();
      try {
        await target.items.create(document);
        state.acknowledged.set(document.id, document);
      } catch (error) {
        state.errors.push(error);
        state.unknown.set(document.id, document);
      }
      state.longestMs = Math.max(state.longestMs, Date.now() - begun);
    }
  };
  const writers = Promise.all(Array.from({ length: WRITERS }, (_, writer) => one(writer)));
  state.stop = async () => {
    state.stopped = true;
    await writers;
  };
  return state;
}

async function compare(container, state) {
  for (const document of state.acknowledged.values()) {
    const { resource } = await container.item(document.id, document.pk).read();
    assert.equal(resource?.n, document.n, `${document.id} was acknowledged`);
  }
}

const writes = (state, more) => {
  const goal = state.acknowledged.size + more;
  return until(`${more} more writes`, () => state.acknowledged.size >= goal);
};

test("each node in turn is killed under load and started again", async () => {
  const client = cluster.client({ keepAlive: false });
  const container = await makeContainer(client);
  for (const { name } of [...cluster.nodes]) {
    const state = load(container, client, name);
    await writes(state, 40);
    await cluster.kill(name);
    await writes(state, 100);
    await state.stop();
    // Only requests that the dead node had in hand may have been cut off.
    assert.ok(state.errors.length <= WRITERS, state.errors.map((e) => e.message ?? e).join("\n"));
    for (const error of state.errors)
      assert.match(String(error.code ?? error.message), /ECONNRESET|EPIPE|socket hang up|ECONNREFUSED/i);
    assert.ok(state.longestMs < LONGEST_MS, `${name}: the slowest request took ${state.longestMs} ms`);
    await compare(container, state);
    await cluster.restart(name);
    await compare(container, state);
  }
});

test("a node that was away answers with what it missed", async () => {
  const client = cluster.client({ keepAlive: false });
  const container = await makeContainer(client);
  const { name, endpoint } = cluster.nodes.at(-1);
  await cluster.kill(name);
  const documents = Array.from({ length: 50 }, (_, n) => ({ id: `${n}`, pk: `p${n % 5}`, n }));
  for (const document of documents) await container.items.create(document);
  await cluster.restart(name);
  const direct = cluster.client({ endpoint }).database(container.database.id).container(container.id);
  for (const { id, pk, n } of documents) assert.equal((await direct.item(id, pk).read()).resource?.n, n);
});

test("reads through a region whose nodes are dead go on", async () => {
  const container = await makeContainer(cluster.client());
  await container.items.create({ id: "1", pk: "a" });
  const region = cluster.info.regions.at(-1);
  const reader = cluster.client({ region: region.name, keepAlive: false })
    .database(container.database.id).container(container.id);
  assert.equal((await reader.item("1", "a").read()).statusCode, 200);
  for (const { name } of region.nodes) await cluster.kill(name);
  await until(`somebody stands in for ${region.name}`, async () => {
    try {
      return (await reader.item("1", "a").read()).statusCode === 200;
    } catch {
      return false;
    }
  }, 15_000);
  await reader.items.create({ id: "2", pk: "a" });
  assert.equal((await reader.item("2", "a").read()).statusCode, 200);
  for (const { name } of region.nodes) await cluster.restart(name);
});

test("without a majority writes are refused or time out, and nothing is lost when it returns", async () => {
  const client = cluster.client({ keepAlive: false });
  const container = await makeContainer(client);
  await container.items.create({ id: "before", pk: "a" });
  const [survivor, ...others] = cluster.nodes;
  for (const { name } of others) await cluster.kill(name);
  const path = `/dbs/${container.database.id}/colls/${container.id}/docs`;
  const answer = await cluster.request({
    method: "POST", path, endpoint: survivor.endpoint, body: '{"id":"during","pk":"a"}',
    headers: { "x-ms-documentdb-partitionkey": '["a"]' } });
  assert.ok(answer.status === 503 || answer.status === 408, `${answer.status} ${answer.text}`);
  assert.equal(typeof answer.json.message, "string");
  const { pid } = cluster.reload().nodes.find(({ name }) => name === survivor.name);
  assert.ok(isAlive(pid));
  await cluster.restart("all");
  await until("writes work again", async () => {
    try {
      return (await container.items.upsert({ id: "after", pk: "a" })).statusCode < 300;
    } catch {
      return false;
    }
  });
  assert.equal((await container.item("before", "a").read()).statusCode, 200);
});
