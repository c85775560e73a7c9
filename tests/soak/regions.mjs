// Everything that can fail, drawn at random: regions killed, stopped, cut,
// switched and returned, power lost, and any fault of `bastide fault`, under users
// of the SDK in every region. See soak.mjs.
//
//   make soak MINUTES=30 LEVEL=session SEED=7 SHAPE=3x3 LATENCY=40ms KEEP=folder
//
// LEVEL: one of the five, `any` (one after the other, a cluster each) or
// `changing` (changed at random meanwhile). ROUNDS=20 instead of MINUTES: that
// many at each level. The same SEED draws the same faults; what they meet
// differs. FAULTS="killRegion disk-slow": just these, every round; a name is one
// of Soak.FAULTS or a kind of the menu.
import { LEVELS, Soak } from "./soak.mjs";

const minutes = Number(process.env.MINUTES || 30);
const rounds = Number(process.env.ROUNDS || Infinity);
const seed = Number(process.env.SEED || Math.floor(Math.random() * 1e9));
const level = process.env.LEVEL || "any";
const perRegion = Number(/^3x(\d)$/.exec(process.env.SHAPE || "3x1")?.[1] ?? 1);
const faults = process.env.FAULTS?.trim() ? process.env.FAULTS.trim().split(/\s+/) : undefined;
const flags = ["--nodes-per-region", String(perRegion), ...(process.env.LATENCY ? ["--latency", process.env.LATENCY] : [])];

let wrong = 0;
const total = { rounds: 0, writes: 0, reads: 0, failed: 0 };
const levels = level === "any" ? [...LEVELS, "changing"] : [level];
for (const name of levels) {
  const end = rounds === Infinity ? Date.now() + (minutes * 60_000) / levels.length : Infinity;
  const changing = name === "changing";
  const soak = new Soak({ level: changing ? "session" : name, changing, seed, flags, parent: process.env.KEEP, log: console.log });
  console.log(`# ${name}, seed ${seed}, ${perRegion} nodes per region ${process.env.LATENCY ?? ""}`);
  try {
    await soak.start();
    console.log(`# ${soak.cluster.dir}`);
    for (let n = 1; n <= rounds && Date.now() < end && soak.wrong.length === 0; n++) {
      const { done, said, faulty, settled, compared } = await soak.round(faults);
      total.rounds++;
      console.log(`${new Date().toISOString().slice(11, 19)} ${soak.level} round ${n}: ${done.join(", ")} ${said.join(" ")}: ${faulty} ms, settled after ${settled} ms, ` +
        `compared in ${compared} ms; ${soak.counts.writes} writes, ${soak.counts.reads} reads, ${soak.counts.failed} failed, ${soak.conflictCount} conflicts`);
    }
  } catch (error) {
    soak.complain(error.stack);
  }
  try {
    await soak.stop();
  } catch (error) {
    soak.complain(error.message);
  }
  for (const what of soak.wrong) console.log(`WRONG ${what}`);
  if (soak.wrong.length > 0) {
    console.log(`# kept, with the nodes' logs: ${soak.cluster?.dir}`);
    console.log(`# again: make soak LEVEL=${name} SEED=${seed} SHAPE=3x${perRegion}${process.env.LATENCY ? ` LATENCY=${process.env.LATENCY}` : ""}` +
      `${faults ? ` FAULTS="${faults.join(" ")}"` : ""}`);
  }
  for (const [what, count] of soak.errors) console.log(`# users were told ${count} times: ${what}`);
  wrong += soak.wrong.length;
  for (const key of ["writes", "reads", "failed"]) total[key] += soak.counts[key];
}
console.log(`${total.rounds} rounds, ${total.writes} writes, ${total.reads} reads, ${total.failed} refused; ${wrong} wrong`);
process.exit(wrong > 0 ? 1 : 0);
