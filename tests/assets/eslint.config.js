import globals from "globals";

const rules = {
  "no-undef": "error",
  "no-unused-vars": ["error", { args: "after-used", caughtErrors: "none", ignoreRestSiblings: true }],
  "no-shadow": ["error", { hoist: "all", builtinGlobals: false }],
  "no-var": "error",
  "prefer-const": "error",
  eqeqeq: ["error", "always"],
  "no-eval": "error",
  "no-implied-eval": "error",
  "no-new-func": "error",
  "no-restricted-properties": [
    "error",
    { property: "innerHTML", message: "Text must never become markup." },
    { property: "outerHTML", message: "Text must never become markup." },
    { property: "insertAdjacentHTML", message: "Text must never become markup." },
  ],
  "no-constant-binary-expression": "error",
  "no-dupe-keys": "error",
  "no-fallthrough": "error",
  "no-unreachable": "error",
  "no-useless-escape": "error",
  "no-unused-private-class-members": "error",
};

export default [
  { ignores: ["**/node_modules/**", "**/preact.js"] },
  { files: ["**/assets/**/*.js"], languageOptions: { sourceType: "module", globals: globals.browser }, rules },
  { files: ["*.js", "*.mjs"], languageOptions: { sourceType: "module", globals: globals.node }, rules },
];
