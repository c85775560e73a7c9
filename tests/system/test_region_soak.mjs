// A minute of tests/soak: users of the SDK in each region, regions killed, cut,
// switched and returned, everything acknowledged compared after each round.
//
//   make soak     longer, at any level, with other seeds
import assert from "node:assert/strict";
import { test } from "node:test";
import { Soak } from "../soak/soak.mjs";

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
