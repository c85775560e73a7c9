// Fenced placement groups on a real cluster of three regions: a container of a
// group of two lives in these alone, works there with the SDK, moves its writes
// inside the fence when a region is lost, and is refused everywhere else.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { Cluster, run, until } from "../sdk/lib.mjs";
import { admin, statusOf } from "./lib.mjs";

const MARKER = "Sonderzug";
let cluster, orders;

const nodeOf = (region) => cluster.nodes.find((node) => node.region === region);
const regionOf = (name) => cluster.info.regions.find((region) => region.name === name);
const groupAt = async (node, name) => {
  const { status, json } = await admin(cluster, node, "GET", "/placement");
  return status === 200 ? json.groups.find((group) => group.name === name) : undefined;
};
const filesBelow = (dir) =>
  readdirSync(dir, { recursive: true }).map((name) => path.join(dir, name)).filter((file) => statSync(file).isFile());

before(async () => {
  cluster = await Cluster.start({ flags: ["--regions", "germany,france,us", "--consistency", "session"] });
  // A new cluster agrees on what all its nodes support within a second.
  await until("groups can be made", async () => (await create({})).status === 400);
});
after(() => cluster?.stop());

const create = (body, node = nodeOf("us")) => admin(cluster, node, "POST", "/placement", body);

test("a group that cannot be is refused, with the reason", async () => {
  for (const [body, says] of [
    [{}, /name is 1 to 63/],
    [{ name: "Eu", regions: ["germany"] }, /lower-case/],
    [{ name: "default", regions: ["germany"] }, /of that name/],
    [{ name: "eu" }, /regions must be an array/],
    [{ name: "eu", regions: ["germany", "mars"] }, /does not have/],
    [{ name: "eu", regions: ["germany", "germany"] }, /twice/],
    [{ name: "eu", regions: ["germany", "france"], priority: ["germany"] }, /each of the regions once/],
    [{ name: "eu", regions: ["germany", "france"], priority: ["germany", "us"] }, /each of the regions once/],
    [{ name: "eu", regions: ["germany"], level: "Sometimes" }, /level is one of/],
    [{ name: "eu", regions: ["germany"], shards: 0 }, /from 1 to 64/],
    [{ name: "eu", regions: ["germany"], copies_per_region: 2 }, /has 1 nodes/],
    [{ name: "eu", regions: ["germany"], fence: true }, /unknown or repeated member/],
  ]) {
    const { status, json } = await create(body);
    assert.ok(status === 400 || status === 409, `${status} for ${JSON.stringify(body)}`);
    assert.match(json.message, says);
  }
});

test("a group is made from anywhere, and told what two regions mean", async () => {
  const { status, json } = await create({ name: "eu", regions: ["germany", "france"], shards: 2 });
  assert.equal(status, 201, JSON.stringify(json));
  assert.match(json.warnings[0], /losing either stops writes/);
  const again = await create({ name: "eu", regions: ["germany"] });
  assert.equal(again.status, 409);
  await until("its keys are made and every node knows", async () => {
    for (const node of cluster.nodes) {
      const group = await groupAt(node, "eu");
      if (!group || group.keys_for.length !== 2 || group.unavailable !== null) return false;
    }
    return true;
  });
});

test("its shards are inside the fence only", async () => {
  const group = await groupAt(nodeOf("us"), "eu");
  await until("the shards are led in the first region", async () => {
    const shards = (await statusOf(cluster)).get(nodeOf("germany").name).shards.filter((shard) => shard.group === "eu");
    return shards.length === 2 && shards.every(({ role, writable }) => role === "leader" && writable);
  });
  for (const node of cluster.nodes)
    for (let id = group.first_shard; id < group.first_shard + group.shards; id++)
      assert.equal(existsSync(path.join(node.dir, "data/shards", String(id))), node.region !== "us", `${node.name} ${id}`);
});

test("a container of the group works with the SDK inside the fence", async () => {
  const client = cluster.client({ endpoint: regionOf("germany").endpoint, connectionPolicy: { enableEndpointDiscovery: false } });
  const { database } = await client.databases.create({ id: "shop" });
  const made = await database.containers.create({ id: "orders", partitionKey: "/pk" },
    { initialHeaders: { "x-bastide-placement": "eu" } });
  orders = made.container;
  for (let n = 0; n < 40; n++)
    await orders.items.create({ id: `${MARKER}-id-${n}`, pk: `${MARKER}-pk-${n % 7}`, text: `${MARKER} ${n}` });
  const france = cluster.client({ endpoint: regionOf("france").endpoint, connectionPolicy: { enableEndpointDiscovery: false } });
  const there = france.database("shop").container("orders");
  const { resource } = await there.item(`${MARKER}-id-3`, `${MARKER}-pk-3`).read();
  assert.equal(resource.text, `${MARKER} 3`);
  const { resources } = await there.items.query("SELECT VALUE COUNT(1) FROM c").fetchAll();
  assert.deepEqual(resources, [40]);
  await assert.rejects(database.containers.create({ id: "lost", partitionKey: "/pk" },
    { initialHeaders: { "x-bastide-placement": "moon" } }), /there is no placement group 'moon'/);
});

test("outside the fence everything about its documents is refused, and says where to go", async () => {
  const client = cluster.client({ endpoint: regionOf("us").endpoint, connectionPolicy: { enableEndpointDiscovery: false } });
  const there = client.database("shop").container("orders");
  const refused = (error) => error.code === 403 && /germany, france; this is us/.test(error.message);
  await assert.rejects(there.item(`${MARKER}-id-3`, `${MARKER}-pk-3`).read(), refused);
  await assert.rejects(there.items.create({ id: "x", pk: "y" }), refused);
  await assert.rejects(there.items.query("SELECT * FROM c").fetchAll(), refused);
  await assert.rejects(there.items.readAll().fetchAll(), refused);
  const { resource } = await there.read(); // the definition is no payload
  assert.equal(resource.id, "orders");
});

test("what is in the group is in no file outside", async () => {
  for (const file of filesBelow(nodeOf("us").dir))
    assert.ok(!readFileSync(file).includes(MARKER), file);
});

test("after a restart everything is there again", async () => {
  for (const region of ["france", "germany", "us"]) {
    await cluster.kill(nodeOf(region).name);
    await cluster.restart(nodeOf(region).name);
  }
  const france = cluster.client({ endpoint: regionOf("france").endpoint, connectionPolicy: { enableEndpointDiscovery: false } });
  await until("all documents are read", async () => {
    try {
      const { resources } = await france.database("shop").container("orders").items.query("SELECT VALUE COUNT(1) FROM c").fetchAll();
      return resources[0] === 40;
    } catch {
      return false;
    }
  });
});

test("a group whose majority is lost is unavailable, and status says why", async () => {
  await cluster.kill(nodeOf("germany").name);
  await until("the reason is told", async () => (await groupAt(nodeOf("us"), "eu"))?.unavailable !== null);
  const { unavailable } = await groupAt(nodeOf("us"), "eu");
  assert.match(unavailable, /majority/);
  // The rest of the cluster goes on: default moves to the next region.
  await until("default moves", async () => (await groupAt(nodeOf("us"), "default")).write_region === "france");
  await cluster.restart(nodeOf("germany").name);
  await until("it is back", async () => (await groupAt(nodeOf("us"), "eu"))?.unavailable === null);
});

test("commands name groups in status", async () => {
  const { code, stdout } = await run(["status", "--dir", cluster.dir, "-o", "json"]);
  assert.equal(code, 0);
  const { nodes } = JSON.parse(stdout);
  assert.ok(nodes.find(({ name }) => name === nodeOf("france").name).status.shards.some(({ group }) => group === "eu"));
});
