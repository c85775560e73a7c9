// Prometheus' text format 0.0.4, read strictly; shared by the tests of metrics.
import assert from "node:assert/strict";

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/y;

function readLabels(text, line) {
  const labels = {};
  for (LABEL.lastIndex = 0; LABEL.lastIndex < text.length; ) {
    const match = LABEL.exec(text);
    assert.ok(match, `labels: ${line}`);
    assert.ok(!(match[1] in labels), `label twice: ${line}`);
    labels[match[1]] = match[2];
  }
  return labels;
}

/** The family that a sample belongs to. */
function familyOf(families, name) {
  const base = name.replace(/_(bucket|sum|count)$/, "");
  return families.get(base)?.type === "histogram" ? base : name;
}

/** A scrape as families: name -> { help, type, samples: [{ name, labels,
 *  value }] }. Fails on whatever the format does not allow. */
export function parseMetrics(text) {
  const families = new Map(), seen = new Set();
  let current;
  assert.ok(text.endsWith("\n"), "the last line ends");
  for (const line of text.slice(0, -1).split("\n")) {
    const comment = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line);
    if (comment) {
      const [, what, name, rest] = comment;
      assert.match(name, NAME);
      if (what === "HELP") {
        assert.ok(!families.has(name), `${name}: two families`);
        families.set(name, { help: rest, samples: [] });
        current = name;
      } else {
        assert.equal(name, current, `TYPE follows HELP: ${line}`);
        assert.match(rest, /^(counter|gauge|histogram)$/, line);
        families.get(name).type = rest;
      }
      continue;
    }
    const sample = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.+)\})? (\S+)$/.exec(line);
    assert.ok(sample, `not a sample: ${JSON.stringify(line)}`);
    const [, name, labels = "", value] = sample;
    assert.equal(familyOf(families, name), current, `sample of another family: ${line}`);
    assert.ok(families.get(current).type, `no TYPE before: ${line}`);
    assert.match(value, /^[-+]?\d+(\.\d+)?(e[-+]?\d+)?$/, line);
    assert.ok(!seen.has(`${name}{${labels}}`), `twice: ${line}`);
    seen.add(`${name}{${labels}}`);
    families.get(current).samples.push({ name, labels: readLabels(labels, line), value: Number(value) });
  }
  return families;
}

/** What Prometheus asks of names and histograms beyond the grammar. */
export function lintMetrics(families) {
  for (const [name, { type, samples }] of families) {
    assert.equal(type === "counter", name.endsWith("_total"), `${name} is a ${type}`);
    assert.doesNotMatch(name, /_(us|ms|milliseconds|microseconds|kb|mb|kib|mib|percent)(_|$)/, `${name}: base units`);
    if (type === "counter") for (const { value } of samples) assert.ok(value >= 0, name);
    if (type === "histogram") lintHistogram(name, samples);
  }
}

function lintHistogram(name, samples) {
  const groups = new Map();
  for (const { name: sample, labels: { le, ...labels }, value } of samples) {
    const key = JSON.stringify(labels);
    if (!groups.has(key)) groups.set(key, { buckets: [] });
    if (sample.endsWith("_bucket")) groups.get(key).buckets.push([le === "+Inf" ? Infinity : Number(le), value]);
    else groups.get(key)[sample.slice(name.length + 1)] = value;
  }
  for (const [key, { buckets, count, sum }] of groups) {
    assert.ok(buckets.length > 2 && buckets.at(-1)[0] === Infinity, `${name}${key}`);
    for (let i = 1; i < buckets.length; i++)
      assert.ok(buckets[i][0] > buckets[i - 1][0] && buckets[i][1] >= buckets[i - 1][1], `${name}${key}`);
    assert.equal(count, buckets.at(-1)[1], `${name}${key}`);
    assert.ok(sum >= 0, `${name}${key}`);
  }
}

/** A node's metrics: { text, families, get(name, labels) }. `get` adds up the
 *  samples that have these labels; undefined where there is none. */
export async function scrape(cluster, node) {
  const { status, headers, text } = await cluster.request(
    { endpoint: new URL(node.admin).origin, path: "/metrics", sign: false });
  assert.equal(status, 200, text);
  assert.equal(headers["content-type"], "text/plain; version=0.0.4");
  const families = parseMetrics(text);
  const get = (name, labels = {}) => {
    const family = families.get(familyOf(families, name));
    const found = (family?.samples ?? []).filter((sample) => sample.name === name &&
      Object.entries(labels).every(([label, value]) => sample.labels[label] === value));
    return found.length === 0 ? undefined : found.reduce((sum, { value }) => sum + value, 0);
  };
  return { text, families, get };
}
