// make bench-failover: how long an unmodified SDK client cannot write when a
// node or a region is lost, as a distribution over many runs.
//
//     failover.mjs
//
// Environment: RUNS (of each fault: 20), FAULTS ("leader-kill region-kill ...",
// default all), CONSISTENCY (session), OUT (file for the JSON result), VERBOSE=1.
//
// A run: a cluster at rest, one writer per partition key (they cover every
// shard), and the fault strikes the region or node that writes. A region that is
// cut off may go on for as long as its lease lasts; so what is measured is the
// time from the fault to the end of the longest gap that any writer has between
// two acknowledged writes. What the SDK throws meanwhile, the application answers
// by trying again.
//
// Clients take part in what the SDK does by default, but for "region-stop": a
// process that stands still keeps its connections and the port that all nodes of
// this machine share, where another machine's addresses would be withdrawn. There
// clients stay with another region (enableEndpointDiscovery: false).
import { writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Cluster, isAlive, until } from "../sdk/lib.mjs";
import { admin, heal, inject } from "../system/lib.mjs";

const runs = Number(process.env.RUNS || 20);
const consistency = process.env.CONSISTENCY || "session";
const verbose = process.env.VERBOSE === "1";
const WRITERS = 8;
const GIVE_UP_MS = 60_000;
const RUNS_PER_CLUSTER = 6; // a region that fails often is trusted later and later

// -- the cluster ---------------------------------------------------------------

const topologyOf = async (cluster, node) => {
  try {
    const { status, json } = await admin(cluster, node, "GET", "/topology");
    return status === 200 ? json : undefined;
  } catch {
    return undefined;
  }
};

const REST_S = 5; // a node that was just started watches before it judges

/** Every node says the same: all is well, settled and caught up. */
async function atRest(cluster) {
  for (const node of cluster.nodes) {
    const { json } = await admin(cluster, node, "GET", "/status").catch(() => ({}));
    if (!(json?.uptime_s >= REST_S)) return false;
  }
  const seen = await Promise.all(cluster.nodes.map((node) => topologyOf(cluster, node)));
  return seen.every((t) => t?.settled && t.epoch === seen[0].epoch && t.failback === "manual" && t.unavailable === null &&
    t.regions.every((r) => r.state === "up" && !r.declared_down && r.nodes.every((n) => n.behind_ms !== null && n.behind_ms < 500)));
}

async function freshCluster(shape) {
  // Returning regions are trusted sooner than by default; losing one is judged as by default.
  process.env.BASTIDE_TIMEOUTS_REGION_UP_MS = "1000";
  const cluster = await Cluster.start({ flags: [...shape, "--consistency", consistency] });
  // The writes stay where a fault has moved them, until the next one.
  await until("fail-back is manual", async () => {
    const order = cluster.info.regions.map(({ name }) => name);
    const { status } = await admin(cluster, cluster.nodes[0], "POST", "/regions/priority", { order, failback: "manual" });
    return status === 202;
  });
  const client = cluster.client();
  await until("a container is made", async () => {
    try {
      const { database } = await client.databases.createIfNotExists({ id: "bench" });
      await database.containers.createIfNotExists({ id: "failover", partitionKey: { paths: ["/pk"] } });
      return true;
    } catch (error) {
      if (verbose) console.log(`# ${error.message}`);
      return false;
    }
  }, GIVE_UP_MS);
  return cluster;
}

/** The node that leads most shards of documents, and its region. */
async function writerNode(cluster) {
  const led = await Promise.all(cluster.nodes.map(async (node) => {
    const { json } = await admin(cluster, node, "GET", "/status");
    return json.shards.filter(({ shard, role }) => shard !== 0 && role === "leader").length;
  }));
  return cluster.nodes[led.indexOf(Math.max(...led))];
}

// -- the writers ---------------------------------------------------------------

/** Writers that go on until stopped. `since(t)`: whether each has had a write
 *  acknowledged that it began at or after t. `gap(t)`: when the longest gap after
 *  t ended. */
function startWriters(cluster, options) {
  const writers = [];
  let stopped = false;
  const one = async (writer, n) => {
    const container = cluster.client(options).database("bench").container("failover");
    for (let i = 0; !stopped; i++) {
      const began = performance.now();
      try {
        await container.items.upsert({ id: `w${n}`, pk: `key-${n}`, i });
        writer.acknowledged.push([began, performance.now()]);
        await sleep(10);
      } catch (error) {
        const what = String(error.code ?? error.name);
        writer.errors.set(what, (writer.errors.get(what) ?? 0) + 1);
        await sleep(20);
      }
    }
  };
  for (let n = 0; n < WRITERS; n++) {
    const writer = { acknowledged: [], errors: new Map() };
    writers.push(writer);
    writer.done = one(writer, n);
  }
  return {
    since(t) {
      return writers.every(({ acknowledged }) => (acknowledged.at(-1)?.[0] ?? 0) >= t);
    },
    gap(t) {
      let longest = { length: 0, end: t };
      for (const { acknowledged } of writers)
        for (let i = 1; i < acknowledged.length; i++) {
          const [begin, end] = [Math.max(acknowledged[i - 1][1], t), acknowledged[i][1]];
          if (end - begin > longest.length) longest = { length: end - begin, end };
        }
      return longest.end;
    },
    errors() {
      const all = new Map();
      for (const { errors } of writers) for (const [what, n] of errors) all.set(what, (all.get(what) ?? 0) + n);
      return [...all].map(([what, n]) => `${n} x ${what}`).join(", ") || "none";
    },
    async stop() {
      stopped = true;
      await Promise.race([Promise.all(writers.map(({ done }) => done)), sleep(5000)]);
      cluster.closeClients();
    },
  };
}

// -- the faults ----------------------------------------------------------------

const REGIONS = ["--regions", "eastus,westeurope,southeastasia"];
const NODES = ["--regions", "eastus", "--nodes-per-region", "3"];
const regionEndpoint = (cluster, victim) => cluster.info.regions.find(({ name }) => name !== victim.region).endpoint;

// Whether the cluster has answered the loss of a region.
const another = async (cluster, victim) => {
  const t = await topologyOf(cluster, cluster.nodes.find(({ region }) => region !== victim.region));
  return t !== undefined && t.write_region !== victim.region && t.settled;
};

const atAccount = (cluster) => ({ endpoint: cluster.info.endpoint });
const elsewhere = (cluster, victim) => ({ endpoint: regionEndpoint(cluster, victim) });
const onlyElsewhere = (cluster, victim) => ({ ...elsewhere(cluster, victim), connectionPolicy: { enableEndpointDiscovery: false } });

async function killAndRestart(cluster, victim) {
  await until("the victim is dead", () => !isAlive(victim.pid));
  await cluster.restart(victim.name);
}
const kill = (cluster, victim) => process.kill(victim.pid, "SIGKILL");
const cut = (fault) => async (cluster, victim) => inject(cluster, { kind: "cut", ...fault(victim.region) });

const faults = {
  "leader-kill": { what: "a leader's process is killed", shape: NODES, target: 2, client: atAccount, strike: kill, mend: killAndRestart },
  "region-kill": { what: "the write region's processes are killed", shape: REGIONS, target: 5, client: atAccount, strike: kill, mend: killAndRestart },
  "region-stop": { what: "the write region's processes stand still", shape: REGIONS, target: 5, client: onlyElsewhere,
    strike: (cluster, victim) => process.kill(victim.pid, "SIGSTOP"), mend: (cluster, victim) => process.kill(victim.pid, "SIGCONT") },
  cut: { what: "the write region is cut off", shape: REGIONS, target: 5, client: elsewhere,
    strike: cut((r) => ({ from: r, to: "*", both: true })), mend: (cluster) => heal(cluster) },
  "cut-out": { what: "nothing leaves the write region", shape: REGIONS, target: 5, client: elsewhere,
    strike: cut((r) => ({ from: r, to: "*" })), mend: (cluster) => heal(cluster) },
  "cut-in": { what: "nothing enters the write region", shape: REGIONS, target: 5, client: elsewhere,
    strike: cut((r) => ({ from: "*", to: r })), mend: (cluster) => heal(cluster) },
  "disk-hang": { what: "the write region's disk hangs", shape: REGIONS, target: 5, client: elsewhere,
    strike: (cluster, victim) => inject(cluster, { kind: "disk-hang", at: victim.name }),
    mend: (cluster) => heal(cluster) },
};

async function once(cluster, fault) {
  await until("the cluster is at rest", () => atRest(cluster), GIVE_UP_MS, 50);
  cluster.reload();
  const victim = await writerNode(cluster);
  const writers = startWriters(cluster, fault.client(cluster, victim));
  const start = performance.now();
  await until("every writer writes", () => writers.since(start), GIVE_UP_MS);
  await sleep(Math.random() * 500); // no relation to anybody's timer
  const struck = performance.now();
  await fault.strike(cluster, victim);
  let took = Infinity;
  try {
    if (fault.shape === REGIONS) await until("another region writes", () => another(cluster, victim), GIVE_UP_MS);
    const answered = performance.now();
    await until("every writer writes again", () => writers.since(answered), GIVE_UP_MS);
    took = (writers.gap(struck) - struck) / 1000;
  } catch (error) {
    console.log(`# ${error.message}`);
  }
  const errors = writers.errors();
  await writers.stop();
  await fault.mend(cluster, victim);
  return { took, errors, victim: victim.name };
}

// -- the runs ------------------------------------------------------------------

/** The smallest value that at least p percent do not exceed. */
const percentile = (sorted, p) => sorted[Math.max(0, Math.ceil((p / 100) * sorted.length) - 1)];
const seconds = (s) => (Number.isFinite(s) ? s.toFixed(2) : "never").padStart(7);

async function measure(name) {
  const fault = faults[name], took = [];
  let cluster;
  try {
    for (let i = 0; i < runs; i++) {
      if (i % RUNS_PER_CLUSTER === 0) {
        await cluster?.stop();
        cluster = await freshCluster(fault.shape);
      }
      const result = await once(cluster, fault);
      took.push(result.took);
      if (verbose) console.log(`# ${name} ${i + 1}: ${seconds(result.took)} s, ${result.victim}, errors: ${result.errors}`);
    }
  } finally {
    await cluster?.stop();
  }
  took.sort((a, b) => a - b);
  return took;
}

const names = (process.env.FAULTS || Object.keys(faults).join(" ")).trim().split(/\s+/);
for (const name of names)
  if (!(name in faults)) throw new Error(`no fault "${name}"; there are ${Object.keys(faults).join(", ")}`);
const result = { runs, consistency, faults: {} };
let missed = 0;
console.log(`seconds until writes succeed again, ${runs} runs each, ${consistency} consistency\n`);
console.log("fault            p50     p90     p99     max  target");
for (const name of names) {
  const took = await measure(name);
  const [p50, p90, p99, max] = [50, 90, 99, 100].map((p) => percentile(took, p));
  const met = p99 <= faults[name].target;
  missed += !met;
  console.log(`${name.padEnd(12)} ${[p50, p90, p99, max].map(seconds).join(" ")}  ${String(faults[name].target).padStart(4)} s ${met ? "met" : "MISSED"}   ${faults[name].what}`);
  result.faults[name] = { p50, p90, p99, max, target: faults[name].target, met, took };
}
if (process.env.OUT) writeFileSync(process.env.OUT, JSON.stringify(result, null, 2) + "\n");
process.exit(missed > 0 ? 1 : 0);
