// What clients meet when they are tested with faults: the answers, resets,
// delays and cut answers that a node injects, and what the SDK makes of them.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import * as system from "../system/lib.mjs";
import { Cluster, failure, makeContainer, signature, until } from "./lib.mjs";

let cluster, node, made;
before(async () => {
  cluster = await Cluster.start();
  made = await makeContainer(cluster.client());
  // Faults count by node: one that leads, so that a retry meets it again.
  node = cluster.nodes[0];
  await document("there");
});
after(() => cluster?.stop());
afterEach(() => cluster.process.exitCode ?? heal());

/** A container through one node only; `made` through the account endpoint. */
function pinned({ key, container = made } = {}) {
  return cluster
    .client({ endpoint: node.endpoint, key, connectionPolicy: { enableEndpointDiscovery: false } })
    .database(container.database.id).container(container.id);
}

const document = (id) => made.items.upsert({ id, pk: "a" });
const isThere = async (id) => (await made.item(id, "a").read()).statusCode === 200;

let serial = 0;
/** Asks every node, as the command does. `hits()` is what they have counted,
 *  undefined once the fault is gone. */
async function inject(fault) {
  const id = `test-${++serial}`;
  const applied = await system.inject(cluster, { id, at: node.name, ...fault });
  assert.ok(applied > 0);
  return {
    id,
    applied,
    hits: async () => {
      const lists = await Promise.all(cluster.nodes.map((one) => system.admin(cluster, one, "GET", "/faults")));
      const found = lists.map(({ json }) => json.faults.find((one) => one.id === id)).filter(Boolean);
      return found.length === 0 ? undefined : found.reduce((sum, { hits }) => sum + hits, 0);
    },
  };
}
const heal = () => system.heal(cluster);
const gone = (fault) => until("the fault is used up", async () => (await fault.hits()) === undefined);

async function timed(promise) {
  const begun = performance.now();
  const value = await promise;
  return { value, ms: performance.now() - begun };
}

const create = (container, id) => container.items.create({ id, pk: "a" });
const read = (container) => container.item("there", "a").read();
const nameOf = (what) => `${what}-${serial}`;

// -- answers -------------------------------------------------------------------

test("429 is retried after the time it names, and the write succeeds", async () => {
  const container = pinned();
  const fault = await inject({ kind: "respond", status: 429, retry_after_ms: 100, operation: "create", count: 3 });
  const { value, ms } = await timed(create(container, nameOf("throttled")));
  assert.equal(value.statusCode, 201);
  assert.ok(ms >= 300, `three waits of 100 ms took ${ms} ms`);
  await gone(fault);
  assert.ok(await isThere(nameOf("throttled")));
});

test("a client that is throttled for too long is told so", async () => {
  const container = pinned();
  const fault = await inject({ kind: "respond", status: 429, retry_after_ms: 10, operation: "create" });
  const error = await failure(create(container, nameOf("throttled")));
  assert.equal(error.code, 429);
  assert.equal(error.substatus, 3200);
  assert.match(error.message, new RegExp(`Request rate is large.*injected by fault ${fault.id}`));
  assert.equal(await fault.hits(), 10); // once, and nine retries
  await heal();
  assert.ok(!(await isThere(nameOf("throttled"))));
});

// What the SDK throws at once: the application decides.
for (const [status, substatus] of [[410, 1002], [410, 1007], [449], [408], [500], [504]])
  for (const [operation, act] of [["create", (container) => create(container, nameOf("refused"))], ["read", read]])
    test(`${status}${substatus ? `/${substatus}` : ""} for a ${operation} is thrown at once`, async () => {
      const container = pinned();
      const fault = await inject({ kind: "respond", status, substatus, operation });
      const error = await failure(act(container));
      assert.equal(error.code, status);
      assert.equal(error.substatus, substatus);
      assert.equal(await fault.hits(), 1);
      await heal();
      if (operation === "create") assert.ok(!(await isThere(nameOf("refused"))));
    });

test("503 sends a read to the next region, and a write to the application", async () => {
  const other = cluster.nodes.find(({ region }) => region !== node.region);
  const container = cluster.client({ connectionPolicy: { preferredLocations: [node.region, other.region] } })
    .database(made.database.id).container(made.id);
  const reads = await inject({ kind: "respond", status: 503, operation: "read", at: node.region });
  assert.equal((await read(container)).statusCode, 200);
  assert.equal(await reads.hits(), 1);
  await heal();
  const everywhere = await inject({ kind: "respond", status: 503, operation: "read", at: "*" });
  assert.equal((await failure(read(container))).code, 503);
  assert.equal(await everywhere.hits(), 2);
  await heal();
  const writes = await inject({ kind: "respond", status: 503, operation: "create", at: node.region });
  const error = await failure(create(container, nameOf("unavailable")));
  assert.equal(error.code, 503);
  assert.equal(await writes.hits(), 1);
  await heal();
  assert.ok(!(await isThere(nameOf("unavailable"))));
});

test("403/3 makes the SDK read the account anew and write again", async () => {
  const container = cluster.client({ region: node.region }).database(made.database.id).container(made.id);
  await read(container);
  const fault = await inject({ kind: "respond", status: 403, substatus: 3, operation: "write", at: "*", count: 1 });
  const { value, ms } = await timed(create(container, nameOf("moved")));
  assert.equal(value.statusCode, 201);
  assert.ok(ms >= 1000, `the SDK waits a second before it tries again, this took ${ms} ms`);
  assert.ok(await isThere(nameOf("moved")));
  assert.equal(fault.applied, cluster.nodes.length);
});

test("404/1002 is retried twice on the spot, then is a missing document", async () => {
  const container = cluster.client({ region: node.region }).database(made.database.id).container(made.id);
  await read(container);
  const twice = await inject({ kind: "respond", status: 404, substatus: 1002, operation: "read", at: node.region, count: 2 });
  assert.equal((await read(container)).statusCode, 200);
  await gone(twice);
  const always = await inject({ kind: "respond", status: 404, substatus: 1002, operation: "read", at: node.region });
  assert.equal((await read(container)).statusCode, 404);
  assert.equal(await always.hits(), 3);
});

test("408 after a write was applied leaves the document", async () => {
  const container = pinned();
  await inject({ kind: "respond", status: 408, operation: "create", when: "after" });
  const error = await failure(create(container, nameOf("applied")));
  assert.equal(error.code, 408);
  assert.match(error.message, /after the request was carried out/);
  await heal();
  assert.ok(await isThere(nameOf("applied")));
  assert.equal((await failure(create(container, nameOf("applied")))).code, 409);
});

// -- connections ---------------------------------------------------------------

test("a reset before a write is thrown, and nothing was written", async () => {
  const container = pinned();
  const fault = await inject({ kind: "reset", operation: "create" });
  assert.equal((await failure(create(container, nameOf("reset")))).code, "ECONNRESET");
  assert.equal(await fault.hits(), 1);
  await heal();
  assert.ok(!(await isThere(nameOf("reset"))));
});

test("a reset after a write is thrown just so, and the document is there", async () => {
  const container = pinned();
  const fault = await inject({ kind: "reset", operation: "create", when: "after" });
  assert.equal((await failure(create(container, nameOf("reset")))).code, "ECONNRESET");
  assert.equal(await fault.hits(), 1);
  await heal();
  assert.ok(await isThere(nameOf("reset")));
});

test("reads are repeated a second after a reset", async () => {
  const container = pinned();
  const fault = await inject({ kind: "reset", operation: "read", count: 2 });
  const { value, ms } = await timed(read(container));
  assert.equal(value.statusCode, 200);
  assert.ok(ms >= 2000, `two waits of a second took ${ms} ms`);
  await gone(fault);
});

test("a cut answer is an error, also to a write that was applied", async () => {
  const container = pinned();
  await inject({ kind: "truncate", operation: "read" });
  assert.equal((await failure(read(container))).code, "PARSE_ERROR");
  await inject({ kind: "truncate", operation: "create" });
  assert.equal((await failure(create(container, nameOf("cut")))).code, "PARSE_ERROR");
  await heal();
  assert.ok(await isThere(nameOf("cut")));
});

test("a cut answer announces all of its body", async () => {
  const whole = await cluster.request({ endpoint: node.endpoint });
  await inject({ kind: "truncate", operation: "account" });
  const date = new Date().toUTCString();
  const authorization = signature("GET", "/", date, cluster.info.primaryKey);
  const text = await cluster.bytes(
    `GET / HTTP/1.1\r\nHost: h\r\nx-ms-date: ${date}\r\nauthorization: ${authorization}\r\n\r\n`,
    { endpoint: node.endpoint });
  const [head, body] = text.split("\r\n\r\n");
  const length = Number(/content-length: (\d+)/i.exec(head)[1]);
  assert.equal(length, Buffer.byteLength(whole.text));
  assert.equal(body.length, Math.floor(length / 2));
});

test("a delayed answer is late, and the only thing that is", async () => {
  const container = pinned();
  await inject({ kind: "answer-delay", delay_ms: 1500, operation: "read" });
  const { value, ms } = await timed(read(container));
  assert.equal(value.statusCode, 200);
  assert.ok(ms >= 1500, `${ms} ms`);
  const write = await timed(document(nameOf("prompt")));
  assert.ok(write.ms < 1500, `${write.ms} ms`);
});

test("a client that gives up does not disturb its node", async () => {
  await inject({ kind: "answer-delay", delay_ms: 60_000, operation: "read" });
  const impatient = cluster.client({
    endpoint: node.endpoint, connectionPolicy: { enableEndpointDiscovery: false, requestTimeout: 300 },
    retryOptions: { maxRetryAttemptCount: 0 } }).database(made.database.id).container(made.id);
  const abort = new AbortController();
  const pending = Array.from({ length: 20 }, () => impatient.item("there", "a").read({ abortSignal: abort.signal }));
  setImmediate(() => abort.abort());
  for (const result of await Promise.allSettled(pending)) assert.equal(result.status, "rejected");
  await heal();
  assert.equal((await read(pinned())).statusCode, 200);
});

// -- filters -------------------------------------------------------------------

test("a fault of one container leaves the others alone", async () => {
  const other = await makeContainer(cluster.client(), { id: "others" });
  const fault = await inject({ kind: "respond", status: 503, container: made.id });
  assert.equal((await create(pinned({ container: other }), "1")).statusCode, 201);
  assert.equal(await fault.hits(), 0);
  assert.equal((await failure(create(pinned(), nameOf("refused")))).code, 503);
  assert.equal(await fault.hits(), 1);
});

test("a fault of one database, or of another node, leaves this one alone", async () => {
  const container = pinned();
  const elsewhere = await inject({ kind: "respond", status: 503, database: "another" });
  const other = await inject({ kind: "respond", status: 503, at: cluster.nodes.find(({ name }) => name !== node.name).name });
  assert.equal(other.applied, 1);
  assert.equal((await read(container)).statusCode, 200);
  assert.equal(await elsewhere.hits(), 0);
  assert.equal(await other.hits(), 0);
});

test("a percentage strikes about as many", async () => {
  const container = pinned();
  const fault = await inject({ kind: "respond", status: 500, operation: "read", percent: 30 });
  let failed = 0;
  for (let n = 0; n < 300; n++) await read(container).catch((error) => (assert.equal(error.code, 500), failed++));
  // Six standard deviations around 90.
  assert.ok(failed > 40 && failed < 140, `${failed} of 300`);
  assert.equal(await fault.hits(), failed);
});

test("a fault that is used up goes away, by count over all connections", async () => {
  const fault = await inject({ kind: "respond", status: 500, operation: "read", count: 7 });
  const results = await Promise.allSettled(
    Array.from({ length: 40 }, () => cluster.request({
      endpoint: node.endpoint, path: `/dbs/${made.database.id}/colls/${made.id}/docs/there`,
      headers: { "x-ms-documentdb-partitionkey": '["a"]' } })));
  assert.equal(results.filter(({ value }) => value.status === 500).length, 7);
  assert.equal(results.filter(({ value }) => value.status === 200).length, 33);
  await gone(fault);
});

test("faults add up, and clearing one leaves the other", async () => {
  const container = pinned();
  const slow = await inject({ kind: "answer-delay", delay_ms: 300, operation: "read" });
  const refuse = await inject({ kind: "respond", status: 500, operation: "read" });
  const { value, ms } = await timed(failure(read(container)));
  assert.equal(value.code, 500);
  assert.ok(ms >= 300, `${ms} ms`);
  await Promise.all(cluster.nodes.map((one) => system.admin(cluster, one, "DELETE", `/faults/${refuse.id}`)));
  const second = await timed(read(container));
  assert.equal(second.value.statusCode, 200);
  assert.ok(second.ms >= 300, `${second.ms} ms`);
  assert.equal(await slow.hits(), 2);
  assert.equal(await refuse.hits(), undefined);
});

test("a fault ends when its time is up", async () => {
  const container = pinned();
  const fault = await inject({ kind: "respond", status: 500, operation: "read", for: "3s" });
  assert.equal((await failure(read(container))).code, 500);
  await until("reads work again", () => read(container).then(() => true, () => false), 10_000);
  await gone(fault);
});

// -- keys ----------------------------------------------------------------------

test("after a key was rotated the secondary key goes on", async () => {
  const fault = await inject({ kind: "key-rotated", key: "primary" });
  const error = await failure(read(pinned()));
  assert.equal(error.code, 401);
  assert.match(error.message, new RegExp(`rotated by fault ${fault.id}`));
  assert.equal((await read(pinned({ key: cluster.info.secondaryKey }))).statusCode, 200);
  await heal();
  assert.equal((await read(pinned())).statusCode, 200);
});

// -- the end -------------------------------------------------------------------

test("a node that stops does not wait for delayed answers", async () => {
  const fault = await inject({ kind: "answer-delay", delay_ms: 60_000, operation: "account" });
  const answer = cluster.request({ endpoint: node.endpoint });
  await until("the answer waits", async () => (await fault.hits()) === 1);
  const { ms } = await timed(cluster.halt());
  assert.equal((await answer).status, 200);
  assert.ok(ms < 30_000, `${ms} ms`);
});
