// System: is the machine well?

import { card, facts, h, poll, table } from "./dom.js";

const round = (value, digits = 1) => (value === null || value === undefined ? null : Number(value).toLocaleString("en-US", { maximumFractionDigits: digits }));
const withUnit = (value, unit, digits) => (round(value, digits) === null ? null : `${round(value, digits)} ${unit}`);

export function create(main) {
  const sentence = h("p", { class: "verdict" });
  const journal = h("div"), server = h("div"), desk = h("div"), notices = h("div"), odd = h("div");
  main.replaceChildren(
    h("section", { class: "card wide" }, h("h2", {}, "Is the machine well?"), sentence),
    card("w6", "Journal, as this page follows it", journal),
    card("w6", "This page's server", server),
    card("w6", "Desk, by its own answer", desk),
    card("w6", "Notices and differences", notices),
    card("wide", "Oddities among quotes", odd),
  );

  function draw(page) {
    if (page.error) { sentence.replaceChildren(page.error); return; }
    const { run, server: own, desk: told } = page;
    const problems = [run?.problem, own.problem].filter(Boolean);
    sentence.replaceChildren(
      problems.length ? problems.join("; ") : !run ? "No run is followed yet. Start one with: scalpdesk demo" : run.running ? `Yes: ${run.run_id} runs, its journal grew ${round(run.journal_age_seconds)} s ago.` : `${run.run_id} has ended; nothing is wrong with its journal.`,
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
        ? facts([["Account", told.account], ["Mode", told.mode], ["Phase", told.phase], ["Streams", streams], ["Reconciled", told.reconciled], ["Recovered in", withUnit(told.recovered_seconds, "s")], ...Object.entries(told.counters || {}).map(([name, count]) => [name.replaceAll("_", " "), count])])
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

  const stop = poll("/api/metrics", draw, 1);
  return { update() {}, destroy: stop };
}
