// The service while its store loses a region, throttles, lags and forgets to
// answer. One test per fault; each ends its own.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { TestCluster, ask, until } from "./cluster.mjs";

const SLOWEST_MS = 10_000; // what a user of the service may wait
const BUDGET = 0.01; // the part of requests that may fail during an outage

let cluster, east, west;
before(async () => {
  // Round trips as between Azure's regions: 82 ms from eastus to westeurope.
  cluster = await TestCluster.start("--latency", "world");
  [east, west] = await Promise.all([cluster.serve("eastus"), cluster.serve("westeurope")]);
});
afterEach(() => cluster.heal());
after(() => cluster?.stop());

/** Users who place orders and look at them, until stop(). */
function users(service, tag, count = 6) {
  const state = { placed: [], failed: [], requests: 0, slowest: 0, stopped: false };
  const timed = async (...args) => {
    const begun = Date.now();
    const answer = await ask(service, ...args).catch((error) => ({ status: error.message }));
    state.requests++;
    state.slowest = Math.max(state.slowest, Date.now() - begun);
    if (answer.status >= 200 && answer.status < 300) return answer;
    state.failed.push(answer.status);
    return undefined;
  };
  const all = Promise.all(Array.from({ length: count }, async (_, user) => {
    const customer = `${tag}-${user}`;
    for (let n = 0; !state.stopped; n++) {
      const order = { id: `${n}`, total: n };
      if (await timed("POST", `/orders/${customer}`, order)) state.placed.push({ customer, ...order });
      await timed("GET", `/orders/${customer}/${Math.max(0, n - 1)}`);
    }
  }));
  state.more = (orders) => {
    const goal = state.placed.length + orders;
    return until(`${orders} more orders`, () => state.placed.length >= goal, 30_000);
  };
  state.stop = () => ((state.stopped = true), all);
  return state;
}

/** What was confirmed to a user is there. */
async function allThere(service, placed) {
  for (const customer of new Set(placed.map((order) => order.customer))) {
    const { body } = await ask(service, "GET", `/orders/${customer}`);
    const totals = new Map(body.map(({ id, total }) => [id, total]));
    for (const { id, total } of placed.filter((order) => order.customer === customer))
      assert.equal(totals.get(id), total, `order ${customer}/${id} was confirmed`);
  }
}

test("orders are placed, changed, listed and removed", async () => {
  const one = { id: "1", total: 42, lines: ["tea"] };
  assert.equal((await ask(east, "GET", "/readyz")).status, 200);
  assert.equal((await ask(east, "POST", "/orders/ada", one)).status, 201);
  assert.equal((await ask(east, "POST", "/orders/ada", one)).status, 201, "the same again is the same");
  assert.equal((await ask(east, "POST", "/orders/ada", { ...one, total: 43 })).status, 409);
  assert.equal((await ask(west, "PATCH", "/orders/ada/1", { status: "sent" })).status, 200);
  assert.deepEqual((await ask(east, "GET", "/orders/ada/1")).body, { ...one, customer: "ada", status: "sent" });
  assert.equal((await ask(west, "GET", "/orders/ada")).body.length, 1);
  assert.equal((await ask(west, "DELETE", "/orders/ada/1")).status, 204);
  assert.equal((await ask(east, "GET", "/orders/ada/1")).status, 404);
});

test("the write region is lost and comes back: within the error budget, and no confirmed order is missing", async (t) => {
  const [here, there] = [users(east, "east"), users(west, "west")];
  await Promise.all([here.more(20), there.more(20)]);
  await cluster.fault("down", "--at", "eastus", "--for", "12s");
  await until("another region takes the writes", async () => !["eastus", undefined].includes((await cluster.topology())?.write_region), 10_000);
  await Promise.all([here.more(20), there.more(20)]);
  assert.equal((await ask(east, "GET", "/healthz")).status, 200, "the service itself was never down");
  await cluster.settled(); // and back
  await Promise.all([here.more(20), there.more(20)]);
  await Promise.all([here.stop(), there.stop()]);
  for (const state of [here, there]) {
    t.diagnostic(`${state.requests} requests, slowest ${state.slowest} ms, failed: ${state.failed.join(" ") || "none"}`);
    assert.ok(state.failed.length <= BUDGET * state.requests, `${state.failed.length} of ${state.requests} failed: ${state.failed}`);
    assert.ok(state.slowest < SLOWEST_MS + 3000, `a user waited ${state.slowest} ms`);
  }
  await allThere(west, [...here.placed, ...there.placed]);
});

test("throttling: users wait a little, and none is told", async (t) => {
  const state = users(east, "throttled");
  await state.more(10);
  await cluster.fault("respond", "--status", "429", "--retry-after-ms", "100", "--operation", "create",
    "--container", "orders", "--percent", "50");
  await state.more(60);
  await state.stop();
  const throttled = await cluster.struck();
  t.diagnostic(`${state.requests} requests, ${throttled} answers with 429, slowest ${state.slowest} ms`);
  assert.ok(throttled > 20);
  assert.deepEqual(state.failed, []);
  await allThere(east, state.placed);
});

test("a lost acknowledgement makes no second order", async () => {
  // Carried out, then the connection is reset instead of answered.
  await cluster.fault("reset", "--when", "after", "--operation", "create", "--container", "orders");
  const placing = ask(east, "POST", "/orders/bob", { id: "1", total: 7 });
  await until("an acknowledgement was lost", () => cluster.struck());
  await cluster.heal();
  assert.equal((await placing).status, 201);
  assert.equal((await ask(east, "GET", "/orders/bob")).body.length, 1);
});

test("a region that lags shows old orders, unless the reader says what it has seen", async () => {
  const [eventual, session] = await Promise.all([
    cluster.serve("westeurope", { level: "Eventual" }), cluster.serve("westeurope", { level: "Session" })]);
  await cluster.fault("delay", "--from", "eastus", "--to", "westeurope", "--delay-ms", "500");
  let old = 0;
  for (let n = 0; n < 8; n++) {
    // Strong: confirmed as soon as a majority of the regions has it.
    const placed = await ask(east, "POST", "/orders/eve", { id: `${n}`, total: n });
    assert.equal(placed.status, 201);
    if ((await ask(eventual, "GET", `/orders/eve/${n}`)).status === 404) old++;
    const seen = await ask(session, "GET", `/orders/eve/${n}`, undefined, { "x-session-token": placed.session });
    assert.equal(seen.status, 200, "session: at least what the token says");
    assert.equal((await ask(west, "GET", `/orders/eve/${n}`)).status, 200, "strong: always");
  }
  assert.ok(old > 0, "eventual: not there yet, most of the time");
});
