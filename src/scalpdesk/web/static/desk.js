// Desk: is gamma paying, am I safe?

import { LineChart, guides, plainNumber, signedNumber, triangles, waterfall } from "./charts.js";
import { add, card, facts, h, pieces, poll, redraw, setText, shown, table, tinted } from "./dom.js";
import { store } from "./store.js";

const legend = (...items) => h("div", { class: "legend" }, items);
const key = (text, tone, dash) => h("span", { class: `${tone} ${dash ? "dash" : ""}` }, text);

export function create(main) {
  const parts = {
    verdict: h("p", { class: "verdict" }),
    range: h("span", { class: "muted narrow-gone" }),
    name: h("span", { class: "text" }, "spot"),
    price: h("div", { class: "plot price" }),
    won: h("div", { class: "plot small" }),
    pnl: h("div", { class: "big" }),
    pnlNote: h("p", { class: "muted" }),
    fall: h("div"),
    costs: h("p", { class: "note" }),
    deltaNote: h("b", {}),
    delta: h("div", { class: "plot small" }),
    bandNote: h("p", { class: "note" }),
    vols: h("div", { class: "plot small" }),
    rent: h("div", { class: "plot small" }),
    premiumMean: key("TWAP", "trade", true),
    premium: h("div", { class: "plot mid" }),
    premiumFoot: h("p", { class: "note" }),
    positionNote: h("span", { class: "muted" }),
    position: h("div"),
    decisionsNote: h("span", { class: "muted" }),
    decisions: h("div"),
    currency: h("span", {}, "USD"),
  };
  main.replaceChildren(
    h(
      "section",
      { class: "card w8" },
      h("h2", {}, "Is gamma paying?"),
      parts.verdict,
      h(
        "div",
        { class: "top" },
        legend(
          parts.name,
          h("span", { class: "tri" }, h("b", { class: "up" }, "▲ "), "hedge bought"),
          h("span", { class: "tri" }, h("b", { class: "down" }, "▼ "), "hedge sold"),
          h("span", { class: "tri" }, h("b", { class: "trade" }, "◆ "), "entry or exit"),
        ),
        parts.range,
      ),
      parts.price,
      h("div", { class: "legend" }, key("P&L of the day, after fees", "text")),
      parts.won,
    ),
    h("section", { class: "card w4" }, h("h2", {}, "P&L today by source, ", parts.currency), parts.pnl, parts.pnlNote, parts.fall, parts.costs),
    h("section", { class: "card w4" }, h("div", { class: "top" }, h("h2", {}, "Net delta in its band"), parts.deltaNote), parts.delta, parts.bandNote),
    h(
      "section",
      { class: "card w4" },
      h("div", { class: "top" }, h("h2", {}, "Realised against implied, %"), legend(key("realised", "up"), key("implied", "text", true))),
      parts.vols,
    ),
    h(
      "section",
      { class: "card w4" },
      h("div", { class: "top" }, h("h2", {}, "Gamma earned against theta paid"), legend(key("gamma", "up"), key("theta", "down", true))),
      parts.rent,
    ),
    h(
      "section",
      { class: "card wide" },
      h("div", { class: "top" }, h("h2", {}, "Combined premium"), legend(key("premium", "text"), parts.premiumMean)),
      parts.premium,
      parts.premiumFoot,
    ),
    h("section", { class: "card w4 alone" }, h("div", { class: "top" }, h("h2", {}, "Position"), parts.positionNote), parts.position),
    h("section", { class: "card w8" }, h("div", { class: "top" }, h("h2", {}, "Last decisions"), parts.decisionsNote), parts.decisions),
  );
  const added = [];  // cards of installed packages
  const stopCards = poll("/api/cards", ({ cards = [] }) => {
    added.splice(0).forEach((element) => element.remove());
    added.push(...cards.map((one) => card("w4", one.title, one.problem ? h("p", { class: "note dangerous" }, one.problem) : facts(one.rows.map((row) => [row.label, row.text, row.tone])))));
    main.append(...added);
  }, 5);
  const size = () => (window.innerWidth < 640 ? 2.2 : 4);
  const charts = {
    price: new LineChart(parts.price, [{ label: "spot", colour: "text" }], {
      label: "Price of the underlying with the desk's hedges",
      yValues: plainNumber(2),
      sync: "desk",
      draw: triangles(() => store.fills.columns, size),
    }),
    won: new LineChart(parts.won, [{ label: "P&L", colour: "text" }], { label: "P&L of the day, after fees", sync: "desk", yValues: signedNumber(0), ySpace: 26, draw: guides(() => [{ y: 0 }]) }),
    delta: new LineChart(
      parts.delta,
      [
        { colour: "band", width: 0 },
        { colour: "band", width: 0 },
        { label: "net delta", colour: "text", width: 1.2 },
      ],
      { label: "Net delta within the hedge band", sync: "desk", yValues: signedNumber(1), bands: [{ series: [1, 2], fill: "band" }], ySpace: 26 },
    ),
    vols: new LineChart(
      parts.vols,
      [{ label: "realised", colour: "up" }, { label: "implied", colour: "text", dash: [5, 3] }],
      { label: "Realised and implied volatility, per cent a year", sync: "desk", yValues: plainNumber(1), range: fromZero, ySpace: 26 },
    ),
    rent: new LineChart(
      parts.rent,
      [{ label: "gamma", colour: "up" }, { label: "theta", colour: "down", dash: [5, 3] }],
      { label: "What gamma earned and what theta cost", sync: "desk", yValues: plainNumber(0), range: fromZero, ySpace: 26 },
    ),
    premium: new LineChart(
      parts.premium,
      [{ label: "premium", colour: "text" }, { label: "TWAP", colour: "accent", dash: [5, 3] }],
      { label: "Combined premium of the held options and its mean of the session", sync: "desk", yValues: plainNumber(2), ySpace: 26 },
    ),
  };

  function drawSeries() {
    const columns = store.series.columns;
    if (!columns.t || !columns.t.length) return;
    const upper = columns.band;
    const lower = columns.band.map((value) => (value === null ? null : -value));
    charts.price.set([columns.t, columns.spot]);
    charts.won.set([columns.t, columns.pnl]);
    charts.delta.set([columns.t, upper, lower, columns.net_delta]);
    charts.vols.set([columns.t, columns.realised, columns.implied]);
    charts.rent.set([columns.t, columns.gamma, columns.theta]);
    const [name, mean] = meanOf(columns);
    charts.premium.lines[1].label = name;
    setText(parts.premiumMean, name);
    charts.premium.set([columns.t, columns.premium, mean]);
  }

  function drawState() {
    const desk = store.state?.desk;
    if (!desk) return;
    if (desk.empty) {
      parts.verdict.replaceChildren(desk.empty);
      return;
    }
    const { head } = /** @type {State} */ (store.state);
    setText(parts.currency, head.currency);
    setText(parts.name, desk.underlying);
    parts.verdict.replaceChildren(...pieces(desk.verdict));
    setText(parts.range, desk.range);
    setText(parts.pnl, desk.pnl, true);
    parts.pnl.className = `big ${desk.pnl_tone}`;
    setText(parts.pnlNote, desk.pnl_note);
    parts.fall.replaceChildren(waterfall(desk.parts));
    setText(parts.costs, desk.cost_note);
    setText(parts.bandNote, desk.band_note);
    setText(parts.deltaNote, desk.delta_note);
    const { premium } = desk;
    parts.premiumFoot.replaceChildren(...("empty" in premium ? [premium.empty] : premiumFoot(premium)));
    setText(parts.positionNote, [desk.position.structure, desk.position.note].filter(Boolean).join(": "));
    setText(parts.decisionsNote, desk.decisions_note);
    redraw(parts.position, positionTable(desk.position));
    redraw(parts.decisions, decisionTable(desk.decisions));
  }

  drawState();
  drawSeries();
  return {
    update: (what) => (what === "series" ? drawSeries() : drawState()),
    restyle: () => Object.values(charts).forEach((chart) => chart.restyle()),
    destroy: () => { stopCards(); Object.values(charts).forEach((chart) => chart.destroy()); },
  };
}

// A mean by volume where every leg's trades are known, else by time: never the one under the other's name.
export const meanOf = (columns) => (columns.premium_vwap.some((value) => value !== null) ? ["VWAP", columns.premium_vwap] : ["TWAP", columns.premium_twap]);

const premiumFoot = (premium) => [
  `${premium.structure}: `, h("b", {}, shown(premium.now)), ` as quoted (${shown(premium.amount)} a set), ${premium.mean_name} ${shown(premium.mean)}, `,
  tinted(premium.against, premium.against_tone), ` against it. ${premium.note}`,
];

const fromZero = (_, low, high) => [Math.min(0, low ?? 0), (high ?? 1) * 1.08 || 1];

export function positionTable(position) {
  if (!position.legs.length) return h("p", { class: "empty" }, "Nothing is held. Legs appear here after a fill.");
  const { greeks, deadline } = position;
  const last = [];
  if (deadline) last.push(`${deadline.what[0].toUpperCase()}${deadline.what.slice(1)} ${deadline.at}, in `, h("b", { class: deadline.tone === "warn" ? "warn" : "strong" }, deadline.left), ". ");
  if (position.break_even) last.push(position.break_even);
  return h(
    "div",
    {},
    table(
      [
        { head: "Leg", cell: (leg) => leg.label },
        { head: "Held", class: "num", cell: (leg) => leg.held },
        { head: "Entry", class: "num", cell: (leg) => leg.entry },
        { head: "Delta", class: "num", cell: (leg) => leg.delta },
      ],
      position.legs,
      { caption: "Position" },
    ),
    h(
      "dl",
      { class: "greeks" },
      [["Delta", greeks.delta], ["Gamma", greeks.gamma], ["Theta / d", greeks.theta], ["Vega / pt", greeks.vega]].map(([name, text]) =>
        h("div", {}, h("dt", {}, name), h("dd", {}, text ?? "·")),
      ),
    ),
    add(h("p", { class: "note" }), last),
  );
}

export function decisionTable(rows) {
  if (!rows.length) return h("p", { class: "empty" }, "Nothing has been decided yet. Decisions appear here with their reasons.");
  return table(
    [
      { head: "ET", class: "nowrap", cell: (row) => row.time },
      { head: "What", class: "nowrap", cell: (row) => tinted(row.what, row.way, true) },
      { head: "Why", cell: (row) => row.why },
      { head: "Spot", class: "num narrow-gone", cell: (row) => row.spot },
    ],
    rows,
    { caption: "Last decisions" },
  );
}
