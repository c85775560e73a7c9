// bastide fault: every fault between nodes, bad certificates and nodes that are
// down have an effect that can be seen, and none once they are cleared or have
// ended by themselves.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { Cluster, failure, isAlive, makeContainer, run, until } from "../sdk/lib.mjs";
import { admin, command, complaints, heal, logOf, statusOf } from "./lib.mjs";

let cluster, A, B, C;
before(async () => {
  cluster = await Cluster.start();
  [A, B, C] = cluster.info.regions.map(({ name }) => name);
});
after(() => cluster?.stop());
// A test that fails leaves nothing to the next.
afterEach(() => heal(cluster).catch(() => {}));

const nodeOf = (region) => cluster.nodes.find((node) => node.region === region);
/** `bastide fault ...`, which works; its JSON. */
async function fault(...args) {
  const { code, stdout, stderr } = await command(cluster, "fault", ...args, "-o", "json");
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}
const add = (kind, ...flags) => fault("add", kind, ...flags);
const clear = (...id) => fault("clear", ...id);
const active = async () => (await fault("list")).faults;
/** How `from` sees its link to `to`. */
async function link(from, to) {
  const { json } = await admin(cluster, nodeOf(from), "GET", "/status");
  return json.links.find(({ node }) => node === nodeOf(to).name);
}
const isUp = async (a, b) => (await link(a, b)).state === "up" && (await link(b, a)).state === "up";
const allUp = () => until("all links are up", async () => (await isUp(A, B)) && (await isUp(A, C)) && (await isUp(B, C)));
/** Every node says that nothing is wrong any more. */
async function untilOver() {
  await until("no fault is active", async () => (await active()).length === 0);
  await allUp();
  for (const [name, { faults, links }] of await statusOf(cluster)) {
    assert.deepEqual(faults, [], name);
    for (const each of links) assert.deepEqual([each.out, each.in], [undefined, undefined], name);
  }
}

test("a cut is shown at every node it concerns, and ends by itself", async () => {
  await allUp();
  const added = await add("cut", "--from", A, "--to", B, "--both", "--for", "3s", "--id", "cut-1");
  assert.equal(added.id, "cut-1");
  assert.deepEqual(added.nodes.filter(({ applies }) => applies).map(({ name }) => name), [A, B].map((r) => nodeOf(r).name));
  const [shown] = await active();
  assert.equal(shown.description, `cut ${A} -> ${B}, both ways`);
  assert.deepEqual(shown.nodes, [A, B].map((region) => nodeOf(region).name));
  assert.ok(shown.remaining_s > 0 && shown.remaining_s <= 3);
  await until("the link is down at both ends", async () =>
    (await link(A, B)).state !== "up" && (await link(B, A)).state !== "up");
  assert.equal((await link(A, C)).state, "up");
  const text = (await command(cluster, "status")).stdout;
  assert.match(text, /Fault injection is on at 3 of 3 nodes/);
  assert.ok(text.includes(`Fault at work at ${nodeOf(A).name}: cut ${A} -> ${B}, both ways`), text);
  await untilOver();
});

test("a region that is cut off from * is", async () => {
  await add("cut", "--from", C, "--to", "*");
  await until("nobody hears it", async () => (await link(A, C)).state !== "up" && (await link(B, C)).state !== "up");
  await clear();
  await untilOver();
});

test("delays add up, and clearing one leaves the other", async () => {
  await add("delay", "--from", A, "--to", B, "--delay-ms", "60", "--id", "one");
  await add("delay", "--from", A, "--to", B, "--delay-ms", "90", "--jitter-ms", "5", "--id", "two");
  await until("the round trip is longer by both", async () => (await link(A, B)).rtt_us >= 150_000);
  await clear("one");
  await until("the round trip is longer by one", async () => {
    const { rtt_us, out } = await link(A, B);
    return out.delay_ms === 90 && rtt_us >= 90_000 && rtt_us < 150_000;
  });
  await clear("two");
  await until("the round trip is short", async () => (await link(A, B)).rtt_us < 50_000);
  await untilOver();
});

test("Raft messages are lost and doubled, and no write is", async () => {
  const container = await makeContainer(cluster.client());
  const before = [await link(A, B), await link(A, C)];
  await add("loss", "--from", A, "--to", B, "--both", "--percent", "30");
  await add("duplicate", "--from", A, "--to", "*", "--both", "--percent", "50");
  const ids = Array.from({ length: 60 }, (_, n) => `d${n}`);
  for (const id of ids) await container.items.create({ id, pk: "p" });
  await until("some were lost, some doubled", async () =>
    (await link(A, B)).dropped > before[0].dropped && (await link(A, C)).duplicated > before[1].duplicated + 10);
  await clear();
  await untilOver();
  const now = await link(A, C);
  const { resources } = await container.items.query("SELECT c.id FROM c").fetchAll();
  assert.deepEqual(resources.map(({ id }) => id).sort(), ids.sort());
  await until("a ping goes by", async () => (await link(A, C)).bytes_out > now.bytes_out);
  assert.equal((await link(A, C)).duplicated, now.duplicated);
});

test("a narrow link makes writes wait, and is not silent", async () => {
  const container = await makeContainer(cluster.client());
  const text = "x".repeat(60_000);
  const timed = async (id) => {
    const began = Date.now();
    await container.items.create({ id, pk: "p", text });
    return Date.now() - began;
  };
  // At level strong a write is on its way to another region before it is acknowledged.
  await timed("warm");
  const home = (await command(cluster, "region", "list", "-o", "json")).stdout;
  const from = JSON.parse(home).write_region;
  await add("bandwidth", "--from", from, "--to", "*", "--kbit-per-second", "400");
  const slow = await timed("slow"); // 480 kbit
  assert.ok(slow > 1000, `${slow} ms`);
  await allUp();
  await clear();
  await untilOver();
  const fast = await timed("fast");
  assert.ok(fast < 1000, `${fast} ms`);
});

/** Kills B's node; what A logs first about the end of the link. */
async function howAnEndIsNoticed() {
  await allUp();
  const failures = () => complaints(logOf(nodeOf(A))).filter(({ msg, peer }) => msg === "peer link failed" && peer === nodeOf(B).name);
  const before = failures().length;
  await cluster.kill(nodeOf(B).name);
  const [first] = await until("the end is noticed", () => {
    const all = failures();
    return all.length > before && all.slice(before);
  });
  await cluster.restart(nodeOf(B).name);
  return first.reason;
}

test("the end of a connection is noticed late, by silence", async () => {
  assert.doesNotMatch(await howAnEndIsNoticed(), /silent/);
  await add("slow-close", "--from", B, "--to", A, "--delay-ms", "30000");
  assert.match(await howAnEndIsNoticed(), /silent for/);
  await clear();
  await untilOver();
});

test("handshakes fail, and an open connection ends", async () => {
  await add("handshake-failure", "--from", A, "--to", B);
  await until("each end says why", async () => {
    const [a, b] = [await link(A, B), await link(B, A)];
    return /^the peer refused: handshake failure|^certificate refused/.test(a.reason) && /^certificate refused: application verification failure$/.test(b.reason);
  });
  await clear();
  await untilOver();
});

for (const [problem, theirs, own] of [
  ["expired", /certificate refused: certificate has expired/, /the peer refused: certificate expired/],
  ["revoked", /certificate refused: certificate revoked/, /the peer refused: certificate revoked/],
  ["wrong-region", /region is elsewhere, expected/, /the peer says: region is elsewhere, expected/]]) {
  test(`a certificate that is ${problem} is refused by everybody`, async () => {
    const added = await add("certificate", "--at", C, "--problem", problem);
    assert.equal(added.nodes.filter(({ applies }) => applies).length, 3);
    // A dials C, which only hears that it was refused when it dials itself: to B.
    for (const [at, to, reason] of [[A, C, theirs], [B, C, theirs], [C, B, own]])
      await until(`${at} says why`, async () => {
        const l = await link(at, to);
        return l.state !== "up" && reason.test(l.reason);
      });
    assert.ok(await isUp(A, B));
    await clear();
    await untilOver();
  });
}

const account = (endpoint) => cluster.request({ endpoint });
const answers = (endpoint) => account(endpoint).then(({ status }) => status === 200, () => false);

test("a region that is down answers nobody, others stand in for it, and it comes back", async () => {
  const node = nodeOf(B);
  const region = cluster.info.regions.find(({ name }) => name === B).endpoint;
  assert.ok(await answers(node.endpoint));
  // A connection that is open is cut off.
  const held = cluster.bytes("", { endpoint: node.endpoint });
  const added = await add("down", "--at", B, "--id", "blackout");
  assert.deepEqual(added.nodes.filter(({ applies }) => applies).map(({ name }) => name), [node.name]);
  assert.equal(await held, "");
  assert.match((await failure(account(node.endpoint))).code, /ECONNREFUSED|ECONNRESET/);
  assert.ok(isAlive(node.pid));
  await until("others notice", async () => (await link(A, B)).state !== "up" && (await link(C, B)).state !== "up");
  await until("others answer on the region's endpoint", () => answers(region));
  for (let i = 0; i < 10; i++) assert.ok(await answers(cluster.info.endpoint), "the account's endpoint answers");
  assert.deepEqual((await admin(cluster, node, "GET", "/status")).json.faults, [`down at ${B}`]);
  await clear("blackout");
  await untilOver();
  await until("its clients are let in again", () => answers(node.endpoint));
  await until("it serves its region", () => answers(region));
});

test("a node that is down for a while comes back by itself", async () => {
  const node = nodeOf(C);
  await add("down", "--at", node.name, "--for", "2s");
  await failure(account(node.endpoint));
  await until("it answers again", () => answers(node.endpoint), 10_000);
  await untilOver();
});

test("nodes that cannot be told are named", async () => {
  await cluster.kill(nodeOf(C).name);
  const { code, stdout, stderr } = await command(cluster, "fault", "add", "delay", "--from", A, "--to", B, "--delay-ms", "10");
  assert.equal(code, 0);
  assert.match(stderr, new RegExp(`${nodeOf(C).name} cannot be reached: .*Connection refused`));
  const [, id] = /ends +by bastide fault clear (delay-[0-9a-f]{4}) --dir /.exec(stdout);
  const { stdout: list } = await command(cluster, "fault", "list");
  assert.match(list, new RegExp(`${id} +- +0 +delay ${A} -> ${B}: by 10 ms`));
  const gone = await command(cluster, "fault", "clear", id);
  assert.equal(gone.code, 0);
  assert.equal(gone.stdout, `Cleared at ${nodeOf(A).name}, ${nodeOf(B).name}.\n`);
  await cluster.restart(nodeOf(C).name);
  await untilOver();
});

test("nodes that hang are waited for together", async () => {
  const hung = [nodeOf(B), nodeOf(C)];
  for (const { pid } of hung) process.kill(pid, "SIGSTOP");
  const began = Date.now();
  const { code, stderr } = await command(cluster, "fault", "list");
  const took = Date.now() - began;
  for (const { pid } of hung) process.kill(pid, "SIGCONT");
  assert.equal(code, 0);
  for (const { name } of hung) assert.match(stderr, new RegExp(`${name} cannot be reached: .*no answer in time`));
  assert.ok(took < 5500, `${took} ms; one after the other it is 6000 at least`);
});

test("what cannot be meant is refused with what was expected", async () => {
  for (const [args, code, expected] of [
    [[], 2, /expected add, list, clear or run/],
    [["heal"], 2, /"heal": expected add, list, clear or run/],
    [["add"], 2, /which kind\?/],
    [["add", "fire"], 2, /kind: expected one of cut, delay, /],
    [["add", "cut", "--from", "a"], 2, /cut needs --to; it takes --from \(needed\), --to \(needed\), --both, --for, --id$/m],
    [["add", "cut", "--from", A, "--to", B, "--delay-ms", "5"], 2, /cut does not take --delay-ms; it takes --from/],
    [["add", "cut", "--from", A, "--to", B, "--for", "soon"], 2, /--for: expected a time such as "10s"/],
    [["add", "loss", "--from", A, "--to", B, "--percent", "101"], 2, /--percent: expected a number from 0.1 to 100/],
    [["add", "pause", "--at", A, "--for", "61s"], 2, /--for: a pause takes at most 60s/],
    [["add", "key-rotated", "--account-key", "third"], 2, /--account-key: expected /],
    [["add", "cut", "--from", A, "--to", "moon"], 1, /^bastide fault add: to: there is no region or node moon in this cluster$/m],
    [["add", "cut", "--form", A], 2, /unknown flag "--form"/],
    [["clear", "nothing-like-it"], 1, /there is no such fault/]]) {
    const { code: got, stderr } = await command(cluster, "fault", ...args);
    assert.match(stderr, expected);
    assert.equal(got, code, stderr);
  }
  const same = ["fault", "add", "delay", "--from", A, "--to", B, "--delay-ms", "1", "--id", "same"];
  assert.equal((await command(cluster, ...same)).code, 0);
  const again = await command(cluster, ...same);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /refuses: a fault with this id is active/);
  await clear();
  await untilOver();
});

test("help names every kind and its flags", async () => {
  const { stdout } = await run(["fault", "--help"]);
  for (const kind of ["cut", "slow-close", "certificate", "down", "torn-write", "respond", "key-rotated"])
    assert.match(stdout, new RegExp(`^  ${kind} +\\S`, "m"));
  const { stdout: one } = await run(["fault", "add", "respond", "--help"]);
  for (const flag of ["--status", "--retry-after-ms", "--container", "--percent", "--for"])
    assert.match(one, new RegExp(`^  ${flag} `, "m"));
  assert.doesNotMatch(one, /--delay-ms/);
});

test("a cluster that does not allow it refuses", async () => {
  process.env.BASTIDE_FAULT_INJECTION = "false";
  try {
    await cluster.halt();
    await cluster.launch();
  } finally {
    delete process.env.BASTIDE_FAULT_INJECTION;
  }
  const { code, stdout, stderr } = await command(cluster, "fault", "add", "cut", "--from", A, "--to", B);
  assert.equal(code, 1);
  assert.equal(stdout, "");
  assert.match(stderr, /^bastide fault add: this node does not inject faults; the setting fault_injection: true lets it/);
  assert.deepEqual(await active(), []);
  assert.doesNotMatch((await command(cluster, "status")).stdout, /Fault injection is on/);
});
