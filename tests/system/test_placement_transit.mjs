// A group that allows transit: the SDK reads, writes and queries its containers
// through a node outside the fence, also while a node inside dies, and the node
// outside keeps nothing of it. Set to deny again it refuses.
import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { Cluster, failure, until } from "../sdk/lib.mjs";
import { admin, command, logOf, topologyOf } from "./lib.mjs";
import { scrape } from "./metrics.mjs";
import { Writer, fill, verify } from "./writers.mjs";

const MARKER = "Durchgang";
const FILL = 60;
let cluster, orders;

const nodeOf = (region) => cluster.nodes.find((node) => node.region === region);
const groupAt = async (region) =>
  (await admin(cluster, nodeOf(region), "GET", "/placement")).json.groups.find(({ name }) => name === "eu");
const create = (body) => admin(cluster, nodeOf("us"), "POST", "/placement", body);
const containerAt = (region, options = {}) =>
  cluster.client({ endpoint: nodeOf(region).endpoint, connectionPolicy: { enableEndpointDiscovery: false }, ...options })
    .database("shop").container("orders");
const set = async (...args) => command(cluster, "placement", "set", "eu", ...args);
const transit = (value) =>
  until(`all know that transit is ${value}`, async () => {
    for (const { region } of cluster.nodes) if ((await groupAt(region)).transit !== value) return false;
    return true;
  });
const counted = async (region, part) => {
  const metrics = await scrape(cluster, nodeOf(region));
  return metrics.get("bastide_transit_requests_total", { group: "eu", part }) ?? 0;
};
const refused = (error) => error.code === 403 && /germany, france; this is us/.test(error.message);

before(async () => {
  process.env.BASTIDE_LOG_LEVEL = "debug"; // and yet nothing of it may be in a log
  cluster = await Cluster.start({ flags: ["--regions", "germany,france,us", "--consistency", "session"] });
  await until("groups can be made, and set", async () =>
    (await create({ transit: "maybe" })).json?.message?.includes("name is") &&
    !/feature level/.test((await admin(cluster, nodeOf("us"), "POST", "/placement/settings", { group: "default", leaders: "spread" })).json.message ?? ""));
  const { status, json } = await create(
    { name: "eu", regions: ["germany", "france"], witness: "us", level: "Strong", shards: 2 });
  assert.equal(status, 201, JSON.stringify(json));
  await until("its keys are made", async () => (await groupAt("us")).unavailable === null);
  const { database } = await cluster.client().databases.create({ id: "shop" });
  await database.containers.create({ id: "orders", partitionKey: "/pk" }, { initialHeaders: { "x-bastide-placement": "eu" } });
  orders = containerAt("us");
});
after(() => cluster?.stop());

test("a group denies transit until it is told otherwise", async () => {
  assert.equal((await groupAt("us")).transit, "deny");
  await assert.rejects(orders.items.create({ id: "x", pk: "y" }), refused);
  const { status, json } = await admin(cluster, nodeOf("us"), "POST", "/placement/settings", { group: "default", transit: "allow" });
  assert.equal(status, 400);
  assert.match(json.message, /no fence/);
});

test("allowing it is previewed, asked for and audited", async () => {
  const preview = await set("--transit", "allow", "--dry-run");
  assert.equal(preview.code, 0, preview.stderr);
  assert.match(preview.stdout, /will pass through the memory of nodes in: us/);
  assert.equal((await groupAt("us")).transit, "deny");
  const { code, stdout, stderr } = await set("--transit", "allow", "--yes");
  assert.equal(code, 0, stderr);
  assert.match(stdout, /Transit: allowed/);
  await transit("allow");
  await until("it is in the audit", async () => {
    const { json } = await admin(cluster, nodeOf("germany"), "GET", "/audit");
    return JSON.stringify(json).includes("transit allow, leaders spread");
  });
});

test("the SDK works through the node outside", async () => {
  await fill(orders, FILL, { mark: MARKER });
  const { resource, statusCode, etag } = await orders.item("fill-3", "pk-3").read();
  assert.equal(resource.mark, MARKER);
  assert.equal(statusCode, 200);
  const { resources } = await orders.items.query("SELECT VALUE COUNT(1) FROM c").fetchAll();
  assert.deepEqual(resources, [FILL]);
  await orders.items.create({ id: `${MARKER}-id`, pk: `${MARKER}-pk`, [MARKER]: MARKER });
  const marked = await orders.items.query({ query: `SELECT c.id FROM c WHERE c.${MARKER} = @m`, parameters: [{ name: "@m", value: MARKER }] }).fetchAll();
  assert.deepEqual(marked.resources, [{ id: `${MARKER}-id` }]);
  assert.equal((await orders.item(`${MARKER}-id`, `${MARKER}-pk`).delete()).statusCode, 204);
  const ordered = await orders.items.query("SELECT VALUE c.id FROM c WHERE c.pk = 'pk-3' ORDER BY c.id").fetchAll();
  assert.equal(ordered.resources[0], "fill-16");
  let pages = 0, found = 0;
  for (const pager = orders.items.query("SELECT * FROM c", { maxItemCount: 7 }); pager.hasMoreResults();) {
    const page = await pager.fetchNext();
    pages++;
    found += page.resources?.length ?? 0;
  }
  assert.equal(found, FILL);
  assert.ok(pages > FILL / 7 - 2, `${pages} pages`);
  const stale = { accessCondition: { type: "IfMatch", condition: '"00000000-0000-0000-0000-000000000000"' } };
  assert.equal((await failure(orders.item("fill-3", "pk-3").replace({ ...resource, v: 1 }, stale))).code, 412);
  const { resource: changed } = await orders.item("fill-3", "pk-3").replace({ ...resource, v: 0 },
    { accessCondition: { type: "IfMatch", condition: etag } });
  assert.equal(changed.v, 0);
  const same = await orders.item("fill-3", "pk-3").read({ accessCondition: { type: "IfNoneMatch", condition: changed._etag } });
  assert.equal(same.statusCode, 304);
  const missing = await orders.item(`${MARKER}-none`, "pk-3").read();
  assert.equal(missing.statusCode, 404);
  const taken = await failure(orders.items.create({ id: "fill-3", pk: "pk-3" }));
  assert.equal(taken.code, 409);
  assert.match(taken.message, /already exists/);
  const wrong = await failure(orders.items.query("SELECT FROM WHERE").fetchAll());
  assert.equal(wrong.code, 400);
});

test("what the answer says is what a node inside says", async () => {
  const request = { path: "/dbs/shop/colls/orders/docs/fill-5", headers: { "x-ms-documentdb-partitionkey": '["pk-5"]' } };
  const [here, there] = await Promise.all(["us", "germany"].map((region) => cluster.request({ ...request, endpoint: nodeOf(region).endpoint })));
  const own = new Set(["date", "x-ms-activity-id"]);
  const rest = ({ headers }) => Object.entries(headers).filter(([name]) => !own.has(name)).sort();
  assert.equal(here.status, 200);
  assert.equal(here.text, there.text);
  assert.deepEqual(rest(here), rest(there));
  const activity = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";
  const { headers } = await cluster.request({ ...request, endpoint: nodeOf("us").endpoint, headers: { ...request.headers, "x-ms-activity-id": activity } });
  assert.equal(headers["x-ms-activity-id"], activity);
});

test("the largest documents and pages pass", async () => {
  const text = "x".repeat(1_900_000);
  for (let n = 0; n < 4; n++) await orders.items.create({ id: `large-${n}`, pk: "large", text });
  const { resources } = await orders.items.query("SELECT * FROM c WHERE c.pk = 'large'").fetchAll();
  assert.deepEqual(resources.map((found) => found.text.length), [0, 1, 2, 3].map(() => text.length));
  const over = await failure(orders.items.create({ id: "over", pk: "large", text: "x".repeat(2_200_000) }));
  assert.equal(over.code, 413);
  for (let n = 0; n < 4; n++) await orders.item(`large-${n}`, "large").delete();
});

test("the first node's word on the key holds at the second", async () => {
  const reader = containerAt("us", { key: cluster.info.primaryReadonlyKey });
  assert.equal((await reader.item("fill-1", "pk-1").read()).resource.mark, MARKER);
  assert.equal((await reader.items.query("SELECT * FROM c WHERE c.id = 'fill-1'").fetchAll()).resources.length, 1);
  assert.equal((await failure(reader.items.create({ id: "ro", pk: "a" }))).code, 403);
  const stranger = containerAt("us", { key: Buffer.alloc(64, 1).toString("base64") });
  assert.equal((await failure(stranger.item("fill-1", "pk-1").read())).code, 401);
});

test("rows of a container with a placement map pass one by one; a query over all of them does not", async () => {
  await cluster.client().database("shop").containers.create({ id: "rows", partitionKey: "/country" },
    { initialHeaders: { "x-bastide-placement": "/country: de=eu, *=default" } });
  const rows = (region) => cluster.client({ endpoint: nodeOf(region).endpoint, connectionPolicy: { enableEndpointDiscovery: false } })
    .database("shop").container("rows");
  const before = await counted("us", "passed_on");
  await rows("us").items.create({ id: "1", country: "de", mark: MARKER });
  assert.equal((await rows("us").item("1", "de").read()).resource.mark, MARKER);
  assert.equal(await counted("us", "passed_on"), before + 2);
  await rows("us").items.create({ id: "2", country: "fr" });
  assert.equal((await rows("us").item("2", "fr").read()).resource.id, "2");
  assert.equal(await counted("us", "passed_on"), before + 2);
  await assert.rejects(rows("us").items.query("SELECT * FROM c").fetchAll(), (error) => error.code === 403);
  assert.equal((await rows("germany").items.query("SELECT * FROM c").fetchAll()).resources.length, 2);
});

test("a node inside dies meanwhile: no request fails, nothing is doubled or lost", async () => {
  const writers = [0, 1].map((n) => new Writer(`w${n}`, orders));
  const going = async (what, more) => {
    const then = writers.map(({ writes }) => writes);
    await until(what, () => writers.every(({ writes }, n) => writes > then[n] + more), 40_000);
  };
  await going("they write", 10);
  await cluster.kill(nodeOf("germany").name);
  await going("they go on", 20);
  await Promise.all(writers.map((writer) => writer.stop()));
  assert.deepEqual(writers.flatMap(({ failed }) => failed), []);
  await verify(orders, FILL, writers);
  await cluster.restart(nodeOf("germany").name);
  await until("the group is whole", async () => (await groupAt("us")).unavailable === null && (await topologyOf(cluster)).settled);
});

test("it is counted, and what passed is in no file of the node outside", async () => {
  assert.ok(await counted("us", "passed_on") > FILL);
  assert.ok(await counted("france", "answered") > 0);
  assert.equal(await counted("us", "answered"), 0);
  const files = readdirSync(nodeOf("us").dir, { recursive: true }).map((name) => path.join(nodeOf("us").dir, name));
  for (const file of files.filter((name) => statSync(name).isFile()))
    assert.ok(!readFileSync(file).includes(MARKER), file);
  assert.match(logOf(nodeOf("us")), /"level":"debug"/);
  assert.ok(!logOf(nodeOf("us")).includes("fill-3"));
});

test("the residency statement says so", async () => {
  let last;
  await until("it holds", async () => {
    last = await command(cluster, "placement", "verify", "--group", "eu");
    return last.code === 0;
  }, 30_000, 500).catch((error) => assert.fail(`${error.message}\n${last.stdout}${last.stderr}`));
  assert.match(last.stdout, /eu may exist in "germany", "france"; transit: allow/);
});

test("set to deny again, it refuses at once", async () => {
  const { code, stdout, stderr } = await set("--transit", "deny");
  assert.equal(code, 0, stderr);
  assert.match(stdout, /Transit: denied/);
  await transit("deny");
  await assert.rejects(orders.item("fill-3", "pk-3").read(), refused);
  await assert.rejects(orders.items.create({ id: "x", pk: "y" }), refused);
  assert.equal((await containerAt("france").item("fill-3", "pk-3").read()).resource.mark, MARKER);
});
