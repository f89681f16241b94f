import type { Command } from "commander";
import { readAllowances } from "../allowances";
import { check } from "./check";
import { checkDependencies } from "./dependencies";

/** The checks that are no tests: `check` and `dependencies`. */
export function checkCommands(cli: Command): void {
  cli
    .command("check")
    .description("Types, lint and format, with a Code Quality report.")
    .action(async () => {
      await check(process.cwd(), console.log);
    });
  cli
    .command("dependencies")
    .description("Known vulnerabilities and licences of what package-lock.json names, with a Code Quality report.")
    .action(async () => {
      console.log(await checkDependencies(process.cwd(), readAllowances(), new Date()));
    });
}
