// What the commands that change the members send, show and refuse, against admin
// listeners that answer by script. Whether a cluster does it:
// test_topology_changes.mjs.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import https from "node:https";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { program, run, until } from "../sdk/lib.mjs";

const NODES = ["a-1", "b-1", "c-1", "d-1"]; // the last one joined the folder later
let folder, dir, base, requests, group, fenced, answer;
const servers = [];

async function listen(i) {
  const at = (file) => readFileSync(path.join(dir, NODES[i], file));
  const server = https.createServer(
    { cert: at("node.pem"), key: at("node.key"), ca: at("ca.pem"), requestCert: true, rejectUnauthorized: true },
    async (request, response) => {
      let body = "";
      for await (const part of request) body += part;
      const seen = { node: NODES[i], method: request.method, path: request.url, body: body && JSON.parse(body) };
      requests.push(seen);
      const [status, json] = answer(seen) ?? usual(seen);
      const text = JSON.stringify(json);
      response.writeHead(status, { "Content-Length": Buffer.byteLength(text) }).end(text);
    });
  await new Promise((resolve, reject) => server.once("error", reject).listen(base + 1010 + i, "127.0.0.1", resolve));
  servers[i] = server;
}

/** A cluster that does at once what it is told. */
function usual({ node, path: at, body }) {
  const without = (names, more) => names.filter((name) => !more.includes(name));
  if (at === "/reload") return [200, { node }];
  if (at === "/placement") return [200, { cluster: "town", groups: [group, ...fenced] }];
  if (at === "/status")
    return [200, { node, links: without(NODES, [node]).map((other) => ({ node: other, state: "up" })),
      shards: [0, 1].map((shard) => ({ shard, group: shard === 0 ? "meta" : "default", role: "follower",
        lsn: node === "d-1" ? 40 : 100, commit_lsn: 100 })) }];
  const next = { epoch: group.epoch + 1, comes: without(body.regions, group.regions), goes: without(group.regions, body.regions),
    nodes_come: without(body.nodes, group.nodes), nodes_go: without(group.nodes, body.nodes), write_region: body.regions[0] };
  if (body.dry_run) return [200, next];
  group = { ...group, regions: body.regions, nodes: body.nodes, epoch: next.epoch, write_region: next.write_region };
  return [202, next];
}

before(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "bastide-members-"));
  for (let attempt = 0; ; attempt++) {
    base = 12000 + 100 * Math.floor(Math.random() * 160);
    dir = path.join(folder, String(attempt));
    for (const args of [["--cluster", "town", "--regions", "a,b,c", "--base-port", String(base)], ["--join", "d"]]) {
      const made = await run(["init", "--dir", dir, ...args]);
      assert.equal(made.code, 0, made.stderr);
    }
    try {
      for (let i = 0; i < NODES.length; i++) await listen(i);
      return;
    } catch (error) {
      if (attempt >= 5 || error.code !== "EADDRINUSE") throw error;
      for (const server of servers) server?.close();
    }
  }
});
after(() => {
  for (const server of servers) server?.close();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  requests = [];
  fenced = [];
  answer = () => undefined;
  group = { name: "default", level: "Session", regions: ["a", "b", "c"], leaving: [], coming: [], nodes: ["a-1", "b-1", "c-1"],
    write_region: "a", epoch: 4, settled: true };
});

const command = (...args) => run([...args, "--dir", dir]);
const changes = () => requests.filter(({ path: at }) => at === "/placement/regions").map(({ body }) => body);

test("a region is added: all are told to reload, then asked once, then watched", async () => {
  const { code, stdout, stderr } = await command("region", "add", "d", "--yes");
  assert.equal(code, 0, stderr);
  assert.deepEqual(requests.filter(({ path: at }) => at === "/reload").map(({ node }) => node).sort(), NODES);
  assert.deepEqual(changes(), [true, false].map((dry_run) =>
    ({ group: "default", regions: ["a", "b", "c", "d"], nodes: NODES, dry_run })));
  assert.match(stdout, /regions that come.*: d\n.*: d-1\n +writes stay in a\nRegion d is in the cluster \(epoch 5\)/);
  requests = [];
  assert.match((await command("region", "add", "d", "--yes")).stdout, /in the cluster already/);
  assert.deepEqual(changes(), []);
});

test("the order is the operator's, and must name every region once", async () => {
  for (const wrong of ["d,a", "a,b,c", "a,a,b,c,d", "d,a,b,x"]) {
    const { code, stderr } = await command("region", "add", "d", "--yes", "--priority", wrong);
    assert.equal(code, 2, stderr);
  }
  const { stdout } = await command("region", "add", "d", "--yes", "--priority", "d,a,b,c", "-o", "json");
  assert.deepEqual(changes().at(-1).regions, ["d", "a", "b", "c"]);
  assert.deepEqual(JSON.parse(stdout).nodes, NODES);
});

test("nothing is changed unasked, for a preview, or while links are missing", async () => {
  const unasked = await command("region", "add", "d");
  assert.equal(unasked.code, 2);
  assert.match(unasked.stderr, /add --yes, nothing was changed/);
  assert.equal((await command("region", "add", "d", "--dry-run")).code, 0);
  answer = ({ node, path: at }) => at === "/status" && node === "b-1" ? [200, { node, links: [], shards: [] }] : undefined;
  const unknown = await command("region", "add", "d", "--yes", "--timeout", "1");
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /b-1 does not know d-1: bring it its new node.yaml; nothing was changed/);
  answer = ({ path: at, node }) => at === "/reload" && node === "c-1" ? [409, { message: "regions: what is there of a has changed" }] : undefined;
  assert.match((await command("region", "add", "d", "--yes")).stderr, /c-1: regions: what is there of a has changed/);
  assert.ok(changes().every(({ dry_run }) => dry_run));
  assert.match((await command("region", "add", "x", "--yes")).stderr, /bastide init --dir .* --join x/);
});

test("Ctrl-C ends the watching alone, and the same command goes on with it", async () => {
  const coming = () => ({ ...group, regions: ["a", "b", "c", "d"], nodes: NODES, coming: ["d"], epoch: 5 });
  let asked = false;
  answer = ({ path: at, body }) => {
    if (at === "/placement/regions" && !body.dry_run) asked = true;
    return at === "/placement" && asked ? [200, { groups: [coming()] }] : undefined;
  };
  const child = spawn(program, ["region", "add", "d", "--yes", "--dir", dir], { stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "", code;
  child.stderr.on("data", (data) => (stderr += data));
  child.once("close", (exit) => (code = exit));
  await until("it watches", () => asked && requests.at(-1)?.path === "/status");
  child.kill("SIGINT");
  await until("it ends", () => code !== undefined);
  assert.equal(code, 1);
  assert.match(stderr, /the cluster goes on with it \(0 of 2 shards have caught up, shard \d is 60 of 100 entries behind.*give the command again/);
  const second = await command("region", "remove", "b", "--yes");
  assert.match(second.stderr, /another change is under way, comes: d/);
  const before = changes().length;
  let polls = 0;
  answer = ({ path: at }) => at !== "/placement" ? undefined
    : [200, { groups: [++polls < 16 ? coming() : { ...coming(), coming: [] }] }];
  const again = await command("region", "add", "d", "--yes");
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stdout, /^Region d is in the cluster \(epoch 5\)/);
  assert.equal(changes().length, before, "it is not asked for twice");
});

test("a region is removed, unless a fence has it or the cluster refuses", async () => {
  fenced = [{ name: "eu", level: "Session", regions: ["b"], nodes: ["b-1"] }];
  const held = await command("region", "remove", "b", "--yes");
  assert.equal(held.code, 1);
  assert.match(held.stderr, /b is in the fence of placement group eu/);
  fenced = [{ name: "uk", level: "Session", regions: ["a", "c"], nodes: ["a-1", "c-1", "b-1"], witness: "b-1" }];
  assert.match((await command("region", "remove", "b", "--yes")).stderr, /b is in the fence of placement group uk/);
  fenced = [];
  answer = ({ path: at }) => at === "/placement/regions" ? [400, { message: "none of the regions that stay can take the writes" }] : undefined;
  assert.match((await command("region", "remove", "a", "--yes")).stderr, /none of the regions that stay/);
  answer = () => undefined;
  const done = await command("region", "remove", "b", "--yes");
  assert.equal(done.code, 0, done.stderr);
  assert.deepEqual(changes().at(-1), { group: "default", regions: ["a", "c"], nodes: ["a-1", "c-1"], dry_run: false });
  assert.match(done.stdout, /Region b is out of the cluster \(epoch 5\)[^]*b-1\/data/);
});

test("a node that was taken out is not believed", async () => {
  // It stopped hearing just before the end of its own removal.
  answer = ({ node, path: at }) => at !== "/placement" ? undefined
    : node === "a-1" ? [200, { groups: [{ ...group, regions: ["b", "c", "a"], leaving: ["a"], nodes: ["b-1", "c-1"], epoch: 5, settled: false }] }]
      : [200, { groups: [{ ...group, regions: ["b", "c"], nodes: ["b-1", "c-1"], epoch: 5, write_region: "b" }] }];
  const { code, stderr } = await command("region", "remove", "a", "--yes", "--timeout", "2");
  assert.equal(code, 1);
  assert.match(stderr, /region a is not in the cluster/);
});

test("nodes are added, removed, drained and replaced by naming all that stay", async () => {
  group = { ...group, regions: ["a", "b", "c", "d"] };
  assert.equal((await command("node", "add", "d-1", "--yes")).code, 0);
  assert.deepEqual(changes().at(-1).nodes, ["a-1", "b-1", "c-1", "d-1"]);
  const last = await command("node", "remove", "a-1", "--yes");
  assert.match(last.stderr, /last node of region a; bastide region remove a/);
  assert.match((await command("node", "drain", "x-1", "--yes")).stderr, /has no node x-1/);
  assert.equal((await command("node", "replace", "a-1", "--yes")).code, 2);
  assert.match((await run(["node"])).stderr, /--config FILE is needed/);
  group = { ...group, regions: ["a", "b", "c"], nodes: ["a-1", "b-1", "c-1"] };
  assert.match((await command("node", "add", "d-1", "--yes")).stderr, /region d is not in the cluster: bastide region add d/);
});
