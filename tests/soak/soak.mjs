// Users of the SDK in every region of a real cluster, faults and orders drawn
// at random, and a comparison of everything that was acknowledged with what
// every node shows and what is in the conflicts feed. Knows nothing of the code:
// only what the levels promise (docs/consistency.md). regions.mjs runs it for
// long, tests/system/test_region_soak.mjs for a minute.
import { createHash } from "node:crypto";
import https from "node:https";
import { setTimeout as delay } from "node:timers/promises";
import { Cluster, isAlive, makeContainer, run, until } from "../sdk/lib.mjs";
import { admin, complaints, logOf } from "../system/lib.mjs";

export const LEVELS = ["strong", "bounded-staleness", "session", "prefix", "eventual"];
const WORDS = { Strong: "strong", BoundedStaleness: "bounded-staleness", Session: "session", ConsistentPrefix: "prefix", Eventual: "eventual" };
const BOUNDS = ["--max-staleness-entries", "400", "--max-staleness-seconds", "5"];
const SETTLE_MS = 90_000;
// What a user of a failing cluster may be told (docs/consistency.md, "What
// clients notice"), and a create that an SDK has repeated.
const DOCUMENTED = /ECONNRESET|ECONNREFUSED|EPIPE|socket hang up|ETIMEDOUT|Timeout|aborted|^503|^408|^429|^409/i;
// And while answers are spoilt on request: any status, or half a JSON text.
const SPOILT = /^4\d\d|^5\d\d|JSON|Premature|terminated|Invalid response|Parse Error/i;
const PARTITIONS = 5;

const textOf = (id, v) => createHash("sha256").update(`${id} ${v}`).digest("hex").repeat(4);
const intact = ({ id, v, text }) => text === textOf(id, v);

/** A small seeded generator. */
export function generator(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) % below;
  };
}

export class Soak {
  constructor({ level = "session", seed = 1, flags = [], users = 1, changing = false, parent, log = () => {} } = {}) {
    Object.assign(this, { level, seed, flags, users, changing, parent, log });
    this.random = generator(seed);
    this.wrong = [];
    this.registers = new Map(); // id -> { acknowledged, begun }: one writer each
    this.documents = new Map(); // id -> { acknowledged, gone }: written once
    this.suspects = []; // what is wrong unless it was overwritten by force
    this.errors = new Map();
    this.counts = { writes: 0, reads: 0, failed: 0 };
    this.everWeak = level !== "strong";
  }

  pick(list) {
    return list[this.random(list.length)];
  }
  complain(text) {
    if (this.wrong.length < 50) this.wrong.push(`${new Date().toISOString()} ${text}`);
  }

  async start() {
    // Regions that return are trusted again soon.
    process.env.BASTIDE_TIMEOUTS_REGION_UP_MS = "500";
    const word = this.level === "bounded-staleness" ? "bounded,K=400,T=5" : this.level;
    this.cluster = await Cluster.start({ flags: ["--consistency", word, ...this.flags], parent: this.parent });
    this.regions = this.cluster.info.regions.map(({ name }) => name);
    this.agent = new https.Agent({ ca: this.cluster.ca, keepAlive: true, maxSockets: 16 });
    this.container = await makeContainer(this.cluster.client());
    this.path = `/dbs/${this.container.database.id}/colls/${this.container.id}`;
    this.stopped = false;
    this.work = Promise.all([
      ...this.regions.flatMap((region, r) => Array.from({ length: this.users }, (_, n) => this.user(region, r, n))),
      this.watchAccount()]);
  }

  async stop() {
    this.stopped = true;
    await this.work;
    this.agent.destroy();
    for (const { name, dir } of this.cluster.nodes)
      for (const { message, msg } of complaints(logOf({ dir })).filter(({ level }) => level === "error"))
        this.log(`# ${name}: ${message ?? msg}`);
    await this.cluster.halt();
    if (this.wrong.length === 0) this.cluster.remove();
  }

  // -- users -----------------------------------------------------------------

  client(region) {
    const regions = [region, ...this.regions.filter((name) => name !== region)];
    const session = ["bounded-staleness", "session"].includes(this.level);
    const client = this.cluster.client({ keepAlive: false, connectionPolicy: { preferredLocations: regions },
      ...(session ? { consistencyLevel: "Session" } : {}) });
    return client.database(this.container.database.id).container(this.container.id);
  }

  failed(error, what) {
    this.counts.failed++;
    const words = `${error.code ?? ""} ${error.substatus ?? ""} ${error.message}`.slice(0, 300);
    const key = words.replace(/[\d.:-]{6,}/g, "~").slice(0, 70).replace(/\s+/g, " ");
    this.errors.set(key, (this.errors.get(key) ?? 0) + 1);
    // A level that has just been changed is another one for a request under way.
    if (this.changing && error.code === 400 && /consistency/i.test(words)) return;
    if (!DOCUMENTED.test(words) && !(this.spoiling && SPOILT.test(words))) this.complain(`${what}: ${words}`);
  }

  /** One user: creates, replaces, deletes and reads, one after the other, and
   *  judges what it is shown. */
  async user(region, r, n) {
    const name = `${region}-${n}`;
    const pk = `p${(r * this.users + n) % PARTITIONS}`;
    const make = (id) => {
      const register = { id, pk, acknowledged: 0, begun: 0, lost: [] };
      this.registers.set(id, register);
      return register;
    };
    const [first, second] = [make(`${name}-a`), make(`${name}-b`)];
    let level, there, seen;
    for (let turn = 0; !this.stopped; turn++) {
      if (this.paused) {
        await delay(20);
        continue;
      }
      this.busy = (this.busy ?? 0) + 1;
      if (level !== this.level) {
        level = this.level;
        there = this.client(region);
        seen = new Map(); // a new session
      }
      const session = ["bounded-staleness", "session"].includes(level);
      const mine = new Set(); // written in this session and turn
      const still = () => level === this.level && !this.inDoubt;
      try {
        for (const register of [first, second]) {
          const v = ++register.begun;
          await there.items.upsert({ id: register.id, pk, v, text: textOf(register.id, v) });
          register.acknowledged = v;
          seen.set(register.id, v);
          this.counts.writes++;
        }
        const id = `${name}-d${turn}`;
        const document = { id, pk: `p${turn % PARTITIONS}`, acknowledged: false, deleting: false, gone: false };
        this.documents.set(id, document);
        await there.items.create({ id, pk: document.pk, v: 0, text: textOf(id, 0) });
        document.acknowledged = true;
        mine.add(document);
        this.counts.writes++;
        if (turn % 8 === 3) {
          document.deleting = true;
          await there.item(id, document.pk).delete();
          document.gone = true;
          this.counts.writes++;
        }
        // Own writes.
        const { resource, statusCode } = await there.item(id, document.pk).read();
        this.counts.reads++;
        if (resource && !intact(resource)) this.complain(`${region}: ${id} is damaged: ${JSON.stringify(resource)}`);
        if ((session || level === "strong") && still() && (statusCode === 404) !== document.gone)
          this.suspect(level, id, document.gone ? "deleted" : 0, `${name} read its ${id} with ${statusCode}`);
        // Others' registers: never backwards; strong: never behind.
        const other = this.pick([...this.registers.values()]);
        const least = level === "strong" ? other.acknowledged : (session ? seen.get(other.id) ?? 0 : 0);
        const answer = await there.item(other.id, other.pk).read();
        this.counts.reads++;
        const got = answer.resource?.v ?? 0;
        if (answer.resource && !intact(answer.resource))
          this.complain(`${region}: ${other.id} is damaged: ${JSON.stringify(answer.resource)}`);
        if (got > other.begun) this.complain(`${name} read ${other.id} = ${got}, never written`);
        if (got < least && still()) this.suspect(level, other.id, least, `${name} read ${other.id} = ${got} after ${least}`);
        if (session) seen.set(other.id, got);
        // A prefix: of one partition, in one step.
        if (turn % 4 === 1) {
          const { resources } = await there.items.query({ query: "SELECT c.id, c.v FROM c WHERE ARRAY_CONTAINS(@ids, c.id)",
            parameters: [{ name: "@ids", value: [first.id, second.id] }] }, { partitionKey: pk }).fetchAll();
          const at = (register) => resources.find((one) => one.id === register.id)?.v ?? 0;
          this.counts.reads++;
          if (at(second) > at(first))
            this.suspect(level, first.id, at(second), `${name} saw ${second.id} = ${at(second)} and ${first.id} = ${at(first)}`);
        }
      } catch (error) {
        this.failed(error, `${name} (${level})`);
        // A write that may yet be done: its register goes on with the next
        // version; what is seen of it is not judged by this session.
        await delay(50);
      } finally {
        this.busy--;
      }
      await delay(10);
    }
  }

  /** Wrong, unless version `v` of `id` was overwritten by a forced decision. */
  suspect(level, id, v, what) {
    if (level === "strong" && !this.everWeak) this.complain(`strong: ${what}`);
    else this.suspects.push({ id, v, what: `${new Date().toISOString()} ${level}: ${what}` });
  }

  /** The account document is always one. */
  async watchAccount() {
    while (!this.stopped) {
      const node = this.cluster.nodes[Math.floor(Math.random() * this.cluster.nodes.length)];
      try {
        const { status, json, text } = await this.cluster.request({ endpoint: node.endpoint, agent: this.agent });
        const fine = status === 200 && json.writableLocations?.length === 1 && json.readableLocations?.length >= 1 &&
          [...json.writableLocations, ...json.readableLocations].every(({ name, databaseAccountEndpoint }) =>
            this.regions.includes(name) && URL.canParse(databaseAccountEndpoint)) &&
          json.userConsistencyPolicy?.defaultConsistencyLevel !== undefined;
        if (!fine && !(status === 503 && this.spoiling)) this.complain(`account document of ${node.name}: ${status} ${text.slice(0, 500)}`);
      } catch {
        // Dead, stopped.
      }
      await delay(100);
    }
  }

  // -- faults and orders ---------------------------------------------------------

  nodesOf(region) {
    return this.cluster.reload().nodes.filter((node) => node.region === region);
  }
  signal(nodes, name) {
    for (const { pid } of nodes) if (isAlive(pid)) process.kill(pid, name);
  }
  async kill(nodes) {
    this.signal(nodes, "SIGKILL");
    await until("they are dead", () => !nodes.some(({ pid }) => isAlive(pid)));
  }
  async tell(method, target, body, nodes = this.cluster.reload().nodes) {
    return Promise.all(nodes.map((node) => admin(this.cluster, node, method, target, body).catch((error) => ({ status: 0, json: error.message }))));
  }
  async command(...args) {
    const begun = Date.now();
    const result = await run([...args, "--dir", this.cluster.dir]);
    if (![0, 1, 2].includes(result.code)) this.complain(`bastide ${args.join(" ")}: ${JSON.stringify(result)}`);
    if (Date.now() - begun > 40_000) this.complain(`bastide ${args.join(" ")} took ${Date.now() - begun} ms`);
    this.said.push(`[${args.slice(1).join(" ")}: ${result.code === 0 ? "done" : (result.stderr.trim().split("\n").at(-1)).slice(0, 140)}]`);
    return result;
  }
  shuffled(list) {
    const rest = [...list], out = [];
    while (rest.length > 0) out.push(...rest.splice(this.random(rest.length), 1));
    return out;
  }
  async writeRegion() {
    for (const { status, json } of await this.tell("GET", "/topology")) if (status === 200) return json.write_region;
    return this.regions[0];
  }
  async metaLeader() {
    for (const [n, { status, json }] of (await this.tell("GET", "/status")).entries())
      if (status === 200 && json.shards[0].role === "leader") return this.cluster.nodes[n];
    return undefined;
  }
  /** A region, more often than not the one with the writes. */
  async target() {
    return this.random(3) > 0 ? this.writeRegion() : this.pick(this.regions);
  }
  pause(most) {
    return delay(100 + this.random(most));
  }

  /** A fault of a kind from the menu (node/inject/inject.h), as POST /faults takes
   *  it, with what may vary about it drawn. Some are no faults to live with for
   *  long, so all end by themselves. */
  static MENU = {
    cut: () => ({}),
    delay: (soak) => ({ delay_ms: 20 + soak.random(180), jitter_ms: soak.random(100) }),
    loss: (soak) => ({ percent: 1 + soak.random(20) }),
    duplicate: (soak) => ({ percent: 1 + soak.random(50) }),
    bandwidth: (soak) => ({ kbit_per_second: 200 + soak.random(2000) }),
    "slow-close": (soak) => ({ delay_ms: 100 + soak.random(2000) }),
    "handshake-failure": (soak) => ({ percent: 20 + soak.random(80) }),
    certificate: (soak) => ({ problem: soak.pick(["expired", "revoked", "wrong-region"]) }),
    down: () => ({}),
    kill: () => ({}),
    pause: () => ({}),
    "slow-loop": (soak) => ({ delay_ms: 5 + soak.random(50) }),
    "clock-jump": (soak) => ({ offset_ms: soak.pick([-30_000, -1000, 1000, 120_000]) }),
    // Within what leases allow for.
    "clock-drift": (soak) => ({ ppm: soak.pick([-20_000, -500, 500, 20_000]) }),
    "disk-full": () => ({}),
    "disk-slow": (soak) => ({ delay_ms: 20 + soak.random(400) }),
    "disk-hang": () => ({}),
    "disk-error": (soak) => ({ disk: soak.pick(["write", "sync"]) }),
    "allocation-failure": (soak) => ((soak.spoiling = true), { percent: 1 + soak.random(5) }),
    respond: (soak) => ({ ...soak.pick([{ status: 429, retry_after_ms: 50 }, { status: 503 }, { status: 408, when: "after" }, { status: 449 }]), ...soak.struck() }),
    reset: (soak) => ({ when: soak.pick(["before", "after"]), ...soak.struck() }),
    "answer-delay": (soak) => ({ delay_ms: 50 + soak.random(1000), ...soak.struck() }),
    truncate: (soak) => soak.struck(),
    "key-rotated": () => ({ key: "secondary" }), // which nobody uses here
  };
  /** Requests that a fault facing clients strikes. */
  struck() {
    this.spoiling = true;
    return { operation: this.pick(["read", "query", "create", "upsert", "delete", "write"]), percent: 5 + this.random(30) };
  }
  async fromMenu(kind) {
    const members = Soak.MENU[kind](this);
    const ends = Soak.LINKS.includes(kind)
      ? { from: this.pick([await this.target(), "*"]), to: this.pick([...this.regions, "*"]), both: this.random(2) === 0 }
      : { at: this.pick([await this.target(), this.pick(this.cluster.reload().nodes).name]) };
    const seconds = 2 + this.random(5);
    const fault = { kind, ...members, ...ends, for: `${seconds}s` };
    const answers = await this.tell("POST", "/faults", fault);
    for (const { status, json } of answers)
      // A dead node, one that is being killed already, or one that starts.
      if (![0, 200, 409].includes(status) && !/is starting/.test(json?.message)) this.complain(`POST /faults ${JSON.stringify(fault)}: ${status} ${JSON.stringify(json)}`);
    this.said.push(JSON.stringify(fault));
    await delay(this.random(2) === 0 ? seconds * 1000 : this.random(1000));
  }
  static LINKS = ["cut", "delay", "loss", "duplicate", "bandwidth", "slow-close", "handshake-failure"];

  static FAULTS = {
    async menu() {
      await this.fromMenu(this.pick(Object.keys(Soak.MENU)));
    },
    /** The power of everything fails, in the middle of a write. */
    async losePower() {
      const nodes = this.cluster.reload().nodes;
      await this.tell("POST", "/faults", { kind: "torn-write", at: "*" });
      await this.tell("POST", "/faults", { kind: "kill", at: "*" });
      await until("they are dead", () => !nodes.some(({ pid }) => isAlive(pid)));
    },
    /** A bit of one node's log flips; the node gets its data anew from the others. */
    async flipBit() {
      await this.heal();
      const { name } = this.pick(this.cluster.reload().nodes);
      await this.tell("POST", "/faults", { kind: "bit-flip", file: "log", at: name });
      await this.kill(this.cluster.reload().nodes.filter((node) => node.name === name));
      await this.command("demo", "--start", name, "--rebuild", "--yes");
    },
    async killRegion() {
      await this.kill(this.nodesOf(await this.target()));
      await this.pause(5000);
    },
    async stopRegion() {
      const nodes = this.nodesOf(await this.target());
      this.signal(nodes, "SIGSTOP");
      await this.pause(5000);
      this.signal(nodes, "SIGCONT");
      await this.pause(1500);
    },
    async cutRegion() {
      const region = await this.target();
      const fault = this.pick([{ from: region, to: "*", both: true }, { from: region, to: "*" }, { from: "*", to: region }]);
      await this.tell("POST", "/faults", { kind: "cut", ...fault });
      await this.pause(5000);
    },
    async cutPair() {
      const [from, to] = this.shuffled(this.regions);
      await this.tell("POST", "/faults", { kind: "cut", from, to, both: this.random(2) === 0 });
      await this.pause(4000);
    },
    async hangDisks() {
      const nodes = this.nodesOf(await this.target());
      await this.tell("POST", "/faults", { kind: "disk-hang", at: "*" }, nodes);
      await this.pause(5000);
      if (this.random(3) === 0) await this.kill(nodes);
    },
    async killNode() {
      await this.kill([this.pick(this.cluster.reload().nodes)]);
      await this.pause(3000);
    },
    async killTwoRegions() {
      const [one, two] = this.shuffled(this.regions);
      await this.kill(this.nodesOf(one));
      await this.pause(2500);
      await this.kill(this.nodesOf(two));
      await this.pause(2000);
    },
    async killAll() {
      await this.kill(this.cluster.reload().nodes);
    },
    async plannedSwitch() {
      await this.command("region", "switch", this.pick(this.regions), "--timeout", "20");
    },
    async twoSwitches() {
      const [a, b] = this.shuffled(this.regions);
      const nodes = this.shuffled(this.cluster.reload().nodes);
      const answers = await Promise.all([a, b].map((to, n) =>
        admin(this.cluster, nodes[n], "POST", "/regions/switch", { to, force: false, dry_run: false }).catch(() => ({ status: 0 }))));
      this.said.push(`[${answers.map(({ status }) => status)}]`);
    },
    async switchAndKill() {
      const to = this.pick(this.regions);
      const switching = this.command("region", "switch", to, "--timeout", "10");
      await delay(this.random(300));
      await this.kill(this.nodesOf(this.random(2) === 0 ? to : await this.writeRegion()));
      await switching;
      await this.pause(2000);
    },
    async switchAndRestartAll() {
      const switching = this.command("region", "switch", this.pick(this.regions), "--timeout", "5");
      await delay(this.random(200));
      await this.kill(this.cluster.reload().nodes);
      await switching;
    },
    async cutAndForce() {
      const home = await this.writeRegion();
      await this.tell("POST", "/faults", { kind: "cut", from: home, to: "*", both: true });
      await this.pause(1500);
      await this.command("region", "switch", this.pick(this.regions.filter((name) => name !== home)), "--force", "--yes", "--timeout", "15");
      await this.pause(2000);
    },
    async killMetaLeaderToo() {
      const home = await this.writeRegion();
      await this.kill(this.nodesOf(home));
      await delay(800 + this.random(2200));
      const leader = await this.metaLeader();
      if (leader && leader.region !== home) {
        await this.kill([leader]);
        await this.pause(500);
        await this.cluster.restart(leader.name);
      }
      await this.pause(3000);
    },
    async newOrder() {
      const how = [...(this.random(2) === 0 ? ["--no-move"] : []), "--failback", this.pick(["automatic", "manual"])];
      await this.command("region", "priority", this.shuffled(this.regions).join(","), ...how, "--timeout", "20");
    },
    async slow() {
      const from = await this.target();
      await this.tell("POST", "/faults", { kind: "delay", from, to: "*", both: true, delay_ms: 120 });
      await this.tell("POST", "/faults", { kind: "loss", from, to: "*", both: true, percent: 5 });
      await this.pause(3000);
    },
  };

  async changeLevel() {
    const level = this.pick(LEVELS.filter((name) => name !== this.level));
    this.inDoubt = true;
    this.everWeak = true;
    const { code } = await this.command("consistency", "set", level, ...(level === "bounded-staleness" ? BOUNDS : []), "--timeout", "20");
    // Not on every node: which level it is shows when all are back.
    this.level = code === 0 ? level : "unknown";
    this.inDoubt = false;
  }

  /** One round: one to three faults or orders, then everything heals and is
   *  compared. Resolves with what was done. */
  async round(names) {
    this.said = [];
    const done = [];
    const all = Object.keys(Soak.FAULTS);
    const count = names?.length ?? 1 + this.random(3);
    const goal = this.counts.writes + 20 * this.users * this.regions.length;
    await until("users write", () => this.counts.writes >= goal, SETTLE_MS);
    const begun = Date.now();
    for (let n = 0; n < count; n++) {
      const name = names?.[n] ?? (this.random(2) === 0 ? "menu" : this.pick(all));
      done.push(name);
      const change = this.changing && this.random(3) === 0 ? this.changeLevel() : undefined;
      await (Soak.FAULTS[name] ? Soak.FAULTS[name].call(this) : this.fromMenu(name));
      await change;
    }
    const faulty = Date.now() - begun;
    await this.heal();
    this.spoiling = false;
    const settled = Date.now() - begun - faulty;
    await this.compare();
    return { done, said: this.said, faulty, settled, compared: Date.now() - begun - faulty - settled };
  }

  async heal() {
    const nodes = this.cluster.reload().nodes;
    this.signal(nodes, "SIGCONT");
    await this.tell("DELETE", "/faults");
    if (nodes.some(({ pid }) => !isAlive(pid))) await this.cluster.restart("all");
    let last;
    await until("the cluster settles", async () => {
      last = (await this.tell("GET", "/topology")).map(({ json }) => json);
      return last.every((t) => t.settled && !t.unavailable && t.regions.every(({ state, declared_down: down }) => state === "up" && !down));
    }, SETTLE_MS, 100).catch((error) => { throw new Error(`${error.message}: ${JSON.stringify(last)}`); });
    this.level = WORDS[last[0].level];
  }

  /** Everything one node shows at its own state: id -> document. */
  async contents(node) {
    const found = new Map();
    let continuation;
    do {
      const { status, json, headers, text } = await this.cluster.request({ endpoint: node.endpoint, path: `${this.path}/docs`, agent: this.agent,
        headers: { "x-ms-max-item-count": "1000", "x-ms-consistency-level": "Eventual", ...(continuation ? { "x-ms-continuation": continuation } : {}) } });
      if (status !== 200) throw new Error(`${node.name}: feed: ${status} ${text.slice(0, 300)}`);
      for (const one of json.Documents) {
        if (found.has(one.id)) this.complain(`${node.name} shows ${one.id} twice`);
        if (!intact(one)) this.complain(`${node.name}: ${one.id} is damaged: ${JSON.stringify(one)}`);
        found.set(one.id, one);
      }
      continuation = headers["x-ms-continuation"];
    } while (continuation);
    return found;
  }
  async conflicts() {
    const { resources } = await this.container.conflicts.readAll().fetchAll();
    return resources;
  }

  async compare() {
    this.paused = true;
    await until("users pause", () => !this.busy, SETTLE_MS);
    const digest = (contents) => createHash("sha256").update(JSON.stringify([...contents.entries()].sort(([a], [b]) => (a < b ? -1 : 1)))).digest("hex");
    let all, trouble;
    try {
      await until("every node shows the same", async () => {
        try {
          all = await Promise.all(this.cluster.nodes.map((node) => this.contents(node)));
        } catch (error) {
          trouble = error.message;
          return false;
        }
        return new Set(all.map(digest)).size === 1;
      }, SETTLE_MS, 300);
      const contents = all[0];
      let missing;
      await until("what is missing is among the conflicts", async () => {
        missing = this.judge(contents, await this.conflicts());
        return missing.length === 0;
      }, 20_000, 500).catch((error) => {
        if (missing === undefined) throw error;
        for (const one of missing) this.complain(one);
      });
      this.suspects = [];
    } catch (error) {
      if (all) this.log(`# sizes ${this.cluster.nodes.map(({ name }, n) => `${name}: ${all[n].size} ${digest(all[n]).slice(0, 8)}`)}`);
      this.complain(`${error.message} (${trouble})`);
    } finally {
      this.paused = false;
    }
  }

  /** What was acknowledged and is neither there nor a conflict. */
  judge(contents, conflicts) {
    const lost = new Set(), deletions = new Set();
    for (const one of conflicts) {
      if (one.operationType === "delete") {
        deletions.add(one.resourceId);
        continue;
      }
      const document = JSON.parse(one.content);
      if (!intact(document)) this.complain(`conflict ${one.id} is damaged`);
      lost.add(`${document.id} ${document.v}`);
    }
    this.conflictCount = conflicts.length;
    const strong = !this.everWeak, missing = [];
    const excused = (id, v) => !strong && lost.has(`${id} ${v}`);
    for (const [id, { acknowledged, deleting, gone }] of this.documents) {
      if (gone) {
        const back = contents.get(id);
        // The deletion or the document itself may have been overwritten.
        if (back && (strong || !deletions.has(back._rid))) missing.push(`${id} was deleted and is there`);
      } else if (acknowledged && !deleting && !contents.has(id) && !excused(id, 0)) missing.push(`${id} was acknowledged and is gone`);
    }
    for (const { id, acknowledged, begun } of this.registers.values()) {
      const v = contents.get(id)?.v ?? 0;
      if (v > begun) missing.push(`${id} = ${v} was never written`);
      if (v < acknowledged && !excused(id, acknowledged)) missing.push(`${id} = ${v}, but ${acknowledged} was acknowledged`);
    }
    for (const id of contents.keys())
      if (!this.documents.has(id) && !this.registers.has(id)) missing.push(`nobody wrote ${id}`);
    for (const { id, v, what } of this.suspects)
      if (v === "deleted" ? deletions.size === 0 : !lost.has(`${id} ${v}`)) missing.push(what);
    return missing;
  }
}
