// What the linter asks of the pages' scripts; types are the compiler's (tsconfig.json).

import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: ["build/**", ".venv*/**", "docs/**", "node_modules/**", "runs/**", "catalog/**"] },
  js.configs.recommended,
  {
    files: ["src/scalpdesk/web/static/*.js"],
    languageOptions: { globals: globals.browser },
    rules: {
      eqeqeq: "error",
      "no-var": "error",
      "prefer-const": ["error", { destructuring: "all" }],
      "no-shadow-restricted-names": "error",
      "no-implied-eval": "error",
      "no-restricted-properties": [
        "error",
        { property: "innerHTML", message: "text stays text: h() of dom.js makes elements" },
        { property: "outerHTML", message: "text stays text: h() of dom.js makes elements" },
        { property: "insertAdjacentHTML", message: "text stays text: h() of dom.js makes elements" },
      ],
      "no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_", ignoreRestSiblings: true }],
    },
  },
  { files: ["front/**/*.js", "eslint.config.js"], languageOptions: { globals: { ...globals.browser, ...globals.node } } },
];
