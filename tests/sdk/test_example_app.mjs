// The worked example of docs/testing-your-app.md: a service of its own, with its
// own test runner, which loses a region under it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { program } from "./lib.mjs";

const folder = path.join(path.dirname(fileURLToPath(import.meta.url)), "example-app");

test("the example's own tests pass: npm test", async (t) => {
  const env = { ...process.env, BASTIDE: program };
  delete env.NODE_TEST_CONTEXT; // a runner of its own, not a part of this one
  const child = spawn("setpriv", ["--pdeathsig", "TERM", process.execPath, "--test", "--test-reporter=spec"],
    { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += data));
  const code = await new Promise((resolve) => child.once("close", resolve));
  for (const line of output.split("\n").filter((text) => /requests, slowest|^[✔✖]/.test(text))) t.diagnostic(line);
  assert.equal(code, 0, output);
  assert.match(output, /pass 5\n/);
});
