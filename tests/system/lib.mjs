// What the tests with faulty nodes share: a node run outside the demo's
// supervisor, so that it alone gets another environment; what nodes say about
// themselves; and a load that remembers what was acknowledged.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import https from "node:https";
import path from "node:path";
import { isAlive, program, run, until } from "../sdk/lib.mjs";

const running = new Set();
/** Ends what startAlone started and nobody ended. */
export const killAlone = () => Promise.all([...running].map((alone) => alone.kill()));

/** A node that has ended, started with more in its environment, with more
 *  arguments, or by another program. Resolves when it is ready or has ended:
 *  { output(), ended(), code(), kill() }. */
export async function startAlone(cluster, node, env = {}, { waitReady = true, by = program, args = [] } = {}) {
  // A process whose first thread is dead may still hold the lock of its folder.
  await until(`${node.name} is gone`, () => !existsSync(`/proc/${node.pid}`));
  const child = spawn("setpriv", ["--pdeathsig", "TERM", by, "node", "--config", path.join(node.dir, "node.yaml"), ...args], {
    stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
  let output = "", code;
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += data));
  child.once("close", (exit, signal) => (code = exit ?? signal));
  const alone = {
    pid: child.pid,
    output: () => output,
    ended: () => code !== undefined,
    code: () => code,
    kill: async (signal = "SIGKILL") => {
      if (code === undefined) child.kill(signal);
      await until(`${node.name} has ended`, () => code !== undefined && !isAlive(child.pid));
    },
  };
  running.add(alone);
  child.once("close", () => running.delete(alone));
  if (waitReady)
    await until(`${node.name} is ready or has ended`, async () => alone.ended() || (await isReady(cluster, node)));
  return alone;
}

/** What startAlone started without waiting has opened its admin listener. */
export const untilListens = (cluster, node, alone) => until(`${node.name} listens`, async () => {
  assert.ok(!alone.ended(), alone.output());
  try {
    return (await admin(cluster, node, "GET", "/status")).status === 200;
  } catch (error) {
    if (error.code !== "ECONNREFUSED") throw error;
    return false;
  }
});

export async function isReady(cluster, node) {
  try {
    const { status } = await cluster.request({ endpoint: new URL(node.admin).origin, path: "/readyz", sign: false });
    return status === 200;
  } catch {
    return false;
  }
}

/** A request to a node's admin listener, with the administrator's certificate:
 *  { status, json }. */
export function admin(cluster, node, method, target, body) {
  const url = new URL(node.admin);
  const secret = (name) => readFileSync(path.join(cluster.dir, name));
  return new Promise((resolve, reject) => {
    const request = https.request(
      { host: url.hostname, port: url.port, method, path: target, ca: cluster.ca, cert: secret("admin.pem"),
        key: secret("admin.key"), agent: false, timeout: 10_000 },
      (response) => {
        let text = "";
        response.on("data", (part) => (text += part));
        response.on("error", reject);
        response.on("end", () => resolve({ status: response.statusCode, json: text === "" ? undefined : JSON.parse(text) }));
      });
    request.on("timeout", () => request.destroy(new Error(`${node.name}: no answer to ${method} ${target}`)));
    request.on("error", reject);
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** Adds a fault, such as { kind: "cut", from, to, both: true }: tells every node,
 *  each applies what concerns it. Answers how many do. */
export async function inject(cluster, fault, nodes = cluster.nodes) {
  const answers = await Promise.all(nodes.map((node) => admin(cluster, node, "POST", "/faults", fault)));
  for (const { status, json } of answers) assert.equal(status, 200, JSON.stringify(json));
  return answers.filter(({ json }) => json.applies).length;
}
/** Clears all faults. */
export const heal = (cluster, nodes = cluster.nodes) =>
  Promise.all(nodes.map((node) => admin(cluster, node, "DELETE", "/faults")));

/** What `bastide status` says: node name -> status; dead nodes are missing. */
export async function statusOf(cluster) {
  const { stdout } = await run(["status", "--dir", cluster.dir, "-o", "json"]);
  return new Map(JSON.parse(stdout).nodes.filter(({ reached }) => reached).map(({ name, status }) => [name, status]));
}

/** Makes `node` lead shard 1, and keeps it so: an operator moves the writes to
 *  its region, in which it is alone. Waits until that region is well enough. */
export async function makeLeader(cluster, node) {
  await until(`the writes go to ${node.region}`, async () =>
    (await run(["region", "switch", node.region, "--dir", cluster.dir])).code === 0);
  await until(`${node.name} leads`, async () =>
    (await statusOf(cluster)).get(node.name)?.shards[1].role === "leader");
}

/** The warnings and errors that a node has logged: parsed lines. */
export function complaints(text) {
  return text.split("\n").filter((line) => /"level":"(warn|error)"/.test(line)).map((line) => JSON.parse(line));
}
export const logOf = (node) => readFileSync(path.join(node.dir, "node.log"), "utf8");

/** A container as raw requests see it. */
export class Documents {
  constructor(cluster, container) {
    this.cluster = cluster;
    this.container = container;
    this.path = `/dbs/${container.database.id}/colls/${container.id}/docs`;
    this.acknowledged = new Map(); // id -> document
    this.serial = 0;
    this.agents = new Map();
  }

  agent(endpoint) {
    if (!this.agents.has(endpoint))
      this.agents.set(endpoint, new https.Agent({ ca: this.cluster.ca, keepAlive: true, maxSockets: 8 }));
    return this.agents.get(endpoint);
  }

  close() {
    for (const agent of this.agents.values()) agent.destroy();
  }

  request(method, id, pk, { endpoint = this.cluster.info.endpoint, body, reuse = false } = {}) {
    return this.cluster.request({
      method, path: id === undefined ? this.path : `${this.path}/${id}`, endpoint, body,
      headers: { "x-ms-documentdb-partitionkey": JSON.stringify([pk]) },
      agent: reuse ? this.agent(endpoint) : undefined });
  }

  /** Writers that create documents of about `bytes` until `enough`; answers
   *  the ids acknowledged and every other answer. */
  async write(enough, { bytes = 1000, writers = 6, endpoints } = {}) {
    const ids = [], refused = [];
    const writer = async () => {
      while (!(await enough({ ids, refused }))) {
        const n = this.serial++;
        const document = { id: `d${n}`, pk: `p${n % 13}`, n, text: `${n} `.repeat(Math.ceil(bytes / `${n} `.length)) };
        const targets = endpoints?.() ?? [this.cluster.info.endpoint];
        try {
          const answer = await this.request("POST", undefined, document.pk,
            { body: JSON.stringify(document), endpoint: targets[n % targets.length] });
          if (answer.status === 201) {
            this.acknowledged.set(document.id, document);
            ids.push(document.id);
          } else refused.push(answer);
        } catch {
          // Cut off: not acknowledged.
        }
      }
    };
    await Promise.all(Array.from({ length: writers }, writer));
    return { ids, refused };
  }

  /** Every one of these documents is there, as it was acknowledged. */
  async compare(endpoint, ids = [...this.acknowledged.keys()], what = endpoint) {
    const queue = [...ids];
    const reader = async () => {
      for (let id; (id = queue.pop()) !== undefined; ) {
        const expected = this.acknowledged.get(id);
        const { status, json, text } = await this.request("GET", id, expected.pk, { endpoint, reuse: true });
        assert.equal(status, 200, `${what}: ${id} was acknowledged: ${status} ${text.slice(0, 300)}`);
        assert.equal(json.n, expected.n, `${what}: ${id}`);
        assert.equal(json.text, expected.text, `${what}: ${id}`);
      }
    };
    await Promise.all(Array.from({ length: 8 }, reader));
  }
}

/** A command about this cluster; never throws. */
export const command = (cluster, ...args) => run([...args, "--dir", cluster.dir]);
/** What `bastide region list` says; undefined while nobody answers. */
export async function topologyOf(cluster) {
  const { code, stdout } = await command(cluster, "region", "list", "-o", "json");
  return code === 0 ? JSON.parse(stdout) : undefined;
}
/** Waits for a topology that is as it should be. */
export const untilTopology = (cluster, what, condition, limitMs) =>
  until(what, async () => {
    const topology = await topologyOf(cluster);
    return topology && condition(topology) ? topology : undefined;
  }, limitMs);
