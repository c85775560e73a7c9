// Faults on request inside a node: each has its effect on a real node, goes away
// when it is cleared, and costs no acknowledged write.
import assert from "node:assert/strict";
import { closeSync, openSync, readFileSync, readSync, rmSync, existsSync, writeSync } from "node:fs";
import path from "node:path";
import { after, afterEach, before, test } from "node:test";
import { Cluster, isAlive, makeContainer, until } from "../sdk/lib.mjs";
import { Documents, admin, complaints, isReady, killAlone, logOf, startAlone, statusOf } from "./lib.mjs";

const CLOSE = 300; // ms that a busy machine may add to anything

let cluster, documents;
before(async () => {
  process.env.BASTIDE_LIMITS_LOG_SEGMENT_BYTES = "1MiB";
  process.env.BASTIDE_TIMEOUTS_REQUEST_MS = "2500"; // what a refusal waits for
  cluster = await Cluster.start();
  documents = new Documents(cluster, await makeContainer(cluster.client()));
  await documents.write(({ ids }) => ids.length > 100);
});
after(async () => {
  documents?.close();
  await killAlone();
  await cluster?.stop();
});
afterEach(() => clear());

/** Asks every node that runs, as `bastide fault add` does. */
async function inject(fault) {
  const nodes = cluster.reload().nodes.filter(({ pid }) => isAlive(pid));
  const answers = await Promise.all(nodes.map((node) => admin(cluster, node, "POST", "/faults", { at: "*", ...fault })));
  for (const { status, json } of answers) assert.equal(status, 200, JSON.stringify(json));
  assert.ok(answers.some(({ json }) => json.applies), JSON.stringify(fault));
}
async function clear() {
  const nodes = cluster.reload().nodes.filter(({ pid }) => isAlive(pid));
  await Promise.all(nodes.map((node) => admin(cluster, node, "DELETE", "/faults")));
}

const now = () => performance.now();
const node = (i = 0) => cluster.reload().nodes[i];
const read = ({ endpoint }, { id, pk } = documents.acknowledged.values().next().value) =>
  documents.request("GET", id, pk, { endpoint, reuse: true });
const create = (pk = "p0") => {
  const n = documents.serial++;
  const document = { id: `d${n}`, pk, n, text: "x" };
  return documents.request("POST", undefined, pk, { body: JSON.stringify(document), reuse: true }).then((answer) => {
    if (answer.status === 201) documents.acknowledged.set(document.id, document);
    return answer;
  });
};
const writesWork = (what) => until(`writes succeed ${what}`, async () => (await create()).status === 201, 15_000);
async function everythingIsThere(what) {
  for (const { endpoint, name } of cluster.reload().nodes) await documents.compare(endpoint, undefined, `${name} ${what}`);
}

for (const fault of [{ kind: "disk-full" }, { kind: "disk-error", disk: "write" }, { kind: "disk-error", disk: "sync" }])
  test(`${fault.kind} ${fault.disk ?? ""} everywhere: writes are refused with the reason, reads go on`, async () => {
    await inject(fault);
    const refused = await until("a write is refused", async () => {
      const answer = await create();
      return answer.status === 503 && /disk/i.test(answer.text) ? answer : undefined;
    });
    assert.match(refused.json.message, /disk/i);
    assert.equal((await read(node())).status, 200);
    await clear();
    await writesWork(`after ${fault.kind}`);
    await everythingIsThere(`after ${fault.kind}`);
  });

test("disk-error read: what is in the store is not served, with the reason, and never as missing", async () => {
  const flushed = async () =>
    (await statusOf(cluster)).get(node(2).name).shards.every(({ flushed_lsn, lsn }) => flushed_lsn === lsn);
  await until("the store has everything", flushed, 25_000, 100);
  await inject({ kind: "disk-error", disk: "read", at: node(2).name });
  const statuses = [];
  for (const document of [...documents.acknowledged.values()].slice(0, 40)) {
    const { status, text } = await read(node(2), document);
    statuses.push(status);
    if (status !== 200) assert.match(text, /disk/i);
  }
  assert.ok(statuses.includes(503), `${statuses}`);
  assert.deepEqual(statuses.filter((status) => status !== 503 && status !== 200), []);
  await clear();
  await documents.compare(node(2).endpoint);
});

test("disk-slow: each sync takes that much longer", async () => {
  await inject({ kind: "disk-slow", delay_ms: 400 });
  const start = now();
  assert.equal((await create()).status, 201);
  assert.ok(now() - start >= 400, `${now() - start} ms`);
  await clear();
  await until("writes are fast again", async () => {
    const from = now();
    return (await create()).status === 201 && now() - from < 400;
  });
});

test("disk-hang: no write succeeds until it is cleared", async () => {
  await writesWork("before");
  await inject({ kind: "disk-hang" });
  const answer = await create();
  assert.ok([503, 408].includes(answer.status), `${answer.status} ${answer.text}`);
  assert.equal((await read(node())).status, 200);
  await clear();
  await writesWork("after disk-hang");
  await everythingIsThere("after disk-hang");
});

test("slow-loop: a request takes at least one turn longer", async () => {
  await inject({ kind: "slow-loop", delay_ms: 150, at: node(2).name });
  const start = now();
  assert.equal((await read(node(2))).status, 200);
  assert.ok(now() - start >= 150, `${now() - start} ms`);
  await clear();
  await until("it is fast again", async () => {
    const from = now();
    return (await read(node(2))).status === 200 && now() - from < 150;
  });
});

test("clock-jump: the node's date is off, and requests of now are refused as old", async () => {
  await inject({ kind: "clock-jump", offset_ms: 3600_000, at: node(2).name });
  const answer = await read(node(2));
  assert.equal(answer.status, 403, answer.text);
  const off = new Date(answer.headers.date) - Date.now();
  assert.ok(Math.abs(off - 3600_000) < 2000 + CLOSE, `off by ${off} ms`);
  await clear();
  assert.equal((await read(node(2))).status, 200);
});

test("clock-drift: the node's date runs away, and is right again when it is cleared", async () => {
  const off = async () => new Date((await read(node(2))).headers.date) - Date.now();
  await inject({ kind: "clock-drift", ppm: 500_000, at: node(2).name });
  await until("the clock is 4 s ahead", async () => (await off()) > 4000, 20_000, 100);
  await writesWork("while a clock is fast");
  await clear();
  assert.ok(Math.abs(await off()) < 1000 + CLOSE, `${await off()} ms`);
  await writesWork("after a clock was fast");
});

test("allocation-failure: requests fail honestly, and nothing else does", async () => {
  const pids = cluster.reload().nodes.map(({ pid }) => pid);
  for (const percent of [2, 40]) {
    await inject({ kind: "allocation-failure", percent });
    const end = Date.now() + 5000;
    const { ids, refused } = await documents.write(({ refused }) => Date.now() > end && refused.length > 0, { bytes: 3000 });
    assert.ok(ids.length > 0, "some writes succeed");
    assert.deepEqual([...new Set(refused.map(({ status }) => status))].filter((s) => ![500, 503, 429].includes(s)), []);
    await clear();
    await writesWork("after allocation-failure");
    await everythingIsThere("after allocation-failure");
  }
  assert.deepEqual(cluster.reload().nodes.map(({ pid }) => pid), pids);
});

test("pause: the process is stopped, for as long as was asked", async () => {
  const { name, pid } = node(1);
  const state = () => /^State:\s+(\S)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1];
  const start = now();
  await inject({ kind: "pause", at: name, for: "2s" });
  await until("it is stopped", () => state() === "T", 2000, 5);
  await until("it goes on", () => state() !== "T", 10_000, 5);
  assert.ok(now() - start >= 2000, `${now() - start} ms`);
  await until("it is ready", () => isReady(cluster, node(1)));
  const left = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  assert.equal(left, "", "the helper is gone");
  await everythingIsThere("after a pause");
});

test("kill with `for`: it is down that long, and comes back by itself", async () => {
  const before = node(1), told = logOf(before).length, start = now();
  await inject({ kind: "kill", at: before.name, for: "3s" });
  await until("it is dead", () => !isAlive(before.pid), 5000, 5);
  await until("it has been started", () => node(1).pid !== before.pid);
  await until("it is ready", () => isReady(cluster, node(1)));
  assert.ok(now() - start >= 3000, `${now() - start} ms`);
  assert.match(logOf(before).slice(told), /held down/);
  assert.ok(!existsSync(path.join(before.dir, "data/hold")));
  await writesWork("after a kill");
  await everythingIsThere("after a kill");
});

test("kill without `for`: it is dead until somebody starts it", async () => {
  const { name, pid } = node(1);
  await inject({ kind: "kill", at: name });
  await until("it is dead", () => !isAlive(pid), 5000, 5);
  await cluster.restart(name);
  assert.notEqual(node(1).pid, pid);
  await everythingIsThere("after a kill");
});

test("torn-write, then a kill of every node under load: nothing acknowledged is lost", async () => {
  let torn = 0;
  for (let turn = 0; turn < 3; turn++) {
    const told = cluster.reload().nodes.map((each) => logOf(each).length);
    const pids = cluster.nodes.map(({ pid }) => pid);
    await inject({ kind: "torn-write" });
    let over = false;
    const load = documents.write(() => over, { bytes: 20_000 });
    const begun = documents.acknowledged.size;
    await until("the load runs", () => documents.acknowledged.size > begun + 20);
    await inject({ kind: "kill" });
    await until("all are dead", () => !pids.some(isAlive), 10_000, 5);
    over = true;
    await load;
    await cluster.restart("all");
    await writesWork("after a loss of power");
    await everythingIsThere("after a loss of power");
    for (const [i, each] of cluster.nodes.entries())
      torn += [...logOf(each).slice(told[i]).matchAll(/"torn_bytes":(\d+)/g)].filter(([, bytes]) => bytes > 0).length;
  }
  assert.ok(torn > 0, "no node was caught between a write and its sync");
});

/** Flips the bit back that a node said it flipped. */
function mend({ folder, file, offset, bit }) {
  const fd = openSync(path.join(folder, file), "r+"), byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, offset);
  byte[0] ^= 1 << bit;
  writeSync(fd, byte, 0, 1, offset);
  closeSync(fd);
}
const flips = (each, told) => complaints(logOf(each).slice(told)).filter(({ msg }) => /flipped on request/.test(msg));

test("bit-flip in the log: the next start is refused, with file and offset", async () => {
  const victim = node(1), told = logOf(victim).length;
  await inject({ kind: "bit-flip", file: "log", at: victim.name });
  const [flip] = flips(victim, told);
  assert.ok(flip, "it says where");
  await cluster.kill(victim.name);
  const alone = await startAlone(cluster, victim, {}, { waitReady: false });
  await until("it has given up", alone.ended);
  assert.equal(alone.code(), 1, alone.output());
  assert.ok(alone.output().includes(flip.file), alone.output());
  mend(flip);
  rmSync(path.join(victim.dir, "data/damaged"), { force: true });
  await cluster.restart(victim.name);
  await everythingIsThere("after a bit flipped");
});

test("bit-flip in the store: who reads it gets an error, never another document", async () => {
  const victim = node(2), told = logOf(victim).length;
  await inject({ kind: "bit-flip", file: "store", at: victim.name });
  const flip = await until("it says where", () => flips(victim, told)[0]);
  assert.match(flip.file, /data\.mdb/);
  let errors = 0;
  for (const document of documents.acknowledged.values()) {
    const { status, json, text } = await read(victim, document);
    if (status === 200) assert.equal(json.text, document.text);
    else if (++errors) assert.match(text, /damaged/);
  }
  assert.ok(errors <= 1, `${errors} documents`);
  assert.ok(errors === 1 || flip.shard === 0, "a damaged document is noticed");
});
