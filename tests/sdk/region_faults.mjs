// The rows of the failure matrix (docs/consistency.md) for an account of one
// level: what is done to a region, and what clients of the others see of it.
// Each level is a test file of its own, test_region_faults_*.mjs.
import assert from "node:assert/strict";
import https from "node:https";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { Cluster, makeContainer, run, until } from "./lib.mjs";
import { heal, inject, untilTopology } from "../system/lib.mjs";

// Writes are back by then; the benchmark of failovers says how soon they are.
const WRITES_BACK_MS = 10_000;
// A weak read waits for nobody; this is scheduling on a small machine.
const WEAK_READ_MS = 3_000;
// Regions that return are trusted again soon.
process.env.BASTIDE_TIMEOUTS_REGION_UP_MS = "500";

const BOUNDS = ["--max-staleness-entries", "500", "--max-staleness-seconds", "5"];

let cluster, container, agent;
const acknowledged = new Map();

const docs = () => `/dbs/${container.database.id}/colls/${container.id}/docs`;
const pk = (value) => ({ "x-ms-documentdb-partitionkey": JSON.stringify([value]) });
const nodesOf = (region) => cluster.nodes.filter((node) => node.region === region);
const others = (region) => cluster.nodes.filter((node) => node.region !== region);
const names = (locations) => locations.map(({ name }) => name);
const ask = (node, options) => cluster.request({ endpoint: node.endpoint, agent, ...options });
const accountOf = async (node) => (await ask(node, {})).json;
const writeRegion = async (node = cluster.nodes[0]) => (await accountOf(node)).writableLocations[0].name;

const create = (node, document) =>
  ask(node, { method: "POST", path: docs(), body: JSON.stringify(document), headers: pk(document.pk) });
const weakRead = (node) =>
  ask(node, { path: `${docs()}/anchor`, headers: { ...pk("anchor"), "x-ms-consistency-level": "Eventual" } });

/** Writers at these nodes, and readers that must never be kept waiting. */
function use(nodes, tag) {
  const state = { acknowledgedAt: [], refused: [], slowestRead: 0, reads: 0, stopped: false };
  const write = async (node) => {
    for (let n = 0; !state.stopped; n++) {
      const document = { id: `${tag}-${node.name}-${n}`, pk: `p${n % 5}`, n };
      const begun = Date.now();
      const answer = await create(node, document);
      if (answer.status === 201) {
        acknowledged.set(document.id, document);
        state.acknowledgedAt.push(begun);
      } else {
        assert.ok([403, 408, 429, 503].includes(answer.status), `${node.name}: ${answer.status} ${answer.text}`);
        assert.equal(typeof answer.json.message, "string");
        state.refused.push(answer);
      }
    }
  };
  const read = async (node) => {
    while (!state.stopped) {
      const begun = Date.now();
      const { status, text } = await weakRead(node);
      assert.equal(status, 200, `a weak read in ${node.region}: ${text}`);
      state.slowestRead = Math.max(state.slowestRead, Date.now() - begun);
      state.reads++;
    }
  };
  const all = Promise.all([...nodes.map(write), ...nodes.map(read)]);
  all.catch(() => (state.stopped = true));
  state.stop = async () => {
    state.stopped = true;
    await all;
    assert.ok(state.slowestRead < WEAK_READ_MS, `the slowest weak read took ${state.slowestRead} ms`);
  };
  /** Resolves with how long it took until a write that began after `since` was
   *  acknowledged. */
  state.writesAfter = async (since) => {
    await until("writes are acknowledged", () => state.stopped || state.acknowledgedAt.at(-1) > since, WRITES_BACK_MS);
    if (state.stopped) await all;
    return state.acknowledgedAt.find((at) => at > since) - since;
  };
  return state;
}

const allUp = () => untilTopology(cluster, "every region is up", ({ regions, settled }) =>
  settled && regions.every(({ state }) => state === "up"), 60_000);

/** Everything acknowledged is there, or at weaker levels than strong may be
 *  among the conflicts. */
async function compare(level) {
  const found = async () => {
    const { resources } = await container.items.query("SELECT VALUE c.id FROM c").fetchAll();
    const known = new Set(resources);
    if (level !== "strong")
      for (const { content } of (await container.conflicts.readAll().fetchAll()).resources) known.add(JSON.parse(content).id);
    return [...acknowledged.keys()].every((id) => known.has(id));
  };
  await until("every acknowledged write is found", () => found().catch((error) => {
    // A node that has just come back, and is not in the picture yet.
    assert.equal(error.code, 503, error.message);
    return false;
  }));
}

/** A node without the others takes no writes, and reads what its level allows;
 *  once it knows that it is alone it says so at once. */
async function isAlone(node, level) {
  const soon = async (request) => {
    const { status, text } = await Promise.race([request(), delay(2000, { status: 0 })]);
    return status === 503 && /lost|leader/.test(text);
  };
  await until(`${node.name} refuses writes`, () => soon(() => create(node, { id: "alone", pk: "alone" })));
  const readAnchor = () => ask(node, { path: `${docs()}/anchor`, headers: pk("anchor") });
  // At the session level the node owes its clients what they wrote through it
  // last, which may have been acknowledged and not have come back before the cut.
  if (level === "session") assert.equal((await weakRead(node)).status, 200);
  else await until(`${node.name} refuses reads at the account's level`, () => soon(readAnchor));
}

const kill = (region) => Promise.all(nodesOf(region).map(({ name }) => cluster.kill(name)));
const signal = (region, name) => cluster.reload().nodes.filter((node) => node.region === region)
  .forEach(({ pid }) => process.kill(pid, name));

/** What is done to the write region, those first after which a region is long
 *  in getting up: each failure makes the next wait longer. `alive`: it still answers clients. */
const LOSSES = {
  "has a disk that hangs": { begin: (at) => inject(cluster, { kind: "disk-hang", at }), end: () => heal(cluster), alive: true },
  "is killed": { begin: kill, end: () => cluster.restart("all") },
  "is stopped": { begin: (region) => signal(region, "SIGSTOP"), end: (region) => signal(region, "SIGCONT") },
  "is cut off": {
    begin: (region) => inject(cluster, { kind: "cut", from: region, to: "*", both: true }), end: () => heal(cluster), alive: true, cut: true },
  "is not heard any more": {
    begin: (region) => inject(cluster, { kind: "cut", from: region, to: "*" }), end: () => heal(cluster), alive: true, cut: true },
  "does not hear any more": {
    begin: (region) => inject(cluster, { kind: "cut", from: "*", to: region }), end: () => heal(cluster), alive: true, cut: true },
};

export function testRegionFaults(level) {
  before(async () => {
    cluster = await Cluster.start();
    agent = new https.Agent({ ca: cluster.ca, keepAlive: true, maxSockets: 64 });
    container = await makeContainer(cluster.client());
    acknowledged.clear();
    await container.items.create({ id: "anchor", pk: "anchor" });
    const options = level === "bounded-staleness" ? BOUNDS : [];
    for (const args of [["consistency", "set", level, ...options],
      ["region", "priority", names(cluster.info.regions).join(","), "--failback", "manual"]]) {
      const { code, stderr } = await run([...args, "--dir", cluster.dir]);
      assert.equal(code, 0, stderr);
    }
    await until("the anchor is everywhere", async () =>
      (await Promise.all(cluster.nodes.map(weakRead))).every(({ status }) => status === 200));
  });
  after(async () => {
    agent?.destroy();
    await cluster?.stop();
  });

  test("another region is killed: writes go on, and it is no longer advertised", async () => {
    await allUp();
    const home = await writeRegion();
    const lost = names(cluster.info.regions).find((name) => name !== home);
    const state = use(others(lost), "other");
    const since = Date.now();
    await kill(lost);
    await until("it is left out", async () => (await Promise.all(others(lost).map(accountOf))).every(
      ({ readableLocations }) => !names(readableLocations).includes(lost)), WRITES_BACK_MS);
    await state.writesAfter(since);
    await state.writesAfter(Date.now());
    assert.equal(await writeRegion(others(lost)[0]), home);
    await state.stop();
    await cluster.restart("all");
    await allUp();
    await compare(level);
  });

  for (const [what, { begin, end, alive, cut }] of Object.entries(LOSSES)) {
    test(`the write region ${what}: writes go on elsewhere, weak reads never stop`, async () => {
      await allUp();
      const lost = await writeRegion();
      const survivors = others(lost);
      const state = use(survivors, what.replaceAll(" ", "-"));
      try {
        await state.writesAfter(Date.now());
        const since = Date.now();
        await begin(lost);
        await until("another region is the write region", async () => (await Promise.all(
          survivors.map(writeRegion))).every((region) => region !== lost), WRITES_BACK_MS);
        await state.writesAfter(since);
        await state.writesAfter(Date.now());
        if (alive) assert.equal((await weakRead(nodesOf(lost)[0])).status, 200);
        if (cut) await isAlone(nodesOf(lost)[0], level);
      } finally {
        await end(lost);
      }
      await state.stop();
      cluster.reload();
      await allUp();
      await compare(level);
    });
  }

  if (level !== "session") return; // the same for all
  const cutFrom = (home) => names(cluster.info.regions).find((name) => name !== home);
  const HARMLESS = {
    "is slow": (home) => inject(cluster, { kind: "delay", from: home, to: "*", both: true, delay_ms: 150 }),
    "cannot be reached by one other region": (home) => inject(cluster, {
      kind: "cut", from: home, to: cutFrom(home), both: true }),
  };
  for (const [what, begin] of Object.entries(HARMLESS)) {
    test(`the write region ${what}: it stays the write region`, async () => {
      const { epoch } = await allUp();
      const home = await writeRegion();
      const state = use(cluster.nodes, what.replaceAll(" ", "-"));
      try {
        await state.writesAfter(Date.now());
        await begin(home);
        const since = Date.now();
        if (what.startsWith("cannot")) await isAlone(nodesOf(cutFrom(home))[0], level);
        // Longer than it takes to lose a region.
        await until("time has passed", () => Date.now() - since > 4000);
        await state.writesAfter(Date.now());
      } finally {
        await heal(cluster);
      }
      await state.stop();
      assert.equal((await allUp()).epoch, epoch);
      await compare(level);
    });
  }
}
