// What goes over TCP connections of this machine, as somebody on the wire sees
// it: recorded by tcpdump, put together by connection and direction.
import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { until } from "../sdk/lib.mjs";

/** Why nothing can be recorded; undefined when it can. */
export function whyNoRecording() {
  if (spawnSync("tcpdump", ["--version"]).error) return "tcpdump is not installed: deploy/install-deps.sh test";
  return process.getuid() === 0 ? undefined : "only root may record";
}

const MAGIC_US = 0xa1b2c3d4, ETHERNET = 1, FILE_HEADER = 24, PACKET_HEADER = 16, ETHERNET_HEADER = 14;
// Further back in a stream than what is sent again: another connection has its ports.
const AGAIN_MOST = 1 << 20;

/** [source port, destination port, sequence number, payload] of each packet. */
function* packets(file) {
  if (file.readUInt32LE(0) !== MAGIC_US || file.readUInt32LE(20) !== ETHERNET) throw new Error("an unknown kind of recording");
  for (let at = FILE_HEADER; at + PACKET_HEADER <= file.length;) {
    const length = file.readUInt32LE(at + 8);
    const packet = file.subarray(at + PACKET_HEADER, at + PACKET_HEADER + length);
    at += PACKET_HEADER + length;
    if (packet.length < length) return; // tcpdump was ended in the middle
    if (packet.readUInt16BE(12) !== 0x0800) continue; // IPv4 alone: the nodes listen there
    const ip = packet.subarray(ETHERNET_HEADER), tcp = ip.subarray((ip[0] & 15) * 4, ip.readUInt16BE(2));
    const payload = tcp.subarray((tcp[12] >> 4) * 4);
    yield [tcp.readUInt16BE(0), tcp.readUInt16BE(2), tcp.readUInt32BE(4), payload];
  }
}

export class Recorder {
  /** Resolves when packets of these ports are being written to `file`. */
  static async start(file, ports) {
    const recorder = new Recorder();
    recorder.file = file;
    const filter = ports.map((port) => `tcp port ${port}`).join(" or ");
    recorder.process = spawn("setpriv", ["--pdeathsig", "TERM", "tcpdump", "-i", "lo", "-s", "0", "-B", "65536", "-U", "-Z", "root", "-w", file, filter],
      { stdio: ["ignore", "ignore", "pipe"] });
    let said = "", ended = false;
    recorder.process.stderr.on("data", (data) => (said += data));
    recorder.process.once("close", () => (ended = true));
    recorder.said = () => said;
    recorder.ended = () => ended;
    await until("tcpdump listens", () => {
      if (ended) throw new Error(`tcpdump: ${said}`);
      return /listening on/.test(said);
    });
    return recorder;
  }

  /** Ends the recording. { streams: [{ from, to, bytes }], dropped }; a stream is
   *  what one connection carried in one direction, `from` and `to` its ports. */
  async stop() {
    this.process.kill("SIGINT");
    await until("tcpdump has ended", () => this.ended());
    const dropped = Number(/(\d+) packets dropped by kernel/.exec(this.said())?.[1] ?? NaN);
    const streams = new Map();
    for (const [from, to, sequence, payload] of packets(readFileSync(this.file))) {
      if (payload.length === 0) continue;
      const key = `${from}>${to}`;
      const stream = streams.get(key) ?? { from, to, next: sequence, parts: [] };
      streams.set(key, stream);
      // What was sent before is left out.
      const again = (stream.next - sequence) | 0;
      const fresh = again > 0 && again < AGAIN_MOST ? payload.subarray(Math.min(again, payload.length)) : payload;
      if (fresh.length === 0) continue;
      stream.parts.push(fresh);
      stream.next = (sequence + payload.length) >>> 0;
    }
    return { dropped, streams: [...streams.values()].map(({ from, to, parts }) => ({ from, to, bytes: Buffer.concat(parts) })) };
  }
}
