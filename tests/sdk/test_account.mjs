// The account document, and who may do what.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster, failure, makeContainer } from "./lib.mjs";

let cluster;
before(async () => (cluster = await Cluster.start()));
after(() => cluster?.stop());

test("the account names every region in order, with its own endpoint", async () => {
  const { resource } = await cluster.client().getDatabaseAccount();
  const names = cluster.info.regions.map(({ name }) => name);
  const strip = (name) => name.toLowerCase().replaceAll(" ", "");
  assert.deepEqual(resource.readableLocations.map(({ name }) => strip(name)), names);
  assert.ok(resource.writableLocations.length >= 1);
  assert.equal(strip(resource.writableLocations[0].name), names[0]);
  for (const [i, region] of cluster.info.regions.entries())
    assert.equal(resource.readableLocations[i].databaseAccountEndpoint, region.endpoint);
  assert.equal(resource.consistencyPolicy, "Strong");
});

test("every endpoint of every node and region serves the same account", async () => {
  const endpoints = [cluster.info.endpoint, ...cluster.info.regions.map(({ endpoint }) => endpoint),
    ...cluster.nodes.map(({ endpoint }) => endpoint)];
  for (const endpoint of endpoints) {
    const { status, json, headers } = await cluster.request({ endpoint });
    assert.equal(status, 200, endpoint);
    assert.ok(headers["x-ms-activity-id"]);
    assert.equal(json.readableLocations.length, cluster.info.regions.length);
    assert.notEqual(json.id, "localhost");
    assert.equal(typeof json.queryEngineConfiguration, "string");
    assert.ok(json.userConsistencyPolicy.defaultConsistencyLevel);
  }
});

test("primary and secondary keys work, read-only keys read and get 403 on writes", async () => {
  const container = await makeContainer(cluster.client());
  await container.items.create({ id: "1", pk: "a" });
  const again = cluster.client({ key: cluster.info.secondaryKey });
  await again.database(container.database.id).container("items").items.create({ id: "2", pk: "a" });
  for (const key of [cluster.info.primaryReadonlyKey, cluster.info.secondaryReadonlyKey]) {
    const reader = cluster.client({ key }).database(container.database.id).container("items");
    assert.equal((await reader.item("1", "a").read()).statusCode, 200);
    assert.equal((await reader.items.query("SELECT * FROM c").fetchAll()).resources.length, 2);
    assert.equal((await failure(reader.items.create({ id: "3", pk: "a" }))).code, 403);
    assert.equal((await failure(reader.item("1", "a").replace({ id: "1", pk: "a" }))).code, 403);
    assert.equal((await failure(reader.item("1", "a").delete())).code, 403);
    assert.equal((await failure(reader.delete())).code, 403);
  }
});

test("a wrong key gets 401 with a body that says what was signed", async () => {
  const key = Buffer.alloc(64, 1).toString("base64");
  const error = await failure(cluster.client({ key }).databases.readAll().fetchAll());
  assert.equal(error.code, 401);
  const raw = await cluster.request({ path: "/dbs", key });
  assert.equal(raw.status, 401);
  assert.equal(raw.json.code, "Unauthorized");
  assert.match(raw.json.message, /The input authorization token can't serve the request/);
});

test("an unsigned request gets 401", async () => {
  const { status, json } = await cluster.request({ path: "/dbs", sign: false });
  assert.equal(status, 401);
  assert.match(json.message, /^Required Header authorization is missing/);
});

for (const [what, authorization] of [
  ["not a token", "hello"],
  ["an unknown type", encodeURIComponent("type=magic&ver=1.0&sig=AAAA")],
  ["no signature", encodeURIComponent("type=master&ver=1.0")],
  ["a signature that is not base64", encodeURIComponent("type=master&ver=1.0&sig=%%%")],
  ["an empty signature", encodeURIComponent("type=master&ver=1.0&sig=")],
])
  test(`an authorization header with ${what} gets 401`, async () => {
    const { status, json } = await cluster.request({ path: "/dbs", headers: { authorization } });
    assert.equal(status, 401);
    assert.equal(json.code, "Unauthorized");
    assert.equal(typeof json.message, "string");
  });

for (const minutes of [-16, 16])
  test(`a date ${minutes} minutes off is refused`, async () => {
    const date = new Date(Date.now() + minutes * 60_000).toUTCString();
    const { status, json } = await cluster.request({ path: "/dbs", date });
    assert.ok(status === 403 || status === 401, String(status));
    assert.match(json.message, /not valid at the current time/);
  });

test("a date within a quarter of an hour is accepted", async () => {
  for (const minutes of [-14, 14]) {
    const date = new Date(Date.now() + minutes * 60_000).toUTCString();
    assert.equal((await cluster.request({ path: "/dbs", date })).status, 200);
  }
});

test("a malformed or missing date is refused", async () => {
  for (const date of ["yesterday", "2026-11-22T01:53:57Z"]) {
    const { status, json } = await cluster.request({ path: "/dbs", date });
    assert.ok(status === 401 || status === 403, `${date}: ${status}`);
    assert.equal(typeof json.message, "string");
  }
});
