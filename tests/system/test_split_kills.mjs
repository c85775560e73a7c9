// test-timeout: 300
// The node that leads a split, moves a container and takes the group's writes dies:
// when it has held the container's writes, and again as it is about to retire the old
// shards. The split goes on by itself, and nothing is lost. The first container is one
// that is placed by partition key.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster, until } from "../sdk/lib.mjs";
import { admin, killAlone, startAlone } from "./lib.mjs";
import { Writer, fill, verify } from "./writers.mjs";

const FILL = 200;
const SETTLED_MS = 90_000;
let cluster;
const names = ["mapped", "orders"];
const writers = [];

const nodeOf = (region) => cluster.nodes.find((node) => node.region === region);
const post = (target, body) => admin(cluster, nodeOf("us"), "POST", target, body);
const groupAt = async (node) => (await admin(cluster, node, "GET", "/placement").catch(() => undefined))?.json?.groups?.[0];
const settled = () =>
  until("every node knows that the group works", async () => {
    for (const node of cluster.nodes) {
      const group = await groupAt(node);
      if (!group?.settled || group.unavailable !== null) return false;
    }
    return true;
  }, SETTLED_MS);
before(async () => {
  cluster = await Cluster.start({ flags: ["--regions", "germany,france,us", "--consistency", "session"] });
  const { database } = await cluster.client().databases.create({ id: "shop" });
  const { container: mapped } = await until("maps are understood", () => database.containers.create({ id: "mapped", partitionKey: "/pk" },
    { initialHeaders: { "x-bastide-placement": "/pk: pk*=default" } }).catch(() => undefined));
  const { container: orders } = await database.containers.create({ id: "orders", partitionKey: "/pk" });
  await Promise.all([mapped, orders].map((container) => fill(container, FILL)));
});
after(async () => {
  await killAlone();
  await cluster?.stop();
});

test("the write region's node dies twice, and the split goes on", async () => {
  const germany = nodeOf("germany");
  await cluster.kill(germany.name);
  let faulty = await startAlone(cluster, germany, { BASTIDE_FAULTS: "move.sealed=crash@1" });
  await settled();
  writers.push(...names.map((name) => new Writer(`w-${name}`, cluster.client().database("shop").container(name))));
  await until("the split begins", async () =>
    (await post("/placement/split", { group: "default", shards: 4 })).status === 202, SETTLED_MS, 200);
  for (const next of ["split.retire=crash@1", undefined]) {
    await until("it has died", () => faulty.ended(), SETTLED_MS);
    assert.equal(faulty.code(), "SIGKILL", faulty.output().slice(-1000));
    if (next !== undefined) faulty = await startAlone(cluster, { ...germany, pid: faulty.pid }, { BASTIDE_FAULTS: next });
  }
  await until("the split is over", async () => {
    const group = await groupAt(nodeOf("us"));
    return group?.split === null && group.shards === 4;
  }, SETTLED_MS);
  const then = writers.map(({ writes }) => writes);
  await until("programs go on", () => writers.every(({ writes }, n) => writes > then[n] + 10), SETTLED_MS);
  await Promise.all(writers.map((writer) => writer.stop()));
  await cluster.restart(germany.name);
  await settled();
  for (const [n, name] of names.entries())
    await verify(cluster.client().database("shop").container(name), FILL, [writers[n]]);
});
