// What a node refuses to start with: each case gets a clear message, and the
// data is as it was.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { Cluster, isAlive, makeContainer, program, run, until } from "../sdk/lib.mjs";

let cluster, container, folder;
before(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "bastide-start-"));
  cluster = await Cluster.start();
  const made = await makeContainer(cluster.client());
  container = () => cluster.client().database(made.database.id).container(made.id);
  await made.items.create({ id: "1", pk: "a" });
});
after(async () => {
  await cluster?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs one node until it ends by itself. */
const start = (config, ...flags) => run(["node", "--config", config, ...flags], 20_000);
const config = (index) => path.join(cluster.nodes[index].dir, "node.yaml");
const output = ({ stdout, stderr }) => stdout + stderr;

test("a second process on the same data directory is refused", async () => {
  const result = await start(config(0));
  assert.equal(result.code, 1, output(result));
  assert.match(output(result), /in use|another process/i);
  assert.equal((await container().item("1", "a").read()).statusCode, 200);
});

test("a port in use is named", async () => {
  const result = await start(config(0), "--set", `data_dir=${path.join(folder, "fresh")}`);
  assert.equal(result.code, 1, output(result));
  assert.match(output(result), /\d+/);
  assert.match(output(result), /in use/i);
});

// The rest needs the first node's folder free.
const cases = {
  "no key-encryption key": [(dir) => rmSync(path.join(dir, "kek.key")), /kek\.key/],
  "a key-encryption key that others may read": [(dir) => chmodSync(path.join(dir, "kek.key"), 0o644), /kek\.key.*(0600|600)/s],
  "a key-encryption key that is none": [(dir) => writeFileSync(path.join(dir, "kek.key"), "hello\n"), /kek\.key/],
  "another key-encryption key": [
    (dir) => writeFileSync(path.join(dir, "kek.key"), Buffer.alloc(32, 7).toString("base64") + "\n"), /key/i],
  "account keys that others may read": [(dir) => chmodSync(path.join(dir, "account.keys"), 0o640), /account\.keys.*chmod 600/s],
  "no account keys": [(dir) => rmSync(path.join(dir, "account.keys")), /account\.keys/],
  "no region key": [(dir) => rmSync(path.join(dir, "region.key")), /region\.key/],
  "a region key that others may read": [(dir) => chmodSync(path.join(dir, "region.key"), 0o644), /region\.key.*chmod 600/s],
  "the key of another region": [
    (dir) => cpSync(path.join(dir, "../westeurope-1/region.key"), path.join(dir, "region.key")), /the key of region westeurope/],
  "a region key that the list of regions does not know": [
    (dir) => {
      const yaml = path.join(dir, "node.yaml");
      writeFileSync(yaml, readFileSync(yaml, "utf8").replace(/key: "[0-9a-f]{64}"/, `key: "09${"0".repeat(62)}"`));
    }, /region\.key: not the key that the configuration says/],
  "no certificate": [(dir) => rmSync(path.join(dir, "node.pem")), /node\.pem/],
  "a private key of another certificate": [
    (dir) => cpSync(path.join(dir, "../westeurope-1/node.key"), path.join(dir, "node.key")), /node\.key|node\.pem/],
};

test("keys and certificates that do not fit are refused by name", async () => {
  await cluster.halt();
  const dir = cluster.nodes[0].dir;
  for (const [what, [damage, expected]] of Object.entries(cases)) {
    const copy = path.join(folder, "copy");
    cpSync(cluster.dir, copy, { recursive: true });
    const there = path.join(copy, path.basename(dir));
    damage(there);
    const result = await start(path.join(there, "node.yaml"));
    assert.equal(result.code, 1, `${what}: ${output(result)}`);
    assert.match(output(result), expected, what);
    rmSync(copy, { recursive: true });
  }
});

test("the data of another node or another cluster is refused", async () => {
  const [first, second] = cluster.nodes.map(({ dir }) => dir);
  const swapped = await start(path.join(first, "node.yaml"), "--set", `data_dir=${path.join(second, "data")}`);
  assert.equal(swapped.code, 1, output(swapped));
  assert.match(output(swapped), /another node|belongs/i);

  const other = path.join(folder, "other");
  assert.equal((await run(["init", "--dir", other, "--cluster", "demo", "--regions", "eastus,westeurope,southeastasia"])).code, 0);
  const foreign = await start(path.join(other, "eastus-1/node.yaml"), "--set", `data_dir=${path.join(first, "data")}`);
  assert.equal(foreign.code, 1, output(foreign));
  assert.match(output(foreign), /cluster|belongs|key/i);
});

test("after all these attempts the cluster starts with its data", async () => {
  await cluster.launch();
  assert.equal((await container().item("1", "a").read()).statusCode, 200);
});

test("SIGTERM ends a node in order, with code 0, and clients go on", async () => {
  const { name, pid, dir } = cluster.reload().nodes[0];
  process.kill(pid, "SIGTERM");
  await until(`${name} has ended`, () => !isAlive(pid));
  await until("the end is told", () => /exited with code 0/.test(cluster.output()));
  await container().items.upsert({ id: "2", pk: "a" });
  await cluster.restart(name);
  assert.equal((await container().item("2", "a").read()).statusCode, 200);
  assert.ok(existsSync(path.join(dir, "data")));
});

test("a node without peers stays alive and not ready, and says what it waits for", async () => {
  await cluster.halt();
  const child = spawn(program, ["node", "--config", config(0)], { stdio: "ignore" });
  try {
    const admin = new URL("readyz?verbose", cluster.nodes[0].admin);
    const get = async (pathname) => {
      try {
        return await cluster.request({ endpoint: admin.origin, path: pathname, sign: false });
      } catch {
        return undefined;
      }
    };
    await until("it lives", async () => (await get("/livez"))?.status === 200);
    // First it reads its log, and says so.
    const answer = await until("it has started", async () => {
      const now = await get("/readyz?verbose");
      return now && !/is being read/.test(now.text) && now;
    });
    assert.equal(answer.status, 503);
    assert.match(answer.text, /leader/);
  } finally {
    child.kill("SIGTERM");
    await until("it ended", () => child.exitCode !== null || child.signalCode !== null);
    assert.equal(child.exitCode, 0);
  }
  await cluster.launch();
});

test("damage in the middle of a log is found, named with file and place, and not served", async () => {
  await cluster.halt();
  const { name, dir } = cluster.nodes[2];
  const { execFileSync } = await import("node:child_process");
  const logs = execFileSync("find", [path.join(dir, "data"), "-type", "f", "-name", "*.seg", "-size", "+0"], { encoding: "utf8" })
    .trim().split("\n").filter(Boolean);
  assert.ok(logs.length > 0, "there are log files");
  const file = logs.sort((a, b) => readFileSync(b).length - readFileSync(a).length)[0];
  const content = readFileSync(file);
  renameSync(file, path.join(folder, "kept"));
  const used = content.length - [...content].reverse().findIndex((byte) => byte !== 0);
  content[Math.floor(used / 2)] ^= 0xff;
  writeFileSync(file, content, { mode: 0o600 });
  const result = await start(config(2));
  assert.equal(result.code, 1, output(result));
  assert.match(output(result), new RegExp(path.basename(file).replaceAll(".", "\\.")), name);
  assert.match(output(result), /damaged|corrupt/i);
  renameSync(path.join(folder, "kept"), file);
  await cluster.launch();
  assert.equal((await container().item("1", "a").read()).statusCode, 200);
});
