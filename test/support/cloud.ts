import { createHash, randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cloud, type CloudTable, type World } from "../../local/plugins/cloud";
import type { AccountContent, Behaviour, Call } from "../../local/plugins/cloud/account";
import { gcp } from "../../local/plugins/cloud/gcp";
import {
  type Checked,
  type CheckRequest,
  type Created,
  type Difference,
  type Found,
  type Properties,
  type Provider,
  revealedProperties,
} from "../../local/plugins/provider";

/** A resource that was made in the stand-in cloud, with what the engine would have recorded of it. */
export interface Made extends Created {
  readonly type: string;
  readonly name: string;
  /** As Check gave them. */
  readonly inputs: Properties;
  /** Without secret marks. */
  readonly outputs: Properties;
}

/** The certificate authority of the control plane that `StandInCloud` hands out. */
export const authority = "-----BEGIN CERTIFICATE-----\nours\n-----END CERTIFICATE-----\n";

/** A stand-in cloud, Google's unless another is named, with an account of its own in a temporary folder, asked as the engine would ask it. */
export class StandInCloud {
  readonly folder: string;
  /** What the plugin said to the person. */
  readonly said: string[] = [];

  constructor(
    private readonly world: Partial<World> = {},
    folder?: string,
    private readonly table: CloudTable = gcp,
  ) {
    this.folder = folder ?? mkdtempSync(join(tmpdir(), "stand-in-cloud-"));
    const server = "https://127.0.0.1:6443";
    const encoded = Buffer.from(authority).toString("base64");
    const user = {
      "client-certificate-data": Buffer.from("cert").toString("base64"),
      "client-key-data": Buffer.from("key").toString("base64"),
    };
    writeFileSync(
      this.kubeconfig,
      JSON.stringify({
        "current-context": "local",
        contexts: [{ name: "local", context: { cluster: "local", user: "admin" } }],
        clusters: [{ name: "local", cluster: { server, "certificate-authority-data": encoded } }],
        users: [{ name: "admin", user }],
      }),
    );
    const caSha256 = createHash("sha256").update(authority).digest("hex");
    writeFileSync(this.clusters, JSON.stringify([{ server, caSha256 }]));
  }

  get kubeconfig(): string {
    return join(this.folder, "kubeconfig");
  }

  get clusters(): string {
    return join(this.folder, "clusters.json");
  }

  /** The plugin as one process of one stack has it. */
  async provider(configuration: Properties = { project: "alpha", region: "europe-west3" }): Promise<Provider> {
    const { folder: account, kubeconfig, clusters } = this;
    const provider = cloud(
      this.table,
      {
        settings: { account, kubeconfig, clusters },
        log: (_, message) => {
          this.said.push(message);
          return Promise.resolve();
        },
        status: () => Promise.resolve(),
      },
      {
        observe: () => Promise.resolve({ services: [], volumes: [] }),
        furnish: () => Promise.resolve(),
        clear: () => Promise.resolve(),
        ...this.world,
      },
    );
    await provider.configure(configuration);
    return provider;
  }

  content(): AccountContent {
    return JSON.parse(readFileSync(join(this.folder, `${this.table.name}.json`), "utf8")) as AccountContent;
  }

  /** Changes the account behind the plugin's back, as a person in the cloud's console. */
  edit(change: (content: AccountContent) => void): void {
    const content = this.content();
    change(content);
    writeFileSync(join(this.folder, `${this.table.name}.json`), JSON.stringify(content));
  }

  calls(): Call[] {
    const lines = readFileSync(join(this.folder, `${this.table.name}-calls.jsonl`), "utf8")
      .trim()
      .split("\n");
    return lines.map((line) => JSON.parse(line) as Call);
  }

  behave(behaviour: Behaviour): void {
    writeFileSync(join(this.folder, `${this.table.name}-behaviour.json`), JSON.stringify(behaviour));
  }

  behaviour(): Behaviour {
    return JSON.parse(readFileSync(join(this.folder, `${this.table.name}-behaviour.json`), "utf8")) as Behaviour;
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Asks for a check of a resource that is not there yet, unless `more` says what was. */
export async function checked(
  provider: Provider,
  type: string,
  news: Properties,
  more: Partial<CheckRequest> = {},
): Promise<Checked> {
  return await provider.check({ urn: "urn", type, name: "thing", olds: {}, news, ...more });
}

/** Makes a resource as the engine does: a check, then a creation. @throws what the plugin has against it. */
export async function made(provider: Provider, type: string, news: Properties, name = "thing"): Promise<Made> {
  const { inputs, failures = [] } = await checked(provider, type, news, { name });
  if (failures.length > 0) throw new Error(failures.map(({ reason }) => reason).join("; "));
  const { id, properties } = await provider.create({ urn: "urn", type, name, inputs, preview: false });
  return { type, name, id, inputs, properties, outputs: revealedProperties(properties) };
}

/** Compares what was made with new inputs, which go through a check first. */
export async function compared(
  provider: Provider,
  { type, name, id, inputs, properties }: Made,
  news: Properties,
  ignoreChanges: readonly string[] = [],
): Promise<Difference> {
  const { inputs: now } = await checked(provider, type, news, { name, olds: inputs });
  return await provider.diff({
    ...{ urn: "urn", type, name, id, oldInputs: inputs, olds: properties, news: now },
    ignoreChanges,
  });
}

/** Updates what was made; gives it as it is then. */
export async function updated(provider: Provider, before: Made, news: Properties, preview = false): Promise<Made> {
  const { type, name, id, inputs: oldInputs, properties: olds } = before;
  const { inputs } = await checked(provider, type, news, { name, olds: oldInputs });
  const request = { urn: "urn", type, name, id, oldInputs, olds, news: inputs, ignoreChanges: [], preview };
  const properties = await provider.update(request);
  return { ...before, inputs, properties, outputs: revealedProperties(properties) };
}

/** Reads what was made, as a refresh does. */
export async function refreshed(provider: Provider, before: Made): Promise<Found | undefined> {
  const { type, name, id, inputs, properties } = before;
  return await provider.read({ urn: "urn", type, name, id, inputs, properties });
}

/** Deletes what was made. */
export async function deleted(provider: Provider, { type, name, id, inputs, properties }: Made): Promise<void> {
  await provider.delete({ urn: "urn", type, name, id, oldInputs: inputs, properties });
}

/** A Service of type LoadBalancer, as the API server lists it. */
export function loadBalancerService(name: string, spec: Properties = {}, annotations: Properties = {}): Properties {
  return {
    metadata: { namespace: "ingress", name, uid: `uid-of-${name}`, annotations },
    spec: { type: "LoadBalancer", ...spec },
    status: { loadBalancer: { ingress: [{ ip: "203.0.113.9" }] } },
  };
}

/** A PersistentVolume that is bound to a claim, as the API server lists it. */
export function boundVolume(claim: string): Properties {
  return {
    metadata: { name: `pvc-${claim}`, uid: randomUUID() },
    spec: { claimRef: { namespace: "workspaces", name: claim } },
    status: { phase: "Bound" },
  };
}
