import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { codes, gitlabCheck, redirectCheck } from "../../../doctor/sign-in";
import type { LiveObjects } from "../../support/ingress-server";
import { canaries, certificate, domain, startWorld, workspaceHost, type World } from "../../support/world";

describe("The look at signing in", () => {
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

  const found = async (): Promise<string[]> =>
    [...(await world.run(redirectCheck)), ...(await world.run(gitlabCheck))].map(({ code }) => code);
  const ingress = (name: string): LiveObjects["ingresses"][number] =>
    world.live.ingresses.find(({ metadata }) => metadata?.name === name)!;

  it("finds nothing when people are sent to GitLab", async () => {
    assert.deepEqual(await found(), []);
  });

  it("asks for no workspace of a zone below the domain: it is another installation's", async () => {
    const mine = world.live.services.find(({ metadata }) => metadata?.name === "mine");
    const template = `{{.port}}-mine.team-b.${domain}`;
    mine!.metadata!.annotations = { "workspaces.gitlab.com/host-template": template };
    world.api.serve(world.live);
    world.set("auth.host", "https://another.example.test");
    assert.deepEqual(await found(), []);
  });

  it("finds nothing when no workspace lives and every name is answered 400", async () => {
    world.live.services = world.live.services.filter(({ metadata }) => metadata?.name !== "mine");
    world.api.serve(world.live);
    world.set("auth.host", "https://another.example.test");
    assert.deepEqual(await found(), []);
  });

  const mistakes: readonly (readonly [mistake: string, code: string, make: () => void])[] = [
    [
      "another GitLab",
      "GW301",
      () => {
        world.set("auth.host", "https://gitlab.com");
      },
    ],
    [
      "a slash at the end of auth.host",
      "GW302",
      () => {
        world.set("auth.host", `${world.gitlab.url}/`);
      },
    ],
    [
      "auth.host without a scheme",
      "GW302",
      () => {
        world.set("auth.host", "gitlab.example.test");
      },
    ],
    [
      "a newline at the end of auth.host",
      "GW302",
      () => {
        world.set("auth.host", `${world.gitlab.url}\n`);
      },
    ],
    [
      "http:// in the redirect URI",
      "GW304",
      () => {
        world.set("auth.redirect_uri", `http://${domain}/auth/callback`);
      },
    ],
    [
      "a slash at the end of the redirect URI",
      "GW304",
      () => {
        world.set("auth.redirect_uri", `https://${domain}/auth/callback/`);
      },
    ],
    [
      "a newline at the end of the redirect URI",
      "GW304",
      () => {
        world.set("auth.redirect_uri", `https://${domain}/auth/callback\n`);
      },
    ],
    [
      "another host in the redirect URI",
      "GW304",
      () => {
        world.set("auth.redirect_uri", "https://other.test/auth/callback");
      },
    ],
    [
      "an Ingress of another class",
      "GW305",
      () => {
        ingress("gitlab-workspaces-proxy").spec!.ingressClassName = "other";
      },
    ],
    [
      "no pod that is ready",
      "GW306",
      () => {
        world.live.pods = [];
      },
    ],
    [
      "an empty setting, with which no pod runs",
      "GW306",
      () => {
        world.set("auth.signing_key", "");
      },
    ],
    [
      "metrics that are not closed",
      "GW308",
      () => {
        ingress("closed").spec!.rules = [];
      },
    ],
    [
      "a client secret that GitLab does not take",
      "GW310",
      () => {
        world.set("auth.client_secret", "gloas-another");
      },
    ],
    [
      "a newline at the end of the client secret",
      "GW310",
      () => {
        world.set("auth.client_secret", `${canaries.clientSecret}\n`);
      },
    ],
    [
      "an application that was deleted in GitLab",
      "GW310",
      () => {
        world.gitlab.know({ id: "another", secret: "another", redirectUri: "https://other.test" });
      },
    ],
    [
      "a GitLab that nobody answers at",
      "GW309",
      () => {
        const gitlabUrl = "http://127.0.0.1:1";
        world.set("auth.host", gitlabUrl);
        world.patient = { ...world.patient, installation: { ...world.patient.installation, gitlabUrl } };
      },
    ],
  ];
  for (const [mistake, code, make] of mistakes) {
    it(`finds ${code} for ${mistake}, and no more`, async () => {
      make();
      assert.deepEqual(await found(), [code]);
    });
  }

  it("finds another client id in the redirect, and at GitLab", async () => {
    world.set("auth.client_id", "another-application");
    assert.deepEqual(await found(), ["GW303", "GW310"]);
  });

  it("shows what the redirect names, and no client secret in the place of the id", async () => {
    world.set("auth.redirect_uri", `http://${domain}/auth/callback`);
    world.set("auth.client_id", canaries.clientSecret);
    const all = await world.run(redirectCheck);
    assert.deepEqual(
      all.map(({ seen }) => seen),
      [
        `https://${workspaceHost}/ was answered 307, with client id "gloas-"...; the stack's is application-id.`,
        `https://${workspaceHost}/ was answered 307, with redirect URI "http://${domain}/auth/callback"; ` +
          `it must be https://${domain}/auth/callback.`,
      ],
    );
  });

  describe("at something that is not the proxy", () => {
    let server: Server;
    let answer: (response: ServerResponse) => void;
    before(async () => {
      const { certificate: cert, key } = await certificate({ name: domain, covers: [domain] });
      server = createServer({ cert, key }, (_, response) => {
        answer(response);
      });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    });
    after(async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });

    const strangers: readonly (readonly [string, (response: ServerResponse) => void, readonly string[], RegExp])[] = [
      [
        "a login page in front",
        (response) => response.writeHead(302, { location: "https://login.example.test/?state=1" }).end(),
        ["GW307"],
        /answered 302, to https:\/\/login\.example\.test: not by the proxy\.$/,
      ],
      [
        "a redirect of another kind",
        (response) => response.writeHead(307, { location: "/login" }).end(),
        ["GW307"],
        /answered 307, to a relative address: not by the proxy\.$/,
      ],
      [
        "a page of another application",
        (response) => response.writeHead(200).end("hello"),
        ["GW307", "GW308"],
        /answered 200: not by the proxy\.$/,
      ],
      [
        "a gateway that has nobody",
        (response) => response.writeHead(502).end(),
        ["GW306"],
        /answered 502: the controller has a rule for it, and nobody to pass it on to\.$/,
      ],
      ["no answer at all", () => undefined, ["GW307"], /was not answered within 5 s\.$/],
    ];
    for (const [mistake, reply, expected, seen] of strangers) {
      it(`finds ${expected.join(" and ")} for ${mistake}`, async () => {
        answer = reply;
        const { port } = server.address() as AddressInfo;
        world.surroundings = { ...world.surroundings, connect: { host: "127.0.0.1", port } };
        const all = await world.run(redirectCheck);
        assert.deepEqual(
          all.map(({ code }) => code),
          expected,
        );
        assert.match(all[0]?.seen ?? "", seen);
      });
    }
  });

  it("leaves an ingress that nobody answers at to the look at certificates", async () => {
    world.surroundings = { ...world.surroundings, connect: { host: "127.0.0.1", port: 1 } };
    assert.deepEqual(await world.run(redirectCheck), []);
  });

  it("sends the client secret to the stack's GitLab only, and in the body", async () => {
    world.set("auth.host", "https://another.example.test");
    const before = world.gitlab.posted.length;
    await world.run(gitlabCheck);
    const [form, ...more] = world.gitlab.posted.slice(before);
    assert.deepEqual(more, []);
    const { code = "", ...others } = form ?? {};
    assert.match(code, /^doctor-[0-9a-f]{32}$/);
    assert.deepEqual(others, {
      grant_type: "authorization_code",
      redirect_uri: `https://${domain}/auth/callback`,
      client_id: "application-id",
      client_secret: canaries.clientSecret,
    });
  });

  it("has a case above for each of its codes", () => {
    const cases = new Set([...mistakes.map(([, code]) => code), "GW303", "GW307"]);
    assert.deepEqual([...cases].sort(), Object.keys(codes).sort());
  });
});
