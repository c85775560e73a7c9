// deploy/observability with a real Prometheus: its configuration and rules load,
// every expression of alerts and dashboard can be evaluated, and losing a region
// raises an alert.
import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Cluster, makeContainer, until } from "../sdk/lib.mjs";
import { Documents } from "./lib.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const source = path.join(root, "deploy/observability");
const read = (name) => readFileSync(path.join(source, name), "utf8");
const missing = ["prometheus", "promtool"].filter((program) => spawnSync(program, ["--version"]).error);
const options = missing.length > 0 && { skip: `no ${missing.join(", no ")}; deploy/install-deps.sh observability` };

const promtool = (...args) => execFileSync("promtool", args, { cwd: source, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

let cluster, documents, folder, prometheus, origin, output = "";
before(async () => {
  if (options) return;
  folder = mkdtempSync(path.join(tmpdir(), "bastide-prometheus-"));
  cluster = await Cluster.start({ flags: ["--consistency", "session"] });
  documents = new Documents(cluster, await makeContainer(cluster.client()));
});
after(async () => {
  prometheus?.kill("SIGKILL");
  documents?.close();
  await cluster?.stop();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Our files as they are, but for names, ports and patience. */
function adapt() {
  const config = read("prometheus.yml")
    .replace(/_interval: 5s/g, "_interval: 1s").replace("scrape_timeout: 4s", "scrape_timeout: 1s")
    .replace(/ca_file: .*/, `ca_file: ${path.join(cluster.dir, "ca.pem")}`);
  const targets = cluster.nodes.map(({ name, region, admin }) => ({
    targets: [new URL(admin).host], labels: { node: name, node_region: region } }));
  const consoles = path.join(folder, "consoles");
  writeFileSync(path.join(folder, "prometheus.yml"), config);
  writeFileSync(path.join(folder, "targets.yml"), JSON.stringify(targets)); // JSON is YAML
  writeFileSync(path.join(folder, "alerts.yml"), read("alerts.yml").replace(/^( +for: ).+$/gm, "$12s"));
  copyFileSync(path.join(source, "recording.yml"), path.join(folder, "recording.yml"));
  mkdirSync(consoles);
  copyFileSync(path.join(source, "bastide.html"), path.join(consoles, "bastide.html"));
  return consoles;
}

async function ask(target) {
  const response = await fetch(origin + target);
  const text = await response.text();
  return { status: response.status, text, json: text.startsWith("{") ? JSON.parse(text) : undefined };
}
async function query(expression) {
  const { json, text } = await ask(`/api/v1/query?query=${encodeURIComponent(expression)}`);
  assert.equal(json?.status, "success", `${expression}: ${text}`);
  return json.data.result;
}
const ruleGroups = async () => (await ask("/api/v1/rules")).json.data.groups;

test("configuration and rules are valid, and the rules' own tests pass", options, () => {
  promtool("check", "config", "--syntax-only", "prometheus.yml");
  promtool("check", "rules", "alerts.yml", "recording.yml");
  promtool("test", "rules", "alerts_test.yml");
});

test("every alert names a severity and a runbook that is there", () => {
  const anchors = readFileSync(path.join(root, "docs/operations.md"), "utf8").split("\n")
    .filter((line) => /^#+ /.test(line))
    .map((line) => line.replace(/^#+ /, "").toLowerCase().replace(/[^\w\- ]/g, "").replace(/ /g, "-"));
  const alerts = read("alerts.yml").split(/^ +- alert: /m).slice(1);
  assert.ok(alerts.length > 20);
  for (const alert of alerts) {
    const [name] = alert.split("\n");
    assert.match(alert, /severity: (critical|warning|info)\b/, name);
    assert.match(alert, /^ +summary: \S/m, name);
    assert.match(alert, /^ +description: /m, name);
    const [, anchor] = /^ +runbook: docs\/operations\.md#(\S+)$/m.exec(alert) ?? [];
    assert.ok(anchors.includes(anchor), `${name}: ${anchor}`);
  }
});

test("docs/monitoring.md lists every alert, and no other", () => {
  const text = readFileSync(path.join(root, "docs/monitoring.md"), "utf8");
  const documented = [...text.matchAll(/^\| (Bastide\w+) /gm)].map(([, name]) => name);
  const alerts = [...read("alerts.yml").matchAll(/- alert: (\w+)/g)].map(([, name]) => name);
  assert.deepEqual(documented.toSorted(), alerts.toSorted());
});

test("Prometheus takes the files and scrapes every node", options, async () => {
  const consoles = adapt();
  promtool("check", "config", path.join(folder, "prometheus.yml"));
  const port = await freePort();
  origin = `http://127.0.0.1:${port}`;
  prometheus = spawn("prometheus", [`--config.file=${folder}/prometheus.yml`, `--storage.tsdb.path=${folder}/data`,
    `--web.listen-address=127.0.0.1:${port}`, `--web.console.templates=${consoles}`, "--log.level=warn"],
    { stdio: ["ignore", "pipe", "pipe"] });
  for (const stream of [prometheus.stdout, prometheus.stderr]) stream.on("data", (data) => (output += data));
  let code;
  prometheus.once("exit", (exit, signal) => (code = exit ?? signal));
  await until("Prometheus is ready", async () => {
    assert.equal(code, undefined, `prometheus ended:\n${output}`);
    return (await ask("/-/ready").catch(() => ({}))).status === 200;
  });
  // It may take 5 s until it looks at its list of targets.
  const scraped = async () => (await query("sum(up)"))[0]?.value[1] === String(cluster.nodes.length);
  await until("every node is scraped", scraped).catch(async (error) => {
    throw new Error(`${error.message}\n${(await ask("/api/v1/targets")).text}\n${output}`);
  });
});

// What there may be nothing of in a young, healthy cluster.
const MAY_BE_EMPTY = /store_commit_duration/;

test("every expression of dashboard and rules can be evaluated, and says something", options, async () => {
  await documents.write(({ ids }) => ids.length > 100);
  await documents.compare(cluster.info.endpoint, [...documents.acknowledged.keys()].slice(0, 20));
  await until("the load is seen", async () => (await query('bastide:requests:rate1m{operation="read", class="2xx"} > 0')).length > 0);
  const dashboard = JSON.parse(read("dashboard.json"));
  const expressions = [...dashboard.panels.flatMap(({ targets = [] }) => targets), ...dashboard.annotations.list].map(({ expr }) => expr);
  assert.ok(expressions.length > 40);
  for (const expression of expressions.filter((text) => !/changes\(/.test(text)))
    await until(`an answer to ${expression}`, async () => MAY_BE_EMPTY.test(expression) ? [await query(expression)] : (await query(expression)).length > 0, 10_000, 200);
  const rules = (await ruleGroups()).flatMap((group) => group.rules);
  assert.ok(rules.length > 25);
  for (const rule of rules) {
    assert.equal(rule.lastError ?? "", "", rule.name);
    await query(rule.query);
  }
  // Every metric that is named is one that there is.
  const known = new Set((await ask("/api/v1/label/__name__/values")).json.data);
  for (const expression of [...expressions, ...rules.map((rule) => rule.query)])
    for (const [name] of expression.matchAll(/\b(bastide|process)_\w+/g)) assert.ok(known.has(name), `${name} in ${expression}`);
});

test("a cluster that is well raises no alarm", options, async () => {
  const firing = await query('ALERTS{alertstate="firing", severity!="info"}');
  assert.deepEqual(firing.map(({ metric }) => metric), []);
});

test("the console shows regions and nodes", options, async () => {
  const { status, text } = await ask("/consoles/bastide.html");
  assert.equal(status, 200, text);
  assert.match(text, /Writes are possible/);
  for (const { name, region } of cluster.nodes) assert.ok(text.includes(name) && text.includes(region), text);
});

test("losing the write region raises alerts that say so", options, async () => {
  const lost = cluster.nodes[0];
  await cluster.kill(lost.name);
  const firing = (name, labels) => async () =>
    (await query(`ALERTS{alertname="${name}", alertstate="firing", ${labels}}`)).length > 0;
  await until("the region is down", firing("BastideRegionDown", `region="${lost.region}"`));
  await until("the node is down", firing("BastideNodeDown", `node="${lost.name}"`));
  await until("the move of the writes is told", firing("BastideFailover", 'severity="warning"'));
  await until("the link is down", firing("BastideLinkDown", `peer="${lost.name}"`));
  assert.equal((await query('ALERTS{alertname="BastideNoWrites", alertstate="firing"}')).length, 0);
  const { text } = await ask("/consoles/bastide.html");
  assert.match(text, /BastideRegionDown/);
});
