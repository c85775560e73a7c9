// Replicas are compared and read through; one that is damaged or differs is put
// away and made anew from the others, while the process and the writes go on.
import assert from "node:assert/strict";
import { closeSync, existsSync, fstatSync, openSync, readSync, readdirSync, writeSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { Cluster, makeContainer, until } from "../sdk/lib.mjs";
import { Documents, command, complaints, inject, isReady, killAlone, logOf, startAlone, statusOf } from "./lib.mjs";

let cluster, documents, pair; // the last: of a group of two regions
const paired = () => [cluster.nodes[0], cluster.nodes[2]];
const SHARDS = 4; // the meta shard's, two of group default, and the pair's
/** A container in a group of two regions, of one shard. */
async function makePair() {
  await until("a group of two regions is made", async () => (await command(cluster, "placement", "create", "pair",
    "--regions", paired().map(({ region }) => region).join(), "--shards", "1", "--consistency", "session")).code === 0, 40_000, 200);
  const { database } = await cluster.client().databases.create({ id: "pairs" });
  const container = { id: "items", partitionKey: "/pk" }, options = { initialHeaders: { "x-bastide-placement": "pair" } };
  return until("the group takes containers", () => database.containers.create(container, options).then((made) => made.container,
    ({ code, message }) => void assert.equal(code, 503, message)), 40_000, 200);
}
before(async () => {
  process.env.BASTIDE_SCRUB_RATE_BYTES = "1GiB";
  cluster = await Cluster.start();
  documents = new Documents(cluster, await makeContainer(cluster.client()));
  const [container] = await Promise.all([makePair(), documents.write(({ ids }) => ids.length > 150, { bytes: 3000 })]);
  pair = new Documents(cluster, container);
});
after(async () => {
  documents?.close();
  pair?.close();
  await killAlone();
  await cluster?.stop();
});

const scrub = async (...args) => {
  const { code, stdout, stderr } = await command(cluster, "scrub", "-o", "json", ...args);
  assert.ok(stdout.startsWith("{"), stderr);
  return { code, shards: JSON.parse(stdout).shards };
};
const outcomes = ({ shards }) => shards.map(({ last }) => last?.outcome);
const verdictOf = ({ shards }, shard, node) =>
  shards.find((one) => one.shard === shard)?.last?.replicas.find((one) => one.node === node)?.verdict;
const marks = (node) => readdirSync(path.join(node.dir, "data")).filter((name) => /^(rebuilding|quarantine|discarded)-/.test(name));
const writing = () => {
  let going = true;
  const done = documents.write(() => !going, { bytes: 500, writers: 3 });
  return async () => ((going = false), await done);
};

/** All replicas are whole again, and everything acknowledged is everywhere. */
async function mended(what) {
  await until(`${what}: all replicas of all shards agree`, async () =>
    outcomes(await scrub()).filter((outcome) => outcome === "agree").length === SHARDS, 40_000, 300);
  // A mark stays until there is a flush, which a round brings about.
  await until(`${what}: no mark is left`, async () =>
    cluster.nodes.every((node) => marks(node).length === 0) || void (await scrub()), 30_000, 100);
  for (const { endpoint, name } of cluster.nodes) await documents.compare(endpoint, undefined, `${what}, ${name}`);
}

/** One bit of one record; answers the shard. */
async function flip(node) {
  const told = logOf(node).length;
  await inject(cluster, { kind: "bit-flip", file: "store", at: node.name });
  return (await until("it says where", () =>
    complaints(logOf(node).slice(told)).find(({ msg }) => /flipped on request/.test(msg)))).shard;
}

const quarantined = (node, shard, told) => until(`shard ${shard} of ${node.name} is put away`, () =>
  complaints(logOf(node).slice(told)).find((line) => /put into quarantine/.test(line.msg) && line.shard === shard));
const leaderOf = async (shard) => {
  for (const [name, { shards }] of await statusOf(cluster))
    if (shards.find((one) => one.shard === shard)?.role === "leader") return name;
};

test("replicas that are well agree", async () => {
  const found = await until("the cluster is at the level that it takes", async () => {
    const { stdout } = await command(cluster, "scrub", "-o", "json");
    return stdout.startsWith("{") ? JSON.parse(stdout) : undefined;
  });
  assert.deepEqual(found.shards.map(({ shard }) => shard), [0, 1, 2, 3]);
  for (const { shard, last } of found.shards) {
    assert.equal(last.outcome, "agree", JSON.stringify(last));
    assert.equal(last.replicas.length, shard === 3 ? 2 : 3);
    for (const { records, opened, unknown, damaged, verdict } of last.replicas) {
      assert.equal(verdict, "fine");
      assert.equal(damaged + unknown, 0);
      assert.ok(shard === 0 || shard === 3 || (records > 20 && opened >= records), `${records} ${opened}`);
    }
  }
  assert.equal((await command(cluster, "scrub", "--show")).code, 0);
});

test("a damaged record of a follower: it is found and the replica made anew, while writes go on", async () => {
  const node = cluster.nodes[2], told = logOf(node).length, pid = node.pid;
  const stop = writing();
  const shard = await flip(node);
  const found = await scrub("--shard", String(shard));
  assert.equal(found.code, 1);
  assert.equal(found.shards[0].last.outcome, "replaced", JSON.stringify(found));
  assert.equal(verdictOf(found, shard, node.name), "damaged");
  await quarantined(node, shard, told);
  await mended("a follower");
  const { refused } = await stop();
  assert.equal(refused.length, 0, JSON.stringify(refused[0]));
  assert.equal(cluster.reload().nodes[2].pid, pid);
  assert.ok(await isReady(cluster, node));
  const { stdout } = await command(cluster, "audit", "-o", "json");
  assert.match(stdout, new RegExp(`quarantine of the replica of shard ${shard}`));
  assert.match(stdout, new RegExp(`the replica of shard ${shard} is rebuilt`));
});

test("a read that meets the damage is enough; a leader hands over first", async () => {
  const node = cluster.nodes[0], told = logOf(node).length;
  const shard = await flip(node);
  assert.equal(await leaderOf(shard), node.name);
  for (const [id, { pk }] of documents.acknowledged) {
    const { status } = await documents.request("GET", id, pk, { endpoint: node.endpoint, reuse: true });
    if (status !== 200) break;
  }
  await quarantined(node, shard, told);
  await mended("a leader");
});

test("records that a store lost without noticing: the majority is right", async () => {
  const node = cluster.nodes[1];
  await cluster.kill(node.name);
  const alone = await startAlone(cluster, node, { BASTIDE_FAULTS: "store.record.lost=eio@30" });
  await documents.write(({ ids }) => ids.length > 60, { bytes: 500 });
  const found = await scrub();
  const wrong = found.shards.find(({ last }) => last.outcome === "replaced");
  assert.ok(wrong, JSON.stringify(found));
  assert.equal(verdictOf(found, wrong.shard, node.name), "divergent");
  assert.ok(wrong.last.differing_buckets.length >= 1);
  await until("it is put away", () => /put into quarantine/.test(alone.output()));
  await mended("a divergent replica");
  const verified = await command(cluster, "placement", "verify");
  assert.equal(verified.code, 0, verified.stdout);
  await alone.kill();
  await cluster.restart(node.name);
});

test("the meta shard, too: the catalog goes on", async () => {
  const node = cluster.reload().nodes[1];
  await cluster.kill(node.name);
  const alone = await startAlone(cluster, node, { BASTIDE_FAULTS: "store.record.lost=eio@1" });
  await makeContainer(cluster.client());
  const found = await scrub("--shard", "0");
  assert.equal(found.shards[0].last.outcome, "replaced", JSON.stringify(found));
  assert.equal(verdictOf(found, 0, node.name), "divergent");
  await until("it is put away", () => /put into quarantine/.test(alone.output()));
  const made = await makeContainer(cluster.client());
  await mended("the meta shard");
  const { status } = await cluster.request({ endpoint: node.endpoint, path: `/dbs/${made.database.id}/colls/${made.id}` });
  assert.equal(status, 200);
  await alone.kill();
  await cluster.restart(node.name);
});

test("a kill in the middle: the next start goes on", async () => {
  const node = cluster.nodes[2], before = (await statusOf(cluster)).get(node.name).shards;
  await cluster.kill(node.name);
  // So that its log names snapshots, which go with the store.
  await documents.write(({ ids }) => ids.length > 120, { bytes: 100_000 });
  await scrub(); // which has them flushed
  await until("the others' logs do not reach back", async () =>
    [...(await statusOf(cluster)).values()].every(({ shards }) =>
      [1, 2].every((i) => shards[i].base_lsn > before[i].lsn)), 25_000, 100);
  const alone = await startAlone(cluster, node, { BASTIDE_FAULTS: "quarantine.marked=crash@1" });
  await until("it has snapshots", () => (alone.output().match(/snapshot received/g) ?? []).length >= 2);
  await scrub();
  await until("the store has everything", async () =>
    (await statusOf(cluster)).get(node.name)?.shards.every(({ flushed_lsn, lsn }) => flushed_lsn === lsn), 25_000, 100);
  await inject(cluster, { kind: "bit-flip", file: "store", at: node.name });
  await until("it is flipped", () => /flipped on request/.test(alone.output()));
  await scrub();
  await until("it died", alone.ended);
  assert.equal(marks(node).filter((name) => name.startsWith("rebuilding-")).length, 1);
  await documents.write(({ ids }) => ids.length > 40, { bytes: 500 });
  await cluster.restart(node.name);
  await mended("after a kill");
  assert.ok(!existsSync(path.join(node.dir, "data/damaged")));
});

/** One bit of each record that has pages of its own (LMDB's flag 4). */
function damage(node, shard) {
  const file = openSync(path.join(node.dir, `data/shards/${shard}/data.mdb`), "r+"), page = Buffer.alloc(4096);
  let damaged = 0;
  for (let at = 2 * page.length; at < fstatSync(file).size; at += page.length) {
    readSync(file, page, 0, page.length, at);
    if (page.readUInt16LE(10) !== 4) continue;
    writeSync(file, Buffer.of(page[2000] ^ 1), 0, 1, at + 2000);
    at += (page.readUInt32LE(12) - 1) * page.length;
    damaged++;
  }
  closeSync(file);
  return damaged;
}

test("two regions: neither replica can be spared, so a damaged store is replaced while it stays, and requests go on", async () => {
  const [leader, node] = paired(), told = logOf(node).length, endpoints = () => paired().map(({ endpoint }) => endpoint);
  await pair.write(({ ids }) => ids.length > 100, { bytes: 3000, endpoints });
  await until("the group's leader has it in all stores", async () => outcomes(await scrub("--shard", "3"))[0] === "agree");
  await until("the first region leads", async () => (await leaderOf(3)) === leader.name, 30_000);
  let going = true;
  const done = pair.write(() => !going, { bytes: 500, writers: 3, endpoints });
  assert.ok(damage(node, 3) > 50);
  const found = await scrub("--shard", "3");
  assert.equal(found.code, 1);
  assert.equal(found.shards[0].last.outcome, "renewed", JSON.stringify(found));
  assert.equal(verdictOf(found, 3, node.name), "damaged");
  await until("all replicas agree", async () => outcomes(await scrub("--shard", "3"))[0] === "agree", 40_000, 300);
  going = false;
  const { ids, refused } = await done;
  assert.ok(ids.length > 10);
  assert.equal(refused.length, 0, JSON.stringify(refused[0]));
  assert.match(logOf(node).slice(told), /a damaged store was replaced/);
  assert.doesNotMatch(logOf(node).slice(told), /put into quarantine/);
  assert.equal(marks(node).length, 0);
  for (const { endpoint, name } of paired()) await pair.compare(endpoint, undefined, `two regions, ${name}`);
});

test("a kill before and after the swap: the old store or the new one, and the log goes on from either", async () => {
  const node = paired()[1], endpoints = () => paired().map(({ endpoint }) => endpoint);
  const round = async () => { // undefined: nobody leads now
    const { stdout } = await command(cluster, "scrub", "-o", "json", "--shard", "3");
    return stdout.startsWith("{") ? outcomes(JSON.parse(stdout))[0] : undefined;
  };
  for (const [point, then] of [["store.snapshot.adopt.after", "renewed"], ["renewal.swapped", "agree"]]) {
    await cluster.kill(node.name);
    const alone = await startAlone(cluster, node, { BASTIDE_FAULTS: `${point}=crash@1` });
    await until("the pair agrees", async () => (await round()) === "agree", 40_000, 200);
    assert.ok(damage(node, 3) > 50);
    await round();
    await until(`it died at ${point}`, alone.ended);
    await cluster.restart(node.name);
    await until(`the first round after ${point} says ${then}`, async () => {
      const outcome = await round();
      assert.ok([undefined, "incomplete", then].includes(outcome), outcome);
      return outcome === then;
    }, 40_000, 100);
    await until("both replicas agree", async () => (await round()) === "agree", 40_000, 200);
    await pair.write(({ ids }) => ids.length > 20, { bytes: 3000, endpoints });
    for (const { endpoint, name } of paired()) await pair.compare(endpoint, undefined, `${point}, ${name}`);
  }
});
