// A region comes to a running cluster and another one goes, while programs use
// the SDK: no request fails, the account document names a region when it has
// everything and not before, and kills in the middle cost nothing but time.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster, makeContainer, until } from "../sdk/lib.mjs";
import { admin, command, topologyOf } from "./lib.mjs";

const [A, B, C, D, E] = ["eastus", "westeurope", "southeastasia", "brazilsouth", "japaneast"];
const SEEDS = 200;
let cluster, container;
const node = (name) => cluster.reload().nodes.find((one) => one.name === name);
const regionEndpoint = (region) => cluster.reload().info.regions.find(({ name }) => name === region).endpoint;
const ok = async (...args) => {
  const result = await command(cluster, ...args);
  assert.equal(result.code, 0, `bastide ${args.join(" ")}: ${result.stderr}${result.stdout}`);
  return result.stdout;
};
/** The regions that clients are told of, by a node of region `from`. */
const shown = async (from = A) => {
  const { status, json } = await cluster.request({ endpoint: node(`${from}-1`).endpoint });
  return status === 200 ? json.readableLocations.map(({ name }) => name) : [];
};
const placed = async (from = A) => {
  const { json } = await admin(cluster, node(`${from}-1`), "GET", "/placement");
  return json.groups.find(({ name }) => name === "default");
};
/** How many of the first documents a region's own node gives. */
const seedsAt = async (endpoint) => {
  let found = 0;
  for (let i = 0; i < SEEDS; i += 10) {
    const { status } = await cluster.request({ endpoint, path: `/dbs/${container.database.id}/colls/${container.id}/docs/seed${i}`,
      headers: { "x-ms-documentdb-partitionkey": JSON.stringify([`p${i % 7}`]) } });
    found += status === 200;
  }
  return found;
};

before(async () => {
  cluster = await Cluster.start({ flags: ["--consistency", "session"] });
  container = await makeContainer(cluster.client());
  for (let i = 0; i < SEEDS; i++)
    await container.items.create({ id: `seed${i}`, pk: `p${i % 7}`, text: "x".repeat(2000) });
});
after(() => cluster?.stop());

/** Runs `action` while SDK clients of these regions write and read what they
 *  wrote; answers what failed beyond the SDK's own retries. */
async function underLoad(regions, action) {
  let finished = false;
  const failures = [], done = new Map(regions.map((region) => [region, 0]));
  const worker = async (region, n) => {
    const client = cluster.client({ endpoint: regionEndpoint(region), region, consistencyLevel: "Session" });
    const items = client.database(container.database.id).container(container.id);
    for (let i = 0; !finished; i++) {
      const id = `${region}-${n}-${Date.now()}-${i}`, pk = `p${i % 7}`;
      try {
        await items.items.create({ id, pk, n: i });
        const { resource } = await items.item(id, pk).read();
        if (resource?.n !== i) failures.push(`${id}: read ${JSON.stringify(resource)}`);
        done.set(region, done.get(region) + 1);
      } catch (error) {
        failures.push(`${id}: ${error.code} ${error.message.slice(0, 200)}`);
      }
    }
  };
  const workers = regions.flatMap((region) => [1, 2].map((n) => worker(region, n)));
  try {
    await action(async () => {
      const before = new Map(done);
      await until("every region's clients go on", () => regions.every((region) => done.get(region) > before.get(region) + 5));
    });
  } finally {
    finished = true;
    await Promise.all(workers);
  }
  return failures;
}

test("a region is made ready in the folder, and nothing happens yet", async () => {
  assert.match(await ok("init", "--join", D), new RegExp(`bastide region add ${D}`));
  await ok("init", "--join", D);
  const early = await command(cluster, "region", "add", D, "--yes", "--timeout", "1");
  assert.equal(early.code, 1);
  assert.match(early.stderr, new RegExp(`--start ${D}-1[^]*nothing was changed`));
  assert.match(await ok("demo", "--start", `${D}-1`), /is no member/);
  assert.deepEqual((await placed()).regions, [A, B, C]);
  assert.deepEqual(await shown(), [A, B, C]);
});

test("it comes under load: no request fails, and it is shown when it has everything", async () => {
  let early = "";
  const failures = await underLoad([A, B], async (goesOn) => {
    await goesOn();
    const adding = ok("region", "add", D, "--yes");
    await until("clients are told of it", async () => {
      if (!(await shown()).includes(D)) return false;
      const found = await seedsAt(node(`${D}-1`).endpoint);
      if (found !== SEEDS / 10) early = `${found} of ${SEEDS / 10} documents when it was shown`;
      return true;
    }, 60_000);
    assert.match(await adding, new RegExp(`Region ${D} is in the cluster`));
    await goesOn();
  });
  assert.equal(early, "");
  assert.deepEqual(failures, []);
  const group = await placed();
  assert.deepEqual([group.settled, group.nodes.length, group.coming], [true, 4, []]);
  assert.match(await ok("region", "add", D, "--yes"), /already/);
});

test("programs may use it as their own region", async () => {
  assert.deepEqual(await underLoad([D], (goesOn) => goesOn()), []);
});

test("a region goes under load, and clients are no longer told of it", async () => {
  assert.match(await ok("region", "remove", B, "--dry-run"), new RegExp(`regions that go.*${B}`));
  assert.ok((await shown()).includes(B));
  const failures = await underLoad([A, D], async (goesOn) => {
    await goesOn();
    assert.match(await ok("region", "remove", B, "--yes"), new RegExp(`Region ${B} is out[^]*${B}-1/data`));
    await until("nobody names it", async () => !(await shown()).includes(B) && !(await shown(D)).includes(B));
    await goesOn();
  });
  assert.deepEqual(failures, []);
  assert.deepEqual((await placed()).nodes, [`${A}-1`, `${C}-1`, `${D}-1`]);
  assert.deepEqual((await topologyOf(cluster)).regions.map(({ name }) => name), [A, C, D]);
});

test("the last of the writes' regions stays, and a missing majority is told", async () => {
  const unknown = await command(cluster, "region", "remove", "mars", "--yes");
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /mars is not in the cluster/);
  const last = await command(cluster, "node", "remove", `${A}-1`, "--yes");
  assert.equal(last.code, 1);
  assert.match(last.stderr, /last node of region/);
});

test("the write region goes: the writes move first", async () => {
  const failures = await underLoad([C, D], async (goesOn) => {
    await goesOn();
    await ok("init", "--join", E);
    await ok("demo", "--start", `${E}-1`);
    await ok("region", "add", E, "--yes");
    assert.match(await ok("region", "remove", A, "--yes"), /writes move from eastus to /);
    await goesOn();
  });
  assert.deepEqual(failures, []);
  const topology = await topologyOf(cluster);
  assert.deepEqual([topology.regions.map(({ name }) => name), topology.write_region === A], [[C, D, E], false]);
});

test("kills in the middle cost time only, and an interrupted command is given again", async () => {
  await ok("init", "--join", `${E}:2`);
  await ok("demo", "--start", `${E}-2`);
  await cluster.kill(`${E}-1`);
  const first = await command(cluster, "node", "replace", `${E}-1`, `${E}-2`, "--yes", "--timeout", "1");
  await cluster.kill(`${E}-2`);
  await cluster.restart(`${E}-2`);
  const again = await ok("node", "replace", `${E}-1`, `${E}-2`, "--yes");
  assert.match(first.stdout + again, new RegExp(`Node ${E}-1 is out of the cluster`));
  assert.deepEqual((await placed(C)).nodes, [`${C}-1`, `${D}-1`, `${E}-2`]);
  await until("it gives the documents", async () => (await seedsAt(node(`${E}-2`).endpoint)) === SEEDS / 10);
});

test("a demo that is started again waits for the members alone", async () => {
  await cluster.halt();
  await cluster.launch();
  await until("writes go on", async () => {
    try {
      const items = cluster.client().database(container.database.id).container(container.id).items;
      return (await items.create({ id: "last", pk: "p1" })).statusCode === 201;
    } catch (error) {
      return error.code === 409;
    }
  });
  assert.equal(await seedsAt(node(`${E}-2`).endpoint), SEEDS / 10);
});
