// The images and the compose cluster, as users get them, broken as users break
// them: docker kill, docker network disconnect, iptables, docker pause, a full
// disk. Written and read with the official SDK from the host.
//
// test-timeout: 600
// test-alone
//
// The account has the level strong, so everything acknowledged must be there in
// the end, whatever was lost in between.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { makeContainer, until } from "../sdk/lib.mjs";
import { ComposeCluster, docker, Load, REGIONS, whyNoContainers } from "./compose.mjs";

const skip = whyNoContainers();
if (skip) console.log(`# NO CONTAINERS ARE TESTED: ${skip}`);

// Until an unmodified SDK's writes succeed again.
const PAUSE_LIMIT_MS = 5_000;
const STOP_LIMIT_MS = 5_000;
// The goal is 10 s; most of it is docker's, and this machine may be busy.
const START_LIMIT_MS = 20_000;
// Any of `bastide fault run --list`.
const SCENARIOS = (process.env.SCENARIOS ?? "lose-write-region").split(" ");
const IMAGE_LIMIT_BYTES = 30e6;

describe("containers", { skip }, () => {
  let cluster, items, load;
  /** Breaks the write region under load, and heals it: prints and checks how
   *  long writes paused, and that they went elsewhere. */
  const broken = async (t, what, act, heal) => {
    await load.goesOn("before it breaks", 20_000);
    const from = Date.now();
    try {
      await act();
      await until("the account names another write region", async () => await cluster.writesMovedFrom("eastus"), 15_000, 100);
      await load.goesOn(what, 20_000);
      const pause = load.pause(from);
      t.diagnostic(`${what}: no write acknowledged for ${pause} ms`);
      assert.ok(pause <= PAUSE_LIMIT_MS, `${what}: writes paused for ${pause} ms, at most ${PAUSE_LIMIT_MS} allowed`);
    } finally {
      await heal();
    }
    await cluster.wellAgain("eastus");
  };

  before(async () => {
    cluster = await ComposeCluster.make();
    cluster.env.CLUSTER_CONSISTENCY = "strong";
  });
  after(() => cluster?.removeNow());

  test("from nothing to a write of the SDK", async (t) => {
    const from = Date.now();
    await cluster.up();
    items = await makeContainer(cluster.client());
    await items.items.create({ id: "first", pk: "a", n: 0 });
    const took = Date.now() - from;
    t.diagnostic(`docker-compose up to the first write: ${took} ms`);
    assert.ok(took < START_LIMIT_MS, `${took} ms`);
    load = new Load(cluster, items);
  });

  test("the image is small, unprivileged and holds no secret", async (t) => {
    const size = async (image) => Number(await docker("image", "inspect", "--format", "{{.Size}}", image));
    const own = (await size("bastide:latest")) - (await size("debian:bookworm-slim"));
    t.diagnostic(`the image is ${(own / 1e6).toFixed(1)} MB on top of its base`);
    assert.ok(own < IMAGE_LIMIT_BYTES, `${own} bytes`);
    const config = JSON.parse(await docker("image", "inspect", "--format", "{{json .Config}}", "bastide:latest"));
    assert.match(config.User, /^[1-9]\d*:[1-9]\d*$/);
    assert.equal(config.StopSignal, "SIGTERM");
    assert.deepEqual(config.Healthcheck.Test, ["CMD", "bastide", "status", "--ready"]);
    assert.ok(config.Labels["org.opencontainers.image.version"]);
    const found = await docker("run", "--rm", "--network", "none", "--entrypoint", "sh", "bastide:latest", "-c",
      "find / -xdev \\( -name '*.key' -o -name '*.keys' -o -name '*.pem' -o -name cluster.json \\) 2>/dev/null || true");
    assert.equal(found, "");
    for (const region of REGIONS) {
      const inspect = JSON.parse(await docker("inspect", "--format", "{{json .HostConfig}}", cluster.container(region)));
      assert.equal(inspect.ReadonlyRootfs, true);
      assert.deepEqual(inspect.CapDrop, ["ALL"]);
      assert.ok(inspect.SecurityOpt.some((option) => option.startsWith("no-new-privileges")));
    }
  });

  test("clients are told addresses that they can reach", async () => {
    const told = async (headers) =>
      (await cluster.request({ headers })).json.readableLocations.map(({ databaseAccountEndpoint }) => databaseAccountEndpoint);
    const ports = REGIONS.map((region) => cluster.env[`CLUSTER_PORT_${region.toUpperCase()}`]);
    assert.deepEqual(await told({}), ports.map((port) => `https://localhost:${port}/`));
    assert.deepEqual(await told({ host: "bastide:8081" }), ports.map((port) => `https://bastide:${port}/`));
    // In a network of the cluster, by the name of the gateway, and with its tools.
    const status = JSON.parse(await cluster.compose("run", "--rm", "-T", "tools", "status", "--dir", "/cluster", "-o", "json"));
    assert.ok(status.nodes.every(({ reached }) => reached));
    const client = cluster.client({ region: "westeurope" });
    const there = client.database(items.database.id).container(items.id);
    assert.equal((await there.item("first", "a").read()).resource.id, "first");
  });

  test("docker kill of the write region", (t) =>
    broken(t, "docker kill", () => docker("kill", cluster.container("eastus")),
      () => docker("start", cluster.container("eastus"))));

  test("the write region is disconnected from the other regions", (t) =>
    broken(t, "docker network disconnect", async () => {
      await docker("network", "disconnect", cluster.between, cluster.container("eastus"));
      // Its published port still answers.
      const node = cluster.nodes.find(({ region }) => region === "eastus");
      assert.equal((await cluster.request({ endpoint: new URL(node.admin).origin, path: "/livez", sign: false })).status, 200);
    }, () => docker("network", "connect", cluster.between, cluster.container("eastus")))); // as by hand: without aliases

  test("iptables drops all between the write region and the others", async (t) => {
    const { Networks } = JSON.parse(await docker("inspect", "--format", "{{json .NetworkSettings}}", cluster.container("eastus")));
    const { IPAddress, IPPrefixLen } = Networks[cluster.between];
    const net = `${IPAddress}/${IPPrefixLen}`;
    const change = async (verb) => {
      for (const [chain, match] of [["INPUT", "-s"], ["OUTPUT", "-d"]])
        await cluster.inNetwork("eastus", "iptables", verb, chain, match, net, "-j", "DROP");
    };
    await broken(t, "iptables DROP, both ways", () => change("-A"), () => change("-D"));
  });

  test("docker pause of the write region", (t) =>
    broken(t, "docker pause", () => docker("pause", cluster.container("eastus")),
      () => docker("unpause", cluster.container("eastus"))));

  test("docker stop of the write region, under load", async (t) => {
    await broken(t, "docker stop", async () => {
      const from = Date.now();
      await docker("stop", "-t", "10", cluster.container("eastus"));
      const { ExitCode, OOMKilled, FinishedAt } = await cluster.state("eastus");
      const took = Date.parse(FinishedAt) - from;
      t.diagnostic(`docker stop took ${took} ms`);
      assert.deepEqual({ ExitCode, OOMKilled }, { ExitCode: 0, OOMKilled: false });
      assert.ok(took < STOP_LIMIT_MS, `${took} ms`);
    }, () => docker("start", cluster.container("eastus")));
  });

  test("the disk of the write region is full: writes go where there is space", async (t) => {
    const filler = path.join(cluster.disk, "filler");
    load.text = "x".repeat(30_000); // the log has room set aside
    const from = Date.now();
    try {
      spawnSync("dd", ["if=/dev/zero", `of=${filler}`, "bs=64k"]);
      await until("writes move", () => cluster.writesMovedFrom("eastus"), 60_000, 100);
      await load.goesOn("the disk is full", 20_000);
      const pause = load.pause(from);
      t.diagnostic(`full disk: no write acknowledged for ${pause} ms`);
      assert.ok(pause <= PAUSE_LIMIT_MS, `writes paused for ${pause} ms`);
    } finally {
      rmSync(filler, { force: true });
      load.text = "x".repeat(500);
    }
    await load.goesOn("there is space again", 20_000);
    await cluster.wellAgain("eastus");
  });

  // What users get to break it with, beside what they have.
  const tools = (...words) => cluster.compose("run", "--rm", "-T", "tools", ...words, "--dir", "/cluster");

  test("bastide fault kills a node, which comes back, and stops another for a while", async () => {
    const restarts = async () =>
      Number(await docker("inspect", "--format", "{{.RestartCount}}", cluster.container("westeurope")));
    assert.equal(await restarts(), 0);
    await tools("fault", "add", "kill", "--at", "westeurope", "--for", "2s");
    await until("it was restarted", async () => (await restarts()) > 0, 20_000, 100);
    await cluster.wellAgain("eastus");
    await tools("fault", "add", "pause", "--at", "southeastasia", "--for", "1s");
    await load.goesOn("one node is stopped", 20_000);
    await cluster.wellAgain("eastus");
  });

  test("everything goes down and comes up again", async () => {
    await load.stop();
    cluster.closeClients();
    await cluster.compose("down", "-t", "10");
    await cluster.up();
    items = cluster.client().database(items.database.id).container(items.id);
    assert.equal((await items.item("first", "a").read()).resource.id, "first");
  });

  test("everything that was acknowledged is there, in every region", async (t) => {
    for (const region of REGIONS) {
      const client = cluster.client({ region });
      const there = client.database(items.database.id).container(items.id);
      assert.deepEqual((await load.differences(there)).filter((line) => !line.startsWith("first:")), [], region);
    }
    t.diagnostic(`${load.count} writes acknowledged; errors: ${JSON.stringify([...load.errors])}`);
  });

  for (const scenario of SCENARIOS)
    test(`bastide fault run plays ${scenario} in here, and everything holds`, async (t) => {
      const { held, writes, lost, longest_gap_s, expectations } =
        JSON.parse(await tools("fault", "run", scenario, "-o", "json"));
      t.diagnostic(`${writes} writes, ${lost} lost, none acknowledged for ${longest_gap_s} s at the longest`);
      assert.ok(held, JSON.stringify(expectations.filter((expectation) => !expectation.held)));
    });
});
