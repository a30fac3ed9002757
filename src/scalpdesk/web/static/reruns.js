// A run under other fill models and on redrawn paths of its session: for the tear sheet and the Runs page.

import { h, table, tinted } from "./dom.js";

export function modelTable(models) {
  return h(
    "div",
    { class: "models" },
    table(
      [
        { head: "Fills at", cell: (row) => h(row.own ? "b" : "span", {}, row.name) },
        { head: "P&L", class: "num", cell: (row) => tinted(row.pnl, row.tone) },
        { head: h("span", { class: "sr" }, "Size"), cell: (row) => { const bar = h("i", { class: `bar ${row.tone}` }); bar.style.width = `${100 * row.share}%`; return bar; } },
        { head: "Costs", class: "num", cell: (row) => row.costs },
        { head: "Hedges", class: "num", cell: (row) => row.hedges },
      ],
      models.rows,
      { caption: "The run under other fill models" },
    ),
    h("p", { class: "muted" }, models.note),
  );
}

export function pathStrip(paths) {
  const every = [0, paths.own, ...paths.others];
  const low = Math.min(...every), width = Math.max(...every) - low || 1;
  const dot = (value, own) => { const found = h("i", { class: own ? "own" : "" }); found.style.left = `${(100 * (value - low)) / width}%`; return found; };
  return h(
    "div",
    { class: "note" },
    h("div", { class: "top" }, h("h3", {}, paths.title), h("span", { class: "muted" }, paths.note)),
    h("div", { class: "strip", role: "img", "aria-label": `results from ${paths.low} to ${paths.high}` }, paths.others.map((value) => dot(value, false)), dot(paths.own, true)),
    h("div", { class: "top muted" }, h("span", {}, `lowest ${paths.low}`), h("span", {}, `highest ${paths.high}`)),
  );
}

// How far it is, in words; empty before the first.
export function rerunText({ state, done, total, what, problem }) {
  if (state === "running") return `${done} of ${total || "…"}: ${what}`;
  return { none: "", ended: `${done} made`, cancelled: `cancelled after ${done} of ${total || "…"}`, failed: `failed: ${problem}` }[state] ?? state;
}
