// Runs: which result do I believe?

import { LineChart, signedNumber } from "./charts.js";
import { card, fetchJson, h, poll, table, tinted } from "./dom.js";

const TONES = ["text", "up", "down", "muted"];

export function create(main) {
  const sentence = h("p", { class: "verdict" }, "Loading the runs on record.");
  const list = h("div"), compared = h("div"), plot = h("div", { class: "plot mid" }), legend = h("div", { class: "legend" });
  main.replaceChildren(
    h("section", { class: "card wide" }, h("h2", {}, "Which result do I believe?"), sentence),
    card("wide", "Runs, the newest first", list),
    card("w8", "P&L of the chosen runs, by minutes since their first mark", legend, plot),
    card("w4", "Side by side", compared),
  );
  let chosen = [], chart = null, last = "", rows = [];

  async function drawCompared() {
    const found = (await Promise.all(chosen.map((id) => fetchJson(`/api/runs/${id}`)))).filter((each) => each.ok).map((each) => each.body);
    if (chart) { chart.destroy(); chart = null; }
    plot.replaceChildren();
    legend.replaceChildren(...found.map((run, i) => h("span", { class: TONES[i] }, run.run_id)));
    if (!found.length) {
      compared.replaceChildren(h("p", { class: "empty" }, "Choose up to four runs in the table."));
      return;
    }
    const stamps = [...new Set(found.flatMap((run) => run.columns.t.map((t) => Math.round((t - run.columns.t[0]) / 60))))].sort((a, b) => a - b);
    const columns = found.map((run) => {
      const at = new Map(run.columns.t.map((t, i) => [Math.round((t - run.columns.t[0]) / 60), run.columns.pnl[i]]));
      let value = null;
      return stamps.map((minute) => { if (at.has(minute)) value = at.get(minute); return value; });
    });
    chart = new LineChart(plot, found.map((run, i) => ({ label: run.run_id, colour: TONES[i] })), {
      label: "P&L of the chosen runs", time: false, xValues: (_, splits) => splits.map((minute) => `${minute} min`), yValues: signedNumber(0), axisWidth: 60,
    });
    chart.set([stamps, ...columns]);
    compared.replaceChildren(
      table(
        [
          { head: "Part", cell: (name) => name.replace("_", " ") },
          ...found.map((run, i) => ({ head: `run ${i + 1}${run.currency === "USD" ? "" : `, ${run.currency}`}`, class: "num", cell: (name) => (name === "total" ? run.pnl : run.parts[name]) })),
        ],
        ["total", ...Object.keys(found[0].parts)],
        { caption: "Runs side by side" },
      ),
      ...found.flatMap((run, i) => (run.parity ? [
        h("p", { class: "verdict" }, `run ${i + 1}, ${run.parity.headline}`),
        table(
          [{ head: "Live less backtest", cell: ([name]) => name }, { head: run.currency, class: "num", cell: ([, amount]) => amount }],
          Object.entries(run.parity.parts),
          { caption: `Parts of the parity of run ${i + 1}` },
        ),
      ] : [])),
    );
  }

  function draw(page) {
    const text = JSON.stringify(page);
    if (text === last) return;
    last = text;
    rows = page.runs || [];
    const odd = Object.keys(page.unreadable || {}).length;
    sentence.replaceChildren(
      page.empty || page.error || `${page.total} run${page.total === 1 ? "" : "s"} on record${odd ? `, ${odd} unreadable` : ""}. Equal decision hashes are equal decisions.`,
    );
    if (!chosen.length && rows.length) { chosen = [rows[0].run_id]; drawCompared(); }
    list.replaceChildren(
      table(
        [
          { head: "Shown", cell: (row) => { const box = h("input", { type: "checkbox", "aria-label": `Show ${row.run_id}` }); box.checked = chosen.includes(row.run_id); box.addEventListener("change", () => toggle(row.run_id, box)); return box; } },
          { head: "Run", class: "nowrap", cell: (row) => (row.sealed ? row.run_id : [row.run_id, " ", h("span", { class: "warn" }, row.cut || "not over")]) },
          { head: "Strategy", class: "narrow-gone", cell: (row) => row.strategy },
          { head: "Mode", class: "narrow-gone", cell: (row) => row.mode },
          { head: "Market", class: "narrow-gone", cell: (row) => row.market },
          { head: "Session", class: "nowrap narrow-gone", cell: (row) => row.session },
          { head: "Hedges", class: "num narrow-gone", cell: (row) => String(row.hedges) },
          { head: "Fills", class: "num narrow-gone", cell: (row) => String(row.fills) },
          { head: "P&L", class: "num", cell: (row) => [tinted(row.pnl, row.pnl_tone), ...(row.currency === "USD" ? [] : [` ${row.currency}`])] },
          { head: "Settings", class: "narrow-gone breaks", cell: (row) => row.settings.join(", ") || "defaults" },
          { head: "Decisions", class: "narrow-gone", cell: (row) => h("code", {}, row.decision_hash.slice(0, 8)) },
          { head: "Records", class: "nowrap", cell: (row) => [h("a", { href: `/orders?run=${row.run_id}` }, "orders"), " ", h("a", { href: `/why?run=${row.run_id}` }, "why")] },
        ],
        rows,
        { caption: "Runs" },
      ),
    );
  }

  function toggle(id, box) {
    chosen = chosen.includes(id) ? chosen.filter((each) => each !== id) : [...chosen, id].slice(-4);
    if (!chosen.includes(id)) box.checked = false;
    last = "";
    drawCompared();
  }

  const stop = poll("/api/runs", draw, 30);
  return { update() {}, restyle: () => chart?.restyle(), destroy: () => { stop(); if (chart) chart.destroy(); } };
}
