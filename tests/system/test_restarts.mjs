// One node is restarted again and again under load, in turn told to stop and
// killed: nothing acknowledged is lost, nobody is refused who need not be, and
// neither disk nor descriptors leak.
//
//   RESTARTS=100 tests/run.sh tests/system/test_restarts.mjs
//
// test-timeout: 360
// test-heavy
import assert from "node:assert/strict";
import { readdirSync, statSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { Cluster, isAlive, makeContainer, until } from "../sdk/lib.mjs";
import { Load } from "./load.mjs";
import { isReady } from "./lib.mjs";

const RESTARTS = Number(process.env.RESTARTS || 40);
const RATE = 200;
const STOP_MS = 5000; // a drain takes less
// What a node may have more than at its beginning, whatever it went through.
const FILES_MORE = 6; // segments of the log that wait for the store
const MIB_MORE = 64;
const DESCRIPTORS_MORE = 4;

let cluster, load;
before(async () => {
  cluster = await Cluster.start({ flags: ["--regions", "eastus", "--nodes-per-region", "3"] });
  load = new Load(cluster, await makeContainer(cluster.client()), { rate: RATE, fresh: true });
});
after(async () => {
  load?.close();
  await cluster?.stop();
});

const descriptors = (node) => readdirSync(`/proc/${node.pid}/fd`).length;
/** Files of a node's data, and what they take. */
function disk(node) {
  const files = readdirSync(path.join(node.dir, "data"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath ?? entry.path, entry.name));
  return { files: files.length, mib: Math.round(files.reduce((sum, file) => sum + statSync(file).blocks * 512, 0) / 2 ** 20) };
}

test(`${RESTARTS} restarts of one node under load`, async (t) => {
  const name = cluster.nodes[1].name;
  const node = () => cluster.nodes.find((one) => one.name === name);
  const before = { disk: disk(node()), descriptors: cluster.nodes.map(descriptors) };
  const failed = { SIGTERM: 0, SIGKILL: 0 };
  const failures = () => [...load.refused.values()].reduce((sum, times) => sum + times, 0);
  let slowestStop = 0, slowestStart = 0, failedBefore = 0;
  load.start();
  for (let n = 0; n < RESTARTS; n++) {
    const signal = n % 2 === 0 ? "SIGTERM" : "SIGKILL";
    const { pid } = node();
    const begun = Date.now();
    process.kill(pid, signal);
    await until(`${name} has ended`, () => !isAlive(pid), 20_000);
    const ended = Date.now();
    if (signal === "SIGTERM") slowestStop = Math.max(slowestStop, ended - begun);
    await cluster.restart(name);
    slowestStart = Math.max(slowestStart, Date.now() - ended);
    // What failed is told by the time that others have been answered.
    await load.more(20, 20_000);
    failed[signal] += failures() - failedBefore;
    failedBefore = failures();
  }
  await load.stop();
  t.diagnostic(`${load.story()}; around SIGTERM ${failed.SIGTERM}, around SIGKILL ${failed.SIGKILL}; ` +
    `slowest stop ${slowestStop} ms, slowest start ${slowestStart} ms`);
  await load.compare();
  load.close();

  // Cut off by a SIGKILL: at most what was under way, and nobody is refused.
  assert.equal(failed.SIGTERM, 0, "a node that is told to stop fails no request");
  assert.deepEqual([...load.refused.keys()].filter((what) => !/^(ECONNRESET|ECONNREFUSED|EPIPE|socket hang up)$/.test(what)), []);
  assert.ok(failed.SIGKILL <= 5 * RESTARTS, `${failed.SIGKILL} requests were cut off`);
  assert.ok(slowestStop < STOP_MS, `it took ${slowestStop} ms to stop`);

  const most = before.descriptors.map((count) => count + DESCRIPTORS_MORE);
  let now;
  await until("descriptors are given back", () => {
    now = cluster.nodes.map(descriptors);
    return now.every((count, n) => count <= most[n]);
  }).catch((error) => assert.fail(`${error.message}: ${before.descriptors} before, ${now} now`));
  const after = disk(node());
  t.diagnostic(`descriptors ${before.descriptors} before, ${now} now; disk ${JSON.stringify(before.disk)} before, ${JSON.stringify(after)} now`);
  assert.ok(after.files <= before.disk.files + FILES_MORE, `${after.files} files, ${before.disk.files} before`);
  assert.ok(after.mib <= before.disk.mib + MIB_MORE, `${after.mib} MiB, ${before.disk.mib} before`);
});
