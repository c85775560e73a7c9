// make wan: what a committed byte costs between regions. A demo cluster of three
// regions with one, then three nodes each is loaded at the leader's region; the
// nodes' counters say what was sent to each other region meanwhile.
//
//     wan.mjs WORKDIR BASTIDE
//
// Environment: NODES ("1 3" per region), CONNECTIONS ("1 32"), SIZE (1024),
// DURATION (seconds: 5), LATENCY ("20ms"), LEVEL ("session"), OUT (JSON file).
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

const [workDir, bastide] = process.argv.slice(2);
const list = (text) => text.trim().split(/\s+/).map(Number);
const nodesPerRegion = list(process.env.NODES || '1 3');
const connections = list(process.env.CONNECTIONS || '1 32');
const size = Number(process.env.SIZE || 1024);
const duration = Number(process.env.DURATION || 5);
const latency = process.env.LATENCY || '20ms';
const level = process.env.LEVEL || 'session';
const regions = ['eastus', 'westeurope', 'southeastasia'];

function run(args, { allowFailure = false } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(bastide, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    child.stdout.on('data', (data) => (out += data));
    child.on('error', reject);
    child.on('close', (code) =>
      code === 0 || allowFailure ? resolve(out) : reject(new Error(`bastide ${args.join(' ')}: exit code ${code}`)));
  });
}

async function statuses(dir) {
  const { nodes } = JSON.parse(await run(['status', '--dir', dir, '-o', 'json']));
  return nodes.map(({ status }) => status);
}

// Bytes that crossed into each region so far: sent by nodes of other regions.
async function crossed(dir) {
  const sums = Object.fromEntries(regions.map((name) => [name, { total: 0, raft: 0, entries: 0 }]));
  for (const status of await statuses(dir))
    for (const { region, bytes_out, raft_bytes_out, raft_entries_out } of status.traffic) {
      if (region === status.region) continue;
      sums[region].total += bytes_out;
      sums[region].raft += raft_bytes_out;
      sums[region].entries += raft_entries_out;
    }
  return sums;
}

const leaderRegion = async (dir) => (await statuses(dir)).find(({ shards }) => shards[1].role === 'leader').region;

async function measure(dir, count) {
  const region = await leaderRegion(dir);
  const before = await crossed(dir);
  const report = JSON.parse(await run(['bench', '--cluster', dir, '--region', region, '--connections', String(count),
    '--size', String(size), '--duration', String(duration), '--warm-up', '0', '-o', 'json']));
  const after = await crossed(dir);
  if ((await leaderRegion(dir)) !== region) throw new Error('the leader changed while measuring');
  const committed = report.writes.count * size;
  return regions.filter((name) => name !== region).map((to) => ({
    to, connections: count, writes: report.writes.count,
    entries: (after[to].entries - before[to].entries) / committed,
    raft: (after[to].raft - before[to].raft) / committed,
    total: (after[to].total - before[to].total) / committed }));
}

async function cluster(perRegion) {
  const dir = path.join(workDir, `wan-${perRegion}`);
  fs.rmSync(dir, { recursive: true, force: true });
  fs.mkdirSync(workDir, { recursive: true });
  await run(['demo', '--dir', dir, '--regions', regions.join(','), '--nodes-per-region', String(perRegion),
    '--latency', latency, '--consistency', level, '--base-port', 'auto', '--detach', '-o', 'json']);
  try {
    const rows = [];
    for (const count of connections) rows.push(...await measure(dir, count));
    return rows.map((row) => ({ nodes: `3x${perRegion}`, ...row }));
  } finally {
    await run(['demo', '--dir', dir, '--stop'], { allowFailure: true });
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

const rows = [];
for (const perRegion of nodesPerRegion) rows.push(...await cluster(perRegion));
console.log(`Bytes sent to a remote region per byte of committed documents (${size} B each, ${level}):`);
console.log('nodes  clients  to region        writes   entries     raft    total');
for (const r of rows)
  console.log(`${r.nodes}    ${String(r.connections).padStart(7)}  ${r.to.padEnd(15)} ${String(r.writes).padStart(7)}  ` +
    [r.entries, r.raft, r.total].map((x) => x.toFixed(2).padStart(8)).join(' '));
if (process.env.OUT) fs.writeFileSync(process.env.OUT, JSON.stringify({ size, level, latency, rows }, null, 1));
