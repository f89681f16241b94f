import type { MockedCloud } from "../clouds";

/** As Civo hands it out: an admin's, with a client certificate. The marker is looked for wherever it must not be. */
export const civoKubeconfig = `apiVersion: v1
kind: Config
current-context: workspaces
clusters:
  - { name: workspaces, cluster: { server: "https://198.51.100.7:6443", certificate-authority-data: Q0E= } }
contexts:
  - { name: workspaces, context: { cluster: workspaces, user: workspaces } }
users:
  - { name: workspaces, user: { client-certificate-data: Y2VydA==, client-key-data: canary-civo-client-key } }
`;

export const civo: MockedCloud = {
  cluster: { cloud: "civo", name: "workspaces", apiCidrs: ["192.0.2.0/24"] },
  others: { "civo:region": "LON1" },
  commands: [],
  answers: {
    "civo:index/getRegion:getRegion": () => ({ regions: [{ code: "FRA1" }, { code: "LON1" }] }),
    "civo:index/getInstances:getInstances": () => ({ instances: [] }),
    "civo:index/getSize:getSize": () => ({
      sizes: ["g4s.small", "g4s.kube.medium", "g4s.kube.large"].map((name) => ({ name })),
    }),
    "civo:index/getKubernetesCluster:getKubernetesCluster": ({ name }) => ({
      ...{ id: `id-of-${String(name)}`, name, cni: "cilium", kubeconfig: civoKubeconfig },
    }),
  },
  computed: {
    "civo:index/kubernetesCluster:KubernetesCluster": () => ({ kubeconfig: civoKubeconfig }),
    "civo:index/reservedIp:ReservedIp": () => ({ ip: "198.51.100.8" }),
  },
};
