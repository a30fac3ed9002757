// Position: what happens if it moves? At a later date, and with legs added for a look; nothing here is sent.

import { LineChart, guides, heatCell, paintHeat, plainNumber, signedNumber } from "./charts.js";
import { card, facts, fetchJson, h, poll, redraw, setText, shown, table, tinted, whyNothing } from "./dom.js";
import { greekList, heldText, isNear, legTexts, stakeText } from "./desk.js";
import { booked, bookedTone, countdown, perCent, places, plain, signed, span, toneOf, unsigned } from "./figures.js";
import { store } from "./store.js";

export function create(main) {
  const sentence = h("p", { class: "verdict" });
  const legs = h("div"), ladder = h("div"), deadlines = h("div"), greeks = h("div");
  const expires = h("div"), night = h("p"), expiryCard = h("section", { class: "card wide", hidden: "" }, h("h2", {}, "Expires today"), night, expires);
  const plot = h("div", { class: "plot mid" }), at = h("span", { class: "text" }, "now"), ladderAt = h("span", { class: "muted" });
  const keptKey = h("span", { class: "down dash", hidden: true }, "kept");
  const legend = h("div", { class: "legend" }, at, h("span", { class: "up dash" }, "at the first expiry"), keptKey);
  const date = h("input", { type: "range", min: "0", max: "0", step: "any", value: "0", "aria-label": "Date" });
  const dateText = h("b", {}, "now");
  const vol = h("input", { type: "range", min: "-10", max: "20", step: "0.5", value: "0", "aria-label": "Change of 30-day volatility, points" });
  const volText = h("b", {}, "0 pts");
  let /** @type {Curve | null} */ kept = null;
  const keep = h("button", { type: "button", "aria-pressed": "false", onclick: () => { kept = kept ? null : latest; keep.setAttribute("aria-pressed", String(Boolean(kept))); stop.now(); } }, "Keep this curve to compare");
  let /** @type {Curve | null} */ latest = null;
  const quantity = h("input", { type: "number", value: "1", step: "any", "aria-label": "Quantity, negative to sell", size: "6" });
  const expiry = h("select", { "aria-label": "Expiry, or the underlying" });
  const strike = h("select", { "aria-label": "Strike" });
  const right = h("select", { "aria-label": "Call or put" }, h("option", { value: "call" }, "call"), h("option", { value: "put" }, "put"));
  const smile = h("select", { "aria-label": "Volatility of a strike as the spot moves" }, h("option", { value: "sticky-delta" }, "smile goes with the spot"), h("option", { value: "sticky-strike" }, "smile stays with the strikes"));
  const risk = riskCard();
  const own = ownCurve(), stakes = h("div");
  const added = h("span", { class: "controls-row" }), trouble = h("p", { class: "warn", role: "status" });
  main.replaceChildren(
    own.element,
    h("div", { class: "w4 stack" }, card("", "What can it lose?", stakes), card("", "What comes next?", deadlines)),
    expiryCard,
    card("wide", "Legs", legs),
    h(
      "section",
      { class: "card wide" },
      h("h2", {}, "What happens if it moves? Nothing here is sent"),
      sentence,
      greeks,
      h("div", { class: "controls-row" }, h("label", { class: "controls-row slider" }, "Date ", date), dateText, h("button", { type: "button", onclick: () => move(0) }, "Now")),
      h("div", { class: "controls-row" }, h("label", { class: "controls-row slider" }, "Volatility of the curves ", vol), volText, keep),
      h("div", { class: "controls-row" }, "Add ", quantity, expiry, strike, right, h("button", { type: "button", onclick: add }, "Add at its mark"), added),
      trouble,
      h("div", { class: "top" }, h("h3", {}, "P&L of the whole book against spot, from here"), legend),
      plot,
    ),
    h("section", { class: "card wide" }, h("div", { class: "top" }, h("h2", {}, "Ladder: P&L at a spot and a change of volatility"), smile, ladderAt), ladder),
    risk.element,
  );
  const chart = new LineChart(plot, [{ label: "at the date", colour: "text" }, { label: "at expiry", colour: "up", dash: [5, 3] }, { label: "kept", colour: "down", dash: [2, 3], joined: true }], {
    label: "P&L of the book against the spot, at the date and at the first expiry",
    time: false,
    xValues: plainNumber(0),
    yValues: signedNumber(0),
    axisWidth: 70,
    draw: guides(() => [{ y: 0 }, ...(spot ? [{ x: spot, label: "spot" }] : [])]),
  });
  let /** @type {any} */ spot = null, asked = false, /** @type {any[]} */ what = [], /** @type {Shapes["ListedContracts"]} */ listed = { underlying: null, expiries: {}, shapes: [] };

  const path = () => {
    const words = new URLSearchParams({ days: date.value, smile: smile.value, vol: vol.value });
    for (const leg of what) words.append("leg", `${leg.symbol}:${leg.quantity}`);
    return `/api/position?${words}`;
  };

  function choose() {
    const strikes = listed.expiries[expiry.value];
    strike.hidden = right.hidden = !strikes;
    if (!strikes) return;
    const kept = strike.value, every = Object.keys(strikes).sort((a, b) => Number(a) - Number(b));  // an object begins with its whole numbers
    strike.replaceChildren(...every.map((each) => h("option", { value: each }, each)));
    const nearest = every.reduce((best, each) => (Math.abs(Number(each) - spot) < Math.abs(Number(best) - spot) ? each : best), every[0]);
    strike.value = strikes[kept] ? kept : nearest;
  }

  // what can be added: at first the expiry that is held, and the strike at the spot
  async function fill(held) {
    const { ok, body } = /** @type {Fetched<"/api/contracts">} */ (await fetchJson("/api/contracts"));
    if (!ok || !body.expiries) return;
    listed = body;
    expiry.replaceChildren(
      ...Object.keys(listed.expiries).map((each) => h("option", { value: each }, each)),
      ...(listed.underlying ? [h("option", { value: "" }, `${listed.underlying} itself`)] : []),
      h("optgroup", { label: "A structure, in about 30 days" }, ...listed.shapes.map((each) => h("option", { value: `shape ${each}` }, each.replaceAll("_", " ")))),
    );
    if (listed.expiries[held]) expiry.value = held;
    choose();
  }

  function add() {
    const pair = (listed.expiries[expiry.value] || {})[strike.value];
    const [, shape] = expiry.value.split("shape ");
    const symbol = shape || (pair ? pair[right.value] : listed.underlying);
    const number = Number(quantity.value);
    if (!symbol || !number) { trouble.textContent = symbol ? "A quantity is a number, negative to sell." : "This contract is not listed."; return; }
    what = [...what, { symbol, quantity: quantity.value, label: `${quantity.value} ${pair ? `${expiry.value} ${strike.value} ${right.value}` : symbol.replaceAll("_", " ")}` }];
    chips();
  }

  function chips() {
    added.replaceChildren(...what.map((leg) => h("button", { type: "button", "aria-label": `Remove ${leg.label}`, onclick: () => { what = what.filter((each) => each !== leg); chips(); } }, `${leg.label} ✕`)));
    stop.now();
  }

  function move(days) {
    date.value = String(days);
    stop.now();
  }

  /** @param {Answer<"/api/position">} page */
  function draw(page) {
    if (page.spot && !expiry.options.length && !asked) {
      asked = true;
      spot = page.spot;
      fill(page.legs.find((leg) => leg.expiry)?.expiry);
    }
    if (page.error || trouble.textContent) trouble.textContent = page.error ? `${page.error}. ${page.fix || ""}` : "";
    if (page.error && what.length) { what = what.slice(0, -1); chips(); return; }
    if (page.empty || page.error) {
      sentence.replaceChildren(whyNothing(page));
      chart.clear();
      greeks.replaceChildren();
      plot.replaceChildren(h("p", { class: "empty" }, "The payoff appears here once an option is held, or added above."));
      ladder.replaceChildren(h("p", { class: "empty" }, "The ladder appears here once something is held, or added above."));
      legs.replaceChildren(h("p", { class: "empty" }, whyNothing(page)));
      deadlines.replaceChildren(h("p", { class: "empty" }, "No deadline of a position."));
      stakes.replaceChildren(h("p", { class: "empty" }, "Nothing is at stake."));
      own.draw([], []);
      return;
    }
    spot = page.spot;
    if (date.max !== String(page.most_days)) date.max = String(page.most_days);
    const text = page.at + (page.days ? `, in ${page.days >= 2 ? `${Math.round(page.days)} d` : span(page.days * 86_400)}` : "");
    for (const host of [dateText, at, ladderAt]) setText(host, text);
    sentence.replaceChildren(shown(page.sentence || page.note_ladder));
    greeks.replaceChildren(greekList(page));
    own.draw(page.structures, page.curves ?? []);
    redraw(stakes, stakeFacts(page));
    redraw(
      legs,
      h("p", { class: "muted" }, page.structure || ""),
      table(
        [
          { head: "Leg", cell: (leg) => (leg.is_added ? [leg.label, h("small", { class: "muted" }, " what if")] : leg.label) },
          { head: "Held", class: "num", cell: (leg) => legTexts(leg).held },
          { head: "Entry", class: "num", cell: (leg) => legTexts(leg).entry },
          { head: "Mark", class: "num", cell: (leg) => h("span", { class: leg.verdict === "good" ? "" : "stale warn" }, shown(legTexts(leg).mark)) },
          { head: "Open P&L", class: "num", cell: (leg) => tinted(booked(leg.open_pnl), bookedTone(leg.open_pnl)) },
          { head: "Vol", class: "num narrow-gone", cell: (leg) => legTexts(leg).vol },
          { head: "Delta", class: "num narrow-gone", cell: (leg) => legTexts(leg).delta },
          { head: "Gamma", class: "num narrow-gone", cell: (leg) => legTexts(leg).gamma },
          { head: "Theta / d", class: "num narrow-gone", cell: (leg) => legTexts(leg).theta },
          { head: "Vega / pt", class: "num narrow-gone", cell: (leg) => legTexts(leg).vega },
          { head: "Expiry", class: "num narrow-gone", cell: (leg) => leg.expiry },
        ],
        page.legs,
        { caption: "Legs" },
      ),
    );
    redraw(
      deadlines,
      table(
        [
          { head: "What", cell: (row) => row.what },
          { head: "When", class: "num", cell: (row) => row.at },
          { head: "Left", class: "num", cell: (row) => h("b", { class: isNear(row) ? "warn" : "" }, countdown(row.seconds)) },
        ],
        page.deadlines,
        { caption: "Deadlines" },
      ),
    );
    expiryCard.hidden = !page.expiry_day;
    if (page.expiry_day) {
      setText(night, page.expiry_day.tomorrow.join(" "));
      redraw(
      expires,
        table(
          [
            { head: "Leg", cell: (leg) => leg.label },
            { head: "Held", class: "num", cell: (leg) => heldText(leg.units) },
            { head: "Left", class: "num", cell: (leg) => countdown(leg.seconds_left) },
            { head: "In the money by, σ left", class: "num", cell: (leg) => h("b", { class: leg.is_pinned ? "warn" : "" }, shown(signed(leg.distance, 1))) },
            { head: "Chance", class: "num narrow-gone", cell: (leg) => perCent(leg.chance, 0) },
            { head: "Last order", class: "num", cell: (leg) => leg.order },
            { head: "Last notice", class: "num", cell: (leg) => shown(leg.notice) },
            { head: "Exercised now", class: "num narrow-gone", cell: (leg) => unsigned(leg.exercised) },
            { head: "At its mark", class: "num narrow-gone", cell: (leg) => unsigned(leg.kept) },
            { head: "Shares if exercised", class: "num", cell: (leg) => signed(leg.shares_if_exercised, 0) },
            { head: "If not", class: "num", cell: (leg) => signed(leg.shares_if_not, 0) },
          ],
          page.expiry_day.legs,
          { caption: "Expires today" },
        ),
      );
    }
    if (!page.payoff || page.spot === null) return;
    latest = { spots: page.payoff.spots, now: page.payoff.now };
    keptKey.hidden = !kept;
    chart.set([page.payoff.spots, page.payoff.now, page.payoff.expiry, page.payoff.spots.map((each) => (kept ? valueAt(kept, each) : null))]);
    redraw(ladder, ladderTable(page.ladder, page.spot, page.currency));
  }

  const stop = poll(path, draw, 1);
  date.addEventListener("input", () => stop.now());
  vol.addEventListener("input", () => { setText(volText, `${Number(vol.value) > 0 ? "+" : ""}${vol.value.replace("-", "−")} pts`); stop.now(); });
  expiry.addEventListener("change", choose);
  smile.addEventListener("change", () => stop.now());
  return {
    update() {},
    restyle: () => { chart.restyle(); own.chart.restyle(); },
    destroy: () => { stop(); risk.stop(); chart.destroy(); own.chart.destroy(); },
  };
}

// Where do the options earn? Their P&L since they were opened, today and at expiry.
function ownCurve() {
  const words = h("div"), plot = h("div", { class: "plot own" }), choice = h("span", { class: "controls-row" });
  let /** @type {Shapes["StructureCurve"][]} */ curves = [], /** @type {Shapes["HeldStructure"][]} */ held = [], chosen = "";
  const curve = () => curves.find((each) => each.underlying === chosen) ?? curves[0];
  const marks = () => {
    const drawn = curve(), own = held.find((each) => each.underlying === drawn?.underlying);
    if (!drawn || !own) return [{ y: 0 }];
    return [
      { y: 0, dash: [] },
      ...(own.outlook?.break_evens ?? []).map((price, i) => ({ x: price, label: plain(price) ?? "", colour: "text", dash: [2, 3], row: 2, isLeft: i === 0 })),
      ...(drawn.entry_spot === null ? [] : [{ x: drawn.entry_spot, label: `entry ${plain(drawn.entry_spot)}`, dash: [6, 3], row: 1 }]),
      ...(own.spot === null ? [] : [{ x: own.spot, label: `spot ${plain(own.spot)}`, colour: "accent", dash: [] }]),
    ];
  };
  const chart = new LineChart(plot, [{ label: "at expiry", colour: "up", fill: "band" }, { label: "today", colour: "text" }], {
    label: "P&L of the options since they were opened, against the spot, today and at expiry",
    time: false,
    xValues: plainNumber(0),
    xName: "spot",
    yValues: signedNumber(0),
    axisWidth: 70,
    draw: guides(marks),
  });
  const element = h(
    "section",
    { class: "card w8 fills" },
    h("div", { class: "top" }, h("h2", {}, "Where does it earn?"), choice, h("div", { class: "legend" }, h("span", { class: "text" }, "today"), h("span", { class: "up" }, "at expiry"), h("span", { class: "text dash" }, "break-even"))),
    words,
    plot,
  );

  /** @param {Shapes["HeldStructure"][]} structures @param {Shapes["StructureCurve"][]} found */
  function draw(structures, found) {
    [held, curves] = [structures, found];
    redraw(words, ...(structures.length ? structures.map((each) => h("p", { class: "verdict one" }, each.words)) : [h("p", { class: "empty" }, "No option is held.")]));
    choice.replaceChildren(...(found.length > 1 ? found.map((each) => h("button", { type: "button", "aria-pressed": String(each === curve()), onclick: () => { chosen = each.underlying; draw(held, curves); } }, each.underlying)) : []));
    const drawn = curve();
    if (drawn) chart.set([drawn.spots, drawn.expiry, drawn.today]);
    else { chart.clear(); plot.replaceChildren(h("p", { class: "empty" }, structures.length ? "No curve: a held option has no price yet." : "The curve appears here once an option is held.")); }
  }
  return { element, draw, chart };
}

// What the options may lose or earn by themselves, beside the worst of the scenarios of all that is held.
/** @param {Shapes["PositionPage"]} page */
function stakeFacts({ structures, currency }) {
  const head = store.state?.head, decimals = places(currency ?? "USD");
  const each = (key) => structures.map((one) => stakeText(one, key, decimals)).join("; ");
  return facts([
    ...(structures.length ? [["Largest loss of the options, at expiry", each("most_loss")], ["Largest gain of the options, at expiry", each("most_gain")]] : []),
    ["Worst case of scenarios, all that is held, now", signed(head?.worst_pnl, decimals)],
    ["Loss limit of the day", plain(head?.limit ? Math.abs(Number(head.limit)) : null, decimals)],
    ...structures.map((one) => [`Chance to earn at expiry, by implied volatility${structures.length > 1 ? `, ${one.underlying}` : ""}`, one.outlook ? `${plain(100 * one.outlook.chance, 0)} %` : "·"]),
    ...structures.map((one) => [`Open P&L of the options${structures.length > 1 ? `, ${one.underlying}` : ""}`, booked(one.open_pnl), bookedTone(one.open_pnl)]),
  ]);
}

/** @typedef {{spots: number[], now: number[]}} Curve */

// A kept curve at a spot of today's, between two of its own; null outside of them.
/** @param {Curve} curve @param {number} spot */
export function valueAt({ spots, now }, spot) {
  const right = spots.findIndex((each) => each >= spot);
  if (right < 0 || (right === 0 && spots[0] > spot)) return null;
  if (spots[right] === spot) return now[right];
  const share = (spot - spots[right - 1]) / (spots[right] - spots[right - 1]);
  return now[right - 1] + share * (now[right] - now[right - 1]);
}

// The highest spot first; a cell in coin also in dollars at the price of its spot.
/** @param {Shapes["Ladder"]} ladder @param {number} spot @param {string} currency */
export function ladderTable({ moves, vol_points: points, pnl, heat }, spot, currency) {
  const decimals = places(currency);
  const rows = moves.map((move, at) => ({ spot: spot * (1 + move), move, pnl: pnl[at], heat: heat[at] })).reverse();
  const dollars = (row, i) => (currency === "USD" ? [] : [h("small", { class: "muted" }, ` ${signed(row.pnl[i] * row.spot, 0)} $`)]);
  return paintHeat(table(
    [
      { head: "Spot", class: "nowrap", cell: (row) => plain(row.spot) },
      { head: "Move %", class: "num", cell: (row) => signed(100 * row.move, 0) },
      ...points.map((change, i) => ({ head: change ? `${signed(100 * change, 0)} pts` : "vol now", class: "heat", cell: (row) => [heatCell(shown(signed(row.pnl[i], decimals)), row.heat[i]), ...dollars(row, i)] })),
    ],
    rows,
    { caption: "Ladder" },
  ));
}

// What the book may lose in a session and at once, in a sentence.
/** @param {Answer<"/api/risk">} page */
export function riskSentence({ measures, worst_case: worst, currency }) {
  const decimals = places(currency);
  const lowest = `worst case is ${signed(worst.pnl, decimals)} ${currency}: spot ${signed(100 * worst.move, 0)} %, 30-day volatility ${signed(100 * worst.vol_points, 0)} points, now.`;
  const tail = measures.filter((row) => row.confidence === 0.99).at(-1);
  if (!tail) return `The ${lowest}`;
  return `One session in a hundred loses ${plain(tail.var, decimals)} ${currency} or more, on average ${plain(tail.es, decimals)}. The ${lowest}`;
}

/** @param {Shapes["RiskCorrelation"]} correlation */
function correlations({ symbols, ewma }) {
  return symbols.flatMap((first, i) => symbols.slice(i + 1).map((second, j) => `${first}/${second} ${plain(ewma[i][i + 1 + j])}`)).join(", ");
}

// What is held, without the legs of a look: value at risk and stress days.
function riskCard() {
  const sentence = h("p", { class: "verdict one" }), from = h("p", { class: "muted" }), at = h("span", { class: "muted" });
  const measures = h("div"), stress = h("div"), notes = h("p", { class: "muted" });
  const body = h(
    "div",
    {},
    from,
    measures,
    h("h3", {}, "Stress days, at once"),
    stress,
    notes,
  );
  let last = null;

  /** @param {Answer<"/api/risk">} page */
  function draw(page) {
    const nothing = whyNothing(page);
    body.hidden = Boolean(nothing);
    sentence.replaceChildren(nothing || riskSentence(page));
    setText(at, nothing ? " " : `${page.as_of} ET${page.current ? "" : ", computing"}`);
    if (nothing || (last && JSON.stringify(last) === JSON.stringify(page))) return;
    last = page;
    from.replaceChildren(
      [page.history && `Full repricing up to the ${page.horizon} by ${plain(page.history.moves, 0)} daily moves of ${page.history.first} to ${page.history.last}, ${page.smile} smile, ${page.currency}.`, page.correlation && `Correlation by EWMA ${correlations(page.correlation)}.`].filter(Boolean).join(" "),
    );
    const decimals = places(page.currency);
    redraw(
      measures,
      table(
        [
          { head: "Loss of a session", cell: (row) => `${row.method}, ${100 * row.confidence} %` },
          { head: "Value at risk", class: "num", cell: (row) => plain(row.var, decimals) },
          { head: "Expected shortfall", class: "num", cell: (row) => plain(row.es, decimals) },
          { head: "Scenarios", class: "num narrow-gone", cell: (row) => row.scenarios },
        ],
        page.measures,
        { caption: "Value at risk and expected shortfall" },
      ),
    );
    redraw(
      stress,
      table(
        [
          { head: "Day", class: "nowrap", cell: (row) => row.day },
          { head: "What", class: "narrow-gone", cell: (row) => row.label },
          { head: "Moves", class: "num", cell: (row) => Object.entries(row.moves).map(([symbol, move]) => `${symbol} ${signed(100 * move)} %`).join(", ") },
          { head: "Volatility index", class: "num narrow-gone", cell: (row) => `${plain(row.index_from)} to ${plain(row.index_to)}` },
          { head: "P&L", class: "num", cell: (row) => tinted(signed(row.pnl, decimals), toneOf(row.pnl, decimals)) },
        ],
        page.stress,
        { caption: "Stress days" },
      ),
    );
    notes.replaceChildren(page.notes.join(" "));
  }

  const element = h("section", { class: "card wide" }, h("div", { class: "top" }, h("h2", {}, "Risk of the book"), at), sentence, body);
  return { element, stop: poll("/api/risk", draw, 5) };
}
