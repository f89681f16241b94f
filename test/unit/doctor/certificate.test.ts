import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { certificateCheck, codes } from "../../../doctor/certificate";
import { certificate, domain, startWorld, type World } from "../../support/world";

const apex = "gitlab-workspace-proxy-tls";
const wildcard = "gitlab-workspace-proxy-wildcard-tls";
const both = [domain, `*.${domain}`];
const checkFile = join(__dirname, "..", "..", "..", "doctor", "certificate.ts");

describe("The look at certificates", () => {
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

  const found = async (): Promise<string[]> => (await world.run(certificateCheck)).map(({ code }) => code);
  /** Serves one certificate for the domain that is right but for what is wished otherwise. */
  const serve = async (days: readonly [number, number], covers = both): Promise<void> => {
    const leaf = await certificate({ name: domain, covers, issuer: world.authority }, days);
    world.serve(apex, leaf);
  };
  const tls = (mode: "provided" | "self-signed"): void => {
    world.patient = { ...world.patient, installation: { ...world.patient.installation, tlsMode: mode } };
  };
  const connectTo = (host: string, port: number): void => {
    world.surroundings = { ...world.surroundings, connect: { host, port } };
  };

  it("finds nothing when both certificates are valid and trusted", async () => {
    assert.deepEqual(await found(), []);
  });

  const mistakes: readonly (readonly [mistake: string, codes: readonly string[], make: () => Promise<void> | void])[] =
    [
      [
        "a Secret that is not there",
        ["GW203"],
        () => {
          world.live.secrets = world.live.secrets.filter(({ metadata }) => metadata?.name !== wildcard);
          world.api.serve(world.live);
        },
      ],
      [
        "a misspelt Secret",
        ["GW203"],
        () => {
          for (const { spec } of world.live.ingresses) spec!.tls![0]!.secretName = "gitlab-workspaces-proxy-tls";
        },
      ],
      [
        "Secrets that are swapped",
        ["GW203", "GW203"],
        () => {
          for (const { spec } of world.live.ingresses)
            spec!.tls!.forEach((entry, at) => (entry.secretName = [wildcard, apex][at]!));
        },
      ],
      ["a certificate for the apex of another domain", ["GW203"], () => serve([-30, 90], ["other.example.test"])],
      ["a certificate that expired yesterday", ["GW204"], () => serve([-30, -1])],
      ["a certificate of tomorrow", ["GW205"], () => serve([1, 90])],
      ["a certificate with three weeks less a day left", ["GW206"], () => serve([-30, 20.9])],
      [
        "an authority that is not known here",
        ["GW207", "GW207"],
        () => {
          world.surroundings = { ...world.surroundings, trusted: [] };
        },
      ],
      [
        "an intermediate certificate that is not served",
        ["GW207"],
        async () => {
          const intermediate = await certificate({ name: "Intermediate", issuer: world.authority });
          world.serve(apex, await certificate({ name: domain, covers: both, issuer: intermediate }));
        },
      ],
      [
        "a self-signed certificate that is meant to be one",
        ["GW208"],
        async () => {
          tls("self-signed");
          world.serve(apex, await certificate({ name: domain, covers: both }));
        },
      ],
      [
        "a self-signed certificate that is not meant to be one",
        ["GW207"],
        async () => {
          world.serve(apex, await certificate({ name: domain, covers: both }));
        },
      ],
      [
        "a controller that still serves the last certificate",
        ["GW209"],
        async () => {
          world.stale = structuredClone(world.live);
          await serve([-1, 90]);
        },
      ],
      [
        "the program's own certificate, expired",
        ["GW210"],
        () => {
          tls("self-signed");
          return serve([-30, -1]);
        },
      ],
      [
        "the program's own certificate, about to expire",
        ["GW211"],
        () => {
          tls("self-signed");
          return serve([-30, 5]);
        },
      ],
      [
        "nobody who listens",
        ["GW201"],
        () => {
          connectTo("127.0.0.1", 1);
        },
      ],
    ];
  for (const [mistake, expected, make] of mistakes) {
    it(`finds ${expected.join(" and ")} for ${mistake}, and no more`, async () => {
      await make();
      assert.deepEqual(await found(), expected);
    });
  }

  it("says which Secret the controller could not use, and why", async () => {
    for (const { spec } of world.live.ingresses) spec!.tls![0]!.secretName = "gitlab-workspaces-proxy-tls";
    const [only] = await world.run(certificateCheck);
    assert.match(
      only?.seen ?? "",
      /shows for workspaces\.example\.test a certificate for DNS:ingress\.local\. Its Secret gitlab-workspaces\/gitlab-workspaces-proxy-tls is not there\.$/,
    );
  });

  it("counts the days left, and names none from three weeks on", async () => {
    await serve([-30, 20.9]);
    const [only] = await world.run(certificateCheck);
    assert.match(
      only?.seen ?? "",
      /^The one for workspaces\.example\.test expires on \d{4}-\d\d-\d\d: 20 days left\.$/,
    );
    await serve([-30, 21.1]);
    assert.deepEqual(await found(), []);
  });

  it("restarts the controller alone, whichever chart it is of", async () => {
    world.stale = structuredClone(world.live);
    await serve([-1, 90]);
    const [first] = await world.run(certificateCheck);
    assert.equal(
      first?.fix[0],
      "kubectl rollout restart deployment --namespace gitlab-ingress-controller " +
        "--selector 'app.kubernetes.io/instance in (ingress-nginx, ingress-nginx-gitlab-ingress-controller)'",
    );
  });

  it("takes a chain that is whole", async () => {
    const intermediate = await certificate({ name: "Intermediate", issuer: world.authority });
    world.serve(apex, await certificate({ name: domain, covers: both, issuer: intermediate }), intermediate);
    assert.deepEqual(await found(), []);
  });

  it("does without the cluster for all but what the Secret holds", async () => {
    await serve([-30, -1]);
    world.api.serve("forbidden");
    assert.deepEqual(await found(), ["GW204"]);
  });

  describe("at something that is no ingress", () => {
    let server: Server;
    let greeting = "";
    const sockets = new Set<Socket>();
    before(async () => {
      server = createServer((socket) => {
        sockets.add(socket.on("error", () => undefined));
        if (greeting !== "") socket.end(greeting);
      });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    });
    beforeEach(() => {
      connectTo("127.0.0.1", (server.address() as AddressInfo).port);
    });
    after(async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    });

    it("finds GW202 where plain HTTP is spoken", async () => {
      greeting = "HTTP/1.1 400 Bad Request\r\n\r\n";
      assert.deepEqual(await found(), ["GW202"]);
    });

    it("finds GW202 where a connection is taken and nothing is said", async () => {
      greeting = "";
      assert.deepEqual(await found(), ["GW202"]);
    });
  });

  it("trusts an authority that NODE_EXTRA_CA_CERTS names", async () => {
    const folder = await mkdtemp(join(tmpdir(), "doctor-test-"));
    try {
      const file = join(folder, "company-ca.pem");
      await writeFile(file, world.authority.certificate);
      const { host, port } = world.ingress;
      const { installation } = world.patient;
      const program =
        `const { certificateCheck } = require(${JSON.stringify(checkFile)});` +
        `const { KubeConfig } = require("@kubernetes/client-node");` +
        `const cluster = new KubeConfig(); cluster.loadFromClusterAndUser({ name: "none", server: "https://127.0.0.1:1" }, { name: "nobody" });` +
        `const patient = { stack: "production", installation: ${JSON.stringify(installation)}, dnsRecords: [], cluster };` +
        `certificateCheck.run(patient, { dnsServers: [], connect: ${JSON.stringify({ host, port })}, now: new Date() })` +
        `.then((all) => console.log(JSON.stringify(all.map(({ code }) => code))));`;
      const run = async (env: Record<string, string>): Promise<unknown> => {
        const { stdout } = await execa(process.execPath, ["--import", "tsx", "--eval", program], { env });
        return JSON.parse(stdout);
      };
      assert.deepEqual(await run({}), ["GW207", "GW207"]);
      assert.deepEqual(await run({ NODE_EXTRA_CA_CERTS: file }), []);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("has a case above for each of its codes", () => {
    const cases = new Set([...mistakes.flatMap(([, expected]) => expected), "GW202"]);
    assert.deepEqual([...cases].sort(), Object.keys(codes).sort());
  });
});
