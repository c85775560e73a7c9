// Nothing a user wrote stands in the clear in any file of any node.
import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { Cluster, makeContainer } from "./lib.mjs";

let cluster;
before(async () => (cluster = await Cluster.start()));
after(() => cluster?.stop());

const markers = {
  database: "MARKDATABASEquince", container: "MARKCONTAINERmedlar", id: "MARKIDENTIFIERloquat",
  key: "MARKPARTITIONKEYsorrel", value: "MARKVALUEtamarind", property: "MARKPROPERTYsamphire", path: "MARKPATHlovage",
};

/** The forms a text may take: UTF-8, UTF-16 both ways, base64 at every offset. */
function forms(text) {
  const utf8 = Buffer.from(text, "utf8"), le = Buffer.from(text, "utf16le");
  const result = [utf8, le, Buffer.from(le).swap16(), Buffer.from(utf8.toString("hex"))];
  for (const shift of [0, 1, 2])
    for (const source of [utf8, le]) {
      const encoded = Buffer.concat([Buffer.alloc(shift), source]).toString("base64");
      // Characters at the ends depend on the neighbours of the text.
      result.push(Buffer.from(encoded.slice(shift === 0 ? 0 : 4, encoded.length - 8)));
    }
  return result;
}

function* files(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const full = path.join(folder, entry.name);
    if (entry.isDirectory()) yield* files(full);
    else if (entry.isFile()) yield full;
  }
}

function search(folders, texts) {
  let searched = 0;
  const found = [];
  for (const folder of folders)
    for (const file of files(folder)) {
      const content = readFileSync(file);
      searched += content.length;
      for (const [what, text] of Object.entries(texts))
        for (const form of forms(text)) if (content.includes(form)) found.push(`${what} in ${file}`);
    }
  return { found, searched };
}

test("the search itself finds every form", () => {
  for (const text of Object.values(markers))
    for (const form of forms(text)) assert.ok(form.length >= 8, text);
  for (const prefix of ["", "a", "ab", "abc"]) {
    const hidden = Buffer.from(Buffer.from(`${prefix}${markers.value}tail`).toString("base64"));
    assert.ok(forms(markers.value).some((form) => hidden.includes(form)), prefix);
  }
});

test("no marker is found in any file, while running and after a stop", async () => {
  const client = cluster.client();
  const { database } = await client.databases.create({ id: markers.database });
  const { container } = await database.containers.create({
    id: markers.container, partitionKey: { paths: [`/${markers.path}`] } });
  const write = async (from, to) => {
    for (let n = from; n < to; n++)
      await container.items.create({
        id: `${markers.id}${n}`, [markers.path]: `${markers.key}${n % 3}`, text: `${markers.value} ${n}`,
        [markers.property]: n, filler: markers.value.repeat(50) });
  };
  await write(0, 60);
  const query = `SELECT * FROM c WHERE c.${markers.property} = 5 AND c.text != '${markers.value}'`;
  assert.equal((await container.items.query(query).fetchAll()).resources.length, 1);
  await container.item(`${markers.id}1`, `${markers.key}1`).read();
  await container.item(`${markers.id}2`, `${markers.key}2`).delete();
  await container.items.query(`SELECT NONSENSE ${markers.value}`).fetchAll().catch(() => {});
  const folders = cluster.nodes.map(({ dir }) => dir);
  const running = search(folders, markers);
  assert.deepEqual(running.found, []);
  assert.ok(running.searched > 60 * 500, `only ${running.searched} bytes were searched`);
  await cluster.halt();
  assert.deepEqual(search([cluster.dir], markers).found, []);
  await cluster.launch();
  const again = cluster.client().database(markers.database).container(markers.container);
  assert.equal((await again.item(`${markers.id}1`, `${markers.key}1`).read()).resource.text, `${markers.value} 1`);
});

test("private files are private", () => {
  for (const file of files(cluster.dir)) {
    const name = path.basename(file);
    if (/\.key$|\.keys$|^cluster\.json$/.test(name) || file.includes("/data/"))
      assert.equal(statSync(file).mode & 0o077, 0, file);
  }
});
