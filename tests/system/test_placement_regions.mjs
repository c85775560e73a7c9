// A group's fence is loosened and tightened while it is used: regions that come
// in serve its documents, those that go end with neither replicas nor keys nor
// log records of it, also when nodes die meanwhile.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { Cluster, run, until } from "../sdk/lib.mjs";
import { admin, complaints, logOf, statusOf } from "./lib.mjs";

let cluster;
const REGIONS = ["germany", "france", "us"];
const nodeOf = (region) => cluster.nodes.find((node) => node.region === region);
const groupAt = async (node, name = "eu") => {
  const { status, json } = await admin(cluster, node, "GET", "/placement");
  return status === 200 ? json.groups.find((group) => group.name === name) : undefined;
};
const setRegions = (regions, more = {}, node = nodeOf("us")) =>
  admin(cluster, node, "POST", "/placement/regions", { group: "eu", regions, ...more });
const container = (region) =>
  cluster.client({
    endpoint: cluster.info.regions.find(({ name }) => name === region).endpoint,
    connectionPolicy: { enableEndpointDiscovery: false },
  }).database("shop").container("orders");
const settled = (regions) =>
  until(`eu is settled in ${regions}`, async () => {
    const groups = await Promise.all(cluster.nodes.map(async (node) => {
      try { return await groupAt(node); } catch { return undefined; }
    }));
    return groups.every((group) => group && group.settled && group.leaving.length === 0 &&
      group.regions.join() === regions.join() && [...group.keys_for].sort().join() === [...regions].sort().join());
  }, 60_000);
const shardsOf = (node, group) =>
  Array.from({ length: group.shards }, (_, i) => path.join(node.dir, "data/shards", String(group.first_shard + i)));

let written = 0;
async function write(region, count) {
  const there = container(region);
  for (let i = 0; i < count; i++) {
    await there.items.create({ id: `d${written}`, pk: `p${written % 5}`, n: written });
    written++;
  }
}
const countIn = async (region) =>
  (await container(region).items.query("SELECT VALUE COUNT(1) FROM c").fetchAll()).resources[0];
const sees = (region) => until(`${region} reads ${written} documents`, async () => {
  try { return (await countIn(region)) === written; } catch { return false; }
});
const refuses = (region) => until(`${region} is outside`, async () => {
  try { await countIn(region); return false; } catch (error) { return error.code === 403; }
});
const gone = async (region) => {
  const node = nodeOf(region), group = await groupAt(nodeOf("us"));
  await until(`the replicas of ${region} are deleted`, () => shardsOf(node, group).every((dir) => !existsSync(dir)));
  await until(`the log of ${region} has nothing of them`, () =>
    shardsOf(node, group).every((dir) =>
      logOf(node).includes(`"nothing of a shard is left in the log","node":"${node.name}","shard":${path.basename(dir)}`)), 60_000);
  assert.ok(logOf(node).includes("the keys of a placement group are wiped here"));
};

before(async () => {
  cluster = await Cluster.start({ flags: ["--regions", REGIONS.join(), "--consistency", "session"] });
  // A new cluster agrees on what all its nodes support within a second.
  await until("the group is made", async () =>
    (await admin(cluster, nodeOf("us"), "POST", "/placement", { name: "eu", regions: ["germany", "france"] })).status === 201);
  await settled(["germany", "france"]);
  const client = cluster.client();
  const { database } = await client.databases.create({ id: "shop" });
  await database.containers.create({ id: "orders", partitionKey: "/pk" }, { initialHeaders: { "x-bastide-placement": "eu" } });
  await write("germany", 50);
});
after(() => cluster?.stop());

test("what would move is told before", async () => {
  const { status, json } = await setRegions(["germany", "us"], { dry_run: true });
  assert.equal(status, 200, JSON.stringify(json));
  assert.deepEqual([json.comes, json.goes, json.nodes_come, json.nodes_go], [["us"], ["france"], ["us-1"], ["france-1"]]);
  assert.equal((await setRegions(["germany", "france"], { dry_run: true })).status, 409); // it is so already
  assert.equal((await setRegions(["us"], { dry_run: true })).status, 400); // nobody who stays can write
  assert.equal((await setRegions(["germany", "mars"])).status, 400);
  assert.equal((await admin(cluster, nodeOf("us"), "POST", "/placement/regions", { group: "moon", regions: ["us"] })).status, 404);
  const all = await admin(cluster, nodeOf("us"), "POST", "/placement/regions", { group: "default", regions: ["us", "germany"], dry_run: true });
  assert.equal(all.status, 200, JSON.stringify(all.json));
  assert.deepEqual([all.json.goes, all.json.nodes_go, all.json.write_region], [["france"], ["france-1"], "germany"]);
});

test("a region comes in and serves what was written before", async () => {
  await refuses("us");
  const { status, json } = await setRegions(["germany", "france", "us"]);
  assert.equal(status, 202, JSON.stringify(json));
  await settled(["germany", "france", "us"]);
  await write("us", 20);
  for (const region of REGIONS) await sees(region);
  // Three voters now: losing one does not stop writes.
  await cluster.kill(nodeOf("france").name);
  await write("us", 5);
  await cluster.restart(nodeOf("france").name);
});

test("a region goes by the command, and leaves nothing behind", async () => {
  await until("the change before is finished", async () => (await groupAt(nodeOf("us"))).settled);
  const words = ["placement", "set", "eu", "--regions", "germany,us", "--dir", cluster.dir];
  const plan = await run([...words, "--dry-run"]);
  assert.equal(plan.code, 0, plan.stderr);
  assert.match(plan.stdout, /once emptied: france[^]*lose the keys: france-1/);
  const unasked = await run(words);
  assert.equal(unasked.code, 2);
  assert.match(unasked.stderr, /add --yes, nothing was changed/);
  const { code, stderr, stdout } = await run([...words, "--yes"]);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /Regions: germany, us/);
  await settled(["germany", "us"]);
  await refuses("france");
  await gone("france");
  await write("germany", 5);
  for (const region of ["germany", "us"]) await sees(region);
});

test("it may come back, and the write region may go, under kills", async () => {
  await until("the change is taken", async () => (await setRegions(["us", "france", "germany"])).status === 202);
  await cluster.kill(nodeOf("france").name);
  await cluster.restart(nodeOf("france").name);
  await settled(["us", "france", "germany"]);
  await until("the change is taken", async () => (await setRegions(["us", "france"])).status === 202);
  await cluster.kill(nodeOf("germany").name);
  await cluster.restart(nodeOf("germany").name);
  await settled(["us", "france"]);
  await refuses("germany");
  await gone("germany");
  await write("us", 5);
  for (const region of ["us", "france"]) await sees(region);
  const statuses = await statusOf(cluster);
  for (const { role, group } of statuses.get(nodeOf("us").name).shards)
    if (group === "eu") assert.equal(role, "leader");
});

test("nobody complained of more than lost links", () => {
  for (const node of cluster.nodes)
    for (const { level, msg } of complaints(logOf(node))) assert.notEqual(level, "error", msg);
});
