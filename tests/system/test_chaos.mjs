// Nodes are killed, paused and started again at random under load; a checker
// that knows nothing of the code judges every answer.
//
//   CHAOS_SECONDS=300 CHAOS_SEED=7 tests/run.sh tests/system/test_chaos.mjs
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { Cluster, isAlive, makeContainer, run, until } from "../sdk/lib.mjs";

const SECONDS = Number(process.env.CHAOS_SECONDS ?? 20);
const SEED = Number(process.env.CHAOS_SEED ?? Math.floor(Math.random() * 1e9));
const REGISTERS = 8;
const READERS = 6;

// A small seeded generator, so that a run's faults can be had again.
let state = SEED >>> 0;
const random = (below) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
};

let cluster, container;
before(async () => {
  cluster = await Cluster.start();
  container = await makeContainer(cluster.client());
});
after(() => cluster?.stop());

/** One register has one writer, so its versions are ordered: v is begun after
 *  v - 1 has ended. `acknowledged` is the newest that certainly is there,
 *  `begun` the newest that may be. */
const registers = Array.from({ length: REGISTERS }, (_, n) => ({ id: `r${n}`, pk: `k${n}`, acknowledged: 0, begun: 0 }));
const counts = { writes: 0, reads: 0, failed: 0, queries: 0 };
const wrong = [];
let finished = false;

const through = (endpoint) =>
  cluster.client({ endpoint, keepAlive: false, connectionPolicy: { enableEndpointDiscovery: false } })
    .database(container.database.id).container(container.id);

async function writer(register, target) {
  while (!finished) {
    const v = ++register.begun;
    try {
      await target.items.upsert({ id: register.id, pk: register.pk, v });
      register.acknowledged = v;
      counts.writes++;
    } catch {
      counts.failed++;
    }
  }
}

function judge(register, least, v, what) {
  if (v < least) wrong.push(`${what} of ${register.id} gave ${v}, but ${least} was acknowledged before`);
  if (v > register.begun) wrong.push(`${what} of ${register.id} gave ${v}, which was never written`);
}

async function reader(targets, n) {
  while (!finished) {
    const register = registers[(n += 7) % REGISTERS];
    const target = targets[n % targets.length];
    const least = register.acknowledged;
    try {
      const { resource, statusCode } = await target.item(register.id, register.pk).read();
      if (statusCode === 200) judge(register, least, resource.v, "a read");
      else if (least > 0) wrong.push(`${register.id} is missing (${statusCode}), but ${least} was acknowledged`);
      counts.reads++;
    } catch {
      counts.failed++;
    }
  }
}

async function querier(target) {
  while (!finished) {
    const least = registers.map(({ acknowledged }) => acknowledged);
    try {
      const { resources } = await target.items.query("SELECT c.id, c.v FROM c").fetchAll();
      for (const [i, register] of registers.entries()) {
        const row = resources.find(({ id }) => id === register.id);
        if (row) judge(register, least[i], row.v, "a query");
        else if (least[i] > 0) wrong.push(`a query missed ${register.id}`);
      }
      counts.queries++;
    } catch {
      counts.failed++;
    }
  }
}

const pids = () => cluster.reload().nodes.map(({ name, pid }) => ({ name, pid }));

const faults = {
  async killOne() {
    const { name, pid } = pids()[random(3)];
    process.kill(pid, "SIGKILL");
    await until("it is dead", () => !isAlive(pid));
    await delay(random(2500));
    await cluster.restart(name);
  },
  async killAll() {
    const all = pids();
    for (const { pid } of all) process.kill(pid, "SIGKILL");
    await until("all are dead", () => !all.some(({ pid }) => isAlive(pid)));
    await cluster.restart("all");
  },
  async pauseOne() {
    const { pid } = pids()[random(3)];
    process.kill(pid, "SIGSTOP");
    await delay(500 + random(3000));
    process.kill(pid, "SIGCONT");
  },
  async killTwo() {
    const [first, second] = pids().filter((_, n) => n !== SEED % 3);
    process.kill(first.pid, "SIGKILL");
    await delay(random(300));
    process.kill(second.pid, "SIGKILL");
    await until("they are dead", () => !isAlive(first.pid) && !isAlive(second.pid));
    await run(["demo", "--dir", cluster.dir, "--start", "all"]);
  },
  async stopOne() {
    const { name, pid } = pids()[random(3)];
    process.kill(pid, "SIGTERM");
    await until("it has ended", () => !isAlive(pid));
    await cluster.restart(name);
  },
};

test(`registers stay linearizable for ${SECONDS} s of chaos (CHAOS_SEED=${SEED})`, async () => {
  const targets = [cluster.info.endpoint, ...cluster.nodes.map(({ endpoint }) => endpoint)].map(through);
  const workers = [
    ...registers.map((register, n) => writer(register, targets[n % targets.length])),
    ...Array.from({ length: READERS }, (_, n) => reader(targets, n)),
    querier(targets[0]),
  ];
  const end = Date.now() + SECONDS * 1000;
  const names = Object.keys(faults);
  const done = [];
  try {
    while (Date.now() < end && wrong.length === 0) {
      const name = names[random(names.length)];
      await faults[name]();
      done.push(name);
      await delay(random(1500));
    }
    const before = counts.writes;
    await until("writes go on after the last fault", () => counts.writes > before + 20 || wrong.length > 0);
  } finally {
    finished = true;
    await Promise.all(workers);
  }
  assert.deepEqual(wrong, [], `after ${done.join(", ")}`);
  for (const register of registers)
    for (const { endpoint } of cluster.nodes) {
      const { resource } = await through(endpoint).item(register.id, register.pk).read();
      judge(register, register.acknowledged, resource.v, "the last read");
    }
  assert.deepEqual(wrong, []);
  assert.ok(counts.writes > 50 && counts.reads > 50 && counts.queries > 2, JSON.stringify(counts));
  console.log(`# ${JSON.stringify(counts)} after ${done.join(", ")}`);
});
