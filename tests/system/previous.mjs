// The program of the commit before this one, for tests that run both in one
// cluster: built once, kept in build/previous/<commit>/.
import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, utimesSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { root } from "../sdk/lib.mjs";

const exec = promisify(execFile);
const PRODUCT = ["consensus", "failover", "node", "replication"];
const HISTORY = 500; // commits that are looked at
const KEEP = path.join(root, "build/previous");

const git = async (...args) => (await exec("git", ["-C", root, ...args], { maxBuffer: 1 << 26 })).stdout.trim();
const differs = (...args) => git("diff", "--quiet", ...args, "--", ...PRODUCT).then(() => false, (error) => {
  if (error.code === 1) return true;
  throw error;
});

/** The newest commit whose product is not the one that was built here: HEAD
 *  itself while there are changes that nobody has committed. */
async function previousCommit() {
  if (await git("status", "--porcelain", "--", ...PRODUCT)) return git("rev-parse", "HEAD");
  const [head, ...before] = (await git("rev-list", "--first-parent", "-n", String(HISTORY), "HEAD")).split("\n");
  for (const commit of before) if (await differs(commit, head)) return commit;
  return undefined;
}

/** Objects of this tree spare the old one most of its build: make believes that
 *  a source is older than they are, unless it is one that differs. */
async function lendObjects(commit, folder) {
  const upToDate = await exec("make", ["-q", "build/bastide"], { cwd: root, env: clean() }).then(() => true, () => false);
  if (!upToDate) return;
  for (const part of [...PRODUCT.map((name) => path.join("obj", name)), "replication"])
    if (existsSync(path.join(root, "build", part)))
      cpSync(path.join(root, "build", part), path.join(folder, "build", part), { recursive: true, preserveTimestamps: true });
  const now = new Date();
  for (const file of (await git("diff", "--name-only", "--no-renames", commit)).split("\n"))
    if (existsSync(path.join(folder, file))) utimesSync(path.join(folder, file), now, now);
}

/** The environment without what a make around us wants of its own children. */
function clean() {
  const { MAKEFLAGS, MAKELEVEL, MFLAGS, ...env } = process.env;
  return env;
}

async function build(commit) {
  mkdirSync(KEEP, { recursive: true });
  const folder = mkdtempSync(path.join(KEEP, "build-"));
  try {
    await exec("sh", ["-c", 'git -C "$1" archive "$2" | tar -x -C "$3"', "sh", root, commit, folder]);
    await lendObjects(commit, folder);
    await exec("make", ["-s", "-j2", "build/bastide"], { cwd: folder, env: clean(), maxBuffer: 1 << 26 });
    // Those of other commits are not needed any more.
    for (const name of readdirSync(KEEP))
      if (!name.startsWith("build-")) rmSync(path.join(KEEP, name), { recursive: true });
    mkdirSync(path.join(KEEP, commit), { recursive: true });
    renameSync(path.join(folder, "build/bastide"), path.join(KEEP, commit, "bastide"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** { commit, program }, or { missing } that says why there is none.
 *  TEST_PREVIOUS names another commit, or a program. */
export async function previousProgram() {
  const wanted = process.env.TEST_PREVIOUS;
  if (wanted && existsSync(wanted)) return { commit: wanted, program: path.resolve(wanted) };
  let commit;
  try {
    commit = wanted ? await git("rev-parse", "--verify", `${wanted}^{commit}`) : await previousCommit();
  } catch (error) {
    return { missing: `no history to take the previous commit from: ${String(error.stderr || error.message).trim()}` };
  }
  if (commit === undefined) return { missing: `none of the commits that are here has another product (a shallow clone?)` };
  const program = path.join(KEEP, commit, "bastide");
  if (!existsSync(program)) await build(commit);
  return { commit, program };
}
