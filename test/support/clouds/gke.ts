import type { MockedCloud } from "../clouds";

export const gke: MockedCloud = {
  cluster: {
    ...{ cloud: "gke", name: "workspaces", account: "my-project", location: "europe-west1" },
    apiCidrs: ["192.0.2.0/24"],
  },
  others: { "gcp:project": "my-project" },
  commands: ["gke-gcloud-auth-plugin"],
  answers: {
    "gcp:organizations/getProject:getProject": () => ({ projectId: "my-project", number: "123456789012" }),
    "gcp:compute/getZones:getZones": ({ region }) => ({
      names: ["b", "c", "d"].map((zone) => `${String(region)}-${zone}`),
    }),
    "gcp:container/getCluster:getCluster": ({ name, location, project }) => ({
      id: `projects/${String(project)}/locations/${String(location)}/clusters/${String(name)}`,
      endpoint: "198.51.100.7",
      masterAuths: [{ clusterCaCertificate: "Q0E=" }],
      datapathProvider: "ADVANCED_DATAPATH",
      networkPolicies: [],
      workloadIdentityConfigs: [{ workloadPool: `${String(project)}.svc.id.goog` }],
    }),
  },
  computed: {
    "gcp:container/cluster:Cluster": () => ({
      name: "workspaces-1a2b3c4",
      endpoint: "198.51.100.7",
      masterAuth: { clusterCaCertificate: "Q0E=" },
    }),
    "gcp:compute/address:Address": () => ({ address: "198.51.100.8" }),
    "gcp:serviceaccount/account:Account": () => ({
      email: "nodes@my-project.iam",
      member: "serviceAccount:nodes@my-project.iam",
    }),
  },
};
