import eslint from "@eslint/js";
import tseslint from "typescript-eslint";

/** A relative path that leaves the folder it is written in, other than to one of these. */
const up = (...but) => `^\\.\\.(?!/(${but.join("|")})$)|^\\./.*\\.\\.`;

/**
 * Everything that a part of the house must not import. One entry holds all arrows of its files, because a later entry
 * for the same file replaces an earlier one. The rule for imports sees neither `import("…")` nor `import("…").Type`, so
 * the same arrows stand there once more as syntax.
 * @param walls each a regular expression of what must not be imported, why, and whether its types may be.
 */
const arrows = (files, ignores, ...walls) => ({
  files,
  ignores,
  rules: {
    "@typescript-eslint/no-restricted-imports": [
      "error",
      { patterns: walls.map(({ regex, message, types = false }) => ({ regex, message, allowTypeImports: types })) },
    ],
    "no-restricted-syntax": [
      "error",
      {
        selector: "ImportExpression[source.type!='Literal']",
        message: "Name the module in quotes, so that lint sees it.",
      },
      ...walls.flatMap(({ regex, message, types = false }) => {
        // The selector's grammar knows no slash inside a regular expression.
        const named = `[source.value=/${regex.replaceAll("/", "\\u002F")}/]`;
        return [`ImportExpression${named}`, ...(types ? [] : [`TSImportType${named}`])].map((selector) => ({
          selector,
          message,
        }));
      }),
    ],
  },
});

const around = {
  regex: "^\\.(.*/)?(bench|ci|docs|doctor|local|test)(/|$)",
  message: "The program never imports what runs around it.",
};

/** Only types of these. Nothing else may match them: the rule lets a type pass when any one of its patterns would. */
const typesOf = (...modules) => ({
  regex: `^\\.\\.?/(${modules.join("|")})$`,
  message: "What it needs of this comes through arguments: import types only.",
  types: true,
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
  arrows(
    ["src/**"],
    ["src/config/**", "src/platform/**", "src/clusters/**", "src/cluster.ts", "src/deploy.ts"],
    around,
  ),
  arrows(["src/config/**"], [], around, {
    regex: up("charts"),
    message: "Config imports nothing of the program but the table of charts.",
  }),
  arrows(
    ["src/platform/**"],
    [],
    around,
    {
      regex: up("charts", "config/plain-secrets", "config/refusal", "config/schema", "live-cluster"),
      message: "The platform is cloud-blind: it sees the Cluster contract through its arguments only.",
    },
    typesOf("charts", "config/schema"),
    {
      regex: "^@pulumi/(?!(pulumi|kubernetes|random|tls)(/|$))",
      message: "The platform is cloud-blind: what a cloud needs belongs in clusters/.",
    },
  ),
  arrows(
    ["src/clusters/**"],
    [],
    around,
    {
      regex: up("cluster", "config/refusal", "config/schema", "live-cluster"),
      message: "A cluster knows nothing of what runs on it, nor where its config comes from.",
    },
    typesOf("cluster", "config/schema"),
  ),
  arrows(
    ["src/cluster.ts"],
    [],
    around,
    {
      regex: "^\\./(?!clusters/|config/schema$)",
      message: "A cluster knows nothing of what runs on it, nor where its config comes from.",
    },
    typesOf("config/schema"),
  ),
  arrows(
    ["src/deploy.ts"],
    [],
    around,
    {
      regex: "^\\./(clusters/|config/(?!schema$)|index$)",
      message: "deploy is given a Config, and gets its cluster from ./cluster.",
    },
    typesOf("config/schema"),
  ),
  arrows(["doctor/**"], [], {
    regex: "^\\.\\.?/(.*/)?(bench|ci|docs|test)(/|$)",
    message: "The doctor goes by the program and by the local engine, and by nothing else.",
  }),
  arrows(["ci/**"], [], {
    regex: "^\\.\\.?/(.*/)?(bench|docs|test)(/|$)",
    message: "The pipeline's programs go by the program, the doctor and the local engine, and by nothing else.",
  }),
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
