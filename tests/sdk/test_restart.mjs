// The power goes out: every process is killed at once, and every acknowledged
// write is there afterwards.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { Cluster, clean, isAlive, makeContainer, run, until } from "./lib.mjs";

let cluster;
before(async () => (cluster = await Cluster.start()));
after(() => cluster?.stop());

/** Creates, replaces and deletes from several tasks until `stop`; keeps what
 *  must be there: id -> document or null. Ids with an unknown outcome drop out. */
function churn(container, tag) {
  const expected = new Map();
  let stopped = false, count = 0;
  const task = async (name) => {
    for (let n = 0; !stopped; n++) {
      const document = { id: `${tag}-${name}-${n}`, pk: `p${n % 5}`, n, text: "x".repeat(n % 300) };
      try {
        await container.items.create(document);
        expected.set(document.id, document);
        if (n % 3 === 1) {
          expected.delete(document.id);
          const changed = { ...document, n: -n };
          await container.item(document.id, document.pk).replace(changed);
          expected.set(document.id, changed);
        } else if (n % 3 === 2) {
          expected.delete(document.id);
          await container.item(document.id, document.pk).delete();
          expected.set(document.id, { ...document, gone: true });
        }
        count++;
      } catch {
        expected.delete(document.id);
        return; // the power is out
      }
    }
  };
  const tasks = Promise.all(Array.from({ length: 8 }, (_, i) => task(`t${i}`)));
  return { expected, count: () => count, stop: () => ((stopped = true), tasks), ended: tasks };
}

async function compare(container, expected) {
  for (const document of expected.values()) {
    const { statusCode, resource } = await container.item(document.id, document.pk).read();
    if (document.gone) assert.equal(statusCode, 404, `${document.id} was deleted`);
    else assert.deepEqual(resource && clean(resource), document);
  }
}

test("all nodes are killed at once under load, twice, and started again", async () => {
  let container = await makeContainer(cluster.client({ keepAlive: false }));
  for (const round of [1, 2]) {
    const load = churn(container, round);
    await until("some load", () => load.count() > 150);
    const pids = cluster.reload().nodes.map(({ pid }) => pid);
    for (const pid of pids) process.kill(pid, "SIGKILL");
    await until("every node is dead", () => !pids.some(isAlive));
    await load.ended;
    await cluster.restart("all");
    assert.ok(load.expected.size > 100, `round ${round}`);
    cluster.closeClients();
    container = cluster.client({ keepAlive: false }).database(container.database.id).container(container.id);
    await compare(container, load.expected);
  }
});

test("the supervisor is killed too, and the next start finds everything", async () => {
  const made = await makeContainer(cluster.client({ keepAlive: false }));
  const load = churn(made, "x");
  await until("some load", () => load.count() > 100);
  const { nodes, info } = cluster.reload();
  process.kill(cluster.process.pid, "SIGKILL");
  await cluster.exited;
  await until("the nodes end with their supervisor", () => !nodes.some(({ pid }) => isAlive(pid)));
  await load.stop();
  cluster.closeClients();
  await cluster.launch();
  assert.equal(cluster.info.primaryKey, info.primaryKey, "keys stay");
  await compare(cluster.client().database(made.database.id).container(made.id), load.expected);
});

test("an orderly stop and start keeps everything", async () => {
  const made = await makeContainer(cluster.client({ keepAlive: false }));
  const load = churn(made, "x");
  await until("some load", () => load.count() > 100);
  await load.stop();
  const { nodes } = cluster.reload();
  const result = await run(["demo", "--dir", cluster.dir, "--stop"]);
  assert.equal(result.code, 0, result.stderr);
  assert.ok(!nodes.some(({ pid }) => isAlive(pid)));
  cluster.closeClients();
  await cluster.launch();
  await compare(cluster.client().database(made.database.id).container(made.id), load.expected);
});

test("the logs hold no key and no document", () => {
  const marker = "x".repeat(200);
  for (const node of cluster.nodes) {
    const log = readFileSync(path.join(node.dir, "node.log"), "utf8");
    for (const key of [cluster.info.primaryKey, cluster.info.secondaryKey, cluster.info.primaryReadonlyKey])
      assert.ok(!log.includes(key));
    assert.ok(!log.includes(marker));
    for (const line of log.split("\n")) if (line !== "") assert.doesNotThrow(() => JSON.parse(line), line);
  }
});
