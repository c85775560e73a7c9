// A node's disk fills up: writes that need it are refused with the reason, reads
// go on, the other nodes are not disturbed; when there is space again the
// service resumes without a restart, and nothing acknowledged is lost.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, renameSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { Cluster, isAlive, makeContainer, until } from "../sdk/lib.mjs";
import { Documents, complaints, isReady, logOf, makeLeader } from "./lib.mjs";

const LARGE = 60_000;
const DISK = "64m";

let cluster, documents, node, disk, mounted = false;
before(async () => {
  process.env.BASTIDE_LIMITS_LOG_SEGMENT_BYTES = "1MiB";
  process.env.BASTIDE_WORKERS = "1"; // one log for all shards
  cluster = await Cluster.start();
  documents = new Documents(cluster, await makeContainer(cluster.client()));
  await documents.write(({ ids }) => ids.length > 20);
  node = cluster.nodes[0];
  disk = path.join(node.dir, "data");
});
after(async () => {
  documents?.close();
  try {
    await cluster?.halt();
  } finally {
    if (mounted) execFileSync("umount", [disk]);
    cluster?.remove();
  }
});

/** Puts the node's data on a small file system of its own. */
async function moveToSmallDisk() {
  await cluster.kill(node.name);
  renameSync(disk, `${disk}.before`);
  mkdirSync(disk, { mode: 0o700 });
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${DISK},mode=0700`, "tmpfs", disk], { stdio: "ignore" });
    mounted = true;
  } catch {
    rmSync(disk, { recursive: true });
    renameSync(`${disk}.before`, disk);
  }
  if (mounted) cpSync(`${disk}.before`, disk, { recursive: true, preserveTimestamps: true });
  await cluster.restart(node.name);
}

const filler = () => path.join(disk, "filler");
const free = () => statfsSync(disk).bavail * statfsSync(disk).bsize;

function fill() {
  for (let step = 1 << 20; step >= 4096; step >>= 1)
    while (free() >= step)
      try {
        writeFileSync(filler(), Buffer.alloc(step, 1), { flag: "a" });
      } catch {
        break;
      }
}

const pidNow = () => cluster.reload().nodes.find(({ name }) => name === node.name).pid;
const readAt = (endpoint) => {
  const [probe] = documents.acknowledged.values();
  return documents.request("GET", probe.id, probe.pk, { endpoint, reuse: true });
};

/** Writes until some are refused (or the time is over), and reads meanwhile. */
async function writeUntilRefused() {
  const end = Date.now() + 20_000;
  const { refused } = await documents.write(({ refused }) => refused.length > 5 || Date.now() > end, { bytes: LARGE });
  return refused;
}

async function writeUntilAccepted() {
  const end = Date.now() + 20_000;
  const { ids } = await documents.write(({ ids }) => ids.length > 20 || Date.now() > end, { bytes: LARGE });
  assert.ok(ids.length > 20, logOf(node).slice(-1500));
}

test("the disk of the leader fills up", async (t) => {
  await moveToSmallDisk();
  if (!mounted) return t.skip("mounting a small file system is not allowed here: DISK FULL IS NOT TESTED");
  await makeLeader(cluster, node);
  const pid = pidNow();
  for (let round = 0; round < 2; round++) {
    fill();
    const refused = await writeUntilRefused();
    assert.ok(refused.length > 5, "writes were refused");
    for (const { status, json, text } of refused) {
      assert.equal(status, 503, text);
      assert.match(json.message, /disk is full/);
    }
    for (const { endpoint } of cluster.nodes) assert.equal((await readAt(endpoint)).status, 200);
    await documents.compare(node.endpoint, [...documents.acknowledged.keys()].slice(-60));
    assert.equal(await isReady(cluster, node), true, "reads are served");
    assert.ok(complaints(logOf(node)).some(({ error }) => /space/.test(error ?? "")), "the log says why");
    rmSync(filler());
    await writeUntilAccepted();
    assert.equal(pidNow(), pid, "without a restart");
    assert.ok(isAlive(pid));
  }
  for (const { endpoint, name } of cluster.nodes) await documents.compare(endpoint, undefined, name);
});

test("the writes go where there is space, and the full node says where that is", async (t) => {
  if (!mounted) return t.skip("mounting a small file system is not allowed here: DISK FULL IS NOT TESTED");
  await makeLeader(cluster, node);
  fill();
  await writeUntilRefused();
  const account = async () => (await cluster.request({ endpoint: node.endpoint })).json;
  const [place] = await until("the full node names another write region", async () => {
    const { writableLocations } = await account();
    return writableLocations[0].name !== node.region && writableLocations;
  }, 15_000);
  const answer = await documents.request("POST", undefined, "p", { endpoint: node.endpoint, body: JSON.stringify({ id: "x", pk: "p" }) });
  assert.deepEqual([answer.status, answer.headers["x-ms-substatus"]], [403, "3"], answer.text);
  assert.match(answer.json.message, new RegExp(`write region is ${place.name}`));
  // A client that knows no other address than the full node's.
  const { database, id } = documents.container;
  const items = cluster.client({ endpoint: node.endpoint }).database(database.id).container(id).items;
  for (let n = 0; n < 5; n++) await items.upsert({ id: `full${n}`, pk: "p", n });
  rmSync(filler());
  await writeUntilAccepted();
});

test("the disk of a follower fills up: nobody notices, and it catches up", async (t) => {
  if (!mounted) return t.skip("mounting a small file system is not allowed here: DISK FULL IS NOT TESTED");
  await makeLeader(cluster, cluster.nodes[1]);
  const pid = pidNow();
  fill();
  const told = complaints(logOf(node)).length;
  const end = Date.now() + 20_000;
  const { ids, refused } = await documents.write(
    ({ ids }) => Date.now() > end || (ids.length > 50 && complaints(logOf(node)).length > told), { bytes: LARGE });
  assert.deepEqual(refused.map(({ status, text }) => `${status} ${text}`), []);
  assert.ok(complaints(logOf(node)).length > told, "the follower complains in its log");
  assert.equal((await readAt(cluster.nodes[2].endpoint)).status, 200);
  rmSync(filler());
  await documents.compare(node.endpoint, ids);
  assert.equal(pidNow(), pid, "without a restart");
});

test("a node that is killed while its disk is full starts when there is space, with everything", async (t) => {
  if (!mounted) return t.skip("mounting a small file system is not allowed here: DISK FULL IS NOT TESTED");
  await makeLeader(cluster, node);
  fill();
  await writeUntilRefused();
  await cluster.kill(node.name);
  rmSync(filler());
  await cluster.restart(node.name);
  await until(`${node.name} has everything`, () => documents.compare(node.endpoint).then(() => true));
  for (const { endpoint, name } of cluster.nodes) await documents.compare(endpoint, undefined, name);
});
