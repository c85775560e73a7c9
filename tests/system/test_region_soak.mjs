// A minute or two of tests/soak: users of the SDK in each region, regions killed,
// cut, switched and returned, then faults drawn from the whole menu, everything
// acknowledged compared after each round.
//
//   make soak     longer, at any level, with other seeds
//
// test-timeout: 480
import assert from "node:assert/strict";
import { test } from "node:test";
import { LEVELS, Soak } from "../soak/soak.mjs";

/** [level, flags, rounds]: what is done in each round. */
const RUNS = [
  ["strong", [], [["switchAndKill"], ["cutAndForce"]]],
  ["session", ["--latency", "40ms"], [["killMetaLeaderToo"], ["cutRegion", "twoSwitches"], ["switchAndRestartAll"]]],
  ["bounded-staleness", ["--nodes-per-region", "3"], [["killRegion", "newOrder"], ["killAll"]]],
];

for (const [level, flags, rounds] of RUNS)
  test(`${level} ${flags.join(" ")}: nothing acknowledged is lost beyond the level's promise`, async () => {
    const soak = new Soak({ level, flags, seed: rounds.length, changing: level === "session" });
    const story = [];
    try {
      await soak.start();
      for (const names of rounds) story.push(await soak.round(names));
    } finally {
      if (soak.work) await soak.stop();
    }
    assert.deepEqual(soak.wrong, [], JSON.stringify(story));
    assert.ok(soak.counts.writes > 100 && soak.counts.reads > 50, JSON.stringify(soak.counts));
    console.log(`# ${JSON.stringify(soak.counts)}`);
  });

const MENU_MS = 25_000;
const seed = Number(process.env.SOAK_SEED || Math.floor(Math.random() * 1e9));

test(`any faults at random (SOAK_SEED=${seed}): nothing acknowledged is lost, and all heal`, async (t) => {
  const level = LEVELS[seed % LEVELS.length];
  const soak = new Soak({ level, seed, log: (line) => t.diagnostic(line) });
  const begun = Date.now();
  const story = [];
  try {
    await soak.start();
    while (Date.now() - begun < MENU_MS && soak.wrong.length === 0) {
      const { said } = await soak.round(["menu", "menu", "menu"]);
      story.push(...said);
    }
  } finally {
    if (soak.work) await soak.stop();
  }
  t.diagnostic(`${level}: ${story.join(" ")}; ${JSON.stringify(soak.counts)}`);
  assert.deepEqual(soak.wrong, [], `after ${story.join(" ")}; logs in ${soak.cluster.dir}; again: make soak LEVEL=${level} SEED=${seed} FAULTS="menu menu menu"`);
  assert.ok(soak.counts.writes > 50, JSON.stringify(soak.counts));
});
