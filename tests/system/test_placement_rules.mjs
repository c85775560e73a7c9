// Placement as an operator sees it: groups made, shown and changed with the
// command, and rules that say where containers are that do not ask.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { Cluster, run, until } from "../sdk/lib.mjs";
import { admin } from "./lib.mjs";

let cluster, client, database;

const nodeOf = (region) => cluster.nodes.find((node) => node.region === region);
const bastide = (...words) => run([...words, "--dir", cluster.dir]);
/** A command that must succeed; what it printed. */
const done = async (...words) => {
  const { code, stdout, stderr } = await bastide(...words);
  assert.equal(code, 0, `${words.join(" ")}: ${stderr}`);
  return stdout;
};
const json = async (...words) => JSON.parse(await done(...words, "-o", "json"));
/** A command that must fail with `code`, saying `says`. */
const fails = async (expected, says, ...words) => {
  const { code, stderr } = await bastide(...words);
  assert.equal(code, expected, `${words.join(" ")}: ${stderr}`);
  assert.match(stderr, says);
};
const containersOf = async (group) =>
  (await json("placement", "show", group)).containers.map(({ database, container }) => `${database}/${container}`).sort();
const createContainer = (id, options = {}) => database.containers.create({ id, partitionKey: "/pk" }, options);
const audit = async () => (await json("audit")).records;

before(async () => {
  cluster = await Cluster.start({ flags: ["--regions", "germany,france,us", "--consistency", "session"] });
  const { endpoint } = cluster.info.regions.find(({ name }) => name === "germany");
  client = cluster.client({ endpoint, connectionPolicy: { enableEndpointDiscovery: false } });
  ({ database } = await client.databases.create({ id: "shop" }));
});
after(() => cluster?.stop());

test("wrong usage is told before anybody is asked", async () => {
  for (const [says, ...words] of [
    [/expected create, list/, "placement"],
    [/expected create, list/, "placement", "make"],
    [/which name/, "placement", "create"],
    [/lower-case/, "placement", "create", "Eu", "--regions", "germany"],
    [/--regions A,B/, "placement", "create", "eu"],
    [/names, such as/, "placement", "create", "eu", "--regions", "germany,,france"],
    [/no level/, "placement", "create", "eu", "--regions", "germany", "--consistency", "sometimes"],
    [/needs --max-staleness-entries/, "placement", "create", "eu", "--regions", "germany", "--consistency", "bounded-staleness"],
    [/which group/, "placement", "show"],
    [/--priority, --consistency/, "placement", "set", "eu"],
    [/expected list, add/, "placement", "rules", "addd"],
    [/expected DATABASE\/CONTAINER/, "placement", "rules", "add", "de-*", "eu"],
    [/on or off/, "placement", "rules", "require", "maybe"],
    [/--at goes with add/, "placement", "rules", "list", "--at", "2"],
  ])
    await fails(2, says, ...words);
});

test("create waits until the group can be used, and warns", async () => {
  const { code, stdout, stderr } = await bastide("placement", "create", "eu", "--regions", "germany,france", "--shards", "2", "-o", "json");
  assert.equal(code, 0, stderr);
  assert.match(stderr, /Warning: eu has two regions/);
  const { group, shards, containers } = JSON.parse(stdout);
  assert.deepEqual(group.regions, ["germany", "france"]);
  assert.deepEqual(group.keys_for.sort(), ["france", "germany"]);
  assert.equal(group.unavailable, null);
  assert.equal(shards.length, 2);
  assert.ok(shards.every(({ leader }) => leader !== null));
  assert.deepEqual(containers, []);
  await fails(1, /of that name/, "placement", "create", "eu", "--regions", "germany");
  await fails(1, /does not have/, "placement", "create", "moon", "--regions", "moon");
});

test("list, show and status tell of it", async () => {
  const list = await done("placement", "list");
  assert.match(list, /eu +fenced +2 +germany +session +\w+ +germany,france/);
  assert.match(list, /default +open/);
  const shown = await done("placement", "show", "eu");
  assert.match(shown, /Placement group eu: fenced, consistency session/);
  assert.match(shown, /Keys for: germany, france/);
  assert.match(shown, /No container is in it/);
  assert.match(await done("status"), /GROUP +FENCE[^]*eu +fenced/);
  await fails(1, /no placement group "mars"/, "placement", "show", "mars");
});

test("the header is for creation, and a replace cannot move a container", async () => {
  const { container } = await createContainer("chosen", { initialHeaders: { "x-bastide-placement": "eu" } });
  const { resource } = await container.read();
  const body = { id: "chosen", partitionKey: resource.partitionKey, defaultTtl: 60 };
  const same = await container.replace(body, { initialHeaders: { "x-bastide-placement": "eu" } });
  assert.equal(same.resource.defaultTtl, 60);
  await container.replace({ ...body, defaultTtl: 70 });
  await assert.rejects(container.replace(body, { initialHeaders: { "x-bastide-placement": "default" } }),
    (error) => error.code === 400 && /cannot move/.test(error.message));
  await assert.rejects(container.replace(body, { initialHeaders: { "x-bastide-placement": "mars" } }),
    (error) => error.code === 400 && /no placement group/.test(error.message));
  assert.deepEqual(await containersOf("eu"), ["shop/chosen"]);
});

test("a rule puts containers where they belong, the first match and only new ones", async () => {
  assert.match(await done("placement", "rules"), /There are no rules/);
  await createContainer("de-before");
  await done("placement", "rules", "add", "shop/de-*", "eu");
  await done("placement", "rules", "add", "*/de-open-*", "default", "--at", "1");
  assert.match(await done("placement", "rules", "list"), /1 \*\/de-open-\* +default\n +2 shop\/de-\* +eu/);
  await createContainer("de-orders");
  await createContainer("de-open-data");
  await createContainer("orders");
  await createContainer("de-not", { initialHeaders: { "x-bastide-placement": "default" } });
  assert.deepEqual(await containersOf("eu"), ["shop/chosen", "shop/de-orders"]);
  assert.deepEqual(await containersOf("default"), ["shop/de-before", "shop/de-not", "shop/de-open-data", "shop/orders"]);
});

test("a container that a rule placed is inside the fence alone", async () => {
  await database.container("de-orders").items.create({ id: "1", pk: "a" });
  const { endpoint } = cluster.info.regions.find(({ name }) => name === "us");
  const us = cluster.client({ endpoint, connectionPolicy: { enableEndpointDiscovery: false } });
  await assert.rejects(us.database("shop").container("de-orders").item("1", "a").read(),
    (error) => error.code === 403 && /germany, france; this is us/.test(error.message));
  // The node outside applies the rules, too: its containers are born inside.
  await us.database("shop").containers.create({ id: "de-from-us", partitionKey: "/pk" });
  assert.ok((await containersOf("eu")).includes("shop/de-from-us"));
});

test("a cluster that requires placement refuses what would be in default", async () => {
  await done("placement", "rules", "require", "on");
  const refused = (error) => error.code === 400 && /x-bastide-placement/.test(error.message) && /rule/.test(error.message);
  await assert.rejects(createContainer("nowhere"), refused);
  await assert.rejects(createContainer("asked", { initialHeaders: { "x-bastide-placement": "default" } }), refused);
  await assert.rejects(createContainer("de-open-more"), refused); // its rule says default
  await createContainer("de-more");
  await createContainer("asked", { initialHeaders: { "x-bastide-placement": "eu" } });
  await done("placement", "rules", "require", "off");
  await createContainer("nowhere");
});

test("rules are changed as a whole, or not at all", async () => {
  const before = await json("placement", "rules", "list");
  await fails(1, /no placement group 'mars'/, "placement", "rules", "add", "*/*", "mars");
  await fails(1, /no rule 3/, "placement", "rules", "remove", "3");
  await fails(1, /--at 9/, "placement", "rules", "add", "*/*", "eu", "--at", "9");
  for (const [body, says] of [
    [{}, /expected rules/],
    [{ rules: [{ database: "*", container: "*", group: "eu", grupo: 1 }] }, /unknown or repeated/],
    [{ rules: [{ database: "*", group: "eu" }] }, /rule 1: database and container/],
    [{ rules: [], etag: "x" }, /etag is what/],
    [{ require_placement: "yes" }, /true or false/],
  ]) {
    const { status, json: answer } = await admin(cluster, nodeOf("us"), "POST", "/placement/rules", body);
    assert.equal(status, 400, JSON.stringify(answer));
    assert.match(answer.message, says);
  }
  assert.deepEqual(await json("placement", "rules", "list"), before);
  const file = path.join(cluster.dir, "rules.json");
  writeFileSync(file, JSON.stringify(before));
  await done("placement", "rules", "remove", "1");
  await fails(1, /changed meanwhile/, "placement", "rules", "set", file);
  writeFileSync(file, JSON.stringify({ rules: before.rules }));
  const after = await json("placement", "rules", "set", file);
  assert.deepEqual(after.rules, before.rules);
  assert.notEqual(after.etag, before.etag);
  const records = await audit();
  assert.ok(records.some(({ what, after: to }) => what === "set placement rules" && /\*\/de-open-\* in default; shop\/de-\* in eu/.test(to)));
});

test("two who add rules at once both have theirs", async () => {
  await Promise.all(["a", "b", "c"].map((name) => done("placement", "rules", "add", `both/${name}`, "eu")));
  const { rules } = await json("placement", "rules");
  assert.deepEqual(rules.filter(({ database }) => database === "both").map(({ container }) => container).sort(), ["a", "b", "c"]);
});

test("set changes a group's level and priority, and nobody else's", async () => {
  const { group } = await json("placement", "set", "eu", "--priority", "france,germany", "--consistency", "bounded-staleness",
    "--max-staleness-entries", "1000", "--max-staleness-seconds", "5");
  assert.deepEqual(group.regions, ["france", "germany"]);
  assert.equal(group.write_region, "france");
  assert.equal(group.level, "BoundedStaleness");
  assert.equal(group.max_staleness_prefix, 1000);
  assert.equal(group.max_staleness_interval, 5);
  await database.container("de-orders").items.create({ id: "2", pk: "a" });
  const { groups } = await json("placement", "list");
  const open = groups.find(({ name }) => name === "default");
  assert.equal(open.write_region, "germany");
  assert.equal(open.level, "Session");
  await fails(1, /2 regions once/, "placement", "set", "eu", "--priority", "us,germany");
  assert.ok((await audit()).some(({ what }) => what === "set consistency of placement group eu"));
});

test("the writes of a group are switched by themselves", async () => {
  const plan = await done("region", "switch", "germany", "--group", "eu", "--dry-run");
  assert.match(plan, /planned switch of the writes from france to germany/);
  await until("the switch is possible and done", async () =>
    (await bastide("region", "switch", "germany", "--group", "eu")).code === 0);
  const { shards, group } = await json("placement", "show", "eu");
  assert.equal(group.write_region, "germany");
  assert.ok(shards.every(({ leader }) => leader === nodeOf("germany").name), JSON.stringify(shards));
  await fails(1, /us .*group|no region/, "region", "switch", "us", "--group", "eu");
  await fails(1, /placement groups/, "region", "switch", "germany", "--group", "mars");
  const ordered = await json("region", "priority", "france,germany", "--group", "eu", "--no-move");
  assert.deepEqual(ordered.regions.map(({ name }) => name), ["france", "germany"]);
  assert.equal(ordered.write_region, "germany");
  const list = await done("region", "list", "--group", "eu");
  assert.match(list, /placement group eu/);
  assert.doesNotMatch(list, /^us /m);
});
