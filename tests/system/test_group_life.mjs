// A placement group's life: its data key turns over, by command while its leader
// is killed under load, and by itself when a region has left; and in the end
// nothing of it is left.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { Cluster, run, until } from "../sdk/lib.mjs";
import { admin, command, complaints, logOf, statusOf } from "./lib.mjs";

const REGIONS = ["germany", "france", "us"];
const NONCE = "0123456789abcdef";
let cluster;
const nodeOf = (region) => cluster.nodes.find((node) => node.region === region);
const groupAt = async (region, name = "eu") =>
  (await admin(cluster, nodeOf(region), "GET", "/placement")).json.groups.find((group) => group.name === name);
const clientAt = (region) => cluster.client({
  endpoint: cluster.info.regions.find(({ name }) => name === region).endpoint,
  connectionPolicy: { enableEndpointDiscovery: false },
});
const orders = (region) => clientAt(region).database("shop").container("orders");
/** Versions of the group's data key that a node has opened. */
const versionsAt = async (region, number) =>
  JSON.parse((await admin(cluster, nodeOf(region), "GET", `/placement/holdings?nonce=${NONCE}`)).json.report)
    .keys.filter(({ group, purpose }) => group === number && purpose === "data").map(({ version }) => version);
/** What verify says of a group; what a region that left had in its log goes a
 *  moment later. */
async function verified(name = "eu") {
  let said;
  await until(`${name} is verified`, async () => {
    said = await command(cluster, "placement", "verify", "--group", name, "-o", "json");
    return said.code === 0;
  });
  return JSON.parse(said.stdout).groups.find((group) => group.name === name);
}
const audited = async (says) =>
  (await admin(cluster, nodeOf("us"), "GET", "/audit?max=200")).json.records.filter(({ what }) => says.test(what));

let written = 0;
async function write(region, count) {
  for (let i = 0; i < count; i++) {
    await orders(region).items.create({ id: `d${written}`, pk: `p${written % 5}`, n: written });
    written++;
  }
}
const countIn = async (region) =>
  (await orders(region).items.query("SELECT VALUE COUNT(1) FROM c").fetchAll()).resources[0];
const sees = (region) => until(`${region} reads ${written} documents`, async () => {
  try { return (await countIn(region)) === written; } catch { return false; }
});

before(async () => {
  cluster = await Cluster.start({ flags: ["--regions", REGIONS.join(), "--consistency", "session"] });
  await until("the group is made", async () =>
    (await command(cluster, "placement", "create", "eu", "--regions", REGIONS.join(), "--shards", "2")).code === 0);
  const { database } = await cluster.client().databases.create({ id: "shop" });
  await database.containers.create({ id: "orders", partitionKey: "/pk" }, { initialHeaders: { "x-bastide-placement": "eu" } });
  await write("germany", 20);
});
after(() => cluster?.stop());

test("a new data key is made under load, also when the leader is killed", async () => {
  const { number, first_shard } = await groupAt("us");
  assert.deepEqual(await versionsAt("us", number), [0]);
  let stop = false;
  const load = (async () => {
    while (!stop)
      try { await write("us", 1); } catch { written++; } // unknown: its id is not used again
  })();
  const leader = (await statusOf(cluster)).get("germany-1").shards.find(({ shard }) => shard === first_shard);
  assert.equal(leader.role, "leader");
  const rotating = command(cluster, "placement", "rotate", "eu");
  await until("it is asked for", async () => {
    const group = await groupAt("us");
    return group.new_key_due || group.sealing_key === 1;
  });
  await cluster.kill("germany-1");
  const { code, stderr } = await rotating;
  assert.equal(code, 0, stderr);
  await cluster.restart("germany-1");
  await until("all have it", async () => {
    const groups = await Promise.all(REGIONS.map((region) => groupAt(region)));
    return groups.every((group) => group.sealing_key === 1 && group.data_keys === 2 && !group.new_key_due && group.settled);
  });
  stop = true;
  await load;
  written = await countIn("us");
  for (const region of REGIONS) assert.deepEqual(await versionsAt(region, number), [0, 1]);
  const before = (await verified()).records_by_key_version;
  for (let i = 0; i < 5; i++) await orders("germany").items.create({ id: `new${i}`, pk: "p" });
  written += 5;
  const { records_by_key_version: now } = await verified();
  assert.equal(now[0], before[0]); // old ones stay as they are
  assert.equal(now[1], (before[1] ?? 0) + 5);
  for (const region of REGIONS) await sees(region);
  assert.equal((await audited(/^turn over the data key of placement group eu$/)).length, 1);
  assert.ok((await audited(/^make data key version 1 of placement group eu$/)).length >= 1);
});

test("a region that has left never has the key of what is written then", async () => {
  const { number } = await groupAt("us");
  const { code, stderr } = await command(cluster, "placement", "set", "eu", "--regions", "germany,france", "--yes");
  assert.equal(code, 0, stderr);
  const group = await groupAt("germany");
  assert.deepEqual([group.data_keys, group.sealing_key, [...group.keys_for].sort()], [3, 2, ["france", "germany"]]);
  await until("us has no key", async () => (await versionsAt("us", number)).length === 0);
  await write("germany", 7);
  for (const region of ["germany", "france"]) {
    await sees(region);
    assert.deepEqual(await versionsAt(region, number), [0, 1, 2]);
  }
  assert.equal((await verified()).records_by_key_version[2], 7);
  // Restarted, a node opens all versions again.
  await cluster.restart("france-1");
  await sees("france");
});

const filesOf = (node, { first_shard, shards }) => Array.from({ length: shards },
  (_, i) => path.join(node.dir, "data/shards", String(first_shard + i))).filter((dir) => existsSync(dir));

test("a group is removed when nothing is in it, also at a node that was down", async () => {
  const group = await groupAt("us");
  const inIt = await command(cluster, "placement", "remove", "eu", "--yes");
  assert.equal(inIt.code, 1);
  assert.match(inIt.stderr, /container shop\/orders is in it/);
  assert.equal((await command(cluster, "placement", "rules", "add", "*/de-*", "eu")).code, 0);
  assert.match((await command(cluster, "placement", "remove", "eu", "--dry-run")).stderr, /rule 1 names it/);
  assert.equal((await command(cluster, "placement", "rules", "remove", "1")).code, 0);
  assert.match((await command(cluster, "placement", "remove", "default", "--yes")).stderr, /always there/);
  await orders("germany").delete();
  const plan = await command(cluster, "placement", "remove", "eu", "--dry-run");
  assert.equal(plan.code, 0, plan.stderr);
  assert.match(plan.stdout, /germany-1 france-1/);
  assert.equal((await groupAt("us")).removing, false);
  await cluster.kill("france-1");
  const removing = command(cluster, "placement", "remove", "eu", "--yes");
  await until("it is asked for", async () => (await groupAt("us"))?.removing !== false);
  // Nothing new in it from now on.
  const late = await cluster.client().database("shop").containers.create({ id: "late", partitionKey: "/pk" },
    { initialHeaders: { "x-bastide-placement": "eu" } }).then(() => undefined, (error) => error);
  assert.equal(late?.code, 400, late?.message);
  const { code, stderr } = await removing;
  assert.equal(code, 0, stderr);
  await until("germany has deleted it", () => filesOf(nodeOf("germany"), group).length === 0);
  assert.equal(filesOf(nodeOf("france"), group).length, 2);
  await cluster.restart("france-1");
  await until("france deletes it when it is back", () => filesOf(nodeOf("france"), group).length === 0);
  for (const region of ["germany", "france"])
    await until(`${region} has no key`, async () => (await versionsAt(region, group.number)).length === 0);
  await until("nothing of it is left anywhere", async () => (await command(cluster, "placement", "verify")).code === 0, 60_000);
  assert.equal((await audited(/^remove placement group eu$/)).length, 1);
  assert.ok((await audited(/^removed placement group eu$/)).length >= 1);
  // A group of the same name is another one.
  const again = await command(cluster, "placement", "create", "eu", "--regions", "germany,us", "--shards", "1");
  assert.equal(again.code, 0, again.stderr);
  const anew = await groupAt("us");
  assert.ok(anew.number > group.number && anew.first_shard >= group.first_shard + group.shards);
});

test("it is removed, too, when the node that does it is killed", async () => {
  const group = await groupAt("us");
  const meta = [...(await statusOf(cluster))].find(([, { shards }]) =>
    shards.some(({ shard, role }) => shard === 0 && role === "leader"))[0];
  const asker = cluster.nodes.find(({ name }) => name !== meta).region;
  const { status } = await admin(cluster, nodeOf(asker), "POST", "/placement/remove", { group: "eu" });
  assert.equal(status, 202);
  await cluster.kill(meta);
  await until("its record is gone", async () => !(await groupAt(asker)));
  await cluster.restart(meta);
  for (const { region } of cluster.nodes)
    await until(`${region} has nothing of it`, async () =>
      filesOf(nodeOf(region), group).length === 0 && (await versionsAt(region, group.number)).length === 0);
});

test("group default's key turns over, too", async () => {
  const { code, stdout, stderr } = await command(cluster, "placement", "rotate", "default", "-o", "json");
  assert.equal(code, 0, stderr);
  assert.equal(JSON.parse(stdout).group.sealing_key, 1);
  const { database } = await clientAt("us").databases.create({ id: "everywhere" });
  const { container } = await database.containers.create({ id: "things", partitionKey: "/pk" });
  await container.items.create({ id: "a", pk: "a" });
  assert.deepEqual((await verified("default")).records_by_key_version, [0, 1]);
});

test("clients see a region under the name that an operator gives it", async () => {
  const named = await command(cluster, "region", "rename-display", "us", "Middle West US 2");
  assert.equal(named.code, 0, named.stderr);
  const client = cluster.client({ endpoint: cluster.info.regions[0].endpoint, connectionPolicy: { preferredLocations: ["middle west us 2"] } });
  await until("the account says so", async () =>
    (await client.getDatabaseAccount()).resource.readableLocations.some(({ name }) => name === "Middle West US 2"));
  // The SDK finds it by the new name, and reads there.
  const sdk = cluster.client({ endpoint: cluster.info.regions[0].endpoint, connectionPolicy: { preferredLocations: ["MiddleWestUS2"] } });
  const read = await sdk.database("everywhere").container("things").item("a", "a").read();
  assert.equal(read.resource.id, "a");
  assert.equal(await sdk.getReadEndpoint(), cluster.info.regions.find(({ name }) => name === "us").endpoint);
  // Commands go by the region's own name, and show the other one.
  const list = JSON.parse((await command(cluster, "region", "list", "-o", "json")).stdout);
  assert.deepEqual(list.regions.map((region) => region.display_name).sort(), ["Middle West US 2", "france", "germany"]);
  assert.match((await command(cluster, "region", "list")).stdout, /Clients see us as Middle West US 2/);
  assert.match((await command(cluster, "status")).stdout, /Clients see us as Middle West US 2/);
  assert.match((await command(cluster, "region", "rename-display", "france", "middlewest US2")).stderr, /could not tell/);
  assert.match((await command(cluster, "region", "rename-display", "france", "Ger Many")).stderr, /could not tell/);
  assert.match((await command(cluster, "region", "rename-display", "mars", "Red")).stderr, /one of the cluster's/);
  assert.equal((await audited(/^show region us as Middle West US 2$/)).length, 1);
  assert.equal((await command(cluster, "region", "rename-display", "us", "us")).code, 0);
  await until("it has its own name again", async () =>
    (await client.getDatabaseAccount()).resource.readableLocations.some(({ name }) => name === "us"));
});

test("a rotation is refused where it makes no sense", async () => {
  const unknown = await command(cluster, "placement", "rotate", "moon");
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /must name a placement group/);
  assert.equal((await run(["placement", "rotate"])).code, 2);
});

test("nobody complained of more than lost links", () => {
  for (const node of cluster.nodes)
    for (const { level, msg } of complaints(logOf(node))) assert.notEqual(level, "error", msg);
});
