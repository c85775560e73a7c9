// Nodes are killed and started again, one after the other and all at once,
// while writers go on. Afterwards every region must hold exactly what was
// acknowledged: no write lost, none undone, none half done, no deleted document
// back. Only raw requests, so that nobody repeats a request behind our back.
import assert from "node:assert/strict";
import https from "node:https";
import { after, before, test } from "node:test";
import { Cluster, clean, failure, isAlive, makeContainer, until } from "../sdk/lib.mjs";

const WRITERS = 6;
const COUNTERS = 2; // documents that several writers increment

let cluster, docs, agents;
before(async () => {
  cluster = await Cluster.start();
  const { database, id } = await makeContainer(cluster.client());
  docs = `/dbs/${database.id}/colls/${id}/docs`;
  agents = new Map();
});
after(async () => {
  for (const agent of agents?.values() ?? []) agent.destroy();
  await cluster?.stop();
});

/** Connections are kept for reading; a writer makes a new one each time, so
 *  that a refused connection says that nothing was sent. */
function agentOf(endpoint) {
  if (!agents.has(endpoint)) agents.set(endpoint, new https.Agent({ ca: cluster.ca, keepAlive: true, maxSockets: 8 }));
  return agents.get(endpoint);
}

const keyOf = (pk) => ({ "x-ms-documentdb-partitionkey": JSON.stringify([pk]) });
const read = (endpoint, id, pk) =>
  cluster.request({ path: `${docs}/${id}`, headers: keyOf(pk), endpoint, agent: agentOf(endpoint) });

/** A document whose every part says which version it is. */
function version(id, pk, n) {
  return { id, pk, n, text: `${n}.`.repeat((n * 37) % 900), end: n };
}

/** "done", "not done" or "unknown"; anything else is a violation. */
async function attempt(request, expected) {
  let answer;
  try {
    answer = await cluster.request(request);
  } catch (error) {
    // Nothing listened: nothing was sent.
    return { outcome: error.code === "ECONNREFUSED" ? "not done" : "unknown", why: error.code ?? error.message };
  }
  if (answer.status === expected) return { outcome: "done", answer };
  if (answer.status === 408) return { outcome: "unknown", why: 408 };
  if (answer.status === 503 || answer.status === 429) return { outcome: "not done", why: answer.status };
  return { outcome: "violation", answer, why: `${answer.status} ${answer.text}` };
}

/** What may be stored under one id: versions, or null for nothing. Only its
 *  writer changes it; after an unknown outcome it is left alone, because the
 *  request may still arrive. */
class Item {
  constructor(id, pk) {
    Object.assign(this, { id, pk, possible: [null], n: 0, frozen: false, steps: [] });
  }

  async change(kind, endpoint) {
    const next = kind === "delete" ? null : ++this.n;
    const document = next === null ? undefined : JSON.stringify(version(this.id, this.pk, next));
    const [current] = this.possible;
    const request = {
      create: { method: "POST", path: docs, expected: 201 },
      upsert: { method: "POST", path: docs, expected: current === null ? 201 : 200, headers: { "x-ms-documentdb-is-upsert": "true" } },
      replace: { method: "PUT", path: `${docs}/${this.id}`, expected: 200 },
      delete: { method: "DELETE", path: `${docs}/${this.id}`, expected: 204 },
    }[kind];
    const { outcome, why } = await attempt(
      { ...request, body: document, endpoint, headers: { ...request.headers, ...keyOf(this.pk) } }, request.expected);
    this.steps.push(`${kind} ${next}: ${outcome} ${why ?? ""}`);
    if (outcome === "done") this.possible = [next];
    else if (outcome === "unknown") {
      this.possible = [current, next];
      this.frozen = true;
    } else if (outcome === "violation") throw new Error(`${this.id} held ${current}: ${kind} got ${why}\n${this.steps.join("\n")}`);
    return outcome;
  }
}

/** Adds one to a counter if nobody else did meanwhile. */
async function increment(counter, endpoint) {
  const answer = await read(endpoint, counter.id, counter.id);
  if (answer.status !== 200) return;
  const { outcome, answer: refused, why } = await attempt({
    method: "PUT", path: `${docs}/${counter.id}`, endpoint, body: JSON.stringify({ ...clean(answer.json), n: answer.json.n + 1 }),
    headers: { ...keyOf(counter.id), "if-match": answer.headers.etag } }, 200);
  if (outcome === "done") counter.done++;
  else if (outcome === "unknown") counter.unknown++;
  else if (outcome === "violation" && refused.status !== 412) throw new Error(`${counter.id}: ${why}`);
}

let serial = 0;
/** Writers that go on until told to stop. */
function load(items, counters) {
  const state = { done: 0, unknown: 0, stopped: false };
  const endpoints = () => [cluster.info.endpoint, ...cluster.nodes.map(({ endpoint }) => endpoint)];
  const writer = async (w) => {
    let item, age = 0;
    for (let turn = 0; !state.stopped; turn++) {
      const endpoint = endpoints()[(turn + w) % 4];
      if (turn % 5 === 4) {
        await increment(counters[turn % COUNTERS], endpoint).catch((error) => {
          if (!/ECONN|socket hang up|EPIPE|no answer/.test(`${error.code} ${error.message}`)) throw error;
        });
        continue;
      }
      if (!item || item.frozen || age > 5) {
        const n = serial++;
        items.push((item = new Item(`i${n}`, `p${n % 11}`)));
        age = 0;
      }
      const exists = item.possible[0] !== null;
      const kind = exists ? ["upsert", "replace", "delete"][(turn + w) % 3] : ["create", "upsert"][(turn + w) % 2];
      const outcome = await item.change(kind, endpoint);
      age++;
      if (outcome === "done") state.done++;
      if (outcome === "unknown") state.unknown++;
    }
  };
  const all = Promise.all(Array.from({ length: WRITERS }, (_, w) => writer(w)));
  all.catch(() => {});
  state.more = async (count) => {
    const goal = state.done + count;
    await Promise.race([all, until(`${count} more writes`, () => state.done >= goal, 60_000)]);
  };
  state.stop = () => ((state.stopped = true), all);
  return state;
}

/** Compares what every node answers with what is possible, by point reads and
 *  by a feed of everything. */
async function compare(items, counters) {
  const settled = new Map();
  for (const { name, endpoint } of cluster.nodes) {
    const queue = [...items];
    const reader = async () => {
      for (let item; (item = queue.pop()); ) {
        const { status, json, text } = await read(endpoint, item.id, item.pk);
        assert.ok(status === 200 || status === 404, `${name}: ${item.id}: ${status} ${text}`);
        const found = status === 200 ? json.n : null;
        const story = `${name}: ${item.id} is ${found}, expected ${item.possible.join(" or ")}\n${item.steps.join("\n")}`;
        assert.ok(item.possible.includes(found), story);
        if (found !== null) assert.deepEqual(clean(json), version(item.id, item.pk, found), story);
        // What one node has shown, the others show too.
        if (settled.has(item.id)) assert.equal(found, settled.get(item.id), `regions differ\n${story}`);
        settled.set(item.id, found);
        item.possible = [found];
      }
    };
    await Promise.all(Array.from({ length: 8 }, reader));
    await compareFeed(name, endpoint, items, counters);
    for (const counter of counters) {
      const { json } = await read(endpoint, counter.id, counter.id);
      assert.ok(json.n >= counter.done && json.n <= counter.done + counter.unknown,
        `${name}: ${counter.id} is ${json.n}, ${counter.done} increments were acknowledged, ${counter.unknown} are unknown`);
    }
  }
}

async function compareFeed(name, endpoint, items, counters) {
  const listed = new Map();
  for (const range of ["0", "1"])
    for (let continuation = ""; continuation !== undefined; ) {
      const { status, headers, json, text } = await cluster.request({
        path: docs, endpoint, agent: agentOf(endpoint),
        headers: { "x-ms-documentdb-partitionkeyrangeid": range, "x-ms-max-item-count": "1000",
          ...(continuation && { "x-ms-continuation": continuation }) } });
      assert.equal(status, 200, text);
      for (const document of json.Documents) {
        assert.ok(!listed.has(document.id), `${name}: ${document.id} is listed twice`);
        listed.set(document.id, document.n);
      }
      continuation = headers["x-ms-continuation"];
    }
  for (const { id, possible } of items) assert.equal(listed.get(id) ?? null, possible[0], `${name}: ${id} in the feed`);
  assert.equal(listed.size, items.filter(({ possible }) => possible[0] !== null).length + counters.length, name);
}

async function makeCounters(tag) {
  const counters = Array.from({ length: COUNTERS }, (_, i) => ({ id: `counter-${tag}-${i}`, done: 0, unknown: 0 }));
  for (const { id } of counters) {
    const { status } = await cluster.request({ method: "POST", path: docs, headers: keyOf(id), body: JSON.stringify({ id, pk: id, n: 0 }) });
    assert.equal(status, 201);
  }
  return counters;
}

const items = [];
let counters;

test("nodes killed one at a time, and two at a time, lose nothing that was acknowledged", async () => {
  counters = await makeCounters("a");
  const state = load(items, counters);
  for (const { name } of [...cluster.nodes]) {
    await state.more(60);
    await cluster.kill(name);
    await state.more(60);
    await cluster.restart(name);
  }
  const [first, second] = cluster.nodes.map(({ name }) => name);
  await state.more(60);
  await Promise.all([cluster.kill(first), cluster.kill(second)]);
  await cluster.restart("all");
  await state.more(60);
  await state.stop();
  await compare(items, counters);
});

test("all nodes killed at once, three times, lose nothing that was acknowledged", async () => {
  for (let round = 0; round < 3; round++) {
    const state = load(items, counters);
    await state.more(150);
    const pids = cluster.reload().nodes.map(({ pid }) => pid);
    for (const pid of pids) process.kill(pid, "SIGKILL");
    await until("every node is dead", () => !pids.some(isAlive));
    await state.stop();
    await cluster.restart("all");
    await compare(items, counters);
  }
  assert.ok(items.length > 100);
});

test("killed again before they are up, the nodes still come back with everything", async () => {
  const state = load(items, counters);
  await state.more(60);
  for (let round = 0; round < 3; round++) {
    for (const { pid } of cluster.reload().nodes) if (isAlive(pid)) process.kill(pid, "SIGKILL");
    await until("every node is dead", () => !cluster.nodes.some(({ pid }) => isAlive(pid)));
    // The start is interrupted wherever it happens to be.
    const starting = failure(cluster.restart("all")).catch(() => undefined);
    if (round < 2)
      await until("a process is there", () => cluster.reload().nodes.some(({ pid }) => isAlive(pid)), 10_000, 1 + 20 * round);
    else await starting;
  }
  await state.stop();
  await cluster.restart("all");
  await compare(items, counters);
});
