import assert from "node:assert/strict";
import { dnsRecords } from "../../../src/platform/dns-records";
import { value } from "../../support/program";

const domain = "workspaces.example.test";
const types = async (address: string | undefined): Promise<string[]> =>
  (await value(dnsRecords({ domain, address }))).map(({ type }) => type);

describe("The DNS records to create", () => {
  it("are of the type that the load balancer's address asks for", async () => {
    assert.deepEqual(await types("203.0.113.7"), ["A", "A"]);
    assert.deepEqual(await types("2001:db8::7"), ["AAAA", "AAAA"]);
    assert.deepEqual(await types("lb-1.cloud.example.test"), ["CNAME", "CNAME"]);
  });

  it("are none as long as there is no address", async () => {
    assert.deepEqual(await types(undefined), []);
  });

  it("give SSH a name of its own only where it has an address of its own", async () => {
    const records = await value(dnsRecords({ domain, address: "203.0.113.7", sshAddress: "203.0.113.8" }));
    assert.deepEqual(records.at(-1), { name: `ssh.${domain}`, type: "A", value: "203.0.113.8" });
  });
});
