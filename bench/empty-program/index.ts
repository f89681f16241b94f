/** The smallest TypeScript program: what a preview costs when there is nothing to do. */
import * as pulumi from "@pulumi/pulumi";

export = () => ({ stack: pulumi.getStack() });
