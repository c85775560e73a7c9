// Rows of one container in several placement groups, by their partition key:
// each is where its key belongs and nowhere else, requests go there or are
// refused, a query over all of them is answered whole or not at all, and
// sessions see what they wrote.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster, run, until } from "../sdk/lib.mjs";
import { admin, heal, inject } from "./lib.mjs";
import { Search, marker } from "./leaks.mjs";

const MAP = "/country: de=eu, at*=eu, us=us, *=reject";
const SESSION = { consistencyLevel: "Session", connectionPolicy: { enableEndpointDiscovery: false } };
// Germany and the US are inside one fence each, Ireland inside both.
const home = { de: "germany", at: "germany", "at-9": "germany", us: "us" };
const countries = Object.keys(home);
const markers = Object.fromEntries(countries.map((country) => [country, marker("Row")]));
let cluster, orders;

const nodeOf = (region) => cluster.nodes.find((node) => node.region === region);
const clientAt = (region) => cluster.client({ endpoint: nodeOf(region).endpoint, ...SESSION });
const at = (region, id = "orders") => clientAt(region).database("shop").container(id);
const placed = (placement) => ({ initialHeaders: { "x-bastide-placement": placement } });
const row = (country, n) => ({ id: `${country}-${n}`, country, n, text: markers[country] });
const all = (container, query, options) => container.items.query(query, options).fetchAll().then(({ resources }) => resources);
const bastide = (...words) => run([...words, "--dir", cluster.dir], 60_000);
/** A refusal by the fence of `group`. */
const refused = async (group, promise, says = /placement group/) => {
  const error = await promise.then(() => assert.fail(`${group} was read`), (error) => error);
  assert.equal(error.code, 403, error.message);
  assert.match(error.message, says);
  assert.equal(error.headers["x-bastide-placement"], group);
  assert.equal(error.headers["x-bastide-regions"], { eu: "germany, ireland", us: "us, ireland", ie: "ireland" }[group]);
};
const fails = async (code, says, promise) => {
  const error = await promise.then(() => assert.fail("it was done"), (error) => error);
  assert.equal(error.code, code, error.message);
  assert.match(error.message, says);
};
/** Rows of each group, when every replica agrees. */
const held = async () => {
  const { code, stdout, stderr } = await bastide("placement", "verify", "-o", "json");
  assert.equal(code, 0, stderr + stdout);
  const { groups } = JSON.parse(stdout);
  return Object.fromEntries(groups.map(({ name, records }) => [name, records]));
};

before(async () => {
  cluster = await Cluster.start({ flags: ["--regions", "germany,us,ireland", "--nodes-per-region", "1", "--consistency", "session"] });
  for (const [name, regions] of [["eu", ["germany", "ireland"]], ["us", ["us", "ireland"]]])
    await until(`${name} is made`, async () =>
      [201, 409].includes((await admin(cluster, nodeOf("ireland"), "POST", "/placement", { name, regions, shards: 2 })).status));
  await until("both work everywhere", async () => {
    for (const node of cluster.nodes) {
      const { json } = await admin(cluster, node, "GET", "/placement");
      if (json.groups.filter(({ fenced, unavailable }) => fenced && unavailable === null).length !== 2) return false;
    }
    return true;
  });
});
after(() => cluster?.stop());

test("a container is made with a placement that makes sense", async () => {
  const { database } = await clientAt("us").databases.createIfNotExists({ id: "shop" });
  const make = (placement, id = "orders") => database.containers.create({ id, partitionKey: "/country" }, placed(placement));
  await fails(400, /none of the container's partition key paths/, make("/land: de=eu"));
  await fails(400, /no placement group 'moon'/, make("/country: de=moon"));
  await fails(400, /two lines have the same value/, make("/country: de=eu, de=us"));
  await fails(400, /no line names a group/, make("/country: *=reject"));
  const { resource } = await make("/country:de=eu,  at* = eu,us=us,*=reject");
  assert.equal(resource._placement, MAP);
  orders = at("ireland");
  await orders.replace({ id: "orders", partitionKey: { paths: ["/country"] }, defaultTtl: -1 });
  assert.equal((await at("germany").read()).resource._placement, MAP);
  assert.equal((await orders.readPartitionKeyRanges().fetchAll()).resources.length, 1);
});

test("rows go where their key belongs, from every node that may", async () => {
  for (const country of countries) {
    const mine = at(home[country]), far = country === "us" ? "germany" : "us";
    for (let n = 0; n < 6; n++) await (n % 2 ? orders : mine).items.create(row(country, n));
    assert.equal((await mine.item(`${country}-1`, country).read()).resource.n, 1);
    await orders.item(`${country}-0`, country).replace({ ...row(country, 0), again: true });
    assert.equal((await mine.items.upsert(row(country, 0))).statusCode, 200);
    await mine.items.create(row(country, 99));
    await orders.item(`${country}-99`, country).delete();
    const group = country === "us" ? "us" : "eu";
    await refused(group, at(far).items.create(row(country, 50)));
    await refused(group, at(far).item(`${country}-1`, country).read());
    await refused(group, at(far).item(`${country}-1`, country).delete());
    await refused(group, all(at(far), "SELECT * FROM c", { partitionKey: country }));
  }
  for (const country of ["fr", "d", "dee", null, 5])
    await fails(400, /its rule is '\/country: de=eu/, orders.items.create({ id: "x", country }));
  await fails(400, /takes no documents/, orders.items.create({ id: "x" }));
});

test("each group has its rows, and nothing of the others is in a region's files", async () => {
  const { eu, us } = await until("replicas agree", () => held().catch(() => undefined), 30_000);
  assert.deepEqual([eu, us], [18, 6]);
  for (const [region, foreign] of [["germany", ["us"]], ["us", ["de", "at", "at-9"]]]) {
    const search = foreign.reduce((search, country) => search.addMarker(markers[country]), new Search());
    assert.deepEqual(search.inFiles(nodeOf(region).dir), []);
  }
});

test("a query over all rows is answered whole inside both fences", async () => {
  const ids = countries.flatMap((country) => [0, 1, 2, 3, 4, 5].map((n) => `${country}-${n}`)).sort();
  const got = async (query, options) => (await all(orders, query, options)).sort();
  assert.deepEqual(await got("SELECT VALUE c.id FROM c"), ids);
  assert.deepEqual((await orders.items.readAll().fetchAll()).resources.map(({ id }) => id).sort(), ids);
  const pages = [];
  for (let continuationToken; ;) {
    const page = await orders.items.query("SELECT VALUE c.id FROM c", { maxItemCount: 5, continuationToken }).fetchNext();
    pages.push(...page.resources);
    continuationToken = page.continuationToken;
    if (!continuationToken) break;
  }
  assert.deepEqual(pages.sort(), ids);
  assert.deepEqual(await all(orders, "SELECT VALUE c.n FROM c ORDER BY c.n DESC", { maxItemCount: 7 }),
    [5, 4, 3, 2, 1, 0].flatMap((n) => countries.map(() => n)));
  assert.deepEqual(await all(orders, "SELECT VALUE COUNT(1) FROM c"), [24]);
  assert.deepEqual(await all(orders, "SELECT VALUE SUM(c.n) FROM c"), [60]);
  assert.deepEqual(await all(orders, "SELECT VALUE COUNT(1) FROM c WHERE c.country IN ('de', 'us')"), [12]);
  assert.deepEqual(await all(orders, "SELECT * FROM c WHERE c.country = 'fr'"), []);
});

test("inside one fence it is refused, unless it is about that one", async () => {
  const germany = at("germany"), us = at("us");
  for (const query of ["SELECT * FROM c", "SELECT * FROM c ORDER BY c.n", "SELECT VALUE COUNT(1) FROM c",
    "SELECT * FROM c WHERE c.country IN ('de', 'at')"]) {
    await refused("us", all(germany, query));
    await refused("eu", all(us, query));
  }
  await refused("us", germany.items.readAll().fetchAll());
  await refused("us", germany.conflicts.readAll().fetchAll());
  assert.deepEqual((await orders.conflicts.readAll().fetchAll()).resources, []);
  assert.equal((await all(germany, "SELECT * FROM c WHERE c.country = 'de' AND c.n > 1")).length, 4);
  assert.equal((await all(us, "SELECT VALUE c.n FROM c WHERE c.country = 'us' ORDER BY c.n")).length, 6);
  await refused("us", all(germany, "SELECT * FROM c WHERE c.country = 'us'"));
});

test("a session reads what it wrote, wherever it writes", async () => {
  for (let n = 0; n < 10; n++)
    for (const country of ["de", "us"]) {
      await orders.items.upsert({ ...row(country, 7), n: 100 + n });
      assert.equal((await orders.item(`${country}-7`, country).read()).resource.n, 100 + n);
      const seen = await all(orders, "SELECT VALUE c.n FROM c WHERE c.id IN ('de-7', 'us-7') ORDER BY c.n DESC");
      assert.equal(seen[0], 100 + n, `${country} ${seen}`);
    }
  // Tokens of writes elsewhere, merged by the client of another region, which what
  // was written there reaches later than the token.
  for (const from of ["germany", "us"]) await inject(cluster, { kind: "delay", from, to: "ireland", both: true, delay_ms: 50 });
  for (let n = 0; n < 3; n++) {
    const tokens = [];
    for (const country of ["de", "us"])
      tokens.push((await at(home[country]).items.upsert({ ...row(country, 7), n: 200 + n })).headers["x-ms-session-token"]);
    for (const token of tokens) assert.match(token, /^0:4#\d+#\d+=\d+#\d+=\d+#\d+=\d+#\d+=\d+$/);
    const there = at("ireland");
    for (const [i, country] of ["de", "us"].entries())
      assert.equal((await there.item(`${country}-7`, country).read({ sessionToken: tokens[i] })).resource.n, 200 + n);
    const seen = await all(there, "SELECT VALUE c.n FROM c WHERE c.id IN ('de-7', 'us-7')");
    assert.deepEqual(seen, [200 + n, 200 + n]);
  }
  await heal(cluster);
});

test("more keys are placed with the command, and nothing moves", async () => {
  const keys = (...words) => bastide("placement", "keys", "shop/orders", ...words);
  for (const words of [[], ["orders"], ["shop/orders", "--add", "fr"]])
    assert.equal((await bastide("placement", "keys", ...words)).code, 2);
  const shown = await keys();
  assert.equal(shown.code, 0, shown.stderr);
  assert.match(shown.stdout, /at\* +eu\n/);
  assert.match(shown.stdout, /\* +rejected\n/);
  for (const [says, ...lines] of [[/would have to move/, "de=us"], [/would have to move/, "at-9=us"],
    [/no placement group 'moon'/, "fr=moon"], [/names a group/, "fr=reject"]]) {
    const { code, stderr } = await keys("--add", ...lines);
    assert.equal(code, 1, stderr);
    assert.match(stderr, says);
  }
  const added = await keys("--add", "fr=eu", "--add", "*=us", "-o", "json");
  assert.equal(added.code, 0, added.stderr);
  assert.equal(JSON.parse(added.stdout).placement, "/country: de=eu, at*=eu, us=us, fr=eu, *=us");
  await orders.items.create({ id: "f", country: "fr" });
  await at("us").items.create({ id: "n" });
  await refused("eu", at("us").item("f", "fr").read());
  await refused("us", at("germany").item("n", 5).read());
  assert.deepEqual((await all(orders, "SELECT VALUE c.id FROM c WHERE c.id IN ('f', 'n')")).sort(), ["f", "n"]);
  const { stdout } = await bastide("placement", "show", "us");
  assert.match(stdout, /shop\/orders {2}by \/country: /);
  const { records } = JSON.parse((await bastide("audit", "-o", "json")).stdout);
  assert.ok(records.some(({ what }) => /place more keys of container shop\/orders/.test(what)));
});

test("what it has in one group moves to another, and sessions go on", async () => {
  const move = (...words) => bastide("placement", "move", "shop/orders", ...words);
  for (const [says, ...words] of [[/placed by partition key/, "us"], [/in us already, and those of two groups cannot be joined/, "us", "--from", "eu"],
    [/no documents of the container are in default/, "us", "--from", "default"], [/from: there is no placement group/, "us", "--from", "moon"]]) {
    const { code, stderr } = await move(...words, "--yes");
    assert.equal(code, 1);
    assert.match(stderr, says);
  }
  await until("ie is made", async () =>
    [201, 409].includes((await admin(cluster, nodeOf("ireland"), "POST", "/placement", { name: "ie", regions: ["ireland"], shards: 2 })).status));
  const preview = await until("it can be used", async () => {
    const shown = await move("ie", "--from", "eu", "--dry-run");
    return shown.code === 0 ? shown : undefined;
  });
  assert.match(preview.stdout, /A part of shop\/orders moves from eu to ie:\n.*none\n.*lose it: +germany\n.*keep it: +ireland\n.*ireland-1/);
  const before = await orders.items.upsert({ ...row("de", 7), n: 400 });
  const ordered = await move("ie", "--from", "eu", "--yes", "--no-wait");
  assert.equal(ordered.code, 0, ordered.stderr);
  const moved = async (name) => (await admin(cluster, nodeOf("ireland"), "GET", "/placement/moves")).json.moves
    .some(({ container, group, phase }) => container === name && group === "ie" && phase === "");
  let n = 400;
  await until("it has moved", async () => {
    await orders.items.upsert({ ...row("de", 7), n: ++n });
    assert.equal((await orders.item("de-7", "de").read()).resource.n, n);
    assert.equal((await all(orders, "SELECT VALUE COUNT(1) FROM c"))[0], 28);
    return moved("orders");
  }, 30_000);
  const read = await at("ireland").item("de-7", "de").read({ sessionToken: before.headers["x-ms-session-token"] });
  assert.equal(read.resource.n, n);
  // The shards of eu that it has left count on.
  assert.match(read.headers["x-ms-session-token"], /^0:6#\d+(#\d+=\d+){4}$/);
  assert.match((await orders.read()).resource._placement, /^\/country: de=ie, at\*=ie, us=us, fr=ie, \*=us$/);
  await until("germany has heard of it", () => at("germany").item("de-7", "de").read().then(() => false, (error) => error.code === 403));
  await refused("ie", at("germany").item("de-7", "de").read());
  await orders.items.upsert(row("de", 7));
  // What was in eu may come back there, and nothing else of the container.
  const other = await move("eu", "--from", "us", "--yes");
  assert.equal(other.code, 1);
  assert.match(other.stderr, /other documents of the container were moved from or to eu before/);
  assert.equal((await move("eu", "--from", "ie", "--dry-run")).code, 0);
  // Shards of eu know that it is gone.
  const { container: late } = await clientAt("ireland").database("shop").containers.create({ id: "late", partitionKey: "/country" },
    placed("/country: de=eu"));
  await late.items.create(row("de", 1));
  assert.equal((await bastide("placement", "move", "shop/late", "ie", "--from", "eu", "--yes", "--no-wait")).code, 0);
  await until("the other one has moved", () => moved("late"), 30_000);
  const back = await bastide("placement", "keys", "shop/late", "--add", "es=eu");
  assert.equal(back.code, 1);
  assert.match(back.stderr, /only a move can bring some there/);
});

test("its groups are split at a time, and no request, page or session notices", async () => {
  const split = (group, shards) => admin(cluster, nodeOf("ireland"), "POST", "/placement/split", { group, shards });
  const tooMany = await split("ie", 128);
  assert.equal(tooMany.status, 400, JSON.stringify(tooMany.json));
  assert.match(tooMany.json.message, /container orders is placed by partition key, and .* 130 shards in all: it can use 128/);
  // Half-way: pages of rows that stay, in each of the old shards.
  const rows = ({ resources }) => (resources ?? []).map(({ id }) => id);
  const query = (options) => orders.items.query("SELECT * FROM c", { maxItemCount: 3, ...options });
  const ids = (await query({ maxItemCount: 100 }).fetchAll()).resources.map(({ id }) => id).sort();
  assert.equal(ids.length, 28);
  const halfway = [];
  for (let page, before = []; ;) {
    page = await query({ continuationToken: page?.continuationToken }).fetchNext();
    before = [...before, ...rows(page)];
    if (!page.continuationToken) break;
    halfway.push({ before, token: page.continuationToken });
  }
  const ordered = orders.items.query("SELECT * FROM c ORDER BY c.id", { maxItemCount: 5 });
  const first = rows(await ordered.fetchNext());
  const { headers } = await at("us").items.upsert({ ...row("us", 7), n: 300 });
  const failed = [], going = ["de", "us"].map((country) => ({ country, writes: 0 }));
  let stop = false;
  const writers = going.map(async (w) => {
    const mine = at("ireland");
    for (let n = 301; !stop && failed.length < 10; n++)
      try {
        await mine.items.upsert({ ...row(w.country, 7), n });
        assert.equal((await mine.item(`${w.country}-7`, w.country).read()).resource.n, n);
        assert.deepEqual((await all(mine, "SELECT VALUE c.id FROM c", { maxItemCount: 5 })).sort(), ids);
        w.writes++;
      } catch (error) { failed.push(`${w.country} ${n} ${error.code} ${error.message}`); }
  });
  for (const group of ["ie", "us"]) assert.equal((await split(group, 4)).status, 202);
  // Lines and containers that come meanwhile are in the new shards or get there.
  const late = at("ireland", "late");
  const line = await bastide("placement", "keys", "shop/late", "--add", "us=us");
  assert.equal(line.code, 0, line.stderr);
  await late.items.create(row("us", 1));
  const { container: later } = await clientAt("ireland").database("shop").containers.create({ id: "later", partitionKey: "/country" },
    placed("/country: de=ie, us=us"));
  for (const country of ["de", "us"]) await later.items.create(row(country, 1));
  await until("both parts have moved", async () => {
    const { json } = await admin(cluster, nodeOf("ireland"), "GET", "/placement");
    return json.groups.every(({ name, fenced, split }) => !fenced || name === "eu" || (split !== null && split.left + split.moving === 0));
  }, 60_000);
  const then = going.map(({ writes }) => writes);
  await until("they go on", () => failed.length > 0 || going.every(({ writes }, n) => writes > then[n] + 2), 30_000);
  stop = true;
  await Promise.all(writers);
  assert.deepEqual(failed, []);
  for (const { before, token } of halfway) {
    const seen = [...before];
    for (let continuationToken = token; continuationToken;) {
      const page = await query({ continuationToken }).fetchNext();
      seen.push(...rows(page));
      continuationToken = page.continuationToken;
    }
    assert.deepEqual(seen.sort(), ids);
  }
  while (ordered.hasMoreResults()) first.push(...rows(await ordered.fetchNext()));
  assert.deepEqual(first.sort(), ids);
  const there = at("ireland");
  const read = await there.item("us-7", "us").read({ sessionToken: headers["x-ms-session-token"] });
  assert.ok(read.resource.n > 300);
  assert.match(read.headers["x-ms-session-token"], /^0:10#\d+(#\d+=\d+){8}$/);
  assert.deepEqual((await orders.readPartitionKeyRanges().fetchAll()).resources.map(({ id }) => id), ["0"]);
  await refused("ie", all(at("germany"), "SELECT * FROM c"));
  for (const container of [late, later]) {
    assert.equal((await all(container, "SELECT * FROM c")).length, 2);
    await container.delete();
  }
});

test("a rule places containers so, and a prefix of a key goes to its group", async () => {
  const rule = await bastide("placement", "rules", "add", "shop/users*", "/country: de=eu, us=us");
  assert.equal(rule.code, 0, rule.stderr);
  const { database } = await clientAt("germany").databases.createIfNotExists({ id: "shop" });
  await database.containers.create({ id: "users", partitionKey: { paths: ["/country", "/user"], kind: "MultiHash", version: 2 } });
  const users = at("ireland", "users"), germany = at("germany", "users");
  for (const country of ["de", "us"])
    for (const user of ["a", "b", "c"]) await users.items.create({ id: "1", country, user });
  const rows = (container, country) => all(container, "SELECT * FROM c", { partitionKey: [country] });
  assert.equal((await rows(users, "us")).length, 3);
  assert.equal((await rows(germany, "de")).length, 3);
  await refused("us", rows(germany, "us"));
  assert.equal((await all(germany, "SELECT * FROM c WHERE c.country = 'de'")).length, 3);
  await refused("us", all(germany, "SELECT * FROM c WHERE c.user = 'a'"));
  assert.equal((await all(users, "SELECT * FROM c WHERE c.user = 'a'")).length, 2);
});

test("a node that starts again knows where the rows are", async () => {
  await cluster.kill(nodeOf("ireland").name);
  await cluster.restart(nodeOf("ireland").name);
  const there = at("ireland");
  const seen = await until("it answers", () =>
    all(there, "SELECT VALUE COUNT(1) FROM c").then(([n]) => n, () => undefined), 40_000);
  assert.equal(seen, 28);
  assert.equal((await there.item("f", "fr").read()).resource.id, "f");
  assert.equal((await there.items.create(row("de", 60))).statusCode, 201);
});

test("deleting the container leaves nothing of it in any group", async () => {
  await at("germany").delete();
  await at("us", "users").delete();
  await until("both are empty", async () => {
    const { eu, us, ie } = await held().catch(() => ({}));
    return eu === 0 && us === 0 && ie === 0;
  }, 30_000);
});
