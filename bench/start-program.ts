/** The whole program once, against mocks: what a start costs without the engine. The argument is the cloud. */
import { delimiter, join } from "node:path";
import { runProgram } from "../test/support/program";
import { gkeStack, stack } from "../test/support/stacks";

// The command that the program looks for need not be on this machine.
process.env["PATH"] = `${join(__dirname, "commands")}${delimiter}${process.env["PATH"] ?? ""}`;
void runProgram(process.argv[2] === "gke" ? gkeStack() : stack({ ingress: { controller: "traefik" } }));
