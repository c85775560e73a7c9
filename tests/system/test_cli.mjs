// The command line: exit codes, help, refusals that say what to do next.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { Cluster, isAlive, run, until } from "../sdk/lib.mjs";

let folder;
before(() => (folder = mkdtempSync(path.join(tmpdir(), "bastide-cli-"))));
after(() => rmSync(folder, { recursive: true, force: true }));
const at = (...parts) => path.join(folder, ...parts);

const COMMANDS = ["demo", "node", "init", "status", "region", "consistency", "audit", "keys", "bench", "version"];
const REGION_PARTS = ["switch", "priority", "recover"];

test("help exists for every command, on stdout, with examples", async () => {
  const all = await run(["--help"]);
  assert.equal(all.code, 0);
  for (const command of COMMANDS) {
    assert.match(all.stdout, new RegExp(`^ +${command} `, "m"));
    const { code, stdout, stderr } = await run([command, "--help"]);
    assert.equal(code, 0, command);
    assert.equal(stderr, "");
    assert.match(stdout, /^Usage: bastide /);
    assert.match(stdout, /Example/);
  }
  for (const part of REGION_PARTS) {
    const { code, stdout } = await run(["region", part, "--help"]);
    assert.equal(code, 0, part);
    assert.match(stdout, new RegExp(`^Usage: bastide region ${part} [^]*Example`));
  }
});

test("wrong usage exits with 2 and says where help is", async () => {
  for (const args of [[], ["unheard-of"], ["demo", "--nope"], ["demo", "stray"], ["init"], ["init", "--dir", at("x")],
    ["node"], ["status", "-o", "xml"], ["status", "--admin", "https://127.0.0.1:1/"], ["version", "x"],
    ["demo", "--base-port", "0"], ["demo", "--base-port", "65535"], ["demo", "--nodes-per-region", "x"],
    ["consistency"], ["consistency", "reset"], ["consistency", "set"], ["consistency", "set", "weak"],
    ["consistency", "show", "strong"], ["consistency", "set", "strong", "--max-staleness-entries", "5"],
    ["consistency", "set", "bounded-staleness"], ["consistency", "set", "bounded", "--max-staleness-entries", "0"],
    ["region"], ["region", "swap"], ["region", "show"], ["region", "switch"], ["region", "switch", "a", "b"],
    ["region", "priority"], ["region", "priority", "a,,b"], ["region", "priority", "a,b", "--failback", "never"],
    ["region", "recover"], ["region", "list", "--admin", "https://127.0.0.1:1/"], ["audit", "--max", "0"],
    ["demo", "--stop", "--detach"], ["demo", "--stop", "--start", "a"], ["demo", "--stop", "--latency", "80ms"],
    ["demo", "--latency", "80"], ["demo", "--latency", "a:b"], ["demo", "--latency", "a:b=11s"],
    ["demo", "--consistency", "weak"], ["demo", "--consistency", "bounded,K=0"],
    ["init", "--dir", at("x"), "--cluster", "UPPER", "--regions", "a"],
    ["init", "--dir", at("x"), "--cluster", "c", "--regions", "a,a"]]) {
    const { code, stdout, stderr } = await run(args);
    assert.equal(code, 2, args.join(" "));
    assert.equal(stdout, "");
    assert.match(stderr, /--help/, args.join(" "));
  }
});

test("version prints one line, or JSON", async () => {
  assert.match((await run(["version"])).stdout, /^bastide \d+\.\d+\.\d+\n$/);
  assert.match(JSON.parse((await run(["version", "-o", "json"])).stdout).version, /^\d/);
});

test("init makes complete node folders and never overwrites", async () => {
  const made = await run(["init", "--dir", at("init"), "--cluster", "c", "--regions", "a,b", "-o", "json"]);
  assert.equal(made.code, 0, made.stderr);
  const { nodes } = JSON.parse(made.stdout);
  assert.deepEqual(nodes.map(({ name }) => name), ["a-1", "b-1"]);
  for (const { config } of nodes) {
    const check = await run(["node", "--config", config, "--check-config"]);
    assert.deepEqual([check.code, check.stdout, check.stderr], [0, "ok\n", ""]);
  }
  // What is for tests only gets a warning, and is no mistake.
  const inject = ["node", "--config", nodes[0].config, "--check-config", "--set", "fault_injection=true"];
  const warned = await run(inject);
  assert.deepEqual([warned.code, warned.stdout], [0, "ok\n"]);
  assert.match(warned.stderr, /warning: fault_injection is true: .* For tests only/);
  const json = JSON.parse((await run([...inject, "-o", "json"])).stdout);
  assert.equal(json.ok, true);
  assert.match(json.warnings[0], /fault_injection is true/);
  for (const secret of ["ca.key", "admin.key", "kek.key", "account.keys", "cluster.keys", "a-1/node.key", "a-1/region.key"])
    assert.equal(statSync(at("init", secret)).mode & 0o777, 0o600, secret);
  const again = await run(["init", "--dir", at("init"), "--cluster", "c", "--regions", "a,b"]);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /not empty/);
});

test("a cluster of an older init gets region keys, once", async () => {
  await run(["init", "--dir", at("older"), "--cluster", "c", "--regions", "a,b"]);
  const nodes = ["a-1", "b-1"], config = (node) => at("older", node, "node.yaml");
  const check = (node) => run(["node", "--config", config(node), "--check-config"]);
  const add = () => run(["init", "--dir", at("older"), "--region-keys"]);
  for (const node of nodes) {
    writeFileSync(config(node), readFileSync(config(node), "utf8").replace(/^ *(key: "|region: region).*\n/gm, ""));
    rmSync(at("older", node, "region.key"));
    assert.equal((await check(node)).code, 0, "without keys");
  }
  const { code, stdout, stderr } = await add();
  assert.equal(code, 0, stderr);
  const [a, b] = stdout.match(/[0-9a-f]{64}/g);
  assert.notEqual(a, b);
  for (const node of nodes) {
    assert.deepEqual(readFileSync(config(node), "utf8").match(/(?<=^    key: ")[0-9a-f]{64}/gm), [a, b]);
    assert.equal((await check(node)).code, 0, "with keys");
  }
  const before = nodes.map((node) => readFileSync(config(node), "utf8"));
  assert.equal((await add()).stdout, stdout);
  assert.deepEqual(nodes.map((node) => readFileSync(config(node), "utf8")), before);
  writeFileSync(at("older/b-1/region.key"), readFileSync(at("older/a-1/region.key")));
  const strange = await check("b-1");
  assert.equal(strange.code, 1);
  assert.match(strange.stderr, /the key of region a, this node is in region b/);
  assert.equal((await run(["init", "--dir", at("older"), "--region-keys", "--cluster", "c"])).code, 2);
});

test("--check-config names file, line, what was found and what was expected", async () => {
  await run(["init", "--dir", at("check"), "--cluster", "c", "--regions", "a"]);
  const good = readFileSync(at("check/a-1/node.yaml"), "utf8");
  for (const [change, expected] of [
    [(text) => text + "colour: red\n", /node\.yaml:\d+: unknown key "colour"/],
    [(text) => text.replace("shards: 2", "shards: many"), /node\.yaml:\d+: shards: found "many", expected a whole number/],
    [(text) => text.replace("kek: kek.key", "kek: none.key"), /none\.key: cannot read it/],
    [(text) => text.replace("id: 1", "id: 7"), /id: found 7, expected 1/],
  ]) {
    writeFileSync(at("check/a-1/node.yaml"), change(good));
    const { code, stderr } = await run(["node", "--config", at("check/a-1/node.yaml"), "--check-config"]);
    assert.equal(code, 1);
    assert.match(stderr, expected);
  }
});

test("status of a cluster that is not running shows its nodes as unreachable", async () => {
  await run(["init", "--dir", at("idle"), "--cluster", "c", "--regions", "a,b", "--base-port", "11000"]);
  const { code, stdout } = await run(["status", "--dir", at("idle")]);
  assert.equal(code, 1);
  assert.equal(stdout.match(/unreachable/g).length, 2);
  for (const args of [["region", "list"], ["region", "switch", "b"], ["region", "priority", "b,a"], ["consistency", "show"],
    ["consistency", "set", "session"], ["audit"]]) {
    const { code: failed, stdout: nothing, stderr } = await run([...args, "--dir", at("idle")]);
    assert.equal(failed, 1, args.join(" "));
    assert.equal(nothing, "");
    assert.match(stderr, /no node answers .* is the cluster running\?/);
  }
  const recover = await run(["region", "recover", "--survivors", "a", "--force", "--yes", "--dir", at("idle")]);
  assert.equal(recover.code, 1);
  assert.match(recover.stderr, /only 0 of the 1 nodes of a answer/);
  const stranger = await run(["region", "recover", "--survivors", "a,x", "--dir", at("idle")]);
  assert.equal(stranger.code, 2);
  assert.match(stranger.stderr, /no region "x"/);
  const nowhere = await run(["status", "--dir", at("none")]);
  assert.equal(nowhere.code, 1);
  assert.match(nowhere.stderr, /no cluster in there/);
});

test("a demo starts detached, is seen by status, refuses a second start, and stops", async () => {
  const cluster = await Cluster.start();
  try {
    const second = await run(["demo", "--dir", cluster.dir]);
    assert.equal(second.code, 1);
    assert.match(second.stderr, /running in .* already/);
    assert.match(second.stderr, /--stop/);

    const status = await run(["status", "--dir", cluster.dir, "--ready"]);
    assert.equal(status.code, 0, status.stdout);
    for (const { name } of cluster.nodes) assert.match(status.stdout, new RegExp(`${name} +ready`));
    const json = JSON.parse((await run(["status", "--dir", cluster.dir, "-o", "json"])).stdout);
    assert.equal(json.nodes.length, cluster.nodes.length);
    for (const { status: own } of json.nodes) {
      assert.equal(own.shards.length, 3, "the meta shard and two others");
      assert.equal(own.links.length, cluster.nodes.length - 1);
      for (const shard of own.shards) assert.ok(cluster.nodes.some(({ name }) => name === shard.leader));
    }

    const taken = await run(["demo", "--dir", at("taken"), "--base-port", new URL(cluster.info.endpoint).port]);
    assert.equal(taken.code, 1);
    assert.match(taken.stderr, /port \d+ of 127\.0\.0\.1 \(the account endpoint\) is in use.*--base-port \d+/);

    const unknown = await run(["demo", "--dir", cluster.dir, "--start", "nobody"]);
    assert.equal(unknown.code, 2);
    assert.match(unknown.stderr, /there is no node "nobody"; there are eastus-1/);

    const { pid } = cluster.nodes[0];
    const stopped = await run(["demo", "--dir", cluster.dir, "--stop"]);
    assert.equal(stopped.code, 0);
    assert.ok(!isAlive(pid));
    const idle = await run(["demo", "--dir", cluster.dir, "--stop"]);
    assert.equal(idle.code, 0);
    assert.match(idle.stdout, /was not running/);
  } finally {
    await cluster.stop();
  }
});

test("--detach returns when the cluster is ready, and -o json prints cluster.json", async () => {
  const dir = at("detached");
  const started = await run(["demo", "--dir", dir, "--regions", "a,b,c", "--base-port", "auto", "--detach", "-o", "json"]);
  try {
    assert.equal(started.code, 0, started.stderr);
    const info = JSON.parse(started.stdout);
    assert.deepEqual(info, JSON.parse(readFileSync(path.join(dir, "cluster.json"), "utf8")));
    assert.deepEqual(info.regions.map(({ name, priority }) => [name, priority]), [["a", 0], ["b", 1], ["c", 2]]);
    const { pid } = info.regions[1].nodes[0];
    process.kill(pid, "SIGKILL");
    await until("the node is dead", () => !isAlive(pid));
    await until("the supervisor has noticed", () => readFileSync(path.join(dir, "demo.log"), "utf8").includes("b-1"));
    assert.match(readFileSync(path.join(dir, "demo.log"), "utf8"), /b-1 \(pid \d+\) was killed by signal 9/);
    const restarted = await run(["demo", "--dir", dir, "--start", "b-1", "-o", "json"]);
    assert.equal(restarted.code, 0, restarted.stderr);
    assert.notEqual(JSON.parse(restarted.stdout).regions[1].nodes[0].pid, pid);
    const other = await run(["demo", "--dir", dir, "--stop"]);
    assert.equal(other.code, 0);
    const changed = await run(["demo", "--dir", dir, "--regions", "x,y", "--detach"]);
    assert.equal(changed.code, 1);
    assert.match(changed.stderr, /holds a cluster with regions a,b,c/);
  } finally {
    await run(["demo", "--dir", dir, "--stop"]);
  }
});

test("a demo that cannot start says which node and why, and leaves nothing running", async () => {
  const dir = at("broken");
  const begun = await run(["demo", "--dir", dir, "--base-port", "auto", "--detach"]);
  assert.equal(begun.code, 0, begun.stderr);
  await run(["demo", "--dir", dir, "--stop"]);
  writeFileSync(path.join(dir, "westeurope-1/kek.key"), "not a key\n");
  const failed = await run(["demo", "--dir", dir, "--detach"]);
  assert.equal(failed.code, 1);
  assert.match(failed.stderr, /westeurope-1 exited with code 1/);
  assert.match(readFileSync(path.join(dir, "demo.log"), "utf8"), /kek\.key/);
  const idle = await run(["demo", "--dir", dir, "--stop"]);
  assert.match(idle.stdout, /was not running/);
});

test("a folder left half made by an interrupted start is made anew", async () => {
  const dir = at("half");
  await run(["init", "--dir", dir, "--cluster", "demo", "--regions", "a,b"]);
  rmSync(path.join(dir, "b-1/node.yaml"));
  rmSync(path.join(dir, "a-1/node.yaml"));
  writeFileSync(path.join(dir, ".unfinished"), "");
  const started = await run(["demo", "--dir", dir, "--base-port", "auto", "--detach"]);
  assert.equal(started.code, 0, started.stderr);
  await run(["demo", "--dir", dir, "--stop"]);
  assert.ok(!existsSync(path.join(dir, ".unfinished")));
});

test("a cluster that lost a node.yaml is refused and loses nothing more", async () => {
  const dir = at("lost");
  await run(["init", "--dir", dir, "--cluster", "demo", "--regions", "a,b"]);
  rmSync(path.join(dir, "b-1/node.yaml"));
  const key = readFileSync(path.join(dir, "ca.key"), "utf8");
  for (const args of [["demo", "--dir", dir, "--detach"], ["init", "--if-missing", "--dir", dir, "--cluster", "demo", "--regions", "a,b"]]) {
    const { code, stderr } = await run(args);
    assert.equal(code, 1, stderr);
    assert.match(stderr, /b-1\/node\.yaml.*nothing was changed: restore what is missing/);
  }
  assert.equal(readFileSync(path.join(dir, "ca.key"), "utf8"), key);
  for (const name of ["kek.key", "account.keys", "a-1/node.yaml", "b-1/node.key"]) assert.ok(existsSync(path.join(dir, name)), name);
});

test("a port taken by another program is named", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  mkdirSync(at("busy"));
  const { code, stderr } = await run(["demo", "--dir", at("busy"), "--base-port", String(Math.min(server.address().port, 63000))]);
  server.close();
  if (server.address?.()?.port > 63000) return;
  assert.equal(code, 1);
  assert.match(stderr, /is in use/);
});
