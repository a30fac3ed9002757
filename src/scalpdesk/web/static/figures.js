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

// Of a currency's amounts where cents say nothing: whole dollars, a coin's ten-thousandths.
/** @param {string} currency */
export const places = (currency) => (currency === "USD" ? 0 : 4);
