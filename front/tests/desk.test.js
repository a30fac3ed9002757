import assert from "node:assert/strict";
import { test } from "node:test";

import "./page.js";
import { doubtText, expiryNote, greekList, heldText, legTexts, meanOf, reachStrip, stakeText } from "../../src/scalpdesk/web/static/desk.js";

test("a mean is called VWAP only where one by volume is known", () => {
  const twap = [1, 2];
  assert.deepEqual(meanOf({ premium_vwap: [null, null], premium_twap: twap }), ["TWAP", twap]);
  assert.deepEqual(meanOf({ premium_vwap: [null, 3], premium_twap: twap }), ["VWAP", [null, 3]]);
});

const LEG = { quantity: "-2", entry: 4.125, mark: 4.5, price_decimals: 2, is_coin: false, vol: 0.2031, delta_shares: -103.25, gamma_shares_per_usd: 3.1299, theta_usd_per_day: -15.756, vega_usd_per_point: 60 };
const COIN = { ...LEG, quantity: "0.50", entry: 0.0312, price_decimals: 4, is_coin: true, delta_shares: 0.25, gamma_shares_per_usd: 0.0000123, theta_usd_per_day: -0.00042, vega_usd_per_point: null };

test("a leg's figures have the decimals of their unit, in dollars and in coin", () => {
  assert.deepEqual(legTexts(LEG), { held: "−2", entry: "4.13", mark: "4.50", vol: "20.3 %", delta: "−103.3", gamma: "+3.13", theta: "−15.76", vega: "+60.00" });
  assert.deepEqual(legTexts(COIN), { held: "+0.5", entry: "0.0312", mark: "4.5000", vol: "20.3 %", delta: "+0.2500", gamma: "+0.000012", theta: "−0.000420", vega: null });
  assert.deepEqual([heldText("100"), heldText(0.001)], ["+100", "+0.001"]);
});

test("the book's Greeks are told in shares and cents, or in coin", () => {
  const greeks = { net_delta_shares: 1.234, gamma_shares_per_usd: 3.1299, theta_usd_per_day: -15.756, vega_usd_per_point: null };
  const told = (decimals) => [...greekList({ greeks, ...decimals }).querySelectorAll("dd")].map((each) => each.textContent);
  assert.deepEqual(told({ delta_decimals: 2, money_decimals: 2 }), ["+1.23", "+3.13", "−15.76", "·"]);
  assert.deepEqual(told({ delta_decimals: 4, money_decimals: 8 }), ["+1.2340", "+3.129900", "−15.75600000", "·"]);
});

test("the first expiry is told with its days, and apart from it what no quote shows", () => {
  assert.equal(expiryNote({ first_expiry: "2018-03-16", first_expiry_days: 39 }), "16 Mar 2018, 39 d");
  assert.equal(expiryNote({ first_expiry: null, first_expiry_days: null }), "");
  const unquoted = { worth: "12.30", least: "10.00", most: "15.00", since: "5 Feb 10:00" };
  assert.equal(doubtText(unquoted), "12.30 of NAV on no quote since 5 Feb 10:00 ET (10.00 to 15.00).");
  assert.equal(doubtText(null), null);
});

const CONDOR = { spot: 100, strikes: [80, 90, 110, 120], outlook: { earns: [[88, 112]], break_evens: [88, 112], most_loss: 800, most_gain: 200, is_exact: true } };

test("the strip has the spot between its break-evens, and earns where the options do", () => {
  const [strip] = reachStrip(CONDOR), left = (kind) => [...strip.querySelectorAll(kind)].map((each) => parseFloat(each.style.left));
  const [now] = left(".now"), [low, high] = left(".cross"), [zone] = strip.querySelectorAll(".zone");
  assert.ok(low < now && now < high && Math.abs(now - 50) < 1e-9);
  assert.ok(Math.abs(parseFloat(zone.style.left) - low) < 1e-3 && Math.abs(parseFloat(zone.style.width) - (high - low)) < 1e-3);
  assert.equal(left(".strike").length, 4);
  const [straddle] = reachStrip({ spot: 100, strikes: [100], outlook: { ...CONDOR.outlook, earns: [[null, 95], [105, null]], break_evens: [95, 105] } });
  assert.deepEqual([...straddle.querySelectorAll(".zone")].map((each) => parseFloat(each.style.left) === 0), [true, false]);
  assert.deepEqual(reachStrip({ ...CONDOR, outlook: null }), []);
  assert.deepEqual(reachStrip({ ...CONDOR, spot: null }), []);
});

test("what is at stake has its sign, and no figure where it has no bound", () => {
  assert.equal(stakeText(CONDOR, "most_loss", 0), "−800");
  assert.equal(stakeText(CONDOR, "most_gain", 2), "+200.00");
  assert.equal(stakeText({ outlook: { ...CONDOR.outlook, most_gain: null } }, "most_gain", 0), "without a bound");
  assert.equal(stakeText({ outlook: { ...CONDOR.outlook, is_exact: false } }, "most_loss", 0), "−800, an estimate");
  assert.equal(stakeText({ outlook: null }, "most_loss", 0), "·");
});
