// Desk: is gamma paying, am I safe?

import { LineChart, costSentence, guides, plainNumber, signedNumber, triangles, waterfall } from "./charts.js";
import { card, facts, h, pieces, poll, redraw, setText, shown, table, tinted } from "./dom.js";
import { booked, bookedTone, counted, countdown, perCent, places, plain, signed, toneOf, unsigned } from "./figures.js";
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
    premium: h("div", { class: "plot small" }),
    premiumFoot: h("p", { class: "note" }),
    holding: h("div"),
    ahead: h("div"),
    legs: h("div"),
    decisionsNote: h("span", { class: "muted" }),
    decisions: h("div"),
    currency: h("span", {}, "USD"),
    question: h("h2", {}, "Is gamma paying?"),
  };
  main.replaceChildren(
    h("section", { class: "card wide holding" }, h("h2", {}, "What do I hold?"), parts.holding, parts.legs, parts.ahead),
    h(
      "section",
      { class: "card w8" },
      parts.question,
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
    h(
      "div",
      { class: "w4 stack" },
      h("section", { class: "card" }, h("h2", {}, "P&L today by source, ", parts.currency), parts.pnl, parts.pnlNote, parts.fall, parts.costs),
      h(
        "section",
        { class: "card fills" },
        h("div", { class: "top" }, h("h2", {}, "Combined premium"), legend(key("premium", "text"), parts.premiumMean)),
        parts.premium,
        parts.premiumFoot,
      ),
    ),
    h("section", { class: "card w4 fills" }, h("div", { class: "top" }, h("h2", {}, "Net delta in its band"), parts.deltaNote), parts.delta, parts.bandNote),
    h(
      "section",
      { class: "card w4 fills" },
      h("div", { class: "top" }, h("h2", {}, "Realised against implied, %"), legend(key("realised", "up"), key("implied", "text", true))),
      parts.vols,
    ),
    h(
      "section",
      { class: "card w4 fills" },
      h("div", { class: "top" }, h("h2", {}, "Gamma and theta"), legend(key("gamma", "up"), key("theta", "down", true))),
      parts.rent,
    ),
    h("section", { class: "card wide" }, h("div", { class: "top" }, h("h2", {}, "Last decisions"), parts.decisionsNote), parts.decisions),
  );
  const added = [];  // cards of installed packages
  const stopCards = poll("/api/cards", (/** @type {Answer<"/api/cards">} */ { cards = [] }) => {
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
      { label: "What gamma and theta earned", sync: "desk", yValues: signedNumber(0), range: fromZero, ySpace: 26 },
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
    setText(parts.question, desk.question ?? "Is gamma paying?");
    parts.verdict.replaceChildren(...pieces(desk.verdict));
    setText(parts.range, rangeText(desk));
    setText(parts.pnl, booked(desk.pnl), true);
    parts.pnl.className = `big ${bookedTone(desk.pnl)}`;
    const { premium, position } = desk;
    setText(parts.pnlNote, `${counted(desk.hedges, "hedge")}, ${counted(desk.fills, "fill")}`);
    parts.fall.replaceChildren(waterfall(desk.parts));
    setText(parts.costs, costSentence(desk.costs, desk.residual_share));
    setText(parts.bandNote, bandNote(desk));
    const delta = signed(position.greeks.net_delta_shares, position.delta_decimals), band = plain(desk.band_shares, position.delta_decimals);
    setText(parts.deltaNote, delta && `${delta} of ${band === null ? "·" : `±${band}`}`);
    parts.premiumFoot.replaceChildren(...("empty" in premium ? [premium.empty] : premiumFoot(premium)));
    setText(parts.decisionsNote, `${plain(desk.taken, 0)} taken, ${desk.skipped ? plain(desk.skipped, 0) : "none"} skipped`);
    redraw(parts.holding, ...holding(position));
    redraw(parts.legs, legsOf(position));
    redraw(parts.ahead, position.legs.length ? ahead(desk, head) : "");
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

/** @type {(desk: Shapes["DeskPage"]) => string | null} */
const rangeText = ({ day_low: low, day_high: high, spot }) => (low === null || spot === null ? null : `day ${plain(low)} to ${plain(high)}, now ${plain(spot)}`);

/** @param {Shapes["DeskPage"]} desk */
function bandNote({ costs, hedges, exposure }) {
  const spent = costs.hedging === null ? "" : `${counted(hedges, "hedge")} cost ${unsigned(costs.hedging)} today. `;
  return `${spent}A wider band sends fewer hedges and leaves more of the day to the direction of the market. ${exposure}`.trim();
}

const dayText = (day) => new Date(`${day}T00:00:00Z`).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });

// The first expiry, and what of the net asset value no quote shows.
/** @param {Shapes["PositionBlock"]} position */
export const expiryNote = ({ first_expiry: day, first_expiry_days: days }) => (day ? `${dayText(day)}, ${days} d` : "");

/** @param {Shapes["Unquoted"] | null} unquoted */
export const doubtText = (unquoted) => unquoted && `${unsigned(unquoted.worth)} of NAV on no quote since ${unquoted.since} ET (${unsigned(unquoted.least)} to ${unsigned(unquoted.most)}).`;

const MEANS = {
  VWAP: "The mean is that of the legs' trades since the open.",
  TWAP: "The volume of the legs is not known: the mean is that of their mids by time since the open.",
};

/** @param {Shapes["PremiumBlock"]} premium */
function premiumFoot({ structure, now, amount, mean, mean_name: name, price_decimals: decimals }) {
  const written = (value) => shown(plain(value, decimals)), against = now === null || mean === null ? null : now - mean;
  return [
    `${structure}: `, h("b", {}, written(now)), ` as quoted (${written(amount)} a set), ${name} ${written(mean)}, `,
    tinted(signed(against, decimals), toneOf(against, decimals)), ` against it. ${MEANS[name]}`,
  ];
}

const fromZero = (_, low, high) => [Math.min(0, low ?? 0), Math.max(0, high ?? 1) * 1.08 || 1];

// A count of contracts, shares or coins with its sign and as many decimals as it has.
/** @param {string | number} quantity */
export const heldText = (quantity) => signed(Number(quantity), (String(Number(quantity)).split(".")[1] || "").length);

/** @param {Shapes["Leg"]} leg */
export function legTexts(leg) {
  const money = leg.price_decimals === 2 ? 2 : 6;
  return {
    held: heldText(leg.quantity),
    entry: plain(leg.entry, leg.price_decimals),
    mark: plain(leg.mark, leg.price_decimals),
    vol: perCent(leg.vol),
    delta: signed(leg.delta_shares, leg.is_coin ? 4 : 1),
    gamma: signed(leg.gamma_shares_per_usd, leg.is_coin ? 6 : 2),
    theta: signed(leg.theta_usd_per_day, money),
    vega: signed(leg.vega_usd_per_point, money),
  };
}

/** @param {{greeks: Shapes["HeldGreeks"], delta_decimals: number, money_decimals: number}} position */
export function greekList({ greeks, delta_decimals: shares, money_decimals: money }) {
  const rows = [
    ["Delta", signed(greeks.net_delta_shares, shares)],
    ["Gamma", signed(greeks.gamma_shares_per_usd, shares === 2 ? 2 : 6)],
    ["Theta / d", signed(greeks.theta_usd_per_day, money)],
    ["Vega / pt", signed(greeks.vega_usd_per_point, money)],
  ];
  return h("dl", { class: "greeks" }, rows.map(([name, text]) => h("div", {}, h("dt", {}, name), h("dd", {}, text ?? "·"))));
}

// What is held in words, and the spot between the break-evens.
/** @param {Shapes["PositionBlock"]} position */
function holding(position) {
  if (!position.legs.length) return [h("p", { class: "verdict one" }, "Nothing is held. Legs appear here after a fill.")];
  return [
    ...position.structures.flatMap((each) => [h("p", { class: "verdict one" }, each.words), ...reachStrip(each)]),
    h("p", { class: "muted" }, [position.beside, doubtText(position.unquoted)].filter(Boolean).join(" ")),
  ].filter(Boolean);
}

// Prices from the lowest to the highest that matter: where it earns, break-evens below the line, the spot above it.
/** @param {Shapes["HeldStructure"]} structure */
export function reachStrip({ outlook, spot, strikes }) {
  if (!outlook || spot === null || !outlook.break_evens.length) return [];
  const points = [...strikes, ...outlook.break_evens, spot];
  const low = Math.min(...points), high = Math.max(...points), margin = 0.18 * (high - low) || 0.05 * spot;
  const from = Math.max(low - margin, 0), to = high + margin;
  const at = (price) => (100 * (price - from)) / (to - from);
  const placed = (element, price) => { element.style.left = `${at(price)}%`; return element; };
  const zones = outlook.earns.map(([first, last]) => {
    const zone = h("i", { class: "zone" }), start = at(first ?? from);
    zone.style.left = `${start}%`;
    zone.style.width = `${at(last ?? to) - start}%`;
    return zone;
  });
  const evens = outlook.break_evens.map((price, i) => {
    const near = (other) => other !== undefined && Math.abs(at(other) - at(price)) < 30;
    const side = near(outlook.break_evens[i + 1]) || at(price) > 85 ? "end" : near(outlook.break_evens[i - 1]) || at(price) < 15 ? "start" : "";
    return placed(h("span", { class: `even ${side}` }, h("b", {}, plain(price)), ` ${signed((100 * (price - spot)) / spot, 1)} %`), price);
  });
  const isEarning = outlook.earns.some(([first, last]) => spot > (first ?? 0) && spot < (last ?? Infinity));
  const words = `Break-evens ${outlook.break_evens.map((price) => plain(price)).join(" and ")}; spot ${plain(spot)}, where it would ${isEarning ? "earn" : "lose"} at expiry`;
  const spotSide = at(spot) > 80 ? "end" : at(spot) < 20 ? "start" : "";
  return [
    h(
      "div",
      { class: "reach", role: "img", "aria-label": words },
      placed(h("span", { class: `spot ${spotSide}` }, "spot ", h("b", {}, plain(spot))), spot),
      h("div", { class: "line" }, zones, strikes.map((price) => placed(h("i", { class: "strike" }), price)), outlook.break_evens.map((price) => placed(h("i", { class: "cross" }), price)), placed(h("i", { class: "now" }), spot)),
      h("div", { class: "evens" }, evens),
    ),
  ];
}

/** @param {Shapes["PositionBlock"]} position */
function legsOf(position) {
  if (!position.legs.length) return "";
  const several = new Set(position.legs.map((leg) => leg.expiry).filter(Boolean)).size > 1;
  return h(
    "div",
    {},
    table(
      [
        { head: "Leg", class: "nowrap", cell: (leg) => (several && leg.expiry ? `${leg.label} ${dayText(leg.expiry)}` : leg.label) },
        { head: "Held", class: "num", cell: (leg) => legTexts(leg).held },
        { head: "Entry", class: "num", cell: (leg) => legTexts(leg).entry },
        { head: "Mark", class: "num", cell: (leg) => h("span", { class: leg.verdict === "good" ? "" : "stale warn" }, shown(legTexts(leg).mark)) },
        { head: "Open P&L", class: "num", cell: (leg) => tinted(booked(leg.open_pnl), bookedTone(leg.open_pnl)) },
        { head: "Delta", class: "num", cell: (leg) => legTexts(leg).delta },
        { head: "Vol", class: "num narrow-gone", cell: (leg) => legTexts(leg).vol },
      ],
      position.legs,
      { caption: "Position" },
    ),
    greekList(position),
  );
}

// What is at stake and what comes next.
/** @param {Shapes["DeskPage"]} desk @param {Shapes["Head"]} head */
function ahead({ position, loss_left: left, daily_loss_limit: limit }, head) {
  const { deadline } = position, whole = places(head.currency ?? "USD");
  const next = deadline && [`${deadline.what[0].toUpperCase()}${deadline.what.slice(1)} ${deadline.at}, `, h("b", { class: isNear(deadline) ? "warn" : "" }, countdown(deadline.seconds))];
  const own = position.structures.map((each) => stakeText(each, "most_loss", whole)).join("; ");
  return h(
    "dl",
    { class: "facts" },
    [
      ["Next", next],
      ["First expiry", expiryNote(position)],
      [`Limit left today, ${head.currency}`, `${plain(Number(left), whole)} of ${plain(Number(limit), whole)}`],
      ["Largest loss of the options", own],
      ["Worst case of scenarios", signed(head.worst_pnl, whole)],
      ["Break-even move", position.break_even === null ? null : `${perCent(position.break_even, 2)} a day`],
    ].map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value ? [value].flat() : "·"))),
  );
}

// The largest loss or gain of held options by themselves; `key` names which.
/** @param {Shapes["HeldStructure"]} structure @param {"most_loss" | "most_gain"} key @param {number} decimals */
export function stakeText({ outlook }, key, decimals) {
  if (!outlook) return "·";
  const amount = outlook[key], sign = key === "most_loss" ? -1 : 1;
  return amount === null ? "without a bound" : `${signed(sign * amount, decimals) ?? "·"}${outlook.is_exact ? "" : ", an estimate"}`;
}

/** @param {{seconds: number}} deadline */
export const isNear = ({ seconds }) => seconds < 120;

/** @param {Shapes["DecisionLine"][]} rows */
export function decisionTable(rows) {
  if (!rows.length) return h("p", { class: "empty" }, "Nothing has been decided yet. Decisions appear here with their reasons.");
  return table(
    [
      { head: "ET", class: "nowrap", cell: (row) => row.time },
      { head: "What", class: "nowrap", cell: (row) => tinted(row.what, row.way, true) },
      { head: "Why", cell: (row) => row.why },
      { head: "Spot", class: "num narrow-gone", cell: (row) => plain(row.spot) },
    ],
    rows,
    { caption: "Last decisions" },
  );
}
