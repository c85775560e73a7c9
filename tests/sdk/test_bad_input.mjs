// Bad requests: each gets a clear answer, none disturbs another connection.
import assert from "node:assert/strict";
import https from "node:https";
import tls from "node:tls";
import { after, before, test } from "node:test";
import { Cluster, makeContainer } from "./lib.mjs";

let cluster, container, docs;
const key = { "x-ms-documentdb-partitionkey": '["a"]' };
before(async () => {
  cluster = await Cluster.start();
  container = await makeContainer(cluster.client());
  docs = `/dbs/${container.database.id}/colls/${container.id}/docs`;
});
after(() => cluster?.stop());

const post = (body, headers = key) => cluster.request({ method: "POST", path: docs, headers, body });

/** A 4xx answer with a JSON body that has a message. */
function refused(answer, status, what) {
  assert.equal(answer.status, status, `${what}: ${answer.status} ${answer.text.slice(0, 200)}`);
  assert.equal(typeof answer.json?.code, "string", what);
  assert.equal(typeof answer.json?.message, "string", what);
  assert.ok(answer.headers["x-ms-activity-id"], what);
}

for (const [what, body] of [
  ["nothing", ""], ["text", "hello"], ["half an object", '{"id":"1","pk":"a"'], ["an array", "[]"], ["null", "null"],
  ["a number", "5"], ["a string", '"x"'], ["two values", '{"id":"1","pk":"a"}{}'],
  ["a trailing comma", '{"id":"1","pk":"a",}'], ["single quotes", "{'id':'1'}"], ["a comment", '{"id":"1"/**/,"pk":"a"}'],
  ["NaN", '{"id":"1","pk":"a","n":NaN}'], ["a number beyond double", '{"id":"1","pk":"a","n":1e999}'],
  ["a leading zero", '{"id":"1","pk":"a","n":01}'], ["a raw control character", '{"id":"1","pk":"a","t":"\u0001"}'],
  ["a lone high surrogate", '{"id":"1","pk":"a","t":"\\ud800"}'],
  ["a lone low surrogate", '{"id":"1","pk":"a","t":"\\udc00x"}'],
  ["a bad escape", '{"id":"1","pk":"a","t":"\\x"}'],
  ["a byte order mark", '\ufeff{"id":"1","pk":"a"}'],
])
  test(`a body that is ${what} gets 400`, async () => {
    refused(await post(body), 400, what);
  });

test("invalid UTF-8 gets 400", async () => {
  for (const bytes of [[0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82]]) {
    const body = Buffer.concat([Buffer.from('{"id":"utf","pk":"a","t":"'), Buffer.from(bytes), Buffer.from('"}')]);
    refused(await post(body), 400, bytes.join());
  }
});

test("nesting up to the limit is stored, deeper gets 400", async () => {
  const nested = (depth) => `{"id":"deep${depth}","pk":"a","v":${"[".repeat(depth)}${"]".repeat(depth)}}`;
  assert.equal((await post(nested(100))).status, 201);
  for (const depth of [129, 1000, 100_000]) refused(await post(nested(depth)), 400, String(depth));
});

test("of duplicate keys the last one counts", async () => {
  assert.equal((await post('{"id":"x","id":"dup","pk":"b","pk":"a","v":1,"v":2}')).status, 201);
  const { resource } = await container.item("dup", "a").read();
  assert.equal(resource.v, 2);
});

test("a body that is too large gets 413", async () => {
  for (const size of [2 * 1024 * 1024 + 100, 8 * 1024 * 1024]) {
    let answer;
    try {
      answer = await post(`{"id":"1","pk":"a","t":"${"x".repeat(size)}"}`);
    } catch (error) {
      // The server may answer and close before it has read all of it.
      assert.match(String(error.code), /EPIPE|ECONNRESET/);
      continue;
    }
    refused(answer, 413, String(size));
  }
});

test("unknown routes and methods get 4xx with a body", async () => {
  for (const [method, path] of [
    ["GET", "/nothing"], ["GET", "/dbs/a/b"], ["GET", "/dbs//colls"], ["POST", "/"], ["DELETE", "/"], ["DELETE", "/dbs"],
    ["PUT", "/dbs"], ["PATCH", "/dbs"], ["GET", `${docs}/1/2/3`], ["DELETE", docs], ["PUT", docs], ["GET", "/dbs/%zz"],
    ["GET", "/dbs/%ff"], ["GET", "/dbs/a%00b"], ["OPTIONS", "/dbs"], ["TRACE", "/dbs"],
  ]) {
    const signed = !path.includes("%");
    const answer = await cluster.request({ method, path, sign: signed, headers: signed ? {} : { authorization: "x" } });
    assert.ok(answer.status >= 400 && answer.status < 500, `${method} ${path}: ${answer.status}`);
    assert.equal(typeof answer.json?.message, "string", `${method} ${path}: ${answer.text}`);
  }
});

test("what does not exist yet says so with a body", async () => {
  for (const [method, path] of [
    ["POST", `${docs.slice(0, -5)}/sprocs`], ["POST", `${docs.slice(0, -5)}/triggers`], ["POST", `${docs.slice(0, -5)}/udfs`],
    ["POST", `/dbs/${container.database.id}/users`], ["PATCH", `${docs}/1`]]) {
    const answer = await cluster.request({ method, path, headers: key, ...(method === "GET" ? {} : { body: "{}" }) });
    assert.ok(answer.status >= 400 && answer.status < 600, `${method} ${path}: ${answer.status}`);
    assert.equal(typeof answer.json?.message, "string");
  }
});

test("bad header values get 400", async () => {
  await container.items.upsert({ id: "h", pk: "a" });
  for (const headers of [
    { "x-ms-max-item-count": "many" }, { "x-ms-max-item-count": "0" }, { "x-ms-max-item-count": "-2" },
    { "x-ms-max-item-count": "99999999999999999999" }])
    refused(await cluster.request({ path: docs, headers }), 400, JSON.stringify(headers));
});

// ---- below HTTP requests -------------------------------------------------------

for (const [what, bytes] of [
  ["garbage", "\x16\x03\x01\x00garbage\r\n\r\n"], ["a lower-case method", "get / HTTP/1.1\r\nHost: a\r\n\r\n"],
  ["no version", "GET /\r\n\r\n"], ["a strange version", "GET / HTTP/9.9\r\nHost: a\r\n\r\n"],
  ["no host", "GET / HTTP/1.1\r\n\r\n"], ["two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"],
  ["a header without a colon", "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n"],
  ["a header with a blank in its name", "GET / HTTP/1.1\r\nHost: a\r\nX y: z\r\n\r\n"],
  ["a NUL in a header", "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"],
  ["a folded header", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n"],
  ["two content lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"],
  ["a bad content length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n"],
  ["a negative content length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"],
  ["length and chunks", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
  ["a bad chunk size", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
  ["an unknown transfer encoding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"],
  ["a target with a blank", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"],
])
  test(`${what} gets 400 and the connection is closed`, async () => {
    const answer = await cluster.bytes(Buffer.from(bytes, "latin1"));
    assert.match(answer, /^HTTP\/1\.1 (400|501|505) /, answer.slice(0, 100));
    const body = answer.slice(answer.indexOf("\r\n\r\n") + 4);
    assert.equal(typeof JSON.parse(body).message, "string");
  });

test("headers that are too long get 431 or 414", async () => {
  const long = "x".repeat(200_000);
  assert.match(await cluster.bytes(`GET / HTTP/1.1\r\nHost: a\r\nX: ${long}\r\n\r\n`), /^HTTP\/1\.1 431 /);
  assert.match(await cluster.bytes(`GET /${long} HTTP/1.1\r\nHost: a\r\n\r\n`), /^HTTP\/1\.1 (414|431) /);
  const many = "A: b\r\n".repeat(2000);
  assert.match(await cluster.bytes(`GET / HTTP/1.1\r\nHost: a\r\n${many}\r\n`), /^HTTP\/1\.1 431 /);
});

test("pipelined requests are answered in order, garbage behind them closes", async () => {
  const one = "GET /dbs HTTP/1.1\r\nHost: a\r\n\r\n";
  const answer = await cluster.bytes(one + one + "\x00\x01garbage\r\n\r\n");
  const lines = answer.match(/HTTP\/1\.1 \d+/g);
  assert.deepEqual(lines, ["HTTP/1.1 401", "HTTP/1.1 401", "HTTP/1.1 400"]);
});

test("a truncated request is dropped without an effect", async () => {
  const half = 'POST /dbs HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{"id":"';
  const answer = await cluster.bytes(half, { end: true, limitMs: 60_000 });
  assert.ok(answer === "" || /^HTTP\/1\.1 4\d\d /.test(answer), answer);
});

test("chunked bodies and Expect: 100-continue work", async () => {
  const body = '{"id":"chunked","pk":"a"}';
  const agent = new https.Agent({ ca: cluster.ca });
  const date = new Date().toUTCString();
  const { signature } = await import("./lib.mjs");
  const url = new URL(cluster.info.endpoint);
  const status = await new Promise((resolve, reject) => {
    let continued = false;
    const request = https.request({
      host: url.hostname, port: url.port, agent, method: "POST", path: docs,
      headers: { ...key, expect: "100-continue", "transfer-encoding": "chunked", "x-ms-date": date,
        authorization: signature("POST", docs, date, cluster.info.primaryKey) } }, (response) => {
      response.resume();
      response.on("end", () => resolve([continued, response.statusCode]));
    });
    request.on("error", reject);
    request.on("continue", () => {
      continued = true;
      for (const character of body) request.write(character);
      request.end();
    });
    request.flushHeaders();
  });
  agent.destroy();
  assert.deepEqual(status, [true, 201]);
  assert.equal((await container.item("chunked", "a").read()).statusCode, 200);
});

test("plain HTTP and old TLS find no listener", async () => {
  const url = new URL(cluster.info.endpoint);
  const attempt = (options) => new Promise((resolve) => {
    const socket = tls.connect({ host: url.hostname, port: url.port, ca: cluster.ca, servername: "localhost", ...options },
      () => (socket.destroy(), resolve("connected")));
    socket.on("error", (error) => resolve(error.code));
  });
  assert.equal(await attempt({}), "connected");
  assert.notEqual(await attempt({ maxVersion: "TLSv1.2" }), "connected");
  const { connect } = await import("node:net");
  const got = await new Promise((resolve) => {
    let text = "";
    const socket = connect(Number(url.port), url.hostname, () => socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    socket.on("data", (part) => (text += part.toString("latin1")));
    socket.on("error", () => {});
    socket.on("close", () => resolve(text));
  });
  assert.ok(!got.startsWith("HTTP/"), "no answer in the clear");
});

test("a connection in use is not disturbed by bad ones", async () => {
  const agent = new https.Agent({ ca: cluster.ca, keepAlive: true, maxSockets: 1 });
  const sockets = new Set();
  agent.on("free", (socket) => sockets.add(socket));
  for (let n = 0; n < 20; n++) {
    const [answer] = await Promise.all([
      cluster.request({ path: docs, agent }), cluster.bytes("garbage\r\n\r\n"), cluster.bytes("GET / HTTP/1.1\r\nHost", { end: true })]);
    assert.equal(answer.status, 200);
  }
  agent.destroy();
  assert.equal(sockets.size, 1, "one connection served all");
});

test("the cluster is in good health after all this", async () => {
  for (const node of cluster.nodes) assert.equal((await cluster.request({ endpoint: node.endpoint })).status, 200);
  await container.items.upsert({ id: "end", pk: "a" });
});
