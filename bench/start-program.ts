/** The whole program once, against mocks: what a start costs without the engine. The argument is the cloud. */
import { delimiter, join } from "node:path";
import { clouds } from "../test/support/clouds";
import { runProgram } from "../test/support/program";
import { cloudStack, stack } from "../test/support/stacks";

// The commands that the program looks for need not be on this machine.
process.env["PATH"] = `${join(__dirname, "commands")}${delimiter}${process.env["PATH"] ?? ""}`;
const cloud = process.argv[2] ?? "";
const isCloud = (name: string): name is keyof typeof clouds => name in clouds;
void runProgram(isCloud(cloud) ? cloudStack(cloud) : stack({ ingress: { controller: "traefik" } }));
