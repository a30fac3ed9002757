import assert from "node:assert/strict";
import { test } from "node:test";

import "./page.js";
import { modelTable, pathStrip, rerunText } from "../../src/scalpdesk/web/static/reruns.js";

test("reruns say how far they are, and why they ended", () => {
  const told = { done: 3, total: 22, what: "path 2", problem: "no data" };
  assert.equal(rerunText({ ...told, state: "running" }), "3 of 22: path 2");
  assert.equal(rerunText({ ...told, state: "running", done: 0, total: 0 }), "0 of …: path 2");
  assert.equal(rerunText({ ...told, state: "cancelled" }), "cancelled after 3 of 22");
  assert.equal(rerunText({ ...told, state: "failed" }), "failed: no data");
  assert.equal(rerunText({ ...told, state: "none" }), "");
});

test("paths stand on one scale with zero and the run's own, which is marked", () => {
  const made = pathStrip({ own: 10, others: [-10, 30], median: 10 });
  const dots = [...made.querySelectorAll(".strip i")];
  assert.deepEqual(dots.map((dot) => [dot.style.left, dot.className]), [["0%", ""], ["100%", ""], ["50%", "own"]]);
  assert.equal(made.querySelector("span").textContent, "2 of 3 gained, median +10");
  assert.equal(made.querySelector(".strip").getAttribute("aria-label"), "results from −10 to +30");
});

test("a fill model's bar is as long as its share of the widest", () => {
  const rows = [{ name: "cross", own: true, pnl: "10.00", costs: "-1.00", hedges: 4 }, { name: "mid", own: false, pnl: "-20.00", costs: "0.00", hedges: 4 }];
  const made = modelTable({ rows, note: "Range 30.00" });
  assert.deepEqual([...made.querySelectorAll("i")].map((bar) => [bar.style.width, bar.className]), [["50%", "bar up"], ["100%", "bar down"]]);
  assert.equal(made.querySelector("b").textContent, "cross");
});
