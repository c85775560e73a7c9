// The walls of a fence on real clusters whose nodes can be told to leave walls
// open (tests/fence.mk): a node outside is made a member of a fenced group, and
// each wall alone still keeps it empty. With none of them it gets everything but
// the keys, which are a wall of their own.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { afterEach, test } from "node:test";
import { Cluster, program, until } from "../sdk/lib.mjs";
import { admin, killAlone, startAlone, statusOf, untilListens } from "./lib.mjs";
import { scrape } from "./metrics.mjs";

const MARKER = "Sonderzug";
const DOCUMENTS = 30;
const openable = process.env.TEST_FENCE_BASTIDE || path.join(path.dirname(program), "tests/fence/bastide");
const skip = existsSync(openable) ? false : `${openable} is not built`;
let cluster;
afterEach(async () => {
  delete process.env.TEST_FENCE_OPEN;
  await killAlone();
  await cluster?.stop();
  cluster = undefined;
});

const nodeOf = (region) => cluster.nodes.find((node) => node.region === region);
const filesBelow = (dir) =>
  readdirSync(dir, { recursive: true }).map((name) => path.join(dir, name)).filter((file) => statSync(file).isFile());
const clientAt = (region) => cluster.client({
  endpoint: cluster.info.regions.find(({ name }) => name === region).endpoint,
  connectionPolicy: { enableEndpointDiscovery: false },
});

/** A cluster with a group of germany and france, and documents in it; `open`
 *  are the walls that nobody has. */
async function start(open, by = openable) {
  process.env.TEST_FENCE_OPEN = open;
  cluster = await Cluster.start({ program: by, flags: ["--regions", "germany,france,us", "--consistency", "session"] });
  await until("the group is made", async () => {
    const { status, json } = await admin(cluster, nodeOf("us"), "POST", "/placement",
      { name: "eu", regions: ["germany", "france"], shards: 1 });
    assert.ok(status === 201 || status === 503, `${status} ${JSON.stringify(json)}`);
    return status === 201;
  });
  await until("it takes writes", async () => {
    const { json } = await admin(cluster, nodeOf("germany"), "GET", "/placement");
    const group = json.groups.find(({ name }) => name === "eu");
    return group?.keys_for.length === 2 && group.unavailable === null;
  });
  const { database } = await clientAt("germany").databases.create({ id: "shop" });
  const { container } = await database.containers.create({ id: "orders", partitionKey: "/pk" },
    { initialHeaders: { "x-bastide-placement": "eu" } });
  for (let n = 0; n < DOCUMENTS; n++)
    await container.items.create({ id: `${MARKER}-id-${n}`, pk: `${MARKER}-pk-${n}`, text: MARKER });
}

const shardAt = async (region) =>
  (await statusOf(cluster)).get(nodeOf(region).name).shards.find(({ group }) => group === "eu");
const refusals = async (region, wall, group = "eu") =>
  (await scrape(cluster, nodeOf(region))).get("bastide_fence_refusals_total", { wall, group });

/** Everybody inside has all; the node outside has the replica it should not. */
async function settled() {
  await until("france has it all", async () => {
    const [leads, follows] = [await shardAt("germany"), await shardAt("france")];
    return leads.commit_lsn > DOCUMENTS && follows.commit_lsn === leads.commit_lsn;
  });
  assert.ok(existsSync(path.join(nodeOf("us").dir, "data/shards", String((await shardAt("germany")).shard))));
}

async function audited(says) {
  let found;
  await until(`the audit says ${says}`, async () => {
    const { json } = await admin(cluster, nodeOf("germany"), "GET", "/audit?max=100");
    found = json.records.find(({ what }) => says.test(what));
    return found;
  });
  assert.doesNotMatch(JSON.stringify(found), new RegExp(MARKER));
  return found;
}

test("the sender's wall alone", { skip }, async () => {
  await start("receive,api,snapshot,membership");
  await settled();
  assert.ok(await refusals("germany", "send") > 0);
  assert.equal(await refusals("us", "receive"), 0);
  assert.equal((await shardAt("us")).lsn, 0);
  const record = await audited(/wall 'send'.*raft message/);
  assert.match(record.who, /^spiffe:\/\/[^/]+\/region\//);
  assert.match(record.before, /shard \d+, to region .*, at /);
  assert.equal(record.reason, "group eu: germany, france");
});

test("the receiver's wall alone", { skip }, async () => {
  await start("send,api,snapshot,membership");
  await settled();
  assert.equal(await refusals("germany", "send"), 0);
  await until("us has refused", async () => (await refusals("us", "receive")) > 0);
  assert.equal((await shardAt("us")).lsn, 0);
  const record = await audited(/wall 'receive'.*raft message/);
  assert.match(record.before, /from region .*, at /);
});

test("the API's wall alone", { skip }, async () => {
  await start("send,receive,snapshot,membership");
  await settled();
  await assert.rejects(clientAt("us").database("shop").container("orders").item(`${MARKER}-id-3`, `${MARKER}-pk-3`).read(),
    (error) => error.code === 403);
  assert.ok(await refusals("us", "api") > 0);
  await audited(/wall 'api': request/);
});

test("the snapshots' wall alone", { skip }, async () => {
  await start("send,receive,api,membership");
  await settled();
  await cluster.kill(nodeOf("us").name);
  // More than stays in memory: what us lacks is in the stores alone.
  const items = clientAt("germany").database("shop").container("orders"), text = MARKER.repeat(20_000);
  const write = async (from) => {
    for (let n = from; n < 24; n += 4) await items.items.create({ id: `large-${n}`, pk: "p", text });
  };
  await Promise.all([0, 1, 2, 3].map(write));
  await until("the log begins behind that", async () => (await shardAt("germany")).base_lsn > DOCUMENTS);
  const alone = await startAlone(cluster, nodeOf("us"), {}, { waitReady: false, by: openable });
  await untilListens(cluster, nodeOf("us"), alone);
  const { shard, base_lsn } = await shardAt("germany");
  const empty = await until("us knows of the leader", async () => {
    const { json } = await admin(cluster, nodeOf("us"), "GET", "/status");
    return json.shards?.find((one) => one.shard === shard && one.leader !== null);
  });
  const before = await refusals("germany", "snapshot");
  await until("germany refuses to send, or to have it sent", async () => (await refusals("germany", "snapshot")) > before);
  assert.equal(await refusals("france", "snapshot"), 0);
  assert.ok(empty.lsn < base_lsn, JSON.stringify(empty));
  assert.equal((await shardAt("us")).lsn, empty.lsn);
  await audited(/wall 'snapshot'/);
});

test("with no wall everything arrives, and cannot be read without the keys", { skip }, async () => {
  await start("send,receive,api,snapshot,membership");
  await settled();
  await until("us has it all", async () => (await shardAt("us")).lsn >= (await shardAt("germany")).commit_lsn);
  for (const wall of ["send", "receive", "api", "snapshot"]) assert.equal(await refusals("us", wall), 0);
  await assert.rejects(clientAt("us").database("shop").container("orders").item(`${MARKER}-id-3`, `${MARKER}-pk-3`).read(),
    (error) => error.code === 503 && /does not hold the keys/.test(error.message));
  for (const file of filesBelow(nodeOf("us").dir)) assert.ok(!readFileSync(file).includes(MARKER), file);
});

test("a program that is not made for tests cannot be opened", async () => {
  await start("send,receive,api,snapshot,membership", program);
  assert.equal(await shardAt("us"), undefined);
  await assert.rejects(clientAt("us").database("shop").container("orders").item(`${MARKER}-id-3`, `${MARKER}-pk-3`).read(),
    (error) => error.code === 403);
  assert.ok(await refusals("us", "api") > 0);
  for (const region of ["germany", "france", "us"])
    for (const wall of ["send", "receive", "snapshot"]) assert.equal(await refusals(region, wall), 0, `${region} ${wall}`);
});
