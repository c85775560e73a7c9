// Releases in one cluster: the program of the previous commit beside this one,
// and this one beside that of a release to come, which supports one feature
// level more. Nodes are replaced one after the other under load, rolled back,
// killed; the feature level rises when it may, and not before.
//
//   TEST_PREVIOUS=COMMIT tests/run.sh tests/system/test_upgrade.mjs
//
// test-timeout: 600
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import path from "node:path";
import { afterEach, test } from "node:test";
import { Cluster, isAlive, makeContainer, program, root, until } from "../sdk/lib.mjs";
import { command, killAlone, startAlone, statusOf, untilTopology } from "./lib.mjs";
import { Load } from "./load.mjs";
import { scrape } from "./metrics.mjs";
import { previousProgram } from "./previous.mjs";

const RATE = 100;
const SOME = 100; // writes that show that it goes on
const KEPT_OUT = 2; // the level from which on a program knows that it is too old
const CUT_OFF = /^(ECONNRESET|ECONNREFUSED|EPIPE|socket hang up)$/;

/** A release from before there were levels supports the first. */
const supported = (by) =>
  JSON.parse(execFileSync(by, ["version", "-o", "json"], { encoding: "utf8" })).feature_level ?? 1;
const activeAt = (status) => status.feature_level?.active ?? 1;

/** A cluster under load whose nodes change their program. */
class Fleet {
  static async start(by, flags = []) {
    const fleet = new Fleet();
    fleet.alone = new Map(); // name -> its process, once we started it
    fleet.cluster = await Cluster.start({ program: by, flags });
    fleet.load = new Load(fleet.cluster, await makeContainer(fleet.cluster.client()), { rate: RATE, fresh: true }).start();
    return fleet;
  }
  async end() {
    this.load.close();
    await killAlone();
    await this.cluster.stop();
  }

  node(name) {
    return this.cluster.nodes.find((node) => node.name === name);
  }
  refused() {
    return [...this.load.refused.values()].reduce((sum, times) => sum + times, 0);
  }

  async stop(name, signal = "SIGTERM") {
    if (this.alone.has(name)) await this.alone.get(name).kill(signal);
    else process.kill(this.node(name).pid, signal);
    await until(`${name} has ended`, () => !isAlive(this.node(name).pid));
    this.alone.delete(name);
  }
  async startNode(name, by, { env = {}, ...rest } = {}) {
    const alone = await startAlone(this.cluster, this.node(name), env, { by, ...rest });
    this.alone.set(name, alone);
    return alone;
  }
  /** Stops a node in order and starts it by another program; no client notices. */
  async replace(name, by, options) {
    const before = this.refused();
    await this.stop(name);
    const alone = await this.startNode(name, by, options);
    assert.ok(!alone.ended(), `${name} starts: ${alone.output()}`);
    await this.connected();
    await this.load.more(SOME);
    assert.equal(this.refused(), before, `replacing ${name} fails no request: ${this.load.story()}`);
  }

  /** The same for a node that was kept out: what clients asked of it meanwhile
   *  may be cut off. */
  async readmit(name, by) {
    await this.stop(name);
    await this.startNode(name, by);
    await this.connected();
    await this.load.more(SOME);
  }

  /** Every node has a link to every other. */
  async connected() {
    const all = this.cluster.nodes.length;
    await until("all links are up", async () => {
      const status = await statusOf(this.cluster);
      return status.size === all && [...status.values()].every(({ ready, links }) =>
        ready && links.length === all - 1 && links.every(({ state }) => state === "up"));
    }).catch(async (error) => assert.fail(`${error.message}\n${(await command(this.cluster, "status")).stdout}\n` +
      [...this.alone.values()].map((alone) => alone.output().split("\n").slice(-15).join("\n")).join("\n\n")));
  }
  /** All nodes agree on the level; where it has to get to it, within a bound. */
  async untilLevel(level) {
    await until(`the cluster is at feature level ${level}`, async () => {
      const status = await statusOf(this.cluster);
      return status.size === this.cluster.nodes.length && [...status.values()].every((one) => activeAt(one) === level);
    });
  }
  async assertLevel(level) {
    for (const [name, status] of await statusOf(this.cluster)) assert.equal(activeAt(status), level, name);
  }

  /** The node whose region is first for writes leads all shards. */
  async leads(name) {
    await untilTopology(this.cluster, `the writes are at ${name}`, (topology) =>
      topology.write_region === this.node(name).region, 90_000);
    await until(`${name} leads`, async () =>
      (await statusOf(this.cluster)).get(name)?.shards.every(({ role }) => role === "leader"));
  }
  /** It dies; others take over, and it comes back. */
  async killLeader(name, by) {
    await this.leads(name);
    await this.stop(name, "SIGKILL");
    await this.load.more(SOME);
    await this.startNode(name, by);
    await this.connected();
    await this.leads(name);
  }

  /** Nothing acknowledged is lost, nobody was told anything wrong. */
  async finish(t) {
    await this.load.stop();
    t.diagnostic(this.load.story());
    await this.load.compare();
    assert.deepEqual([...this.load.refused.keys()].filter((what) => !CUT_OFF.test(what) && ![408, 503].includes(what)), []);
  }
}

let fleet;
afterEach(async () => {
  await fleet?.end();
  fleet = undefined;
});

test("from the previous commit to this one, and back, and again", async (t) => {
  const { commit, program: old, missing } = await previousProgram();
  if (missing) return t.skip(missing);
  const before = supported(old), now = supported(program);
  t.diagnostic(`previous: ${commit}, feature level ${before}; this: ${now}`);
  assert.ok(before <= now, "a release supports what the one before it did");

  fleet = await Fleet.start(old);
  const [first, second, third] = fleet.cluster.nodes.map(({ name }) => name);
  await fleet.replace(second, program);
  await fleet.replace(third, program);
  await fleet.assertLevel(before);
  await fleet.replace(third, old);
  await fleet.replace(third, program);

  await fleet.killLeader(first, old); // those of this commit take over, and give back
  await fleet.assertLevel(before);
  await fleet.replace(first, program);
  await fleet.untilLevel(now);
  await fleet.killLeader(first, program);

  if (before < now) {
    await fleet.stop(third);
    const alone = await fleet.startNode(third, old, { waitReady: false });
    if (before >= KEPT_OUT) await endsBy(alone, third, now, before);
    else await refusedBy(fleet, first, third, /supports feature level \d+, the cluster is at \d+/);
    await fleet.readmit(third, program);
  }
  await fleet.finish(t);
});

/** A node of too old a release does not start, and says why. */
async function endsBy(alone, name, level, supported) {
  await until(`${name} has ended`, () => alone.ended());
  assert.equal(alone.code(), 1, alone.output());
  assert.match(alone.output(), new RegExp(`the cluster is at feature level ${level}, this program supports levels up to ${supported}: start the node with`));
}

/** A node has no link to another, and says why. */
async function refusedBy(fleet, name, other, why) {
  await until(`${name} refuses ${other}`, async () => {
    const link = (await statusOf(fleet.cluster)).get(name)?.links.find(({ node }) => node === other);
    return link?.refused && why.test(link.reason);
  });
  assert.match((await command(fleet.cluster, "status")).stdout, new RegExp(`No link from ${name} to ${other}, refused: .*${why.source}`));
  const { families } = await scrape(fleet.cluster, fleet.node(name));
  const { value } = families.get("bastide_link_refusals_total").samples.find(({ labels }) => labels.peer === other);
  assert.ok(value > 0, "it is counted");
}

test("to a release with one feature level more, which is held, then raised", async (t) => {
  const next = path.join(root, "build/tests/bastide-next");
  const { MAKEFLAGS, MAKELEVEL, ...env } = process.env;
  execFileSync("make", ["-s", "build/tests/bastide-next"], { cwd: root, env });
  const now = supported(program);
  assert.equal(supported(next), now + 1);

  fleet = await Fleet.start(program);
  const [first, second, third] = fleet.cluster.nodes.map(({ name }) => name);
  await fleet.untilLevel(now);
  const hold = { env: { BASTIDE_FEATURE_LEVEL_MAX: String(now) } };
  await fleet.replace(third, next, hold);
  await fleet.replace(second, next);
  await fleet.replace(first, next);
  assert.match((await command(fleet.cluster, "status")).stdout, new RegExp(`Feature level ${now}; programs support ${now + 1} to ${now + 1}`));

  // One node holds it, so all can still go back.
  await fleet.replace(first, program);
  await fleet.replace(first, next);
  await fleet.assertLevel(now);
  await fleet.replace(third, next);
  await fleet.untilLevel(now + 1);
  const { records } = JSON.parse((await command(fleet.cluster, "audit", "-o", "json")).stdout);
  assert.ok(records.some(({ what, before, after }) =>
    what === "raise the feature level" && before === `level ${now}` && after === `level ${now + 1}`), "it is in the audit");

  // A node of the older release does not start any more: its log says why, or,
  // where that is empty or behind, a peer.
  for (const args of [[], ["--rebuild", "--yes"]]) {
    await fleet.stop(second);
    const alone = await fleet.startNode(second, program, { args, waitReady: false });
    await endsBy(alone, second, now + 1, now);
  }
  await fleet.readmit(second, next);
  await fleet.finish(t);
});
