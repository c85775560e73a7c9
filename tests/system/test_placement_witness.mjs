// A group of two regions gets a witness in a third: it survives the loss of
// either region, and of the witness, and the witness never holds a byte of it.
// The witness is taken away, comes back elsewhere, and moves.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster, until } from "../sdk/lib.mjs";
import { admin, command, killAlone, startAlone, statusOf } from "./lib.mjs";

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

const holdings = async (node, query = "") => JSON.parse(
  (await admin(cluster, node, "GET", `/placement/holdings?nonce=0123456789abcdef${query}`)).json.report);
/** Of the group, what a node's stores have by their own digest, and what entries
 *  of its log bring, used or not: { shards, records, entries, payloads }. */
async function held(node) {
  let report, ours;
  // At an LSN that was flushed meanwhile there is no digest.
  await until(`${node.name} tells what it has`, async () => {
    const { groups, replicas } = await holdings(node);
    const { first_shard, shards } = groups.find(({ name }) => name === "eu");
    ours = ({ shard }) => shard >= first_shard && shard < first_shard + shards;
    const at = replicas.filter(ours).map(({ shard, commit_lsn }) => `${shard}:${commit_lsn}`).join();
    report = await holdings(node, at === "" ? "" : `&at=${at}`);
    return report.replicas.filter(ours).every(({ digest }) => digest?.records !== undefined);
  });
  const sum = (list, key) => list.filter(ours).reduce((total, one) => total + key(one), 0);
  return {
    shards: report.replicas.filter(ours).length,
    records: sum(report.replicas, ({ digest }) => digest.records),
    entries: sum(report.log, ({ entries }) => entries),
    payloads: sum(report.log, ({ payloads }) => payloads),
  };
}

/** Of a node outside: no byte of a document, as all of them are ciphertext. */
async function expectNoPayload(node, { witness = true } = {}) {
  const { shards, records, entries, payloads } = await held(node);
  assert.deepEqual({ records, payloads }, { records: 0, payloads: 0 }, node.name);
  assert.equal(shards > 0, witness, node.name);
  assert.ok(!witness || entries > 0, node.name);
}

const setWitness = (...args) => command(cluster, "placement", "set", "eu", ...args, "--yes");

before(async () => {
  cluster = await Cluster.start({ flags: ["--regions", "germany,france,us,spain", "--consistency", "session"] });
  // Not so before the cluster's feature level is 8: 503.
  await until("witnesses can be changed", async () =>
    (await admin(cluster, nodeOf("us"), "POST", "/placement/witness", { group: "default", witness: "us", dry_run: true })).status === 400);
});
after(async () => {
  await killAlone();
  await cluster?.stop();
});

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
});

test("a group that was made without one is told what that means, and gets one while it is used", async () => {
  const { status, json } = await create({ name: "eu", regions: ["germany", "france"], level: "Strong" });
  assert.equal(status, 201, JSON.stringify(json));
  assert.match(json.warnings[0], /placement set eu --witness REGION/);
  await until("its keys are made", async () => (await groupAt("us")).unavailable === null);
  const client = cluster.client();
  const { database } = await client.databases.create({ id: "shop" });
  await database.containers.create({ id: "orders", partitionKey: "/pk" }, { initialHeaders: { "x-bastide-placement": "eu" } });
  await write("germany", 10);
  const [{ code, stdout, stderr }] = await Promise.all([setWitness("--witness", "us"), write("germany", 10)]);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /no byte of a document, and votes: us-1\n[^]*Witness: us-1\n/);
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
  await expectNoPayload(nodeOf("us"));
  // Those that have them are told apart.
  const { records, payloads } = await held(nodeOf("germany"));
  assert.ok(records >= written && payloads > 0, `${records} records, ${payloads} payloads`);
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
});

const shardsAt = async (region) => (await statusOf(cluster)).get(nodeOf(region).name).shards.filter((shard) => shard.group === "eu");

test("the witness is taken away, while the group is used, and nothing of it is left", async () => {
  assert.match((await command(cluster, "region", "remove", "us", "--yes")).stderr, /eu/);
  const dry = await command(cluster, "placement", "set", "eu", "--no-witness", "--dry-run");
  assert.match(dry.stdout, /votes no more.*us-1[^]*losing either region/);
  // It dies when it has put the replica away, and not yet deleted it.
  await cluster.kill(nodeOf("us").name);
  const dying = await startAlone(cluster, nodeOf("us"), { BASTIDE_FAULTS: "quarantine.left=crash@1" });
  const [{ code, stderr }] = await Promise.all([setWitness("--no-witness"), write("france", 5)]);
  assert.equal(code, 0, stderr);
  await until("it has died", dying.ended);
  await cluster.restart(nodeOf("us").name);
  assert.equal((await groupAt("us")).witness, null);
  await until("its replicas are gone", async () => (await shardsAt("us")).length === 0);
  const removal = await command(cluster, "region", "remove", "us", "--dry-run");
  assert.equal(removal.code, 0, removal.stderr);
  assert.match((await setWitness("--no-witness")).stderr, /so already/);
  // Without it one region is no majority.
  await cluster.kill(nodeOf("spain").name);
  assert.match((await setWitness("--witness", "us")).stderr, /in reach/);
  await cluster.restart(nodeOf("spain").name);
  await reads("spain");
});

test("one comes where the group had its documents once, as a witness alone, and either region may be lost", async () => {
  assert.match((await setWitness("--witness", "spain")).stderr, /outside of it/);
  let loading = true;
  const load = (async () => {
    while (loading) await write("france", 1);
  })();
  const { code, stderr } = await setWitness("--witness", "germany");
  assert.equal(code, 0, stderr);
  assert.equal((await groupAt("us")).witness, nodeOf("germany").name);
  await cluster.kill(nodeOf("spain").name);
  const before = written;
  await until("writes go on", () => written >= before + 5, 40_000);
  loading = false;
  await load;
  await cluster.restart(nodeOf("spain").name);
  await reads("spain");
  await until("nothing is outside", async () => (await command(cluster, "placement", "verify", "--group", "eu")).code === 0, 40_000, 500);
});

test("it moves, and the nodes may be killed meanwhile", async () => {
  const order = await admin(cluster, nodeOf("france"), "POST", "/placement/witness", { group: "eu", witness: "us" });
  assert.equal(order.status, 202, JSON.stringify(order.json));
  for (const region of ["us", "germany"]) {
    await cluster.kill(nodeOf(region).name);
    await write("france", 2);
    await cluster.restart(nodeOf(region).name);
  }
  await until("the change is done", async () => {
    const { settled, witness, witness_leaving } = await groupAt("france");
    return settled && witness === nodeOf("us").name && witness_leaving === null;
  }, 40_000);
  await until("the one before is gone", async () => (await shardsAt("germany")).length === 0);
  await write("france", 5);
  await expectNoPayload(nodeOf("us"));
  await expectNoPayload(nodeOf("germany"), { witness: false });
  await cluster.kill(nodeOf("france").name);
  await writesIn("spain");
  await write("spain", 5);
});
