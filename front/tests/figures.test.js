import assert from "node:assert/strict";
import { test } from "node:test";

import { booked, bookedTone, columnsOf, countdown, perCent, places, plain, signed, significant, span, toneOf, unsigned } from "../../src/scalpdesk/web/static/figures.js";

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

test("an amount of the ledger keeps the decimals that it has", () => {
  assert.deepEqual(["-1234.5", "0.00", "-0.00270000", "12"].map(booked), ["−1,234.5", "0.00", "−0.00270000", "+12"]);
  assert.deepEqual(["-1234.50", "12.40", null].map(unsigned), ["−1,234.50", "12.40", null]);
  assert.deepEqual(["-0.00000001", "0.00", "3.00", null].map(bookedTone), ["down", "muted", "up", "muted"]);
});

test("a time that is left is told in minutes and seconds, then in hours, then in days", () => {
  assert.deepEqual([-1, 59, 2_100, 20_400, 3_369_600].map(countdown), ["passed", "0:59", "35:00", "5 h 40 min", "39 d"]);
  assert.deepEqual([12, 61, 3_600].map(span), ["12 s", "1 min", "1 h 0 min"]);
});

test("a fact has six digits at most", () => {
  assert.deepEqual([-1234567.8, 0.123456789, 266.5].map(significant), ["−1,234,570", "0.123457", "266.5"]);
});

test("a column of a report's struct is shown by the kind of its values, and nothing where it is not known", () => {
  const fields = ["amount", "worth", "volatility", "count", "time", "text"].map((kind) => ({ name: kind, head: kind, kind, goes: kind === "worth" ? 3 : 0 }));
  const row = { amount: "-1234.5", worth: 66.445, volatility: 0.1234, count: 3, time: 1517841000000000000, text: "why" };
  const columns = columnsOf(fields, 2);
  assert.deepEqual(columns.map(({ cell }) => cell(row)), ["−1,234.50", "66.45", "12.3 %", "3", "2018-02-05 09:30:00", "why"]);
  assert.deepEqual(columns.map((each) => each.class), ["num", "num narrow-gone", "num", "num", "nowrap", ""]);
  assert.equal(columns[2].cell({ volatility: null }), null);
});
