// Databases and containers through the SDK.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster, failure } from "./lib.mjs";

let cluster, client;
before(async () => {
  cluster = await Cluster.start();
  client = cluster.client();
});
after(() => cluster?.stop());

test("a database is created, read, listed, queried and deleted", async () => {
  const created = await client.databases.create({ id: "shop" });
  assert.equal(created.statusCode, 201);
  assert.equal(created.resource.id, "shop");
  assert.match(created.resource._rid, /^[A-Za-z0-9+-]{6}==$/);
  assert.equal(created.resource._self, `dbs/${created.resource._rid}/`);
  assert.equal(created.resource._colls, "colls/");
  assert.match(created.resource._etag, /^".+"$/);
  assert.ok(Math.abs(created.resource._ts - Date.now() / 1000) < 60);
  assert.ok(created.requestCharge > 0);
  assert.ok(created.activityId);

  assert.equal((await failure(client.databases.create({ id: "shop" }))).code, 409);
  assert.equal((await client.databases.createIfNotExists({ id: "shop" })).statusCode, 200);
  const read = await client.database("shop").read();
  assert.deepEqual(read.resource, created.resource);
  const listed = await client.databases.readAll().fetchAll();
  assert.ok(listed.resources.some(({ id }) => id === "shop"));
  const found = await client.databases
    .query({ query: "SELECT * FROM root r WHERE r.id = @id", parameters: [{ name: "@id", value: "shop" }] })
    .fetchAll();
  assert.deepEqual(found.resources.map(({ id }) => id), ["shop"]);

  assert.equal((await client.database("shop").delete()).statusCode, 204);
  assert.equal((await failure(client.database("shop").read())).code, 404);
  assert.equal((await failure(client.database("shop").delete())).code, 404);
});

test("ids of databases that break the rules get 400", async () => {
  for (const id of ["a/b", "a\\b", "a#b", "a?b", "", "x".repeat(256), "trailing "]) {
    const { status, json } = await cluster.request({ method: "POST", path: "/dbs", body: JSON.stringify({ id }) });
    assert.equal(status, 400, JSON.stringify(id));
    assert.equal(json.code, "BadRequest");
  }
  for (const body of ["{}", '{"id":5}', '{"id":null}', "[]", "null", "5"]) {
    const { status, json } = await cluster.request({ method: "POST", path: "/dbs", body });
    assert.equal(status, 400, body);
    assert.equal(typeof json.message, "string");
  }
  const long = "y".repeat(255);
  assert.equal((await client.databases.create({ id: long })).statusCode, 201);
  assert.equal((await client.database(long).delete()).statusCode, 204);
});

test("names with unusual characters work", async () => {
  for (const id of ["a b", "ü€😀", "a%20b", "a+b", "a&b=c", "'quoted'", '"double"']) {
    const { database } = await client.databases.create({ id });
    assert.equal((await database.read()).resource.id, id);
    const { container } = await database.containers.create({ id, partitionKey: { paths: ["/pk"] } });
    assert.equal((await container.read()).resource.id, id);
    await container.items.create({ id: "1", pk: id });
    assert.equal((await container.item("1", id).read()).resource.pk, id);
    await database.delete();
  }
});

test("a container echoes what it was made with, defaults filled in", async () => {
  const { database } = await client.databases.create({ id: "echo" });
  const { resource, statusCode, container } = await database.containers.create({
    id: "c",
    partitionKey: { paths: ["/a/b"], version: 2 },
    uniqueKeyPolicy: { uniqueKeys: [{ paths: ["/email"] }] },
    defaultTtl: 100,
    indexingPolicy: { indexingMode: "consistent", automatic: true, includedPaths: [{ path: "/*" }], excludedPaths: [] },
  });
  assert.equal(statusCode, 201);
  assert.deepEqual(resource.partitionKey.paths, ["/a/b"]);
  assert.equal(resource.partitionKey.kind, "Hash");
  assert.equal(resource.partitionKey.version, 2);
  assert.deepEqual(resource.uniqueKeyPolicy.uniqueKeys[0].paths, ["/email"]);
  assert.equal(resource.defaultTtl, 100);
  assert.equal(resource.indexingPolicy.indexingMode, "consistent");
  assert.deepEqual(resource.indexingPolicy.excludedPaths, [{ path: '/"_etag"/?' }]);
  assert.equal(resource.conflictResolutionPolicy.mode, "LastWriterWins");
  assert.equal(resource.geospatialConfig.type, "Geography");
  assert.equal(resource._docs, "docs/");
  assert.equal(Buffer.from(resource._rid.replaceAll("-", "/"), "base64").length, 8);
  assert.deepEqual((await container.read()).resource, resource);
  await database.delete();
});

test("containers are listed, replaced and deleted", async () => {
  const { database } = await client.databases.create({ id: "many" });
  for (const id of ["one", "two", "three"])
    await database.containers.create({ id, partitionKey: { paths: ["/pk"] } });
  assert.equal((await failure(database.containers.create({ id: "one", partitionKey: { paths: ["/pk"] } }))).code, 409);
  const listed = await database.containers.readAll().fetchAll();
  assert.deepEqual(listed.resources.map(({ id }) => id).sort(), ["one", "three", "two"]);
  const { resource } = await database.container("one").read();
  const replaced = await database.container("one").replace({ ...resource, defaultTtl: 5 });
  assert.equal(replaced.statusCode, 200);
  assert.equal(replaced.resource.defaultTtl, 5);
  assert.notEqual(replaced.resource._etag, resource._etag);
  assert.equal(replaced.resource._rid, resource._rid);
  assert.equal(
    (await failure(database.container("one").replace({ ...resource, partitionKey: { paths: ["/other"] } }))).code, 400);
  assert.equal((await database.container("one").delete()).statusCode, 204);
  assert.equal((await failure(database.container("one").read())).code, 404);
  const again = await database.containers.create({ id: "one", partitionKey: { paths: ["/pk"] } });
  assert.notEqual(again.resource._rid, resource._rid, "a new container has a new resource id");
  await database.delete();
});

test("bad container definitions get 400", async () => {
  const { database } = await client.databases.create({ id: "bad" });
  for (const definition of [
    {},
    { id: "c", partitionKey: "/pk" },
    { id: "c", partitionKey: { paths: "/pk" } },
    { id: "c", partitionKey: { paths: [] } },
    { id: "c", partitionKey: { paths: ["pk"] } },
    { id: "c", partitionKey: { paths: ["/a", "/b"], kind: "Hash" } },
    { id: "c", partitionKey: { paths: ["/a", "/b", "/c", "/d"], kind: "MultiHash", version: 2 } },
    { id: "c", partitionKey: { paths: ["/a"] }, defaultTtl: 0 },
    { id: "c/d", partitionKey: { paths: ["/a"] } },
  ]) {
    const { status, json } = await cluster.request({
      method: "POST", path: "/dbs/bad/colls", body: JSON.stringify(definition) });
    assert.equal(status, 400, JSON.stringify(definition));
    assert.equal(typeof json.message, "string");
  }
  await database.delete();
});

test("children of what does not exist get 404", async () => {
  assert.equal((await failure(client.database("none").containers.create({ id: "c", partitionKey: { paths: ["/pk"] } }))).code, 404);
  assert.equal((await failure(client.database("none").container("c").items.create({ id: "1" }))).code, 404);
  const { status, headers } = await cluster.request({
    method: "POST", path: "/dbs/none/colls/c/docs", body: '{"id":"1"}',
    headers: { "x-ms-documentdb-partitionkey": '["a"]' } });
  assert.equal(status, 404);
  assert.equal(headers["x-ms-substatus"], "1003");
});

test("partition key ranges cover the whole space without gaps", async () => {
  const { database } = await client.databases.create({ id: "ranges" });
  const { container } = await database.containers.create({ id: "c", partitionKey: { paths: ["/pk"], version: 2 } });
  const { resources } = await container.readPartitionKeyRanges().fetchAll();
  assert.ok(resources.length >= 1);
  assert.equal(resources[0].minInclusive, "");
  assert.equal(resources.at(-1).maxExclusive, "FF");
  for (let i = 1; i < resources.length; i++) assert.equal(resources[i].minInclusive, resources[i - 1].maxExclusive);
  const raw = await cluster.request({ path: "/dbs/ranges/colls/c/pkranges" });
  assert.equal(raw.status, 200);
  const same = await cluster.request({
    path: "/dbs/ranges/colls/c/pkranges",
    headers: { "if-none-match": raw.headers.etag, "a-im": "Incremental feed" } });
  assert.equal(same.status, 304);
  await database.delete();
});

test("deleting a database takes its containers and documents with it", async () => {
  for (const round of [1, 2]) {
    const { database } = await client.databases.create({ id: "gone" });
    const { container } = await database.containers.create({ id: "c", partitionKey: { paths: ["/pk"] } });
    assert.equal((await container.items.readAll().fetchAll()).resources.length, 0, `round ${round}`);
    await container.items.create({ id: "1", pk: "a" });
    await database.delete();
  }
});
