// What the commands for regions, levels and audit send, show and refuse, against
// admin listeners that answer by script. Whether a cluster does it:
// test_regions.mjs, test_recover.mjs.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import https from "node:https";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { run } from "../sdk/lib.mjs";

const REGIONS = ["a", "b", "c"];
let folder, dir, base;
let servers = [];   // in the order of nodes; closed ones are null
let requests, reply; // what was asked; the script

/** One listener per node, as the folder's certificates name them. */
async function listen(i) {
  const at = (file) => readFileSync(path.join(dir, `${REGIONS[i]}-1`, file));
  const server = https.createServer(
    { cert: at("node.pem"), key: at("node.key"), ca: at("ca.pem"), requestCert: true, rejectUnauthorized: true },
    async (request, response) => {
      let body = "";
      for await (const part of request) body += part;
      const seen = { node: `${REGIONS[i]}-1`, method: request.method, path: request.url, body: body && JSON.parse(body) };
      requests.push(seen);
      const [status, json] = reply(seen);
      const text = typeof json === "string" ? json : JSON.stringify(json);
      response.writeHead(status, { "Content-Length": Buffer.byteLength(text) }).end(text);
    });
  await new Promise((resolve, reject) => server.once("error", reject).listen(base + 1010 + i, "127.0.0.1", resolve));
  servers[i] = server;
}
const close = async (i) => {
  await new Promise((resolve) => servers[i].close(resolve));
  servers[i] = null;
};

before(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "bastide-commands-"));
  for (let attempt = 0; ; attempt++) {
    base = 12000 + 100 * Math.floor(Math.random() * 160);
    dir = path.join(folder, String(attempt));
    const made = await run(["init", "--dir", dir, "--cluster", "town", "--regions", REGIONS.join(), "--base-port", String(base)]);
    assert.equal(made.code, 0, made.stderr);
    try {
      for (let i = 0; i < REGIONS.length; i++) await listen(i);
      return;
    } catch (error) {
      if (attempt >= 5 || error.code !== "EADDRINUSE") throw error;
      for (const [i, server] of servers.entries()) if (server) await close(i);
    }
  }
});
after(() => {
  for (const server of servers) server?.close();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  requests = [];
  for (let i = 0; i < REGIONS.length; i++) if (!servers[i]) await listen(i);
});

const node = (name, more = {}) => ({ name, state: "up", reason: "", behind_ms: 0, behind_entries: 0, ...more });
const topology = (more = {}) => ({
  cluster: "town", node: "a-1", from: "a-1", level: "Session", max_staleness_prefix: 100000, max_staleness_interval: 300,
  epoch: 4, write_region: "a", settled: true, forced: false, failback: "manual", recovered: 0,
  regions: REGIONS.map((name, priority) => ({ name, priority, state: "up", reason: "", nodes: [node(`${name}-1`)] })),
  at_risk: { entries: 12, seconds: 0.5 }, unavailable: null, last_switch: null, ...more });
const plan = (more = {}) => ({ from: "a", to: "b", kind: "planned", would_lose: [], entries: 0, seconds: 0, rejected: [], ...more });
const forced = plan({ kind: "forced", rejected: [{ region: "c", reason: "it has been out of reach for 7 s" }] });
// Each node knows the shards it leads: a-1 all three, or a-1 and b-1 some of them.
const atRisk = (led, list) => ({ node: "a-1", shards: 3, led, entries: 0, seconds: led / 10,
  containers: list.map(([container, entries]) => ({ database: "shop", container, entries })) });
const command = (...args) => run([...args, "--dir", dir]);
const posts = () => requests.filter(({ method }) => method === "POST");

test("list and show say what a region does, and what its loss would cost", async () => {
  reply = () => [200, topology({ unavailable: "writes stop: no majority answers", epoch: 7, forced: true })];
  const list = await command("region", "list");
  assert.equal(list.code, 0, list.stderr);
  assert.match(list.stdout, /^Cluster town: consistency session, fail-back manual\nWrites go to a \(epoch 7, forced\)/);
  assert.match(list.stdout, /^a +0 up +writes +1 of 1 +0 +0\.0/m);
  assert.match(list.stdout, /At risk if a is lost now: 12 entries, 0\.5 s/);
  assert.match(list.stdout, /Writes stop: no majority answers/);
  assert.doesNotMatch(list.stdout, /\x1b/, "no colours in a file");
  const one = await command("region", "show", "b");
  assert.match(one.stdout, /^Region b: up, priority 1, serves reads\n/);
  const unknown = await command("region", "show", "x");
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /no region "x"/);
  assert.equal(JSON.parse((await command("region", "list", "-o", "json")).stdout).epoch, 7);
});

test("a node that is gone or cannot answer is passed over; a refusal is not", async () => {
  await close(0);
  reply = ({ node: name }) => name === "b-1" ? [503, { code: "Unavailable", message: "no leader is known" }] : [200, topology()];
  assert.equal((await command("region", "list")).code, 0);
  assert.deepEqual(requests.map(({ node: name }) => name), ["b-1", "c-1"]);
  reply = () => [503, { code: "Unavailable", message: "no leader is known" }];
  assert.match((await command("region", "list")).stderr, /no leader is known/);
  requests = [];
  reply = () => [403, { code: "Forbidden", message: "show the administrator's certificate" }];
  const refused = await command("region", "list");
  assert.deepEqual([refused.code, requests.length], [1, 1]);
  assert.match(refused.stderr, /administrator's certificate/);
  reply = () => [200, "<html>"];
  assert.match((await command("region", "list")).stderr, /without a JSON object/);
});

test("a planned switch needs no answer, waits, and tells the pause", async () => {
  let polls = 0;
  reply = ({ method, body }) => method === "GET"
    ? [200, ++polls < 3 ? topology({ epoch: 5, write_region: "b", settled: false })
      : topology({ epoch: 5, write_region: "b", last_switch: { from: "a", to: "b", kind: "planned", pause_ms: 41, lost_entries: 0, at: "2026-11-22T16:13:22.123456Z" } })]
    : [body.dry_run ? 200 : 202, body.dry_run ? plan() : { epoch: 5 }];
  const done = await command("region", "switch", "b");
  assert.equal(done.code, 0, done.stderr);
  assert.match(done.stdout, /Plan: a planned switch of the writes from a to b\n +loses nothing/);
  assert.match(done.stdout, /Writes go to b \(epoch 5\)\. They paused for 41 ms\. Nothing was lost\.\n$/);
  assert.deepEqual(posts().map(({ path: at, body }) => [at, body]), [
    ["/regions/switch", { to: "b", force: false, dry_run: true }], ["/regions/switch", { to: "b", force: false, dry_run: false }]]);
  const { stdout } = await command("region", "switch", "b", "-o", "json");
  assert.deepEqual(JSON.parse(stdout), { from: "a", to: "b", kind: "planned", epoch: 5, pause_ms: 41, lost_entries: 0 });
});

test("a forced switch shows what it loses, per container, and wants a yes", async () => {
  const risks = { "a-1": atRisk(2, [["orders", 7], ["carts", 1]]), "b-1": atRisk(1, [["orders", 5]]), "c-1": atRisk(0, []) };
  reply = ({ method, body, path: at, node: name }) =>
    at === "/regions/at-risk" ? [200, risks[name]]
      : method === "GET" ? [200, topology({ epoch: 5, write_region: "b", forced: true })]
      : body.dry_run ? [200, forced] : [202, { epoch: 5 }];
  const unasked = await command("region", "switch", "b", "--force");
  assert.equal(unasked.code, 2);
  assert.match(unasked.stderr, /add --yes, nothing was changed/);
  assert.match(unasked.stdout, /would lose: 13 entries, the last 0\.2 s of writes\n +shop\/orders: 12 entries\n +shop\/carts: 1 entries/);
  assert.match(unasked.stdout, /not c: it has been out of reach for 7 s/);
  assert.deepEqual(posts().map(({ body }) => body.dry_run), [true]);
  const dry = await command("region", "switch", "b", "--force", "--dry-run", "-o", "json");
  assert.equal(dry.code, 0);
  assert.deepEqual(JSON.parse(dry.stdout), { from: "a", to: "b", kind: "forced", entries: 13, seconds: 0.2, known: true,
    would_lose: [{ database: "shop", container: "orders", entries: 12 }, { database: "shop", container: "carts", entries: 1 }],
    rejected: forced.rejected });
  assert.ok(posts().every(({ body }) => body.dry_run));
  const sure = await command("region", "switch", "b", "--force", "--yes");
  assert.equal(sure.code, 0, sure.stderr);
  assert.match(sure.stdout, /Writes go to b \(epoch 5\)/);
  await close(0);
  assert.match((await command("region", "switch", "b", "--force", "--dry-run")).stdout,
    /not known exactly, the leaders of 2 of 3 shards do not answer;\n +at last word 0\.1 s/);
});

test("a switch that is refused, overtaken or slow says so", async () => {
  reply = () => [409, { code: "Conflict", message: "a does not answer; add --force to switch without it" }];
  const refused = await command("region", "switch", "b");
  assert.deepEqual([refused.code, refused.stdout], [1, ""]);
  assert.match(refused.stderr, /bastide region switch: a does not answer; add --force/);
  let doubts = 0;
  reply = ({ method, body }) => method === "GET" ? [200, topology({ epoch: 5, write_region: "b" })]
    : ++doubts < 3 ? [409, { code: "Conflict", message: "a does not answer" }] : body.dry_run ? [200, plan()] : [202, { epoch: 5 }];
  assert.equal((await command("region", "switch", "b")).code, 0, "a moment later it does");
  reply = ({ path: at }) => at === "/regions/at-risk" ? [200, atRisk(3, [["orders", 2]])]
    : [409, { code: "Conflict", message: "a is heard by a majority" }];
  const needless = await command("region", "switch", "b", "--force", "--yes");
  assert.equal(needless.code, 1);
  assert.match(needless.stdout, /^A forced switch now\n +would lose: 6 entries/);
  assert.match(needless.stderr, /heard by a majority/);
  reply = ({ method, body }) => method === "GET" ? [200, topology({ epoch: 6, write_region: "c" })]
    : body.dry_run ? [200, plan()] : [202, { epoch: 5 }];
  assert.match((await command("region", "switch", "b")).stderr, /a later decision has overtaken it: writes go to c/);
  reply = ({ method, body }) => method === "GET" ? [200, topology({ settled: false })] : body.dry_run ? [200, plan()] : [202, { epoch: 5 }];
  const slow = await command("region", "switch", "b", "--timeout", "1");
  assert.equal(slow.code, 1);
  assert.match(slow.stderr, /recorded but does not hold after 1 s \(writes go to a, epoch 4, not settled yet\)/);
  reply = ({ body }) => [body.dry_run ? 200 : 500, plan({ to: "a" })];
  const there = await command("region", "switch", "a");
  assert.deepEqual([there.code, there.stdout], [0, "Writes go to a already.\n"]);
});

test("priority sends the whole order and waits until it holds", async () => {
  let polls = 0;
  const order = (names, more) => topology({ ...more, regions: names.map((name, priority) =>
    ({ name, priority, state: "up", reason: "", nodes: [node(`${name}-1`)] })) });
  reply = ({ method }) => method === "POST" ? [202, { epoch: 5 }] : [200,
    ++polls === 1 ? topology() : polls === 2 ? order(["b", "a", "c"], { epoch: 4 })
      : order(["b", "a", "c"], { epoch: 5, write_region: "b", failback: "automatic" })];
  const done = await command("region", "priority", "b,a,c", "--failback", "automatic");
  assert.equal(done.code, 0, done.stderr);
  assert.equal(polls, 3);
  assert.deepEqual(posts()[0].body, { order: ["b", "a", "c"], failback: "automatic", move: true });
  assert.match(done.stdout, /fail-back automatic\nWrites go to b \(epoch 5\)/);
  reply = ({ method }) => method === "POST" ? [202, { epoch: 4 }] : [200, order(["c", "b", "a"])];
  assert.equal((await command("region", "priority", "c,b,a", "--no-move")).code, 0);
  assert.deepEqual(posts().at(-1).body, { order: ["c", "b", "a"], move: false });
});

test("a level is set when every node that answers applies it", async () => {
  await close(2);
  let asked = 0;
  const policy = { level: "BoundedStaleness", max_staleness_prefix: 10, max_staleness_interval: 5 };
  reply = ({ method, path: at, node: name }) => {
    if (method === "POST") return [202, { epoch: 4 }];
    if (at === "/topology") return [200, topology(policy)];
    return [200, { node: name, account: name === "b-1" && ++asked < 3 ? { ...policy, level: "Session" } : policy }];
  };
  const done = await command("consistency", "set", "bounded-staleness", "--max-staleness-entries", "10", "--max-staleness-seconds", "5");
  assert.equal(done.code, 0, done.stderr);
  assert.match(done.stdout, /^Consistency is bounded-staleness \(10 entries, 5 s\) on 2 of 3 nodes after \d\.\d\d s\n$/);
  assert.match(done.stderr, /c-1 does not answer; it learns it when it is back/);
  assert.equal(asked, 3);
  assert.deepEqual(posts()[0].body, policy);
  reply = ({ method, path: at }) => method === "POST" ? [202, { epoch: 4 }]
    : [200, at === "/topology" ? topology() : { account: { level: "Strong" } }];
  const behind = await command("consistency", "set", "session", "--timeout", "1", "-o", "json");
  assert.equal(behind.code, 1);
  assert.deepEqual(JSON.parse(behind.stdout).not_yet, ["a-1", "b-1"]);
  assert.deepEqual(posts().at(-1).body, { level: "Session" });
  assert.equal((await command("consistency", "show")).stdout, "session\n");
});

test("recover refuses while a majority answers, and explains before it asks", async () => {
  reply = ({ path: at }) => [200, at === "/regions/recover" ? { cluster: "town", node: "?", epoch: 4 } : topology()];
  const alive = await command("region", "recover", "--survivors", "a", "--force", "--yes");
  assert.equal(alive.code, 1);
  assert.match(alive.stderr, /3 of 3 nodes answer: a majority is alive/);
  await close(1);
  await close(2);
  const shown = await command("region", "recover", "--survivors", "a");
  assert.equal(shown.code, 2);
  assert.match(shown.stdout, /^FORCED RECOVERY of cluster town from a\n/);
  assert.match(shown.stdout, /a-1 +a +answers +survivor/);
  assert.match(shown.stdout, /b-1 +b +silent/);
  assert.match(shown.stderr, /add --force/);
  const unasked = await command("region", "recover", "--survivors", "a", "--force");
  assert.equal(unasked.code, 2);
  assert.match(unasked.stderr, /add --yes, nothing was changed/);
  const wrong = await command("region", "recover", "--survivors", "b", "--force", "--yes");
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr, /only 0 of the 1 nodes of b answer/);
  assert.equal(posts().length, 0);
});

test("recover tells every survivor and waits until it is so", async () => {
  await close(1);
  await close(2);
  let told = false, polls = 0;
  reply = ({ method, path: at }) => {
    if (method === "POST") return [200, { node: "a-1", shards: (told = true, 3) }];
    if (at === "/regions/recover") return [200, { cluster: "town", node: "a-1", epoch: 4 }];
    return told && ++polls > 2 ? [200, topology({ epoch: 1004, recovered: 1 })] : [503, { code: "Unavailable", message: "not known yet" }];
  };
  const done = await command("region", "recover", "--survivors", "a", "--force", "--yes");
  assert.equal(done.code, 0, done.stderr);
  assert.match(done.stdout, /a-1 has taken it\nWrites go to a \(epoch 1004\)\. The cluster is a alone now\./);
  assert.match(done.stdout, /started anew and cannot tell the level/);
  assert.deepEqual(posts().map(({ path: at, body }) => [at, body]), [["/regions/recover", { survivors: ["a"], confirm: "town", epoch: 1004 }]]);
  told = false;
  // A node that has not noticed the loss yet refuses for a moment.
  let refusals = 0;
  polls = 0;
  requests = [];
  reply = ({ method, path: at }) => {
    if (method === "GET" && at === "/regions/recover") return [200, { cluster: "town", node: "a-1", epoch: 7 }];
    if (method === "POST" && refusals++ < 2) return [409, { code: "Conflict", message: "this node hears a leader" }];
    if (method === "POST") return [200, { node: "a-1", shards: (told = true, 3) }];
    return [200, told ? topology({ epoch: 1007, recovered: 1 }) : topology()];
  };
  const later = await command("region", "recover", "--survivors", "a", "--force", "--yes");
  assert.equal(later.code, 0, later.stderr);
  assert.equal(new Set(posts().map(({ body }) => body.epoch)).size, 1, "the same epoch each time");
  reply = ({ method, path: at }) => method === "GET" && at === "/regions/recover" ? [200, { cluster: "town", node: "a-1", epoch: 4 }]
    : method === "POST" ? [400, { code: "BadRequest", message: "confirm must be the name" }] : [200, topology()];
  const refused = await command("region", "recover", "--survivors", "a", "--force", "--yes");
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /a-1: confirm must be the name/);
});

test("audit shows records, newest first as they come", async () => {
  reply = () => [200, { records: [{ at: "2026-11-22T16:13:22.123456Z", who: "admin", what: "switch", before: "a, epoch 4",
    after: "b, epoch 5", reason: "asked for\u001b[31m" }] }];
  const { code, stdout } = await command("audit", "--max", "7");
  assert.equal(code, 0);
  assert.equal(requests[0].path, "/audit?max=7");
  assert.match(stdout, /^2026-11-22T16:13:22\.123456Z +admin +switch\n +from a, epoch 4\n +to +b, epoch 5\n +why +asked for \[31m\n$/);
  reply = () => [200, { records: [] }];
  assert.match((await command("audit")).stdout, /Nothing has been changed/);
});

test("status shows regions, and faults that were injected", async () => {
  reply = ({ path: at, node: name }) => [200, at === "/topology" ? topology()
    : { region: name[0], node: name, ready: true, uptime_s: 5, workers: 1, links: [],
        fault_injection: name !== "b-1", faults: name === "a-1" ? ["cut a -> b"] : [],
        shards: name === "b-1" ? [{ shard: 2, role: "follower", term: 1001 * 2 ** 32 + 3, overruled: true, conflicts_pending: 4 }] : [] }];
  const { code, stdout } = await command("status");
  assert.equal(code, 0);
  assert.match(stdout, /Writes go to a \(epoch 4\)/);
  assert.match(stdout, /Fault injection is on at \d of \d nodes .*for tests only/);
  assert.match(stdout, /Fault at work at a-1: cut a -> b/);
  assert.match(stdout, /Shard 2 of b-1 was overruled: .*Start the node anew/);
  assert.match(stdout, /Shard 2 of b-1: 4 lost entries are on their way to \/conflicts/);
  assert.match(stdout, /^ +2 .* follower +1001\.3 /m);
  const json = JSON.parse((await command("status", "-o", "json")).stdout);
  assert.equal(json.topology.epoch, 4);
});
