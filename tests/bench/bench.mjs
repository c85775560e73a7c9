// make bench: a three-node Bastide cluster beside a three-node etcd, one after
// the other on this machine, both with everything on: mutual TLS between the
// nodes, TLS to the clients, every write synced to disk by a majority.
//
//     bench.mjs WORKDIR BASTIDE ETCD_LOAD
//
// Environment: CLIENTS ("1 16 64 256"), DURATION and WARM_UP (seconds of each
// measurement: 5, 1), ONLY (etcd or bastide), OUT (file for the JSON result).
// Everything it starts it ends, by process id, also when it is interrupted.

import { spawn, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const [workDir, bastide, etcdLoad] = process.argv.slice(2);
const clients = (process.env.CLIENTS || '1 16 64 256').trim().split(/\s+/).map(Number);
const duration = Number(process.env.DURATION || 5);
const warmUp = Number(process.env.WARM_UP || 1);
const only = process.env.ONLY || '';
const valueBytes = 1024;
const keys = 10000;
const idleSeconds = 5;

const started = new Set(); // child processes to end
const atEnd = [];          // what else has to be undone

// -- processes ---------------------------------------------------------------

function start(command, args, logFile) {
  const log = fs.openSync(logFile, 'w');
  const child = spawn(command, args, { stdio: ['ignore', log, log] });
  fs.closeSync(log);
  started.add(child);
  child.on('exit', () => started.delete(child));
  return child;
}

async function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((done) => child.once('exit', done));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
  await gone;
  clearTimeout(timer);
}

async function cleanUp() {
  await Promise.all([...started].map(stop));
  while (atEnd.length > 0) await atEnd.pop()();
}

// Runs a program to its end; gives its standard output, also when it failed
// but printed something.
function run(command, args, { seconds, env = {} }) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    let out = '', err = '';
    started.add(child);
    child.stdout.on('data', (d) => (out += d));
    child.stderr.on('data', (d) => (err += d));
    const timer = setTimeout(() => child.kill('SIGKILL'), seconds * 1000);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      started.delete(child);
      if (out !== '' && signal === null) resolve({ code, out });
      else if (code === 0) resolve({ code, out });
      else reject(new Error(`${path.basename(command)} ${signal ?? `exit ${code}`}: ${err.trim()}`));
    });
  });
}

// -- /proc -------------------------------------------------------------------

const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK']).toString());

function cpuSeconds(pid) {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

function memoryMiB(pid) {
  const line = /^VmRSS:\s+(\d+) kB/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line[1]) / 1024;
}

// The highest of the nodes: what one has to reckon with.
async function idle(pids) {
  const before = pids.map(cpuSeconds);
  await sleep(idleSeconds * 1000);
  const cpu = pids.map((pid, i) => (100 * (cpuSeconds(pid) - before[i])) / idleSeconds);
  return { memoryMiB: Math.max(...pids.map(memoryMiB)), cpuPercent: Math.max(...cpu) };
}

// Cores that all nodes together use while something is measured.
async function withCpu(pids, measure) {
  const before = pids.map(cpuSeconds);
  const begun = performance.now();
  const result = await measure();
  const used = pids.map(cpuSeconds).reduce((sum, cpu, i) => sum + cpu - before[i], 0);
  return { ...result, serverCores: (1000 * used) / (performance.now() - begun) };
}

async function freePorts(count) {
  const servers = [];
  for (let i = 0; i < count; i++)
    servers.push(await new Promise((resolve) => {
      const server = net.createServer().listen(0, '127.0.0.1', () => resolve(server));
    }));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

// -- etcd --------------------------------------------------------------------

function openssl(args) {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

// A CA and one certificate for everybody, for servers, peers and clients.
function makeCertificates(dir) {
  const at = (name) => path.join(dir, name);
  openssl(['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
    '-subj', '/CN=bench', '-days', '1', '-keyout', at('ca.key'), '-out', at('ca.pem')]);
  openssl(['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
    '-subj', '/CN=member', '-keyout', at('member.key'), '-out', at('member.csr')]);
  fs.writeFileSync(at('extensions'),
    'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n');
  openssl(['x509', '-req', '-in', at('member.csr'), '-CA', at('ca.pem'), '-CAkey', at('ca.key'),
    '-CAcreateserial', '-days', '1', '-extfile', at('extensions'), '-out', at('member.pem')]);
  return { ca: at('ca.pem'), cert: at('member.pem'), key: at('member.key') };
}

async function startEtcd(dir) {
  const tls = makeCertificates(dir);
  const ports = await freePorts(6);
  const members = [0, 1, 2].map((i) => ({
    name: `m${i}`,
    client: `https://127.0.0.1:${ports[2 * i]}`,
    peer: `https://127.0.0.1:${ports[2 * i + 1]}`,
  }));
  const cluster = members.map((m) => `${m.name}=${m.peer}`).join(',');
  const children = members.map((m) => start('etcd', [
    '--name', m.name, '--data-dir', path.join(dir, m.name),
    '--listen-client-urls', m.client, '--advertise-client-urls', m.client,
    '--listen-peer-urls', m.peer, '--initial-advertise-peer-urls', m.peer,
    '--initial-cluster', cluster, '--initial-cluster-token', 'bench',
    '--client-cert-auth', '--trusted-ca-file', tls.ca,
    '--cert-file', tls.cert, '--key-file', tls.key,
    '--peer-client-cert-auth', '--peer-trusted-ca-file', tls.ca,
    '--peer-cert-file', tls.cert, '--peer-key-file', tls.key,
    '--logger', 'zap', '--log-level', 'error',
    '--quota-backend-bytes', String(8 * 2 ** 30),
  ], path.join(dir, `${m.name}.log`)));
  return { members, tls, children };
}

// Its clients share connections, as its authors do when they measure it: with
// one connection each it is a fifth slower.
const etcdConnections = 16;

function etcdArgs(etcd, count, reads, seconds, warm) {
  return ['-endpoints', etcd.members.map((m) => m.client).join(','),
    '-ca', etcd.tls.ca, '-cert', etcd.tls.cert, '-key', etcd.tls.key,
    '-clients', String(count), '-conns', String(Math.min(count, etcdConnections)), '-keys', String(keys), '-size', String(valueBytes),
    `-reads=${reads}`, '-warm-up', `${warm}s`, '-duration', `${seconds}s`];
}

// Writes every key once, so that gets find them.
async function loadEtcd(etcd) {
  await run(etcdLoad, [...etcdArgs(etcd, 64, true, 0.1, 0), '-load'], { seconds: 120 });
}

async function etcdReady(etcd) {
  for (let attempt = 0; ; attempt++) {
    try {
      const { out } = await run(etcdLoad, etcdArgs(etcd, 3, false, 0.2, 0), { seconds: 15 });
      if (JSON.parse(out).errors === 0) return;
    } catch (err) {
      if (attempt === 5) throw err;
    }
    await sleep(500);
  }
}

async function benchEtcd() {
  const dir = path.join(workDir, 'etcd');
  fs.mkdirSync(dir, { recursive: true });
  const begun = Date.now();
  const etcd = await startEtcd(dir);
  await etcdReady(etcd);
  const startSeconds = (Date.now() - begun) / 1000;
  const pids = etcd.children.map((child) => child.pid);
  const result = { name: 'etcd', version: etcdVersion(), startSeconds, idle: await idle(pids), runs: [] };
  await loadEtcd(etcd);
  for (const reads of [false, true])
    for (const count of clients)
      result.runs.push(await oneRun('etcd', count, reads, pids, () =>
        runJson(etcdLoad, etcdArgs(etcd, count, reads, duration, warmUp))));
  result.loadedMemoryMiB = Math.max(...pids.map(memoryMiB));
  await Promise.all(etcd.children.map(stop));
  return result;
}

function etcdVersion() {
  return execFileSync('etcd', ['--version']).toString().split('\n')[0].replace('etcd Version: ', '');
}

// -- bastide -----------------------------------------------------------------

function bastideArgs(dir, count, reads, seconds, warm) {
  return ['bench', '--cluster', dir, '-o', 'json', '--connections', String(count),
    '--keys', String(keys), '--size', String(valueBytes), '--reads', reads ? '100' : '0',
    '--warm-up', String(warm), '--duration', String(seconds)];
}

async function benchBastide() {
  const dir = path.join(workDir, 'bastide');
  atEnd.push(() => run(bastide, ['demo', '--dir', dir, '--stop'], { seconds: 30 }).catch(() => {}));
  const begun = Date.now();
  await run(bastide, ['demo', '--dir', dir, '--base-port', 'auto', '--detach'], { seconds: 60 });
  const startSeconds = (Date.now() - begun) / 1000;
  const cluster = JSON.parse(fs.readFileSync(path.join(dir, 'cluster.json'), 'utf8'));
  const pids = cluster.regions.flatMap((region) => region.nodes.map((node) => node.pid));
  const version = (await run(bastide, ['version'], { seconds: 5 })).out.split('\n')[0];
  const result = { name: 'bastide', version, startSeconds, idle: await idle(pids), runs: [] };
  await runJson(bastide, bastideArgs(dir, 64, true, 1, 0));
  for (const reads of [false, true])
    for (const count of clients)
      result.runs.push(await oneRun('bastide', count, reads, pids, () =>
        runJson(bastide, [...bastideArgs(dir, count, reads, duration, warmUp), '--no-load'])));
  result.loadedMemoryMiB = Math.max(...pids.map(memoryMiB));
  await atEnd.pop()();
  return result;
}

// -- measuring and telling ---------------------------------------------------

async function runJson(command, args) {
  const { out } = await run(command, args, { seconds: duration + warmUp + 120 });
  return JSON.parse(out);
}

async function oneRun(name, count, reads, pids, measure) {
  const r = await withCpu(pids, measure);
  const row = reads ? r.reads : r.writes;
  const errors = typeof r.errors === 'number' ? r.errors
    : Object.values(r.errors).reduce((sum, n) => sum + n, 0);
  process.stderr.write(`${name}: ${count} clients, ${reads ? 'gets' : 'puts'}: ` +
    `${row.perSecond.toFixed(0)}/s, p99 ${row.p99Ms.toFixed(1)} ms` +
    `${errors > 0 ? `, ${errors} errors (${r.firstError})` : ''}\n`);
  return { clients: count, reads, errors, serverCores: r.serverCores, generatorCores: r.generatorCores, ...row };
}

function table(rows) {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  for (const row of rows)
    console.log(row.map((cell, i) => (i < 2 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  ').trimEnd());
}

const fixed = (value, digits) => value.toFixed(digits);

function tell(results) {
  console.log(`\n${os.cpus().length} cores (${os.cpus()[0].model.trim()}), ${valueBytes}-byte values, ` +
    `${keys} keys, ${duration} s each after ${warmUp} s of warm-up`);
  for (const r of results) console.log(`${r.name}: ${r.version}`);
  const rows = [['operation', 'store', 'clients', 'per s', 'p50 ms', 'p99 ms', 'p99.9 ms', 'errors', 'server cores', 'client cores']];
  for (const reads of [false, true])
    for (const count of clients)
      for (const { name, runs } of results) {
        const r = runs.find((x) => x.reads === reads && x.clients === count);
        rows.push([reads ? 'get' : 'put', name, String(count), fixed(r.perSecond, 0), fixed(r.p50Ms, 2),
          fixed(r.p99Ms, 2), fixed(r.p999Ms, 2), String(r.errors), fixed(r.serverCores, 2), fixed(r.generatorCores, 2)]);
      }
  console.log();
  table(rows);
  console.log();
  table([['of one node', '', 'idle MiB', 'idle CPU %', 'MiB after load', 'cluster start s'],
    ...results.map((r) => [r.name, '', fixed(r.idle.memoryMiB, 1), fixed(r.idle.cpuPercent, 2),
      fixed(r.loadedMemoryMiB, 1), fixed(r.startSeconds, 2)])]);
  if (results.length === 2) tellRatios(results);
}

function tellRatios(results) {
  const of = (name) => results.find((r) => r.name === name).runs;
  const rows = [['ratio', 'bastide : etcd', 'clients', 'throughput', 'p99']];
  for (const ours of of('bastide')) {
    const theirs = of('etcd').find((r) => r.reads === ours.reads && r.clients === ours.clients);
    rows.push([ours.reads ? 'get' : 'put', '', String(ours.clients),
      `${fixed(ours.perSecond / theirs.perSecond, 2)} x`, `${fixed(ours.p99Ms / theirs.p99Ms, 2)} x`]);
  }
  console.log();
  table(rows);
}

async function main() {
  fs.rmSync(workDir, { recursive: true, force: true });
  fs.mkdirSync(workDir, { recursive: true });
  const results = [];
  if (only !== 'bastide') results.push(await benchEtcd());
  if (only !== 'etcd') results.push(await benchBastide());
  tell(results);
  if (process.env.OUT) fs.writeFileSync(process.env.OUT, JSON.stringify(results, null, 2) + '\n');
  return results.some((r) => r.runs.some((x) => x.errors > 0)) ? 1 : 0;
}

for (const signal of ['SIGINT', 'SIGTERM'])
  process.on(signal, () => cleanUp().then(() => process.exit(130)));

let code = 1;
try {
  code = await main();
} catch (err) {
  console.error(`bench: ${err.message}`);
}
await cleanUp();
process.exit(code);
