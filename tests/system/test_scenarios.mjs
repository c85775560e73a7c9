// `bastide fault run` on a real cluster of three regions: scenarios that ship
// hold, what cannot hold fails, what was really lost is noticed, and nothing that
// it did stays behind.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import tls from "node:tls";
import { after, before, test } from "node:test";
import { Cluster, program, run, until } from "../sdk/lib.mjs";

// Regions that return are trusted again soon.
process.env.BASTIDE_TIMEOUTS_REGION_UP_MS = "500";
const LIMIT_MS = 100_000;

let cluster;
before(async () => (cluster = await Cluster.start({ flags: ["--consistency", "session"] })));
after(() => cluster?.stop());

const file = (name) => path.join(cluster.dir, name);
const play = (scenario, ...flags) =>
  run(["fault", "run", scenario, "--dir", cluster.dir, "-o", "json", ...flags], LIMIT_MS);
const hasFaults = async () => {
  const { stdout } = await run(["fault", "list", "--dir", cluster.dir, "-o", "json"]);
  return JSON.parse(stdout).faults.length > 0;
};
const level = async () => JSON.parse((await run(["consistency", "show", "--dir", cluster.dir, "-o", "json"])).stdout).level;

function scenario(name, text) {
  writeFileSync(file(`${name}.yaml`), `name: ${name}\ndescription: made by a test\n${text}`);
  return file(`${name}.yaml`);
}

/** The elements of an XML text, checked to nest: [{ name, attributes }]. */
function elements(xml) {
  const found = [], open = [];
  for (const [, close, name, rest, empty] of xml.matchAll(/<(\/?)([a-z-]+)([^<>]*?)(\/?)>/g)) {
    if (close) assert.equal(open.pop(), name);
    else {
      found.push({ name, attributes: Object.fromEntries([...rest.matchAll(/([a-z]+)="([^"<]*)"/g)].map(([, k, v]) => [k, v])) });
      if (!empty) open.push(name);
    }
  }
  assert.deepEqual(open, []);
  return found;
}

const explain = ({ stdout, stderr }) => `${stdout}\n${stderr}`;

test("losing the write region: measured, judged, reported", async () => {
  const played = await play("lose-write-region", "--junit", file("junit.xml"), "--history", file("history.jsonl"));
  assert.equal(played.code, 0, explain(played));
  const result = JSON.parse(played.stdout);
  assert.equal(result.held, true);
  assert.ok(result.writes > 100 && result.reads > 100, played.stdout);
  const down = result.timeline.find(({ event }) => event.startsWith("down at"));
  // A region counts as lost after a second at least; sooner would be no loss.
  assert.ok(down.rto_s > 0.5 && down.rto_s < 8, `${down.rto_s} s`);
  assert.ok(result.longest_gap_s > 0.5, `${result.longest_gap_s} s`);
  assert.ok(result.timeline.some(({ event }) => /forced$/.test(event)), "a forced switch is told");

  const xml = elements(readFileSync(file("junit.xml"), "utf8"));
  const suite = xml.find(({ name }) => name === "testsuite").attributes;
  assert.equal(Number(suite.tests), xml.filter(({ name }) => name === "testcase").length);
  assert.equal(Number(suite.tests), result.expectations.length);
  assert.equal(suite.failures, "0");

  const lines = readFileSync(file("history.jsonl"), "utf8").trim().split("\n").map((line) => JSON.parse(line));
  assert.ok(lines.filter(({ op }) => op).length >= result.writes + result.reads);
  assert.ok(lines.some(({ forced }) => forced === true));
  assert.ok(lines.some(({ end_of_document: end }) => end !== undefined));
  assert.equal(await hasFaults(), false);
});

test("what a forced switch loses is counted, and found again as conflicts", async () => {
  const played = await play("lose-far-region");
  assert.equal(played.code, 0, explain(played));
  const result = JSON.parse(played.stdout);
  assert.ok(result.lost > 0, "a region that is far ahead loses something");
  assert.equal(result.lost_in_feed, result.lost);
  assert.ok(result.lost === 1 || result.lost_s > 0);
});

test("a link that flaps moves nothing", async () => {
  const played = await play("flapping-link");
  assert.equal(played.code, 0, explain(played));
  const { timeline } = JSON.parse(played.stdout);
  const cut = timeline.findIndex(({ event }) => event.startsWith("cut "));
  assert.ok(cut >= 0, played.stdout);
  assert.deepEqual(timeline.slice(cut).filter(({ event }) => /writes go to/.test(event)), []);
});

/** The certificate that a new connection to a node is shown. */
function fingerprint(node) {
  const { hostname, port } = new URL(node.endpoint);
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ host: hostname, port, ca: cluster.ca }, () => {
      resolve(socket.getPeerCertificate().fingerprint256);
      socket.destroy();
    });
    socket.on("error", reject);
  });
}

test("certificates are rotated at every node, unnoticed", async () => {
  const before = await Promise.all(cluster.nodes.map(fingerprint));
  const played = await play("certificate-rotation");
  assert.equal(played.code, 0, explain(played));
  const now = await Promise.all(cluster.nodes.map(fingerprint));
  for (const [i, { name }] of cluster.nodes.entries()) assert.notEqual(now[i], before[i], name);
  const { timeline } = JSON.parse(played.stdout);
  for (const { name } of cluster.nodes)
    assert.ok(timeline.some(({ event }) => event === `${name} has a new certificate`), played.stdout);
});

test("without the CA's key no certificate is renewed, and that is said", async () => {
  const before = await Promise.all(cluster.nodes.map(fingerprint));
  const rotate = scenario("keyless", `
steps:
  - renew-certificates: {at: "*"}
`);
  renameSync(file("ca.key"), file("ca.key.away"));
  const played = await play(rotate);
  renameSync(file("ca.key.away"), file("ca.key"));
  assert.equal(played.code, 1, explain(played));
  const failed = JSON.parse(played.stdout).expectations.filter(({ held }) => !held);
  assert.equal(failed.length, 1, played.stdout);
  assert.match(failed[0].detail, /step of line \d+: .*ca\.key: No such file.*signed with the key of the cluster's CA/);
  assert.deepEqual(await Promise.all(cluster.nodes.map(fingerprint)), before);
});

test("both account keys are rotated, unnoticed by clients that move in time", async () => {
  const { primaryKey, secondaryKey } = cluster.info;
  const rotate = scenario("rotate-keys", `
steps:
  - at: 1s
    rotate-account-key: primary
    writes-succeed-within: 3s
  - after: 1s
    rotate-account-key: secondary
    writes-succeed-within: 3s
expect:
  - no-failed-request: true
  - no-acknowledged-write-lost: true
`);
  const played = await play(rotate);
  assert.equal(played.code, 0, explain(played));
  await until("cluster.json has the new keys", () => cluster.reload().info.secondaryKey !== secondaryKey);
  assert.notEqual(cluster.info.primaryKey, primaryKey);
  for (const key of [primaryKey, secondaryKey]) assert.equal((await cluster.request({ key })).status, 401);
  for (const key of [cluster.info.primaryKey, cluster.info.secondaryKey])
    assert.equal((await cluster.request({ key })).status, 200);
});

test("levels have bounds of the scenario's, and the account gets its own back", async () => {
  const show = async () => (await run(["consistency", "show", "--dir", cluster.dir, "-o", "json"])).stdout;
  const before = JSON.parse(await show());
  const bounds = scenario("bounds", `
needs: {level: bounded-staleness, max-staleness-prefix: 5000, max-staleness-interval: 20s}
steps:
  - at: 1s
    consistency: bounded-staleness
    max-staleness-prefix: 4000
  - after: 1s
    consistency: session
expect:
  - no-acknowledged-write-lost: true
`);
  const played = await play(bounds, "--history", file("history.jsonl"));
  assert.equal(played.code, 0, explain(played));
  const promised = readFileSync(file("history.jsonl"), "utf8").trim().split("\n").map((line) => JSON.parse(line))
    .filter((line) => line.promise_us !== undefined).map(({ level, max_entries: k, max_us: t }) => [level, k, t]);
  const t = 20_000_000;
  // In between, the wider bounds and the weaker level.
  assert.deepEqual(promised, [["BoundedStaleness", 5000, t], ["BoundedStaleness", 5000, t], ["BoundedStaleness", 4000, t],
    ["Session", 4000, t], ["Session", undefined, undefined]]);
  const now = JSON.parse(await show());
  for (const key of ["level", "max_staleness_prefix", "max_staleness_interval"]) assert.equal(now[key], before[key], key);
});

test("an expectation that cannot hold fails, and only that one", async () => {
  const impossible = scenario("impossible", `
needs: {level: eventual}
steps:
  - at: 1s
    fault: {kind: delay, from: "{write_region}", to: "*", both: true, delay_ms: 20, for: 1s}
    writes-succeed-within: 1ms
expect:
  - no-acknowledged-write-lost: true
`);
  const played = await play(impossible, "--junit", file("junit.xml"));
  assert.equal(played.code, 1, explain(played));
  const failed = JSON.parse(played.stdout).expectations.filter(({ held }) => !held);
  assert.equal(failed.length, 1, played.stdout);
  assert.match(failed[0].expectation, /^writes succeed within 0.0 s of: delay/);
  const xml = elements(readFileSync(file("junit.xml"), "utf8"));
  assert.equal(xml.find(({ name }) => name === "testsuite").attributes.failures, "1");
  assert.equal(xml.filter(({ name }) => name === "failure").length, 1);
  assert.equal(await level(), "Session", "the level is as before");
});

// Somebody else takes documents away: nothing in the cluster is wrong, and yet
// writes that were acknowledged are gone.
test("a write that is lost is noticed", async () => {
  const quiet = scenario("quiet", `
load: {documents: 4, writes-per-second: 2, reads-per-second: 40, duration: 6s}
steps:
  - clear: all
expect:
  - no-acknowledged-write-lost: true
`);
  const playing = play(quiet);
  const colls = "/dbs/bastide-faults/colls";
  const ask = (method, target, headers) => cluster.request({ method, path: target, headers });
  const container = await until("the container is there", async () => {
    const { status, json } = await ask("GET", colls);
    return status === 200 && json.DocumentCollections.find(({ id }) => id.startsWith("quiet-"))?.id;
  });
  for (const end = Date.now() + 4000; Date.now() < end; )
    for (let key = 0; key < 4; key++) {
      const id = `k${String(key).padStart(10, "0")}`;
      await ask("DELETE", `${colls}/${container}/docs/${id}`, { "x-ms-documentdb-partitionkey": JSON.stringify([id]) });
    }
  const played = await playing;
  assert.equal(played.code, 1, explain(played));
  const failed = JSON.parse(played.stdout).expectations.filter(({ held }) => !held).map(({ expectation }) => expectation);
  assert.ok(failed.includes("what a read sees is a prefix of the writes"), failed.join("; "));
});

test("interrupted, it takes its faults back", async () => {
  const long = scenario("long", `
steps:
  - at: 500ms
    fault: {kind: cut, from: "{next_region}", to: "{read_region}", both: true}
  - after: 10m
    clear: all
`);
  for (const signal of ["SIGINT", "SIGHUP"]) {
    const child = spawn(program, ["fault", "run", long, "--dir", cluster.dir], { stdio: "ignore" });
    const ended = new Promise((resolve) => child.once("exit", (code, killer) => resolve(code ?? killer)));
    await until("the cut is there", hasFaults);
    child.kill(signal);
    assert.equal(await ended, 1, signal);
    assert.equal(await hasFaults(), false, signal);
  }
});

test("what cannot be played is said before anything is done", async () => {
  const wrong = scenario("wrong", "steps:\n  - fault: {kind: cut, from: a}\n");
  let played = await play(wrong);
  assert.equal(played.code, 2);
  assert.match(played.stderr, /wrong\.yaml:4: fault: .*to/);
  played = await play(scenario("nobody", "steps:\n  - fault: {kind: down, at: mars}\n"));
  assert.equal(played.code, 1);
  assert.match(played.stdout, /mars/);
  played = await play("no-such-scenario");
  assert.equal(played.code, 2);
  assert.match(played.stderr, /--list/);
  played = await play(scenario("large", "needs: {regions: 9}\nsteps:\n  - clear: all\n"));
  assert.equal(played.code, 1);
  assert.match(played.stderr, /needs 9 regions/);
});

test("all that ship are listed and can be read", async () => {
  const { stdout } = await run(["fault", "run", "--list"]);
  const names = stdout.trim().split("\n").map((line) => line.split(" ")[0]);
  assert.ok(names.length >= 12, stdout);
  for (const name of names) {
    const { code, stdout: plan } = await run(["fault", "run", name, "--dry-run"]);
    assert.equal(code, 0);
    assert.match(plan, /Steps\n[^]*Expectations\n/);
  }
});
