// Orders: is anything in doubt?

import { booked, bookedTone, plain, unsigned } from "./figures.js";
import { card, facts, h, momentOf, namedRun, pager, poll, redraw, runNote, shown, table, tinted, whyNothing } from "./dom.js";

const GROUPS = [["unknown", "Unknown"], ["working", "Working"], ["rejected", "Rejected"], ["done", "Done"]];

export function create(main) {
  const sentence = h("p", { class: "verdict one" });
  const counts = h("div"), note = h("div");
  const groups = Object.fromEntries(GROUPS.map(([name]) => [name, { host: h("div"), pages: pager(() => { last = ""; stop.now(); }) }]));
  const field = h("input", { type: "search", "aria-label": "Search the orders", placeholder: "call, sell, hedge, rejected …", autocomplete: "off" });
  field.addEventListener("input", () => { for (const { pages } of Object.values(groups)) pages.reset(); last = ""; stop.now(); });
  main.replaceChildren(
    h("section", { class: "card wide" }, h("h2", {}, "Is anything in doubt?"), sentence, note, counts, h("div", { class: "controls-row" }, field)),
    ...GROUPS.map(([name, title]) => card("wide", title, groups[name].host, groups[name].pages.element)),
  );
  let last = "";

  /** @param {Answer<"/api/orders">} page */
  function draw(page) {
    const text = JSON.stringify(page);
    if (text === last) return;
    last = text;
    sentence.replaceChildren(whyNothing(page) || page.sentence);
    note.replaceChildren(runNote(page, "why"));
    const latency = page.latency || {}, { totals } = page;
    counts.replaceChildren(
      facts([
        ["Sent", page.total],
        ...(totals ? [
          [`Realised at average cost, ${totals.currency}`, booked(totals.realised), bookedTone(totals.realised)],
          ...(Number(totals.elsewhere) ? [["Without an order: expiry, settlement", booked(totals.elsewhere)]] : []),
          ["Fees", unsigned(totals.fee)],
          ["Against mid at decision", booked(totals.against_mid)],
        ] : []),
        ["Order to final state, median", milliseconds(latency.p50_ms)],
        ["99 %", milliseconds(latency.p99_ms)],
      ]),
    );
    for (const [name] of GROUPS) {
      const { host, pages } = groups[name];
      const rows = (page.orders || []).filter((order) => order.group === name);
      host.closest(".card").hidden = !rows.length;  // the sentence says that there is none
      redraw(host, rows.length ? orderTable(foldedRows(rows, page), page) : "");
      const older = (page.older || {})[name];
      pages.show(older && `${name}:${older}`, `${rows.length} of ${(page.counts || {})[name] || 0}`);
    }
  }

  const path = () => {
    const words = new URLSearchParams({ run: namedRun(), search: field.value.trim() });
    for (const { pages } of Object.values(groups)) if (pages.before) words.append("before", pages.before);
    return `/api/orders?${words}`;
  };
  const stop = poll(path, draw, 1);
  return { update() {}, destroy: stop };
}

const milliseconds = (value) => (value === undefined || value === null ? null : value < 1000 ? `${value.toFixed(1)} ms` : `${(value / 1000).toFixed(1)} s`);

const realised = () => h("span", { class: "wraps" }, "P&L at average cost");

// An instrument in another currency than the account's is told with its name.
/** @typedef {Answer<"/api/orders">} Page */
/** @type {(row: {currency: string}, page: Page) => string} */
const abroad = (row, page) => (row.currency === page.totals?.currency ? "" : ` ${row.currency}`);
/** @type {(text: string | null, row: {currency: string}, page: Page) => string | null} */
const money = (text, row, page) => (text === null ? null : `${text}${abroad(row, page)}`);

/** @param {OrderRow} row */
const fillCount = (row) => row.fill_count ?? row.fills.length;

/** @typedef {Shapes["OrderLine"] & {members?: Shapes["OrderLine"][], fill_count?: number}} OrderRow */

// Like orders in a row as one, with their sums: it opens to show them.
/** @param {Shapes["OrderLine"][]} rows @param {Page} page @returns {OrderRow[]} */
export function foldedRows(rows, page) {
  const byId = new Map(rows.map((row) => [row.id, row]));
  return (page.folded ?? []).flatMap(({ orders, ...sums }) => {
    const members = orders.flatMap((id) => byId.get(id) ?? []);
    if (!members.length) return [];
    return [members.length === 1 ? members[0] : { ...members[0], ...sums, id: members[members.length - 1].id, members }];
  });
}

/** @param {OrderRow[]} rows @param {Page} page @param {string} [within] */
function orderTable(rows, page, within = "") {
  const price = (/** @type {number | null} */ value, /** @type {Shapes["OrderLine"]} */ row) => plain(value, row.price_decimals);
  const won = (/** @type {Shapes["OrderLine"]} */ row) => tinted(money(booked(row.realised), row, page), bookedTone(row.realised));
  const against = (/** @type {Shapes["OrderLine"]} */ row) => money(booked(row.against_mid), row, page);
  const fee = (/** @type {Shapes["OrderLine"]} */ row) => (fillCount(row) ? money(unsigned(row.fee), row, page) : null);
  return table(
    [
      { head: "ET", class: "nowrap", cell: (row) => momentOf(row, page) },
      { head: "What", class: "nowrap", cell: (row) => (row.members ? [tinted(`${row.side === "buy" ? "▲ buy" : "▼ sell"} ${row.quantity}`, row.way, true), ` in ${row.members.length} orders`] : tinted(row.what, row.way, true)) },
      { head: "Instrument", class: "nowrap", cell: (row) => row.label },
      { head: "Filled", class: "num", cell: (row) => `${row.filled} of ${row.quantity}${fillCount(row) > 1 ? ` in ${fillCount(row)} fills` : ""}` },
      { head: "Average", class: "num narrow-gone", cell: (row) => price(row.average, row) },
      { head: realised(), class: "num", cell: won },
      { head: "Against mid", class: "num narrow-gone", cell: against },
      { head: "Fees", class: "num narrow-gone", cell: fee },
      { head: "Type", class: "narrow-gone", cell: (row) => row.members ? row.type.replace("_", " ") : [row.type.replace("_", " "), row.trigger !== null && `at ${price(row.trigger, row)}`, price(row.limit, row)].filter(Boolean).join(" ") },
      { head: "Why", class: "narrow-gone", cell: (row) => (row.group === "rejected" && row.reason ? [h("span", {}, row.purpose.replace("_", " ")), h("span", { class: "warn" }, `: ${row.reason}`)] : row.purpose.replace("_", " ")) },
      { head: "Life", class: "narrow-gone", cell: (row) => (row.members ? `since ${row.members[row.members.length - 1].time}` : life(row)) },
    ],
    rows,
    {
      caption: within ? "Orders of this row" : "Orders",
      key: (row) => `${within}${row.id}`,
      open: (row) => row.members ? orderTable(row.members, page, "in ") : [
        facts([["Order id", row.id], ["Average", price(row.average, row)], ["Venue's id", row.venue_id], ["State", row.state], ["Reason", row.reason || "none given"], ["Mid when it was decided", price(row.mid, row)], ["Against mid", against(row)], ["Fees", fee(row)], ["Steps", row.steps.map((step) => `${step.state} ${step.time}`).join(", ")]]),
        row.fills.length ? fillTable(row, page) : "",
      ],
    },
  );
}

/** @param {Shapes["OrderLine"]} row @param {Page} page */
function fillTable(row, page) {
  return table(
    [
      { head: "Fill, ET", class: "nowrap", cell: (fill) => fill.time },
      { head: "Quantity", class: "num", cell: (fill) => fill.quantity },
      { head: "Price", class: "num", cell: (fill) => plain(fill.price, row.price_decimals) },
      { head: realised(), class: "num", cell: (fill) => tinted(money(booked(fill.realised), fill, page), bookedTone(fill.realised)) },
      { head: "Against mid", class: "num narrow-gone", cell: (fill) => money(booked(fill.against_mid), fill, page) },
      { head: "Fee", class: "num", cell: (fill) => money(unsigned(fill.fee), fill, page) },
    ],
    row.fills,
    { caption: `Fills of this order, on average at ${plain(row.average, row.price_decimals)}` },
  );
}

/** @param {Shapes["OrderLine"]} row */
function life(row) {
  return h(
    "span",
    { class: "life" },
    row.steps.map((step, i) => h("span", { class: step.state === "unknown" || step.state === "rejected" ? "warn" : "" }, `${shown(step.state).replace("_", " ")}${i ? ` +${step.after_ms} ms` : ""}`)),
  );
}
