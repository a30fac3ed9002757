// The tear sheets of many backtests: a sweep, a walk-forward test, a comparison of hedge bands.

import { guides, heatCell, logNumber, marks, paintHeat, plainNumber, shapeKey, signedNumber, track } from "./charts.js";
import { add, h, shown, table, tinted } from "./dom.js";
import { chart, command, data, figures, finish, folded, holder, keyOf, keys, sheetHead, whatWasRun } from "./sheet_parts.js";

const money = data.currency;
const numberTick = signedNumber(0);
const padded = (low, high, share = 0.06) => { const more = (high - low || Math.abs(high) || 1) * share; return [low - more, high + more]; };
const spanOf = (numbers) => { const known = numbers.filter((each) => each !== null && each !== undefined); return [Math.min(...known), Math.max(...known)]; };
const titled = (width, title, ...children) => h("section", { class: `card ${width}` }, h("h2", {}, title), children);
const sentences = (lines) => lines.map((line) => h("p", { class: "line" }, line));
const empty = (text) => h("p", { class: "empty" }, text);
const bold = (text, is) => (is ? h("b", {}, text) : text);

const luck = (width) => titled(width, "How much of the best is luck?", figures(data.luck.facts), h("div", { class: "note" }, sentences(data.luck.lines)));
const failures = () =>
  data.problems.length
    ? folded("Combinations that failed", [{ head: "Settings", cell: (row) => row[0] }, { head: "Why", class: "why", cell: (row) => row[1] }], data.problems)
    : null;

// sweep: the heat map takes the best of all rows that agree with what is chosen
function cellsOf(down, across, chosen) {
  const best = new Map();
  data.places.forEach((at, row) => {
    if (chosen.some((place, i) => i !== down && i !== across && place !== null && at[i] !== place)) return;
    const key = `${at[down]} ${across === null ? 0 : at[across]}`;
    if (!best.has(key) || data.values[row] > data.values[best.get(key)]) best.set(key, row);
  });
  return best;
}

function scale(most) {
  const end = (value) => numberTick(null, [value])[0];
  return h("div", { class: "scale" }, h("span", {}, `${end(-most)} ${money}`), h("i"), h("span", {}, `${end(most)} ${money}`), h("span", { class: "muted" }, "paler towards 0"));
}

function heatMap() {
  const { parameters } = data;
  if (!parameters.length) return titled("w7", "P&L by parameter", empty("Nothing varies: one configuration has a result."));
  if (parameters.length === 1) return oneParameter(parameters[0]);
  const bySize = parameters.map((_, i) => i).sort((a, b) => parameters[b].labels.length - parameters[a].labels.length || a - b);
  let [down, across] = bySize;
  const chosen = parameters.map(() => null);
  const host = h("div"), title = h("h2"), controls = h("div", { class: "controls-row" });

  function choice(label, options, value, changed) {
    const list = h("select", { "aria-label": label, onchange: (event) => { changed(Number(event.target.value)); draw(); } }, options.map(([at, text]) => h("option", { value: String(at), selected: at === value }, text)));
    return h("label", { class: "choice" }, h("span", {}, label), list);
  }

  function draw() {
    const best = cellsOf(down, across, chosen), rows = parameters[down].labels, columns = parameters[across].labels;
    const most = Math.max(...[...best.values()].map((row) => Math.abs(data.values[row])), 0) || 1;
    const top = [...best.values()].reduce((a, b) => (data.values[b] > data.values[a] ? b : a), best.values().next().value);
    const cell = (i, j) => { const row = best.get(`${i} ${j}`); return row === undefined ? null : heatCell(bold(data.texts[row], row === top), data.values[row] / most); };
    title.textContent = `P&L, ${money}: ${parameters[down].key} (rows) by ${parameters[across].key} (columns)`;
    host.replaceChildren(
      table([{ head: parameters[down].key, class: "nowrap", cell: (i) => rows[i] }, ...columns.map((head, j) => ({ head, class: "heat", cell: (i) => cell(i, j) }))], rows.map((_, i) => i), { caption: title.textContent }),
      scale(most),
    );
    paintHeat(host);
    const all = parameters.map(({ key }, i) => [i, key]);
    if (parameters.length > 2) {
      controls.replaceChildren(
        choice("Rows", all, down, (next) => { [down, across] = next === across ? [across, down] : [next, across]; }),
        choice("Columns", all, across, (next) => { [across, down] = next === down ? [down, across] : [next, down]; }),
        ...all.filter(([i]) => i !== down && i !== across).map(([i, key]) =>
          choice(key, [[-1, "best of all"], ...parameters[i].labels.map((text, at) => [at, text])], chosen[i] ?? -1, (next) => { chosen[i] = next < 0 ? null : next; })),
      );
    }
  }
  draw();
  return h("section", { class: "card w7" }, title, parameters.length > 2 ? controls : null, host);
}

function oneParameter({ key, labels }) {
  const best = cellsOf(0, null, []), [low, high] = spanOf([0, ...data.values]);
  return titled("w7", `P&L, ${money}, by ${key}`, h("div", { class: "fall", role: "list", "aria-label": `P&L by ${key}` }, labels.map((label, i) => {
    const row = best.get(`${i} 0`);
    return h("div", { role: "listitem" }, h("span", {}, label), track(low, high - low || 1, 0, data.values[row], data.values[row] < 0 ? "down" : "up"), h("span", { class: "amount" }, data.texts[row]));
  })));
}

function sweep() {
  const { outcomes } = data, host = holder("price", "P&L of each combination by rank");
  const ends = [0, ...outcomes.pnl, ...outcomes.low, ...outcomes.high];
  const cell = (name) => (row) => row[name];
  if (!data.values.length) return [titled("w7", "P&L by parameter", empty("No combination has a result.")), luck("w5"), failures(), whatWasRun("wide")];
  chart(host, [{ label: "P&L", width: 0 }], {
      label: "P&L of each combination by rank", xName: "Rank", time: false, axisWidth: 60, yValues: signedNumber(0), xValues: (_, splits) => splits.map((at) => (Number.isInteger(at) && at > 0 ? String(at) : "")),
      xRange: () => padded(1, Math.max(...outcomes.rank), 0.03), range: () => padded(...spanOf(ends)),
      draw: [guides(() => [{ y: 0, dash: [] }]), marks(() => outcomes.rank.map((x, i) => ({ x, y: outcomes.pnl[i], low: outcomes.low[i], high: outcomes.high[i], colour: outcomes.pnl[i] < 0 ? "down" : "up", size: outcomes.rank.length > 100 ? 2 : 4 })))],
    }, [outcomes.rank, outcomes.pnl]);
  const hasEnds = outcomes.low.some((each) => each !== null);
  return [
    heatMap(),
    luck("w5"),
    h(
      "section",
      { class: "card wide" },
      h("div", { class: "top" }, h("h2", {}, `P&L of each combination by rank, ${money}`), keys(shapeKey("gain", "round", "up"), shapeKey("loss", "round", "down"), hasEnds ? shapeKey("95 % interval", "post", "muted") : null)),
      host,
      outcomes.rank.length < data.values.length ? h("p", { class: "muted" }, `${outcomes.rank.length} of ${data.values.length} combinations, evenly by rank.`) : null,
      h("p", { class: "muted" }, hasEnds ? "Intervals: stationary bootstrap of each combination's own sessions. All traded the same sessions, so the difference of two is mostly surer than their intervals; the best was chosen, so its interval lies too high." : "An interval takes three sessions or more."),
    ),
    titled(
      "wide",
      `Best configurations, ${money}`,
      table(
        [
          { head: "P&L", class: "num", cell: (row) => tinted(row.pnl, row.tone, true) },
          ...data.keys.map((head, i) => ({ head, class: "setting", cell: (row) => row.settings[i] })),
          { head: "95 % interval", class: "num", cell: cell("interval") },
          { head: "Sharpe", class: "num", cell: cell("sharpe") },
          { head: "hedges", class: "num", cell: cell("hedges") },
          { head: "fills", class: "num", cell: cell("fills") },
          { head: "traded", class: "num", cell: cell("sessions") },
          ...data.part_names.map((head, i) => ({ head, class: "num", cell: (row) => row.parts[i] })),
        ],
        data.best,
        { caption: "Best configurations" },
      ),
      data.values.length > data.best.length ? h("p", { class: "muted" }, `${data.best.length} of ${data.values.length}; the table of the sweep has all.`) : null,
    ),
    failures(),
    whatWasRun("wide"),
  ];
}

// walk-forward
const KINDS = [["train", "choice"], ["embargo", "embargo"], ["purge", "purge"], ["test", "test"]];

function timeline() {
  const { days } = data, place = (at) => `${(100 * at) / days.length}%`;
  const bar = ({ kind, from, to, first, last }) => {
    const found = h("i", { class: kind, title: `${kind}: ${first} to ${last}` });
    found.style.left = place(from);
    found.style.width = place(to - from);
    return found;
  };
  const kinds = new Set(data.folds.flatMap((fold) => fold.spans.map((each) => each.kind)));
  return h(
    "section",
    { class: "card wide" },
    h("div", { class: "top" }, h("h2", {}, "Sessions of each choice and its test"), h("div", { class: "legend folds-key" }, KINDS.filter(([kind]) => kinds.has(kind)).map(([kind, text]) => h("span", { class: "tri" }, h("i", { class: kind }), text)))),
    h(
      "div",
      { class: "folds", role: "list", "aria-label": "Folds" },
      data.folds.map((fold) =>
        h("div", { role: "listitem" }, h("span", {}, fold.name), h("div", { class: "spans" }, fold.spans.map(bar)), h("div", {}, h("div", {}, fold.settings), h("div", { class: "muted" }, `tested ${fold.tested}`)))),
      h("div", { class: "axis muted" }, h("span"), h("div", {}, h("span", {}, days[0]), h("span", {}, days.at(-1))), h("span")),
    ),
  );
}

function foldBars() {
  const each = data.folds.flatMap((fold) => [fold.in_sample.per_session, fold.out_of_sample.per_session]);
  const [low, high] = spanOf([0, ...each]), width = high - low || 1;
  const line = (name, part, tone) => h("div", { role: "listitem" }, h("span", { class: tone === "muted" ? "muted" : "" }, name), track(low, width, 0, part.per_session, tone), h("span", { class: "amount" }, part.text));
  return h(
    "section",
    { class: "card w6" },
    h("div", { class: "top" }, h("h2", {}, `P&L a session by fold, ${money}`), keys(shapeKey("in sample", "square", "muted"), shapeKey("out of sample: gain", "square", "up"), shapeKey("loss", "square", "down"))),
    h("div", { class: "fall pairs", role: "list", "aria-label": "P&L by fold" }, data.folds.map((fold) => [line(`${fold.name}, in`, fold.in_sample, "muted"), line("out", fold.out_of_sample, fold.out_of_sample.tone)])),
  );
}

function walkForward() {
  const host = holder("mid", "P&L out of sample"), { running } = data;
  let sum = 0;
  const total = running.pnl.map((each) => (sum += each)), at = running.pnl.map((_, i) => i + 1);
  chart(host, [{ label: "P&L", colour: "text", dots: at.length < 60 ? "line" : undefined }], {
    label: "P&L out of sample so far", xName: "Session", time: false, yValues: signedNumber(0), axisWidth: 60, xValues: (_, splits) => splits.map((each) => running.days[each - 1] ?? ""),
    xRange: () => padded(1, at.length, 0.02), range: () => padded(...spanOf([0, ...total])),
    draw: guides(() => [{ y: 0, dash: [] }, ...running.starts.map((start, i) => ({ x: start + 0.5, label: data.folds[i].name }))]),
  }, [at, total]);
  const part = (name, figure) => (fold) => fold[name][figure];
  const ofPart = (name, words) => [
    { head: `P&L ${words}`, class: "num", cell: part(name, "total") },
    { head: "a session", class: "num", cell: (fold) => tinted(fold[name].text, fold[name].tone) },
    { head: "traded", class: "num", cell: (fold) => String(fold[name].sessions) },
    { head: "Sharpe", class: "num", cell: part(name, "sharpe") },
  ];
  return [
    timeline(),
    foldBars(),
    titled("w6", "What is left out of sample?", figures(data.verdict), h("div", { class: "note" }, sentences(data.lines))),
    titled("w7", `P&L out of sample so far, ${money}`, host),
    luck("w5"),
    titled(
      "wide",
      `Folds, ${money}`,
      table(
        [
          { head: "Fold", class: "nowrap", cell: (fold) => fold.name },
          { head: "Choice", cell: (fold) => fold.settings },
          { head: "chosen on", class: "nowrap", cell: (fold) => fold.trained },
          { head: "tested on", class: "nowrap", cell: (fold) => fold.tested },
          ...ofPart("in_sample", "in sample"),
          ...ofPart("out_of_sample", "out of sample"),
          { head: "Rank", class: "num", cell: (fold) => fold.rank },
        ],
        data.folds,
        { caption: "Folds" },
      ),
      h("p", { class: "muted" }, "Rank: place of the choice among all combinations in its test, 1 the best and 0 the worst."),
    ),
    failures(),
    whatWasRun("wide"),
  ];
}

// bands: a shape and a colour for each kind, so that neither carries the meaning alone
const LOOKS = [["round", "up"], ["square", "down"], ["above", "accent"], ["diamond", "text"], ["below", "warn"], ["cross", "danger"], ["turned", "muted"], ["bar", "up"], ["post", "down"]];

function bands() {
  const host = holder("frontier", "Spread of the P&L by mean cost of hedging"), { rows, families } = data;
  const look = (row) => LOOKS[families.indexOf(row.band) % LOOKS.length];
  const order = [...rows].sort((a, b) => a.cost - b.cost), frontier = order.filter((row) => row.frontier);
  const point = (row) => ({ x: row.cost, y: row.spread, low: row.spread_low, high: row.spread_high, left: row.cost_low, right: row.cost_high, shape: look(row)[0], colour: look(row)[1], size: row.frontier ? 6 : 5, faint: !row.frontier });
  const named = rows.filter((row) => row.chosen);
  const [left, right] = spanOf(rows.flatMap((row) => [row.cost_low, row.cost_high])), [low, high] = spanOf(rows.flatMap((row) => [row.spread_low, row.spread_high]));
  const isLog = left > 0 && low > 0, ends = (from, to) => (isLog ? padded(Math.log(from), Math.log(to)).map(Math.exp) : padded(from, to));
  chart(host, [{ label: "spread", width: 0 }, { label: "frontier", colour: "edge", width: 1, dash: [4, 4], joined: true }], {
    label: "Spread of the P&L by mean cost of hedging", xName: "Cost", time: false, axisWidth: 56, isLog, xValues: isLog ? logNumber : plainNumber(2), yValues: isLog ? logNumber : plainNumber(0),
    xRange: () => ends(left, right), range: () => ends(low, high),
    draw: [marks(() => [...rows.filter((row) => !row.frontier), ...frontier].map(point)), marks(() => named.flatMap((row) => [{ x: row.cost, y: row.spread, shape: "star", colour: "panel", size: 12 }, { x: row.cost, y: row.spread, shape: "star", colour: "text", size: 9 }]))],
  }, [order.map((row) => row.cost), order.map((row) => row.spread), order.map((row) => (row.frontier ? row.spread : null))]);
  const text = (name) => (row) => bold(row.texts[name], row.chosen);
  return [
    h(
      "section",
      { class: "card w8" },
      h("h2", {}, `Spread of the P&L (upwards) by mean cost of hedging (to the right), ${money} a day${isLog ? ", logarithmic" : ""}`),
      keys(families.map((name, i) => shapeKey(name, ...LOOKS[i % LOOKS.length])), named.length ? shapeKey("recommended", "star", "text") : null, keyOf("frontier", "muted", true)),
      host,
      h("p", { class: "muted" }, "Lower and further left is better. Faint: another band beats it in cost and in spread at once. Bars: 95 % intervals over the days; all bands hedge the same days, so a difference of two is surer than their bars."),
    ),
    titled(
      "w4",
      "Recommendation",
      data.advice ? h("p", { class: "verdict" }, data.advice) : empty("No band keeps to the delta cap: raise it."),
      h("dl", { class: "what" }, data.recommended.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, shown(value))])),
      data.settings.length ? h("p", { class: "note" }, "As settings of the gamma scalper: ", data.settings.map((each) => [h("code", {}, each), " "])) : null,
    ),
    titled(
      "wide",
      `Every band, ${money} a day`,
      table(
        [
          { head: "Band", class: "nowrap", cell: (row) => bold(row.band, row.chosen) },
          { head: "Setting", class: "nowrap", cell: (row) => bold(row.setting, row.chosen) },
          { head: "± shares", class: "num", cell: text("width") },
          { head: "Mean P&L", class: "num", cell: text("mean") },
          { head: "Spread", class: "num", cell: text("spread") },
          { head: "Cost", class: "num", cell: text("cost") },
          { head: "Hedges", class: "num", cell: text("hedges") },
          { head: "Largest delta", class: "num", cell: text("largest") },
          { head: "Worth", class: "num", cell: text("worth") },
          { head: "Note", class: "nowrap", cell: (row) => [row.chosen ? "recommended" : "", row.frontier ? "frontier" : "", row.eligible ? "" : "not recommended"].filter(Boolean).join(", ") || " " },
        ],
        rows,
        { caption: "Every band" },
      ),
    ),
    whatWasRun("wide"),
  ];
}

add(document.getElementById("main"), [sheetHead(), { sweep, walk_forward: walkForward, bands }[data.kind](), command(), h("p", { class: "command" }, `scalpdesk ${data.version}`)].flat());
finish();
