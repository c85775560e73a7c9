// The level becomes strong while the write region is being lost: shards that
// still go by the rule of that region cannot elect without it, so the change
// must not stand in the way of the failover.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster, makeContainer } from "../sdk/lib.mjs";
import { Documents, command, untilTopology } from "./lib.mjs";

const [A, B] = ["eastus", "westeurope"];

let cluster, documents;
before(async () => {
  cluster = await Cluster.start({ flags: ["--consistency", "session"] });
  documents = new Documents(cluster, await makeContainer(cluster.client()));
});
after(() => {
  documents?.close();
  return cluster?.stop();
});

test("a write region that dies as the level becomes strong is replaced", async () => {
  const lost = cluster.nodes.filter(({ region }) => region === A);
  await Promise.all(lost.map(({ name }) => cluster.kill(name)));
  await command(cluster, "consistency", "set", "strong");
  const t = await untilTopology(cluster, `writes go to ${B}`, (now) => now.write_region === B && now.settled, 20_000);
  assert.equal(t.level, "Strong");
  const end = Date.now() + 20_000;
  const { ids, refused } = await documents.write(({ ids: made }) => made.length >= 20 || Date.now() > end, { writers: 2 });
  assert.ok(ids.length >= 20, `${ids.length} written: ${refused.at(-1)?.text}`);
});
