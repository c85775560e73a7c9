// Residency statements on a real cluster with a fenced group: verify is content
// while documents are written, says what is wrong when something is, and what
// it wrote can be checked when no node runs any more.
import assert from "node:assert/strict";
import { closeSync, cpSync, openSync, readFileSync, readSync, rmSync, writeFileSync, writeSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { Cluster, run, until } from "../sdk/lib.mjs";
import { admin, complaints, inject, logOf, statusOf } from "./lib.mjs";

let cluster, orders, group, statement;

const nodeOf = (region) => cluster.nodes.find((node) => node.region === region);
const file = (name) => path.join(cluster.dir, name);
const verify = async (...args) => {
  const { code, stdout, stderr } = await run(["placement", "verify", "--dir", cluster.dir, "-o", "json", ...args], 120_000);
  assert.equal(stderr, "");
  return { code, ...JSON.parse(stdout) };
};
const check = (name, ...args) => run(["placement", "check", file(name), ...args]);

before(async () => {
  cluster = await Cluster.start({ flags: ["--regions", "germany,france,us", "--consistency", "session"] });
  await until("a group can be made", async () => {
    const { status, json } = await admin(cluster, nodeOf("us"), "POST", "/placement", { name: "eu", regions: ["germany", "france"], shards: 2 });
    assert.ok(status === 201 || status === 503, JSON.stringify(json));
    return status === 201;
  });
  await until("its keys are made", async () => {
    const { json } = await admin(cluster, nodeOf("germany"), "GET", "/placement");
    group = json?.groups?.find(({ name }) => name === "eu");
    return group?.keys_for.length === 2 && group.unavailable === null;
  });
  const endpoint = cluster.info.regions.find(({ name }) => name === "germany").endpoint;
  const client = cluster.client({ endpoint, connectionPolicy: { enableEndpointDiscovery: false } });
  const { database } = await client.databases.create({ id: "shop" });
  const made = await database.containers.create({ id: "orders", partitionKey: "/pk" },
    { initialHeaders: { "x-bastide-placement": "eu" } });
  orders = made.container;
  for (let n = 0; n < 60; n++) await orders.items.create({ id: `i${n}`, pk: `p${n % 9}`, text: "x".repeat(500) });
});
after(() => cluster?.stop());

test("all replicas agree, under load and with a container being dropped", async () => {
  let written = 60, stop = false;
  const load = (async () => {
    while (!stop) {
      await orders.items.create({ id: `i${written}`, pk: `p${written % 9}` });
      written++;
    }
  })();
  await orders.database.containers.create({ id: "gone", partitionKey: "/pk" }, { initialHeaders: { "x-bastide-placement": "eu" } });
  for (let n = 0; n < 30; n++) await orders.database.container("gone").items.create({ id: `g${n}`, pk: `${n}` });
  await orders.database.container("gone").delete();
  const before = written;
  const result = await verify("--out", file("residency.json"));
  stop = true;
  await load;
  assert.deepEqual(result.problems, []);
  assert.equal(result.ok, true);
  assert.equal(result.code, 0);
  const eu = result.groups.find(({ name }) => name === "eu");
  assert.ok(eu.records >= before && eu.records <= written, `${eu.records} of ${before}..${written}`);
  assert.deepEqual(eu.replicas_on.sort(), [nodeOf("germany").name, nodeOf("france").name].sort());
  assert.deepEqual(eu.regions, ["germany", "france"]);
  assert.equal(eu.agree, true);
  assert.ok(result.nodes.every(({ reported }) => reported));
  statement = readFileSync(file("residency.json"), "utf8");
  // No payload, no name.
  for (const name of ["orders", "shop", "xxxx", "gone"]) assert.ok(!statement.includes(name), name);
});

test("one group alone, and as a table", async () => {
  const { groups, code } = await verify("--group", "eu");
  assert.equal(code, 0);
  assert.deepEqual(groups.map(({ name }) => name), ["eu"]);
  const table = await run(["placement", "verify", "--dir", cluster.dir]);
  assert.equal(table.code, 0, table.stdout);
  assert.match(table.stdout, /eu may exist in "germany", "france"/);
  assert.match(table.stdout, /^eu +2 +\d+ +yes +germany-1, france-1$/m);
  const none = await verify("--group", "moon");
  assert.equal(none.code, 1);
  assert.match(none.problems.join("\n"), /no placement group moon/);
});

test("a question is checked", async () => {
  for (const query of ["", "?nonce=short", "?nonce=0123456789abcdef&at=x", "?nonce=0123456789abcdef&at=1:2,1:3", "?nonce=0123456789abcdef&more=1"]) {
    const { status } = await admin(cluster, nodeOf("us"), "GET", `/placement/holdings${query}`);
    assert.equal(status, 400, query);
  }
});

test("a fenced shard's folder outside is reported, wherever it lies", async () => {
  const from = path.join(nodeOf("germany").dir, "data/shards", String(group.first_shard));
  for (const place of [`shards/${group.first_shard}`, `discarded-1/shards/${group.first_shard}`, "backup"]) {
    const to = path.join(nodeOf("us").dir, "data", place);
    cpSync(from, to, { recursive: true });
    const { code, problems } = await verify("--group", "eu");
    rmSync(path.join(nodeOf("us").dir, "data", place.startsWith("discarded") ? "discarded-1" : place), { recursive: true });
    assert.equal(code, 1);
    assert.ok(problems.some((text) => text.includes("us-1 (us) holds") && text.includes(place)), problems.join("\n"));
  }
  assert.equal((await verify("--group", "eu")).code, 0);
});

test("a fenced shard's log outside is reported", async () => {
  const to = path.join(nodeOf("us").dir, "data/discarded-1/wal");
  cpSync(path.join(nodeOf("germany").dir, "data/wal"), to, { recursive: true });
  const { code, problems } = await verify();
  rmSync(path.dirname(to), { recursive: true });
  assert.equal(code, 1);
  assert.match(problems.join("\n"), /us-1 \(us\) holds log entries of shard \d+ in discarded-1\/wal\/0 of group eu outside its fence \(germany, france\)/);
});

test("one flipped bit in one replica's store is found, by shard and bucket", async () => {
  const victim = nodeOf("france"), told = logOf(victim).length;
  await inject(cluster, { kind: "bit-flip", file: "store", at: victim.name });
  const flip = await until("it says where", () =>
    complaints(logOf(victim).slice(told)).find(({ msg }) => /flipped on request/.test(msg)));
  const { code, problems } = await verify();
  const fd = openSync(path.join(flip.folder, flip.file), "r+"), byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, flip.offset);
  byte[0] ^= 1 << flip.bit;
  writeSync(fd, byte, 0, 1, flip.offset);
  closeSync(fd);
  assert.equal(code, 1);
  assert.equal(problems.length, flip.shard === 0 ? 2 : 1, problems.join("\n"));
  for (const text of problems)
    assert.match(text, new RegExp(`^shard ${flip.shard}: .*france-1.* differ at LSN \\d+, in buckets \\d+$`));
  assert.equal((await verify()).code, 0);
});

test("a group's witness may be outside, with nothing in it", async () => {
  const { status, json } = await admin(cluster, nodeOf("us"), "POST", "/placement",
    { name: "pair", regions: ["germany", "france"], shards: 1, witness: "us" });
  assert.equal(status, 201, JSON.stringify(json));
  const pair = await until("its keys are made", async () => {
    const { json: all } = await admin(cluster, nodeOf("germany"), "GET", "/placement");
    const made = all?.groups?.find(({ name }) => name === "pair");
    return made?.keys_for.length === 2 && made.unavailable === null ? made : undefined;
  });
  const { container } = await orders.database.containers.create({ id: "pairs", partitionKey: "/pk" },
    { initialHeaders: { "x-bastide-placement": "pair" } });
  for (let n = 0; n < 20; n++) await container.items.create({ id: `${n}`, pk: `${n}` });
  const { problems, groups } = await verify("--group", "pair");
  assert.deepEqual(problems, []);
  const [{ records, witness, replicas_on: holders }] = groups;
  assert.deepEqual([records, witness, holders.sort()], [20, "us-1", ["france-1", "germany-1"]]);
  // A copy of what the others have is no witness's.
  const to = path.join(nodeOf("us").dir, "data/discarded-1/shards", String(pair.first_shard));
  cpSync(path.join(nodeOf("germany").dir, "data/shards", String(pair.first_shard)), to, { recursive: true });
  const found = await verify("--group", "pair");
  rmSync(path.join(nodeOf("us").dir, "data/discarded-1"), { recursive: true });
  assert.equal(found.code, 1);
});

test("a region that was taken out of a fence has nothing left", async () => {
  const made = await admin(cluster, nodeOf("us"), "POST", "/placement", { name: "wide", regions: ["germany", "france", "us"], shards: 1 });
  assert.equal(made.status, 201, JSON.stringify(made.json));
  const wide = async () => (await admin(cluster, nodeOf("germany"), "GET", "/placement")).json?.groups?.find(({ name }) => name === "wide");
  await until("its keys are made", async () => (await wide())?.keys_for.length === 3);
  const { container } = await orders.database.containers.create({ id: "wides", partitionKey: "/pk" },
    { initialHeaders: { "x-bastide-placement": "wide" } });
  for (let n = 0; n < 20; n++) await container.items.create({ id: `${n}`, pk: `${n}` });
  assert.equal((await verify("--group", "wide")).code, 0);
  const { status, json } = await admin(cluster, nodeOf("us"), "POST", "/placement/regions", { group: "wide", regions: ["germany", "france"] });
  assert.equal(status, 202, JSON.stringify(json));
  await until("the statement says so", async () => {
    const { code, groups } = await verify("--group", "wide");
    return code === 0 && groups[0].regions.length === 2 && !groups[0].replicas_on.includes("us-1");
  });
});

test("a dead member is missing", async () => {
  await cluster.kill(nodeOf("france").name);
  const { code, problems } = await verify("--group", "eu", "--out", file("missing.json"));
  assert.equal(code, 1);
  assert.match(problems.join("\n"), /france-1 \(france\) did not report, so nothing is known of it: /);
  const again = await check("missing.json", "--ca", file("ca.pem"));
  assert.equal(again.code, 1);
  assert.match(again.stdout, /france-1 \(france\) did not report/);
  await cluster.restart(nodeOf("france").name);
  await until("it is back", async () => (await verify("--group", "eu")).code === 0);
});

test("a replica that came by a snapshot has the digest of one that followed the log", async () => {
  const endpoint = cluster.info.regions.find(({ name }) => name === "germany").endpoint;
  const client = cluster.client({ endpoint, connectionPolicy: { enableEndpointDiscovery: false } });
  const { container } = await client.database("shop").containers.create({ id: "large", partitionKey: "/pk" });
  await cluster.kill(nodeOf("france").name);
  // More than is kept in memory for followers, so that only a snapshot helps.
  const told = logOf(nodeOf("germany")).length;
  for (let n = 0; n < 80; n++) await container.items.create({ id: `l${n}`, pk: `${n}`, text: "y".repeat(150_000) });
  await until("what it lacks has left the leader's memory", async () => {
    const { shards } = (await statusOf(cluster)).get(nodeOf("germany").name);
    return shards.filter(({ group, base_lsn: base }) => group === "default" && base > 10).length === 2;
  });
  await cluster.restart(nodeOf("france").name);
  await until("it holds the same", async () => (await verify()).code === 0);
  assert.match(logOf(nodeOf("germany")).slice(told), /sending a snapshot/);
});

test("a statement is checked without any node", async () => {
  await cluster.halt();
  const { code, stdout, stderr } = await check("residency.json", "--ca", file("ca.pem"));
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /Made at 20\d\d-/);
  assert.match(stdout, /all replicas hold the same/);
  const own = await check("residency.json");
  assert.equal(own.code, 0);
  assert.match(own.stdout, /Checked with the CA in the statement itself/);
});

test("any flipped bit is found", async () => {
  const bytes = Buffer.from(statement);
  for (let n = 0; n < 60; n++) {
    const at = Math.floor((n * bytes.length) / 60);
    const changed = Buffer.from(bytes);
    changed[at] ^= 1 << n % 7;
    writeFileSync(file("changed.json"), changed);
    const { code, stderr } = await check("changed.json", "--ca", file("ca.pem"));
    assert.equal(code, 1, `byte ${at}`);
    assert.match(stderr, /changed/);
  }
});
