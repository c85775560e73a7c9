// make latency: what each consistency level costs. A demo cluster of three regions,
// a known round trip apart, is asked by one client in the write region and by one in
// another region, level by level.
//
//     latency.mjs WORKDIR BASTIDE
//
// Environment: RTT_MS (80), NODES per region (1), DURATION (seconds of each figure:
// 5), LEVELS ("strong bounded session prefix eventual"), OUT (JSON file).
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

const [workDir, bastide] = process.argv.slice(2);
const rtt = Number(process.env.RTT_MS || 80);
const perRegion = process.env.NODES || '1';
const duration = process.env.DURATION || '5';
const levels = (process.env.LEVELS || 'strong bounded session prefix eventual').trim().split(/\s+/);
const [home, remote] = ['eastus', 'westeurope'];
const dir = path.join(workDir, 'latency');

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

// One client, one request after the other; 1 KiB documents.
async function ask(region, reads) {
  const args = ['bench', '--cluster', dir, '--region', region, '--connections', '1', '--keys', '200', '--reads', String(reads),
    '--duration', duration, '--warm-up', '1', '-o', 'json'];
  const report = JSON.parse(await run(reads > 0 ? [...args, '--no-load'] : args));
  return reads > 0 ? report.reads : report.writes;
}

const setLevel = (level) => run(['consistency', 'set', level, '--dir', dir,
  ...(level.startsWith('bounded') ? ['--max-staleness-entries', '100000', '--max-staleness-seconds', '300'] : [])]);

async function measure() {
  const rows = [];
  for (const level of levels) {
    await setLevel(level);
    for (const [what, reads] of [['write', 0], ['read', 100]])
      for (const [where, region] of [['write region', home], ['other region', remote]]) {
        const { p50Ms, p99Ms, count } = await ask(region, reads);
        rows.push({ level, what, where, count, p50Ms, p99Ms, roundTrips: p50Ms / rtt });
      }
  }
  return rows;
}

fs.rmSync(dir, { recursive: true, force: true });
fs.mkdirSync(workDir, { recursive: true });
await run(['demo', '--dir', dir, '--regions', `${home},${remote},southeastasia`, '--nodes-per-region', perRegion,
  '--latency', `${rtt}ms`, '--consistency', 'strong', '--base-port', 'auto', '--detach', '-o', 'json']);
let rows;
try {
  await run(['bench', '--cluster', dir, '--region', home, '--connections', '16', '--keys', '200', '--reads', '1',
    '--duration', '1', '--warm-up', '0', '-o', 'json']); // writes every key once
  rows = await measure();
} finally {
  await run(['demo', '--dir', dir, '--stop'], { allowFailure: true });
  fs.rmSync(dir, { recursive: true, force: true });
}
console.log(`Milliseconds, one client, ${rtt} ms between any two of three regions with ${perRegion} node(s) each:`);
console.log('level      what   asked in        requests       p50       p99   p50 in round trips');
for (const r of rows)
  console.log(`${r.level.padEnd(10)} ${r.what.padEnd(6)} ${r.where.padEnd(14)} ${String(r.count).padStart(9)} ` +
    `${r.p50Ms.toFixed(2).padStart(9)} ${r.p99Ms.toFixed(2).padStart(9)} ${r.roundTrips.toFixed(2).padStart(20)}`);
if (process.env.OUT) fs.writeFileSync(process.env.OUT, JSON.stringify({ rtt, perRegion, rows }, null, 1));
