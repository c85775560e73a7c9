// Disks that fail without a crash: while the leader cannot write its log, writes
// are refused with the reason and reads go on, and writes resume by themselves;
// a follower's troubles are nobody's but its own.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster, makeContainer } from "../sdk/lib.mjs";
import { Documents, complaints, killAlone, makeLeader, startAlone } from "./lib.mjs";

const LOAD_LIMIT_MS = 20_000;
const LARGE = 60_000;

let cluster, documents;
before(async () => {
  process.env.BASTIDE_LIMITS_LOG_SEGMENT_BYTES = "1MiB";
  process.env.BASTIDE_WORKERS = "1"; // one log for all shards
  cluster = await Cluster.start();
  documents = new Documents(cluster, await makeContainer(cluster.client()));
  await documents.write(({ ids }) => ids.length > 20);
});
after(async () => {
  documents?.close();
  await killAlone();
  await cluster?.stop();
});

const others = (node) => cluster.nodes.filter(({ name }) => name !== node.name);

for (const [fault, bytes] of [["log.append.before=eio", 500], ["log.append.after=enospc", 500], ["log.sync.before=enospc", 500],
  ["log.sync.after=eio", 500]])
  test(`a leader whose log fails once (${fault}) refuses writes with the reason, then goes on`, async () => {
    const node = cluster.reload().nodes[0];
    await cluster.kill(node.name);
    // Far enough for the node to become leader first.
    const faulty = await startAlone(cluster, node, { BASTIDE_FAULTS: `${fault}@150` });
    await makeLeader(cluster, node);
    const [probe] = documents.acknowledged.values();
    const end = Date.now() + LOAD_LIMIT_MS;
    const reads = [];
    let mark = Infinity;
    const { ids, refused } = await documents.write(async (so) => {
      if (so.refused.length > 0 && reads.length < 5)
        reads.push(await documents.request("GET", probe.id, probe.pk, { endpoint: node.endpoint, reuse: true }));
      // It has recovered when writes are acknowledged again.
      if (so.refused.length > 0 && mark === Infinity) mark = so.ids.length;
      return Date.now() > end || so.ids.length > mark + 30;
    }, { bytes });
    assert.ok(refused.length > 0, `no write was refused\n${faulty.output().slice(-1500)}`);
    for (const { status, json } of refused) {
      assert.equal(status, 503, json?.message);
      assert.match(json.message, /disk/i);
    }
    assert.deepEqual([...new Set(reads.map(({ status }) => status))], [200]);
    assert.match(faulty.output(), /the log cannot be written/);
    assert.match(faulty.output(), /the log can be written again/);
    assert.ok(!faulty.ended());
    for (const { endpoint } of cluster.nodes) await documents.compare(endpoint, ids);
    // What was written again after the failure is what a restart finds.
    await faulty.kill();
    await cluster.restart(node.name);
    await documents.compare(node.endpoint, ids);
  });

for (const fault of ["log.append.before=eio", "store.flush.before=eio", "store.commit.before=enospc", "store.commit.after=eio",
  "log.segment.before=enospc", "log.segment.after=eio", "log.delete.before=eio"])
  test(`a follower goes on while ${fault}`, async () => {
    const node = cluster.reload().nodes[2];
    await cluster.kill(node.name);
    const faulty = await startAlone(cluster, node, { BASTIDE_FAULTS: fault }, { waitReady: false });
    const end = Date.now() + LOAD_LIMIT_MS;
    const told = () => complaints(faulty.output()).some(({ msg }) => /flush failed|log /.test(msg));
    const { ids, refused } = await documents.write((so) => Date.now() > end || (so.ids.length > 20 && told()),
      { bytes: LARGE, endpoints: () => others(node).map(({ endpoint }) => endpoint) });
    assert.ok(told(), `nothing was logged\n${faulty.output().slice(-1500)}`);
    assert.deepEqual(refused.map(({ status, text }) => `${status} ${text}`), []);
    assert.ok(!faulty.ended());
    await documents.compare(cluster.nodes[0].endpoint, ids);
    await faulty.kill();
    await cluster.restart(node.name);
    await documents.compare(node.endpoint, ids);
  });

test("after all this every node has every acknowledged write", async () => {
  for (const { endpoint, name } of cluster.reload().nodes) await documents.compare(endpoint, undefined, name);
});
