/** The SDKs that the program loads, and nothing else: the floor under its start. */
import "@pulumi/pulumi";
import "@pulumi/kubernetes";
import "@pulumi/random";
import "@pulumi/tls";
