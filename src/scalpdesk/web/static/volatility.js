// Volatility: is it cheap?

import { LineChart, heatCell, paintHeat, plainNumber } from "./charts.js";
import { card, facts, h, poll, shown, table } from "./dom.js";
import { store } from "./store.js";

const TONES = ["text", "up", "down", "muted"];

export function create(main) {
  const sentence = h("p", { class: "verdict" });
  const figures = h("div"), heat = h("div"), gex = h("div"), gexNote = h("span", { class: "muted" });
  const smiles = [0, 1, 2, 3].map(() => ({ title: h("h3", {}), plot: h("div", { class: "plot small" }) }));
  const termPlot = h("div", { class: "plot small" }), timePlot = h("div", { class: "plot small" });
  main.replaceChildren(
    h("section", { class: "card wide" }, h("h2", {}, "Is it cheap?"), sentence, figures),
    card("w6", "Realised and implied today, %", timePlot),
    card("w6", "Term structure at the money, %", termPlot),
    ...smiles.map(({ title, plot }) => h("section", { class: "card w6", hidden: true }, title, plot)),
    card("w6", "Implied volatility by expiry and strike", heat),
    h("section", { class: "card w6" }, h("div", { class: "top" }, h("h2", {}, "Dealer gamma by strike, USD of delta per 1 %"), gexNote), gex),
  );
  const charts = smiles.map(
    ({ plot }, i) =>
      new LineChart(plot, [{ label: "implied", colour: TONES[i] }], { label: "Smile", time: false, xValues: plainNumber(0), yValues: plainNumber(0), ySpace: 26 }),
  );
  const term = new LineChart(termPlot, [{ label: "at the money", colour: "up" }], {
    label: "Term structure", time: false, xValues: (_, splits) => splits.map((days) => `${days} d`), yValues: plainNumber(1), ySpace: 26,
  });
  const time = new LineChart(timePlot, [{ label: "realised", colour: "up" }, { label: "implied", colour: "muted", dash: [5, 3] }], {
    label: "Realised and implied volatility of the day", yValues: plainNumber(0), ySpace: 26,
  });

  function draw(page) {
    sentence.replaceChildren(page.empty || page.error || page.sentence);
    if (page.empty || page.error) return;
    figures.replaceChildren(
      facts([
        ["Implied, of the book", page.implied],
        ["Realised so far", page.realised],
        ["Forecast", page.forecast ? `${page.forecast} (${page.forecast_model})` : page.forecast_reason || null],
        ["Its interval", page.forecast_interval],
        ["Regime of the forecast", page.regime],
        ...page.exposures.map((each) => [`Dealer gamma, ${each.symbol} (${each.source})`, each.usd]),
      ]),
    );
    smiles.forEach(({ plot }, i) => { plot.closest(".card").hidden = i >= page.smiles.length; });
    page.smiles.forEach((smile, i) => {
      smiles[i].title.textContent = `Smile of ${smile.expiry}, ${smile.days} d, %`;
      charts[i].set([smile.strikes, smile.vols]);
    });
    term.set([page.term.map((each) => each.days), page.term.map((each) => 100 * each.atm)]);
    heat.replaceChildren(
      table(
        [
          { head: "Expiry", class: "nowrap", cell: (row) => row.expiry },
          ...page.heat.moves.map((move, i) => ({ head: move, class: "heat", cell: (row) => heatCell(shown(row.cells[i].text), row.cells[i].heat ?? 0) })),
        ],
        page.heat.rows,
        { caption: "Implied volatility by expiry and strike" },
      ),
    );
    paintHeat(heat);
    gexNote.textContent = page.gex.reason || `net ${shown(page.gex.net)}; walls ${shown(page.gex.put_wall)} and ${shown(page.gex.call_wall)}`;
    gex.replaceChildren(bars(page.gex.strikes));
  }

  function series() {
    const columns = store.series.columns;
    if (columns.t && columns.t.length) time.set([columns.t, columns.realised, columns.implied]);
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

function bars(rows) {
  if (!rows.length) return h("p", { class: "empty" }, "No open interest is known for these strikes.");
  return h(
    "div",
    { class: "fall", role: "list", "aria-label": "Dealer gamma by strike" },
    rows.map((row) => {
      const bar = h("i", { class: row.share >= 0 ? "up" : "down" });
      const width = 50 * Math.abs(row.share);
      bar.style.left = `${row.share >= 0 ? 50 : 50 - width}%`;
      bar.style.width = `${width}%`;
      const zero = h("s");
      zero.style.left = "50%";
      return h("div", { role: "listitem" }, h("span", {}, row.strike), h("div", { class: "track" }, zero, bar), h("span", { class: "amount" }, row.text));
    }),
  );
}
