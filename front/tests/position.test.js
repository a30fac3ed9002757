import assert from "node:assert/strict";
import { test } from "node:test";

import "./page.js";
import { ladderTable, valueAt } from "../../src/scalpdesk/web/static/position.js";

test("a kept curve is read between its own spots, and nowhere else", () => {
  const curve = { spots: [100, 110, 120], now: [-5, 0, 20] };
  assert.deepEqual([99, 100, 105, 115, 120, 121].map((spot) => valueAt(curve, spot)), [null, -5, -2.5, 10, 20, null]);
});

test("the ladder has the highest spot first, and a coin's cell in dollars at its own spot too", () => {
  const ladder = { moves: [-0.1, 0.1], vol_points: [0, 0.05], pnl: [[-2, -1.5], [4, 3]], heat: [[-1, -0.75], [1, 0.75]] };
  const rows = (currency) => [...ladderTable(ladder, 100, currency).querySelectorAll("tr")].map((line) => [...line.children].map((cell) => cell.textContent));
  assert.deepEqual(rows("USD"), [["Spot", "Move %", "vol now", "+5 pts"], ["110.00", "+10", "+4", "+3"], ["90.00", "−10", "−2", "−2"]]);
  assert.deepEqual(rows("BTC")[1], ["110.00", "+10", "+4.0000 +440 $", "+3.0000 +330 $"]);
});
