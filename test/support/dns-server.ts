import { createSocket } from "node:dgram";
import { type Answer, decode, encode, type Packet, RECURSION_AVAILABLE, RECURSION_DESIRED } from "dns-packet";

/** One record of {@link DnsServer}. */
export interface ServedRecord {
  /** `*.` stands for one label or more that have no record of their own (RFC 4592). */
  readonly name: string;
  readonly type: "A" | "AAAA" | "CNAME";
  readonly value: string;
}

/** A running DNS server. */
export interface DnsServer {
  /** `address:port`, as Resolver.setServers takes it. */
  readonly address: string;
  /** What it answers from now on: records, RCODE 2 to everything, or nothing at all. */
  serve(what: readonly ServedRecord[] | "failure" | "silence"): void;
  stop(): Promise<void>;
}

/** Response codes: https://www.rfc-editor.org/rfc/rfc1035#section-4.1.1 */
const failure = 2;
const noSuchName = 3;

/** Stand-in for a recursive DNS server: on 127.0.0.1, by UDP, from records in hand. It knows no zones and no delegation. */
export async function startDnsServer(): Promise<DnsServer> {
  let served: Parameters<DnsServer["serve"]>[0] = [];
  const socket = createSocket("udp4");
  socket.on("message", (message, { address, port }) => {
    const asked = decode(message);
    const question = asked.questions?.[0];
    if (served === "silence" || question === undefined) return;
    const answers = served === "failure" ? [] : answersTo(question.name.toLowerCase(), question.type, served);
    const code = served === "failure" ? failure : answers === undefined ? noSuchName : 0;
    const answer: Packet = {
      id: asked.id ?? 0,
      type: "response",
      flags: RECURSION_DESIRED | RECURSION_AVAILABLE | code,
      questions: [question],
      answers: answers ?? [],
    };
    socket.send(encode(answer), port, address);
  });
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  const { address, port } = socket.address();
  return {
    address: `${address}:${port}`,
    serve(what) {
      served = what;
    },
    async stop() {
      await new Promise<void>((resolve) => socket.close(resolve));
    },
  };
}

/** Answers in the order of the aliases; undefined when there is no such name. */
function answersTo(name: string, type: string, records: readonly ServedRecord[]): Answer[] | undefined {
  const own = records.filter((record) => record.name === name);
  const covering = records.filter((record) => record.name.startsWith("*.") && name.endsWith(record.name.slice(1)));
  const found = own.length > 0 ? own : covering;
  if (found.length === 0) return undefined;
  return found.flatMap((record): Answer[] => {
    if (record.type !== "CNAME") {
      return record.type === type ? [{ name, type: record.type, ttl: 60, data: record.value }] : [];
    }
    const further = type === "CNAME" ? [] : (answersTo(record.value, type, records) ?? []);
    return [{ name, type: "CNAME", ttl: 60, data: record.value }, ...further];
  });
}
