import "@pulumi/gcp/compute";
import "@pulumi/gcp/container";
import "@pulumi/gcp/organizations";
import "@pulumi/gcp/projects";
import "@pulumi/gcp/serviceaccount";
