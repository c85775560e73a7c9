// Reads at the weaker levels stay on the node that got them, and go on when its
// region is cut off; what they must not show then, they do not.
import assert from "node:assert/strict";
import https from "node:https";
import { after, before, test } from "node:test";
import { Cluster, makeContainer, until } from "../sdk/lib.mjs";
import { Documents, command, heal, inject, topologyOf } from "./lib.mjs";

const READS = 50;
const LEVELS = ["BoundedStaleness", "Session", "ConsistentPrefix", "Eventual"];
const agent = new https.Agent({ keepAlive: true });

let cluster, documents, far;
before(async () => {
  cluster = await Cluster.start({ flags: ["--latency", "40ms"] });
  agent.options.ca = cluster.ca;
  const { code, stderr } = await command(cluster, "consistency", "set", "bounded-staleness",
    "--max-staleness-entries", "1000", "--max-staleness-seconds", "5");
  assert.equal(code, 0, stderr);
  const container = await makeContainer(cluster.client());
  documents = new Documents(cluster, container);
  assert.equal((await documents.request("POST", undefined, "a", { body: '{"id":"1","pk":"a"}' })).status, 201);
  const { write_region: home } = await topologyOf(cluster);
  far = cluster.nodes.find(({ region }) => region !== home);
  await until("the far node has the document", async () => (await read("Eventual")).status === 200);
});
after(async () => {
  agent.destroy();
  documents?.close();
  await cluster?.stop();
});

const read = (level, headers = {}) => cluster.request({
  path: `${documents.path}/1`, endpoint: far.endpoint, agent,
  headers: { "x-ms-documentdb-partitionkey": '["a"]', "x-ms-consistency-level": level, ...headers } });

/** A counter of the far node. */
async function counter(name) {
  const { text } = await cluster.request({ endpoint: new URL(far.admin).origin, path: "/metrics", sign: false });
  const [, value] = text.match(new RegExp(`^${name} (\\d+)$`, "m"));
  return Number(value);
}
const counters = async () => ({
  local: await counter("bastide_reads_local_total"), forwarded: await counter("bastide_reads_forwarded_total") });

for (const level of LEVELS) {
  test(`${level}: a far node answers by itself`, async () => {
    const before = await counters();
    for (let i = 0; i < READS; i++) assert.equal((await read(level)).status, 200);
    const now = await counters();
    assert.ok(now.local >= before.local + READS, `${now.local - before.local} of ${READS} were local`);
    assert.equal(now.forwarded, before.forwarded);
  });
}

test("cut off, a region reads on at the levels that allow it, and at no other", async () => {
  await inject(cluster, { kind: "cut", from: far.region, to: "*", both: true });
  try {
    // What proves a bounded read fresh is over within a second.
    await until("bounded reads are refused", async () => (await read("BoundedStaleness")).status !== 200);
    for (const level of ["Session", "ConsistentPrefix", "Eventual"])
      for (let i = 0; i < 5; i++) assert.equal((await read(level)).status, 200, level);
    const { status, json } = await read("BoundedStaleness");
    assert.equal(status, 503);
    assert.ok(json.message.length > 0);
  } finally {
    await heal(cluster);
  }
  await until("bounded reads are answered again", async () => (await read("BoundedStaleness")).status === 200);
});
