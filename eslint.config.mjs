import eslint from "@eslint/js";
import tseslint from "typescript-eslint";

/** One entry per arrow of the house: what a part must not import, and why. */
const arrow = (files, group, message) => ({
  files,
  rules: { "no-restricted-imports": ["error", { patterns: [{ group, message }] }] },
});

export default tseslint.config(
  { ignores: ["node_modules/", "coverage/"] },
  eslint.configs.recommended,
  ...tseslint.configs.strictTypeChecked,
  { languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } } },
  {
    rules: {
      "@typescript-eslint/switch-exhaustiveness-check": "error",
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/no-deprecated": "error",
    },
  },
  arrow(["src/**"], ["**/local/**", "**/test/**", "**/doctor/**"], "The program never imports what runs around it."),
  arrow(
    ["src/platform/**"],
    ["**/local/**", "**/test/**", "**/clusters/**", "**/cluster", "@pulumi/aws*", "@pulumi/gcp*", "@pulumi/azure*"],
    "The platform is cloud-blind: it sees the Cluster contract through its arguments only.",
  ),
  arrow(
    ["src/config/**"],
    ["**/local/**", "**/test/**", "**/clusters/**", "**/platform/**", "**/deploy"],
    "Config imports nothing of the program.",
  ),
  {
    files: ["test/**"],
    rules: {
      // mocha's describe and it return nothing worth awaiting, and assertions read better on unknown data.
      "@typescript-eslint/no-floating-promises": "error",
      "@typescript-eslint/no-non-null-assertion": "off",
    },
  },
  { files: ["**/*.mjs", "**/*.cjs"], extends: [tseslint.configs.disableTypeChecked] },
);
