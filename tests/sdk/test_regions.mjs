// Several regions: any of them answers, and none answers with something old.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster, makeContainer } from "./lib.mjs";

let cluster, names;
before(async () => {
  cluster = await Cluster.start();
  names = cluster.info.regions.map(({ name }) => name);
});
after(() => cluster?.stop());

const same = (container, client) => client.database(container.database.id).container(container.id);

test("what is written in one region is read in every other one at once", async () => {
  const clients = names.map((region) => cluster.client({ region }));
  const container = await makeContainer(clients[0]);
  for (let n = 0; n < 30; n++) {
    const writer = same(container, clients[n % names.length]);
    await writer.items.create({ id: `${n}`, pk: `p${n}`, n });
    for (const client of clients) {
      const { resource } = await same(container, client).item(`${n}`, `p${n}`).read();
      assert.equal(resource?.n, n);
    }
  }
});

test("a client with a preferred region reads at that region's endpoint", async () => {
  const container = await makeContainer(cluster.client());
  await container.items.create({ id: "1", pk: "a" });
  for (const region of names) {
    const endpoint = cluster.info.regions.find(({ name }) => name === region).endpoint;
    const { diagnostics, statusCode } = await same(container, cluster.client({ region })).item("1", "a").read();
    assert.equal(statusCode, 200);
    assert.ok(diagnostics.clientSideRequestStatistics.locationEndpointsContacted.some(
      (contacted) => new URL(contacted).port === new URL(endpoint).port), region);
  }
});

test("every node answers every kind of request", async () => {
  for (const node of cluster.nodes) {
    const client = cluster.client({ endpoint: node.endpoint });
    const container = await makeContainer(client);
    for (let n = 0; n < 8; n++) await container.items.create({ id: `${n}`, pk: `p${n}` });
    await container.item("0", "p0").replace({ id: "0", pk: "p0", changed: true });
    await container.item("1", "p1").delete();
    assert.equal((await container.item("0", "p0").read()).resource.changed, true);
    assert.deepEqual((await container.items.query("SELECT VALUE COUNT(1) FROM c").fetchAll()).resources, [7]);
  }
});

test("a register read and written everywhere never goes backwards", async () => {
  const container = await makeContainer(cluster.client());
  await container.items.create({ id: "r", pk: "a", v: 0 });
  let written = 0, finished = false;
  const writer = (async () => {
    for (let v = 1; v <= 60; v++) {
      const through = same(container, cluster.client({ region: names[v % names.length] }));
      await through.item("r", "a").replace({ id: "r", pk: "a", v });
      written = v;
    }
    finished = true;
  })();
  const readers = cluster.nodes.map(async (node) => {
    const reader = same(container, cluster.client({ endpoint: node.endpoint }));
    let last = 0;
    do {
      const least = written;
      const { resource } = await reader.item("r", "a").read();
      assert.ok(resource.v >= least, `${node.name}: read ${resource.v} after ${least} was acknowledged`);
      assert.ok(resource.v >= last, `${node.name}: ${resource.v} after ${last}`);
      last = resource.v;
    } while (!finished);
  });
  await Promise.all([writer, ...readers]);
});

test("two writers in different regions with etags lose no increment", async () => {
  const container = await makeContainer(cluster.client());
  await container.items.create({ id: "counter", pk: "a", n: 0 });
  const increments = 15;
  await Promise.all(names.map(async (region) => {
    const item = same(container, cluster.client({ region })).item("counter", "a");
    for (let done = 0; done < increments; ) {
      const { resource, etag } = await item.read();
      try {
        await item.replace({ ...resource, n: resource.n + 1 }, { accessCondition: { type: "IfMatch", condition: etag } });
        done++;
      } catch (error) {
        assert.equal(error.code, 412);
      }
    }
  }));
  assert.equal((await container.item("counter", "a").read()).resource.n, increments * names.length);
});
