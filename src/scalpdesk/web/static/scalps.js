// Options scalps: what is on, what next? Four tabs.

import { LineChart, heatCell, paintHeat, signedNumber } from "./charts.js";
import { isNear, legTexts } from "./desk.js";
import { facts, h, poll, shown, table, tinted } from "./dom.js";
import { booked, bookedTone, countdown, perCent, plain, signed } from "./figures.js";

const TABS = [["live", "Live Scalps"], ["picker", "Strike Picker"], ["history", "Scalp History"], ["performance", "Performance"]];
const tone = (value) => (value > 0.005 ? "up" : value < -0.005 ? "down" : "muted");
const money = (value) =>
  value === null || value === undefined ? null : `${value < -0.005 ? "−" : value > 0.005 ? "+" : ""}${Math.abs(value).toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
const rate = (value) => (value === null || value === undefined ? null : `${(100 * value).toFixed(0)} %`);
const minutes = (seconds) => (seconds === null || seconds === undefined ? null : `${(seconds / 60).toFixed(1)} min`);

export function create(main) {
  let chosen = "live", stop = null, chart = null;
  const body = h("div", { role: "tabpanel", id: "scalp-tab", tabindex: "0" });
  const buttons = TABS.map(([name, title]) =>
    h("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "scalp-tab", onclick: () => choose(name) }, title),
  );
  main.replaceChildren(
    h(
      "section",
      { class: "card wide" },
      h("h2", {}, "Trading & execution: options scalps"),
      h("div", { class: "subtabs", role: "tablist", "aria-label": "Options scalps" }, buttons),
    ),
    h("section", { class: "card wide" }, body),
  );

  function choose(name) {
    chosen = name;
    if (stop) stop();
    if (chart) { chart.destroy(); chart = null; }
    TABS.forEach(([each], i) => buttons[i].setAttribute("aria-selected", String(each === name)));
    body.setAttribute("aria-labelledby", `tab-${name}`);
    body.replaceChildren(); // never the rows of another tab below this one's name
    const [path, draw] = { live: ["/api/position", live], picker: ["/api/picker", picker], history: ["/api/scalps", history], performance: ["/api/scalps", performance] }[name];
    let last = "";
    stop = poll(path, (page) => {
      const text = JSON.stringify(page);
      if (chosen === name && text !== last) { last = text; draw(page); }
    }, name === "live" ? 1 : 2);
  }

  const empty = (text) => body.replaceChildren(h("p", { class: "empty" }, text));

  /** @param {Answer<"/api/position">} page */
  function live(page) {
    const legs = (page.legs || []).filter((leg) => leg.expiry);
    if (!legs.length) { empty("No scalp is open. Open scalps appear here with the time they have left: scalpdesk run ema-scalper."); return; }
    const left = (leg) => (page.deadlines || []).find((row) => row.kind === "last_order" && row.symbols.includes(leg.symbol));
    body.replaceChildren(
      table(
        [
          { head: "Contract", class: "nowrap", cell: (leg) => leg.label },
          { head: "Held", class: "num", cell: (leg) => legTexts(leg).held },
          { head: "Entry", class: "num", cell: (leg) => legTexts(leg).entry },
          { head: "Now", class: "num", cell: (leg) => legTexts(leg).mark },
          { head: "Open P&L", class: "num", cell: (leg) => tinted(booked(leg.open_pnl), bookedTone(leg.open_pnl)) },
          { head: "Delta", class: "num narrow-gone", cell: (leg) => legTexts(leg).delta },
          { head: "Theta / d", class: "num narrow-gone", cell: (leg) => legTexts(leg).theta },
          { head: "Vol", class: "num narrow-gone", cell: (leg) => legTexts(leg).vol },
          { head: "Last order in", class: "num", cell: (leg) => { const row = left(leg); return row ? h("b", { class: isNear(row) ? "warn" : "" }, countdown(row.seconds)) : null; } },
        ],
        legs,
        { caption: "Live scalps" },
      ),
    );
  }

  /** @param {Answer<"/api/picker">} page */
  function picker(page) {
    if (page.empty || page.error) { empty(page.empty || page.error); return; }
    const side = (name, key, form) => (row) => (row[name] ? form(row[name][key]) : null);
    const price = (value) => plain(value, page.price_decimals), count = (value) => plain(value, 0);
    const delta = (name) => (row) => (row[name] ? heatCell(shown(signed(row[name].delta)), Math.abs(row[name].delta)) : null);
    const why = (name) => (row) => (row[name] ? (row[name].why ? h("span", { class: "muted" }, row[name].why) : h("b", {}, `score ${plain(row[name].score, 1)}`)) : null);
    body.replaceChildren(
      h("p", { class: "muted" }, `${page.underlying} ${plain(page.spot)}, expiry ${page.expiry} (${page.days} d), by ${page.rules}`),
      table(
        [
          { head: "Call", class: "narrow-gone", cell: why("call") },
          { head: "OI", class: "num narrow-gone", cell: side("call", "open_interest", count) },
          { head: "Spread", class: "num narrow-gone", cell: side("call", "spread", perCent) },
          { head: "Bid", class: "num", cell: side("call", "bid", price) },
          { head: "Ask", class: "num", cell: side("call", "ask", price) },
          { head: "Delta", class: "heat", cell: delta("call") },
          { head: "Strike", class: "num", cell: (row) => h("b", {}, plain(row.strike)) },
          { head: "Delta", class: "heat", cell: delta("put") },
          { head: "Bid", class: "num", cell: side("put", "bid", price) },
          { head: "Ask", class: "num", cell: side("put", "ask", price) },
          { head: "Spread", class: "num narrow-gone", cell: side("put", "spread", perCent) },
          { head: "OI", class: "num narrow-gone", cell: side("put", "open_interest", count) },
          { head: "Put", class: "narrow-gone", cell: why("put") },
        ],
        page.rows,
        { caption: "Strike picker" },
      ),
    );
    paintHeat(body);
  }

  function history(page) {
    const rows = page.history || [];
    if (!rows.length) { empty("No scalp has ended yet. Each appears here with its entry, exit and result."); return; }
    body.replaceChildren(
      table(
        [
          { head: "Entry (UTC)", class: "nowrap", cell: (row) => String(row.entry_time).replace("T", " ").slice(0, 19) },
          { head: "Contract", class: "nowrap", cell: (row) => row.option_symbol },
          { head: "Direction", class: "nowrap", cell: (row) => tinted(row.direction.replace("_", " "), row.option_type === "call" ? "up" : "down") },
          { head: "Contracts", class: "num", cell: (row) => String(row.contracts) },
          { head: "Paid", class: "num", cell: (row) => row.entry_premium.toFixed(2) },
          { head: "Sold", class: "num", cell: (row) => (row.exit_premium === null ? null : row.exit_premium.toFixed(2)) },
          { head: "P&L", class: "num", cell: (row) => tinted(money(row.pnl), tone(row.pnl)) },
          { head: "Exit", cell: (row) => row.exit_reason },
          { head: "Status", class: "narrow-gone", cell: (row) => row.status },
        ],
        rows,
        { caption: "Scalp history" },
      ),
    );
  }

  function performance(page) {
    const found = page.performance;
    if (!found || !found.total.scalps) { empty("No scalp has ended yet. Win rate and P&L by ticker, hour and conviction appear here."); return; }
    const plot = h("div", { class: "plot small" });
    const group = (title, rows) =>
      h(
        "div",
        {},
        h("h3", {}, title),
        table(
          [
            { head: title, cell: (row) => String(row.key) },
            { head: "Scalps", class: "num", cell: (row) => String(row.scalps) },
            { head: "Win rate", class: "num", cell: (row) => rate(row.win_rate) },
            { head: "P&L", class: "num", cell: (row) => tinted(money(row.pnl), tone(row.pnl)) },
            { head: "Held", class: "num", cell: (row) => minutes(row.average_hold_seconds) },
          ],
          rows,
          { caption: title },
        ),
      );
    const { total } = found;
    body.replaceChildren(
      facts([["Scalps", total.scalps], ["Win rate", rate(total.win_rate)], ["P&L", money(total.pnl), tone(total.pnl)], ["Held on average", minutes(total.average_hold_seconds)]]),
      found.cumulative.length > 1 ? plot : "",
      group("By ticker", found.by_ticker),
      group("By hour (New York)", found.by_hour),
      group("By conviction", found.by_conviction),
    );
    if (found.cumulative.length < 2) return;  // one session is no curve
    chart = new LineChart(plot, [{ label: "cumulative", colour: "up" }], { label: "Cumulative P&L of scalps by session", time: false, xValues: (_, splits) => splits.map((i) => found.cumulative[i]?.session ?? ""), yValues: signedNumber(0) });
    chart.set([found.cumulative.map((_, i) => i), found.cumulative.map((row) => row.cumulative_pnl)]);
  }

  choose("live");
  return { update() {}, restyle: () => chart?.restyle(), destroy: () => { if (stop) stop(); if (chart) chart.destroy(); } };
}
