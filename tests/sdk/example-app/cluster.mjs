// What the tests of this service need of Bastide: a cluster of three regions on
// this machine, faults in it, and the service itself beside it.
import { execFile, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const here = path.dirname(fileURLToPath(import.meta.url));
// In PATH, or where BASTIDE says.
const program = process.env.BASTIDE ?? "bastide";
// A region that was lost is trusted again after 10 s, doubled each time: for
// tests, which lose it often, sooner.
const env = { BASTIDE_TIMEOUTS_REGION_UP_MS: "500", ...process.env };
const bastide = async (...args) => (await promisify(execFile)(program, args, { env, timeout: 60_000 })).stdout;

export async function until(what, condition, limitMs = 20_000) {
  for (const end = Date.now() + limitMs; ; await delay(50)) {
    const result = await condition();
    if (result) return result;
    if (Date.now() > end) throw new Error(`not within ${limitMs} ms: ${what}`);
  }
}

export class TestCluster {
  /** flags: of `bastide demo`. */
  static async start(...flags) {
    const cluster = new TestCluster();
    cluster.dir = mkdtempSync(path.join(tmpdir(), "orders-"));
    cluster.services = [];
    try {
      await bastide("demo", "--dir", cluster.dir, "--base-port", "auto", "--detach", ...flags);
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    cluster.info = JSON.parse(readFileSync(path.join(cluster.dir, "cluster.json"), "utf8"));
    return cluster;
  }

  async stop() {
    for (const child of this.services) child.kill("SIGKILL");
    await bastide("demo", "--dir", this.dir, "--stop").catch(() => {});
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** fault("down", "--at", "eastus", "--for", "20s"): see `bastide fault --help`. */
  fault(...args) {
    return bastide("fault", "add", ...args, "--dir", this.dir);
  }
  /** How many requests the active faults have struck: a test in which nothing
   *  failed has tested nothing. */
  async struck() {
    const { faults } = JSON.parse(await bastide("fault", "list", "--dir", this.dir, "-o", "json"));
    return faults.reduce((sum, { hits }) => sum + hits, 0);
  }
  /** Ends all faults, and waits until every region is well again. */
  async heal() {
    await bastide("fault", "clear", "--dir", this.dir);
    await this.settled();
  }
  settled() {
    return until("every region is up, and writes are where they belong", async () => {
      const topology = await this.topology();
      return topology?.settled && topology.write_region === topology.regions[0].name && topology.regions.every(({ state }) => state === "up");
    }, 60_000);
  }
  async topology() {
    return bastide("region", "list", "--dir", this.dir, "-o", "json").then(JSON.parse, () => undefined);
  }

  /** The service as its users in one region see it: its address. */
  async serve(region, { level = "" } = {}) {
    const { endpoint, primaryKey, ca, regions } = this.info;
    const others = regions.map(({ name }) => name).filter((name) => name !== region);
    const child = spawn(process.execPath, [path.join(here, "orders.mjs")], {
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, STORE_ENDPOINT: endpoint, STORE_KEY: primaryKey, STORE_CA: ca,
        STORE_REGIONS: [region, ...others].join(","), STORE_LEVEL: level, PORT: "0" } });
    this.services.push(child);
    let output = "";
    child.stdout.on("data", (data) => (output += data));
    const port = await until("the service listens", () => {
      if (child.exitCode !== null) throw new Error("the service has ended");
      return /on port (\d+)/.exec(output)?.[1];
    });
    return `http://127.0.0.1:${port}`;
  }
}

/** One request to the service: { status, body, session }. */
export async function ask(service, method, target, body, headers = {}) {
  const response = await fetch(service + target, { method, headers, body: body && JSON.stringify(body), signal: AbortSignal.timeout(30_000) });
  const text = await response.text();
  return { status: response.status, body: text ? JSON.parse(text) : undefined, session: response.headers.get("x-session-token") };
}
