// A cluster of deploy/compose.yaml for one test file: a project, ports, keys and
// data of its own, and the ways in which an operator, a network or a disk breaks
// it. What is cut here is cut with docker and iptables, never with Bastide's own
// fault injection.
import { execFile, execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Cluster, until } from "../sdk/lib.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const file = path.join(root, "deploy/compose.yaml");
export const REGIONS = ["eastus", "westeurope", "southeastasia"];
/** The number that images run as. */
const USER = 10001;
const DISK_BYTES = 96 * 1024 * 1024;

/** Compose as it is here: 2 is a word of docker, 1 is a program. */
const COMPOSE = spawnSync("docker", ["compose", "version"]).status === 0 ? ["docker", "compose"] : ["docker-compose"];
/** What image.sh exits with where there is no base image. */
const NO_BASE = 3;

/** Why no containers can be had here; undefined when they can. An image that
 *  does not build is no reason, but a failure. */
export function whyNoContainers() {
  if (process.getuid() !== 0) return "containers are tested as root only: cuts need iptables and mounts";
  const last = ({ stderr }) => stderr.trim().split("\n").at(-1);
  const engine = spawnSync(path.join(root, "deploy/docker/engine.sh"), { encoding: "utf8" });
  if (engine.status !== 0) return `deploy/docker/engine.sh: ${last(engine)}`;
  const image = spawnSync(path.join(root, "deploy/docker/image.sh"), { encoding: "utf8" });
  if (image.status === NO_BASE) return `deploy/docker/image.sh: ${last(image)}`;
  if (image.status !== 0) throw new Error(`deploy/docker/image.sh:\n${image.stdout}${image.stderr}`);
  return undefined;
}

/** Runs a program to its end; throws with its words when it fails. */
export const sh = (program, ...args) =>
  new Promise((resolve, reject) =>
    execFile(program, args, { encoding: "utf8", timeout: 120_000 }, (error, stdout, stderr) =>
      error ? reject(new Error(`${program} ${args.join(" ")}: ${stderr || error.message}`)) : resolve(stdout.trim())));
export const docker = (...args) => sh("docker", ...args);

const freePort = () =>
  new Promise((resolve, reject) => {
    const server = net.createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

/** A Cluster (clients, signed requests) whose nodes are containers. */
export class ComposeCluster extends Cluster {
  static async make() {
    const cluster = new ComposeCluster();
    cluster.clients = [];
    cluster.folder = mkdtempSync(path.join(tmpdir(), "bastide-compose-"));
    cluster.project = path.basename(cluster.folder).toLowerCase();
    cluster.env = { ...process.env, COMPOSE_PROJECT_NAME: cluster.project, COMPOSE_PROFILES: "" };
    const ports = REGIONS.map((region) => region.toUpperCase()).flatMap((region) =>
      [`CLUSTER_PORT_${region}`, `CLUSTER_NODE_PORT_${region}_1`, `CLUSTER_ADMIN_PORT_${region}_1`]);
    for (const name of ["CLUSTER_PORT", ...ports]) cluster.env[name] = String(await freePort());
    cluster.makeDisk();
    cluster.env.COMPOSE_OVERRIDE = cluster.writeOverride();
    // A test that takes too long is ended by a signal, and leaves nothing behind.
    process.once("SIGTERM", () => {
      cluster.removeNow();
      process.exit(143);
    });
    return cluster;
  }

  // -- what differs from what users get: eastus-1 has a small disk of its own,
  // and a region that comes back is trusted sooner.

  makeDisk() {
    this.disk = path.join(this.folder, "disk");
    mkdirSync(this.disk);
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${DISK_BYTES},mode=0700,uid=${USER},gid=${USER}`, "tmpfs", this.disk]);
  }

  writeOverride() {
    const override = path.join(this.folder, "override.yaml");
    const node = { environment: { BASTIDE_TIMEOUTS_REGION_UP_MS: "1000", BASTIDE_LIMITS_LOG_SEGMENT_BYTES: "4MiB" } };
    writeFileSync(override, JSON.stringify({
      services: Object.fromEntries(REGIONS.map((region) => [`${region}-1`, node])),
      volumes: { "eastus-1": { driver: "local", driver_opts: { type: "none", o: "bind", device: this.disk } } },
    }));
    return override;
  }

  sh(program, ...args) {
    return new Promise((resolve, reject) =>
      execFile(program, args, { encoding: "utf8", timeout: 150_000, env: this.env }, (error, stdout, stderr) =>
        error ? reject(new Error(`${program} ${args.join(" ")}: ${stderr || error.message}`)) : resolve(stdout.trim())));
  }

  compose(...args) {
    return this.sh(...COMPOSE, "-f", file, "-f", this.env.COMPOSE_OVERRIDE, ...args);
  }

  /** deploy/up.sh: what users type. */
  async up() {
    await this.sh(path.join(root, "deploy/up.sh"), path.join(this.folder, "cluster"));
    this.info = JSON.parse(readFileSync(path.join(this.folder, "cluster/cluster.json"), "utf8"));
    this.ca = readFileSync(this.info.ca);
    this.nodes = this.info.regions.flatMap((region) => region.nodes.map((node) => ({ ...node, region: region.name })));
    return this;
  }

  container(region) {
    return this.nodes.find((node) => node.region === region).container;
  }
  /** The network between regions. */
  get between() {
    return `${this.project}_between`;
  }

  async state(region) {
    return JSON.parse(await docker("inspect", "--format", "{{json .State}}", this.container(region)));
  }

  /** Runs a command in the network of a region's container. */
  async inNetwork(region, ...command) {
    const { Pid } = await this.state(region);
    return sh("nsenter", "-t", String(Pid), "-n", ...command);
  }

  /** The region that the account document names as writable, asked at any
   *  node; undefined while nobody says. */
  async writeRegion(endpoint = this.info.endpoint) {
    try {
      return (await this.request({ endpoint })).json?.writableLocations?.[0]?.name;
    } catch {
      return undefined;
    }
  }

  /** Whether somebody says that writes go to another region than this. */
  async writesMovedFrom(region) {
    const now = await this.writeRegion();
    return now !== undefined && now !== region;
  }

  /** Waits until every node is healthy, and writes go to `region`. */
  async wellAgain(region) {
    await until(`every node is healthy and ${region} has the writes`, async () => {
      const states = await Promise.all(REGIONS.map((name) => this.state(name)));
      return states.every(({ Health }) => Health?.Status === "healthy") && (await this.writeRegion()) === region;
    }, 60_000, 200);
  }

  /** Runs a command of compose to its end, whatever happens. */
  composeNow(...args) {
    const [program, ...words] = [...COMPOSE, "-f", file, "-f", this.env.COMPOSE_OVERRIDE, ...args];
    return spawnSync(program, words, { encoding: "utf8", env: this.env, maxBuffer: 1 << 28 }).stdout;
  }

  /** Removes everything that this project has made; its logs stay for whoever
   *  wants to keep the folder. */
  removeNow() {
    this.closeClients();
    if (process.env.TEST_KEEP)
      writeFileSync(path.join(this.folder, "compose.log"), this.composeNow("logs", "--no-color") ?? "");
    this.composeNow("down", "-v", "--remove-orphans", "-t", "5");
    this.removeFolder();
  }

  removeFolder() {
    spawnSync("umount", [this.disk]);
    if (!process.env.TEST_KEEP) rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Writers with the SDK, as an application has them: each writes one document
 *  after the other, gives up on none, and remembers what was acknowledged. */
export class Load {
  constructor(cluster, container, { writers = 4 } = {}) {
    this.cluster = cluster;
    this.container = container;
    this.acknowledged = new Map(); // id -> number of the last write acknowledged
    this.attempted = new Map(); // id -> number of the last write tried
    this.last = Date.now();
    this.begun = []; // when the newest acknowledged writes began
    this.text = "x".repeat(500);
    this.gaps = []; // [from, to] without any acknowledgement, the longer ones
    this.errors = new Map();
    this.count = 0;
    this.done = Promise.all(Array.from({ length: writers }, (_, writer) => this.write(writer)));
  }

  async write(writer) {
    for (let n = 0; !this.stopped; n++) {
      const id = `w${writer}-${n % 50}`;
      this.attempted.set(id, n);
      const began = Date.now();
      try {
        await this.container.items.upsert({ id, pk: `p${writer}`, n, text: this.text });
        this.acknowledged.set(id, n);
        const now = Date.now();
        if (now - this.last > 500) this.gaps.push([this.last, now]);
        this.last = now;
        this.begun = [...this.begun.slice(-9), began];
        this.count++;
      } catch (error) {
        const what = error.code ?? error.name;
        this.errors.set(what, (this.errors.get(what) ?? 0) + 1);
        n--; // the same document again, as an application would
        if (this.stopped) return;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }

  /** The longest time without an acknowledged write since `from`, in ms. */
  pause(from) {
    const ends = this.gaps.filter(([, to]) => to > from).map(([start, to]) => to - Math.max(start, from));
    return Math.max(0, ...ends, Date.now() - Math.max(this.last, from));
  }

  /** Waits until several writes were acknowledged that began later than now. */
  async goesOn(what, limitMs) {
    const from = Date.now();
    await until(`writes go on: ${what} (errors so far: ${JSON.stringify([...this.errors])})`,
      () => this.begun.filter((began) => began > from).length > 5, limitMs);
  }

  async stop() {
    this.stopped = true;
    await this.done;
  }

  /** What is there that should not be, or is not there that should be. */
  async differences(container) {
    const wrong = [];
    const { resources } = await container.items.query("SELECT c.id, c.n FROM c").fetchAll();
    const there = new Map(resources.map(({ id, n }) => [id, n]));
    for (const [id, n] of this.acknowledged)
      if (!(there.get(id) >= n)) wrong.push(`${id}: ${n} was acknowledged, ${there.get(id)} is there`);
    for (const [id, n] of there)
      if (!(n <= this.attempted.get(id))) wrong.push(`${id}: ${n} is there, and was never written`);
    return wrong;
  }
}
