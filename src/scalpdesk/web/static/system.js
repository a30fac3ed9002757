// System: is the machine well?

import { card, facts, fetchJson, h, poll, redraw, table, tinted } from "./dom.js";

const round = (value, digits = 1) => (value === null || value === undefined ? null : Number(value).toLocaleString("en-US", { maximumFractionDigits: digits }));
const withUnit = (value, unit, digits) => (round(value, digits) === null ? null : `${round(value, digits)} ${unit}`);

export function create(main) {
  const sentence = h("p", { class: "verdict" });
  const journal = h("div"), server = h("div"), desk = h("div"), notices = h("div"), odd = h("div"), alerts = h("div"), sent = h("div");
  main.replaceChildren(
    h("section", { class: "card wide" }, h("h2", {}, "Is the machine well?"), sentence),
    card("w8", "Open alerts", alerts),
    card("w4", "Latest messages", sent),
    card("w6", "Journal, as this page follows it", journal),
    card("w6", "This page's server", server),
    card("w6", "Desk, by its own answer", desk),
    card("w6", "Notices and differences", notices),
    card("wide", "Oddities among quotes", odd),
  );

  let waiting = 0;

  /** @param {Answer<"/api/metrics">} page */
  function draw(page) {
    if (page.error) { sentence.replaceChildren(page.error); return; }
    const { run, server: own } = page, told = /** @type {any} */ (page.desk);
    const problems = [run?.problem, own.problem].filter(Boolean);
    const open = waiting ? `Look: ${waiting} alert${waiting > 1 ? "s are" : " is"} open. ` : "";
    sentence.replaceChildren(
      problems.length ? problems.join("; ") : !run ? "No run is followed yet. Start one with: scalpdesk demo" : run.running ? `${open || "Yes: "}${run.run_id} runs, its journal grew ${round(run.journal_age_seconds)} s ago.` : run.cut ? `${run.run_id} was ${run.cut}.` : run.sealed ? `${run.run_id} has ended; nothing is wrong with its journal.` : `No: ${run.run_id} does not run, and its journal is not closed.`,
    );
    journal.replaceChildren(
      facts(run ? [
        ["Run", run.run_id], ["Events", round(run.events, 0)], ["Journal read", withUnit(run.journal_bytes / 1e6, "MB", 2)], ["Marks", run.marks],
        ["Quote's age", withUnit(run.data_age_seconds, "s")], ["Journal's age", withUnit(run.journal_age_seconds, "s")],
        ["Market seconds a second", round(run.speed)], ["Strategy woken", round(run.evaluations, 0)],
        ["Order to final state, median", withUnit(run.order_latency?.p50_ms, "ms", 2)], ["99 %", withUnit(run.order_latency?.p99_ms, "ms", 2)],
      ] : [["Run", null]]),
    );
    server.replaceChildren(
      facts([
        ["Version", own.version], ["Open streams", own.clients], ["States published", round(own.published_states, 0)], ["Dropped for slow clients", own.dropped_states],
        ["To make a state, median", withUnit(own.publish_ms_p50, "ms", 2)], ["99 %", withUnit(own.publish_ms_p99, "ms", 2)], ["Memory", withUnit(own.resident_bytes / 1e6, "MB", 0)],
      ]),
    );
    const streams = told?.connection?.streams ? Object.entries(told.connection.streams).map(([name, up]) => `${name} ${up ? "up" : "DOWN"}`).join(", ") : null;
    desk.replaceChildren(
      told && !told.error
        ? facts([["Account", told.account], ["Mode", told.mode], ["Phase", told.phase], ["Streams", streams], ["Reconciled", told.reconciled ? `${new Date(told.reconciled).toLocaleTimeString("en-GB", { timeZone: "America/New_York" })} ET` : null], ["Recovered in", withUnit(told.recovered_seconds, "s")], ...Object.entries(told.counters || {}).map(([name, count]) => [name.replaceAll("_", " ").replaceAll("/", ", "), count])])
        : h("p", { class: "empty" }, told?.error ? `${told.error}.` : "No desk runs, or it does not answer: scalpdesk status."),
    );
    const lines = [...(told?.differences || []), ...(told?.quarantine || []), ...(told?.notices || [])];
    notices.replaceChildren(lines.length ? h("ul", {}, lines.map((line) => h("li", {}, line))) : h("p", { class: "empty" }, "None."));
    const oddities = Object.entries(run?.quote_oddities || {});
    odd.replaceChildren(
      oddities.length
        ? table([{ head: "Condition", cell: (row) => row[0].replaceAll("_", " ") }, { head: "Quotes", class: "num", cell: (row) => round(row[1], 0) }], oddities, { caption: "Oddities among quotes" })
        : h("p", { class: "empty" }, "None."),
    );
  }

  const acknowledge = async (key) => {
    const { ok, body } = await fetchJson("/api/alerts/acknowledge", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ key }) });
    if (ok) { stopAlerts.now(); return; }
    alerts.append(h("p", { class: "note dangerous", role: "status" }, `${body.error}. Log in above, or type: scalpdesk alerts ack`));
  };

  /** @param {Answer<"/api/alerts">} page */
  function drawAlerts(page) {
    const { open = [], is_sent: isSent } = page;
    waiting = open.filter((row) => !row.acknowledged).length;
    const last = /** @type {HTMLElement | null} */ (alerts.firstChild)?.dataset?.shown, shown = JSON.stringify(open.map(({ held, ...row }) => row));
    alerts.querySelectorAll("[data-key]").forEach((cell) => { cell.textContent = open.find((row) => row.key === cell.dataset.key)?.held ?? ""; });
    if (last !== shown) {  // not under a finger that is about to press
      const list = open.length
        ? table(
            [
              { head: "Level", cell: (row) => tinted(row.level.toUpperCase(), row.level === "alarm" ? "dangerous" : "warn", true) },
              { head: "What happened; what the desk did; what is asked", cell: (row) => [h("div", {}, row.what), h("div", { class: "muted" }, `The desk: ${row.did}`), h("div", {}, `Please: ${row.asked}`)] },
              { head: "For", class: "nowrap narrow-gone", cell: (row) => h("span", { "data-key": row.key }, row.held) },
              { head: "Acknowledged", cell: (row) => row.acknowledged || h("button", { type: "button", onclick: () => acknowledge(row.key) }, "Acknowledge") },
            ],
            open,
            { caption: "Open alerts" },
          )
        : h("p", { class: "empty" }, "None.");
      list.dataset.shown = shown;
      alerts.replaceChildren(
        list,
        waiting > 1 ? h("p", {}, h("button", { type: "button", onclick: () => acknowledge("") }, `Acknowledge all ${waiting}`)) : "",
        h("p", { class: "note" }, isSent === true ? "A watcher sends these." : isSent === false ? "No message is sent: credentials.alert_urls has no address. This page judges by the same rules." : "Not judged yet."),
      );
    }
    redraw(
      sent,
      page.sent?.length
        ? h("ul", {}, page.sent.slice(0, 8).map((row) => h("li", {}, h("span", { class: "muted" }, `${row.ago} ago `), row.text.split("\n")[0])))
        : h("p", { class: "empty" }, "None."),
    );
  }

  const stop = poll("/api/metrics", draw, 1), stopAlerts = poll("/api/alerts", drawAlerts, 1);
  return { update() {}, destroy() { stop(); stopAlerts(); } };
}
