import { reporters, type MochaOptions, type Runner } from "mocha";

/**
 * Mocha's `spec` for whoever reads the job's log, and its `xunit` for GitLab into the file of the option `output`:
 * https://docs.gitlab.com/ci/testing/unit_test_reports/
 */
export default class SpecAndXUnit extends reporters.Spec {
  readonly #xunit: reporters.XUnit;

  constructor(runner: Runner, options: MochaOptions) {
    super(runner, options);
    this.#xunit = new reporters.XUnit(runner, {
      ...options,
      reporterOptions: { showRelativePaths: true, ...(options.reporterOptions as object) } as object,
    });
  }

  override done(failures: number, end: (failures: number) => void): void {
    this.#xunit.done(failures, end);
  }
}
