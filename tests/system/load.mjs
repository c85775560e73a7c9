// A load at a steady rate that remembers what was acknowledged, for tests that
// take nodes away under it: how long no write was acknowledged, what clients
// were told, and whether every acknowledged write is there afterwards. Raw
// requests, so that nobody repeats one behind our back.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import https from "node:https";
import { performance } from "node:perf_hooks";
import { until } from "../sdk/lib.mjs";

const TICK_MS = 10;
const KEYS = 8; // partition keys, over all shards
const UNDER_WAY_MAX = 3000; // beyond it operations are left out, and counted

const textOf = (id) => createHash("sha256").update(id).digest("hex").repeat(1 + (id.length % 5));
const keyOf = (pk) => ({ "x-ms-documentdb-partitionkey": JSON.stringify([pk]) });

export class Load {
  /** Four of five operations create a document, the fifth reads one that was
   *  acknowledged. They go to the account endpoint, which every node serves;
   *  every third (`fresh`) by a connection of its own, the others by turns over
   *  the connections that are open, so that all nodes are asked. */
  constructor(cluster, container, { rate = 500, fresh = false } = {}) {
    Object.assign(this, { cluster, container, rate, fresh });
    this.path = `/dbs/${container.database.id}/colls/${container.id}/docs`;
    this.agent = new https.Agent({ ca: cluster.ca, keepAlive: true, maxSockets: 64, scheduling: "fifo" });
    this.begun = new Map(); // id -> pk: what may be there
    this.acknowledged = []; // ids: what must be there
    this.at = Array.from({ length: KEYS }, () => []); // when, by partition key
    this.refused = new Map(); // what clients were told -> times
    this.wrong = [];
    this.operations = this.left = this.underWay = 0;
  }

  start() {
    let due = 0, last = performance.now();
    this.timer = setInterval(() => {
      const now = performance.now();
      due += ((now - last) * this.rate) / 1000;
      last = now;
      for (; due >= 1; due--) {
        if (this.underWay >= UNDER_WAY_MAX) this.left++;
        else this.operate();
      }
    }, TICK_MS);
    return this;
  }

  /** No more operations; resolves when those under way have ended. */
  async stop() {
    clearInterval(this.timer);
    await until("the load has ended", () => this.underWay === 0, 60_000);
  }
  close() {
    clearInterval(this.timer);
    this.agent.destroy();
  }

  async operate() {
    const n = this.operations++;
    this.underWay++;
    try {
      await (n % 5 === 4 && this.acknowledged.length > 0 ? this.read(n) : this.create(n));
    } catch (error) {
      this.tell(error.code ?? error.message);
    } finally {
      this.underWay--;
    }
  }
  agentOf(n) {
    return this.fresh && n % 3 === 0 ? false : this.agent;
  }
  tell(what) {
    this.refused.set(what, (this.refused.get(what) ?? 0) + 1);
  }

  async create(n) {
    const id = `d${n}`, key = n % KEYS, pk = `p${key}`;
    this.begun.set(id, pk);
    const { status, text } = await this.cluster.request({ method: "POST", path: this.path, headers: keyOf(pk), agent: this.agentOf(n),
      body: JSON.stringify({ id, pk, text: textOf(id) }) });
    if (status === 201) {
      this.acknowledged.push(id);
      this.at[key].push(performance.now());
    } else if ([408, 429, 503].includes(status)) this.tell(status);
    else this.wrong.push(`create ${id}: ${status} ${text.slice(0, 200)}`);
  }

  async read(n) {
    const id = this.acknowledged[(n * 7919) % this.acknowledged.length], pk = this.begun.get(id);
    const { status, json, text } = await this.cluster.request({ path: `${this.path}/${id}`, headers: keyOf(pk), agent: this.agentOf(n) });
    if (status === 200 ? json.text !== textOf(id) : ![408, 429, 503].includes(status))
      this.wrong.push(`${id} was acknowledged; a read says ${status} ${text.slice(0, 200)}`);
    if (status !== 200) this.tell(status);
  }

  /** Resolves when `count` more writes have been acknowledged. */
  async more(count, limitMs) {
    const goal = this.acknowledged.length + count;
    await until(`${count} more writes`, () => this.acknowledged.length >= goal, limitMs);
  }

  /** Longest time since `from` (performance.now()) in which no write of some
   *  partition key was acknowledged, in whole milliseconds. */
  pause(from) {
    const end = performance.now();
    const longest = (times) => {
      const marks = [from, ...times.filter((time) => time > from), end];
      return Math.max(...marks.slice(1).map((time, n) => time - marks[n]));
    };
    return Math.round(Math.max(...this.at.map(longest)));
  }

  /** What a node shows: id -> document. */
  async contents(node) {
    const found = new Map();
    for (let continuation = ""; continuation !== undefined; ) {
      const { status, headers, json, text } = await this.cluster.request({ path: this.path, endpoint: node.endpoint, agent: this.agent,
        headers: { "x-ms-max-item-count": "1000", ...(continuation && { "x-ms-continuation": continuation }) } });
      assert.equal(status, 200, `${node.name}: ${text}`);
      for (const document of json.Documents) {
        assert.ok(!found.has(document.id), `${node.name} lists ${document.id} twice`);
        found.set(document.id, document);
      }
      continuation = headers["x-ms-continuation"];
    }
    return found;
  }

  /** Every node shows every acknowledged write as it was written, and nothing
   *  that nobody wrote. */
  async compare() {
    assert.deepEqual(this.wrong, []);
    for (const node of this.cluster.nodes) {
      const found = await this.contents(node);
      const missing = this.acknowledged.filter((id) => !found.has(id));
      assert.deepEqual(missing.slice(0, 20), [], `${node.name} lacks ${missing.length} of ${this.acknowledged.length} acknowledged writes`);
      for (const [id, { pk, text }] of found) {
        assert.equal(pk, this.begun.get(id), `${node.name}: nobody wrote ${id}`);
        assert.equal(text, textOf(id), `${node.name}: ${id}`);
      }
    }
  }

  story() {
    const told = [...this.refused].map(([what, times]) => `${times} ${what}`).join(", ") || "none";
    return `${this.operations} operations, ${this.acknowledged.length} writes acknowledged, refused or cut off: ${told}` +
      (this.left > 0 ? `, ${this.left} left out` : "");
  }
}
