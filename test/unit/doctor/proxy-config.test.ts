import assert from "node:assert/strict";
import { codes, proxyConfigCheck, shown } from "../../../doctor/proxy-config";
import { canaries, domain, startWorld, type World } from "../../support/world";

describe("The look at the proxy's settings", () => {
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

  const found = async (): Promise<string[]> => (await world.run(proxyConfigCheck)).map(({ code }) => code);
  const hostKey = (): string => Buffer.from(world.live.secrets[0]?.data?.["ssh.host_key"] ?? "", "base64").toString();
  /** What an edit by hand leaves behind beside the value: a time after the pods' start. */
  const written = (time: string): void => {
    world.live.secrets[0]!.metadata!.managedFields = [{ manager: "kubectl-edit", time: new Date(time) }];
  };

  it("finds nothing when the settings are the stack's", async () => {
    assert.deepEqual(await found(), []);
  });

  const encrypted =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAg=\n-----END ENCRYPTED PRIVATE KEY-----\n";
  const mistakes: readonly (readonly [mistake: string, code: string, make: () => void])[] = [
    [
      "no Secret",
      "GW320",
      () => {
        world.live.secrets = world.live.secrets.slice(1);
        world.api.serve(world.live);
      },
    ],
    ...(["client_id", "client_secret", "host", "redirect_uri", "signing_key"] as const).flatMap((key) =>
      [undefined, ""].map(
        (value) =>
          [
            `${value === undefined ? "no" : "an empty"} auth.${key}`,
            "GW321",
            () => {
              world.set(`auth.${key}`, value);
            },
          ] as const,
      ),
    ),
    [
      "no host key",
      "GW321",
      () => {
        world.set("ssh.host_key", undefined);
      },
    ],
    [
      "a slash at the end of auth.host",
      "GW322",
      () => {
        world.set("auth.host", "https://gitlab.example.test/");
      },
    ],
    [
      "auth.host without a scheme",
      "GW322",
      () => {
        world.set("auth.host", "gitlab.example.test");
      },
    ],
    [
      "a newline at the end of auth.host",
      "GW322",
      () => {
        world.set("auth.host", `${world.gitlab.url}\n`);
      },
    ],
    [
      "another GitLab in auth.host",
      "GW323",
      () => {
        world.set("auth.host", "https://gitlab.com");
      },
    ],
    [
      "http:// in the redirect URI",
      "GW324",
      () => {
        world.set("auth.redirect_uri", `http://${domain}/auth/callback`);
      },
    ],
    [
      "a slash at the end of the redirect URI",
      "GW324",
      () => {
        world.set("auth.redirect_uri", `https://${domain}/auth/callback/`);
      },
    ],
    [
      "a newline at the end of the redirect URI",
      "GW324",
      () => {
        world.set("auth.redirect_uri", `https://${domain}/auth/callback\n`);
      },
    ],
    [
      "another host in the redirect URI",
      "GW324",
      () => {
        world.set("auth.redirect_uri", "https://other.test/auth/callback");
      },
    ],
    [
      "another client id",
      "GW325",
      () => {
        world.set("auth.client_id", "another-application");
      },
    ],
    [
      "a newline at the end of the client id",
      "GW326",
      () => {
        world.set("auth.client_id", "application-id\n");
      },
    ],
    [
      "a newline at the end of the client secret",
      "GW326",
      () => {
        world.set("auth.client_secret", `${canaries.clientSecret}\n`);
      },
    ],
    [
      "garbage as host key",
      "GW327",
      () => {
        world.set("ssh.host_key", "garbage");
      },
    ],
    [
      "a host key on one line",
      "GW327",
      () => {
        world.set("ssh.host_key", hostKey().replaceAll("\n", " "));
      },
    ],
    [
      "a host key with \\n for its line ends",
      "GW327",
      () => {
        world.set("ssh.host_key", hostKey().replaceAll("\n", "\\n"));
      },
    ],
    [
      "an indented host key",
      "GW327",
      () => {
        world.set("ssh.host_key", hostKey().replace(/^/gm, "  "));
      },
    ],
    [
      "a host key in base64 twice",
      "GW327",
      () => {
        world.set("ssh.host_key", Buffer.from(hostKey()).toString("base64"));
      },
    ],
    [
      "a host key with a passphrase",
      "GW327",
      () => {
        world.set("ssh.host_key", encrypted);
      },
    ],
    [
      "a signing key of 15 characters",
      "GW328",
      () => {
        world.set("auth.signing_key", "canary-15-chars");
      },
    ],
    [
      "a Secret that was written after the pods started",
      "GW329",
      () => {
        world.set("auth.client_secret", "gloas-another-secret");
        written("2026-11-20T09:00:00Z");
      },
    ],
  ];
  for (const [mistake, code, make] of mistakes) {
    it(`finds ${code} for ${mistake}, and no more`, async () => {
      make();
      assert.deepEqual(await found(), [code]);
    });
  }

  it("shows what was written where it is not secret, and the command that puts it back", async () => {
    world.set("auth.host", `${world.gitlab.url}\n`);
    const [only] = await world.run(proxyConfigCheck);
    assert.equal(
      only?.seen,
      `Secret gitlab-workspaces/gitlab-workspaces-proxy-config: auth.host is "${world.gitlab.url}\\n"; ` +
        `it must be ${world.gitlab.url} to the letter.`,
    );
    assert.deepEqual(only.fix, [
      "pulumi up --refresh --stack production",
      "kubectl rollout restart deployment/gitlab-workspaces-proxy --namespace gitlab-workspaces",
      "kubectl rollout status deployment/gitlab-workspaces-proxy --namespace gitlab-workspaces",
    ]);
  });

  it("shows no client secret that stands in a wrong place", async () => {
    world.set("auth.client_id", canaries.clientSecret);
    world.set("auth.client_secret", "application-id");
    world.set("auth.host", canaries.clientSecret);
    world.set("auth.redirect_uri", canaries.signingKey);
    assert.deepEqual(await found(), ["GW322", "GW324", "GW325"]);
  });

  for (const secret of [
    "c2lnbmluZy1rZXk/abcDEF+123",
    "glpat-abc.01.xyz0123456789",
    "https://oauth2:glpat-abc.01.xyz0123456789@gitlab.example.test",
    `${"a1".repeat(32)}.example.test`,
    "gitlab.example.test/c2lnbmluZy1rZXk",
  ]) {
    it(`does not show ${secret}, whatever key it stands under`, async () => {
      world.set("auth.host", secret);
      world.set("auth.redirect_uri", secret);
      assert.doesNotMatch(JSON.stringify(await world.run(proxyConfigCheck)), /lnbmluZ|glpat|a1a1/);
    });
  }

  it("shows addresses and DNS names whole", () => {
    for (const address of ["https://gitlab.example.test/", " http://127.0.0.1:80", "gitlab.example.test\n"])
      assert.equal(shown(address), JSON.stringify(address));
  });

  it("takes a Secret that was written back to what pods were made with", async () => {
    written("2026-11-20T09:00:00Z");
    assert.deepEqual(await found(), []);
  });

  it("does not take it when pods were restarted by hand in between, until they are restarted again", async () => {
    written("2026-11-20T09:00:00Z");
    const [pod] = world.live.pods;
    pod!.metadata!.annotations!["kubectl.kubernetes.io/restartedAt"] = "2026-11-20T08:30:00Z";
    assert.deepEqual(await found(), ["GW329"]);
    pod!.status!.startTime = new Date("2026-11-20T09:30:00Z");
    assert.deepEqual(await found(), []);
  });

  it("says nothing of what it cannot read", async () => {
    world.api.serve("forbidden");
    assert.deepEqual(await found(), []);
  });

  it("has a case above for each of its codes", () => {
    assert.deepEqual([...new Set(mistakes.map(([, code]) => code))].sort(), Object.keys(codes).sort());
  });
});
