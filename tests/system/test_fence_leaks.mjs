// test-timeout: 400
// Nothing of what clients write in a fenced group is found outside of it: not in
// files, logs, answers or memory of a node outside, and in no frame to it. Ids,
// partition keys, names and values of documents are markers; errors that might
// quote them are provoked, the group fails over, a region comes back by a
// snapshot. The frames are those that a test build shows before TLS
// (tests/lib/links_dump.c); they also say how the documents look sealed, which is
// searched as well. With the walls open the same search finds it. What the nodes
// say to each other is recorded on the wire, too: all of it is TLS.
//
// What a client itself sends to a node outside is in that node's memory while it
// is answered, so this is done last, after the memory was searched; of that, too,
// nothing may be in files, answers of the node, or frames.
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { afterEach, test } from "node:test";
import { Cluster, program, until } from "../sdk/lib.mjs";
import { admin, inject, logOf, statusOf } from "./lib.mjs";
import { Search, marker, payloadsOf, windowsOf } from "./leaks.mjs";
import { Recorder, whyNoRecording } from "./recorder.mjs";

const openable = process.env.TEST_FENCE_BASTIDE || path.join(path.dirname(program), "tests/fence/bastide");
const skip = existsSync(openable) ? false : `${openable} is not built`;
const DOCUMENTS = 20;
const LARGE = 20; // documents of about 150 kB
const LARGE_MOST = 400;
const DOCS = "/dbs/shop/colls/orders/docs";
let cluster, dumps, shard, recorder;

afterEach(async () => {
  for (const name of ["TEST_FENCE_OPEN", "TEST_LINK_DUMP", "BASTIDE_LOG_LEVEL"]) delete process.env[name];
  await recorder?.stop();
  await cluster?.stop();
  cluster = recorder = undefined;
  rmSync(dumps, { recursive: true, force: true });
});

const nodeOf = (region) => cluster.nodes.find((node) => node.region === region);
const groupAt = async (region) =>
  (await admin(cluster, nodeOf(region), "GET", "/placement")).json.groups.find(({ name }) => name === "eu");
const shardAt = async (region) =>
  (await statusOf(cluster)).get(nodeOf(region).name)?.shards.find(({ group }) => group === "eu");

async function start({ witness, open = "" } = {}) {
  dumps = mkdtempSync(path.join(os.tmpdir(), "bastide-dumps-"));
  Object.assign(process.env, { TEST_FENCE_OPEN: open, TEST_LINK_DUMP: dumps, BASTIDE_LOG_LEVEL: "debug" });
  cluster = await Cluster.start({ program: openable, flags: ["--regions", "germany,france,us", "--consistency", "session"] });
  await until("the group is made", async () => {
    const { status, json } = await admin(cluster, nodeOf("us"), "POST", "/placement",
      { name: "eu", regions: ["germany", "france"], shards: 1, ...(witness && { witness }) });
    assert.ok(status === 201 || status === 503, `${status} ${JSON.stringify(json)}`);
    return status === 201;
  });
  await until("it takes writes", async () => {
    const group = await groupAt("germany");
    shard = group?.first_shard;
    return group?.keys_for.length === 2 && group.unavailable === null;
  });
  const client = cluster.client({ endpoint: nodeOf("germany").endpoint, connectionPolicy: { enableEndpointDiscovery: false } });
  const { database } = await client.databases.create({ id: "shop" });
  await database.containers.create({ id: "orders", partitionKey: "/pk" }, { initialHeaders: { "x-bastide-placement": "eu" } });
}

/** The texts of a client, no two alike. */
const markers = () => ({ id: marker("Id"), pk: marker("Pk"), name: marker("Name"), value: marker("Value"), query: marker("Query") });
const searchFor = (...texts) => texts.flatMap(Object.values).reduce((search, text) => search.addMarker(text), new Search());
const documentOf = (texts, n) =>
  ({ id: `${texts.id}-${n}`, pk: `${texts.pk}-${n % 3}`, [texts.name]: `${texts.value} ${n}`, deep: [{ [texts.name]: texts.value }] });

function ask(region, method, target, { pk, body, headers = {} } = {}) {
  return cluster.request({ method, path: target, endpoint: nodeOf(region).endpoint,
    body: body === undefined || typeof body === "string" ? body : JSON.stringify(body),
    headers: { ...(pk !== undefined && { "x-ms-documentdb-partitionkey": JSON.stringify([pk]) }), ...headers } });
}
const query = (region, text, parameters = [], headers = {}) =>
  ask(region, "POST", DOCS, { body: { query: text, parameters }, headers: {
    "content-type": "application/query+json", "x-ms-documentdb-isquery": "true",
    "x-ms-documentdb-query-enablecrosspartition": "true", ...headers } });
const create = (region, document) => ask(region, "POST", DOCS, { pk: document.pk, body: document });

/** A write that waits for a leader. */
const created = (region, document) => until(`${document.id.slice(0, 8)} is written`, async () => {
  const { status, text } = await create(region, document);
  assert.ok([201, 409, 503, 408, 429, 449].includes(status), `${status} ${text.slice(0, 200)}`);
  return status === 201 || status === 409;
}, 40_000, 100);

/** Everything a client may do wrong, so that an error could quote it. */
async function provoke(region, texts, expect) {
  const first = documentOf(texts, 0), item = `${DOCS}/${first.id}`;
  const answers = {
    conflict: [409, create(region, first)],
    missing: [404, ask(region, "GET", `${DOCS}/${texts.id}-none`, { pk: first.pk })],
    syntax: [400, query(region, `SELECT * FROM c WHERE c.${texts.name} = = '${texts.query}'`)],
    unknown: [400, query(region, `SELECT ${texts.query}(c.${texts.name}) FROM c`)],
    precondition: [412, ask(region, "PUT", item, { pk: first.pk, body: first, headers: { "if-match": `"${texts.query}"` } })],
    large: [413, create(region, { ...first, [texts.value]: texts.value.repeat(120_000) })],
    wrongKey: [400, ask(region, "POST", DOCS, { pk: texts.pk, body: { ...first, pk: `${texts.pk}-other` } })],
    notJson: [400, ask(region, "POST", DOCS, { pk: first.pk, body: `{"id":"${first.id}","${texts.name}":` })],
    notAnId: [400, create(region, { ...first, id: `${texts.id}/${texts.id}` })],
  };
  for (const [what, [status, answer]] of Object.entries(answers)) {
    const got = await answer;
    expect(what, status, got);
  }
}
const inside = (what, status, got) => assert.equal(got.status, status, `${what}: ${got.text.slice(0, 300)}`);

/** Documents by both regions, reads, pages of queries, and errors. */
async function use(texts) {
  for (let n = 0; n < DOCUMENTS; n++) await created(n % 2 ? "germany" : "france", documentOf(texts, n));
  for (const region of ["germany", "france"]) {
    await provoke(region, texts, inside);
    const page = await query(region, `SELECT * FROM c WHERE c["${texts.name}"] >= @low ORDER BY c["${texts.name}"]`,
      [{ name: "@low", value: texts.value }], { "x-ms-max-item-count": "2" });
    assert.ok([200, 400].includes(page.status), page.text); // some queries are the SDK's to put together
  }
}

const dumped = (from, to) => readdirSync(dumps).filter((name) => {
  const [sender, receiver] = name.split("+");
  return sender.startsWith(from) && receiver.startsWith(to);
}).map((name) => path.join(dumps, name));

/** How the group's documents look sealed: windows of what crossed inside. */
function sealedSearch() {
  const search = new Search(), kinds = { entry: 0, chunk: 0 };
  for (const { kind, bytes } of payloadsOf([...dumped("germany", "france"), ...dumped("france", "germany")], shard))
    for (const window of windowsOf(bytes, kind === "chunk" ? 64 : 8)) search.add(`sealed ${kind} ${kinds[kind]++}`, window);
  assert.ok(kinds.entry > DOCUMENTS, "entries crossed inside the fence");
  return { search, kinds };
}

const few = (found) => found.slice(0, 5).join("\n");
const nothing = (found, what) => assert.equal(found.length, 0, `${what} has ${found.length}:\n${few(found)}`);
function inFrames(search, files) {
  assert.ok(files.length > 0);
  return files.flatMap((file) => [...search.in(readFileSync(file))].map((what) => `${what} in ${path.basename(file)}`));
}

/** Texts that nodes say about themselves to anybody or to the administrator. */
async function told(region) {
  const node = nodeOf(region), texts = [];
  for (const target of ["/livez", "/readyz", "/readyz?verbose", "/metrics"])
    texts.push((await cluster.request({ endpoint: new URL(node.admin).origin, path: target, sign: false })).text);
  for (const target of ["/status", "/topology", "/audit?max=1000", "/regions/at-risk", "/faults", "/placement",
    "/placement/containers", "/placement/rules", "/placement/holdings", "/nothing"])
    try {
      texts.push(JSON.stringify((await admin(cluster, node, "GET", target)).json));
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      texts.push(error.message);
    }
  for (const target of ["/", "/dbs", "/dbs/shop", "/dbs/shop/colls", "/dbs/shop/colls/orders", "/dbs/shop/colls/orders/pkranges"])
    texts.push(JSON.stringify(await ask(region, "GET", target)));
  return texts;
}
/** What the node outside answers to who asks it for documents, unspecifically. */
async function refusals() {
  const answers = [await ask("us", "GET", DOCS), await query("us", "SELECT * FROM c"),
    await ask("us", "GET", `${DOCS}/d`, { pk: "p" }), await create("us", { id: "d", pk: "p" })];
  for (const { status, text } of answers) assert.equal(status, 403, text);
  return answers.map((answer) => JSON.stringify(answer));
}

/** Germany is lost, France goes on; Germany lacks more than the log keeps. */
async function failover(texts) {
  await cluster.kill(nodeOf("germany").name);
  await until("the group writes in france", async () => (await groupAt("us")).write_region === "france", 40_000);
  // Until what Germany lacks has left the leader's memory: a snapshot has to do.
  const { commit_lsn: last } = await shardAt("france");
  for (let n = 0; (await shardAt("france")).base_lsn <= last; n += LARGE) {
    assert.ok(n < LARGE_MOST, "the log is cut");
    await largeDocuments("france", texts, n);
  }
  await cluster.restart(nodeOf("germany").name);
}
/** Without a witness nobody writes while a region is away: the follower goes. */
async function followerAway(texts) {
  await until("the group can lose nobody", async () => (await groupAt("us")).unavailable === null);
  await inject(cluster, { kind: "bandwidth", from: "germany", to: "france", kbit_per_second: 20_000, for: "5s" });
  await largeDocuments("germany", texts);
  await cluster.kill(nodeOf("france").name);
  await cluster.restart(nodeOf("france").name);
}
async function largeDocuments(region, texts, from = 0) {
  for (let n = from; n < from + LARGE; n++)
    await created(region, { id: `${texts.id}-large-${n}`, pk: `${texts.pk}-large`, [texts.name]: texts.value.repeat(6000) });
}
const caughtUp = () => until("both have everything", async () => {
  const [a, b] = [await shardAt("germany"), await shardAt("france")];
  return a && b && a.commit_lsn === b.commit_lsn && a.lsn === b.lsn && a.lsn > DOCUMENTS + LARGE;
}, 60_000);

const peerPort = (node) => Number(/^  peer: .*:(\d+)"?$/m.exec(readFileSync(path.join(node.dir, "node.yaml"), "utf8"))[1]);

/** Records what nodes say to each other, and a connection without TLS. */
async function record(plain) {
  const server = net.createServer((socket) => socket.resume()).listen(0, "127.0.0.1");
  await until("the plain port listens", () => server.listening);
  const { port } = server.address();
  recorder = await Recorder.start(path.join(cluster.dir, "wire.pcap"), [...cluster.nodes.map(peerPort), port]);
  const socket = net.connect(port, "127.0.0.1");
  for (let at = 0; at < plain.length; at += 5)
    await new Promise((resolve) => socket.setNoDelay().write(plain.slice(at, at + 5), resolve));
  await new Promise((resolve) => socket.end(resolve));
  server.close();
  return port;
}

/** On the wire there is TLS alone, and nothing of what is searched for. */
async function searchWire(t, plain, port, ...searches) {
  const { streams, dropped } = await recorder.stop();
  recorder = undefined;
  const links = streams.filter(({ from, to }) => from !== port && to !== port);
  const bytes = links.reduce((sum, stream) => sum + stream.bytes.length, 0);
  t.diagnostic(`${links.length} streams with ${bytes} bytes were recorded between nodes, ${dropped} packets were missed`);
  assert.ok(bytes > 1e6);
  const hello = (stream) => stream.bytes[0] === 0x16 && stream.bytes[1] === 3;
  assert.ok(links.filter(hello).length >= 4, "connections were made meanwhile");
  for (const stream of links)
    for (const search of searches) nothing([...search.in(stream.bytes)], `the wire from ${stream.from} to ${stream.to}`);
  const others = streams.filter((stream) => !links.includes(stream));
  const seen = new Search().addMarker(plain);
  assert.ok(others.some((stream) => seen.in(stream.bytes).size > 0), "what is not TLS is found in a recording");
}

function searchMemory(t, clear, sealed) {
  const us = nodeOf("us"), outside = clear.inMemory(us.pid);
  if (outside === undefined) {
    t.diagnostic("THE MEMORY OF NODES WAS NOT SEARCHED: not permitted here");
    return;
  }
  t.diagnostic(`${outside.bytes} bytes of memory outside were searched`);
  nothing(outside.found, "the memory of the node outside");
  nothing(sealed.inMemory(us.pid).found, "the memory of the node outside");
  // The same search finds both inside; one of the two may have just begun anew.
  for (const search of [clear, sealed])
    assert.ok(["germany", "france"].some((region) => search.inMemory(nodeOf(region).pid).found.length > 0));
}

for (const witness of [undefined, "us"])
  test(`nothing leaves the fence${witness ? ", nor is at its witness" : ""}`, { skip }, async (t) => {
    const texts = markers();
    await start({ witness });
    const plain = marker("Plain"), why = whyNoRecording();
    if (why) t.diagnostic(`THE WIRE WAS NOT SEARCHED: ${why}`);
    const port = why ? undefined : await record(plain);
    await inject(cluster, { kind: "loss", from: "germany", to: "france", percent: 10, for: "10s" });
    await use(texts);
    await inject(cluster, { kind: "respond", at: "germany", status: 503, count: 1, container: "orders", operation: "query" });
    assert.equal((await query("germany", `SELECT * FROM c WHERE c.${texts.name} = '${texts.query}'`)).status, 503);
    await (witness ? failover : followerAway)(texts);
    await caughtUp();
    searchMemory(t, searchFor(texts), sealedSearch().search);
    // The region outside leaves and comes back, too: it learns everything anew.
    await cluster.kill(nodeOf("us").name);
    await cluster.restart(nodeOf("us").name);
    await created("germany", documentOf(texts, DOCUMENTS));
    await caughtUp();

    const clear = searchFor(texts), { search: sealed, kinds } = sealedSearch();
    t.diagnostic(`${clear.count} forms of markers, windows: ${JSON.stringify(kinds)}`);
    if (witness) assert.ok(kinds.chunk > 0, "a snapshot crossed inside the fence");

    // That the searches can find something: what is searched for is inside.
    const between = [...dumped("germany", "france"), ...dumped("france", "germany")];
    assert.ok(inFrames(clear, between).length > 0, "forwarded requests cross inside the fence");
    assert.ok(sealed.inFiles(nodeOf("germany").dir).length > DOCUMENTS);

    for (const node of cluster.nodes) {
      assert.match(logOf(node), /"level":"debug"/);
      nothing(clear.inFiles(node.dir), `the files of ${node.name}`);
    }
    nothing(sealed.inFiles(nodeOf("us").dir), "the files of the node outside");
    const frames = [...dumped("", "us"), ...dumped("us", ""), ...dumped("", "farewells")];
    nothing(inFrames(clear, frames), "frames that cross the fence");
    nothing(inFrames(sealed, frames), "frames that cross the fence");
    for (const { region } of cluster.nodes)
      for (const text of await told(region)) nothing([...clear.in(Buffer.from(text))], `what ${region} says, ${text.slice(0, 80)},`);
    for (const text of await refusals()) nothing([...clear.in(Buffer.from(text))], "a refusal");

    searchMemory(t, clear, sealed); // of the node that has come back

    if (!why) await searchWire(t, plain, port, clear, sealed);

    // Last: what clients send to the node outside goes no further.
    const sent = markers();
    await provoke("us", sent, (what, _, got) => assert.ok([400, 403, 413].includes(got.status), `${what}: ${got.text.slice(0, 300)}`));
    await ask("us", "GET", `/${sent.query}`);
    await until("the refusals are audited", async () =>
      (await admin(cluster, nodeOf("germany"), "GET", "/audit?max=100")).json.records.some(({ what }) => /wall 'api'/.test(what)));
    const own = searchFor(sent, texts);
    for (const { name, dir } of cluster.nodes) nothing(own.inFiles(dir), `the files of ${name}`);
    nothing(inFrames(own, [...dumped("", "us"), ...dumped("us", "")]), "frames that cross the fence");
    for (const { region } of cluster.nodes)
      for (const text of await told(region)) nothing([...own.in(Buffer.from(text))], `what ${region} says`);
  });

test("with the walls open the same search finds it outside", { skip }, async () => {
  const texts = markers();
  await start({ open: "send,receive,api,snapshot,membership" });
  for (let n = 0; n < DOCUMENTS; n++) await created("germany", documentOf(texts, n));
  await until("us has it all", async () => (await shardAt("us")).lsn >= (await shardAt("germany")).commit_lsn);
  await until("so has france", async () => (await shardAt("france")).lsn >= (await shardAt("germany")).commit_lsn);
  const { search: sealed } = sealedSearch();
  assert.ok(inFrames(sealed, dumped("", "us")).length > DOCUMENTS);
  await until("it is in a file", () => sealed.inFiles(nodeOf("us").dir).length > DOCUMENTS);
  const memory = sealed.inMemory(nodeOf("us").pid);
  if (memory !== undefined) assert.ok(memory.found.length > DOCUMENTS);
  nothing(searchFor(texts).inFiles(nodeOf("us").dir), "without the keys"); // this wall stays
});

test("a program that is not made for tests shows no frames", async () => {
  dumps = mkdtempSync(path.join(os.tmpdir(), "bastide-dumps-"));
  process.env.TEST_LINK_DUMP = dumps;
  cluster = await Cluster.start({ program, flags: ["--regions", "germany,france"] });
  assert.deepEqual(readdirSync(dumps), []);
});
