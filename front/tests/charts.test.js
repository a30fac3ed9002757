import assert from "node:assert/strict";
import { test } from "node:test";

import { main } from "./page.js";
import { LineChart, costSentence, csvOfColumns, logTicks, plainNumber, pointText, signedNumber, track, waterfall, withoutNights } from "../../src/scalpdesk/web/static/charts.js";

test("an axis has as many decimals as tell two ticks apart", () => {
  assert.deepEqual(plainNumber(0)(null, [0, 0.0002, 0.0004]), ["0", "0.0002", "0.0004"]);
  assert.deepEqual(plainNumber(1)(null, [1000, 1500]), ["1,000", "1,500"]);
  assert.deepEqual(signedNumber(0)(null, [-20, 0, 20]), ["−20", "0", "+20"]);
});

test("the ticks of a logarithm lie within its scale", () => {
  assert.deepEqual(logTicks(0.04, 1.2), [0.05, 0.07, 0.1, 0.2, 0.3, 0.5, 0.7, 1]);
});

test("a bar starts where the one before ended, in shares of the whole track", () => {
  const bar = track(-10, 40, 0, 20, "up").querySelector("i");
  assert.deepEqual([bar.style.left, bar.style.width], ["25%", "50%"]);
  const rows = waterfall([{ name: "higher_order", pnl: "30.00", from: 0, to: 30 }, { name: "vega", pnl: "-10.00", from: 30, to: 20 }, { name: "total", pnl: "20.00", from: 0, to: 20 }]);
  assert.deepEqual([...rows.querySelectorAll("i")].map((each) => each.style.width), ["100%", `${(100 * 10) / 30}%`, `${(100 * 20) / 30}%`]);
  assert.deepEqual([...rows.children].map((each) => each.textContent), ["Higher order+30.00", "Vega−10.00", "Total+20.00"]);
});

test("costs are told of hedging, entry and exit, and before an option was held as one sum", () => {
  const costs = { total: "12.40", hedging: "7.40", entry_exit: "5.00", share_of_gamma_and_theta: 0.125 };
  assert.equal(costSentence(costs, 0.0042), "Hedging cost 7.40, 13 % of gamma and theta; entry and exit 5.00. Residual 0.4 % of total.");
  assert.equal(costSentence({ ...costs, share_of_gamma_and_theta: null }, null), "Hedging cost 7.40; entry and exit 5.00.");
  assert.equal(costSentence({ total: "0.00", hedging: null, entry_exit: null, share_of_gamma_and_theta: null }, null), "Costs 0.00.");
});

test("without the chart library the last values stand in a table", () => {
  const chart = new LineChart(main, [{ label: "spot", colour: "text" }], { label: "Price", time: false, xName: "step" });
  chart.set([[1, 2, 3, 4, 5, 6, 7], [10, 11, 12, 13, 14, 15, null]]);
  const rows = [...main.querySelectorAll("tbody tr")].map((line) => line.textContent);
  assert.deepEqual(rows, ["210.00", "311.00", "412.00", "513.00", "614.00", "715.00"].map((_, i) => `${i + 2}${i === 5 ? "·" : (11 + i).toFixed(2)}`));
});

test("a value under the pointer has the decimals that its scale needs", () => {
  assert.equal(pointText(1234.5678, { min: 1000, max: 1500 }), "1,235");
  assert.equal(pointText(0.00031234, { min: 0, max: 0.0005 }), "0.000312");
  assert.equal(pointText(-2.5, { min: -5, max: 5 }), "−2.50");
  assert.equal(pointText(null, { min: 0, max: 1 }), "·");
});

test("a chart's file has its named columns unrounded, and nothing for what is not known", () => {
  const lines = [{ label: "premium, USD" }, { colour: "band" }, { label: "TWAP" }];
  const data = [[0, 15.5], [7.125, null], [1, 1], [-0.1, 7]];
  assert.equal(csvOfColumns(lines, data), 'time_utc,"premium, USD",TWAP\r\n1970-01-01T00:00:00.000Z,7.125,-0.1\r\n1970-01-01T00:00:15.500Z,,7\r\n');
  assert.equal(csvOfColumns([{ label: "P&L" }], [[90], [2]], { time: false, xName: "spot" }), "spot,P&L\r\n90,2\r\n");
});

test("sessions stand side by side: a night is narrow, and each time comes back as it was", () => {
  const day = (start) => Array.from({ length: 27 }, (_, i) => start + 900 * i);
  const times = [...day(0), ...day(86_400), ...day(4 * 86_400)], nights = withoutNights(times);
  const placed = times.map(nights.to);
  assert.deepEqual(placed.map(nights.back), times);
  assert.ok(placed.every((x, i) => i === 0 || (x > placed[i - 1] && x - placed[i - 1] <= 900)));
  assert.deepEqual(nights.options.xSplits(null, 0, 0, placed[placed.length - 1]), [0, 27, 54].map((i) => placed[i]));
  assert.equal(withoutNights(day(0)), null);
});
