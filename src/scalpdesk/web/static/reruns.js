// A run under other fill models and on redrawn paths of its session: for the tear sheet and the Runs page.

import { h, table, tinted } from "./dom.js";
import { booked, bookedTone, plain, signed } from "./figures.js";

/** @param {Shapes["ModelBlock"]} models */
export function modelTable(models) {
  const widest = Math.max(...models.rows.map((row) => Math.abs(Number(row.pnl)))) || 1;
  const sizeOf = (row) => { const bar = h("i", { class: `bar ${bookedTone(row.pnl)}` }); bar.style.width = `${(100 * Math.abs(Number(row.pnl))) / widest}%`; return bar; };
  return h(
    "div",
    { class: "models" },
    table(
      [
        { head: "Fills at", cell: (row) => h(row.own ? "b" : "span", {}, row.name) },
        { head: "P&L", class: "num", cell: (row) => tinted(booked(row.pnl), bookedTone(row.pnl)) },
        { head: h("span", { class: "sr" }, "Size"), cell: sizeOf },
        { head: "Costs", class: "num", cell: (row) => booked(row.costs) },
        { head: "Hedges", class: "num", cell: (row) => plain(row.hedges, 0) },
      ],
      models.rows,
      { caption: "The run under other fill models" },
    ),
    h("p", { class: "muted" }, models.note),
  );
}

/** @param {Shapes["PathBlock"]} paths */
export function pathStrip(paths) {
  const runs = [paths.own, ...paths.others], gained = runs.filter((pnl) => pnl > 0).length;
  const lowest = signed(Math.min(...runs), 0), highest = signed(Math.max(...runs), 0);
  const low = Math.min(0, ...runs), width = Math.max(0, ...runs) - low || 1;
  const dot = (value, own) => { const found = h("i", { class: own ? "own" : "" }); found.style.left = `${(100 * (value - low)) / width}%`; return found; };
  return h(
    "div",
    { class: "note" },
    h("div", { class: "top" }, h("h3", {}, `Same day, ${runs.length} redrawn paths`), h("span", { class: "muted" }, `${gained} of ${runs.length} gained, median ${signed(paths.median, 0)}`)),
    h("div", { class: "strip", role: "img", "aria-label": `results from ${lowest} to ${highest}` }, paths.others.map((value) => dot(value, false)), dot(paths.own, true)),
    h("div", { class: "top muted" }, h("span", {}, `lowest ${lowest}`), h("span", {}, `highest ${highest}`)),
  );
}

// How far it is, in words; empty before the first.
/** @param {Pick<Shapes["RerunsPage"], "state" | "done" | "total" | "what" | "problem">} page */
export function rerunText({ state, done, total, what, problem }) {
  if (state === "running") return `${done} of ${total || "…"}: ${what}`;
  return { none: "", ended: `${done} made`, cancelled: `cancelled after ${done} of ${total || "…"}`, failed: `failed: ${problem}` }[state] ?? state;
}
