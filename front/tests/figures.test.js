import assert from "node:assert/strict";
import { test } from "node:test";

import { perCent, places, plain, signed, toneOf } from "../../src/scalpdesk/web/static/figures.js";

test("an amount has its sign, commas and a true minus; zero has none", () => {
  assert.equal(signed(-1234.5), "−1,234.50");
  assert.equal(signed(0.001), "0.00");
  assert.equal(signed(-0.001), "0.00");
  assert.equal(signed(2.5, 1), "+2.5");
  assert.equal(signed(-0.00662942, places("BTC")), "−0.0066");
  assert.equal(plain(1000000, 0), "1,000,000");
});

test("halves go away from zero, of the decimal that is written and not of the binary behind it", () => {
  assert.equal(plain(66.445), "66.45");
  assert.equal(signed(-0.125), "−0.13");
  assert.equal(signed(2.5, 0), "+3");
});

test("what is not known is null", () => {
  for (const nothing of [null, undefined, NaN, Infinity]) assert.deepEqual([signed(nothing), plain(nothing), perCent(nothing)], [null, null, null]);
});

test("a fraction is told in per cent, and a tone by the figure that is shown", () => {
  assert.equal(perCent(0.2718), "27.2 %");
  assert.equal(perCent(-0.0041, 2), "−0.41 %");
  assert.deepEqual([toneOf(0.004), toneOf(0.6, 0), toneOf(-7)], ["muted", "up", "down"]);
});
