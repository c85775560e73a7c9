// A group of two regions with a witness in a third: it survives the loss of
// either region, and of the witness, and the witness never holds a byte of it.
import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { Cluster, until } from "../sdk/lib.mjs";
import { admin, command, statusOf } from "./lib.mjs";

let cluster, written = 0;
const nodeOf = (region) => cluster.nodes.find((node) => node.region === region);
const groupAt = async (region) =>
  (await admin(cluster, nodeOf(region), "GET", "/placement")).json.groups.find(({ name }) => name === "eu");
const create = (body) => admin(cluster, nodeOf("us"), "POST", "/placement", body);
const container = (region) =>
  cluster.client({
    endpoint: nodeOf(region).endpoint, connectionPolicy: { enableEndpointDiscovery: false },
  }).database("shop").container("orders");

/** Documents, each until it is acknowledged. */
async function write(region, count) {
  for (let i = 0; i < count; i++) {
    const document = { id: `d${written}`, pk: `p${written % 5}`, text: `Geheimnis ${written}` };
    await until(`${document.id} is written`, async () => {
      try {
        await container(region).items.upsert(document);
        return true;
      } catch (error) {
        if (![503, 408, 429, 449].includes(error.code)) throw error;
        return false;
      }
    }, 40_000, 200);
    written++;
  }
}
const reads = (region) => until(`${region} reads ${written} documents`, async () => {
  try {
    return (await container(region).items.query("SELECT VALUE COUNT(1) FROM c").fetchAll()).resources[0] === written;
  } catch {
    return false;
  }
}, 40_000, 200);
const writesIn = (region) =>
  until(`the group writes in ${region}`, async () => (await groupAt("us")).write_region === region, 40_000);

before(async () => {
  cluster = await Cluster.start({ flags: ["--regions", "germany,france,us,spain", "--consistency", "session"] });
  await until("groups can be made", async () => (await create({})).status === 400);
});
after(() => cluster?.stop());

test("a witness has to be in a third region, and of use", async () => {
  for (const [body, says] of [
    [{ witness: "germany" }, /outside the group's own/],
    [{ witness: "mars" }, /a region of the cluster/],
    [{ regions: ["germany"], witness: "us" }, /a group of two regions/],
  ]) {
    const { status, json } = await create({ name: "eu", regions: ["germany", "france"], ...body });
    assert.equal(status, 400);
    assert.match(json.message, says);
  }
  const { status, json } = await create({ name: "eu", regions: ["germany", "france"], witness: "us", level: "Strong" });
  assert.equal(status, 201, JSON.stringify(json));
  assert.deepEqual(json.warnings, []);
  await until("its keys are made", async () => (await groupAt("us")).unavailable === null);
  const client = cluster.client();
  const { database } = await client.databases.create({ id: "shop" });
  await database.containers.create({ id: "orders", partitionKey: "/pk" }, { initialHeaders: { "x-bastide-placement": "eu" } });
  await write("germany", 20);
  await reads("france");
});

test("without its first region the other goes on, with everything", async () => {
  await cluster.kill(nodeOf("germany").name);
  await writesIn("france");
  await reads("france");
  await write("france", 5);
  await cluster.restart(nodeOf("germany").name);
  await reads("germany");
});

test("without the witness both go on", async () => {
  await cluster.kill(nodeOf("us").name);
  await write("france", 5);
  await reads("germany");
  await cluster.restart(nodeOf("us").name);
});

test("the witness has a log without payload, and no record", async () => {
  const group = await groupAt("us");
  assert.equal(group.witness, nodeOf("us").name);
  assert.deepEqual([...group.keys_for].sort(), ["france", "germany"]);
  await until("it follows", async () => {
    const statuses = await statusOf(cluster);
    const lsn = (region) => statuses.get(nodeOf(region).name).shards
      .filter((shard) => shard.group === "eu").map(({ commit_lsn }) => commit_lsn).join();
    return lsn("us") === lsn("france") && lsn("us") === lsn("germany");
  });
  const files = readdirSync(nodeOf("us").dir, { recursive: true }).map((name) => path.join(nodeOf("us").dir, name));
  for (const file of files.filter((name) => statSync(name).isFile()))
    assert.ok(!readFileSync(file).includes("Geheimnis"), file);
  await assert.rejects(container("us").items.query("SELECT * FROM c").fetchAll(), (error) => error.code === 403);
});

test("a region is exchanged, and the witness stays", async () => {
  for (const [regions, says] of [
    [["germany"], /needs two regions/],
    [["germany", "france", "spain"], /needs two regions/],
    [["germany", "us"], /beside its own/],
  ]) {
    const { status, json } = await admin(cluster, nodeOf("us"), "POST", "/placement/regions", { group: "eu", regions, dry_run: true });
    assert.equal(status, 400, JSON.stringify(json));
    assert.match(json.message, says);
  }
  const { code, stderr } = await command(cluster, "placement", "set", "eu", "--regions", "france,spain", "--yes");
  assert.equal(code, 0, stderr);
  const group = await groupAt("us");
  assert.deepEqual([group.witness, [...group.keys_for].sort()], [nodeOf("us").name, ["france", "spain"]]);
  await write("france", 5);
  await reads("spain");
  // Either may be lost, as before.
  await cluster.kill(nodeOf("france").name);
  await writesIn("spain");
  await write("spain", 5);
  await cluster.restart(nodeOf("france").name);
  await reads("france");
  await until("nothing is outside", async () => (await command(cluster, "placement", "verify", "--group", "eu")).code === 0, 40_000, 500);
});
