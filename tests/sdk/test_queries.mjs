// Feeds and queries, answered completely by the server over all shards.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster, clean, failure, makeContainer } from "./lib.mjs";

const COUNT = 60;
let cluster, client, container, all;
before(async () => {
  cluster = await Cluster.start();
  client = cluster.client();
  container = await makeContainer(client);
  all = Array.from({ length: COUNT }, (_, n) => ({
    id: `d${String(n).padStart(3, "0")}`, pk: `p${n % 12}`, n, even: n % 2 === 0, name: `name ${n}`,
    nested: { x: n * 1.5, list: [n] }, ...(n % 3 === 0 ? { third: null } : {}) }));
  await Promise.all(all.map((document) => container.items.create(document)));
});
after(() => cluster?.stop());

const ids = (documents) => documents.map(({ id }) => id).sort();
const select = async (query, options) => (await container.items.query(query, options).fetchAll()).resources;
const where = (predicate) => ids(all.filter(predicate));

/** All pages of a query, one by one. */
async function pages(query, options) {
  const iterator = container.items.query(query, options);
  const result = [];
  while (iterator.hasMoreResults()) {
    const { resources } = await iterator.fetchNext();
    if (resources) result.push(resources);
  }
  return result;
}

test("the documents lie in more than one partition key range", async () => {
  assert.ok((await container.readPartitionKeyRanges().fetchAll()).resources.length > 1);
});

test("SELECT * gives every document once, from all partitions", async () => {
  assert.deepEqual(ids(await select("SELECT * FROM c")), ids(all));
  assert.deepEqual(ids((await container.items.readAll().fetchAll()).resources), ids(all));
});

test("documents of a query are the stored ones", async () => {
  const [found] = await select("SELECT * FROM c WHERE c.id = 'd007'");
  assert.deepEqual(clean(found), all[7]);
  assert.deepEqual(found, (await container.item("d007", all[7].pk).read()).resource);
});

test("pages have the size asked for and add up", async () => {
  for (const maxItemCount of [1, 7, 25, COUNT, 1000]) {
    const parts = await pages("SELECT * FROM c", { maxItemCount });
    for (const part of parts) assert.ok(part.length <= maxItemCount, `${part.length} of ${maxItemCount}`);
    assert.deepEqual(ids(parts.flat()), ids(all), `pages of ${maxItemCount}`);
  }
  assert.deepEqual(ids((await pages("SELECT * FROM c", { maxItemCount: -1 })).flat()), ids(all));
});

test("a continuation token resumes in another client, at another node, with another page size", async () => {
  const first = await container.items.query("SELECT * FROM c", { maxItemCount: 10 }).fetchNext();
  assert.ok(first.continuationToken);
  assert.ok(Buffer.byteLength(first.continuationToken) <= 1024);
  const path = `/dbs/${container.database.id}/colls/${container.id}/docs`;
  const token = (await cluster.request({ path, headers: { "x-ms-max-item-count": "10" } })).headers["x-ms-continuation"];
  assert.ok(token);
  const seen = [];
  let next = token, size = 3;
  const start = (await cluster.request({ path, headers: { "x-ms-max-item-count": "10" } })).json.Documents;
  seen.push(...start);
  for (const node of [...cluster.nodes, ...cluster.nodes]) {
    if (!next) break;
    const answer = await cluster.request({
      path, endpoint: node.endpoint, headers: { "x-ms-max-item-count": String(size++), "x-ms-continuation": next } });
    assert.equal(answer.status, 200, answer.text);
    seen.push(...answer.json.Documents);
    next = answer.headers["x-ms-continuation"];
  }
  assert.equal(new Set(ids(seen)).size, seen.length, "nothing comes twice");
  const rest = await cluster.request({ path, headers: { "x-ms-max-item-count": "1000", "x-ms-continuation": next } });
  assert.deepEqual(ids([...seen, ...rest.json.Documents]), ids(all));
});

test("a bad continuation token gets 400", async () => {
  const path = `/dbs/${container.database.id}/colls/${container.id}/docs`;
  for (const token of ["nonsense", "{}", "AAAA", "x".repeat(5000)]) {
    const { status, json } = await cluster.request({ path, headers: { "x-ms-continuation": token } });
    assert.equal(status, 400, token.slice(0, 20));
    assert.match(json.message, /Invalid Continuation Token/i);
  }
});

test("a read feed can be limited to one range or one partition key", async () => {
  const path = `/dbs/${container.database.id}/colls/${container.id}/docs`;
  const { resources: ranges } = await container.readPartitionKeyRanges().fetchAll();
  const parts = [];
  for (const { id } of ranges) {
    const { json } = await cluster.request({
      path, headers: { "x-ms-documentdb-partitionkeyrangeid": id, "x-ms-max-item-count": "1000" } });
    assert.equal(json._count, json.Documents.length);
    parts.push(...json.Documents);
  }
  assert.deepEqual(ids(parts), ids(all));
  const { json } = await cluster.request({ path, headers: { "x-ms-documentdb-partitionkey": '["p3"]' } });
  assert.deepEqual(ids(json.Documents), where(({ pk }) => pk === "p3"));
});

for (const [query, predicate] of [
  ["SELECT * FROM c WHERE c.n = 5", ({ n }) => n === 5],
  ["SELECT * FROM c WHERE c.n < 5", ({ n }) => n < 5],
  ["SELECT * FROM c WHERE c.n <= 5", ({ n }) => n <= 5],
  ["SELECT * FROM c WHERE c.n > 55", ({ n }) => n > 55],
  ["SELECT * FROM c WHERE c.n >= 55", ({ n }) => n >= 55],
  ["SELECT * FROM c WHERE c.even != true", ({ even }) => !even],
  ["SELECT * FROM c WHERE c.even", ({ even }) => even],
  ["SELECT * FROM c WHERE NOT c.even", ({ even }) => !even],
  ["SELECT * FROM c WHERE c.n > 10 AND c.n < 20", ({ n }) => n > 10 && n < 20],
  ["SELECT * FROM c WHERE c.n = 1 OR c.n = 2 OR c.n = 3", ({ n }) => n >= 1 && n <= 3],
  ["SELECT * FROM c WHERE c.even AND (c.n < 5 OR c.n > 55)", ({ n, even }) => even && (n < 5 || n > 55)],
  ["SELECT * FROM c WHERE c.name = 'name 17'", ({ n }) => n === 17],
  ["SELECT * FROM c WHERE c.name = \"name 17\"", ({ n }) => n === 17],
  ["SELECT * FROM c WHERE c['name'] = 'name 17'", ({ n }) => n === 17],
  ["SELECT * FROM c WHERE c.nested.x = 4.5", ({ n }) => n === 3],
  ["SELECT * FROM c WHERE c.nested.list[0] = 9", ({ n }) => n === 9],
  ["SELECT * FROM c WHERE c.third = null", ({ n }) => n % 3 === 0],
  ["SELECT * FROM c WHERE c.missing = 1", () => false],
  ["SELECT * FROM c WHERE c.n = '5'", () => false],
  ["SELECT * FROM root r WHERE r.pk = 'p1'", ({ pk }) => pk === "p1"],
  ["select * from c where c.n = 5 and true", ({ n }) => n === 5],
  ["SELECT * FROM c WHERE c.name >= 'name 5' AND c.name < 'name 6'", ({ name }) => name >= "name 5" && name < "name 6"],
])
  test(query, async () => {
    assert.deepEqual(ids(await select(query)), where(predicate));
  });

test("parameters of every type", async () => {
  const one = async (expression, value) =>
    ids(await select({ query: `SELECT * FROM c WHERE ${expression}`, parameters: [{ name: "@v", value }] }));
  assert.deepEqual(await one("c.n = @v", 5), where(({ n }) => n === 5));
  assert.deepEqual(await one("c.name = @v", "name 8"), where(({ n }) => n === 8));
  assert.deepEqual(await one("c.even = @v", true), where(({ even }) => even));
  assert.deepEqual(await one("c.third = @v", null), where(({ n }) => n % 3 === 0));
  assert.deepEqual(await one("c.name = @v", "' OR true --"), []);
});

test("projections", async () => {
  assert.deepEqual(await select("SELECT c.id, c.n FROM c WHERE c.n = 5"), [{ id: "d005", n: 5 }]);
  assert.deepEqual(await select("SELECT c.nested.x AS deep FROM c WHERE c.n = 2"), [{ deep: 3 }]);
  assert.deepEqual(await select("SELECT VALUE c.name FROM c WHERE c.n = 2"), ["name 2"]);
  assert.deepEqual(await select("SELECT c.missing FROM c WHERE c.n = 2"), [{}]);
  assert.deepEqual(await select("SELECT VALUE c.missing FROM c WHERE c.n = 2"), []);
});

test("COUNT counts over all partitions, and within one", async () => {
  assert.deepEqual(await select("SELECT VALUE COUNT(1) FROM c"), [COUNT]);
  assert.deepEqual(await select("SELECT VALUE COUNT(1) FROM c WHERE c.even"), [COUNT / 2]);
  assert.deepEqual(await select("SELECT VALUE COUNT(1) FROM c WHERE c.n > 1000"), [0]);
  assert.deepEqual(await select("SELECT VALUE COUNT(1) FROM c", { partitionKey: "p1" }), [COUNT / 12]);
});

test("a query within one partition key sees nothing of others", async () => {
  assert.deepEqual(ids(await select("SELECT * FROM c", { partitionKey: "p5" })), where(({ pk }) => pk === "p5"));
  assert.deepEqual(await select("SELECT * FROM c", { partitionKey: "none" }), []);
  const parts = await pages("SELECT * FROM c", { partitionKey: "p5", maxItemCount: 2 });
  assert.deepEqual(ids(parts.flat()), where(({ pk }) => pk === "p5"));
});

test("a query sees what was just written, changed and deleted", async () => {
  const fresh = await makeContainer(client);
  for (let n = 0; n < 10; n++) {
    await fresh.items.create({ id: "x", pk: `k${n}`, n });
    assert.deepEqual((await fresh.items.query("SELECT VALUE COUNT(1) FROM c").fetchAll()).resources, [n + 1]);
  }
  await fresh.item("x", "k3").replace({ id: "x", pk: "k3", n: 100 });
  assert.deepEqual((await fresh.items.query("SELECT VALUE c.pk FROM c WHERE c.n = 100").fetchAll()).resources, ["k3"]);
  await fresh.item("x", "k3").delete();
  assert.deepEqual((await fresh.items.query("SELECT VALUE COUNT(1) FROM c").fetchAll()).resources, [9]);
});

const byN = (from, to) => all.slice(from, to).map(({ id }) => id);

test("ORDER BY sorts over all partitions, with paging", async () => {
  const values = async (query, options) => (await pages(query, options)).flat();
  assert.deepEqual(await values("SELECT VALUE c.id FROM c ORDER BY c.n"), byN(0, COUNT));
  assert.deepEqual(await values("SELECT VALUE c.id FROM c ORDER BY c.n DESC", { maxItemCount: 7 }), byN(0, COUNT).reverse());
  assert.deepEqual(await values("SELECT VALUE c.id FROM c WHERE c.n >= 50 ORDER BY c.name", { maxItemCount: 3 }), byN(50, 60));
});

test("TOP, OFFSET and LIMIT cut the result", async () => {
  assert.equal((await select("SELECT TOP 5 * FROM c")).length, 5);
  assert.deepEqual(await select("SELECT TOP 3 VALUE c.n FROM c ORDER BY c.n"), [0, 1, 2]);
  assert.deepEqual(await select("SELECT VALUE c.n FROM c ORDER BY c.n OFFSET 10 LIMIT 3"), [10, 11, 12]);
});

test("DISTINCT, GROUP BY and aggregates gather from all partitions", async () => {
  assert.equal((await select("SELECT DISTINCT VALUE c.pk FROM c")).length, 12);
  const groups = await select("SELECT c.pk, COUNT(1) AS n FROM c GROUP BY c.pk");
  assert.deepEqual(groups.map(({ n }) => n), Array(12).fill(COUNT / 12));
  assert.deepEqual(await select("SELECT VALUE SUM(c.n) FROM c"), [(COUNT * (COUNT - 1)) / 2]);
  assert.deepEqual(await select("SELECT VALUE MAX(c.n) FROM c"), [COUNT - 1]);
});

test("JOIN, IN, LIKE and functions", async () => {
  assert.deepEqual(await select("SELECT VALUE t FROM c JOIN t IN c.nested.list WHERE c.n = 4"), [4]);
  assert.deepEqual(ids(await select("SELECT * FROM c WHERE c.n IN (1, 2, 3)")), byN(1, 4));
  assert.deepEqual(ids(await select("SELECT * FROM c WHERE c.name LIKE 'name 5_'")), byN(50, 60));
  assert.deepEqual(ids(await select("SELECT * FROM c WHERE STARTSWITH(c.name, 'name 5') AND c.n >= 50")), byN(50, 60));
});

for (const [query, what] of [
  ["SELECT * FROM c WHERE udf.twice(c.n) = 2", /User-defined functions/],
  ["SELECT * FROM c ORDER BY RANK FullTextScore(c.name, 'a')", /ORDER BY RANK|FullTextScore/i],
  ["SELECT * FROM c WHERE ST_DISTANCE(c.a, c.b) < 1", /ST_DISTANCE/],
  ["SELECT * FROM c WHERE UNHEARD_OF(c.name)", /UNHEARD_OF/i],
])
  test(`what is not supported says so, with its place: ${query}`, async () => {
    const { status, json } = await cluster.request({
      method: "POST", path: `/dbs/${container.database.id}/colls/${container.id}/docs`,
      headers: { "x-ms-documentdb-isquery": "true", "content-type": "application/query+json" }, body: JSON.stringify({ query }) });
    assert.equal(status, 400);
    assert.match(json.message, what);
    assert.match(json.message, /"location":\{"start":\d+,"end":\d+\}/);
  });

for (const query of ["", "SELECT", "SELECT * FROM", "SELECT * FROM c WHERE", "SELECT * FROM c WHERE c.n =", "SELEC * FROM c",
  "SELECT * FROM c WHERE c.n = 'open", "SELECT * FROM c WHERE (c.n = 1", "SELECT * FROM c WHERE c.n = 1)", "SELECT * FROM c; DROP",
  "SELECT * FROM c WHERE c.n = @missing", "SELECT * FROM c WHERE d.n = 1"])
  test(`bad query text gets 400: ${JSON.stringify(query)}`, async () => {
    const { status, json } = await cluster.request({
      method: "POST", path: `/dbs/${container.database.id}/colls/${container.id}/docs`,
      headers: { "x-ms-documentdb-isquery": "true", "content-type": "application/query+json" }, body: JSON.stringify({ query }) });
    assert.equal(status, 400);
    assert.equal(json.code, "BadRequest");
    assert.equal(typeof json.message, "string");
  });

test("the query plan request answers with a JSON body", async () => {
  const { status, json } = await cluster.request({
    method: "POST", path: `/dbs/${container.database.id}/colls/${container.id}/docs`,
    headers: { "x-ms-cosmos-is-query-plan-request": "True", "x-ms-documentdb-isquery": "true",
      "content-type": "application/query+json" },
    body: '{"query":"SELECT * FROM c"}' });
  assert.ok(status === 200 || status === 400, String(status));
  assert.equal(typeof json, "object");
});
