// A node whose log is damaged refuses to start, and is rebuilt from the others
// when told to: under load, without losing an acknowledged write, and as a
// full member afterwards.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { Cluster, makeContainer, program, run, until } from "../sdk/lib.mjs";

let cluster, container, victim;
const acked = new Map();
const output = ({ stdout, stderr }) => stdout + stderr;
const config = (node) => path.join(node.dir, "node.yaml");
const start = (node, ...flags) => run(["node", "--config", config(node), ...flags], 20_000);

before(async () => {
  cluster = await Cluster.start();
  const made = await makeContainer(cluster.client());
  container = () => cluster.client().database(made.database.id).container(made.id);
  victim = cluster.nodes[1];
  // More than leaders keep in memory, so that a rebuild takes a snapshot.
  const pad = "x".repeat(64 * 1024);
  for (let i = 0; i < 320; i += 16)
    await Promise.all(Array.from({ length: 16 }, async (_, k) => {
      const id = `big-${i + k}`;
      await container().items.create({ id, pk: `p${k}`, value: i, pad });
      acked.set(id, { pk: `p${k}`, value: i });
    }));
});
after(async () => cluster?.stop());

/** Upserts until told to stop; remembers what was acknowledged. */
function writer(number) {
  const target = container();
  let going = true;
  const done = (async () => {
    for (let i = 0; going; i++) {
      const id = `w${number}-${i % 200}`;
      try {
        await target.items.upsert({ id, pk: `p${i % 7}`, value: i });
        acked.set(id, { pk: `p${i % 7}`, value: i, unsure: undefined });
      } catch {
        const known = acked.get(id);
        if (known) known.unsure = i; // may have been applied
      }
    }
  })();
  return { stop: () => ((going = false), done) };
}

async function checkEverything(when) {
  const target = container();
  assert.ok(acked.size > 50, `${acked.size} documents were written`);
  for (const [id, { pk, value, unsure }] of acked) {
    const { resource } = await target.item(id, pk).read();
    assert.ok(resource && (resource.value === value || resource.value === unsure),
      `${when}: ${id} was acknowledged with ${value}, found ${JSON.stringify(resource)}`);
  }
}

const logFiles = (node) =>
  readdirSync(path.join(node.dir, "data/wal"), { recursive: true })
    .map((name) => path.join(node.dir, "data/wal", name))
    .filter((name) => statSync(name).isFile() && /\.seg$/.test(name));

/** Turns a byte in the middle of what the fullest log file holds. */
function damage(node) {
  const used = (content) => {
    let end = content.length;
    while (end > 0 && content[end - 1] === 0) end--;
    return end;
  };
  const files = logFiles(node).map((file) => ({ file, content: readFileSync(file) }));
  const { file, content } = files.sort((a, b) => used(b.content) - used(a.content))[0];
  content[Math.floor(used(content) / 2)] ^= 0xff;
  writeFileSync(file, content, { mode: 0o600 });
  return path.basename(file);
}

const statusOf = async (node) => {
  const { stdout } = await run(["status", "--dir", cluster.dir, "-o", "json"]);
  return JSON.parse(stdout).nodes.find(({ name }) => name === node.name)?.status;
};

test("a damaged log is refused with file, offset and the way on", async () => {
  const writers = [1, 2].map(writer);
  await until("there is something to lose", () => acked.has("w1-150") && acked.has("w2-150"));
  await Promise.all(writers.map((w) => w.stop()));
  await cluster.kill(victim.name);
  const file = damage(victim);
  const result = await start(victim);
  assert.equal(result.code, 1, output(result));
  assert.match(output(result), new RegExp(`${file.replaceAll(".", "\\.")}, offset \\d+`));
  assert.ok(output(result).includes(`bastide node --config ${config(victim)} --rebuild`), output(result));
  assert.ok(!existsSync(path.join(victim.dir, "data/discarded-1")), "nothing is thrown away unasked");
});

test("it is rebuilt under load", async () => {
  const writers = [3, 4].map(writer);
  const before = acked.size;
  const result = await run(["demo", "--dir", cluster.dir, "--start", victim.name, "--rebuild"]);
  assert.equal(result.code, 0, output(result));
  cluster.reload();
  assert.ok(existsSync(path.join(victim.dir, "data/discarded-1/wal")), "the damaged data is kept aside");
  await until("the mark is gone", () => !existsSync(path.join(victim.dir, "data/rebuilding")));
  await until("writes went on", () => acked.size > before + 20);
  await Promise.all(writers.map((w) => w.stop()));
  const status = await statusOf(victim);
  assert.deepEqual(status.shards.filter(({ rebuilding }) => rebuilding), []);
  assert.match(readFileSync(path.join(victim.dir, "node.log"), "utf8"), /snapshot received/);
  await checkEverything("after the rebuild");
});

test("each of the others may die: nothing acknowledged is missing", async () => {
  for (const other of cluster.nodes.filter(({ name }) => name !== victim.name)) {
    await cluster.kill(other.name);
    const one = writer(other.name);
    await checkEverything(`without ${other.name}`);
    await one.stop();
    await cluster.restart(other.name);
  }
  await checkEverything("at the end");
});

test("the rebuilt node can lead again", async () => {
  const leads = async () => {
    const status = await statusOf(victim);
    return status?.shards.some(({ role }) => role === "leader");
  };
  // The others hand over or fall until it does.
  await until("it leads a shard", async () => {
    if (await leads()) return true;
    const other = cluster.reload().nodes.find(({ name }) => name !== victim.name);
    await cluster.kill(other.name);
    const led = await until("there is a leader", async () => {
      const status = await statusOf(victim);
      return status?.shards.every(({ leader }) => leader && leader !== other.name) && status;
    });
    await cluster.restart(other.name);
    return led.shards.some(({ role }) => role === "leader");
  }, 60_000);
  await container().items.upsert({ id: "last", pk: "a" });
});

test("a healthy directory is not thrown away by a slip", async () => {
  await cluster.halt();
  const refused = await start(victim, "--rebuild");
  assert.equal(refused.code, 1, output(refused));
  assert.match(output(refused), /no damage was found.*--yes/);
  assert.ok(!existsSync(path.join(victim.dir, "data/rebuilding")));
  assert.equal((await start(victim, "--yes")).code, 2);
  await cluster.launch();
  await checkEverything("after all that");
});

test("while another voter is down, a rebuild waits, and says for whom", async () => {
  const other = cluster.nodes[2];
  await cluster.kill(victim.name);
  await cluster.kill(other.name);
  const child = spawn(program, ["node", "--config", config(victim), "--rebuild", "--yes"], { stdio: "ignore" });
  try {
    const admin = new URL(victim.admin).origin;
    // Of those that have not answered it names one; soon only one is left.
    const answer = await until("it says whom it waits for", async () => {
      try {
        const got = await cluster.request({ endpoint: admin, path: "/readyz?verbose", sign: false });
        return got.json?.waits_for?.filter((why) => why.includes(`waits for node ${other.name} to tell its term`)).length === 3 && got;
      } catch {
        return undefined;
      }
    });
    assert.equal(answer.status, 503);
  } finally {
    child.kill("SIGKILL");
    await until("it ended", () => child.signalCode !== null || child.exitCode !== null);
  }
  assert.ok(existsSync(path.join(victim.dir, "data/rebuilding")), "the mark outlives a crash");
  await run(["demo", "--dir", cluster.dir, "--start", `${victim.name},${other.name}`]);
  cluster.reload();
  await until("it is rebuilt", () => !existsSync(path.join(victim.dir, "data/rebuilding")));
  await checkEverything("after a rebuild that crashed");
});

test("a voter that was added later is asked, too", async () => {
  const ok = async (...args) => {
    const result = await run([...args, "--dir", cluster.dir], 60_000);
    assert.equal(result.code, 0, `bastide ${args.join(" ")}: ${output(result)}`);
  };
  await cluster.restart("all");
  await until("all is well", async () => (await statusOf(victim))?.ready);
  await ok("init", "--join", "japaneast");
  await ok("demo", "--start", "japaneast-1");
  await ok("region", "add", "japaneast", "--yes");
  await cluster.kill(victim.name);
  await cluster.kill("japaneast-1");
  const rebuild = run(["demo", "--dir", cluster.dir, "--start", victim.name, "--rebuild", "--yes"]);
  const admin = new URL(victim.admin).origin;
  await until("it waits for the new voter alone", async () => {
    try {
      const got = await cluster.request({ endpoint: admin, path: "/readyz?verbose", sign: false });
      return got.json?.waits_for?.filter((why) => /waits for node japaneast-1 to tell its term/.test(why)).length === 3;
    } catch {
      return undefined;
    }
  });
  await cluster.restart("japaneast-1");
  const result = await rebuild;
  assert.equal(result.code, 0, output(result));
  await until("the mark is gone", () => !existsSync(path.join(victim.dir, "data/rebuilding")));
  await checkEverything("after the rebuild beside a new voter");
});
