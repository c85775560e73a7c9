// Damage on disk. A torn end of the log is cut and reported, and the node
// rejoins. Damage anywhere else stops the start: exit code 1, with file and place. Damage in the store is found by whoever reads it: the answer is right
// or an error, never another document.
import assert from "node:assert/strict";
import { closeSync, cpSync, ftruncateSync, openSync, readFileSync, readdirSync, rmSync, writeFileSync, writeSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { Cluster, isAlive, makeContainer, until } from "../sdk/lib.mjs";
import { Documents, admin, complaints, killAlone, logOf, startAlone, statusOf } from "./lib.mjs";

const HEADER = 4096; // of a segment; then batches, each beginning "BBAT"

let cluster, documents;
before(async () => {
  process.env.BASTIDE_LIMITS_LOG_SEGMENT_BYTES = "1MiB";
  process.env.BASTIDE_WORKERS = "1"; // one log for all shards
  process.env.BASTIDE_SCRUB_INTERVAL_S = "0"; // damage stays (test_scrub.mjs: it is mended)
  cluster = await Cluster.start();
  documents = new Documents(cluster, await makeContainer(cluster.client()));
  await documents.write(({ ids }) => ids.length > 200, { bytes: 3000 });
});
after(async () => {
  documents?.close();
  await killAlone();
  await cluster?.stop();
});

const node = () => cluster.nodes[2];
const logFolder = () => path.join(node().dir, "data/wal/0");
const segments = () => readdirSync(logFolder()).filter((name) => /^[0-9a-f]{16}\.seg$/.test(name)).sort();

/** Where the batches of a segment begin, and at the end where the next would. */
function batches(name) {
  const bytes = readFileSync(path.join(logFolder(), name));
  const offsets = [HEADER];
  for (let at = HEADER; at + 24 <= bytes.length && bytes.readUInt32LE(at) === bytes.readUInt32LE(HEADER); )
    offsets.push((at += 24 + bytes.readUInt32LE(at + 16)));
  return offsets;
}

/** The last segment that holds a batch, and its batches. */
function lastUsed() {
  for (const name of segments().reverse()) {
    const bytes = readFileSync(path.join(logFolder(), name));
    if (bytes.readUInt32LE(HEADER) !== 0) return { name, offsets: batches(name), size: bytes.length };
  }
  throw new Error("no batch in any segment");
}

function overwrite(file, offset, bytes) {
  const fd = openSync(file, "r+");
  writeSync(fd, bytes, 0, bytes.length, offset);
  closeSync(fd);
}

function flip(file, offset) {
  overwrite(file, offset, Buffer.from([readFileSync(file)[offset] ^ 0x40]));
}

/** Everything the node lost comes back from its peers, and stays. */
async function rejoins(what) {
  await cluster.restart(node().name);
  await documents.compare(node().endpoint, undefined, what);
  await documents.write(({ ids }) => ids.length > 30, { bytes: 500 });
  await documents.compare(node().endpoint, undefined, what);
  // The log that goes on after a cut is itself a log that a start can read.
  await cluster.kill(node().name);
  await cluster.restart(node().name);
  await documents.compare(node().endpoint, undefined, `${what}, started again`);
}

// What an append that was interrupted may leave behind the last whole batch.
const torn = {
  "ends in half a batch": ({ file, offsets }) => {
    const [begin, end] = offsets.slice(-2);
    const half = readFileSync(file).subarray(begin, begin + Math.max(32, (end - begin) >> 1));
    half.writeUInt32LE(half.readUInt32LE(8) + 1, 8); // its sequence number
    overwrite(file, end, half);
  },
  "ends in rubbish": ({ file, offsets }) => overwrite(file, offsets.at(-1), Buffer.alloc(3000, 0xa5)),
  "has rubbish far behind its end": ({ file, offsets, size }) =>
    overwrite(file, Math.min(size - 4096, offsets.at(-1) + 200_000) & ~7, Buffer.alloc(3000, 0x3c)),
  "was cut short": ({ file, offsets }) => {
    const fd = openSync(file, "r+");
    ftruncateSync(fd, offsets.at(-1) + 8);
    closeSync(fd);
  },
};

for (const [what, damage] of Object.entries(torn))
  test(`a log that ${what} is cut and reported, and the node rejoins`, async () => {
    await documents.write(({ ids }) => ids.length > 40, { bytes: 500 });
    await cluster.kill(node().name);
    const { name, offsets, size } = lastUsed();
    const told = logOf(node()).length;
    damage({ file: path.join(logFolder(), name), offsets, size });
    await rejoins(what);
    const report = complaints(logOf(node()).slice(told)).find(({ msg }) => /torn/.test(msg));
    assert.ok(report, "the cut is reported");
    assert.equal(report.file, name);
    assert.equal(report.offset, offsets.at(-1));
  });

async function allFlushed() {
  for (const one of cluster.nodes) await admin(cluster, one, "POST", "/scrub", {}); // a round begins with a flush
  await until("the store has everything", async () =>
    (await statusOf(cluster)).get(node().name).shards.every(({ flushed_lsn, lsn }) => flushed_lsn === lsn), 25_000, 100);
}

/** Damages the log, expects a refusal that changes nothing and says what
 *  `damage` answers, and mends it. */
async function refuses(damage) {
  await cluster.kill(node().name);
  const copy = `${logFolder()}.copy`;
  cpSync(logFolder(), copy, { recursive: true });
  try {
    const expected = damage();
    const before = segments().map((name) => readFileSync(path.join(logFolder(), name)));
    const alone = await startAlone(cluster, node(), {}, { waitReady: false });
    await until("it has given up", alone.ended);
    assert.equal(alone.code(), 1, alone.output());
    for (const pattern of expected) assert.match(alone.output(), pattern);
    segments().forEach((name, i) => assert.ok(before[i].equals(readFileSync(path.join(logFolder(), name))), `${name} is untouched`));
  } finally {
    rmSync(logFolder(), { recursive: true });
    cpSync(copy, logFolder(), { recursive: true });
    rmSync(copy, { recursive: true });
  }
  await cluster.restart(node().name);
}

const place = (name, offset) => [new RegExp(name.replace(".", "\\.")), new RegExp(`offset ${offset}\\b`)];

test("a log that lost what the store shows it had stops the start", async () => {
  await allFlushed();
  await refuses(() => {
    const { name, offsets, size } = lastUsed();
    const from = offsets.at(-Math.min(20, offsets.length));
    overwrite(path.join(logFolder(), name), from, Buffer.alloc(size - from));
    return [/shards.\d/, /LSN \d+, but the log ends at \d+/];
  });
  await documents.compare(node().endpoint);
});

const damages = {
  "in a record": (file, offset) => flip(file, offset + 40),
  "in a batch's header": (file, offset) => overwrite(file, offset, Buffer.alloc(24)),
  "in a length": (file, offset) => flip(file, offset + 17),
};
test("damage before the end of the log stops the start, with file and offset; nothing is changed", async () => {
  await documents.write(({ ids }) => ids.length > 40, { bytes: 500 });
  for (const damage of Object.values(damages))
    await refuses(() => {
      const { name, offsets } = lastUsed();
      const middle = offsets[offsets.length >> 1];
      damage(path.join(logFolder(), name), middle);
      return place(name, middle);
    });
  await refuses(() => {
    const { name } = lastUsed();
    flip(path.join(logFolder(), name), 40);
    return place(name, 0);
  });
  await documents.compare(node().endpoint);
});

test("damage in an older file, or a file that is missing, stops the start", async () => {
  await documents.write(async ({ ids }) => ids.length % 20 === 19 && segments().length > 4, { bytes: 60_000 });
  await refuses(() => {
    const [first] = segments();
    const last = batches(first).at(-2);
    flip(path.join(logFolder(), first), last + 33);
    return place(first, last);
  });
  await documents.write(async ({ ids }) => ids.length % 20 === 19 && segments().length > 4, { bytes: 60_000 });
  await refuses(() => {
    const second = segments()[1];
    rmSync(path.join(logFolder(), second));
    return [new RegExp(second), /missing/];
  });
  await documents.compare(node().endpoint);
});

test("flipped bytes in documents in the store are noticed by those who read them", async () => {
  await allFlushed();
  await cluster.kill(node().name);
  const copy = `${node().dir}/data.copy`;
  cpSync(path.join(node().dir, "data"), copy, { recursive: true });
  let errors = 0, flipped = 0;
  for (const shard of ["1", "2"]) {
    // Documents that do not fit a page have pages of their own (LMDB's
    // P_OVERFLOW): u64 number, u16, u16 flags, u32 how many pages.
    const file = path.join(node().dir, "data/shards", shard, "data.mdb");
    const bytes = readFileSync(file);
    for (let page = 2, count; page * 4096 < bytes.length; page += count) {
      const at = page * 4096;
      const large = bytes.readBigUInt64LE(at) === BigInt(page) && bytes.readUInt16LE(at + 10) === 4;
      count = large ? bytes.readUInt32LE(at + 12) : 1;
      if (!large || page % 3 === 0) continue;
      bytes[at + 1000] ^= 1;
      flipped++;
    }
    writeFileSync(file, bytes);
  }
  assert.ok(flipped > 20, `${flipped} documents damaged`);
  const alone = await startAlone(cluster, node());
  assert.ok(!alone.ended(), alone.output().slice(-1500));
  for (const [id, expected] of documents.acknowledged) {
    const { status, json, text } = await documents.request("GET", id, expected.pk, { endpoint: node().endpoint, reuse: true });
    if (status === 200) {
      assert.equal(json.text, expected.text, id);
      continue;
    }
    errors++;
    assert.equal(status, 500, `${id}: ${status} ${text}`);
    assert.match(json.message, /damaged/);
  }
  assert.ok(errors > 10, `${errors} damaged documents were noticed`);
  assert.ok(isAlive(alone.pid));
  // The others are not disturbed.
  await documents.compare(cluster.nodes[0].endpoint);
  await alone.kill();
  rmSync(path.join(node().dir, "data"), { recursive: true });
  cpSync(copy, path.join(node().dir, "data"), { recursive: true });
  await cluster.restart(node().name);
  await documents.compare(node().endpoint);
});
