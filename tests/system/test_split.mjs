// test-timeout: 300
// Group default is split from 2 to 4 shards, and a fenced one beside it, while SDK programs write, read, query
// and page, and while the mover of one container dies. No request fails, nothing is
// lost or double, tokens from before go on, and the old shards leave nothing.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { Cluster, run, until } from "../sdk/lib.mjs";
import { admin, killAlone, startAlone, statusOf } from "./lib.mjs";
import { Writer, fill, verify } from "./writers.mjs";

const FILL = 300;
const ESSENTIALS = { connectionPolicy: { enableEndpointDiscovery: false } };
let cluster, client, dying;
const containers = {};

const nodeOf = (region) => cluster.nodes.find((node) => node.region === region);
const regionOf = (name) => cluster.info.regions.find((region) => region.name === name);
const post = (target, body, node = nodeOf("germany")) => admin(cluster, node, "POST", target, body);
const groups = async () => (await admin(cluster, nodeOf("germany"), "GET", "/placement")).json.groups;
const rangesOf = async (name) => (await cluster.request({ path: `/dbs/shop/colls/${name}/pkranges` })).json.PartitionKeyRanges;
/* Which of the filled documents were met; each once. */
class Seen {
  constructor() { this.ids = new Set(); }
  add(documents) {
    for (const { id } of documents ?? []) {
      if (!id.startsWith("fill-")) continue; // a writer's
      assert.ok(!this.ids.has(id), `${id} is met twice`);
      this.ids.add(id);
    }
  }
  complete() { assert.equal(this.ids.size, FILL); }
}
const feed = (name, range, continuation, more = {}) =>
  cluster.request({ path: `/dbs/shop/colls/${name}/docs`,
    headers: { "x-ms-max-item-count": "20", ...(range !== undefined && { "x-ms-documentdb-partitionkeyrangeid": range }),
      ...(continuation && { "x-ms-continuation": continuation }), ...more } });

before(async () => {
  cluster = await Cluster.start({ flags: ["--regions", "germany,france,us", "--consistency", "session"] });
  client = cluster.client({ endpoint: regionOf("germany").endpoint, ...ESSENTIALS });
  const { database } = await until("databases can be made", () => client.databases.create({ id: "shop" }).catch(() => undefined));
  // Moved one after the other, by one node each: germany's, france's, ...
  for (const id of ["orders", "items", "none"])
    ({ container: containers[id] } = await database.containers.create({ id, partitionKey: "/pk" }));
  await until("groups can be made", async () =>
    (await post("/placement", { name: "eu", regions: ["germany", "us"], shards: 1 })).status === 201);
  await until("eu works", async () => (await groups()).find(({ name }) => name === "eu")?.unavailable === null);
  containers.fenced = (await until("eu can be used", () => database.containers.create({ id: "fenced", partitionKey: "/pk" },
    { initialHeaders: { "x-bastide-placement": "eu" } }).catch(() => undefined))).container;
  await Promise.all(Object.values(containers).filter(({ id }) => id !== "none").map((container) => fill(container, FILL)));
  // The mover of items dies on its second page.
  const france = nodeOf("france");
  await cluster.kill(france.name);
  dying = await startAlone(cluster, france, { BASTIDE_FAULTS: "move.copy=crash@2" });
});
after(async () => {
  await killAlone();
  await cluster?.stop();
});

test("what cannot be is refused, with the reason, and a preview changes nothing", async () => {
  await until("the cluster may split", async () => (await post("/placement/split", { group: "default", shards: 4, dry_run: true })).status === 200);
  for (const [body, status, says] of [
    [{ group: "moon", shards: 4 }, 404, /name a placement group/],
    [{ group: "default", shards: 3 }, 400, /a multiple of that/],
    [{ group: "default", shards: 2 }, 400, /a multiple of that/],
    [{ group: "default", shards: 5000 }, 400, /from 1 to/],
    [{ group: "default", shards: 4, force: true }, 400, /unknown or repeated/],
  ]) {
    const answer = await post("/placement/split", body);
    assert.equal(answer.status, status, JSON.stringify(answer.json));
    assert.match(answer.json.message, says);
  }
  const { json } = await post("/placement/split", { group: "default", shards: 4, dry_run: true });
  assert.deepEqual(json, { group: "default", from: 2, to: 4, containers: 3 });
  const preview = await run(["placement", "split", "default", "--shards", "4", "--dry-run", "--dir", cluster.dir]);
  assert.match(preview.stdout, /has 2 shards and gets 4; its containers \(3\)/);
  const unasked = await run(["placement", "split", "default", "--shards", "4", "--dir", cluster.dir]);
  assert.equal(unasked.code, 2, "nobody is there to be asked");
  for (const { split } of await groups()) assert.equal(split, null);
});

test("it is split under load; no request fails, and tokens from before go on", async () => {
  const writers = ["orders", "items"].map((name) => new Writer(`w-${name}`, containers[name]));
  await until("they write", () => writers.every(({ writes }) => writes > 5));
  const before = await rangesOf("orders");
  assert.deepEqual(before.map(({ id, parents }) => [id, parents]), [["0", []], ["1", []]]);
  // Half-way: the SDK's feed and its queries, and raw requests with one range's and
  // the whole container's tokens.
  const iterators = [
    containers.orders.items.readAll({ maxItemCount: 20 }),
    containers.orders.items.query("SELECT * FROM c", { maxItemCount: 20 }),
    containers.orders.items.query("SELECT * FROM c ORDER BY c.id", { maxItemCount: 20 }),
  ].map((iterator) => ({ iterator, seen: new Seen() }));
  for (const { iterator, seen } of iterators) for (let n = 0; n < 3; n++) seen.add((await iterator.fetchNext()).resources);
  const whole = new Seen(), ranged = [new Seen(), new Seen()], tokens = [];
  let token = (await feed("orders")).headers["x-ms-continuation"];
  whole.add((await feed("orders")).json.Documents);
  for (const n of [0, 1]) {
    const page = await feed("orders", String(n));
    ranged[n].add(page.json.Documents);
    tokens.push(page.headers["x-ms-continuation"]);
  }
  const written = await containers.orders.items.upsert({ id: "session", pk: "pk-1", v: 1 });
  const session = written.headers["x-ms-session-token"];

  const command = await run(["placement", "split", "default", "--shards", "4", "--yes", "--no-wait", "--dir", cluster.dir]);
  assert.equal(command.code, 0, command.stderr);
  assert.match(command.stdout, /Being split: \d of \d containers are left in shards 1 to 2/);
  assert.equal((await post("/placement/split", { group: "eu", shards: 3 })).status, 202);
  const again = await post("/placement/split", { group: "default", shards: 8 });
  assert.equal(again.status, 409);
  assert.match(again.json.message, /being split already/);
  await until("the mover of items has died", () => dying.ended(), 60_000);
  await until("orders and items are split", async () =>
    (await rangesOf("orders")).length === 4 && (await rangesOf("items")).length === 4, 90_000);

  assert.deepEqual((await rangesOf("orders")).map(({ id, parents }) => [id, parents]),
    [["2", ["0"]], ["3", ["0"]], ["4", ["1"]], ["5", ["1"]]]);
  const gone = await feed("orders", "0", tokens[0]);
  assert.deepEqual([gone.status, gone.headers["x-ms-substatus"]], [410, "1002"]);
  for (const { iterator, seen } of iterators) {
    while (iterator.hasMoreResults()) seen.add((await iterator.fetchNext()).resources);
    seen.complete();
  }
  for (; token; ) {
    const page = await feed("orders", undefined, token);
    assert.equal(page.status, 200, page.text);
    whole.add(page.json.Documents);
    token = page.headers["x-ms-continuation"];
  }
  whole.complete();
  for (const n of [0, 1])
    for (const child of [2 * n + 2, 2 * n + 3])
      for (let next = tokens[n]; next; ) {
        const page = await feed("orders", String(child), next);
        assert.equal(page.status, 200, page.text);
        ranged[n].add(page.json.Documents);
        next = page.headers["x-ms-continuation"];
      }
  assert.equal(ranged[0].ids.size + ranged[1].ids.size, FILL);
  const read = await cluster.request({ path: "/dbs/shop/colls/orders/docs/session", endpoint: regionOf("us").endpoint,
    headers: { "x-ms-documentdb-partitionkey": '["pk-1"]', "x-ms-session-token": session } });
  assert.equal(read.status, 200, read.text);
  const then = writers.map(({ writes }) => writes);
  await until("they go on", () => writers.every(({ writes }, n) => writes > then[n] + 10), 60_000);
  await Promise.all(writers.map((writer) => writer.stop()));
  for (const { failed, longest_ms, name } of writers) {
    console.log(name, "longest request", longest_ms, "ms");
    assert.deepEqual(failed, []);
  }
  await containers.orders.item("session", "pk-1").delete();
  await verify(containers.orders, FILL, [writers[0]]);
  await verify(containers.items, FILL, [writers[1]]);
});

test("the old shards leave neither files nor log, also where a node was down; all replicas agree", async () => {
  await until("the splits are over", async () => (await groups()).every(({ split }) => split === null), 90_000);
  assert.equal((await rangesOf("fenced")).length, 3);
  await verify(containers.fenced, FILL, []);
  await cluster.restart(nodeOf("france").name);
  const shards = (node) => [1, 2, 3].filter((id) => existsSync(path.join(node.dir, "data/shards", String(id))));
  await until("files are gone everywhere", () => cluster.nodes.every((node) => shards(node).length === 0), 60_000);
  await until("and the log's records", () => cluster.nodes.every((node) => {
    const log = readFileSync(path.join(node.dir, "node.log"), "utf8");
    return [1, 2].every((id) => new RegExp(`nothing of a shard is left in the log.*shard=${id}\\b|"shard":${id}\\b.*nothing of a shard|nothing of a shard[^\\n]*"shard":${id}\\b`).test(log));
  }), 60_000);
  await until("all nodes are in", async () => (await statusOf(cluster)).size === cluster.nodes.length);
  let verified;
  await until("all replicas agree", async () => {
    verified = await run(["placement", "verify", "--dir", cluster.dir]);
    return verified.code === 0;
  }, 30_000).catch(() => {});
  assert.equal(verified.code, 0, verified.stdout + verified.stderr);
  const shown = await run(["placement", "show", "default", "--dir", cluster.dir, "-o", "json"]);
  assert.deepEqual(JSON.parse(shown.stdout).shards.map(({ shard }) => shard), [4, 5, 6, 7]);
});
