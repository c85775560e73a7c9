// What the test of leaks searches with: markers in every form in which a
// program may repeat them, what frames between nodes carried, and a matcher for
// thousands of needles in files and memory.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { closeSync, openSync, readFileSync, readSync, readdirSync, statSync } from "node:fs";
import path from "node:path";

/** A text of letters and digits that is nowhere by chance. */
export const marker = (what) => `${what}Zz${randomBytes(9).toString("hex")}`;

/** A marker in other clothes: [form, bytes]. Letters and digits stay as they
 *  are in URLs and JSON; a program may escape them all the same. */
function formsOf(text) {
  const utf8 = Buffer.from(text);
  const each = (print) => Buffer.from([...utf8].map(print).join(""));
  const forms = [
    ["clear", utf8],
    ["lower case", Buffer.from(text.toLowerCase())],
    ["UTF-16LE", Buffer.from(text, "utf16le")],
    ["UTF-16BE", Buffer.from(text, "utf16le").swap16()],
    ["hex", Buffer.from(utf8.toString("hex"))],
    ["HEX", Buffer.from(utf8.toString("hex").toUpperCase())],
    ["percent", each((byte) => `%${byte.toString(16).toUpperCase()}`)],
    ["JSON escapes", each((byte) => `\\u00${byte.toString(16)}`)],
    // How partition keys order strings in their effective form: each byte and one.
    ["key bytes", Buffer.from(utf8.map((byte) => byte + 1))],
    ["key hex", Buffer.from(Buffer.from(utf8.map((byte) => byte + 1)).toString("hex").toUpperCase())],
  ];
  // Base64 of a text inside another depends on where it begins; the characters
  // at its ends also on what is beside it.
  for (let before = 0; before < 3; before++)
    for (const alphabet of ["base64", "base64url"]) {
      const whole = Buffer.concat([Buffer.alloc(before), utf8]).toString(alphabet).replaceAll("=", "");
      forms.push([`${alphabet}+${before}`, Buffer.from(whole.slice(before === 0 ? 0 : before + 1, -2))]);
    }
  return forms;
}

/** Finds needles, each at least 16 bytes, at any place. */
export class Search {
  constructor() {
    this.begins = new Uint8Array(1 << 24); // first three bytes of needles
    this.needles = new Map(); // of the first four: [{ name, bytes }]
    this.count = 0;
    this.longest = 0;
  }

  add(name, bytes) {
    assert.ok(bytes.length >= 16, name);
    const first = bytes.readUInt32LE(0);
    this.begins[first & 0xffffff] = 1;
    if (!this.needles.has(first)) this.needles.set(first, []);
    this.needles.get(first).push({ name, bytes });
    this.longest = Math.max(this.longest, bytes.length);
    this.count++;
    return this;
  }

  addMarker(text) {
    for (const [form, bytes] of formsOf(text)) this.add(`${text} (${form})`, bytes);
    return this;
  }

  /** Names of what is in these bytes. */
  in(bytes, found = new Set()) {
    const { begins, needles } = this;
    for (let at = 0, end = bytes.length - 15; at < end; at++) {
      if (begins[bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16)] === 0) continue;
      for (const needle of needles.get(bytes.readUInt32LE(at)) ?? [])
        if (bytes.subarray(at, at + needle.bytes.length).equals(needle.bytes)) found.add(needle.name);
    }
    return found;
  }

  /** The same for every file below a folder: ["what in file"]. */
  inFiles(dir) {
    const found = [];
    for (const name of readdirSync(dir, { recursive: true })) {
      const file = path.join(dir, name);
      if (statSync(file, { throwIfNoEntry: false })?.isFile())
        for (const what of this.in(readFileSync(file))) found.push(`${what} in ${name}`);
    }
    return found;
  }

  /** And for the memory of a process: { found, bytes }, or undefined where this
   *  process may not read it. Only what was written to: the program's own
   *  read-only pages come from its file. */
  inMemory(pid) {
    let memory;
    try {
      memory = openSync(`/proc/${pid}/mem`, "r");
      readSync(memory, Buffer.alloc(16), 0, 16, segmentsOf(pid)[0].start);
    } catch (error) {
      if (!["EACCES", "EPERM"].includes(error.code)) throw error;
      return undefined;
    }
    const found = new Set(), step = 1 << 24;
    let bytes = 0;
    for (const { start, end } of segmentsOf(pid))
      for (let at = start; at < end; at += step) {
        // With the beginning of the next piece, for what lies across.
        const piece = Buffer.allocUnsafe(Math.min(step + this.longest, end - at));
        try {
          const got = readSync(memory, piece, 0, piece.length, at);
          this.in(piece.subarray(0, got), found);
          bytes += got;
        } catch (error) {
          // Given back meanwhile, or never there.
          if (!["EIO", "EFAULT"].includes(error.code)) throw error;
        }
      }
    closeSync(memory);
    return { found: [...found], bytes };
  }
}

/** Segments that can be written and have pages: [{ start, end }]. */
function segmentsOf(pid) {
  const segments = [];
  let segment;
  for (const line of readFileSync(`/proc/${pid}/smaps`, "latin1").split("\n")) {
    const head = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) /.exec(line);
    if (head) segment = { start: parseInt(head[1], 16), end: parseInt(head[2], 16), rights: head[3] };
    const resident = /^Rss: +(\d+) kB/.exec(line);
    if (resident && Number(resident[1]) > 0 && segment.rights.startsWith("rw")) segments.push(segment);
  }
  return segments;
}

// -- frames ------------------------------------------------------------------

const RAFT = 5, SNAPSHOT = 8, RAFT_SHARED = 10; // replication/frame.h
const APPEND = 16, DATA = 1; // replication/wire/raft.proto, consensus/raft.h

/** The fields of a protobuf message: number -> number or bytes, the last one. */
function fieldsOf(bytes) {
  const fields = new Map();
  let at = 0;
  const varint = () => {
    let value = 0n, shift = 0n, byte;
    do {
      byte = bytes[at++];
      value |= BigInt(byte & 127) << shift;
      shift += 7n;
    } while (byte & 128);
    return Number(value);
  };
  while (at < bytes.length) {
    const tag = varint(), kind = tag & 7;
    if (kind === 0) fields.set(tag >> 3, varint());
    else {
      const length = kind === 1 ? 8 : kind === 5 ? 4 : varint();
      assert.ok([1, 2, 5].includes(kind) && at + length <= bytes.length, "a message of another form");
      fields.set(tag >> 3, bytes.subarray(at, (at += length)));
    }
  }
  return fields;
}

function numbersOf(packed) {
  const numbers = [];
  for (let at = 0, value = 0, scale = 1; at < (packed?.length ?? 0); at++) {
    value += (packed[at] & 127) * scale;
    scale *= 128;
    if (packed[at] & 128) continue;
    numbers.push(value);
    [value, scale] = [0, 1];
  }
  return numbers;
}

function* framesOf(file) {
  const all = readFileSync(file);
  for (let at = 0; at + 12 <= all.length; ) {
    const length = all.readUInt32LE(at), payload = all.subarray(at + 12, at + 12 + length);
    if (payload.length < length) return; // being written
    const head = length >= 4 ? payload.readUInt32LE(0) : 0;
    yield { type: all[at + 4], head: payload.subarray(4, 4 + head), attachment: payload.subarray(4 + head) };
    at += 12 + length;
  }
}

/** What clients wrote, as it was in the frames of these files about a shard:
 *  payloads of entries with data, and chunks of snapshots. */
export function* payloadsOf(files, shard) {
  for (const file of files)
    for (const { type, head, attachment } of framesOf(file)) {
      if (![RAFT, RAFT_SHARED, SNAPSHOT].includes(type)) continue;
      const message = fieldsOf(head);
      if (message.get(1) !== shard) continue;
      if (type === SNAPSHOT) yield { kind: "chunk", bytes: attachment };
      if (type === SNAPSHOT || !message.has(APPEND)) continue;
      const append = fieldsOf(message.get(APPEND)), sizes = numbersOf(append.get(8));
      let at = 0;
      for (const [i, kind] of numbersOf(append.get(7)).entries()) {
        if (kind === DATA) yield { kind: "entry", bytes: attachment.subarray(at, at + sizes[i]) };
        at += sizes[i];
      }
    }
}

const WINDOW = 24;
/** Windows of a payload that are nowhere by chance: sealed, or hashes. None that
 *  begins with, say, zeros: memory is full of these, and each is looked at. */
export function windowsOf(bytes, most = 8) {
  const windows = [];
  const step = Math.max(WINDOW, Math.floor(bytes.length / most));
  for (let at = WINDOW; at + WINDOW <= bytes.length; at += step) {
    const window = Buffer.from(bytes.subarray(at, at + WINDOW));
    if (new Set(window).size >= 18 && new Set(window.subarray(0, 4)).size === 4) windows.push(window);
  }
  return windows;
}
