// The newest state of the desk, the chart columns and the executions; kept up to date by one event stream.

import { fetchJson, namedRun } from "./dom.js";

export const store = {
  /** @type {State | null} */
  state: null,
  series: { run: null, generation: -1, columns: {} },
  fills: { run: null, columns: { t: [], price: [], side: [], hedge: [], text: [] } },
  lost: 0,
  received: 0,
};

const listeners = new Set();
export const listen = (listener) => { listeners.add(listener); return () => listeners.delete(listener); };
const tell = (what) => listeners.forEach((listener) => listener(what));

const length = (columns) => (columns.t ? columns.t.length : 0);
let fetching = false;

async function refetch(since) {
  if (fetching) return;
  fetching = true;
  try {
    const { ok, body } = await fetchJson(`/api/series?since=${since}`);
    if (ok) merge(body, true);
  } finally {
    fetching = false;
  }
}

function merge(part, isWhole = false) {
  const { series } = store;
  const isSame = series.run === part.run && series.generation === part.generation;
  if (!isSame && part.from > 0 && !isWhole) return refetch(0);
  if (!isSame) {
    if (part.from > 0) return refetch(0);
    store.series = { run: part.run, generation: part.generation, columns: part.columns };
    tell("series");
    return undefined;
  }
  const have = length(series.columns);
  const fresh = length(part.columns);
  if (part.from > have) return refetch(have);
  if (!fresh || part.from + fresh <= have) return undefined;
  for (const [name, column] of Object.entries(part.columns)) {
    series.columns[name] = series.columns[name].slice(0, part.from).concat(column);
  }
  tell("series");
  return undefined;
}

let fillsWanted = -1, fillsBusy = false;
async function refreshFills(run, count) {
  const have = store.fills.columns.t.length;
  if (store.fills.run === run && fillsWanted === count) return;
  if (fillsBusy) return;
  fillsBusy = true;
  fillsWanted = count;
  try {
    const { ok, body } = await fetchJson("/api/fills");
    if (ok && body.columns) {
      store.fills = body;
      if (body.columns.t.length !== have) tell("series");
    }
  } finally {
    fillsBusy = false;
  }
}

function take(state) {
  store.state = state;
  store.received = performance.now();
  store.lost = 0;
  if (state.series) merge(state.series);
  if (state.fills !== undefined) refreshFills(state.series.run, state.fills);
  tell("state");
}

// a run that the address names is asked for: the stream is that of the followed run
async function ask() {
  try {
    const { ok, body } = await fetchJson("/api/state");
    if (ok && body.head) take(body);
    else store.refused = body.error;
  } catch {
    // the banner says that the server is gone
  }
  if (store.refused) tell("connection");
  setTimeout(ask, store.state?.head.state === "reading" ? 500 : 2000);
}

export function connect() {
  const isNamed = Boolean(namedRun());
  if (isNamed) ask();
  else new EventSource("/api/events").addEventListener("state", (event) => take(JSON.parse(event.data)));
  setInterval(() => {
    if (!store.received) return;
    const silent = (performance.now() - store.received) / 1000;
    const lost = silent > (isNamed ? 8 : 2) ? silent : 0;
    if (lost || store.lost) { store.lost = lost; tell("connection"); }
  }, 500);
}
