// There is no SDK of Civo's: its provider is registered by the program, and its classes are the program's own.
import "@pulumi/kubernetes/apps/v1/deployment";
import "@pulumi/kubernetes/core/v1/serviceAccount";
import "@pulumi/kubernetes/rbac/v1/clusterRole";
import "@pulumi/kubernetes/rbac/v1/clusterRoleBinding";
import "@pulumi/kubernetes/rbac/v1/role";
import "@pulumi/kubernetes/rbac/v1/roleBinding";
