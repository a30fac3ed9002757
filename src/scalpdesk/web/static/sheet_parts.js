// Parts of every tear sheet: its data, head, keys, charts and the tables that open.

import { LineChart, withoutNights } from "./charts.js";
import { h, shown, table } from "./dom.js";

export const data = JSON.parse(document.getElementById("data").textContent || "");
const drawn = [];

export const holder = (kind, label) => h("div", { class: `plot ${kind}`, role: "group", "aria-label": label });
export const keyOf = (text, tone, dash) => h("span", { class: `${tone} ${dash ? "dash" : ""}` }, text);
export const keys = (...items) => h("div", { class: "legend" }, items);

// A chart is drawn once its holder stands in the page, see finish().
export function chart(host, lines, options, series) {
  const found = new LineChart(host, lines, options);
  drawn.push(() => found.set(series));
}

// The same over the times of several sessions, which stand side by side.
export function chartOfSessions(host, lines, options, [times, ...columns]) {
  const nights = withoutNights(times);
  chart(host, lines, { ...options, ...nights?.options }, [nights ? times.map(nights.to) : times, ...columns]);
}

export const sheetHead = () =>
  h(
    "header",
    { class: "sheet-head" },
    h("div", {}, h("h1", {}, data.title), h("p", { class: "muted" }, data.subtitle)),
    h("div", { class: "result" }, h("b", { class: data.result_tone }, data.result), h("span", { class: "muted" }, `${data.currency}. ${data.result_note}`)),
  );

export const whatWasRun = (width) =>
  h(
    "section",
    { class: `card ${width}` },
    h("h2", {}, "What was run"),
    h("dl", { class: "what" }, data.facts.flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, shown(text))])),
    data.warnings?.length ? h("div", { class: "warnings" }, data.warnings.map((text) => h("p", {}, text))) : null,
  );

export const figures = (pairs) =>
  h("dl", { class: "greeks" }, pairs.map(([name, text]) => h("div", {}, h("dt", {}, name), h("dd", {}, shown(text)))));

export const command = () => (data.command ? h("p", { class: "command" }, "Reproduce: ", h("code", {}, data.command)) : null);

export const folded = (name, columns, rows) =>
  h("details", { class: "card wide" }, h("summary", {}, `${name} (${rows.length})`), table(columns, rows, { caption: name }));

export function finish() {
  drawn.forEach((draw) => draw());
  document.documentElement.dataset.drawn = "yes";
}
