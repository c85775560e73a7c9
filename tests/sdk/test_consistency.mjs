// The account's consistency level: changed at run time, relaxed per request,
// never strengthened; and what each level gives between regions that are far
// from each other.
import assert from "node:assert/strict";
import https from "node:https";
import { after, before, test } from "node:test";
import { Cluster, failure, makeContainer, run, until } from "./lib.mjs";

const LEVELS = ["Strong", "BoundedStaleness", "Session", "ConsistentPrefix", "Eventual"];
const WORDS = ["strong", "bounded-staleness", "session", "consistent-prefix", "eventual"];
const ROUND_TRIP_MS = 60;
const APPLIED_MS = 1000;

let cluster, agents;
before(async () => (cluster = await Cluster.start({ flags: ["--latency", `${ROUND_TRIP_MS}ms`] })));
after(async () => {
  for (const agent of agents?.values() ?? []) agent.destroy();
  await cluster?.stop();
});

const same = (container, client) => client.database(container.database.id).container(container.id);
const docs = (container) => `/dbs/${container.database.id}/colls/${container.id}/docs`;
const pk = (value) => ({ "x-ms-documentdb-partitionkey": JSON.stringify([value]) });
const level = (name) => (name ? { "x-ms-consistency-level": name } : {});

/** One kept connection to each node, so that a request's time is its own. */
function agentOf(node) {
  agents ??= new Map();
  if (!agents.has(node.name)) agents.set(node.name, new https.Agent({ ca: cluster.ca, keepAlive: true, maxSockets: 64 }));
  return agents.get(node.name);
}
const ask = (node, options) => cluster.request({ endpoint: node.endpoint, agent: agentOf(node), ...options });
const read = (node, container, id, key, headers = {}) =>
  ask(node, { path: `${docs(container)}/${id}`, headers: { ...pk(key), ...headers } });
const create = (node, container, document, headers = {}) =>
  ask(node, { method: "POST", path: docs(container), body: JSON.stringify(document), headers: { ...pk(document.pk), ...headers } });
const query = (node, container, text, headers = {}) => ask(node, {
  method: "POST", path: docs(container), body: JSON.stringify({ query: text }), headers: {
    "x-ms-documentdb-isquery": "true", "x-ms-documentdb-query-enablecrosspartition": "true",
    "content-type": "application/query+json", ...headers } });

const policyOf = async (node) => (await ask(node, {})).json.userConsistencyPolicy;

const BOUNDS = ["--max-staleness-entries", "1000", "--max-staleness-seconds", "10"];
async function setLevel(name, ...options) {
  if (name === "BoundedStaleness" && options.length === 0) options = BOUNDS;
  const { code, stderr } = await run(["consistency", "set", WORDS[LEVELS.indexOf(name)], ...options, "--dir", cluster.dir]);
  assert.equal(code, 0, stderr);
  await until(`every node says ${name}`, async () =>
    (await Promise.all(cluster.nodes.map(policyOf))).every(({ defaultConsistencyLevel }) => defaultConsistencyLevel === name),
  APPLIED_MS);
}

const writeNode = async () => {
  const [{ name }] = (await cluster.request()).json.writableLocations;
  return cluster.nodes.find(({ region }) => region === name);
};
const farNodes = async () => {
  const { region } = await writeNode();
  return cluster.nodes.filter((node) => node.region !== region);
};

async function quickest(times, action) {
  let best = Infinity;
  for (let n = 0; n < times; n++) {
    const begun = performance.now();
    await action(n);
    best = Math.min(best, performance.now() - begun);
  }
  return best;
}

// -- setting and relaxing -----------------------------------------------------------

test("at each level of the account a request may relax it and not strengthen it", async () => {
  // One client lives through all the changes.
  const client = cluster.client();
  const container = await makeContainer(client);
  for (const [of, account] of LEVELS.entries()) {
    await setLevel(account);
    const id = `of-${account}`;
    await container.items.create({ id, pk: "a" });
    for (const node of cluster.nodes) {
      // The item was made a moment ago, elsewhere.
      await until(`${node.name} has ${id}`, async () => (await read(node, container, id, "a")).status === 200);
      for (const [asked, name] of LEVELS.entries()) {
        const answers = {
          point: await read(node, container, id, "a", level(name)),
          feed: await ask(node, { path: docs(container), headers: level(name) }),
          stream: await query(node, container, "SELECT * FROM c", level(name)),
          order: await query(node, container, "SELECT * FROM c ORDER BY c.id", level(name)),
          count: await query(node, container, "SELECT VALUE COUNT(1) FROM c", level(name)),
        };
        for (const [kind, answer] of Object.entries(answers)) {
          const what = `${kind} on ${node.name}, ${name} of an account with ${account}`;
          assert.equal(answer.status, asked >= of ? 200 : 400, `${what}: ${answer.text}`);
          if (asked >= of) continue;
          assert.equal(answer.json.code, "BadRequest", what);
          assert.match(answer.json.message, new RegExp(`level.*${name}.*${account}`), what);
        }
      }
      assert.equal((await read(node, container, id, "a", level("Quorum"))).status, 400);
    }
  }
});

test("the SDK can relax it for a client and for a call", async () => {
  const container = await makeContainer(cluster.client());
  await setLevel("BoundedStaleness");
  await container.items.create({ id: "1", pk: "a" });
  for (const name of LEVELS.slice(1)) {
    const there = same(container, cluster.client({ consistencyLevel: name }));
    await until(`${name} shows it`, async () => (await there.item("1", "a").read()).statusCode === 200);
    assert.equal((await there.items.readAll().fetchAll()).resources.length, 1);
    await there.items.upsert({ id: "1", pk: "a", by: name });
    assert.equal((await container.item("1", "a").read({ consistencyLevel: name })).statusCode, 200);
  }
  const refused = await failure(container.item("1", "a").read({ consistencyLevel: "Strong" }));
  assert.equal(refused.code, 400);
  assert.match(refused.message, /Strong.*BoundedStaleness/);
  const strong = same(container, cluster.client({ consistencyLevel: "Strong" }));
  assert.equal((await failure(strong.item("1", "a").read())).code, 400);
});

test("a write is refused a level that the account does not have", async () => {
  const container = await makeContainer(cluster.client());
  await setLevel("Session");
  const node = cluster.nodes[0];
  assert.equal((await create(node, container, { id: "1", pk: "a" }, level("Strong"))).status, 400);
  assert.equal((await read(node, container, "1", "a")).status, 404);
  assert.equal((await create(node, container, { id: "1", pk: "a" }, level("Eventual"))).status, 201);
});

test("the account document tells the bounds", async () => {
  await setLevel("BoundedStaleness", "--max-staleness-entries", "77", "--max-staleness-seconds", "9");
  for (const node of cluster.nodes)
    assert.deepEqual(await policyOf(node),
      { defaultConsistencyLevel: "BoundedStaleness", maxStalenessPrefix: 77, maxIntervalInSeconds: 9 });
  await setLevel("Session");
  assert.deepEqual(await policyOf(cluster.nodes[0]), { defaultConsistencyLevel: "Session" });
});

// -- near and far -------------------------------------------------------------------

test("weak reads and session writes do not wait for another region, strong ones do", async () => {
  const container = await makeContainer(cluster.client());
  await setLevel("Session");
  const home = await writeNode();
  const [far] = await farNodes();
  const wrote = await quickest(10, async (n) =>
    assert.equal((await create(home, container, { id: `${n}`, pk: "a" })).status, 201));
  assert.ok(wrote < ROUND_TRIP_MS / 2, `a session write took ${wrote} ms`);
  for (const name of ["Session", "ConsistentPrefix", "Eventual"]) {
    await until("the far region has it", async () => (await read(far, container, "0", "a", level(name))).status === 200);
    const took = await quickest(10, () => read(far, container, "0", "a", level(name)));
    assert.ok(took < ROUND_TRIP_MS / 2, `${name}: a read took ${took} ms`);
  }
  await setLevel("Strong");
  const strong = await quickest(5, async (n) =>
    assert.equal((await create(home, container, { id: `s${n}`, pk: "a" })).status, 201));
  assert.ok(strong >= ROUND_TRIP_MS - 5, `a strong write took ${strong} ms`);
  const linear = await quickest(5, () => read(far, container, "s0", "a"));
  assert.ok(linear >= ROUND_TRIP_MS - 5, `a strong read far away took ${linear} ms`);
});

test("a strong read sees every acknowledged write, in every region", async () => {
  const container = await makeContainer(cluster.client());
  await setLevel("Strong");
  for (let n = 0; n < 10; n++) {
    const writer = cluster.nodes[n % cluster.nodes.length];
    assert.equal((await create(writer, container, { id: `${n}`, pk: `p${n}` })).status, 201);
    for (const node of cluster.nodes)
      assert.equal((await read(node, container, `${n}`, `p${n}`)).status, 200, `${n} on ${node.name}`);
  }
});

test("consistent prefix: a reader never sees a write without those before it", async () => {
  const container = await makeContainer(cluster.client());
  await setLevel("ConsistentPrefix");
  const home = await writeNode();
  let finished = false;
  const readers = cluster.nodes.map(async (node) => {
    do {
      const { status, json } = await query(node, container, "SELECT VALUE c.n FROM c", pk("a"));
      assert.equal(status, 200);
      const seen = json.Documents.sort((a, b) => a - b);
      assert.deepEqual(seen, Array.from(seen, (_, n) => n), node.name);
    } while (!finished);
  });
  for (let n = 0; n < 60; n++) assert.equal((await create(home, container, { id: `${n}`, pk: "a", n })).status, 201);
  finished = true;
  await Promise.all(readers);
});

// -- bounded staleness ----------------------------------------------------------------

test("bounded staleness: no region shows a state more than K writes old, and writes are throttled to keep it so", async () => {
  const K = 5, WRITERS = 16, WRITES = 200;
  const container = await makeContainer(cluster.client());
  await setLevel("BoundedStaleness", "--max-staleness-entries", String(K), "--max-staleness-seconds", "5");
  const home = await writeNode();
  let next = 0, acknowledged = 0, throttled = 0;
  const writers = Array.from({ length: WRITERS }, async () => {
    for (let n = next++; n < WRITES; n = next++) {
      for (;;) {
        const answer = await create(home, container, { id: `${n}`, pk: "a" });
        if (answer.status === 201) break;
        assert.equal(answer.status, 429, answer.text);
        assert.equal(answer.headers["x-ms-substatus"], "3200");
        assert.equal(answer.json.code, "TooManyRequests");
        const wait = Number(answer.headers["x-ms-retry-after-ms"]);
        assert.ok(wait > 0 && wait <= 5000, `told to wait ${wait} ms`);
        throttled++;
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
      acknowledged++;
    }
  });
  let finished = false;
  const readers = cluster.nodes.map(async (node) => {
    do {
      const least = acknowledged - K;
      const { status, json, text } = await query(node, container, "SELECT VALUE COUNT(1) FROM c", pk("a"));
      assert.equal(status, 200, text);
      assert.ok(json.Documents[0] >= least, `${node.name} shows ${json.Documents[0]} of at least ${least}`);
    } while (!finished);
  });
  await Promise.all(writers);
  finished = true;
  await Promise.all(readers);
  assert.ok(throttled > 0, "nothing was throttled");
});

test("bounded staleness: the SDK waits out the throttling by itself", async () => {
  const client = cluster.client();
  const container = await makeContainer(client);
  await setLevel("BoundedStaleness", "--max-staleness-entries", "3", "--max-staleness-seconds", "5");
  const ids = Array.from({ length: 30 }, (_, n) => `${n}`);
  for (const id of ids) assert.equal((await container.items.create({ id, pk: "a" })).statusCode, 201);
  await setLevel("Strong");
  assert.deepEqual((await container.items.query("SELECT VALUE COUNT(1) FROM c").fetchAll()).resources, [ids.length]);
});

// -- without the others -----------------------------------------------------------------

test("a region that has lost the others says why it writes nothing, and reads on", async () => {
  const container = await makeContainer(cluster.client());
  await setLevel("Session");
  const [survivor, ...others] = cluster.nodes;
  assert.equal((await create(survivor, container, { id: "1", pk: "a" })).status, 201);
  await setLevel("Strong");
  for (const { name } of others) await cluster.kill(name);
  const refusal = await until("writes are refused at once", async () => {
    const begun = Date.now();
    const answer = await create(survivor, container, { id: "2", pk: "a" });
    return answer.status === 503 && Date.now() - begun < 500 && answer;
  }, 30_000);
  assert.equal(refusal.json.code, "ServiceUnavailable");
  assert.match(refusal.json.message, /lost/);
  const strong = await read(survivor, container, "1", "a");
  assert.equal(strong.status, 503, strong.text);
  for (const name of ["Session", "ConsistentPrefix", "Eventual"])
    assert.equal((await read(survivor, container, "1", "a", level(name))).status, 200, name);
  const { json } = await ask(survivor, {});
  assert.equal(json.writableLocations.length, 1);
  assert.ok(json.readableLocations.length >= 1);
  await cluster.restart("all");
  await until("writes work again", async () => (await create(survivor, container, { id: "3", pk: "a" })).status === 201);
  assert.equal((await read(survivor, container, "1", "a")).status, 200);
});
