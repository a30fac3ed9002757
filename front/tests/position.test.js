import assert from "node:assert/strict";
import { test } from "node:test";

import "./page.js";
import { valueAt } from "../../src/scalpdesk/web/static/position.js";

test("a kept curve is read between its own spots, and nowhere else", () => {
  const curve = { spots: [100, 110, 120], now: [-5, 0, 20] };
  assert.deepEqual([99, 100, 105, 115, 120, 121].map((spot) => valueAt(curve, spot)), [null, -5, -2.5, 10, 20, null]);
});
