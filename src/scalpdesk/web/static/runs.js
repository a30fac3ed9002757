// Runs: which result do I believe?

import { LineChart, signedNumber } from "./charts.js";
import { card, facts, fetchJson, h, poll, redraw, table, tinted } from "./dom.js";
import { plain, signed, toneOf } from "./figures.js";
import { modelTable, pathStrip, rerunText } from "./reruns.js";

const SORTS = [["newest", "Newest first"], ["pnl", "Best P&L first"], ["sharpe", "Best Sharpe first"], ["drawdown", "Least drawdown first"], ["sessions", "Most sessions first"], ["fills", "Most fills first"]];
const TONES = ["text", "up", "down", "muted"];
const SHOWN = 100;  // runs that the list begins with, and that a press of its button adds
const MOST_MINUTES = 2880;  // of a chart in minutes: a longer one is in days
const amount = (text, run) => signed(Number(text), run.decimals);

export function create(main) {
  const sentence = h("p", { class: "verdict" }, "Loading the runs on record.");
  const list = h("div", { class: "runs" }), compared = h("div"), plot = h("div", { class: "plot mid" }), legend = h("div", { class: "legend" });
  const field = h("input", { type: "search", id: "search", "aria-label": "Search the runs", placeholder: "strategy, market, setting, state, #tag, note" });
  const sort = h("select", { "aria-label": "Order of the runs" }, SORTS.map(([name, text]) => h("option", { value: name }, text)));
  let limit = SHOWN;
  const more = h("button", { type: "button", onclick: () => { limit += SHOWN; again(); } }, "More runs");
  more.hidden = true;
  main.replaceChildren(
    h("section", { class: "card wide" }, h("h2", {}, "Which result do I believe?"), sentence),
    card("wide", "Runs", h("div", { class: "controls-row" }, field, sort), list, more),
    card("w8", "P&L of the chosen runs, by time since their first mark", legend, plot),
    card("w4", "Side by side", compared),
  );
  let chosen = [], chart = null, last = "", rows = [], waiting = 0;
  const opened = new Set();

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
    const isDays = stamps.at(-1) > MOST_MINUTES;
    chart = new LineChart(plot, found.map((run, i) => ({ label: run.run_id, colour: TONES[i] })), {
      label: "P&L of the chosen runs", time: false, xValues: (_, splits) => splits.map((each) => `${each} ${isDays ? "d" : "min"}`), yValues: signedNumber(0), axisWidth: 60,
    });
    chart.set([isDays ? stamps.map((minute) => minute / 1440) : stamps, ...columns]);
    redraw(
      compared,
      table(
        [
          { head: "Part", cell: (name) => name.replace("_", " ") },
          ...found.map((run, i) => ({ head: `run ${i + 1}${run.currency === "USD" ? "" : `, ${run.currency}`}`, class: "num", cell: (name) => amount(name === "total" ? run.pnl : run.parts[name], run) })),
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

  /** @param {Answer<"/api/runs">} page */
  function draw(page) {
    const text = JSON.stringify(page);
    if (text === last || document.activeElement?.closest(".noting input, .noting textarea")) return;  // somebody writes
    last = text;
    rows = page.runs || [];
    const odd = Object.keys(page.unreadable || {}).length;
    const asked = field.value.trim() ? `${page.found ?? 0} of ` : "";
    more.hidden = !(page.found > rows.length);
    const shown = more.hidden ? "" : ` The list shows ${rows.length}.`;
    sentence.replaceChildren(
      page.empty || page.error || `${asked}${page.total} run${page.total === 1 ? "" : "s"} on record${odd ? `, ${odd} unreadable` : ""}. Equal decision hashes are equal decisions.${shown}`,
    );
    if (!chosen.length && rows.length) { chosen = [rows[0].run_id]; drawCompared(); }
    const focused = list.contains(document.activeElement) ? /** @type {HTMLElement} */ (document.activeElement).dataset.focus : undefined;
    redraw(
      list,
      table(
        [
          { head: "P&L", class: "num pnl", cell: (row) => [tinted(amount(row.pnl, row), toneOf(Number(row.pnl), row.decimals)), ...(row.currency === "USD" ? [] : [` ${row.currency}`])] },
          { head: "Run", cell: told },
          { head: "Sessions traded", class: "num narrow-gone", cell: (row) => row.sessions_traded },
          { head: "Sharpe", class: "num narrow-gone", cell: (row) => plain(row.sharpe) },
          { head: "Max drawdown, marks", class: "num narrow-gone", cell: (row) => row.drawdown_of_marks && plain(Number(row.drawdown_of_marks), row.decimals) },
          { head: "Fills", class: "num narrow-gone", cell: (row) => String(row.fills) },
          { head: "Played, New York", class: "nowrap narrow-gone", cell: (row) => row.played },
          { head: "State", class: "narrow-gone", cell: (row) => state(row) },
          { head: "Show", class: "num", cell: (row) => { const box = h("input", { type: "checkbox", "aria-label": `Show ${row.run_id}`, "data-focus": `show ${row.run_id}` }); box.checked = chosen.includes(row.run_id); box.addEventListener("change", () => toggle(row.run_id, box)); return box; } },
        ],
        rows,
        { caption: "Runs" },
      ),
    );
    if (!rows.length && !page.empty) list.replaceChildren(h("p", { class: "empty" }, "No run has all of these words."));
    if (focused) [...list.querySelectorAll("[data-focus]")].find((each) => each.dataset.focus === focused)?.focus({ preventScroll: true });
  }

  const state = (row) => (row.state === "ended" ? row.state : h("span", { class: "warn" }, row.cut || row.state));

  // strategy and market in one line; the rest is folded
  /** @param {Shapes["ListedRun"]} row */
  function told(row) {
    const summary = h("summary", { "data-focus": `more ${row.run_id}` }, [row.strategy, row.underlying].filter(Boolean).join(", "));
    const more = h("details", {}, summary, facts([
      ["Run", row.run_id],
      ["State", row.cut || row.state],
      ["Played, New York", row.played],
      ["Started (UTC)", row.started],
      ["Mode", row.mode],
      ["Market", row.market],
      ["Sessions traded", row.sessions_traded],
      ["Sharpe", plain(row.sharpe) ?? "fewer than 5 sessions traded"],
      ["Max drawdown of marks", row.drawdown_of_marks && plain(Number(row.drawdown_of_marks), row.decimals)],
      ["Max drawdown of closes", row.drawdown && plain(Number(row.drawdown), row.decimals)],
      ["Fills", row.fills],
      ["Hedges", row.hedges],
      ["Seed", row.seed],
      ["Decisions", row.decision_hash.slice(0, 12)],
    ]), h("p", { class: "breaks" }, `Settings: ${row.settings.join(", ") || "defaults"}`));
    const id = encodeURIComponent(row.run_id), again = rerunBlock(row.run_id);
    more.open = opened.has(row.run_id);
    more.addEventListener("toggle", () => { if (more.open) { opened.add(row.run_id); again.show(); } else opened.delete(row.run_id); });
    more.append(noteForm(row), again.element);
    return [
      more,
      ...(row.tags.length ? [h("small", {}, row.tags.map((tag) => `#${tag} `))] : []),
      h("small", { class: "wide-gone" }, [row.played, " ", row.state === "ended" ? "" : state(row)]),
      h("div", { class: "links" },
        h("a", { href: `/api/runs/${id}/sheet` }, "tear sheet"),
        h("a", { href: `/?run=${id}` }, "replay"),
        h("a", { href: `/orders?run=${id}` }, "orders"),
        h("a", { href: `/why?run=${id}` }, "why"),
      ),
    ];
  }

  // the run again under other fill models and on redrawn paths, and how far that is
  function rerunBlock(run) {
    const told = h("small", { role: "status" }), results = h("div"), buttons = h("div", { class: "controls-row" });
    const element = h("div", { class: "again" }, buttons, told, results);
    const path = `/api/runs/${encodeURIComponent(run)}/reruns`;
    const ask = async (where, words) => {
      const { ok, status, body } = await fetchJson(where, words && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(words) });
      if (ok) drawRerun(body);
      else told.replaceChildren(status === 401 || status === 403 ? "Log in as operator to run it again." : `${body.error}. ${body.fix || ""}`);
    };
    const button = (text, where, words) => h("button", { type: "button", onclick: () => ask(where, words) }, text);
    /** @param {Shapes["RerunsPage"]} page */
    function drawRerun(page) {
      const isRunning = page.state === "running", { can } = page;
      /** @type {[boolean, string, any][]} */
      const ways = [
        [can.fill_models, "Run again: other fill models", { fill_models: true, paths: 0 }],
        [can.paths, "Run again: 20 redrawn paths", { fill_models: false, paths: 20 }],
      ];
      buttons.replaceChildren(...(isRunning ? [button("Cancel", `${path}/cancel`, {})] : ways.filter(([isPossible]) => isPossible).map(([, text, words]) => button(text, path, words))));
      told.replaceChildren(page.refusal || rerunText(page), ...(page.refusal ? [] : [" ", h("code", {}, page.command)]));
      redraw(results, page.models ? modelTable(page.models) : "", page.paths ? pathStrip(page.paths) : "");
      if (isRunning) setTimeout(() => element.isConnected && ask(path), 1000);
    }
    return { element, show: () => ask(path) };
  }

  // what a person notes of the run; of its days and trades the lines
  /** @param {Shapes["ListedRun"]} row */
  function noteForm(row) {
    const tags = h("input", { type: "text", "aria-label": `Tags of ${row.run_id}`, placeholder: "tags" });
    const note = h("textarea", { rows: "2", "aria-label": `Note of ${row.run_id}`, placeholder: "note", maxlength: "4000" });
    const told = h("small", { role: "status" });
    tags.value = row.tags.join(" ");
    note.value = row.note;
    const save = async () => {
      const words = { run: row.run_id, tags: tags.value.split(/[\s,]+/).filter(Boolean), note: note.value };
      const { ok, status, body } = await fetchJson("/api/notes", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(words) });
      told.replaceChildren(ok ? "kept" : status === 401 || status === 403 ? "Log in as operator to write." : `${body.error}. ${body.fix || ""}`);
      if (ok) again();
    };
    return h("div", { class: "noting" }, row.noted.map((line) => h("p", {}, line)), tags, note, h("button", { type: "button", onclick: save }, "Keep"), told);
  }

  function toggle(id, box) {
    chosen = chosen.includes(id) ? chosen.filter((each) => each !== id) : [...chosen, id].slice(-4);
    if (!chosen.includes(id)) box.checked = false;
    last = "";
    drawCompared();
  }

  const stop = poll(() => `/api/runs?${new URLSearchParams({ search: field.value.trim(), sort: sort.value, limit: String(limit) })}`, draw, 30);
  const again = () => { last = ""; stop.now(); };
  field.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(again, 200); });
  sort.addEventListener("change", again);
  return { update() {}, restyle: () => chart?.restyle(), destroy: () => { stop(); clearTimeout(waiting); if (chart) chart.destroy(); } };
}
