declare module "spdx-satisfies" {
  /**
   * Whether what a licence expression asks for is among the approved licences.
   * @throws when the expression is none: https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/
   */
  function satisfies(expression: string, approved: readonly string[]): boolean;
  export = satisfies;
}
