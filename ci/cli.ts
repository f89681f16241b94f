import { Command, CommanderError } from "commander";
import { Failure, Refused } from "../local/failure";
import { previewCommands } from "./preview";
import { Interrupted, listenForCancellation } from "./pulumi";
import { checkCommands } from "./checks/commands";
import { reviewCommands } from "./review";

const cli = new Command("ci").description("What the jobs of ci/pipeline.yml run.").exitOverride();
checkCommands(cli);

previewCommands(cli);

reviewCommands(cli);

// All of them run the CLI, with the credentials of a cloud in a folder that must go.
if (process.argv[2] === "review") listenForCancellation();

cli.parseAsync().catch((error: unknown) => {
  // Commander has said already what is wrong with the arguments; code 0 is --help.
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : 2;
    return;
  }
  process.exitCode = error instanceof Refused ? 2 : error instanceof Interrupted ? 130 : 1;
  console.error(`\nerror: ${error instanceof Failure ? error.message : String((error as Error).stack ?? error)}`);
});
