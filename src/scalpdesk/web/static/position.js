// Position: what happens if it moves?

import { LineChart, guides, heatCell, paintHeat, plainNumber, signedNumber } from "./charts.js";
import { card, h, poll, shown, table, tinted } from "./dom.js";

export function create(main) {
  const sentence = h("p", { class: "verdict" });
  const legs = h("div"), ladder = h("div"), deadlines = h("div"), whatIf = h("div");
  const plot = h("div", { class: "plot mid" });
  const legend = h("div", { class: "legend" }, h("span", { class: "text" }, "now"), h("span", { class: "up dash" }, "at the first expiry"));
  main.replaceChildren(
    h("section", { class: "card wide" }, h("h2", {}, "What happens if it moves?"), sentence),
    card("w8", "P&L against spot, from here", legend, plot),
    card("w4", "Deadlines", deadlines),
    card("wide", "Legs", legs),
    card("wide", "Ladder: P&L at a spot and a change of volatility, now", ladder),
  );
  const chart = new LineChart(plot, [{ label: "now", colour: "text" }, { label: "at expiry", colour: "up", dash: [5, 3] }], {
    label: "P&L of the book against the spot, now and at the first expiry",
    time: false,
    xValues: plainNumber(0),
    yValues: signedNumber(0),
    axisWidth: 70,
    draw: guides(() => [{ y: 0 }, ...(spot ? [{ x: spot, label: "spot" }] : [])]),
  });
  let spot = null;

  function draw(page) {
    if (page.empty || page.error) {
      sentence.replaceChildren(page.empty || page.error);
      plot.replaceChildren(h("p", { class: "empty" }, "The payoff appears here once an option is held."));
      ladder.replaceChildren(h("p", { class: "empty" }, "The ladder appears here once something is held."));
      legs.replaceChildren(h("p", { class: "empty" }, page.empty || page.error));
      deadlines.replaceChildren(h("p", { class: "empty" }, "No deadline of a position."));
      return;
    }
    spot = page.spot;
    sentence.replaceChildren(shown(page.sentence || page.note_ladder));
    legs.replaceChildren(
      table(
        [
          { head: "Leg", cell: (leg) => leg.label },
          { head: "Held", class: "num", cell: (leg) => leg.held },
          { head: "Entry", class: "num", cell: (leg) => leg.entry },
          { head: "Mark", class: "num", cell: (leg) => h("span", { class: leg.verdict === "good" ? "" : "stale warn" }, shown(leg.mark)) },
          { head: "Open P&L", class: "num", cell: (leg) => tinted(leg.open_pnl, leg.open_tone) },
          { head: "Vol", class: "num narrow-gone", cell: (leg) => leg.vol },
          { head: "Delta", class: "num narrow-gone", cell: (leg) => leg.delta },
          { head: "Gamma", class: "num narrow-gone", cell: (leg) => leg.gamma },
          { head: "Theta / d", class: "num narrow-gone", cell: (leg) => leg.theta },
          { head: "Vega / pt", class: "num narrow-gone", cell: (leg) => leg.vega },
          { head: "Expiry", class: "num narrow-gone", cell: (leg) => leg.expiry },
        ],
        page.legs,
        { caption: "Legs" },
      ),
    );
    deadlines.replaceChildren(
      table(
        [
          { head: "What", cell: (row) => row.what },
          { head: "When", class: "num", cell: (row) => row.at },
          { head: "Left", class: "num", cell: (row) => h("b", { class: row.tone === "warn" ? "warn" : "" }, row.left) },
        ],
        page.deadlines,
        { caption: "Deadlines" },
      ),
    );
    if (!page.payoff) return;
    chart.set([page.payoff.spots, page.payoff.now, page.payoff.expiry]);
    ladder.replaceChildren(
      table(
        [
          { head: "Spot", class: "nowrap", cell: (row) => row.spot },
          { head: "Move %", class: "num", cell: (row) => row.move },
          ...page.ladder.vols.map((vol, i) => ({ head: vol, class: "heat", cell: (row) => [heatCell(shown(row.cells[i].text), row.cells[i].heat), ...(row.cells[i].usd ? [h("small", { class: "muted" }, ` ${row.cells[i].usd} $`)] : [])] })),
        ],
        page.ladder.rows,
        { caption: "Ladder" },
      ),
    );
    paintHeat(ladder);
  }

  const stop = poll("/api/position", draw, 1);
  return { update() {}, restyle: () => chart.restyle(), destroy: () => { stop(); chart.destroy(); } };
}
