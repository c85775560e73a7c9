// What the SDK tests share: a private demo cluster per test file, clients of
// it, raw requests, and waits on conditions. Nothing here sleeps for a fixed
// time to let something happen; `until` polls a condition with a bound.
import { spawn, execFile } from "node:child_process";
import { createHmac } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import https from "node:https";
import { tmpdir } from "node:os";
import path from "node:path";
import tls from "node:tls";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { CosmosClient } from "@azure/cosmos";

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
// Nodes on one host run as many workers as there are cores for them, here often
// one; with the SDK's tests they run two, so that both ways are tested.
if (process.argv[1]?.includes("/tests/sdk/")) process.env.BASTIDE_WORKERS ??= "2";

export const program = process.env.TEST_BASTIDE || path.join(root, "build/bastide");

const START_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 40_000;
const REQUEST_LIMIT_MS = 30_000;

/** Calls `condition` until it gives something true, and returns that. */
export async function until(what, condition, limitMs = 30_000, everyMs = 25) {
  const end = Date.now() + limitMs;
  for (;;) {
    const result = await condition();
    if (result) return result;
    if (Date.now() > end) throw new Error(`not within ${limitMs} ms: ${what}`);
    await delay(everyMs);
  }
}

/** Runs a command to its end; never throws. */
export function run(args, limitMs = 60_000) {
  return new Promise((resolve) => {
    execFile(program, args, { timeout: limitMs, encoding: "utf8" }, (error, stdout, stderr) => {
      resolve({ code: error ? (error.code ?? error.signal) : 0, stdout, stderr });
    });
  });
}

export const isAlive = (pid) => {
  try {
    // A zombie counts as dead.
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
};

/** A demo cluster in a folder of its own, on ports of its own. */
export class Cluster {
  static async start(options = {}) {
    const cluster = new Cluster();
    cluster.dir = mkdtempSync(path.join(options.parent ?? tmpdir(), "bastide-sdk-"));
    cluster.flags = options.flags ?? [];
    cluster.program = options.program ?? program;
    cluster.clients = [];
    for (let attempt = 0; ; attempt++) {
      const base = 12000 + 100 * Math.floor(Math.random() * 160);
      try {
        await cluster.launch(["--base-port", String(base)]);
        return cluster;
      } catch (error) {
        if (attempt >= 5 || !/ is in use/.test(error.message)) {
          cluster.remove();
          throw error;
        }
      }
    }
  }

  /** Starts the processes (again); resolves when every node is ready. */
  async launch(flags = []) {
    const args = ["demo", "--dir", this.dir, ...this.flags, ...flags];
    // The kernel ends the cluster when this test process dies.
    this.process = spawn("setpriv", ["--pdeathsig", "TERM", this.program, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    this.process.stdout.on("data", (data) => (output += data));
    this.process.stderr.on("data", (data) => (output += data));
    const exited = new Promise((resolve) => this.process.once("exit", resolve));
    this.exited = exited;
    let gone = false;
    exited.then(() => (gone = true));
    await until("the demo cluster is ready", () => gone || / is ready: /.test(output), START_LIMIT_MS);
    if (gone) throw new Error(`bastide demo ended:\n${output}\n${this.logs()}`);
    this.output = () => output;
    this.reload();
  }

  reload() {
    this.info = JSON.parse(readFileSync(path.join(this.dir, "cluster.json"), "utf8"));
    this.ca = readFileSync(this.info.ca);
    this.nodes = this.info.regions.flatMap((region) => region.nodes.map((node) => ({ ...node, region: region.name })));
    return this;
  }

  /** A client of the SDK; ends with the cluster. */
  client({ key, endpoint, region, keepAlive = true, ...rest } = {}) {
    const agent = new https.Agent({ ca: this.ca, keepAlive });
    const client = new CosmosClient({
      endpoint: endpoint ?? this.info.endpoint,
      key: key ?? this.info.primaryKey,
      agent,
      connectionPolicy: region ? { preferredLocations: [region] } : {},
      ...rest,
    });
    this.clients.push({ client, agent });
    return client;
  }

  /** SIGKILL; resolves when the process is gone. */
  async kill(node) {
    this.reload();
    const { pid } = this.nodes.find(({ name }) => name === node);
    process.kill(pid, "SIGKILL");
    await until(`${node} is dead`, () => !isAlive(pid));
    return pid;
  }

  /** Starts nodes that ended; "all" means all of them. */
  async restart(nodes) {
    const result = await run(["demo", "--dir", this.dir, "--start", nodes]);
    if (result.code !== 0) throw new Error(`--start ${nodes}: ${result.stderr}\n${this.logs()}`);
    this.reload();
  }

  closeClients() {
    for (const { client, agent } of this.clients.splice(0)) {
      client.dispose();
      agent.destroy();
    }
  }

  /** Ends the processes, keeps the folder. */
  async halt(signal = "SIGTERM") {
    this.closeClients();
    if (!this.process || this.process.exitCode !== null || this.process.signalCode !== null) return;
    this.process.kill(signal);
    let gone = false;
    this.exited.then(() => (gone = true));
    await until("the demo cluster has ended", () => gone, STOP_LIMIT_MS);
    this.checkDeaths();
  }

  /** Tests kill with SIGKILL; a node that died otherwise has crashed. */
  checkDeaths() {
    const crash = /node (\S+) \(pid \d+\) (was killed by signal (?!9 )|exited with code [1-9]).*/.exec(this.output());
    if (crash) throw new Error(`a node crashed: ${crash[0]}\n${this.logs()}`);
  }

  async stop() {
    await this.halt();
    this.remove();
  }

  remove() {
    if (!process.env.TEST_KEEP) rmSync(this.dir, { recursive: true, force: true });
  }

  /** The end of every node's log, for messages. */
  logs(lines = 15) {
    const parts = [];
    for (const node of this.nodes ?? []) {
      const file = path.join(node.dir, "node.log");
      if (existsSync(file))
        parts.push(`${node.name}:`, ...readFileSync(file, "utf8").trimEnd().split("\n").slice(-lines));
    }
    return parts.join("\n");
  }

  // -- raw requests ------------------------------------------------------------

  /** One signed request without the SDK: { status, headers, text, json }. */
  request({ method = "GET", path: target = "/", headers = {}, body, key, date, sign = true, endpoint, agent } = {}) {
    const when = date ?? new Date().toUTCString();
    const all = { "x-ms-version": "2020-07-15", "x-ms-date": when, ...headers };
    if (sign) all.authorization ??= signature(method, target, when, key ?? this.info.primaryKey);
    if (body !== undefined) all["content-length"] ??= Buffer.byteLength(body);
    const url = new URL(endpoint ?? this.info.endpoint);
    return new Promise((resolve, reject) => {
      const request = https.request(
        { host: url.hostname, port: url.port, method, path: target, headers: all, ca: this.ca, agent: agent ?? false,
          timeout: REQUEST_LIMIT_MS },
        (response) => {
          const parts = [];
          response.on("data", (part) => parts.push(part));
          response.on("error", reject);
          response.on("end", () => {
            const text = Buffer.concat(parts).toString("utf8");
            let json;
            try {
              json = JSON.parse(text);
            } catch {
              json = undefined;
            }
            resolve({ status: response.statusCode, headers: response.headers, text, json });
          });
        });
      request.on("timeout", () => request.destroy(new Error(`no answer within ${REQUEST_LIMIT_MS} ms`)));
      request.on("error", reject);
      request.end(body);
    });
  }

  /** Sends bytes as they are; resolves with what came back until the server
   *  closed the connection or `enough` says so. */
  bytes(data, { enough = () => false, limitMs = REQUEST_LIMIT_MS, end = false, endpoint } = {}) {
    const url = new URL(endpoint ?? this.info.endpoint);
    return new Promise((resolve, reject) => {
      let got = "";
      const socket = tls.connect({ host: url.hostname, port: url.port, ca: this.ca, servername: "localhost" }, () => {
        socket.write(data);
        if (end) socket.end();
      });
      const finish = () => {
        clearTimeout(timer);
        socket.destroy();
        resolve(got);
      };
      const timer = setTimeout(() => {
        socket.destroy();
        reject(new Error(`connection still open after ${limitMs} ms, got ${JSON.stringify(got.slice(0, 200))}`));
      }, limitMs);
      socket.on("data", (part) => {
        got += part.toString("latin1");
        if (enough(got)) finish();
      });
      socket.on("error", finish);
      socket.on("close", finish);
    });
  }
}

// What a path is signed as: [resource type, resource link].
function signedResource(target) {
  const parts = decodeURIComponent(target).split("/").filter((part) => part !== "");
  if (parts.length === 0) return ["", ""];
  return parts.length % 2 === 1
    ? [parts.at(-1), parts.slice(0, -1).join("/")]
    : [parts.at(-2), parts.join("/")];
}

export function signature(method, target, date, key) {
  const [type, link] = signedResource(target);
  const text = `${method.toLowerCase()}\n${type.toLowerCase()}\n${link}\n${date.toLowerCase()}\n\n`;
  const sig = createHmac("sha256", Buffer.from(key, "base64")).update(text, "utf8").digest("base64");
  return encodeURIComponent(`type=master&ver=1.0&sig=${sig}`);
}

/** The error an operation fails with; an assertion error when it does not. */
export async function failure(promise) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`expected a failure, got ${value?.statusCode ?? JSON.stringify(value?.resources ?? value)?.slice(0, 300)}`);
}

/** A database and a container with a fresh name. */
let serial = 0;
export async function makeContainer(client, definition = {}) {
  const id = `t${process.pid}-${++serial}`;
  const { database } = await client.databases.create({ id });
  const { container } = await database.containers.create({
    id: "items",
    partitionKey: { paths: ["/pk"], version: 2 },
    ...definition,
  });
  return container;
}

export const clean = (document) =>
  Object.fromEntries(Object.entries(document).filter(([key]) => !["_rid", "_self", "_etag", "_attachments", "_ts"].includes(key)));
