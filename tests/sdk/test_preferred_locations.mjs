// Clients with preferredLocations in each region while the write region moves,
// on purpose and by force.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Cluster, makeContainer, run, until } from "./lib.mjs";

const FAILOVER_MS = 15_000;

const same = (container, client) => client.database(container.database.id).container(container.id);
const accountOf = async (cluster, endpoint) => (await cluster.request({ endpoint })).json;
const names = (locations) => locations.map(({ name }) => name);
const endpointOf = (cluster, region) => cluster.info.regions.find(({ name }) => name === region).endpoint;

async function setLevel(cluster, word) {
  const { code, stderr } = await run(["consistency", "set", word, "--dir", cluster.dir]);
  assert.equal(code, 0, stderr);
}
async function switchTo(cluster, region) {
  // A moment after its start, or its return, nobody knows how far a region is.
  await until(`the writes move to ${region}`, async () => {
    const { code, stderr } = await run(["region", "switch", region, "--dir", cluster.dir]);
    if (code !== 0) assert.match(stderr, /not caught up|may be down/);
    return code === 0;
  });
  await until(`every node names ${region}`, async () => (await Promise.all(
    cluster.nodes.map(({ endpoint }) => accountOf(cluster, endpoint)))).every(
    ({ writableLocations }) => writableLocations[0].name === region));
}

/** Users of one region: each writes an item and reads it, by turns, until told
 *  to stop. */
function use(cluster, container, region, level, count = 2) {
  const regions = [region, ...names(cluster.info.regions).filter((name) => name !== region)];
  const client = cluster.client({ keepAlive: false, connectionPolicy: { preferredLocations: regions },
    // Writing in one region and reading in another, they need session tokens.
    ...(level === "session" ? { consistencyLevel: "Session" } : {}) });
  const there = same(container, client);
  const state = { region, acknowledged: new Map(), errors: [], rounds: 0, stopped: false };
  const one = async (user) => {
    for (let n = 0; !state.stopped; n++) {
      const document = { id: `${region}-${user}-${n}`, pk: `p${n % 5}`, n };
      try {
        await there.items.create(document);
        state.acknowledged.set(document.id, document);
        const { statusCode } = await there.item(document.id, document.pk).read();
        if (statusCode !== 200) throw new Error(`${document.id} was acknowledged and then read with ${statusCode}`);
        state.rounds++;
      } catch (error) {
        state.errors.push(error);
      }
    }
  };
  const users = Promise.all(Array.from({ length: count }, (_, user) => one(user)));
  state.stop = async () => {
    state.stopped = true;
    await users;
  };
  state.more = (rounds) => {
    const goal = state.rounds + rounds;
    return until(`${rounds} more rounds in ${region}`, () => state.rounds >= goal, FAILOVER_MS);
  };
  return state;
}
const stopAll = (users) => Promise.all(users.map((state) => state.stop()));
const words = (error) => `${error.code ?? ""} ${error.substatus ?? ""} ${error.message}`;

async function allThere(container, users) {
  for (const state of users)
    for (const { id, pk, n } of state.acknowledged.values())
      assert.equal((await container.item(id, pk).read()).resource?.n, n, `${id} was acknowledged`);
}

describe("in a cluster that forwards writes", () => {
  let cluster, regions;
  before(async () => {
    cluster = await Cluster.start();
    regions = names(cluster.info.regions);
  });
  after(() => cluster?.stop());

  for (const level of ["strong", "session"]) {
    test(`planned switches under load: no error in any region (${level})`, async () => {
      await setLevel(cluster, level);
      const container = await makeContainer(cluster.client());
      const users = regions.map((region) => use(cluster, container, region, level));
      for (const region of [regions[1], regions[2], regions[0]]) {
        await Promise.all(users.map((state) => state.more(5)));
        await switchTo(cluster, region);
        const { writableLocations, readableLocations } = await accountOf(cluster, endpointOf(cluster, regions[0]));
        assert.deepEqual(names(writableLocations), [region]);
        assert.deepEqual(names(readableLocations), [region, ...regions.filter((name) => name !== region)]);
        await Promise.all(users.map((state) => state.more(5)));
      }
      await stopAll(users);
      for (const state of users) assert.deepEqual(state.errors.map(words), [], state.region);
      await allThere(container, users);
    });
  }

  // What an SDK shows of a lost region: requests that were under way in it or
  // that found its addresses closed before others stood in there (it repeats
  // neither), 503 while there was no write region, 408 for what nobody can know.
  const DOCUMENTED = /ECONNRESET|ECONNREFUSED|EPIPE|socket hang up|^503|^408|ETIMEDOUT|TimeoutError/i;

  for (const lost of [0, 1]) {
    test(`the region with priority ${lost} is killed under load: only the documented errors, then none`, async () => {
      await setLevel(cluster, "strong");
      const region = regions[lost];
      await switchTo(cluster, regions[0]);
      const container = await makeContainer(cluster.client());
      const users = regions.map((name) => use(cluster, container, name, "strong"));
      await Promise.all(users.map((state) => state.more(5)));
      await Promise.all(cluster.nodes.filter((node) => node.region === region).map(({ name }) => cluster.kill(name)));
      const survivors = cluster.nodes.filter((node) => node.region !== region);
      await until(`${region} is no longer advertised`, async () => (await Promise.all(
        survivors.map(({ endpoint }) => accountOf(cluster, endpoint)))).every(
        ({ writableLocations, readableLocations }) =>
          !names(writableLocations).includes(region) && !names(readableLocations).includes(region)), FAILOVER_MS);
      // The priority list decides.
      const expected = regions.find((name) => name !== region);
      await until(`${expected} is the write region`, async () =>
        names((await accountOf(cluster, survivors[0].endpoint)).writableLocations)[0] === expected, FAILOVER_MS);
      await Promise.all(users.map((state) => state.more(5)));
      // By now everybody has found a way.
      const before = users.map((state) => state.errors.length);
      await Promise.all(users.map((state) => state.more(10)));
      assert.deepEqual(users.map((state) => state.errors.length), before);
      await stopAll(users);
      for (const state of users)
        for (const error of state.errors) assert.match(words(error), DOCUMENTED, state.region);
      await cluster.restart("all");
      await allThere(container, users);
      await until(`${region} is advertised again`, async () =>
        names((await accountOf(cluster, survivors[0].endpoint)).readableLocations).includes(region), 60_000);
    });
  }
});

describe("in a cluster that does not forward writes", () => {
  let cluster, regions;
  before(async () => {
    process.env.BASTIDE_FORWARD_WRITES = "false";
    cluster = await Cluster.start();
    delete process.env.BASTIDE_FORWARD_WRITES;
    regions = names(cluster.info.regions);
  });
  after(() => cluster?.stop());

  const create = (container, endpoint, id) => cluster.request({
    method: "POST", path: `/dbs/${container.database.id}/colls/${container.id}/docs`, endpoint,
    body: JSON.stringify({ id, pk: "a" }), headers: { "x-ms-documentdb-partitionkey": '["a"]' } });

  test("writes outside the write region get 403/3, reads are served", async () => {
    const container = await makeContainer(cluster.client({ endpoint: endpointOf(cluster, regions[0]) }));
    assert.equal((await create(container, endpointOf(cluster, regions[0]), "0")).status, 201);
    for (const region of regions.slice(1)) {
      const answer = await create(container, endpointOf(cluster, region), region);
      assert.equal(answer.status, 403);
      assert.equal(answer.headers["x-ms-substatus"], "3");
      assert.equal(answer.json.code, "Forbidden");
      assert.match(answer.json.message, new RegExp(`Write operations are not allowed on this region.*${regions[0]}`));
      const there = same(container, cluster.client({ endpoint: endpointOf(cluster, region) }));
      assert.equal((await there.item("0", "a").read()).statusCode, 200);
    }
  });

  test("the SDK follows the write region by the refusals, without an error", async () => {
    const client = cluster.client({ endpoint: endpointOf(cluster, regions[1]) });
    const container = await makeContainer(client);
    for (const region of [regions[2], regions[1], regions[0]]) {
      await container.items.create({ id: `before-${region}`, pk: "a" });
      await switchTo(cluster, region);
      await container.items.create({ id: `after-${region}`, pk: "a" });
      assert.equal((await container.item(`after-${region}`, "a").read()).statusCode, 200);
    }
  });
});
