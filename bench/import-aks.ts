import "@pulumi/azure-native/authorization";
import "@pulumi/azure-native/containerservice";
import "@pulumi/azure-native/managedidentity";
import "@pulumi/azure-native/network";
import "@pulumi/azure-native/resources";
import "@pulumi/kubernetes/apiextensions/customResource";
