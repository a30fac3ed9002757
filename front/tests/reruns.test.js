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
  const dots = [...pathStrip({ own: 10, others: [-10, 30], title: "", note: "", low: "−10", high: "+30" }).querySelectorAll(".strip i")];
  assert.deepEqual(dots.map((dot) => [dot.style.left, dot.className]), [["0%", ""], ["100%", ""], ["50%", "own"]]);
});

test("a fill model's bar is as long as its share of the widest", () => {
  const rows = [{ name: "cross", own: true, pnl: "+10", tone: "up", share: 0.5, costs: "−1", hedges: "4" }];
  const made = modelTable({ rows, note: "Range 0" });
  assert.equal(made.querySelector("i").style.width, "50%");
  assert.equal(made.querySelector("b").textContent, "cross");
});
