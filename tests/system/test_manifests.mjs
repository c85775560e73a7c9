// What is shipped for Kubernetes, compose and systemd is what these accept:
// objects of Kubernetes are checked against their schemas, the compose file against
// a list of keys that compose 1 and 2 know, the unit by systemd itself where it is
// installed.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { program } from "../sdk/lib.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const modules = path.join(root, "build-manifests/node_modules");
const skip = existsSync(path.join(modules, "kubernetes-models"))
  ? false : "no kubernetes-models; deploy/install-deps.sh manifests says why";
const require = createRequire(path.join(modules, "x.js"));
const EXPOSURE_LIMIT = 2;

describe("kubernetes", { skip }, () => {
  let folder, documents;
  const models = {
    "apps/v1": "kubernetes-models/apps/v1", v1: "kubernetes-models/v1", "policy/v1": "kubernetes-models/policy/v1",
    "networking.k8s.io/v1": "kubernetes-models/networking.k8s.io/v1" };

  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), "bastide-manifests-"));
    const cluster = path.join(folder, "prod");
    execFileSync(program, ["init", "--dir", cluster, "--cluster", "prod", "--regions", "eu,us,asia", "--nodes-per-region", "3",
      "--host", "{node}.nodes", "--san", "bastide"], { stdio: "ignore" });
    const text = execFileSync(path.join(root, "deploy/kubernetes/generate.sh"), [cluster], { encoding: "utf8" });
    documents = require("js-yaml").loadAll(text).filter((document) => document);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  test("every object fits its schema", () => {
    for (const document of documents) {
      const { [document.kind]: Model } = require(models[document.apiVersion]);
      try {
        new Model(document).validate();
      } catch (error) {
        assert.fail(`${document.kind} ${document.metadata.name}: ${error.message}`);
      }
    }
    const count = (kind) => documents.filter((document) => document.kind === kind).length;
    assert.deepEqual(["StatefulSet", "Service", "Secret", "PodDisruptionBudget", "NetworkPolicy"].map(count), [3, 5, 3, 1, 1]);
  });

  test("a schema refuses what is wrong", () => {
    const { StatefulSet } = require(models["apps/v1"]);
    const wrong = structuredClone(documents.find(({ kind }) => kind === "StatefulSet"));
    wrong.spec.template.spec.containers[0].readinessProbe.periodSeconds = "often";
    assert.throws(() => new StatefulSet(wrong).validate());
  });

  test("every pod finds what its node needs, and may do nothing else", () => {
    for (const set of documents.filter(({ kind }) => kind === "StatefulSet")) {
      const pod = set.spec.template.spec;
      const secret = documents.find(({ kind, metadata }) => kind === "Secret" && metadata.name === `bastide-${set.metadata.name}`);
      const { items } = pod.volumes.find(({ name }) => name === "secret").secret;
      for (let n = set.spec.ordinals.start; n < set.spec.ordinals.start + set.spec.replicas; n++) {
        const config = Buffer.from(secret.data[`${set.metadata.name}-${n}.node.yaml`], "base64").toString();
        assert.match(config, new RegExp(`^node: ${set.metadata.name}-${n}$`, "m"));
      }
      for (const { key } of items) assert.ok(secret.data[key], key);
      for (const [name, value] of Object.entries(secret.data).filter(([key]) => key.endsWith(".region.key")))
        assert.match(Buffer.from(value, "base64").toString(), new RegExp(`^region ${set.metadata.name}$`, "m"), name);
      assert.ok(secret.data[`${set.metadata.name}-1.region.key`]);
      assert.equal(pod.securityContext.runAsNonRoot, true);
      for (const container of [...pod.initContainers, ...pod.containers]) {
        assert.equal(container.securityContext.readOnlyRootFilesystem, true);
        assert.deepEqual(container.securityContext.capabilities.drop, ["ALL"]);
      }
    }
  });
});

test("the systemd unit exposes little", { skip: spawnSync("systemd-analyze", ["--version"]).status !== 0 && "no systemd-analyze" }, (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), "bastide-unit-"));
  try {
    const unit = path.join(folder, "bastide@x.service");
    copyFileSync(path.join(root, "deploy/systemd/bastide@.service"), unit);
    const { stdout, stderr } = spawnSync("systemd-analyze", ["security", "--offline=true", "--no-pager", unit], { encoding: "utf8" });
    const exposure = Number(/Overall exposure level for .*: ([\d.]+)/.exec(stdout)?.[1]);
    t.diagnostic(`systemd-analyze security: ${exposure} (0 is best, 10 worst)`);
    assert.ok(exposure <= EXPOSURE_LIMIT, stdout + stderr);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("the compose file keeps to what compose 1 and 2 both know", { skip }, () => {
  const compose = require("js-yaml").load(readFileSync(path.join(root, "deploy/compose.yaml"), "utf8"));
  const known = new Set(["services", "networks", "volumes"]);
  assert.deepEqual(Object.keys(compose).filter((key) => !known.has(key) && !key.startsWith("x-")), []);
  const keys = new Set(["build", "cap_drop", "command", "depends_on", "environment", "entrypoint", "healthcheck", "hostname", "image", "init",
    "logging", "network_mode", "networks", "ports", "profiles", "read_only", "restart", "security_opt", "stop_grace_period", "tmpfs", "user",
    "volumes"]);
  for (const [name, service] of Object.entries(compose.services)) {
    assert.deepEqual(Object.keys(service).filter((key) => !keys.has(key)), [], name);
    assert.equal(service.read_only, true, name);
    assert.deepEqual(service.cap_drop, ["ALL"], name);
    for (const network of Object.keys(Array.isArray(service.networks) ? Object.fromEntries(service.networks.map((n) => [n])) : service.networks ?? {}))
      assert.ok(network in compose.networks, network);
    for (const volume of service.volumes ?? []) {
      const source = volume.split(":")[0];
      assert.ok(source.startsWith(".") || source in compose.volumes, volume);
    }
  }
});
