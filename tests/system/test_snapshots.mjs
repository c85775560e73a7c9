// A node that comes gets its snapshot from its neighbour and not from the
// leader far away, at the rate that the budget allows; killed in the middle it
// goes on where it was, and so does the command that waits for it.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { Cluster, makeContainer, until } from "../sdk/lib.mjs";
import { admin, command, heal, inject } from "./lib.mjs";
import { scrape } from "./metrics.mjs";

const MIB = 1 << 20, DOCUMENTS = 320, BYTES = 100_000;
const [LEADER, NEIGHBOUR, COMES] = ["eastus-1", "westeurope-1", "westeurope-2"];
let cluster, container, adding;
const node = (name) => cluster.reload().nodes.find((one) => one.name === name);
const status = async (name) => (await admin(cluster, node(name), "GET", "/status")).json;
const metric = async (name, family) => (await scrape(cluster, node(name))).get(family);
const transfer = async () => (await status(NEIGHBOUR)).transfers.find(({ to }) => to === COMES);

/** Writes the budget into every node's file and has it read. */
async function budget(rate) {
  for (const one of [LEADER, NEIGHBOUR].map(node)) {
    const file = path.join(one.dir, "node.yaml");
    const text = readFileSync(file, "utf8").replace(/limits: \{ snapshot_rate: .*\n/, "");
    writeFileSync(file, `limits: { snapshot_rate: ${rate} }\n${text}`);
    assert.equal((await admin(cluster, one, "POST", "/reload", {})).status, 200);
  }
}

before(async () => {
  cluster = await Cluster.start({
    flags: ["--regions", "eastus,westeurope", "--shards", "1", "--consistency", "session", "--latency", "30ms"] });
  container = await makeContainer(cluster.client());
  const text = "x".repeat(BYTES);
  const write = async (from) => {
    for (let i = from; i < DOCUMENTS; i += 8) await container.items.upsert({ id: `d${i}`, pk: `p${i % 5}`, text });
  };
  await Promise.all([...Array(8).keys()].map(write));
  await until("the beginning of the log is in the store alone", async () => {
    const shards = (await Promise.all([LEADER, NEIGHBOUR].map(status))).map((one) => one.shards[1]);
    return shards.every(({ base_lsn, commit_lsn }) => base_lsn > 0 && commit_lsn > DOCUMENTS);
  });
});
after(async () => {
  await adding;
  await cluster?.stop();
});

test("the neighbour sends, no faster than it may", async () => {
  await budget("2MiB");
  for (const args of [["init", "--join", "westeurope:2"], ["demo", "--start", COMES]]) {
    const { code, stderr } = await command(cluster, ...args);
    assert.equal(code, 0, stderr);
  }
  adding = command(cluster, "node", "add", COMES, "--yes");
  const first = await until("the neighbour sends", async () => {
    const now = await transfer();
    return now?.bytes > 0 && now;
  });
  const began = Date.now();
  const later = await until("a good part of it is there", async () => {
    const now = await transfer();
    return now?.there_bytes > 12 * MIB && now;
  });
  const seconds = (Date.now() - began) / 1000;
  const rate = (later.bytes - first.bytes) / seconds;
  assert.ok(rate < 2.6 * MIB, `${rate} bytes per second`);
  assert.equal(later.from, NEIGHBOUR);
  assert.ok(later.eta_s > 0 && later.about_bytes > 20 * MIB, JSON.stringify(later));
  assert.equal((await status(LEADER)).transfers.length, 0);
  const learner = (await status(LEADER)).shards[1].members.find((one) => one.node === COMES);
  assert.ok(!learner.votes && learner.state === "snapshot", JSON.stringify(learner));
  const { stdout } = await command(cluster, "status");
  assert.match(stdout, /Shard 1: a snapshot from westeurope-1 to westeurope-2, about \d+% of it there, \d+ MiB sent, about \d+ s more/);
  assert.match(stdout, /Shard 1: westeurope-2 is a learner, snapshot/);
});

test("a receiver that is killed and a link that is cut cost what was not synced alone", async () => {
  await cluster.kill(COMES);
  await until("the neighbour waits", async () => (await transfer())?.waits);
  await cluster.restart(COMES);
  await until("it goes on", async () => (await metric(NEIGHBOUR, "bastide_snapshot_resumed_total")) === 1);
  await inject(cluster, { kind: "cut", from: NEIGHBOUR, to: COMES, both: true });
  await until("it waits again", async () => (await transfer())?.waits);
  await budget("64MiB");
  await heal(cluster);
  const { code, stdout, stderr } = await adding;
  assert.equal(code, 0, stdout + stderr);
  assert.ok((await metric(NEIGHBOUR, "bastide_snapshot_resumed_total")) >= 2);
  assert.equal(await metric(LEADER, "bastide_snapshot_by_others_total"), 1);
  assert.equal(await metric(LEADER, "bastide_snapshot_sent_bytes_total"), 0);
  const sent = await metric(NEIGHBOUR, "bastide_snapshot_sent_bytes_total");
  // Two batches and what was on its way, at most, were sent twice.
  assert.ok(sent < DOCUMENTS * BYTES + 2 * 11 * MIB, `${sent} bytes sent`);
});

test("all that was written is there", async () => {
  const { endpoint } = node(COMES);
  for (let i = 0; i < DOCUMENTS; i += 7) {
    const { status: code } = await cluster.request({ endpoint, path: `/dbs/${container.database.id}/colls/${container.id}/docs/d${i}`,
      headers: { "x-ms-documentdb-partitionkey": JSON.stringify([`p${i % 5}`]) } });
    assert.equal(code, 200, `d${i}`);
  }
});
