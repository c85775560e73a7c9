// test-timeout: 400
// The mover of a container is killed at every step, and another takes over; a
// move is cancelled. Programs write meanwhile.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster, until } from "../sdk/lib.mjs";
import { admin, killAlone, startAlone, statusOf } from "./lib.mjs";
import { Writer, fill, verify } from "./writers.mjs";

const FILL = 600;
const SETTLED_MS = 90_000;
let cluster, orders;
const writers = [];

const nodeOf = (region) => cluster.nodes.find((node) => node.region === region);
const asking = () => nodeOf("us");
const post = (target, body) => admin(cluster, asking(), "POST", target, body);
const moveNow = async () =>
  (await admin(cluster, asking(), "GET", "/placement/moves")).json?.moves?.find(({ container }) => container === "orders");
const groups = async () => (await admin(cluster, asking(), "GET", "/placement")).json.groups;

before(async () => {
  cluster = await Cluster.start({ flags: ["--regions", "germany,france,us", "--consistency", "session"] });
  await until("groups can be made", async () =>
    (await post("/placement", { name: "trio", regions: ["germany", "france", "us"], shards: 2 })).status === 201);
  await until("trio works", async () => (await groups()).find(({ name }) => name === "trio")?.unavailable === null);
  const { database } = await cluster.client().databases.create({ id: "shop" });
  ({ container: orders } = await database.containers.create({ id: "orders", partitionKey: "/pk" }));
  await fill(orders, FILL);
});
after(async () => {
  await killAlone();
  await cluster?.stop();
});

/* Its first node, the mover of choice, runs with faults armed. */
async function arm(faults) {
  const node = nodeOf("germany");
  await cluster.kill(node.name);
  const faulty = await startAlone(cluster, node, { BASTIDE_FAULTS: faults });
  await settled();
  return faulty;
}

/* Every group works, wherever its writes go, and every node knows. */
const settled = () =>
  until("all groups work", async () => {
    for (const node of cluster.nodes) {
      const all = (await admin(cluster, node, "GET", "/placement").catch(() => undefined))?.json?.groups ?? [];
      if (all.length < 2 || !all.every((group) => group.settled && group.unavailable === null)) return false;
    }
    return (await statusOf(cluster)).size === cluster.nodes.length;
  }, SETTLED_MS);

async function withWriters(during) {
  const mine = [0, 1].map((n) => new Writer(`w${writers.length}-${n}`, cluster.client().database("shop").container("orders")));
  writers.push(...mine);
  try {
    await during(mine);
    const then = mine.map(({ writes }) => writes);
    await until("they go on", () => mine.every(({ writes }, n) => writes > then[n] + 10), SETTLED_MS);
  } finally {
    await Promise.all(mine.map((writer) => writer.stop()));
  }
}

let at = "default";
for (const point of ["move.copy=crash@4", "move.sealed=crash@1", "move.gone=crash@1", "move.switching=crash@1", "move.emptying=crash@1"])
  test(`the mover dies at ${point}`, async () => {
    const to = at === "default" ? "trio" : "default";
    const faulty = await arm(point);
    await withWriters(async () => {
      assert.equal((await post("/placement/move", { database: "shop", container: "orders", group: to })).status, 202);
      await until("it has died", () => faulty.ended(), SETTLED_MS);
      assert.equal(faulty.code(), "SIGKILL", faulty.output().slice(-1000));
      await until("another has finished", async () => {
        const move = await moveNow().catch(() => undefined);
        return move?.phase === "" && move.group === to;
      }, SETTLED_MS);
    });
    await cluster.restart(nodeOf("germany").name);
    await settled();
    at = (await moveNow()).group;
    await verify(cluster.client().database("shop").container("orders"), FILL, writers);
  });

test("a move is cancelled, and nothing of it is left", async () => {
  const to = at === "default" ? "trio" : "default";
  const faulty = await arm("move.copy=delay:100");
  await withWriters(async () => {
    assert.equal((await post("/placement/move", { database: "shop", container: "orders", group: to })).status, 202);
    await until("it copies", async () => {
      const answer = await admin(cluster, nodeOf("germany"), "GET", "/placement/moves");
      return answer.json.moves.find(({ container }) => container === "orders")?.copied > 100;
    });
    const again = await post("/placement/move", { database: "shop", container: "orders", group: to });
    assert.equal(again.status, 409);
    assert.equal((await post("/placement/move/cancel", { database: "shop", container: "orders" })).status, 202);
    await until("it is over", async () => (await moveNow())?.phase === "", SETTLED_MS);
    assert.equal((await moveNow()).group, at);
  });
  await faulty.kill();
  await cluster.restart(nodeOf("germany").name);
  await settled();
  await verify(cluster.client().database("shop").container("orders"), FILL, writers);
});
