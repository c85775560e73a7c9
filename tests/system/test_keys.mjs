// Certificates and account keys are renewed while the cluster runs and is used.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import tls from "node:tls";
import { after, before, test } from "node:test";
import { Cluster, until } from "../sdk/lib.mjs";
import { admin, command, Documents, heal, inject, logOf } from "./lib.mjs";

let cluster, documents;
before(async () => {
  cluster = await Cluster.start();
  const { database } = await cluster.client().databases.create({ id: "keys" });
  const { container } = await database.containers.create({ id: "c", partitionKey: { paths: ["/pk"] } });
  documents = new Documents(cluster, container);
});
after(async () => {
  documents?.close();
  await cluster?.stop();
});

/** The certificate that a new connection is shown. */
function shown(url) {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ host: hostname, port, ca: cluster.ca }, () => {
      const { fingerprint256, subjectaltname, valid_to } = socket.getPeerCertificate();
      socket.destroy();
      resolve({ fingerprint256, subjectaltname, until: Date.parse(valid_to) });
    });
    socket.on("error", reject);
  });
}
const file = (node, name) => path.join(node.dir, name);

test("new certificates are used at once, and no request fails meanwhile", async () => {
  const old = new Map();
  for (const node of cluster.nodes) old.set(node.name, await shown(node.endpoint));
  let renewed = false;
  const load = documents.write(({ ids }) => renewed && ids.length > 50, { writers: 2 });
  const { code, stdout, stderr } = await command(cluster, "keys", "certificates", "--days", "30", "-o", "json");
  assert.equal(code, 0, stderr);
  assert.deepEqual(JSON.parse(stdout).nodes.map(({ node, reloaded }) => [node, reloaded]),
    cluster.nodes.map(({ name }) => [name, true]));
  for (const node of cluster.nodes) {
    for (const url of [node.endpoint, node.admin]) {
      const now = await shown(url);
      assert.notEqual(now.fingerprint256, old.get(node.name).fingerprint256, url);
      assert.equal(now.subjectaltname, old.get(node.name).subjectaltname, url);
      const days = (now.until - Date.now()) / 86_400_000;
      assert.ok(days > 29 && days <= 30, `${url} is valid for ${days} days`);
    }
  }
  renewed = true;
  const { refused } = await load;
  assert.deepEqual(refused, []);
});

test("links that are made anew prove the new certificates", async () => {
  await inject(cluster, { kind: "cut", from: "*", to: "*", both: true });
  for (const node of cluster.nodes)
    await until(`the links of ${node.name} are down`, async () =>
      (await admin(cluster, node, "GET", "/status")).json.links.every(({ state }) => state !== "up"));
  await heal(cluster);
  await until("the cluster is ready again", async () => (await command(cluster, "status", "--ready")).code === 0);
  await documents.compare(cluster.info.endpoint);
});

test("files that cannot be used change nothing", async () => {
  const [node, other] = cluster.nodes;
  const before = await shown(node.endpoint);
  const saved = ["node.pem", "node.key", "account.keys"].map((name) => [name, readFileSync(file(node, name))]);
  const cases = [
    ["node.pem", readFileSync(file(other, "node.pem")), /does not belong to the certificate/],
    ["node.pem", "nothing", /no certificate in it/],
    ["account.keys", "primary: c2VjcmV0\n", /primary: expected the base64 form/],
  ];
  for (const [name, text, expected] of cases) {
    writeFileSync(file(node, name), text);
    const { status, json } = await admin(cluster, node, "POST", "/reload", {});
    assert.equal(status, 409, name);
    assert.match(json.message, expected);
    const result = await command(cluster, "keys", "reload", "--node", node.name);
    assert.equal(result.code, 1);
    assert.match(result.stdout, expected);
    for (const [what, was] of saved) writeFileSync(file(node, what), was);
  }
  // Another node's whole identity.
  for (const name of ["node.pem", "node.key"]) writeFileSync(file(node, name), readFileSync(file(other, name)));
  const { status, json } = await admin(cluster, node, "POST", "/reload", {});
  assert.equal(status, 409);
  assert.match(json.message, new RegExp(`is of spiffe://demo/region/${other.region}/node/${other.name}, this is `));
  for (const [what, was] of saved) writeFileSync(file(node, what), was);
  assert.equal((await shown(node.endpoint)).fingerprint256, before.fingerprint256);
  assert.equal((await cluster.request({ endpoint: node.endpoint })).status, 200);
});

test("a rotated account key is refused, the others go on", async () => {
  const { primaryKey, secondaryKey, primaryReadonlyKey } = cluster.info;
  const { code, stderr } = await command(cluster, "keys", "rotate", "primary");
  assert.equal(code, 0, stderr);
  await until("cluster.json has the new key", () => cluster.reload().info.primaryKey !== primaryKey);
  for (const node of cluster.nodes) {
    const ask = async (key) => (await cluster.request({ endpoint: node.endpoint, key })).status;
    assert.equal(await ask(primaryKey), 401, node.name);
    assert.equal(await ask(cluster.info.primaryKey), 200, node.name);
    assert.equal(await ask(secondaryKey), 200, node.name);
    assert.equal(await ask(primaryReadonlyKey), 200, node.name);
  }
  assert.equal(cluster.info.secondaryKey, secondaryKey);
  for (const node of cluster.nodes) assert.ok(!logOf(node).includes(cluster.info.primaryKey.slice(0, 20)), node.name);
});

test("SIGHUP reads the files, too; a node that does not run is named", async () => {
  const [node, , last] = cluster.nodes;
  const before = await shown(node.endpoint);
  await cluster.kill(last.name);
  const { code, stdout } = await command(cluster, "keys", "certificates", "--node", last.name);
  assert.equal(code, 1);
  assert.match(stdout, new RegExp(`^${last.name} +NOT: `, "m"));
  await cluster.restart(last.name);
  await until("it is back", async () => (await command(cluster, "status", "--ready")).code === 0);
  process.kill(cluster.nodes[0].pid, "SIGHUP");
  await until("it has read them", () => /read again/.test(logOf(node)));
  assert.equal((await shown(node.endpoint)).fingerprint256, before.fingerprint256);
  await documents.compare(cluster.info.endpoint);
});

test("usage", async () => {
  for (const args of [["keys"], ["keys", "burn"], ["keys", "rotate"], ["keys", "rotate", "tertiary"],
    ["keys", "rotate", "primary", "--node", "eastus-1"], ["keys", "certificates", "--days", "0"]]) {
    const { code, stderr } = await command(cluster, ...args);
    assert.equal(code, 2, args.join(" "));
    assert.match(stderr, /--help/);
  }
  const { code, stderr } = await command(cluster, "keys", "certificates", "--node", "nobody");
  assert.equal(code, 1);
  assert.match(stderr, /there is no node nobody/);
});
