// Charts by uPlot, and a table in their place where it is missing.

import { exportButton, fileName, h, saveFile, table } from "./dom.js";
import { booked, bookedTone, perCent, unsigned } from "./figures.js";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const ZONE = "America/New_York";
const hasCharts = () => typeof window.uPlot === "function";

const clockText = (seconds) =>
  new Date(seconds * 1000).toLocaleTimeString("en-GB", { timeZone: ZONE, hour: "2-digit", minute: "2-digit" });

const momentText = (seconds, isDated) =>
  new Date(seconds * 1000).toLocaleString("en-GB", { timeZone: ZONE, hour: "2-digit", minute: "2-digit", second: "2-digit", ...(isDated ? { day: "numeric", month: "short" } : {}) });

// A value with as many decimals as a five-hundredth of its scale needs.
export function pointText(value, { min, max }) {
  if (value === null || value === undefined || Number.isNaN(value)) return "·";
  const digits = max > min ? Math.min(Math.max(Math.ceil(-Math.log10((max - min) / 500)), 0), 8) : 2;
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", "−");
}

function axes(options) {
  const shared = {
    stroke: css("muted"),
    font: "12px system-ui, sans-serif",
    ticks: { show: false },
    grid: { stroke: css("line"), width: 1 },
    // uPlot's own ticks of a logarithm may never end where the scale begins at no round number
    ...(options.isLog ? { splits: (_, axis, low, high) => logTicks(low, high), filter: (_, splits) => splits } : {}),
  };
  return [
    {
      ...shared,
      grid: { show: false },
      size: 26,
      space: 90,
      values: options.xValues || ((_, splits) => splits.map(clockText)),
      ...(options.xSplits ? { splits: options.xSplits, filter: (_, splits) => splits } : {}),
    },
    { ...shared, side: 1, size: options.axisWidth || 50, space: options.ySpace || 34, values: options.yValues },
  ];
}

const NIGHT_SECONDS = 3 * 3600, NIGHT_SHOWN = 900;

// Sessions side by side: a night is as wide as a quarter of an hour. `to` gives where a time stands, `back` the time
// that stands there; null of times without a night.
/** @param {number[]} times */
export function withoutNights(times) {
  const firsts = times.flatMap((each, i) => (i === 0 || each - times[i - 1] > NIGHT_SECONDS ? [i] : []));
  if (firsts.length < 2) return null;
  let at = 0;
  const parts = firsts.map((first, n) => {
    const part = { from: times[first], long: times[(firsts[n + 1] ?? times.length) - 1] - times[first], at };
    at += part.long + NIGHT_SHOWN;
    return part;
  });
  const partOf = (value, key) => parts.findLast((part) => part[key] <= value) ?? parts[0];
  const to = (time) => { const part = partOf(time, "from"); return part.at + Math.min(time - part.from, part.long); };
  const back = (x) => { const part = partOf(x, "at"); return part.from + Math.min(x - part.at, part.long); };
  const dayText = (seconds) => new Date(seconds * 1000).toLocaleDateString("en-GB", { timeZone: ZONE, day: "numeric", month: "short" });
  return {
    to,
    back,
    options: {
      time: false,
      timeOf: back,
      xValues: (_, splits) => splits.map((x) => (parts.some((part) => part.at === x) ? dayText(back(x)) : clockText(back(x)))),
      xSplits: (_, axis, low, high) => {
        const shown = parts.map((part) => part.at).filter((x) => x >= low && x <= high), each = Math.ceil(shown.length / 8);
        return shown.length > 1 ? shown.filter((x, i) => i % each === 0) : [0.1, 0.3, 0.5, 0.7, 0.9].map((share) => low + share * (high - low));
      },
    },
  };
}

export function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1)
    for (const first of [1, 2, 3, 5, 7]) { const value = Number(`${first}e${power}`); if (value >= low && value <= high) found.push(value); }
  return found;
}

export const logNumber = (_, splits) => splits.map((value) => value.toLocaleString("en-US", { maximumFractionDigits: 8 }));

// as many decimals as a tick has: an axis in coin has ticks of 0.0002, a narrow one of prices 252.5
const decimals = (digits, splits) => {
  const step = splits.length > 1 ? splits[1] - splits[0] : 1;
  let found = digits;
  while (step > 0 && found < 8 && Math.abs(step * 10 ** found - Math.round(step * 10 ** found)) > 1e-6) found += 1;
  return { maximumFractionDigits: found };
};

export const plainNumber = (digits = 0) => (_, splits) =>
  splits.map((value) => value.toLocaleString("en-US", decimals(digits, splits)).replace("-", "−"));

export const signedNumber = (digits = 0) => (_, splits) =>
  splits.map((value) => {
    const text = Math.abs(value).toLocaleString("en-US", decimals(digits, splits));
    return value > 0 ? `+${text}` : value < 0 ? `−${text}` : "0";
  });

// The named columns of a chart as they came, unrounded; times in UTC, what is not known empty.
/** @param {any[]} lines @param {any[]} data @param {{time?: boolean, xName?: string, timeOf?: ((x: number) => number) | null}} [options] */
export function csvOfColumns(lines, data, { time = true, xName = "x", timeOf = null } = {}) {
  const named = lines.flatMap((line, i) => (line.label ? [[line.label, data[i + 1]]] : []));
  const at = (value) => (time || timeOf ? new Date((timeOf ? timeOf(value) : value) * 1000).toISOString() : String(value));
  const row = (cells) => `${cells.map((cell) => (/[",\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(",")}\r\n`;
  return [
    row([time || timeOf ? "time_utc" : xName, ...named.map(([label]) => label)]),
    ...data[0].map((value, i) => row([at(value), ...named.map(([, column]) => String(column[i] ?? ""))])),
  ].join("");
}

// A chart of columns over a shared x; `lines` are [{name, label, colour, dash, width, fill}].
export class LineChart {
  constructor(host, lines, options = {}) {
    this.host = host;
    this.lines = lines;
    this.options = options;
    this.data = [[], ...lines.map(() => [])];
    /** @type {Chart | null} */
    this.plot = null;
    this.isZoomed = false;
    this.readout = h("div", { class: "readout", hidden: true });
    this.whole = h("button", { type: "button", class: "export whole", hidden: true, "aria-label": `${options.label}: show the whole again`, onclick: () => this.zoomOut() }, "Whole");
    this.resize = new ResizeObserver(() => this.fit());
    this.resize.observe(host);
  }

  build() {
    if (this.plot) this.plot.destroy();
    const { host, lines, options } = this;
    host.replaceChildren();
    const series = lines.map((line) => ({
      label: line.label,
      stroke: line.colour ? css(line.colour) : undefined,
      width: line.width ?? 1.5,
      dash: line.dash,
      fill: line.fill ? css(line.fill) : undefined,
      points: line.dots ? { show: true, size: 6, fill: css(line.colour) } : { show: false },
      spanGaps: line.joined === true,
      paths: line.dots === "only" ? () => null : undefined,
    }));
    this.plot = new window.uPlot(
      {
        width: Math.max(host.clientWidth, 50),
        height: Math.max(host.clientHeight, 50),
        legend: { show: false },
        cursor: {
          y: false,
          points: { size: (_, at) => (lines[at - 1].label ? 6 : 0) },
          drag: { x: true, y: false },
          bind: { dblclick: () => () => { this.zoomOut(); return null; } },
          ...(options.sync ? { sync: { key: options.sync, setSeries: false } } : {}),
        },
        tzDate: (seconds) => window.uPlot.tzDate(new Date(seconds * 1000), ZONE),
        padding: [8, 4, 0, 24],
        scales: {
          x: { time: options.time !== false, distr: options.isLog ? 3 : 1, ...(options.xRange ? { range: options.xRange } : {}) },
          y: { distr: options.isLog ? 3 : 1, ...(options.range ? { range: options.range } : {}) },
        },
        axes: axes(options),
        series: [{}, ...series],
        bands: options.bands ? options.bands.map((band) => ({ series: band.series, fill: css(band.fill) })) : [],
        hooks: { draw: options.draw ? [options.draw].flat() : [], setCursor: [(plot) => this.read(plot), ...(options.cursor ? [options.cursor] : [])], setSelect: [(plot) => plot.select.width > 0 && this.setZoomed(true)] },
      },
      this.data,
      host,
    );
    const canvas = host.querySelector("canvas");
    if (canvas) {
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", options.label || "chart");
    }
    const numbers = exportButton("CSV", options.label || "chart", () => saveFile(`${fileName(options.label)}.csv`, new Blob([csvOfColumns(lines, this.data, options)], { type: "text/csv" })));
    numbers.classList.add("beside");
    host.append(this.readout, this.whole, numbers, exportButton("PNG", options.label || "chart", () => this.save()));
  }

  setZoomed(isZoomed) {
    this.isZoomed = isZoomed;
    this.whole.hidden = !isZoomed;
  }

  zoomOut() {
    this.setZoomed(false);
    if (this.plot) this.plot.setData(this.data);
  }

  // The values at the pointer, on the side of the chart where the pointer is not.
  read(plot) {
    const at = plot.cursor.idx;
    this.readout.hidden = at === null || at === undefined || plot.cursor.left < 0;
    if (this.readout.hidden) return;
    this.readout.classList.toggle("left", plot.cursor.left > plot.over.clientWidth / 2);
    const shown = this.lines.map((line, i) => [line, this.data[i + 1][at]]).filter(([line]) => line.label);
    this.readout.replaceChildren(
      h("b", {}, this.xText(at)),
      ...shown.map(([line, value]) => h("span", { class: line.colour || "" }, `${line.label} ${pointText(value, plot.scales.y)}`)),
    );
  }

  xText(at) {
    const value = this.data[0][at], column = this.data[0];
    if (this.options.timeOf) return momentText(this.options.timeOf(value), true);
    if (this.options.time !== false) return momentText(value, column[column.length - 1] - column[0] > 86400);
    const text = this.options.xValues?.(this.plot, [value])[0];
    return text && Number.isNaN(Number(String(text).replaceAll(",", ""))) ? text : pointText(value, { min: column[0], max: column[column.length - 1] });
  }

  save() {
    const drawn = this.host.querySelector("canvas"), picture = h("canvas", { width: drawn.width, height: drawn.height + 28 });
    const context = /** @type {CanvasRenderingContext2D} */ (picture.getContext("2d"));
    context.fillStyle = css("panel");
    context.fillRect(0, 0, picture.width, picture.height);
    context.fillStyle = css("text");
    context.font = "13px system-ui, sans-serif";
    context.fillText(this.options.label || "", 8, 18);
    context.drawImage(drawn, 0, 28);
    picture.toBlob((blob) => blob && saveFile(`${fileName(this.options.label)}.png`, blob));
  }

  fit() {
    if (this.plot) this.plot.setSize({ width: Math.max(this.host.clientWidth, 50), height: Math.max(this.host.clientHeight, 50) });
  }

  set(data) {
    this.data = data;
    if (!hasCharts()) return this.instead();
    if (!this.plot) this.build();
    this.keepZoom(/** @type {Chart} */ (this.plot));
  }

  // New data under a zoom leaves the part that somebody looks at; data of elsewhere ends the zoom.
  keepZoom(plot, { min, max } = plot.scales.x) {
    const column = this.data[0], first = column[0], last = column[column.length - 1];
    if (this.isZoomed && !(min < last && max > first)) this.setZoomed(false);
    plot.setData(this.data, !this.isZoomed);
    if (this.isZoomed) plot.setScale("x", { min: Number(min), max: Number(max) });
  }

  instead() {
    const last = this.data[0].length;
    const rows = [];
    for (let i = Math.max(0, last - 6); i < last; i += 1) rows.push(i);
    this.host.replaceChildren(
      table(
        [
          this.options.time === false
            ? { head: this.options.xName || "", cell: (i) => String(this.data[0][i]) }
            : { head: "ET", cell: (i) => clockText(this.data[0][i]) },
          ...this.lines.filter((line) => line.label).map((line) => ({
            head: line.label,
            class: "num",
            cell: (i) => this.data[this.lines.indexOf(line) + 1][i]?.toFixed(2) ?? "·",
          })),
        ],
        rows,
        { caption: `${this.options.label}: the last values (the chart library is missing)` },
      ),
    );
  }

  // The host shows something else until the next data.
  clear() {
    if (this.plot) this.plot.destroy();
    this.plot = null;
    this.setZoomed(false);
  }

  restyle() {
    const { plot } = this;
    if (plot) { this.build(); this.keepZoom(/** @type {Chart} */ (this.plot), plot.scales.x); }
  }

  destroy() {
    this.resize.disconnect();
    this.clear();
  }
}

// Lines across a chart: the spot, the forward, zero; `lines` gives [{x or y, dash, label}], colour that of axes.
export function guides(lines) {
  return (plot) => {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = css("edge");
    ctx.fillStyle = css("muted");
    ctx.font = `${11 * (window.devicePixelRatio || 1)}px system-ui, sans-serif`;
    for (const { x, y, dash, label, row = 0, colour, isLeft } of lines()) {
      ctx.setLineDash(dash || [4, 4]);
      ctx.strokeStyle = css(colour || "edge");
      ctx.fillStyle = css(colour || "muted");
      ctx.beginPath();
      if (x !== undefined) {
        const at = plot.valToPos(x, "x", true);
        if (at < bbox.left || at > bbox.left + bbox.width) continue;
        ctx.moveTo(at, bbox.top);
        ctx.lineTo(at, bbox.top + bbox.height);
        if (label) {
          const isLate = isLeft || at + 4 + ctx.measureText(label).width > bbox.left + bbox.width;  // else it is cut at the right
          ctx.textAlign = isLate ? "right" : "left";
          ctx.fillText(label, at + (isLate ? -4 : 4), bbox.top + (12 + 14 * row) * (window.devicePixelRatio || 1));
        }
      } else {
        const at = plot.valToPos(y, "y", true);
        ctx.moveTo(bbox.left, at);
        ctx.lineTo(bbox.left + bbox.width, at);
      }
      ctx.stroke();
    }
    ctx.restore();
  };
}

// Triangles of executions on a price chart: up below the line for a buy, down above it for a sale; a diamond on the
// line where options were entered or left, at the price that the underlying had.
export function triangles(fills, size) {
  return (plot) => {
    const { t, price, side, hedge } = fills();
    const { ctx, bbox } = plot;
    const ratio = window.devicePixelRatio || 1;
    const half = size() * ratio;
    const colours = { 1: css("up"), "-1": css("down") };
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    for (let i = 0; i < t.length; i += 1) {
      const x = plot.valToPos(t[i], "x", true);
      if (!hedge[i]) {
        const spot = plot.data[1][plot.valToIdx(t[i])];
        if (spot !== null && spot !== undefined) diamond(ctx, x, plot.valToPos(spot, "y", true), 1.5 * half);
        continue;
      }
      const up = side[i] > 0;
      const y = plot.valToPos(price[i], "y", true) + (up ? 2.4 : -2.4) * half;
      ctx.fillStyle = colours[side[i]];
      ctx.beginPath();
      ctx.moveTo(x, y + (up ? -half : half));
      ctx.lineTo(x - half, y + (up ? half : -half));
      ctx.lineTo(x + half, y + (up ? half : -half));
      ctx.fill();
    }
    ctx.restore();
  };
}

function diamond(ctx, x, y, half) {
  ctx.fillStyle = css("accent");
  ctx.beginPath();
  for (const [dx, dy] of SHAPES.diamond) ctx.lineTo(x + dx * half, y + dy * half);
  ctx.fill();
}

// Shapes of marks, as corners around 0 in a square from -1 to 1: a key cuts the same shape out of its element.
const round = Array.from({ length: 20 }, (_, i) => [Math.cos((i * Math.PI) / 10), Math.sin((i * Math.PI) / 10)]);
const star = Array.from({ length: 10 }, (_, i) => [Math.sin((i * Math.PI) / 5), -Math.cos((i * Math.PI) / 5)].map((at) => at * (i % 2 ? 0.45 : 1.15)));
const cross = [[-0.35, -1], [0.35, -1], [0.35, -0.35], [1, -0.35], [1, 0.35], [0.35, 0.35], [0.35, 1], [-0.35, 1], [-0.35, 0.35], [-1, 0.35], [-1, -0.35], [-0.35, -0.35]];
const turned = (corners) => corners.map(([x, y]) => [(x - y) * 0.75, (x + y) * 0.75]);
export const SHAPES = {
  round,
  square: [[-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]],
  above: [[0, -1], [1, 0.8], [-1, 0.8]],
  below: [[0, 1], [1, -0.8], [-1, -0.8]],
  diamond: [[0, -1.1], [1.1, 0], [0, 1.1], [-1.1, 0]],
  cross,
  turned: turned(cross),
  bar: [[-1, -0.4], [1, -0.4], [1, 0.4], [-1, 0.4]],
  post: [[-0.4, -1], [0.4, -1], [0.4, 1], [-0.4, 1]],
  star,
};

export function shapeKey(text, shape, colour) {
  const mark = h("i", { class: "shape" });
  mark.style.background = `var(--${colour})`;
  mark.style.clipPath = `polygon(${SHAPES[shape].map(([x, y]) => `${50 + 40 * x}% ${50 + 40 * y}%`).join(",")})`;
  return h("span", { class: "tri" }, mark, text);
}

// Points with intervals: [{x, y, low, high, left, right, shape, colour, size, faint}], the ends of intervals in the
// units of their axis and null where there is none.
export function marks(points) {
  return (plot) => {
    const { ctx, bbox } = plot, ratio = window.devicePixelRatio || 1;
    const across = (value) => plot.valToPos(value, "x", true), up = (value) => plot.valToPos(value, "y", true);
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    for (const point of points()) {
      const x = across(point.x), y = up(point.y), size = (point.size || 4) * ratio;
      ctx.strokeStyle = ctx.fillStyle = css(point.colour);
      ctx.lineWidth = ratio;
      ctx.setLineDash([]);
      ctx.globalAlpha = point.faint ? 0.45 : 0.8;
      ctx.beginPath();
      if (point.low !== null && point.low !== undefined) { ctx.moveTo(x, up(point.low)); ctx.lineTo(x, up(point.high)); }
      if (point.left !== null && point.left !== undefined) { ctx.moveTo(across(point.left), y); ctx.lineTo(across(point.right), y); }
      ctx.stroke();
      ctx.globalAlpha = point.faint ? 0.6 : 1;
      ctx.beginPath();
      for (const [dx, dy] of SHAPES[point.shape || "round"]) ctx.lineTo(x + dx * size, y + dy * size);
      ctx.closePath();
      ctx.fill();
    }
    ctx.restore();
  };
}

// A bar on a track with a line at zero; `low` is the left end of the track and `width` its length.
export function track(low, width, from, to, tone) {
  const at = (value) => `${(100 * (value - low)) / width}%`;
  const bar = h("i", { class: tone }), zero = h("s");
  bar.style.left = at(Math.min(from, to));
  bar.style.width = `${(100 * Math.abs(to - from)) / width}%`;
  zero.style.left = at(0);
  return h("div", { class: "track" }, zero, from === to ? null : bar);
}

// P&L by source: bars that start where the one before ended, as rows that can be read aloud.
/** @param {{name: string, pnl: string, from: number, to: number}[]} parts */
export function waterfall(parts) {
  const ends = parts.flatMap((part) => [part.from, part.to]);
  const low = Math.min(0, ...ends), high = Math.max(0, ...ends);
  const width = high - low || 1;
  return h(
    "div",
    { class: "fall", role: "list", "aria-label": "P&L by source" },
    parts.map((part) => {
      const isTotal = part.name === "total";
      const tone = bookedTone(part.pnl), isZero = tone === "muted";
      return h(
        "div",
        { role: "listitem", class: [isTotal ? "last" : "", isZero ? "zero" : ""].join(" ") },
        h("span", {}, headed(part.name)),
        track(low, width, part.from, isZero ? part.from : part.to, isTotal ? "total" : tone),
        h("span", { class: `amount ${isTotal ? "" : tone}` }, booked(part.pnl)),
      );
    }),
  );
}

const headed = (name) => `${name[0].toUpperCase()}${name.slice(1).replaceAll("_", " ")}`;

// What hedging, entry and exit cost, and what of the total no source explains.
/** @param {Shapes["Costs"]} costs @param {number | null} residualShare */
export function costSentence({ total, hedging, entry_exit: entryExit, share_of_gamma_and_theta: share }, residualShare) {
  const spent = hedging === null
    ? `Costs ${unsigned(total)}.`
    : `Hedging cost ${unsigned(hedging)}${share === null ? "" : `, ${perCent(share, 0)} of gamma and theta`}; entry and exit ${unsigned(entryExit)}.`;
  return residualShare === null ? spent : `${spent} Residual ${perCent(residualShare)} of total.`;
}

// A cell whose background says how far from zero it is; the text says it too.
export function heatCell(text, heat) {
  const cell = h("span", {}, text);
  cell.heat = heat;
  return cell;
}

// `colour` paints every cell; without one the sign chooses.
export function paintHeat(host, colour = "") {
  for (const cell of host.querySelectorAll("td")) {
    const inner = cell.firstElementChild;
    if (!inner || inner.heat === undefined) continue;
    const strength = Math.round(Math.min(Math.abs(inner.heat), 1) * 38);
    cell.style.background = `color-mix(in srgb, var(--${colour || (inner.heat >= 0 ? "up" : "down")}) ${strength}%, transparent)`;
  }
  return host;
}
