// The regions of a fenced group are cut off from the rest of the cluster, among
// it every majority: inside the fence writes and reads go on, since nothing
// that they need is outside; what is in group default stops there.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster, until } from "../sdk/lib.mjs";
import { admin, heal, inject, statusOf } from "./lib.mjs";

const INSIDE = ["germany", "france"], OUTSIDE = ["us", "brazil", "japan"];
let cluster;
const nodeOf = (region) => cluster.nodes.find((node) => node.region === region);
const at = (region, rest = {}) =>
  cluster.client({ endpoint: nodeOf(region).endpoint, connectionPolicy: { enableEndpointDiscovery: false, retryOptions: { maxRetryAttemptCount: 0 } }, ...rest })
    .database("shop");

before(async () => {
  cluster = await Cluster.start({ flags: ["--regions", [...INSIDE, ...OUTSIDE].join(), "--consistency", "session"] });
  await until("the group is made", async () => {
    const { status } = await admin(cluster, nodeOf("us"), "POST", "/placement", { name: "eu", regions: INSIDE, shards: 2, level: "Strong" });
    return status === 201;
  });
  const { database } = await cluster.client().databases.create({ id: "shop" });
  await database.containers.create({ id: "inside", partitionKey: "/pk" }, { initialHeaders: { "x-bastide-placement": "eu" } });
  await database.containers.create({ id: "everywhere", partitionKey: "/pk" });
  await until("the group takes writes", async () => {
    try {
      await at("germany").container("inside").items.create({ id: "first", pk: "p" });
      return true;
    } catch (error) {
      assert.ok([503, 408, 409, 404].includes(error.code), String(error));
      return error.code === 409;
    }
  });
});
after(() => cluster?.stop());

test("a request may be as strong as its group, though the account is weaker", async () => {
  const container = at("france", { consistencyLevel: "Strong" }).container("inside");
  assert.equal((await container.item("first", "p").read()).resource.id, "first");
  await assert.rejects(at("france", { consistencyLevel: "Strong" }).container("everywhere").item("first", "p").read(),
    (error) => error.code === 400 && /account's level is Session/.test(error.message));
});

test("inside the fence it goes on, elsewhere it stops", async () => {
  for (const from of INSIDE)
    for (const to of OUTSIDE) await inject(cluster, { kind: "cut", from, to, both: true });
  await until("those inside know that they are cut off", async () => {
    try {
      await at("germany").container("everywhere").items.create({ id: "x", pk: "p" });
      return false;
    } catch (error) {
      return [503, 403].includes(error.code) && /cut off|contact/.test(error.message);
    }
  });
  for (const region of INSIDE) {
    const items = at(region).container("inside");
    for (let n = 0; n < 10; n++) await items.items.create({ id: `${region}-${n}`, pk: `p${n}` });
    assert.equal((await items.item("first", "p").read()).resource.id, "first");
  }
  const { resources } = await at("france").container("inside").items.query("SELECT VALUE COUNT(1) FROM c").fetchAll();
  assert.deepEqual(resources, [21]);
  // A client that begins now, and wants everything strong.
  const strong = at("france", { consistencyLevel: "Strong" }).container("inside").items;
  assert.deepEqual((await strong.query("SELECT VALUE COUNT(1) FROM c WHERE c.pk = 'p0'").fetchAll()).resources, [2]);
  assert.deepEqual((await strong.query("SELECT VALUE COUNT(1) FROM c").fetchAll()).resources, [21]);
  // Those outside, who are the majority, have moved default's writes to them.
  await until("default goes on outside", async () => {
    try {
      await at("us").container("everywhere").items.create({ id: "y", pk: "p" });
      return true;
    } catch (error) {
      assert.ok([503, 408, 403, 409].includes(error.code), String(error));
      return error.code === 409;
    }
  });
});

test("healed, all go on everywhere, and nothing was lost", async () => {
  await heal(cluster);
  await until("germany is part of the cluster again", async () => {
    try {
      const { resources } = await at("germany").container("everywhere").items.query("SELECT VALUE c.id FROM c").fetchAll();
      return resources.includes("y");
    } catch {
      return false;
    }
  });
  const { resources } = await at("germany").container("inside").items.query("SELECT VALUE COUNT(1) FROM c").fetchAll();
  assert.deepEqual(resources, [21]);
  assert.ok([...(await statusOf(cluster)).values()].length === cluster.nodes.length);
});
