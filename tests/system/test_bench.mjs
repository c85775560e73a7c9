// The load generator against a real cluster: what it reports, and how it fails.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster, run } from "../sdk/lib.mjs";

let cluster;
before(async () => (cluster = await Cluster.start()));
after(() => cluster?.stop());

const bench = (...args) => run(["bench", "--cluster", cluster.dir, "--warm-up", "0", "--duration", "1", ...args]);

test("a mix of reads and writes succeeds on every connection", async () => {
  const result = await bench("--connections", "8", "--reads", "50", "--keys", "50", "-o", "json");
  assert.equal(result.code, 0, result.stdout + result.stderr);
  const report = JSON.parse(result.stdout);
  assert.deepEqual(report.errors, {});
  for (const row of [report.reads, report.writes]) {
    assert.ok(row.count > 0);
    assert.ok(row.p50Ms <= row.p99Ms && row.p99Ms <= row.maxMs);
  }
});

test("a rate is kept, whatever the number of connections", async () => {
  for (const connections of ["1", "8"]) {
    const result = await bench("--connections", connections, "--rate", "50", "--duration", "2", "-o", "json");
    assert.equal(result.code, 0, result.stdout + result.stderr);
    const { rate, writes } = JSON.parse(result.stdout);
    assert.equal(rate, 50);
    assert.ok(writes.count >= 80 && writes.count <= 105, `${writes.count} writes in 2 s`);
  }
});

test("its documents are ordinary documents of the size asked for", async () => {
  const result = await bench("--connections", "2", "--keys", "2", "--size", "2000", "--container", "sized");
  assert.equal(result.code, 0, result.stdout + result.stderr);
  assert.match(result.stdout, /^writes +\d+/m);
  const { resources } = await cluster.client().database("bench").container("sized").items.readAll().fetchAll();
  assert.deepEqual(resources.map(({ id }) => id).sort(), ["k0000000000", "k0000000001"]);
  for (const { _rid, _self, _etag, _attachments, _ts, ...own } of resources)
    assert.equal(JSON.stringify(own).length, 2000);
});

test("a region's and the nodes' own endpoints can be loaded", async () => {
  const [, region] = cluster.info.regions;
  for (const where of [["--region", region.name], ["--nodes"]]) {
    const result = await bench("--connections", "3", "--keys", "10", ...where);
    assert.equal(result.code, 0, result.stdout + result.stderr);
  }
  const result = await bench("--region", "nowhere");
  assert.equal(result.code, 1);
  assert.match(result.stderr, /no region 'nowhere'/);
});

test("a wrong key is reported at once, with what the server said", async () => {
  const result = await bench("--key", Buffer.alloc(64, 7).toString("base64"));
  assert.equal(result.code, 1);
  assert.match(result.stderr, /creating the database was answered with 401/);
});

test("a read-only key is refused the writes", async () => {
  const result = await bench("--key", cluster.info.primaryReadonlyKey);
  assert.equal(result.code, 1);
  assert.match(result.stderr, /was answered with 403/);
});
