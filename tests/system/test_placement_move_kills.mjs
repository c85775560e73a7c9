// test-timeout: 400
// The mover of a container, or of what one that is placed by partition key has in a
// group, is killed at every step, and another takes over; a move is cancelled. Programs
// write meanwhile.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster, until } from "../sdk/lib.mjs";
import { admin, killAlone, startAlone, statusOf } from "./lib.mjs";
import { Writer, fill, verify } from "./writers.mjs";

const FILL = 600;
const SETTLED_MS = 90_000;
let cluster;
/* What is moved: its writers, where it is, and what a move of it names besides. */
const orders = { container: "orders", writers: [], at: "default", more: () => ({}) };
const mapped = { container: "mapped", writers: [], at: "default", more: () => ({ from: mapped.at }) };

const nodeOf = (region) => cluster.nodes.find((node) => node.region === region);
const asking = () => nodeOf("us");
const post = (target, body) => admin(cluster, asking(), "POST", target, body);
const moveNow = async (what) =>
  (await admin(cluster, asking(), "GET", "/placement/moves")).json?.moves?.find(({ container }) => container === what.container);
const order = (what, group) => post("/placement/move", { database: "shop", container: what.container, group, ...what.more() });
const documents = ({ container }) => cluster.client().database("shop").container(container);
const groups = async () => (await admin(cluster, asking(), "GET", "/placement")).json.groups;

before(async () => {
  cluster = await Cluster.start({ flags: ["--regions", "germany,france,us", "--consistency", "session"] });
  await until("groups can be made", async () =>
    (await post("/placement", { name: "trio", regions: ["germany", "france", "us"], shards: 2 })).status === 201);
  await until("trio works", async () => (await groups()).find(({ name }) => name === "trio")?.unavailable === null);
  const { database } = await cluster.client().databases.create({ id: "shop" });
  await database.containers.create({ id: "orders", partitionKey: "/pk" });
  await until("maps are understood", () => database.containers.create({ id: "mapped", partitionKey: "/pk" },
    { initialHeaders: { "x-bastide-placement": "/pk: pk*=default" } }).catch(() => undefined));
  await Promise.all([orders, mapped].map((what) => fill(documents(what), FILL)));
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

async function withWriters(what, during) {
  const mine = [0, 1].map((n) => new Writer(`w${what.writers.length}-${n}`, documents(what)));
  what.writers.push(...mine);
  try {
    await during(mine);
    const then = mine.map(({ writes }) => writes);
    await until("they go on", () => mine.every(({ writes }, n) => writes > then[n] + 10), SETTLED_MS);
  } finally {
    await Promise.all(mine.map((writer) => writer.stop()));
  }
}

for (const [what, point] of [[orders, "move.copy=crash@4"], [orders, "move.sealed=crash@1"], [mapped, "move.gone=crash@1"],
  [orders, "move.switching=crash@1"], [orders, "move.emptying=crash@1"]])
  test(`the mover of ${what.container} dies at ${point}`, async () => {
    const to = what.at === "default" ? "trio" : "default";
    const faulty = await arm(point);
    await withWriters(what, async () => {
      assert.equal((await order(what, to)).status, 202);
      await until("it has died", () => faulty.ended(), SETTLED_MS);
      assert.equal(faulty.code(), "SIGKILL", faulty.output().slice(-1000));
      await until("another has finished", async () => {
        const move = await moveNow(what).catch(() => undefined);
        return move?.phase === "" && move.group === to;
      }, SETTLED_MS);
    });
    await cluster.restart(nodeOf("germany").name);
    await settled();
    what.at = (await moveNow(what)).group;
    await verify(documents(what), FILL, what.writers);
  });

for (const what of [orders, mapped]) test(`a move of ${what.container} is cancelled, and nothing of it is left`, async () => {
  const to = what.at === "default" ? "trio" : "default";
  const faulty = await arm("move.copy=delay:100");
  await withWriters(what, async () => {
    assert.equal((await order(what, to)).status, 202);
    await until("it copies", async () => {
      const answer = await admin(cluster, nodeOf("germany"), "GET", "/placement/moves");
      return answer.json.moves.find(({ container }) => container === what.container)?.copied > 100;
    });
    assert.equal((await order(what, to)).status, 409);
    assert.equal((await post("/placement/move/cancel", { database: "shop", container: what.container })).status, 202);
    await until("it is over", async () => (await moveNow(what))?.phase === "", SETTLED_MS);
    assert.equal((await moveNow(what)).group, what.at);
  });
  await faulty.kill();
  await cluster.restart(nodeOf("germany").name);
  await settled();
  await verify(documents(what), FILL, what.writers);
});
