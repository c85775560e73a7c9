// Documents through the SDK: every kind of partition key, conditions, exactness.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster, clean, failure, makeContainer } from "./lib.mjs";

let cluster, client, container;
before(async () => {
  cluster = await Cluster.start();
  client = cluster.client();
  container = await makeContainer(client);
});
after(() => cluster?.stop());

const docs = (c) => `/dbs/${c.database.id}/colls/${c.id}/docs`;

test("a document is created, read, replaced, upserted and deleted", async () => {
  const created = await container.items.create({ id: "1", pk: "a", n: 1 });
  assert.equal(created.statusCode, 201);
  assert.equal(created.etag, created.resource._etag);
  assert.equal(created.resource._attachments, "attachments/");
  assert.match(created.resource._self, /^dbs\/[^/]+\/colls\/[^/]+\/docs\/[^/]+\/$/);
  assert.equal(Buffer.from(created.resource._rid.replaceAll("-", "/"), "base64").length, 16);
  assert.ok(created.requestCharge > 0);

  assert.deepEqual((await container.item("1", "a").read()).resource, created.resource);
  assert.equal((await failure(container.items.create({ id: "1", pk: "a" }))).code, 409);
  assert.equal((await container.items.create({ id: "1", pk: "b" })).statusCode, 201, "ids are unique per key only");

  const replaced = await container.item("1", "a").replace({ id: "1", pk: "a", n: 2 });
  assert.equal(replaced.statusCode, 200);
  assert.notEqual(replaced.resource._etag, created.resource._etag);
  assert.equal(replaced.resource._rid, created.resource._rid);

  assert.equal((await container.items.upsert({ id: "1", pk: "a", n: 3 })).statusCode, 200);
  assert.equal((await container.items.upsert({ id: "2", pk: "a" })).statusCode, 201);
  assert.equal((await container.item("1", "a").read()).resource.n, 3);

  assert.equal((await container.item("1", "a").delete()).statusCode, 204);
  assert.equal((await container.item("1", "a").read()).statusCode, 404);
  assert.equal((await failure(container.item("1", "a").delete())).code, 404);
  assert.equal((await failure(container.item("1", "a").replace({ id: "1", pk: "a" }))).code, 404);
  assert.equal((await container.item("1", "b").read()).statusCode, 200);
});

test("every response of an item carries what SDKs need to follow a session", async () => {
  const { headers, status } = await cluster.request({
    method: "POST", path: docs(container), body: '{"id":"headers","pk":"a"}',
    headers: { "x-ms-documentdb-partitionkey": '["a"]' } });
  assert.equal(status, 201);
  assert.match(headers["x-ms-session-token"], /^\d+:\d+#\d+(#\d+=\d+)*$/);
  assert.equal(headers["x-ms-alt-content-path"], `dbs/${container.database.id}/colls/${container.id}`);
  assert.equal(Buffer.from(headers["x-ms-content-path"].replaceAll("-", "/"), "base64").length, 8);
  assert.match(headers["x-ms-request-charge"], /^\d+(\.\d+)?$/);
  assert.ok(headers["x-ms-activity-id"]);
  assert.match(headers.etag, /^".+"$/);
  assert.match(headers["content-type"], /^application\/json/);
});

// ---- partition keys ----------------------------------------------------------

for (const [what, value] of [
  ["a string", "tenant"], ["an empty string", ""], ["non-ASCII text", "zürich 😀"], ["a long string", "k".repeat(1900)],
  ["an integer", 5], ["zero", 0], ["a negative number", -1.5], ["a large number", 1e300], ["true", true],
  ["false", false], ["null", null], ["nothing", undefined],
])
  test(`a partition key that is ${what} works for every operation`, async () => {
    const body = value === undefined ? { id: "k" } : { id: "k", pk: value };
    assert.equal((await container.items.create(body)).statusCode, 201);
    const item = container.item("k", value);
    assert.deepEqual(clean((await item.read()).resource), body);
    assert.equal((await item.replace({ ...body, v: 1 })).statusCode, 200);
    assert.equal((await container.items.upsert({ ...body, v: 2 })).statusCode, 200);
    const { resources } = await container.items.query("SELECT * FROM c WHERE c.v = 2", { partitionKey: value }).fetchAll();
    assert.deepEqual(resources.map(clean), [{ ...body, v: 2 }]);
    assert.equal((await item.delete()).statusCode, 204);
  });

test("values that differ only in type are different partitions", async () => {
  const values = ["5", 5, "true", true, "null", null, undefined, ""];
  for (const pk of values) await container.items.create(pk === undefined ? { id: "t" } : { id: "t", pk });
  for (const pk of values) assert.deepEqual(clean((await container.item("t", pk).read()).resource), pk === undefined ? { id: "t" } : { id: "t", pk });
});

test("a nested path and /id can be the partition key", async () => {
  const nested = await makeContainer(client, { partitionKey: { paths: ["/a/b"], version: 2 } });
  await nested.items.create({ id: "1", a: { b: "x", c: 1 } });
  assert.equal((await nested.item("1", "x").read()).resource.a.c, 1);
  const byId = await makeContainer(client, { partitionKey: { paths: ["/id"], version: 2 } });
  await byId.items.create({ id: "me" });
  assert.equal((await byId.item("me", "me").read()).statusCode, 200);
  assert.equal((await byId.item("me", "me").delete()).statusCode, 204);
});

test("a container made without a version hashes keys the old way", async () => {
  const old = await makeContainer(client, { partitionKey: { paths: ["/pk"] } });
  for (const pk of ["a", "b", 1, null, true, "x".repeat(100)]) {
    await old.items.create({ id: "1", pk });
    assert.equal((await old.item("1", pk).read()).statusCode, 200, JSON.stringify(pk).slice(0, 20));
  }
});

test("hierarchical keys work, with missing parts too", async () => {
  const tree = await makeContainer(client, { partitionKey: { paths: ["/tenant", "/user", "/n"], kind: "MultiHash", version: 2 } });
  await tree.items.create({ id: "1", tenant: "t", user: "u", n: 1 });
  await tree.items.create({ id: "2", tenant: "t", user: "v", n: null });
  await tree.items.create({ id: "3", tenant: "t" });
  assert.equal((await tree.item("1", ["t", "u", 1]).read()).resource.id, "1");
  assert.equal((await tree.item("2", ["t", "v", null]).read()).resource.id, "2");
  assert.equal((await tree.items.query("SELECT * FROM c").fetchAll()).resources.length, 3);
  assert.equal((await tree.item("1", ["t", "u", 1]).delete()).statusCode, 204);
});

test("a partition key header that is missing, malformed or not the document's gets 400", async () => {
  const body = '{"id":"h","pk":"a"}';
  const cases = [
    [{}, undefined],
    [{ "x-ms-documentdb-partitionkey": "a" }, undefined],
    [{ "x-ms-documentdb-partitionkey": '"a"' }, undefined],
    [{ "x-ms-documentdb-partitionkey": '["a"' }, undefined],
    [{ "x-ms-documentdb-partitionkey": '["a","b"]' }, undefined],
    [{ "x-ms-documentdb-partitionkey": "[[1]]" }, undefined],
    [{ "x-ms-documentdb-partitionkey": '["b"]' }, "1001"],
    [{ "x-ms-documentdb-partitionkey": "[{}]" }, "1001"],
  ];
  for (const [headers, substatus] of cases) {
    const answer = await cluster.request({ method: "POST", path: docs(container), headers, body });
    assert.equal(answer.status, 400, JSON.stringify(headers));
    assert.equal(typeof answer.json.message, "string");
    if (substatus) assert.equal(answer.headers["x-ms-substatus"], substatus);
  }
  assert.equal((await container.item("h", "a").read()).statusCode, 404, "nothing was written");
});

// ---- conditions --------------------------------------------------------------

test("If-Match guards replace, upsert and delete", async () => {
  const { resource, item } = await container.items.create({ id: "etag", pk: "a" });
  const guarded = (condition) => ({ accessCondition: { type: "IfMatch", condition } });
  const { resource: second } = await item.replace({ ...resource, n: 1 }, guarded(resource._etag));
  assert.equal((await failure(item.replace({ ...resource, n: 2 }, guarded(resource._etag)))).code, 412);
  assert.equal((await failure(container.items.upsert({ ...resource, n: 2 }, guarded(resource._etag)))).code, 412);
  assert.equal((await failure(item.delete(guarded(resource._etag)))).code, 412);
  assert.equal((await item.read()).resource.n, 1);
  assert.equal((await item.replace({ ...resource, n: 3 }, guarded("*"))).statusCode, 200);
  const { etag } = await item.read();
  assert.notEqual(etag, second._etag);
  assert.equal((await item.delete(guarded(etag))).statusCode, 204);
});

test("If-None-Match on a read gives 304 while nothing changed", async () => {
  const { resource, item } = await container.items.create({ id: "none-match", pk: "a" });
  const condition = { accessCondition: { type: "IfNoneMatch", condition: resource._etag } };
  const same = await item.read(condition);
  assert.equal(same.statusCode, 304);
  assert.equal(same.resource ?? undefined, undefined);
  await item.replace({ ...resource, n: 1 });
  assert.equal((await item.read(condition)).statusCode, 200);
});

test("of many writers with one etag exactly one wins", async () => {
  const { resource, item } = await container.items.create({ id: "race", pk: "a", n: 0 });
  const results = await Promise.allSettled(
    Array.from({ length: 16 }, (_, n) =>
      item.replace({ ...resource, n: n + 1 }, { accessCondition: { type: "IfMatch", condition: resource._etag } })));
  assert.equal(results.filter(({ status }) => status === "fulfilled").length, 1);
  for (const { status, reason } of results) if (status === "rejected") assert.equal(reason.code, 412);
});

test("of many creators of one id exactly one wins", async () => {
  const results = await Promise.allSettled(
    Array.from({ length: 16 }, (_, n) => container.items.create({ id: "first", pk: "race", n })));
  const winners = results.filter(({ status }) => status === "fulfilled");
  assert.equal(winners.length, 1);
  for (const { status, reason } of results) if (status === "rejected") assert.equal(reason.code, 409);
  assert.equal((await container.item("first", "race").read()).resource.n, winners[0].value.resource.n);
});

// ---- exactness ---------------------------------------------------------------

test("values, key order and unusual text survive a round trip", async () => {
  const body = {
    id: "exact", pk: "a", z: 1, a: 2, "": "empty key", "ключ": "значение", emoji: "😀\u0000\u001f\"\\/",
    numbers: [0, -0.5, 1e21, 1e-7, 123456789012345, 0.1, 1.7976931348623157e308, 5e-324],
    nested: { deep: [[[{ x: [] }]], {}, null, true] }, "2": "numeric key", "1": "sorted by JavaScript",
  };
  await container.items.create(body);
  const { resource } = await container.item("exact", "a").read();
  assert.deepEqual(clean(resource), body);
  assert.deepEqual(Object.keys(clean(resource)), Object.keys(body));
});

test("a raw body comes back byte for byte, with the system properties behind it", async () => {
  const members = '"id":"raw","pk":"a","n":1.0,"big":12345678901234567890,"e":1E5,"t":"\\u00e9\\/\\ud83d\\ude00"';
  const path = docs(container);
  const headers = { "x-ms-documentdb-partitionkey": '["a"]' };
  assert.equal((await cluster.request({ method: "POST", path, headers, body: `{${members}}` })).status, 201);
  const { text } = await cluster.request({ path: `${path}/raw`, headers });
  assert.ok(text.startsWith(`{${members},"_rid":`), text);
});

test("system properties of a body are ignored", async () => {
  const body = { id: "sys", pk: "a", _rid: "x", _self: "y", _etag: "z", _ts: 1, _attachments: "w" };
  const { resource } = await container.items.create(body);
  for (const key of ["_rid", "_self", "_etag", "_ts", "_attachments"]) assert.notEqual(resource[key], body[key]);
  assert.equal((await container.item("sys", "a").replace({ ...resource, _etag: "nonsense" })).statusCode, 200);
});

test("documents up to two mebibytes are stored, larger ones get 413", async () => {
  const big = { id: "big", pk: "a", text: "x".repeat(2 * 1024 * 1024 - 300) };
  assert.equal((await container.items.create(big)).statusCode, 201);
  assert.equal((await container.item("big", "a").read()).resource.text.length, big.text.length);
  const larger = { id: "larger", pk: "a", text: "x".repeat(2 * 1024 * 1024 + 1) };
  assert.equal((await failure(container.items.create(larger))).code, 413);
  assert.equal((await container.item("larger", "a").read()).statusCode, 404);
});

test("ids follow the rules", async () => {
  for (const id of ["a b", " a ", "a?b", "a%20b", "ü", "😀", "'", '"', "+", "&", "x".repeat(255), "y".repeat(1023)]) {
    await container.items.create({ id, pk: "ids" });
    assert.equal((await container.item(id, "ids").read()).resource?.id, id, id.slice(0, 20));
    assert.equal((await container.item(id, "ids").delete()).statusCode, 204);
  }
  const headers = { "x-ms-documentdb-partitionkey": '["ids"]' };
  for (const id of ["", "a/b", "a\\b", "z".repeat(1024), 5, null, undefined, true, {}]) {
    const answer = await cluster.request({
      method: "POST", path: docs(container), headers, body: JSON.stringify({ id, pk: "ids" }) });
    assert.equal(answer.status, 400, JSON.stringify(id)?.slice(0, 20));
    assert.equal(answer.json.code, "BadRequest");
  }
});

test("the body's id and partition key cannot change in a replace", async () => {
  const { item } = await container.items.create({ id: "fixed", pk: "a" });
  assert.equal((await failure(item.replace({ id: "other", pk: "a" }))).code, 400);
  const error = await failure(item.replace({ id: "fixed", pk: "b" }));
  assert.equal(error.code, 400);
  assert.equal(error.substatus, 1001);
});
