/**
 * Objects of one workspace, the way GitLab's agent makes them as far as anything here looks at them
 * (https://docs.gitlab.com/user/workspace/configuration/): a namespace, a Deployment and a Service that says under which
 * domain the workspace answers.
 */
export function workspace({
  id,
  domain,
  running = true,
}: {
  readonly id: string;
  readonly domain: string;
  readonly running?: boolean;
}): object[] {
  const name = `workspace-${id}`;
  const namespace = `gl-rd-ns-${id}`;
  const labels = { "agent.gitlab.com/id": "7" };
  const selector = { "workspace.example.test/name": name };
  return [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } },
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name, namespace, labels },
      spec: {
        replicas: running ? 1 : 0,
        selector: { matchLabels: selector },
        template: {
          metadata: { labels: selector },
          spec: { containers: [{ name: "tooling", image: "example.test/workspace:1" }] },
        },
      },
    },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: {
        name,
        namespace,
        labels,
        annotations: {
          "workspaces.gitlab.com/host-template": `{{.port}}-${name}.${domain}`,
          "workspaces.gitlab.com/id": "1",
        },
      },
      spec: { selector, ports: [{ name: "editor", port: 60001 }] },
    },
  ];
}
