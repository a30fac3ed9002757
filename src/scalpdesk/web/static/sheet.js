// The tear sheet: what a run came to, from the data in the file itself.

import { costSentence, plainNumber, signedNumber, triangles, waterfall, withoutNights } from "./charts.js";
import { add, h, pieces, shown, table, tinted } from "./dom.js";
import { columnsOf, newYork } from "./figures.js";
import { modelTable, pathStrip } from "./reruns.js";
import { chart, chartOfSessions, command, data, figures, finish, folded, holder, keyOf, keys, sheetHead, whatWasRun } from "./sheet_parts.js";

const { columns } = data;
const below = (_, low, high) => [Math.min(0, low ?? 0) * 1.08, Math.max(0, high ?? 1) * 1.08 || 1];

function withParts(name, rows, columnsBefore) {
  const amounts = [{ head: "P&L", class: "num", cell: (row) => tinted(row.pnl, row.tone) }, ...data.part_names.map((head, place) => ({ head, class: "num", cell: (row) => row.parts[place] }))];
  return folded(name, [...columnsBefore, ...amounts], rows);
}

const equity = holder("equity", "Equity and drawdown"), vols = holder("vols", "Volatility");
/** @type {[string, string, number][]} */
const greekNames = [["gamma_shares_per_usd", `Gamma, ${data.delta_unit} per 1.00`, 2], ["theta_usd_per_day", "Theta, a day", 1], ["vega_usd_per_point", "Vega, a point", 1]];
const greeks = greekNames.map(([, label]) => holder("small", label));
const price = holder("price", "Price and hedges"), delta = holder("small", "Net delta"), rent = holder("small", "Gamma and theta");

const fall = holder("small", "Drawdown"), rollingMean = holder("small", "Rolling mean P&L"), rollingSharpe = holder("small", "Rolling Sharpe ratio");
const hasRolling = data.rolling.some(([mean]) => mean !== null), hasRatio = data.rolling.some(([, ratio]) => ratio !== null);

add(document.getElementById("main"), [
  sheetHead(),
  h("section", { class: "card w7" }, h("div", { class: "top" }, h("h2", {}, `Equity and drawdown, ${data.currency}`), keys(keyOf("P&L", "text"), keyOf("drawdown", "down"))), equity),
  h("section", { class: "card w5" }, h("h2", {}, "Would another fill model change the verdict?"), data.models ? modelTable(data.models) : h("p", { class: "empty" }, "Not made again under other fill models: the Runs page does it, or ", h("code", {}, data.rerun)), data.paths ? pathStrip(data.paths) : null),
  h("section", { class: "card w4" }, h("h2", {}, `P&L by source, ${data.currency}`), waterfall(data.parts), h("p", { class: "note" }, costSentence(data.costs, data.residual_share))),
  h(
    "section",
    { class: "card w4" },
    h("div", { class: "top" }, h("h2", {}, "Realised against implied, %"), keys(keyOf("realised", "up"), keyOf("implied", "", true))),
    vols,
    figures([["Gamma", data.rent.gamma], ["Theta", data.rent.theta], ["Both per hedging cost", data.rent.per_cost]]),
  ),
  whatWasRun("w4"),
  command(),
  h("section", { class: "card wide" }, h("h2", {}, data.question ?? "Is gamma paying?"), h("p", { class: "verdict" }, pieces(data.verdict)), keys(keyOf("spot", "text"), h("span", { class: "tri" }, h("b", { class: "up" }, "▲ "), "hedge bought"), h("span", { class: "tri" }, h("b", { class: "down" }, "▼ "), "hedge sold"), h("span", { class: "tri" }, h("b", { class: "trade" }, "◆ "), "entry or exit")), price),
  h("section", { class: "card w6" }, h("h2", {}, `Net delta in its band, ${data.delta_unit}`), delta),
  h("section", { class: "card w6" }, h("div", { class: "top" }, h("h2", {}, "Gamma and theta"), keys(keyOf("gamma", "up"), keyOf("theta", "down", true))), rent),
  data.greeks.t.length ? greekNames.map(([, label], place) => h("section", { class: "card w4" }, h("h2", {}, `${label}, through the day`), greeks[place])) : null,
  h("section", { class: "card w6" }, h("h2", {}, `Drawdown, ${data.currency}`), fall, figures(data.drawdown)),
  data.months.length ? h("section", { class: "card w6" }, h("h2", {}, `Months, ${data.currency}`), table([
    { head: "Month", cell: (row) => row.name },
    { head: "P&L", class: "num", cell: (row) => tinted(row.pnl, row.tone) },
    { head: "Sessions", class: "num", cell: (row) => row.sessions },
    { head: "Won", class: "num", cell: (row) => shown(row.hit_rate) },
  ], data.months, { caption: "P&L by month" })) : null,
  hasRolling ? h("section", { class: "card w6" }, h("h2", {}, `Mean P&L of the last ${data.rolling_sessions} sessions, ${data.currency}`), rollingMean) : null,
  hasRatio ? h("section", { class: "card w6" }, h("h2", {}, `Sharpe ratio of the last ${data.rolling_sessions} sessions`), rollingSharpe) : null,
  withParts("Trades", data.trades, [
    { head: "Opened, ET", class: "why", cell: (row) => [newYork(row.opened_ns), h("br"), h("small", { class: "muted" }, row.entry)] },
    { head: "Closed", class: "why", cell: (row) => (row.closed_ns ? [newYork(row.closed_ns), h("br"), h("small", { class: "muted" }, row.exit)] : "held") },
    ...columnsOf(data.trade_columns.filter(({ name, kind }) => name !== "pnl" && kind !== "time"), data.decimals),
  ]),
  withParts("Sessions", data.sessions, [
    { head: "Session", cell: (row) => row.day },
    { head: "Largest net delta", class: "num", cell: (row) => shown(row.delta) },
    ...(data.sessions.some((row) => row.no_entry) ? [{ head: "No entry, because", cell: (row) => row.no_entry }] : []),
  ]),
  folded("Entries, exits and skipped decisions by reason", [
    { head: "Kind", cell: (row) => row[0] },
    { head: "Outcome", cell: (row) => row[1] },
    { head: "Reason (figures as …)", cell: (row) => row[2] },
    { head: "Times", class: "num", cell: (row) => String(row[3]) },
  ], data.decisions),
  folded("Hedges", [
    { head: "ET", cell: (row) => row[0] },
    { head: "Shares", class: "num", cell: (row) => row[1] },
    { head: "Price", class: "num", cell: (row) => row[2] },
    { head: "Why", cell: (row) => row[3] },
  ], data.hedges),
  h("p", { class: "command" }, `scalpdesk ${data.version}`),
]);

const nights = withoutNights(columns.t), fills = nights ? { ...data.fills, t: data.fills.t.map(nights.to) } : data.fills;
chartOfSessions(equity, [{ label: "P&L", colour: "text" }, { label: "drawdown", colour: "down", width: 1 }], { label: "Equity and drawdown", yValues: signedNumber(0), axisWidth: 60 }, [columns.t, columns.equity, columns.drawdown]);
chartOfSessions(vols, [{ label: "realised", colour: "up" }, { label: "implied", colour: "muted", dash: [5, 3] }], { label: "Realised and implied volatility", yValues: plainNumber(1), range: below, ySpace: 26 }, [columns.t, columns.realised, columns.implied]);
chartOfSessions(price, [{ label: "spot", colour: "text" }], { label: "Price with the hedges", yValues: plainNumber(2), draw: triangles(() => fills, () => 4) }, [columns.t, columns.spot]);
chartOfSessions(delta, [{ colour: "band", width: 0 }, { colour: "band", width: 0 }, { label: "net delta", colour: "text", width: 1 }], { label: "Net delta", yValues: signedNumber(data.delta_decimals), bands: [{ series: [1, 2], fill: "band" }], ySpace: 26 }, [columns.t, columns.band, columns.band.map((value) => (value === null ? null : -value)), columns.net_delta]);
chartOfSessions(rent, [{ label: "gamma", colour: "up" }, { label: "theta", colour: "down", dash: [5, 3] }], { label: "What gamma and theta earned", yValues: signedNumber(0), range: below, ySpace: 26 }, [columns.t, columns.gamma, columns.theta]);
chartOfSessions(fall, [{ label: "drawdown", colour: "down" }], { label: "Drawdown", yValues: signedNumber(0), ySpace: 26 }, [columns.t, columns.drawdown]);
if (hasRolling) {
  const stamps = data.sessions.map((row) => Date.parse(`${row.day}T16:00:00Z`) / 1000);
  chart(rollingMean, [{ label: "mean P&L", colour: "text" }], { label: "Rolling mean P&L", yValues: signedNumber(0), ySpace: 26 }, [stamps, data.rolling.map(([mean]) => mean)]);
  if (hasRatio) chart(rollingSharpe, [{ label: "Sharpe ratio", colour: "text" }], { label: "Rolling Sharpe ratio", yValues: plainNumber(1), ySpace: 26 }, [stamps, data.rolling.map(([, ratio]) => ratio)]);
}
if (data.greeks.t.length) greekNames.forEach(([name, label, digits], place) => chartOfSessions(greeks[place], [{ label, colour: "text", width: 1 }], { label, yValues: plainNumber(digits), ySpace: 26 }, [data.greeks.t, data.greeks[name]]));
finish();
