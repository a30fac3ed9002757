// Orders: is anything in doubt?

import { card, facts, h, poll, redraw, shown, table, tinted } from "./dom.js";

const GROUPS = [["unknown", "Unknown"], ["working", "Working"], ["rejected", "Rejected"], ["done", "Done"]];

export function create(main) {
  const sentence = h("p", { class: "verdict" });
  const counts = h("div");
  const groups = Object.fromEntries(GROUPS.map(([name]) => [name, h("div")]));
  main.replaceChildren(
    h("section", { class: "card wide" }, h("h2", {}, "Is anything in doubt?"), sentence, counts),
    ...GROUPS.map(([name, title]) => card("wide", title, groups[name])),
  );
  let last = "";

  function draw(page) {
    const text = JSON.stringify(page);
    if (text === last) return;
    last = text;
    sentence.replaceChildren(page.empty || page.error || page.sentence);
    const latency = page.latency || {};
    counts.replaceChildren(
      facts([
        ["Sent", page.total],
        ["Order to final state, median", milliseconds(latency.p50_ms)],
        ["99 %", milliseconds(latency.p99_ms)],
      ]),
    );
    for (const [name] of GROUPS) {
      const rows = (page.orders || []).filter((order) => order.group === name);
      const total = (page.counts || {})[name] || 0;
      groups[name].closest(".card").hidden = !rows.length;  // the sentence says that there is none
      redraw(
        groups[name],
        rows.length ? orderTable(rows) : "",
        total > rows.length ? h("p", { class: "note" }, `The newest ${rows.length} of ${total}; /api/orders?limit=5000 has all.`) : "",
      );
    }
  }

  const stop = poll("/api/orders", draw, 1);
  return { update() {}, destroy: stop };
}

const milliseconds = (value) => (value === undefined || value === null ? null : value < 1000 ? `${value.toFixed(1)} ms` : `${(value / 1000).toFixed(1)} s`);

function orderTable(rows) {
  return table(
    [
      { head: "ET", class: "nowrap", cell: (row) => row.time },
      { head: "What", class: "nowrap", cell: (row) => tinted(row.what, row.way, true) },
      { head: "Instrument", class: "nowrap", cell: (row) => row.label },
      { head: "Filled", class: "num", cell: (row) => `${row.filled} of ${row.quantity}` },
      { head: "Average", class: "num", cell: (row) => row.average },
      { head: "Type", class: "narrow-gone", cell: (row) => (row.limit ? `${row.type} ${row.limit}` : row.type) },
      { head: "Why", class: "narrow-gone", cell: (row) => (row.group === "rejected" && row.reason ? [h("span", {}, row.purpose.replace("_", " ")), h("span", { class: "warn" }, `: ${row.reason}`)] : row.purpose.replace("_", " ")) },
      { head: "Life", class: "narrow-gone", cell: life },
    ],
    rows,
    {
      caption: "Orders",
      key: (row) => row.id,
      open: (row) => facts([["Order id", row.id], ["Venue's id", row.venue_id], ["State", row.state], ["Reason", row.reason || "none given"], ["Steps", row.steps.map((step) => `${step.state} ${step.time}`).join(", ")]]),
    },
  );
}

function life(row) {
  return h(
    "span",
    { class: "life" },
    row.steps.map((step, i) => h("span", { class: step.state === "unknown" || step.state === "rejected" ? "warn" : "" }, `${shown(step.state).replace("_", " ")}${i ? ` +${step.after_ms} ms` : ""}`)),
  );
}
