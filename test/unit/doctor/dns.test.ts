import assert from "node:assert/strict";
import { codes, dnsCheck } from "../../../doctor/dns";
import { address, domain, records, startWorld, type World } from "../../support/world";

const target = "lb.cloud.test";
const alias = [
  { name: domain, type: "CNAME", value: target },
  { name: `*.${domain}`, type: "CNAME", value: target },
] as const;
const without = (name: string) => records.filter((record) => record.name !== name);
const leading = (name: string, value: string) => [...without(name), { name, type: "A", value } as const];

describe("The look at DNS", () => {
  let world: World;
  before(async () => {
    world = await startWorld();
  });
  afterEach(() => {
    world.heal();
  });
  after(async () => {
    await world.stop();
  });

  const found = async (): Promise<string[]> => (await world.run(dnsCheck)).map(({ code }) => code);
  const behind = (ingressAddress: string | undefined): void => {
    world.patient = { ...world.patient, ingressAddress, dnsRecords: [] };
  };

  it("finds nothing when all records are there", async () => {
    assert.deepEqual(await found(), []);
  });

  const mistakes: readonly (readonly [mistake: string, code: string, make: () => void])[] = [
    [
      "no address at the ingress",
      "GW101",
      () => {
        behind(undefined);
      },
    ],
    [
      "no record for the domain",
      "GW102",
      () => {
        world.dns.serve(without(domain));
      },
    ],
    [
      "another address for the domain",
      "GW103",
      () => {
        world.dns.serve(leading(domain, "198.51.100.1"));
      },
    ],
    [
      "a second address for the domain",
      "GW103",
      () => {
        world.dns.serve([...records, { name: domain, type: "A", value: "198.51.100.1" }]);
      },
    ],
    [
      "no wildcard",
      "GW104",
      () => {
        world.dns.serve(without(`*.${domain}`));
      },
    ],
    [
      "another address for the wildcard",
      "GW105",
      () => {
        world.dns.serve(leading(`*.${domain}`, "198.51.100.1"));
      },
    ],
    [
      "SSH that leads to the ingress by the wildcard",
      "GW107",
      () => {
        world.dns.serve(without(`ssh.${domain}`));
      },
    ],
  ];
  for (const [mistake, code, make] of mistakes) {
    it(`finds ${code} for ${mistake}, and no more`, async () => {
      make();
      assert.deepEqual(await found(), [code]);
    });
  }

  it("finds the name for SSH missing where no wildcard covers it", async () => {
    world.dns.serve(leading(domain, address).filter(({ name }) => name === domain));
    assert.deepEqual(await found(), ["GW104", "GW106"]);
  });

  it("names both addresses, the record and the commands", async () => {
    world.dns.serve(leading(`*.${domain}`, "198.51.100.1"));
    const [only] = await world.run(dnsCheck);
    assert.match(
      only?.seen ?? "",
      /^doctor-[0-9a-f]{8}\.workspaces\.example\.test resolves to 198\.51\.100\.1 and belongs to 203\.0\.113\.7 \(record \*\.workspaces\.example\.test\)\.$/,
    );
    assert.equal(only?.fix[0], "pulumi stack output --json dnsRecords --stack production");
    assert.match(only.fix[1] ?? "", /^dig \+short doctor-[0-9a-f]{8}\.workspaces\.example\.test$/);
  });

  it("takes an alias of the load balancer's host name, and addresses that both have", async () => {
    behind(target);
    world.dns.serve([...alias, { name: target, type: "A", value: address }]);
    assert.deepEqual(await found(), []);
    world.dns.serve([...records, { name: target, type: "A", value: address }]);
    assert.deepEqual(await found(), []);
    world.dns.serve([...records, { name: target, type: "A", value: "198.51.100.1" }]);
    assert.deepEqual(await found(), ["GW103", "GW105"]);
  });

  it("says when the load balancer's own host name is gone, and when an alias leads to another", async () => {
    behind(target);
    world.dns.serve(alias);
    assert.deepEqual(await found(), ["GW109", "GW109"]);
    behind("new.cloud.test");
    world.dns.serve([
      ...alias,
      { name: target, type: "A", value: "198.51.100.1" },
      { name: "new.cloud.test", type: "A", value: address },
    ]);
    assert.deepEqual(await found(), ["GW103", "GW105"]);
  });

  it("knows an IPv6 address in any spelling, and says nothing of the other family", async () => {
    behind("2001:db8:0::0:7");
    const both = [domain, `*.${domain}`].flatMap((name) => [
      { name, type: "AAAA", value: "2001:db8::7" } as const,
      { name, type: "A", value: address } as const,
    ]);
    world.dns.serve(both);
    assert.deepEqual(await found(), []);
    behind("2001:db8::8");
    assert.deepEqual(await found(), ["GW103", "GW105"]);
  });

  it("cannot tell when the server fails or says nothing", async () => {
    world.dns.serve("failure");
    assert.deepEqual(await found(), ["GW108", "GW108", "GW108"]);
    world.dns.serve("silence");
    const silent = await world.run(dnsCheck);
    assert.deepEqual(new Set(silent.map(({ code }) => code)), new Set(["GW108"]));
    assert.match(silent[0]?.seen ?? "", /^workspaces\.example\.test: ETIMEOUT from 127\.0\.0\.1:\d+\.$/);
  });

  it("has a case above for each of its codes", () => {
    const cases = new Set([...mistakes.map(([, code]) => code), "GW106", "GW108", "GW109"]);
    assert.deepEqual([...cases].sort(), Object.keys(codes).sort());
  });
});
