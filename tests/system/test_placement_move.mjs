// A container moves between placement groups while SDK programs write to it:
// there and back, cancelled, and with its mover killed in the middle. Nothing
// acknowledged is lost, doubled or resurrected, and no request fails for good.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster, run, until } from "../sdk/lib.mjs";
import { admin } from "./lib.mjs";
import { Writer, fill, verify } from "./writers.mjs";

const FILL = 400;
const ESSENTIALS = { connectionPolicy: { enableEndpointDiscovery: false } };
let cluster, germany, orders;

const nodeOf = (region) => cluster.nodes.find((node) => node.region === region);
const regionOf = (name) => cluster.info.regions.find((region) => region.name === name);
const clientAt = (region) => cluster.client({ endpoint: regionOf(region).endpoint, ...ESSENTIALS });
const post = (target, body, node = nodeOf("france")) => admin(cluster, node, "POST", target, body);
const order = (group, more = {}) => post("/placement/move", { database: "shop", container: "orders", group, ...more });
const moves = async (node = nodeOf("france")) => {
  const { status, json } = await admin(cluster, node, "GET", "/placement/moves");
  return status === 200 ? json.moves : [];
};
const moveNow = async (node) => (await moves(node)).find(({ container }) => container === "orders");
const movedTo = (group, seconds = 60) =>
  until(`orders is in ${group}`, async () => {
    const move = await moveNow();
    return move?.phase === "" && move.group === group;
  }, seconds * 1000);

before(async () => {
  cluster = await Cluster.start({ flags: ["--regions", "germany,france,us", "--consistency", "session"] });
  await until("groups can be made", async () =>
    (await post("/placement", { name: "eu", regions: ["germany", "france"], shards: 3 })).status === 201);
  await until("eu works", async () => {
    const { json } = await admin(cluster, nodeOf("us"), "GET", "/placement");
    return json.groups.find(({ name }) => name === "eu")?.unavailable === null;
  });
  germany = clientAt("germany");
  const { database } = await germany.databases.create({ id: "shop" });
  ({ container: orders } = await database.containers.create({ id: "orders", partitionKey: "/pk" }));
  await fill(orders, FILL);
});
after(() => cluster?.stop());

const writers = [];
async function withWriters(during, container = orders) {
  const mine = [0, 1, 2].map((n) => new Writer(`w${writers.length}-${n}`, container));
  writers.push(...mine);
  const before = mine.map(({ writes }) => writes);
  await until("they write", () => mine.every(({ writes }, n) => writes > before[n] + 5));
  try {
    await during(mine);
    const then = mine.map(({ writes }) => writes);
    await until("they go on", () => mine.every(({ writes }, n) => writes > then[n] + 20));
  } finally {
    await Promise.all(mine.map((writer) => writer.stop()));
  }
  return mine;
}

test("what cannot be is refused, with the reason, and a preview changes nothing", async () => {
  for (const [body, status, says] of [
    [{ database: "shop", container: "orders", group: "moon" }, 404, /no placement group/],
    [{ database: "shop", container: "none", group: "eu" }, 404, /no such container/],
    [{ database: "none", container: "orders", group: "eu" }, 404, /no such database/],
    [{ database: "shop", container: "orders", group: "default" }, 409, /already/],
    [{ database: "shop", container: "orders", group: "eu", force: true }, 400, /unknown or repeated/],
  ]) {
    const answer = await post("/placement/move", body);
    assert.equal(answer.status, status, JSON.stringify(answer.json));
    assert.match(answer.json.message, says);
  }
  const { status, json } = await order("eu", { dry_run: true });
  assert.equal(status, 200, JSON.stringify(json));
  assert.deepEqual([json.from, json.to, json.gets, json.loses, json.keeps],
    ["default", "eu", [], ["us"], ["germany", "france"]]);
  assert.equal(await moveNow(), undefined);
  const cancel = await post("/placement/move/cancel", { database: "shop", container: "orders" });
  assert.equal(cancel.status, 409);
});

test("it moves into a fence under writes; no request fails, nothing is lost", async () => {
  const ranges = (await orders.readPartitionKeyRanges().fetchAll()).resources.map(({ id }) => id);
  const { resource: before } = await orders.item("fill-7", "pk-7").read();
  const mine = await withWriters(async () => {
    assert.equal((await order("eu")).status, 202);
    await movedTo("eu");
  });
  for (const { failed } of mine) assert.deepEqual(failed, []);
  console.log("longest request", Math.max(...mine.map(({ longest_ms }) => longest_ms)), "ms");
  await verify(orders, FILL, writers);
  const { resource: now } = await orders.item("fill-7", "pk-7").read();
  assert.deepEqual([now._rid, now._ts, now._self], [before._rid, before._ts, before._self]);
  assert.notEqual(now._etag, before._etag);
  const after = (await clientAt("germany").database("shop").container("orders").readPartitionKeyRanges().fetchAll()).resources;
  assert.equal(after.length, 3);
  for (const { id } of after) assert.ok(!ranges.includes(id), `range ${id} is used again`);
});

test("outside the fence it is refused now", async () => {
  const there = clientAt("us").database("shop").container("orders");
  await assert.rejects(there.item("fill-7", "pk-7").read(), (error) => error.code === 403);
});

test("where no region is inside both fences it is refused", async () => {
  await until("another group can be made", async () =>
    [201, 409].includes((await post("/placement", { name: "far", regions: ["us"] })).status));
  await until("its keys are there", async () => {
    const { json } = await admin(cluster, nodeOf("us"), "GET", "/placement");
    return json.groups.find(({ name }) => name === "far")?.keys_for.length === 1;
  });
  const answer = await until("it is refused for that reason", async () => {
    const { status, json } = await order("far");
    return status === 503 ? undefined : { status, json };
  });
  assert.equal(answer.status, 400);
  assert.match(answer.json.message, /no region is inside both eu and far/);
});

test("every node has its files and log clean of it in the old group", async () => {
  await until("all are clean", async () => {
    for (const node of cluster.nodes) if ((await moveNow(node))?.clean !== true) return false;
    return true;
  }, 60_000);
});

test("it moves back out", async () => {
  const mine = await withWriters(async () => {
    assert.equal((await order("default")).status, 202);
    await movedTo("default");
  });
  for (const { failed } of mine) assert.deepEqual(failed, []);
  await verify(orders, FILL, writers);
  await verify(clientAt("us").database("shop").container("orders"), FILL, writers);
});

test("the command shows what will happen, moves, and waits until nothing is left", async () => {
  const move = (...args) => run(["placement", "move", ...args, "--dir", cluster.dir], 120_000);
  const preview = await move("shop/orders", "eu", "--dry-run");
  assert.equal(preview.code, 0, preview.stderr);
  assert.match(preview.stdout, /regions that lose it: +us\n/);
  assert.match(preview.stdout, /regions that keep it: +germany, france\n/);
  const unasked = await move("shop/orders", "eu");
  assert.equal(unasked.code, 2, "nobody is there to be asked");
  assert.match(unasked.stderr, /--yes/);
  const moved = await move("shop/orders", "eu", "--yes", "-o", "json");
  assert.equal(moved.code, 0, moved.stderr);
  assert.deepEqual(JSON.parse(moved.stdout), { database: "shop", container: "orders", group: "eu" });
  for (const node of cluster.nodes) assert.equal((await moveNow(node)).clean, true, node.name);
  await verify(orders, FILL, writers);
  const late = await move("shop/orders", "--cancel");
  assert.equal(late.code, 1);
  assert.match(late.stderr, /not being moved/);
  const status = await move("--status");
  assert.match(status.stdout, /shop\/orders: in eu\n/);
  const audit = await run(["audit", "--dir", cluster.dir]);
  assert.match(audit.stdout, /begin move of container shop\/orders/);
});
