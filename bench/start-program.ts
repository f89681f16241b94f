/** The whole program once, against mocks: what a start costs without the engine. */
import { runProgram } from "../test/support/program";
import { stack } from "../test/support/stacks";

void runProgram(stack({ ingress: { controller: "traefik" } }));
