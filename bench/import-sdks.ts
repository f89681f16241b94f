/** What the program uses of the SDKs, and nothing else: the floor under its start. The argument is the cloud. */
import "@pulumi/pulumi";
import "@pulumi/kubernetes";
import "@pulumi/kubernetes/core/v1/namespace";
import "@pulumi/kubernetes/core/v1/secret";
import "@pulumi/kubernetes/core/v1/service";
import "@pulumi/kubernetes/helm/v3/release";
import "@pulumi/kubernetes/networking/v1/ingress";
import "@pulumi/kubernetes/policy/v1/podDisruptionBudget";
import "@pulumi/kubernetes/provider";
import "@pulumi/random/randomPassword";
import "@pulumi/tls/privateKey";
import "@pulumi/tls/selfSignedCert";

if (process.argv[2] === "civo") void import("./import-civo");
if (process.argv[2] === "gke") void import("./import-gke");
if (process.argv[2] === "eks") void import("./import-eks");
if (process.argv[2] === "aks") void import("./import-aks");
