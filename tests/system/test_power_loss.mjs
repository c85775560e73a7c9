// The power of the whole cluster fails under load: every node dies at once, in
// the middle of a write, and loses what it had not synced, page by page (the
// fault `torn-write` with `kill`; node/server/faults_node.h). What was
// acknowledged is there when it comes back.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, test } from "node:test";
import { Cluster, isAlive, makeContainer, until } from "../sdk/lib.mjs";
import { Load } from "./load.mjs";
import { admin, inject, isReady, logOf } from "./lib.mjs";

const ROUNDS = 2, ROUNDS_MAX = 6; // more until a write was torn
const RATE = 500;

let cluster, load;
before(async () => {
  cluster = await Cluster.start({ flags: ["--regions", "eastus", "--nodes-per-region", "3"] });
  load = new Load(cluster, await makeContainer(cluster.client()), { rate: RATE });
});
after(async () => {
  load?.close();
  await cluster?.stop();
});

/** How many nodes were caught between a write and its sync. */
const torn = () => cluster.nodes.reduce((sum, node) =>
  sum + [...logOf(node).matchAll(/"torn_bytes":(\d+)/g)].filter(([, bytes]) => bytes > 0).length, 0);

test(`the power fails under ${RATE} operations/s: every acknowledged write is there`, async (t) => {
  let round = 1;
  for (; round <= ROUNDS || (torn() === 0 && round <= ROUNDS_MAX); round++) {
    load.start();
    await load.more(RATE);
    const { nodes } = cluster.reload();
    await inject(cluster, { kind: "torn-write", at: "*" });
    // All at once; a node that is dead before it has answered is dead.
    await Promise.all(nodes.map((node) => admin(cluster, node, "POST", "/faults", { kind: "kill", at: "*" }).catch(() => {})));
    await until("every node is dead", () => !nodes.some(({ pid }) => isAlive(pid)));
    await load.stop();
    await until("the folders are free", () => !nodes.some(({ pid }) => existsSync(`/proc/${pid}`)));
    await cluster.restart("all");
    await until("every node is ready", async () =>
      (await Promise.all(cluster.nodes.map((node) => isReady(cluster, node)))).every(Boolean));
    t.diagnostic(`round ${round}: ${load.story()}`);
    await load.compare();
  }
  t.diagnostic(`${torn()} of ${3 * (round - 1)} deaths tore a write`);
  assert.ok(torn() > 0, "no node was caught between a write and its sync");
});
