// Why: why did it, why not?

import { card, facts, h, momentOf, namedRun, pager, poll, redraw, runNote, table, tinted, whyNothing } from "./dom.js";
import { plain, significant } from "./figures.js";

export function create(main) {
  const sentence = h("p", { class: "verdict one" });
  const list = h("div"), note = h("div"), pages = pager(() => { last = ""; stop.now(); });
  const field = h("input", { type: "search", placeholder: "search reasons, orders, numbers", "aria-label": "Search decisions", size: "36" });
  const kind = h("select", { "aria-label": "Kind" }, h("option", { value: "" }, "every kind"));
  const taken = h("select", { "aria-label": "Outcome" }, h("option", { value: "" }, "taken and skipped"), h("option", { value: "true" }, "taken"), h("option", { value: "false" }, "skipped"));
  main.replaceChildren(
    h("section", { class: "card wide" }, h("h2", {}, "Why did it, why not?"), sentence, note, h("div", { class: "controls-row" }, field, kind, taken)),
    card("wide", "Decisions, the newest first", list, pages.element),
  );
  let last = "";

  /** @param {Answer<"/api/decisions">} page */
  function draw(page) {
    const text = JSON.stringify(page);
    if (text === last) return;
    last = text;
    sentence.replaceChildren(whyNothing(page) || page.sentence);
    const known = new Set([...kind.options].map((option) => option.value));
    for (const name of Object.keys(page.by_kind || {})) {
      if (!known.has(name)) kind.append(h("option", { value: name }, name.replace("_", " ")));
    }
    note.replaceChildren(runNote(page, "orders"));
    const rows = page.decisions || [];
    pages.show(page.older, rows.length ? `${rows[0].number} to ${rows[rows.length - 1].first} of ${page.found} that fit` : "");
    if (!rows.length) {
      list.replaceChildren(h("p", { class: "empty" }, "No decision fits."));
      return;
    }
    redraw(
      list,
      table(
        [
          { head: "#", class: "num narrow-gone", cell: (row) => String(row.number) },
          { head: "ET", class: "nowrap", cell: (row) => momentOf(row, page) },
          { head: "What", class: "nowrap", cell: (row) => tinted(row.what, row.way, row.taken) },
          { head: "Why", cell: (row) => (row.count > 1 ? `${row.why} (${row.count}×, since ${row.first_time})` : row.why) },
          { head: "Spot", class: "num narrow-gone", cell: (row) => plain(row.spot) },
        ],
        rows,
        {
          caption: "Decisions",
          key: (row) => String(row.first),  // an equal skip is folded into its row under a new number
          open: (row) =>
            h(
              "div",
              {},
              row.members.length > 1 ? memberTable(row.members) : h("p", {}, row.reasons.join("; ")),
              row.members.length > 1 ? h("p", { class: "muted" }, "Of the newest:") : "",
              facts(Object.entries(row.facts).map(([name, value]) => [name, typeof value === "number" ? significant(value) : value])),
              row.orders.length && row.members.length < 2 ? h("p", { class: "muted" }, `orders ${row.orders.join(", ")}`) : "",
            ),
        },
      ),
    );
  }

  const path = () => {
    const words = new URLSearchParams({ search: field.value, kind: kind.value, run: namedRun() });
    if (pages.before) words.set("before", pages.before);
    if (taken.value) words.set("taken", taken.value);
    return `/api/decisions?${words}`;
  };
  const stop = poll(path, draw, 1);
  for (const control of [field, kind, taken]) control.addEventListener("input", () => { last = ""; pages.reset(); stop.now(); });
  return { update() {}, destroy: stop };
}

// The decisions of a row, each with its own words.
/** @param {Shapes["DecisionLine"][]} members */
const memberTable = (members) => table(
  [
    { head: "#", class: "num narrow-gone", cell: (row) => String(row.number) },
    { head: "ET", class: "nowrap", cell: (row) => row.time },
    { head: "What", class: "nowrap", cell: (row) => tinted(row.what, row.way, true) },
    { head: "Why", cell: (row) => row.reasons.join("; ") },
    { head: "Orders", class: "narrow-gone breaks", cell: (row) => row.orders.join(", ") },
  ],
  members,
  { caption: "Decisions of this row" },
);
