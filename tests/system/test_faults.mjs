// Real nodes that crash at named points or run out of disk space: nothing that
// was acknowledged is lost, and the cluster goes on.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { Cluster, clean, isAlive, makeContainer, program, until } from "../sdk/lib.mjs";

let cluster, made;
before(async () => {
  // Small log files and little memory, so that files are switched and flushed often.
  process.env.BASTIDE_LIMITS_LOG_SEGMENT_BYTES = "1MiB";
  process.env.BASTIDE_LIMITS_MEMTABLE_BYTES = "16MiB";
  cluster = await Cluster.start();
  made = await makeContainer(cluster.client());
});
after(() => cluster?.stop());

const container = (options) => cluster.client(options).database(made.database.id).container(made.id);

/** Runs a node outside the demo's supervisor, so that only it gets a fault. */
async function startWithFault(node, faults) {
  const child = spawn(program, ["node", "--config", path.join(node.dir, "node.yaml")], {
    argv0: "bastide", stdio: "ignore", env: { ...process.env, BASTIDE_FAULTS: faults } });
  let ended = false;
  child.once("exit", () => (ended = true));
  await until("the node is up, or has crashed", async () => {
    if (ended) return true;
    try {
      return (await cluster.request({ endpoint: new URL(node.admin).origin, path: "/readyz", sign: false })).status === 200;
    } catch {
      return false;
    }
  });
  return { child, ended: () => ended };
}

let serial = 0;
/** Writes until `enough`; answers the documents that were acknowledged. */
async function write(target, enough, bytes = 20_000) {
  const acknowledged = [];
  const task = async () => {
    while (!enough()) {
      const document = { id: `f${serial++}`, pk: `p${serial % 9}`, text: "x".repeat(bytes) };
      try {
        await target.items.create(document);
        acknowledged.push(document);
      } catch {
        // Refused or cut off: not acknowledged.
      }
    }
  };
  await Promise.all(Array.from({ length: 6 }, task));
  return acknowledged;
}

async function compare(target, documents) {
  for (const document of documents) {
    const { resource } = await target.item(document.id, document.pk).read();
    assert.deepEqual(resource && clean(resource), document);
  }
}

for (const faults of [
  "log.append.before=crash@20", "log.append.after=crash@20", "log.append.before=short@20", "log.sync.before=crash@20",
  "log.sync.after=crash@20", "log.segment.before=crash@2", "log.segment.after=crash@2", "log.sync.before=eio@20",
  "store.flush.before=crash@2", "store.commit.before=crash@2", "store.commit.after=crash@2", "store.flush.after=crash@2",
])
  test(`a node that fails at ${faults} comes back with every acknowledged write`, async () => {
    const node = cluster.reload().nodes[0];
    await cluster.kill(node.name);
    const faulty = await startWithFault(node, faults);
    const end = Date.now() + 8000;
    const documents = await write(container({ keepAlive: false }), () => faulty.ended() || Date.now() > end);
    // Some points are rare: then the node is killed instead.
    if (!faulty.ended()) faulty.child.kill("SIGKILL");
    await until("the node has ended", () => faulty.ended() && !isAlive(faulty.child.pid));
    await cluster.restart(node.name);
    await compare(container({ endpoint: node.endpoint }), documents);
  });

test("the cluster is whole after all these crashes", async () => {
  const documents = await write(container(), (() => {
    const end = Date.now() + 500;
    return () => Date.now() > end;
  })(), 100);
  assert.ok(documents.length > 10);
  for (const { endpoint } of cluster.nodes) await compare(container({ endpoint }), documents);
});

// ---- no space --------------------------------------------------------------------

/** A small file system of its own, or undefined where that is not allowed. */
function mountSmall() {
  const folder = mkdtempSync(path.join(tmpdir(), "bastide-full-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=160m", "tmpfs", folder], { stdio: "ignore" });
    return folder;
  } catch {
    rmSync(folder, { recursive: true });
    return undefined;
  }
}

test("on a full disk writes are refused with the reason, reads go on, and writes resume", async (t) => {
  const folder = mountSmall();
  if (!folder) return t.skip("mounting a small file system is not allowed here");
  let full;
  try {
    process.env.BASTIDE_TIMEOUTS_REQUEST_MS = "2500"; // what a refusal waits for
    full = await Cluster.start({ parent: folder });
    const target = await makeContainer(full.client());
    const before = { id: "before", pk: "a", text: "y".repeat(1000) };
    await target.items.create(before);
    const { bavail, bsize } = statfsSync(folder);
    const filler = path.join(folder, "filler");
    writeFileSync(filler, Buffer.alloc(1 << 20));
    for (let left = bavail * bsize - (1 << 20); left > 0; left -= 1 << 20)
      try {
        writeFileSync(filler, Buffer.alloc(1 << 20), { flag: "a" });
      } catch {
        break;
      }
    const refused = await until("a write is refused", async () => {
      const docs = `/dbs/${target.database.id}/colls/${target.id}/docs`;
      const body = JSON.stringify({ id: `full${serial++}`, pk: "a", text: "z".repeat(500_000) });
      const answer = await full.request({
        method: "POST", path: docs, body, headers: { "x-ms-documentdb-partitionkey": '["a"]' } });
      return answer.status >= 500 ? answer : undefined;
    });
    assert.ok([503, 507].includes(refused.status), `${refused.status} ${refused.text}`);
    assert.match(refused.json.message, /disk is full/i);
    assert.equal((await target.item("before", "a").read()).resource.text, before.text);
    for (const { pid, name } of full.nodes) assert.ok(isAlive(pid), `${name} lives`);
    rmSync(filler);
    await until("writes work again", async () => {
      try {
        return (await target.items.upsert({ id: "again", pk: "a" })).statusCode < 300;
      } catch {
        return false;
      }
    });
    assert.equal((await target.item("before", "a").read()).statusCode, 200);
  } finally {
    await full?.stop();
    execFileSync("umount", [folder], { stdio: "ignore" });
    rmSync(folder, { recursive: true, force: true });
  }
});

// ---- identities ------------------------------------------------------------------

test("a node that shows another node's certificate is refused by its peers, with the reason in the log", async () => {
  const [first, second] = cluster.reload().nodes;
  await cluster.kill(first.name);
  const file = (name, part) => path.join(cluster.nodes.find((node) => node.name === name).dir, part);
  const child = spawn(program, [
    "node", "--config", file(first.name, "node.yaml"), "--set", `tls.cert=${file(second.name, "node.pem")}`,
    "--set", `tls.key=${file(second.name, "node.key")}`], { argv0: "bastide", stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout.on("data", (part) => (output += part));
  child.stderr.on("data", (part) => (output += part));
  const log = () => cluster.nodes.map(({ dir }) => readFileSync(path.join(dir, "node.log"), "utf8")).join("") + output;
  try {
    await until("somebody complains", () => /identity|certificate|expected/i.test(
      log().split("\n").filter((line) => /"(warn|error)"/.test(line)).slice(-40).join("\n")));
  } finally {
    child.kill("SIGKILL");
    await until("it is gone", () => !isAlive(child.pid));
  }
  await cluster.restart(first.name);
});
