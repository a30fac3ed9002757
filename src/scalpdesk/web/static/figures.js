// Figures as every page prints them: true minus, commas, halves away from zero, as the terminal rounds them.

const FORMS = new Map();

// A number counts as the shortest decimal that stands for it: 66.445 is 66.45, although its binary lies below.
/** @param {number | null | undefined} value @param {number} decimals @param {"exceptZero" | "auto"} sign */
function formed(value, decimals, sign) {
  if (value === null || value === undefined || !Number.isFinite(value)) return null;
  const key = `${sign}${decimals}`;
  if (!FORMS.has(key))
    FORMS.set(key, new Intl.NumberFormat("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals, signDisplay: sign }));
  const exact = /** @type {any} */ (String(value));
  return FORMS.get(key).format(exact).replace("-", "−");
}

// An amount with its sign; zero without one.
/** @param {number | null | undefined} value @param {number} [decimals] */
export const signed = (value, decimals = 2) => formed(value, decimals, "exceptZero");

/** @param {number | null | undefined} value @param {number} [decimals] */
export const plain = (value, decimals = 2) => formed(value, decimals, "auto");

// A fraction in per cent.
/** @param {number | null | undefined} fraction @param {number} [decimals] */
export const perCent = (fraction, decimals = 1) => {
  const text = fraction === null || fraction === undefined ? null : plain(100 * fraction, decimals);
  return text === null ? null : `${text.replaceAll(",", "")} %`;
};

/** @param {number | null | undefined} value @param {number} [decimals] */
export const toneOf = (value, decimals = 2) => {
  const text = signed(value, decimals) || "";
  return text.startsWith("+") ? "up" : text.startsWith("−") ? "down" : "muted";
};

// A fact of a decision, of any unit: six digits.
const SIX_DIGITS = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 6 });
/** @param {number} value */
export const significant = (value) => SIX_DIGITS.format(value).replace("-", "−");

// An exact amount of a ledger, given as text, with the decimals that it has.
const decimalsOf = (text) => (text.split(".")[1] || "").length;
/** @param {string | null | undefined} text */
export const booked = (text) => (text === null || text === undefined ? null : signed(Number(text), decimalsOf(text)));
/** @param {string | null | undefined} text */
export const unsigned = (text) => (text === null || text === undefined ? null : plain(Number(text), decimalsOf(text)));
/** @param {string | null | undefined} text */
export const bookedTone = (text) => (text === null || text === undefined ? "muted" : toneOf(Number(text), decimalsOf(text)));

const NEW_YORK = new Intl.DateTimeFormat("sv-SE", { timeZone: "America/New_York", dateStyle: "short", timeStyle: "medium" });

// An instant in UTC nanoseconds as New York's date and time.
/** @param {number | null | undefined} ns */
export const newYork = (ns) => (ns === null || ns === undefined ? null : NEW_YORK.format(ns / 1e6));

// How the values of a field are shown, by the kind that the report's struct names.
const SHOWN_BY_KIND = {
  amount: (value, decimals) => signed(Number(value), decimals),
  worth: (value, decimals) => plain(Number(value), decimals),
  volatility: (value) => perCent(value),
  time: newYork,
};

// Columns of a table, of the fields that a report's struct shows.
/** @param {{ name: string, head: string, kind: string, goes: number }[]} fields @param {number} decimals */
export const columnsOf = (fields, decimals) => fields.map(({ name, head, kind, goes }) => ({
  head,
  class: `${kind === "text" ? "" : kind === "time" ? "nowrap" : "num"}${goes ? " narrow-gone" : ""}`,
  cell: (row) => (row[name] === null ? null : (SHOWN_BY_KIND[kind] ?? String)(row[name], decimals)),
}));

// A length of time, and what is left of one: 35:00, 5 h 40 min, 39 d.
/** @param {number} seconds */
export function span(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes >= 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return minutes ? `${minutes} min` : `${Math.floor(seconds)} s`;
}

/** @param {number} seconds */
export function countdown(seconds) {
  if (seconds <= 0) return "passed";
  if (seconds >= 2 * 86_400) return `${Math.floor(seconds / 86_400)} d`;
  return seconds >= 3_600 ? span(seconds) : `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}

/** @param {number} number @param {string} noun */
export const counted = (number, noun) => `${plain(number, 0)} ${noun}${number === 1 ? "" : "s"}`;

// Of a currency's amounts where cents say nothing: whole dollars, a coin's ten-thousandths.
/** @param {string} currency */
export const places = (currency) => (currency === "USD" ? 0 : 4);
