// Why: why did it, why not?

import { card, facts, h, poll, redraw, table, tinted } from "./dom.js";

export function create(main) {
  const sentence = h("p", { class: "verdict" });
  const list = h("div");
  const field = h("input", { type: "search", placeholder: "search reasons, orders, numbers", "aria-label": "Search decisions", size: "36" });
  const kind = h("select", { "aria-label": "Kind" }, h("option", { value: "" }, "every kind"));
  const taken = h("select", { "aria-label": "Outcome" }, h("option", { value: "" }, "taken and skipped"), h("option", { value: "true" }, "taken"), h("option", { value: "false" }, "skipped"));
  main.replaceChildren(
    h("section", { class: "card wide" }, h("h2", {}, "Why did it, why not?"), sentence, h("div", { class: "controls-row" }, field, kind, taken)),
    card("wide", "Decisions, the newest first", list),
  );
  let last = "";

  function draw(page) {
    const text = JSON.stringify(page);
    if (text === last) return;
    last = text;
    sentence.replaceChildren(page.empty || page.error || page.sentence);
    const known = new Set([...kind.options].map((option) => option.value));
    for (const name of Object.keys(page.by_kind || {})) {
      if (!known.has(name)) kind.append(h("option", { value: name }, name.replace("_", " ")));
    }
    const rows = page.decisions || [];
    if (!rows.length) {
      list.replaceChildren(h("p", { class: "empty" }, "No decision fits."));
      return;
    }
    redraw(
      list,
      table(
        [
          { head: "#", class: "num narrow-gone", cell: (row) => String(row.number) },
          { head: "ET", class: "nowrap", cell: (row) => row.time },
          { head: "What", class: "nowrap", cell: (row) => tinted(row.what, row.way, row.taken) },
          { head: "Why", cell: (row) => (row.count > 1 ? `${row.why} (${row.count}×, since ${row.first_time})` : row.why) },
          { head: "Spot", class: "num narrow-gone", cell: (row) => row.spot },
        ],
        rows,
        {
          caption: "Decisions",
          // an equal skip is folded into its row under a new number
          key: (row) => (row.taken ? String(row.number) : `${row.count > 1 ? row.first_time : row.time} ${row.what}`),
          open: (row) =>
            h(
              "div",
              {},
              h("p", {}, row.reasons.join("; ")),
              facts(Object.entries(row.facts).map(([name, value]) => [name, value])),
              row.orders.length ? h("p", { class: "muted" }, `orders ${row.orders.join(", ")}`) : "",
            ),
        },
      ),
    );
  }

  const path = () => {
    const words = new URLSearchParams({ search: field.value, kind: kind.value });
    if (taken.value) words.set("taken", taken.value);
    return `/api/decisions?${words}`;
  };
  const stop = poll(path, draw, 1);
  for (const control of [field, kind, taken]) control.addEventListener("input", () => { last = ""; stop.now(); });
  return { update() {}, destroy: stop };
}
