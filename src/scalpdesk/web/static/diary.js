// Diary: when does it earn, and what was noted?

import { card, fetchJson, h, namedRun, poll, redraw, table, tinted } from "./dom.js";
import { columnsOf, newYork, perCent, places, signed, toneOf } from "./figures.js";

const WEEK = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const TABLES = [["months", "Month"], ["weekdays", "Weekday"], ["hours", "Hour, New York"], ["days_to_expiry", "Days to expiry"], ["regimes", "Regime"]];
const amount = (row) => Math.abs(Number(row.pnl));

export function create(main) {
  const sentence = h("p", { class: "verdict" }, "Loading the diary.");
  const days = h("div"), trades = h("div"), notes = h("div"), note = h("div");
  const hosts = Object.fromEntries(TABLES.map(([name]) => [name, h("div")]));
  const field = h("input", { type: "search", id: "search", "aria-label": "Runs of the diary by words", placeholder: "all runs with these words: live, #tag, 2026-11..2026-12" });
  main.replaceChildren(
    h("section", { class: "card wide" }, h("h2", {}, "When does it earn?"), sentence, h("div", { class: "controls-row" }, field)),
    card("w8", "P&L by day", days, note),
    card("w4", "By month and by regime", hosts.months, hosts.regimes),
    ...TABLES.slice(1, 4).map(([name, title]) => card("w4", `By ${title.charAt(0).toLowerCase()}${title.slice(1)}`, hosts[name])),
    card("wide", "Trades and their edge", trades),
    card("wide", "Notes", notes),
  );
  let last = "", page = {}, waiting = 0;
  const signedText = (text) => signed(Number(text), page.decimals), tone = (text) => toneOf(Number(text), page.decimals);

  function draw(found) {
    const text = JSON.stringify(found);
    if (text === last || document.activeElement?.closest(".noting input, .noting textarea")) return;
    last = text;
    page = found;
    if (found.error || !found.runs.length) {
      sentence.replaceChildren(found.error || (field.value.trim() ? "No run has all of these words." : "No run yet. scalpdesk demo makes the first."));
      return;
    }
    const left = Object.keys(found.left_out).length;
    sentence.replaceChildren(
      tinted(signedText(found.total), tone(found.total), true),
      ` ${found.currency} in ${found.days.length} session${found.days.length === 1 ? "" : "s"} of ${found.runs.length === 1 ? `run ${found.runs[0]}` : `${found.runs.length} runs`} (${found.account})${left ? `; left out: ${Object.entries(found.left_out).map(([run, why]) => `${run}, ${why}`).join("; ")}` : ""}.`,
    );
    days.replaceChildren(...months(found.days));
    for (const [name, title] of TABLES) hosts[name].replaceChildren(byName(found[name], title));
    redraw(trades, table(
      [
        { head: "P&L", class: "num", cell: (row) => tinted(signedText(row.pnl), tone(row.pnl)) },
        ...(found.runs.length > 1 ? [{ head: "Run", class: "nowrap narrow-gone", cell: (row) => row.run_id }] : []),
        { head: "Trade", cell: (row) => `${row.number}: ${row.structure ?? row.legs.map((leg) => `${Number(leg.quantity)} ${leg.symbol}`).join(", ")}` },
        ...columnsOf(found.trade_columns.filter(({ name }) => name !== "pnl"), page.decimals),
      ],
      found.trades,
      { caption: "Trades and their edge", key: (row) => `${row.run_id} ${row.number}`, open: opened },
    ));
    notes.replaceChildren(found.notes.length
      ? table(
        [
          { head: "Of", class: "nowrap", cell: (row) => `${row.kind} ${row.name}`.trim() },
          { head: "Tags", cell: (row) => row.tags.map((tag) => `#${tag}`).join(" ") },
          { head: "Note", class: "breaks", cell: (row) => row.note },
          { head: "Run", class: "narrow-gone nowrap", cell: (row) => row.run_id },
        ],
        found.notes,
        { caption: "Notes" },
      )
      : h("p", { class: "empty" }, "Nothing is noted. Open a trade, or press a day."));
  }

  // each month as weeks of days; a day's colour is deeper, the larger its amount
  /** @param {Shapes["CalendarRow"][]} rows */
  function months(rows) {
    const largest = Math.max(...rows.map(amount), 1e-9);
    const byMonth = Map.groupBy ? Map.groupBy(rows, (row) => row.name.slice(0, 7)) : grouped(rows);
    return [...byMonth].map(([month, list]) => {
      const [year, number] = month.split("-").map(Number);
      const byDay = new Map(list.map((row) => [Number(row.name.slice(8)), row]));
      const first = (new Date(Date.UTC(year, number - 1, 1)).getUTCDay() + 6) % 7;
      const count = new Date(Date.UTC(year, number, 0)).getUTCDate();
      const cells = [...Array(first).fill(null), ...Array.from({ length: count }, (_, i) => i + 1)];
      while (cells.length % 7) cells.push(null);
      const weeks = Array.from({ length: cells.length / 7 }, (_, i) => cells.slice(7 * i, 7 * i + 7));
      return h("table", { class: "calendar" },
        h("caption", {}, month),
        h("thead", {}, h("tr", {}, WEEK.map((day) => h("th", { scope: "col" }, day)))),
        h("tbody", {}, weeks.map((week) => h("tr", {}, week.map((day) => dayCell(day, byDay.get(day), largest))))),
      );
    });
  }

  /** @param {Shapes["CalendarRow"][]} rows */
  function grouped(rows) {
    const found = new Map();
    for (const row of rows) found.set(row.name.slice(0, 7), [...(found.get(row.name.slice(0, 7)) || []), row]);
    return found;
  }

  /** @param {number | null} day @param {Shapes["CalendarRow"] | undefined} row @param {number} largest */
  function dayCell(day, row, largest) {
    if (!day) return h("td", {});
    if (!row) return h("td", {}, h("small", {}, String(day)));
    const isNoted = page.notes.some((each) => each.kind === "day" && each.name === row.name);
    const cell = h("td", {}, h("button", { type: "button", "aria-label": `${row.name}: ${signedText(row.pnl)}`, onclick: () => noteDay(row) },
      h("small", {}, `${day}${isNoted ? " ✎" : ""}`),
      h("span", { class: "narrow-gone" }, signedText(row.pnl)),
      h("span", { class: "wide-gone" }, signed(Number(row.pnl), places(page.currency)))));  // a phone has no room for cents
    if (tone(row.pnl) !== "muted") {
      const share = Math.round(8 + 22 * (amount(row) / largest));
      /** @type {HTMLElement} */ (cell.firstChild).style.background = `color-mix(in srgb, var(--${tone(row.pnl)}) ${share}%, transparent)`;
    }
    return cell;
  }

  /** @param {Shapes["CalendarRow"]} row */
  function noteDay(row) {
    const run = page.runs.length === 1 ? page.runs[0] : null;
    note.replaceChildren(run
      ? form({ run, day: row.name }, "day", row.name)
      : h("p", { class: "muted" }, "A day is noted with its run: pick the run beside the tabs, or search for it alone."));
    note.querySelector("input")?.focus();
  }

  /** @param {Shapes["JournalTrade"]} row */
  function opened(row) {
    return h("div", {},
      h("p", {}, `${newYork(row.opened_ns)}, ${row.days_to_expiry} days to expiry: ${row.entry}.`),
      h("p", {}, row.closed_ns ? `${newYork(row.closed_ns)}: ${row.exit}.` : "It is held."),
      row.worth_note ? h("p", {}, `Worth later: ${row.worth_note}.`) : null,
      form({ run: row.run_id, trade: row.number }, "trade", String(row.number)),
    );
  }

  function form(of, kind, name) {
    const known = page.notes.find((each) => each.run_id === of.run && each.kind === kind && each.name === name) || { tags: [], note: "" };
    const tags = h("input", { type: "text", "aria-label": `Tags of ${kind} ${name}`, placeholder: "tags" });
    const text = h("textarea", { rows: "2", "aria-label": `Note of ${kind} ${name}`, placeholder: "note", maxlength: "4000" });
    const told = h("small", { role: "status" });
    tags.value = known.tags.join(" ");
    text.value = known.note;
    const save = async () => {
      const words = { ...of, tags: tags.value.split(/[\s,]+/).filter(Boolean), note: text.value };
      const { ok, status, body } = await fetchJson("/api/notes", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(words) });
      told.replaceChildren(ok ? "kept" : status === 401 || status === 403 ? "Log in as operator to write." : `${body.error}. ${body.fix || ""}`);
      if (ok) stop.now();
    };
    const element = h("div", { class: "noting" }, h("p", {}, `${kind} ${name}`), tags, text, h("button", { type: "button", onclick: save }, "Keep"), told);
    for (const kept of ["click", "keydown"]) element.addEventListener(kept, (event) => event.stopPropagation());
    return element;
  }

  const byName = (rows, title) => (rows.length
    ? table(
      [
        { head: title, class: "nowrap", cell: (row) => row.name },
        { head: "P&L", class: "num", cell: (row) => tinted(signedText(row.pnl), tone(row.pnl)) },
        { head: rows[0].trades === null ? "Sessions" : "Trades", class: "num", cell: (row) => row.trades ?? row.sessions },
        { head: "Won", class: "num", cell: (row) => perCent(row.hit_rate, 0) },
      ].slice(0, rows[0].sessions !== null ? 4 : rows[0].trades !== null ? 3 : 2),
      rows,
      { caption: `P&L by ${title}` },
    )
    : h("p", { class: "empty" }, "Nothing was earned or lost yet."));

  const stop = poll(() => `/api/diary?${new URLSearchParams({ ...(namedRun() && !field.value.trim() ? { run: namedRun() } : {}), search: field.value.trim() })}`, draw, 30);
  field.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(() => { last = ""; stop.now(); }, 300); });
  return { update() {}, destroy: () => { stop(); clearTimeout(waiting); } };
}
