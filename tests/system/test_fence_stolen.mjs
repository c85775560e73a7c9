// Stolen files: whoever has all that a node of the fence keeps on its disk (log
// segments, stores, the catalog with the wrapped keys), certificates and the
// key-encryption key included, but not its region's key, opens nothing of the
// group. The thief is the node's own program on the node's own folder, with the
// key of another region, and with none; its memory is searched for the texts.
// Nor do the group's other nodes give it anything over the links, whatever the
// thief's program would like to ask and take: a certificate is not enough.
import assert from "node:assert/strict";
import { copyFileSync, existsSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { Cluster, program, until } from "../sdk/lib.mjs";
import { admin, killAlone, startAlone, statusOf } from "./lib.mjs";
import { Search, marker } from "./leaks.mjs";
import { scrape } from "./metrics.mjs";

const openable = process.env.TEST_FENCE_BASTIDE || path.join(path.dirname(program), "tests/fence/bastide");
const DOCS = "/dbs/shop/colls/orders/docs", COUNT = 20;
const text = marker("Secret"), open = marker("Public");
let cluster;
const nodeOf = (region) => cluster.nodes.find((node) => node.region === region);
const keyOf = (region) => path.join(nodeOf(region).dir, "region.key");
const read = (region, target, pk) => cluster.request({ path: target, endpoint: nodeOf(region).endpoint,
  headers: { "x-ms-documentdb-partitionkey": JSON.stringify([pk]), "x-ms-consistency-level": "Eventual" } });

before(async () => {
  cluster = await Cluster.start({ flags: ["--regions", "germany,france,us", "--consistency", "session"] });
  await until("the group is made", async () =>
    (await admin(cluster, nodeOf("us"), "POST", "/placement", { name: "eu", regions: ["germany", "france"], shards: 1 })).status === 201);
  const { database } = await cluster.client().databases.create({ id: "shop" });
  const { container } = await database.containers.create({ id: "everywhere", partitionKey: "/pk" });
  await container.items.create({ id: "d", pk: "p", text: open });
  await database.containers.create({ id: "orders", partitionKey: "/pk" }, { initialHeaders: { "x-bastide-placement": "eu" } });
  const inside = cluster.client({ endpoint: nodeOf("germany").endpoint, connectionPolicy: { enableEndpointDiscovery: false } })
    .database("shop").container("orders");
  for (let n = 0; n < COUNT; n++)
    await until(`document ${n} is written`, async () => {
      try {
        await inside.items.create({ id: `${n}`, pk: "p", text });
        return true;
      } catch (error) {
        assert.ok([503, 408, 409, 404].includes(error.code), String(error));
        return error.code === 409;
      }
    });
});
after(async () => {
  await killAlone();
  await cluster?.stop();
});

const shardAt = async (region) => (await statusOf(cluster)).get(nodeOf(region).name)?.shards.find(({ group }) => group === "eu");

test("the node's disk has all of the group, in its store and in its log", async () => {
  await admin(cluster, nodeOf("germany"), "POST", "/scrub", {}); // which flushes it
  await until("the store has it, too", async () => {
    const shard = await shardAt("germany");
    return shard?.lsn > COUNT && shard.flushed_lsn === shard.lsn;
  }, 60_000);
  assert.equal((await read("germany", `${DOCS}/7`, "p")).status, 200);
  const files = readdirSync(nodeOf("germany").dir, { recursive: true });
  assert.ok(files.some((name) => /\.mdb$/.test(name)) && files.some((name) => /wal|log/.test(name)), files.join(" "));
});

test("with another region's key the program does not even start on them", async () => {
  await cluster.kill(nodeOf("germany").name);
  renameSync(keyOf("germany"), `${keyOf("germany")}.safe`);
  copyFileSync(keyOf("us"), keyOf("germany"));
  const thief = await startAlone(cluster, nodeOf("germany"));
  assert.ok(thief.ended() && thief.code() !== 0, thief.output());
  assert.match(thief.output(), /region/);
});

/** The node without its region's key, in its file and in its settings. It never
 *  says that it is ready: it cannot serve the group. */
async function startThief(by, env) {
  const thief = await startAlone(cluster, nodeOf("germany"), env, { waitReady: false, by });
  await readsWhatIsOpen(thief);
  return thief;
}
const readsWhatIsOpen = (thief) => until("it reads group default", async () => {
  assert.ok(!thief.ended(), thief.output());
  try {
    const { status, text: answer } = await read("germany", "/dbs/shop/colls/everywhere/docs/d", "p");
    return status === 200 && answer.includes(open);
  } catch (error) {
    if (error.code !== "ECONNREFUSED") throw error;
    return false;
  }
});
const queryAll = () => cluster.request({ method: "POST", path: DOCS, endpoint: nodeOf("germany").endpoint,
  body: JSON.stringify({ query: "SELECT * FROM c" }), headers: { "content-type": "application/query+json",
    "x-ms-documentdb-isquery": "true", "x-ms-documentdb-query-enablecrosspartition": "true", "x-ms-consistency-level": "Eventual" } });
/** Nothing of the fence is in its memory, where the same search finds what it
 *  could open a moment ago. */
async function remembersNothing(t, thief) {
  const closed = new Search().addMarker(text).inMemory(thief.pid);
  await readsWhatIsOpen(thief);
  const known = new Search().addMarker(open).inMemory(thief.pid);
  if (closed === undefined) t.diagnostic("THE MEMORY OF THE THIEF WAS NOT SEARCHED: not permitted here");
  else {
    assert.deepEqual(closed.found, []);
    assert.ok(known.found.length > 0, "the same search finds what it could open");
  }
}

let settings;
const settingsFile = () => path.join(nodeOf("germany").dir, "node.yaml");

test("without a region's key it opens what is in group default, and nothing of the fence", async (t) => {
  settings = readFileSync(settingsFile(), "utf8");
  rmSync(keyOf("germany"));
  writeFileSync(settingsFile(), `${settings.replace(/^ +key: "[0-9a-f]{64}"\n/gm, "")}\ntimeouts:\n  request_ms: 2000\n`);
  assert.doesNotMatch(readFileSync(settingsFile(), "utf8"), / key: "/);
  const thief = await startThief();
  for (let n = 0; n < COUNT; n++) {
    const answer = await read("germany", `${DOCS}/${n}`, "p");
    assert.ok(answer.status >= 400, answer.text);
    assert.ok(!answer.text.includes(text));
  }
  const query = await queryAll();
  assert.equal(query.status, 503, query.text);
  assert.match(query.text, /does not hold the keys/);
  await remembersNothing(t, thief);
  await thief.kill();
});

test("with a program that asks for it all the same it is given nothing", { skip: existsSync(openable) ? false : `${openable} is not built` },
  async (t) => {
    const thief = await startThief(openable, { TEST_FENCE_OPEN: "send,receive,api,snapshot,membership" });
    const of = async (name, labels) => (await scrape(cluster, nodeOf("france"))).get(name, labels);
    await until("its link to france is up, without a proof", async () =>
      (await of("bastide_link_up", { peer: nodeOf("germany").name, peer_region: "germany" })) === 1);
    assert.equal(await of("bastide_link_region_proved", { peer: nodeOf("germany").name, peer_region: "germany" }), 0);
    assert.equal(await of("bastide_link_region_proved", { peer: nodeOf("us").name, peer_region: "us" }), 1);
    const query = await queryAll();
    assert.ok(query.status >= 400 && !query.text.includes(text), query.text);
    assert.ok((await of("bastide_fence_refusals_total", { wall: "receive", group: "eu" })) > 0);
    await remembersNothing(t, thief);
    const record = await until("france has written that down", async () => {
      const { json } = await admin(cluster, nodeOf("france"), "GET", "/audit?max=100");
      return json.records.find(({ what }) => /has not shown the region's key/.test(what));
    });
    assert.match(record.who, /region\/germany\/node\//);
    await thief.kill();
  });

test("with the region's own key everything is there", async (t) => {
  writeFileSync(settingsFile(), settings);
  renameSync(`${keyOf("germany")}.safe`, keyOf("germany"));
  const rightful = await startAlone(cluster, nodeOf("germany"));
  await until("its documents are read", async () => {
    const { status, text: answer } = await read("germany", `${DOCS}/7`, "p");
    return status === 200 && answer.includes(text);
  });
  const secret = new Search().addMarker(text).inMemory(rightful.pid);
  if (secret === undefined) t.diagnostic("memory was not searched");
  else assert.ok(secret.found.length > 0, "the search finds it where it is opened");
});
