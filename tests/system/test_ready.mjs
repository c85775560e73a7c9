// /livez and /readyz?verbose: what a node says while it starts, without a
// leader, and with a disk that refuses or hangs.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster, makeContainer, until } from "../sdk/lib.mjs";
import { heal, inject, isReady, killAlone, startAlone } from "./lib.mjs";

let cluster, container;
before(async () => {
  cluster = await Cluster.start({ flags: ["--consistency", "session"] });
  container = await makeContainer(cluster.client());
});
after(async () => {
  await killAlone();
  await cluster?.stop();
});

/** An answer of a node's admin listener; undefined while nobody listens. */
async function ask(node, target) {
  try {
    return await cluster.request({ endpoint: new URL(node.admin).origin, path: target, sign: false });
  } catch {
    return undefined;
  }
}
/** Waits until /readyz?verbose is as it should be, and returns it. */
const untilReady = (node, what, condition) =>
  until(what, async () => {
    const answer = await ask(node, "/readyz?verbose");
    return answer?.json && condition(answer.json, answer.status) ? answer : undefined;
  });

test("a node that is well waits for nothing", async () => {
  for (const node of cluster.nodes) {
    const { status, json } = await untilReady(node, `${node.name} is well`, ({ limited_by }) => limited_by.length === 0);
    assert.equal(status, 200);
    assert.deepEqual(json, { ready: true, waits_for: [], limited_by: [] });
    assert.deepEqual((await ask(node, "/readyz")).json, { ready: true });
    assert.equal((await ask(node, "/livez")).status, 200);
  }
});

test("a node that reads its log is alive and says how far it is", async () => {
  const node = cluster.nodes[2];
  await cluster.kill(node.name);
  const starting = await startAlone(cluster, node, { BASTIDE_FAULTS: "log.replay.before=hang" }, { waitReady: false });
  const { status, json } = await untilReady(node, "it says that it starts", ({ waits_for }) => waits_for.length > 0);
  assert.equal(status, 503);
  assert.equal(json.ready, false);
  assert.match(json.waits_for[0], /^the log of worker 1 of \d+ is being read: \d+ records so far$/);
  assert.ok(json.waits_for.includes("the listeners are not open yet"), JSON.stringify(json));
  assert.equal((await ask(node, "/livez")).status, 200);
  assert.equal((await ask(node, "/readyz")).status, 503);
  assert.equal((await ask(node, "/status")).status, 503);
  await starting.kill();
  await cluster.restart(node.name);
});

test("a node that is cut off has no leader and says that it is isolated", async () => {
  const node = cluster.nodes[1];
  await until("all are ready", () => isReady(cluster, node));
  await inject(cluster, { kind: "cut", from: node.region, to: "*", both: true });
  try {
    const { status } = await untilReady(node, "it knows", ({ waits_for, limited_by }) =>
      waits_for.includes("shard 1 has no leader") && limited_by.some((reason) => /^isolated: no majority/.test(reason)));
    assert.equal(status, 503);
  } finally {
    await heal(cluster);
  }
  const { status } = await untilReady(node, "it is well again", ({ ready, limited_by }) => ready && limited_by.length === 0);
  assert.equal(status, 200);
});

for (const [fault, reason] of [["log.append.before=enospc", /^the disk is full or cannot be written/],
                               ["log.sync.before=hang", /^the disk hangs: an append to the log has not ended for \d+\.\d s$/]])
  test(`a node with ${fault} says so`, async () => {
    const node = cluster.nodes[2];
    await cluster.kill(node.name);
    const faulty = await startAlone(cluster, node, { BASTIDE_FAULTS: fault }, { waitReady: false });
    // It notices when it is given something to write.
    await until(`${node.name} answers`, () => ask(node, "/livez"));
    await container.items.upsert({ id: fault, pk: fault });
    const { json } = await untilReady(node, "it says so", ({ limited_by }) => limited_by.some((text) => reason.test(text)));
    assert.ok(json.limited_by.length > 0);
    assert.equal((await ask(node, "/livez")).status, 200);
    await faulty.kill();
    await cluster.restart(node.name);
    await untilReady(node, "it is well", ({ ready, limited_by }) => ready && limited_by.length === 0);
  });
