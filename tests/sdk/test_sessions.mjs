// Session tokens: stored, merged and sent by the SDK's own code, understood by
// every node, and never a trap.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Cluster, failure, makeContainer, run, until } from "./lib.mjs";

// What the SDK does with tokens is not exported.
const { SessionContainer } = await import(
  new URL("node_modules/@azure/cosmos/dist/esm/session/sessionContainer.js", import.meta.url));

const SESSION = { consistencyLevel: "Session" };
const ELEMENT = /^(\d+):(\d+)#(\d+)#(\d+)=(\d+)$/;
// A session read may wait this long on a node before the leader is asked.
const MISS_LIMIT_MS = 3000;

let cluster, regions;
before(async () => {
  cluster = await Cluster.start({ flags: ["--consistency", "session"] });
  regions = cluster.info.regions.map(({ name }) => name);
});
after(() => cluster?.stop());

const same = (container, client) => client.database(container.database.id).container(container.id);
const tokenOf = (client, container) =>
  client.clientContext.sessionContainer.get({ resourceAddress: `dbs/${container.database.id}/colls/${container.id}` });
const elements = (token) => token.split(",").map((text) => {
  const match = ELEMENT.exec(text);
  assert.ok(match, `"${text}" of "${token}"`);
  const [range, version, lsn, region, local] = match.slice(1).map(Number);
  return { range, version, lsn, region, local };
});

const docs = (container) => `/dbs/${container.database.id}/colls/${container.id}/docs`;
const pkHeader = (pk) => ({ "x-ms-documentdb-partitionkey": JSON.stringify([pk]) });
/** Reads and writes an item on a node of choice, without the SDK. */
const rawRead = (container, id, pk, headers = {}, endpoint, of = cluster) => of.request({
  path: `${docs(container)}/${id}`, endpoint, headers: { ...pkHeader(pk), ...headers } });
const rawWrite = (container, document, endpoint, of = cluster) => of.request({
  method: "POST", path: docs(container), endpoint, body: JSON.stringify(document), headers: pkHeader(document.pk) });

// -- the SDK's arithmetic -------------------------------------------------------

/** What the SDK has after these answers, in this order. */
function merged(...tokens) {
  const sessions = new SessionContainer();
  for (const token of tokens)
    sessions.set({ isNameBased: true, resourceAddress: "dbs/d/colls/c/docs", resourceType: "docs", operationType: "read" },
      { "x-ms-session-token": token, "x-ms-content-path": "kdY4AIn8g54=", "x-ms-alt-content-path": "dbs/d/colls/c" });
  return sessions.get({ resourceAddress: "dbs/d/colls/c/docs/1" });
}

test("the SDK merges tokens of one epoch into the furthest", () => {
  assert.equal(merged("0:1#5#1=5", "0:1#7#1=7", "0:1#6#1=6"), "0:1#7#1=7");
  assert.equal(merged("0:1#9#1=9", "0:1#10#1=10"), "0:1#10#1=10");
  assert.equal(merged("0:1#5#1=5,1:1#8#1=8", "1:1#9#1=9"), "0:1#5#1=5,1:1#9#1=9");
});

// tests/unit/node/cosmos/test_session.c reads what comes out here.
test("an LSN of a lost epoch does not outlive it in the part that counts", () => {
  assert.equal(merged("0:1#100#1=100", "0:2#95#2=95"), "0:2#100#2=95");
  assert.equal(merged("0:2#95#2=95", "0:1#100#1=100"), "0:2#100#2=95");
  assert.equal(merged("0:1#100#1=100", "0:2#95#2=95", "0:2#97#2=97"), "0:2#100#2=97");
  assert.equal(merged("0:1#100#1=100", "0:2#95#2=95", "0:4#96#4=96", "0:3#99#3=99"), "0:4#100#4=96");
});

// Of a container whose rows are in several placement groups: every shard is named.
test("what the SDK makes of two tokens is the furthest of each shard", () => {
  assert.equal(merged("0:2#7#1=1099511627783#2=0", "0:2#5#1=0#2=1099511627781"), "0:2#7#1=1099511627783#2=1099511627781");
  const epochs = ["0:2#100#1=1099511627876#2=0", "0:2#95#1=2199023255647#2=0"];
  for (const tokens of [epochs, epochs.toReversed()]) assert.equal(merged(...tokens), "0:2#100#1=2199023255647#2=0");
  const grown = ["0:2#7#1=5#2=6", "0:3#8#1=0#2=7#9=4"];
  for (const tokens of [grown, grown.toReversed()]) assert.equal(merged(...tokens), "0:3#8#1=5#2=7#9=4");
});

// -- with a cluster -------------------------------------------------------------

test("every answer about items brings a token that the SDK keeps", async () => {
  const client = cluster.client(SESSION);
  const container = await makeContainer(client);
  const { item, headers } = await container.items.create({ id: "1", pk: "a" });
  const [{ version, lsn, region, local }] = elements(headers["x-ms-session-token"]);
  assert.equal(region, version);
  assert.equal(local, lsn);
  assert.equal(tokenOf(client, container), headers["x-ms-session-token"]);
  // Also what fails.
  const other = cluster.client(SESSION);
  const there = same(container, other);
  assert.equal((await failure(there.items.create({ id: "1", pk: "a" }))).code, 409);
  assert.deepEqual(elements(tokenOf(other, container)), elements(headers["x-ms-session-token"]));
  const stale = { accessCondition: { type: "IfMatch", condition: '"x"' } };
  assert.equal((await failure(there.item("1", "a").replace({ id: "1", pk: "a" }, stale))).code, 412);
  assert.equal((await there.item("2", "a").read()).statusCode, 404);
  assert.equal((await item.read()).statusCode, 200);
  elements(tokenOf(other, container));
});

test("feeds and queries bring the tokens of all ranges", async () => {
  const writer = cluster.client(SESSION);
  const container = await makeContainer(writer);
  for (let n = 0; n < 20; n++) await container.items.create({ id: `${n}`, pk: `p${n}`, n });
  const ranges = (await container.readPartitionKeyRanges().fetchAll()).resources.map(({ id }) => Number(id));
  for (const query of ["SELECT * FROM c", "SELECT * FROM c ORDER BY c.n", "SELECT VALUE COUNT(1) FROM c", undefined]) {
    const client = cluster.client(SESSION);
    const there = same(container, client);
    await (query ? there.items.query(query) : there.items.readAll()).fetchAll();
    const known = elements(tokenOf(client, container));
    assert.deepEqual(known.map(({ range }) => range).sort(), ranges, query);
  }
});

test("a session reads its own writes in every region", async () => {
  const container = await makeContainer(cluster.client());
  await Promise.all(regions.map(async (region) => {
    const mine = same(container, cluster.client({ region, ...SESSION }));
    for (let n = 0; n < 25; n++) {
      const document = { id: `${region}-${n}`, pk: `p${n % 5}`, n };
      await mine.items.create(document);
      assert.equal((await mine.item(document.id, document.pk).read()).resource?.n, n, document.id);
      await mine.item(document.id, document.pk).replace({ ...document, again: true });
      assert.equal((await mine.item(document.id, document.pk).read()).resource?.again, true, document.id);
      const { resources } = await mine.items.query({
        query: "SELECT VALUE c.again FROM c WHERE c.id = @id", parameters: [{ name: "@id", value: document.id }] }).fetchAll();
      assert.deepEqual(resources, [true], document.id);
    }
  }));
});

test("a session's reads never go backwards, whichever node answers", async () => {
  const container = await makeContainer(cluster.client());
  await container.items.create({ id: "r", pk: "a", v: 0 });
  let finished = false;
  const writer = (async () => {
    for (let v = 1; v <= 80; v++) await container.item("r", "a").replace({ id: "r", pk: "a", v });
    finished = true;
  })();
  let token, last = 0, node = 0;
  while (!finished) {
    const { endpoint, name } = cluster.nodes[node++ % cluster.nodes.length];
    const answer = await rawRead(container, "r", "a", token ? { "x-ms-session-token": token } : {}, endpoint);
    assert.equal(answer.status, 200, answer.text);
    assert.ok(answer.json.v >= last, `${name} answered ${answer.json.v} after ${last}`);
    last = answer.json.v;
    token = answer.headers["x-ms-session-token"];
  }
  await writer;
});

test("a token that is passed on shows its writes to another client anywhere", async () => {
  const container = await makeContainer(cluster.client());
  for (let n = 0; n < 20; n++) {
    const { headers } = await container.items.create({ id: `${n}`, pk: "a" });
    for (const region of regions) {
      const other = same(container, cluster.client({ region }));
      const { statusCode } = await other.item(`${n}`, "a").read({
        sessionToken: headers["x-ms-session-token"], consistencyLevel: "Session" });
      assert.equal(statusCode, 200, `${n} in ${region}`);
    }
  }
});

test("a client without tokens reads its own writes on the node it wrote through", async () => {
  const container = await makeContainer(cluster.client());
  await Promise.all(cluster.nodes.map(async ({ name, endpoint }) => {
    for (let n = 0; n < 25; n++) {
      const document = { id: `${name}-${n}`, pk: `p${n % 5}`, n };
      assert.equal((await rawWrite(container, document, endpoint)).status, 201);
      const answer = await rawRead(container, document.id, document.pk, {}, endpoint);
      assert.equal(answer.json.n, n, `${document.id}: ${answer.text}`);
    }
  }));
});

// It is sent to one region for both: the first of both lists.
test("a client of the SDK in its default settings reads its own writes", async () => {
  const container = await makeContainer(cluster.client());
  for (let n = 0; n < 50; n++) {
    const { item } = await container.items.create({ id: `${n}`, pk: `p${n % 5}`, n });
    assert.equal((await item.read()).resource?.n, n);
  }
});

// -- tokens of elsewhere ----------------------------------------------------------

test("tokens of lost epochs, other ranges and other services are no obstacle", async () => {
  const container = await makeContainer(cluster.client());
  const { headers } = await container.items.create({ id: "1", pk: "a" });
  const [{ range, version, lsn }] = elements(headers["x-ms-session-token"]);
  const far = lsn + 1_000_000;
  for (const token of [
    `${range}:${version > 0 ? version - 1 : 0}#${version > 0 ? far : lsn}`,
    `${range}:${version}#${far}#${version}=${lsn}`,
    `${range}:-1#${far}`,
    `${range}:${far}`,
    `${range}:${version}#${lsn}`,
    `${range}:${version}#${lsn}#7=3#9=${far}`,
    `4711:${version}#${far},${range}:${version}#1`,
  ]) {
    for (const { endpoint } of cluster.nodes) {
      const begun = Date.now();
      const answer = await rawRead(container, "1", "a", { "x-ms-session-token": token }, endpoint);
      assert.equal(answer.status, 200, `${token}: ${answer.text}`);
      assert.ok(Date.now() - begun < MISS_LIMIT_MS, token);
    }
  }
});

test("malformed tokens get 400", async () => {
  const container = await makeContainer(cluster.client());
  for (const token of ["x", "0", "0:", "0:1#NaN", "0:1#2,", "0:1:2"]) {
    const answer = await rawRead(container, "1", "a", { "x-ms-session-token": token });
    assert.equal(answer.status, 400, token);
    assert.match(answer.json.message, /session token/);
  }
});

test("a token that no replica can satisfy gets 404/1002, soon, and the SDK goes on without it", async () => {
  const container = await makeContainer(cluster.client());
  const { headers } = await container.items.create({ id: "1", pk: "a" });
  const [{ range, version, lsn }] = elements(headers["x-ms-session-token"]);
  const future = `${range}:${version}#${lsn + 1e6}#${version}=${lsn + 1e6}`;
  for (const { endpoint } of cluster.nodes) {
    const begun = Date.now();
    const answer = await rawRead(container, "1", "a", { "x-ms-session-token": future }, endpoint);
    assert.ok(Date.now() - begun < MISS_LIMIT_MS);
    assert.equal(answer.status, 404);
    assert.equal(answer.headers["x-ms-substatus"], "1002");
    assert.equal(answer.headers["x-ms-session-token"], future);
    assert.equal(answer.json.code, "NotFound");
    assert.match(answer.json.message, /The read session is not available for the input session token\./);
  }
  const { statusCode } = await container.item("1", "a").read({ sessionToken: future, consistencyLevel: "Session" });
  assert.ok(statusCode === 200 || statusCode === 404);
});

// -- moves of the write region ------------------------------------------------------

test("sessions go on while the write region moves on purpose", async () => {
  const container = await makeContainer(cluster.client());
  const sessions = regions.map((region) => same(container, cluster.client({ region, ...SESSION, endpoint:
    cluster.info.regions.find(({ name }) => name === region).endpoint })));
  let finished = false;
  const users = sessions.map(async (mine, index) => {
    let n = 0;
    for (; !finished; n++) {
      const document = { id: `${index}-${n}`, pk: `p${n % 5}`, n };
      await mine.items.create(document);
      assert.equal((await mine.item(document.id, document.pk).read()).resource?.n, n, document.id);
    }
    return n;
  });
  for (const region of [regions[1], regions[2], regions[0]]) {
    await until(`the writes move to ${region}`, async () => {
      const { code, stderr } = await run(["region", "switch", region, "--dir", cluster.dir]);
      if (code !== 0) assert.match(stderr, /not caught up|may be down/);
      return code === 0;
    });
    await until(`the account names ${region}`, async () =>
      (await cluster.request()).json.writableLocations[0].name === region);
  }
  finished = true;
  for (const n of await Promise.all(users)) assert.ok(n > 0);
});

/** A session of the SDK's making over requests of our own, so that nothing is
 *  hidden: no retries, and 404/1002 is told from 404. */
class Session {
  sessions = new SessionContainer();
  constructor(of, container, endpoint) {
    this.cluster = of;
    this.request = { isNameBased: true, resourceAddress: docs(container).slice(1), resourceType: "docs", operationType: "read" };
    this.container = container;
    this.endpoint = endpoint;
  }
  token() {
    return this.sessions.get(this.request);
  }
  async ask(options) {
    const token = this.token();
    const answer = await this.cluster.request({ endpoint: this.endpoint, ...options,
      headers: { ...options.headers, ...(token ? { "x-ms-session-token": token } : {}) } });
    assert.notEqual(answer.headers["x-ms-substatus"], "1002", `${token}: ${answer.text}`);
    if (answer.status < 300) this.sessions.set(this.request, answer.headers);
    return answer;
  }
  write(document) {
    return this.ask({ method: "POST", path: docs(this.container), body: JSON.stringify(document), headers: pkHeader(document.pk) });
  }
  read({ id, pk }) {
    return this.ask({ path: `${docs(this.container)}/${id}`, headers: pkHeader(pk) });
  }
}

describe("regions far apart", () => {
  let far;
  before(async () => (far = await Cluster.start({ flags: ["--consistency", "session", "--latency", "60ms"] })));
  after(() => far?.stop());

  // The sessions of the lost region hold tokens of states that nobody else has.
  test("no session is stuck when the write region is lost, and nothing acknowledged is lost without a trace", async () => {
    const container = await makeContainer(far.client());
    const { writableLocations: [{ name: lost }] } = (await far.request()).json;
    const survivors = far.nodes.filter(({ region }) => region !== lost);
    const acknowledged = [];
    let finished = false, rounds = 0;
    const one = async ({ name, endpoint }) => {
      const session = new Session(far, container, endpoint);
      for (let n = 0; !finished; n++) {
        const document = { id: `${name}-${n}`, pk: `p${n % 5}`, n };
        try {
          const { status, text } = await session.write(document);
          assert.ok([201, 408, 429, 503].includes(status), text);
          if (status !== 201) continue;
          acknowledged.push(document);
          const answer = await session.read(document);
          if (answer.status === 200) rounds++;
          // The region may have been lost between the two.
          else assert.ok([404, 503].includes(answer.status), answer.text);
        } catch (error) {
          if (error instanceof assert.AssertionError) throw error;
          session.endpoint = survivors[n % survivors.length].endpoint;
        }
      }
      return session;
    };
    const users = far.nodes.map(one);
    const more = (count) => {
      const goal = rounds + count;
      return until(`${count} more rounds`, () => rounds >= goal);
    };
    await more(100);
    await Promise.all(far.nodes.filter(({ region }) => region === lost).map(({ name }) => far.kill(name)));
    await until("another region takes the writes", async () =>
      (await far.request({ endpoint: survivors[0].endpoint })).json.writableLocations[0].name !== lost);
    await more(60);
    finished = true;
    const sessions = await Promise.all(users);

    await far.restart("all");
    // What the old write region alone had comes to light with it.
    let conflicts;
    await until("every acknowledged write is there or in the conflicts", async () => {
      const { resources: there } = await container.items.query("SELECT VALUE c.id FROM c").fetchAll();
      ({ resources: conflicts } = await container.conflicts.readAll().fetchAll());
      const known = new Set([...there, ...conflicts.map(({ content }) => JSON.parse(content).id)]);
      return acknowledged.every(({ id }) => known.has(id));
    });
    assert.ok(conflicts.length > 0, "nothing was overwritten");
    // The tokens from before are good everywhere.
    for (const session of sessions) {
      for (const { endpoint } of far.nodes) {
        session.endpoint = endpoint;
        assert.equal((await session.read(acknowledged[0])).status, 200, session.token());
      }
    }
  });
});

describe("regions of several nodes", () => {
  let wide;
  before(async () => {
    wide = await Cluster.start({ flags: [
      "--regions", "eastus,westeurope", "--nodes-per-region", "3", "--consistency", "session"] });
  });
  after(() => wide?.stop());

  test("without a token, what one node of the write region took is read on the others", async () => {
    const container = await makeContainer(wide.client());
    const { writableLocations: [{ name }] } = (await wide.request()).json;
    const nodes = wide.nodes.filter(({ region }) => region === name);
    for (let n = 0; n < 60; n++) {
      const document = { id: `${n}`, pk: `p${n % 7}`, n };
      const [one, other] = [nodes[n % 3], nodes[(n + 1 + (n % 2)) % 3]];
      assert.equal((await rawWrite(container, document, one.endpoint, wide)).status, 201);
      const answer = await rawRead(container, document.id, document.pk, {}, other.endpoint, wide);
      assert.equal(answer.status, 200, `${n} written on ${one.name}, read on ${other.name}`);
    }
  });

  test("leaders are spread, gathered and spread again: no request fails", async () => {
    const container = await makeContainer(wide.client());
    const { writableLocations: [{ name }] } = (await wide.request()).json;
    const leaders = async () => {
      const { stdout } = await run(["placement", "show", "default", "--dir", wide.dir, "-o", "json"]);
      const led = new Map();
      for (const { leader } of JSON.parse(stdout).shards) led.set(leader, (led.get(leader) ?? 0) + 1);
      return [...led.keys()].every((node) => node?.startsWith(name)) ? [...led.values()] : [];
    };
    const shards = (await leaders()).reduce((sum, count) => sum + count, 0);
    const even = (list) => Math.max(...list) - Math.min(...list) <= 1 && list.length === Math.min(3, shards);
    const set = async (how) => {
      const { code, stderr } = await run(["placement", "set", "default", "--leaders", how, "--dir", wide.dir]);
      assert.equal(code, 0, stderr);
    };
    await until("the leaders are spread", async () => even(await leaders()));
    let finished = false, writes = 0;
    const refused = [];
    const writers = wide.nodes.filter(({ region }) => region === name).map(async ({ endpoint }, w) => {
      for (let n = 0; !finished; n++, writes++) {
        const { status, text } = await rawWrite(container, { id: `s${w}-${n}`, pk: `p${n % 7}` }, endpoint, wide);
        if (status !== 201) refused.push(`${status} ${text}`);
      }
    });
    try {
      await set("gather");
      await until("they are gathered", async () => (await leaders()).length === 1);
      await set("spread");
      await until("they are spread again", async () => even(await leaders()));
    } finally {
      finished = true;
      await Promise.all(writers);
    }
    assert.ok(writes > 100, `${writes} writes`);
    assert.deepEqual(refused, []);
  });

  test("a node of the write region is killed: another one of the region takes over, and nothing is lost", async () => {
    const container = await makeContainer(wide.client());
    const { writableLocations: [{ name }] } = (await wide.request()).json;
    const shards = async () => {
      const { stdout } = await run(["status", "--dir", wide.dir, "-o", "json"]);
      return JSON.parse(stdout).nodes.filter(({ reached }) => reached).flatMap(({ name: node, status }) =>
        status.shards.filter(({ role }) => role === "leader").map(({ shard }) => ({ node, shard })));
    };
    const { node: leader } = await until("somebody leads shard 1", async () =>
      (await shards()).find(({ shard }) => shard === 1));
    const acknowledged = [];
    let finished = false, longest = 0, last = Date.now();
    const target = wide.nodes.find((node) => node.region === name && node.name !== leader);
    const writer = (async () => {
      for (let n = 0; !finished; n++) {
        const document = { id: `k${n}`, pk: `p${n % 7}`, n };
        const { status, text } = await rawWrite(container, document, target.endpoint, wide);
        if (status === 201) {
          acknowledged.push(document);
          longest = Math.max(longest, Date.now() - last);
          last = Date.now();
        } else assert.ok([408, 503].includes(status), text);
      }
    })();
    const more = (count) => {
      const goal = acknowledged.length + count;
      return until(`${count} more writes`, () => acknowledged.length >= goal);
    };
    await more(20);
    await wide.kill(leader);
    await more(100);
    finished = true;
    await writer;
    assert.equal((await wide.request({ endpoint: target.endpoint })).json.writableLocations[0].name, name);
    assert.ok(longest < 5000, `no write for ${longest} ms`);
    for (const { id, pk, n } of acknowledged)
      assert.equal((await rawRead(container, id, pk, {}, target.endpoint, wide)).json.n, n, `${id} was acknowledged`);
    await wide.restart(leader);
  });
});
