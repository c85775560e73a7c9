// Programs that write to a container while something is done to it, and what must
// be in it afterwards.
import assert from "node:assert/strict";

/** Documents fill-0, fill-1, .. whose text looks like what the system appends. */
export async function fill(container, count, more = {}) {
  for (let n = 0; n < count; n += 20)
    await Promise.all(Array.from({ length: Math.min(20, count - n) }, (_, k) =>
      container.items.create({ id: `fill-${n + k}`, pk: `pk-${(n + k) % 13}`, text: `Text, "_rid":"${n + k}"`, v: 0, ...more })));
}

/** A program that creates, replaces and deletes, one after the other, and knows
 *  what must be there: `expected`, but for what `unsure` names, whose requests
 *  failed (`failed`). */
export class Writer {
  constructor(name, container) {
    Object.assign(this, { name, container, expected: new Map(), failed: [], writes: 0, unsure: new Set(), longest_ms: 0 });
    this.going = true;
    this.done = this.#run();
  }
  async #attempt(id, what, effect) {
    const began = Date.now();
    try {
      await what();
      effect();
      this.writes++;
    } catch (error) {
      this.failed.push({ id, code: error.code, message: String(error.message).slice(0, 200) });
      this.unsure.add(id);
    }
    this.longest_ms = Math.max(this.longest_ms, Date.now() - began);
  }
  async #run() {
    for (let n = 0; this.going; n++) {
      const id = `${this.name}-${n}`, pk = `pk-${n % 7}`;
      await this.#attempt(id, () => this.container.items.create({ id, pk, v: 0 }), () => this.expected.set(id, { pk, v: 0 }));
      if (n >= 3) {
        const other = `${this.name}-${n - 3}`, otherPk = `pk-${(n - 3) % 7}`;
        if (n % 3 === 0)
          await this.#attempt(other, () => this.container.item(other, otherPk).delete(), () => this.expected.delete(other));
        else
          await this.#attempt(other, () => this.container.items.upsert({ id: other, pk: otherPk, v: n }),
            () => this.expected.set(other, { pk: otherPk, v: n }));
        // What was just written is read: the session.
        if (n % 5 === 0 && this.expected.has(id)) {
          const { resource } = await this.container.item(id, pk).read().catch((error) => ({ resource: { error } }));
          if (resource?.v !== 0) this.failed.push({ id, read: resource?.error?.code ?? null });
        }
      }
    }
  }
  async stop() {
    this.going = false;
    await this.done;
  }
}

/** Everything that must be in the container is, as it must be, once; and nothing
 *  else. */
export async function verify(container, filled, writers) {
  const { resources } = await container.items.query("SELECT * FROM c").fetchAll();
  const found = new Map();
  for (const document of resources) {
    assert.ok(!found.has(document.id), `${document.id} is there twice`);
    found.set(document.id, document);
  }
  for (let n = 0; n < filled; n++) {
    assert.equal(found.get(`fill-${n}`)?.text, `Text, "_rid":"${n}"`, `fill-${n}`);
    found.delete(`fill-${n}`);
  }
  for (const writer of writers) {
    for (const [id, { pk, v }] of writer.expected) {
      if (!writer.unsure.has(id)) {
        assert.ok(found.has(id), `${id} is lost`);
        assert.deepEqual([found.get(id).pk, found.get(id).v], [pk, v], id);
      }
      found.delete(id);
    }
    for (const id of writer.unsure) found.delete(id);
  }
  assert.deepEqual([...found.keys()], [], "what was deleted has come back");
}
