// Volatility: is it cheap? A colour means the same on the whole page: implied, realised, forecast.

import { LineChart, guides, heatCell, paintHeat, plainNumber } from "./charts.js";
import { card, facts, h, poll, redraw, shown, table, whyNothing } from "./dom.js";
import { perCent, plain, signed } from "./figures.js";
import { store } from "./store.js";

const IMPLIED = "text", REALISED = "up", FORECAST = "down";
const key = (text, tone, kind = "") => h("span", { class: `${tone} ${kind}` }, text);

export function create(main) {
  const sentence = h("p", { class: "verdict one" }), day = h("p", { class: "muted" });
  const figures = h("div"), heat = h("div"), gex = h("div"), gexNote = h("span", { class: "muted" }), gexTitle = h("h2", {}, "Dealer gamma by strike");
  const smiles = [0, 1, 2, 3].map(() => ({ title: h("h3", {}), plot: h("div", { class: "plot mid" }), lines: /** @type {Guide[]} */ ([]) }));
  const termPlot = h("div", { class: "plot small" }), timePlot = h("div", { class: "plot small" });
  main.replaceChildren(
    h("section", { class: "card wide" }, h("h2", {}, "Is it cheap?"), sentence, day, figures),
    card("w6", "Volatility today, % a year in session time", h("div", { class: "legend" }, key("implied", IMPLIED), key("realised", REALISED), key("forecast", FORECAST, "dash")), timePlot),
    card("w6", "Implied at the money by days to expiry, % a year", h("div", { class: "legend" }, key("implied, calendar time as quoted", IMPLIED)), termPlot),
    ...smiles.map(({ title, plot }) =>
      h("section", { class: "card w6", hidden: true }, h("div", { class: "top" }, title, h("div", { class: "legend" }, key("fitted", IMPLIED), key("quotes", IMPLIED, "dot"))), plot)),
    h("section", { class: "card w6" }, h("div", { class: "top" }, h("h2", {}, "Implied by expiry and move of the strike from the spot, % a year"), h("span", { class: "muted" }, "stronger shade: higher")), heat),
    h("section", { class: "card w6" }, h("div", { class: "top" }, gexTitle, gexNote), gex),
  );
  const charts = smiles.map(
    (smile) =>
      new LineChart(smile.plot, [{ label: "fitted", colour: IMPLIED }, { label: "quoted", colour: IMPLIED, dots: "only" }], {
        label: "Smile: fitted curve and quotes", time: false, xValues: plainNumber(0), yValues: plainNumber(1), ySpace: 26, draw: guides(() => smile.lines),
      }),
  );
  const term = new LineChart(termPlot, [{ label: "at the money", colour: IMPLIED, dots: "line" }], {
    label: "Implied volatility at the money by expiry", time: false, xValues: (_, splits) => splits.map((days) => `${days} d`), yValues: plainNumber(1), ySpace: 26,
  });
  const time = new LineChart(
    timePlot,
    [{ label: "implied", colour: IMPLIED }, { label: "realised", colour: REALISED }, { label: "forecast", colour: FORECAST, dash: [5, 3] }],
    { label: "Implied, realised and forecast volatility of the day", yValues: plainNumber(0), ySpace: 26 },
  );
  let forecast = null, opened = 0;

  /** @param {Answer<"/api/volatility">} page */
  function draw(page) {
    sentence.replaceChildren(whyNothing(page) || page.sentence);
    if (whyNothing(page)) return;
    day.replaceChildren(page.day || "");
    figures.replaceChildren(
      facts([
        [`Implied, ${page.implied_days === null ? "of the book" : `at the money in ${page.implied_days} d`}`, page.implied && `${perCent(page.implied)} in session time`],
        ["Priced into theta today", perCent(page.paid)],
        ["Realised today", perCent(page.realised)],
        ["Forecast", page.forecast ? `${perCent(page.forecast)} (${page.forecast_model}, ${page.forecast_days} d)` : page.forecast_reason || null],
        ["Its interval", page.forecast_low && page.forecast_high && `${perCent(page.forecast_low)} to ${perCent(page.forecast_high)}`],
        ["Spot", plain(page.spot)],
        ...page.exposures.map((each) => [`Dealer gamma, ${each.symbol} (${each.source})`, gammaText(each.usd)]),
      ]),
    );
    forecast = page.forecast === null ? null : 100 * page.forecast;
    opened = page.opened;
    series();
    smiles.forEach(({ plot }, i) => { plot.closest(".card").hidden = i >= page.smiles.length; });
    page.smiles.forEach((smile, i) => {
      smiles[i].title.textContent = `Smile of ${smile.expiry}, ${smile.days} d, % a year by strike`;
      smiles[i].lines = [{ x: page.spot, label: "spot" }];
      // a forward that lies on the spot would only blur its line
      if (Math.abs(smile.forward / page.spot - 1) > 0.002) smiles[i].lines.push({ x: smile.forward, dash: [1, 3], label: "forward" });
      charts[i].set([smile.strikes, smile.vols, smile.quoted]);
    });
    term.set([page.term.map((each) => each.days), page.term.map((each) => each.atm)]);
    redraw(
      heat,
      paintHeat(table(
        [
          { head: "Expiry", class: "nowrap", cell: (row) => row.expiry },
          ...page.heat.moves.map((move, i) => ({ head: move ? `${signed(100 * move, 0)} %` : "spot", class: "heat", cell: (row) => heatCell(shown(row.cells[i].vol === null ? null : plain(100 * row.cells[i].vol, 1)), row.cells[i].heat ?? 0) })),
        ],
        page.heat.rows,
        { caption: "Implied volatility by expiry and strike" },
      ), IMPLIED),
    );
    const { scale, unit } = gammaUnit(Math.max(...page.gex.strikes.map((each) => Math.abs(each.usd))));
    gexTitle.textContent = `Dealer gamma by strike${page.gex.strikes.length ? `, ${unit} per 1 % move` : ""}`;
    gexNote.textContent = [page.gex.reason || `net ${shown(gammaText(page.gex.net_usd))}; walls ${shown(plain(page.gex.put_wall))} and ${shown(plain(page.gex.call_wall))}`, page.gex.covers_text].filter(Boolean).join("; ");
    gex.replaceChildren(bars(page.gex.strikes, scale));
  }

  function series() {
    const { t, implied, realised } = store.series.columns;
    if (!t || !t.length) return;
    const start = Math.max(t.findIndex((moment) => moment >= opened), 0);  // of the session, not of the whole run
    time.set([t.slice(start), implied.slice(start), realised.slice(start), t.slice(start).map(() => forecast)]);
  }

  const stop = poll("/api/volatility", draw, 2);
  series();
  const every = [...charts, term, time];
  return {
    update: (what) => what === "series" && series(),
    restyle: () => every.forEach((chart) => chart.restyle()),
    destroy: () => { stop(); every.forEach((chart) => chart.destroy()); },
  };
}

const gammaUnit = (usd) => (Math.abs(usd) >= 1e6 ? { scale: 1e6, unit: "M USD" } : { scale: 1e3, unit: "thousand USD" });

// Dealer gamma with its unit.
/** @param {number | null | undefined} usd */
export function gammaText(usd) {
  if (usd === null || usd === undefined) return null;
  const { scale, unit } = gammaUnit(usd);
  return `${signed(usd / scale, 1)} ${unit} per 1 %`;
}

/** @param {Shapes["GammaBar"][]} rows @param {number} scale */
function bars(rows, scale) {
  if (!rows.length) return h("p", { class: "empty" }, "No open interest is known for these strikes.");
  return h(
    "div",
    { class: "fall", role: "list", "aria-label": "Dealer gamma by strike" },
    rows.map((row) => {
      const bar = h("i");
      const width = 50 * Math.abs(row.share);
      bar.style.left = `${row.share >= 0 ? 50 : 50 - width}%`;
      bar.style.width = `${width}%`;
      const zero = h("s");
      zero.style.left = "50%";
      return h("div", { role: "listitem" }, h("span", {}, plain(row.strike)), h("div", { class: "track" }, zero, bar), h("span", { class: "amount" }, signed(row.usd / scale, 1)));
    }),
  );
}
