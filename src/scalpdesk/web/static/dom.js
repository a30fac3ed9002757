// Elements without markup strings: the page's policy forbids innerHTML, and text stays text.

export const MISSING = "·";

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} [props]
 * @param {Child[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value === "boolean") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  add(element, children);
  return element;
}

/** @template {Element} E @param {E} element @param {Child[]} children @returns {E} */
export function add(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

export const shown = (text) => (text === null || text === undefined || text === "" ? MISSING : text);

export function setText(element, text, flash = false) {
  const next = shown(text);
  if (element.textContent === next) return;
  element.textContent = next;
  const now = performance.now();
  if (flash && now - (element.flashed || 0) > 1000) {
    element.flashed = now;
    element.classList.remove("flash");
    requestAnimationFrame(() => element.classList.add("flash"));
  }
}

// A table from columns [{head, cell(row), class}] and rows; a row may be opened by click, Enter or O. `key` names
// a row that may be opened, for redraw.
/**
 * @template Row
 * @param {Column<Row>[]} columns
 * @param {Row[]} rows
 * @param {{caption: string, open?: (row: Row) => Child, key?: (row: Row) => string}} options
 */
export function table(columns, rows, { caption, open, key }) {
  if (!rows.length) return h("p", { class: "empty" }, `${caption}: nothing yet.`);
  const body = h("tbody");
  for (const row of rows) {
    const line = h(
      "tr",
      open ? { tabindex: "0", "data-row": key?.(row) } : {},
      columns.map((column) => {
        const cell = h("td", { class: column.class });
        add(cell, [column.cell(row)].flat().map((part) => (part instanceof Node ? part : shown(part))));
        return cell;
      }),
    );
    if (open) {
      const toggle = () => {
        const next = line.nextElementSibling;
        if (next && next.classList.contains("open")) {
          next.remove();
        } else {
          line.after(h("tr", { class: "open" }, h("td", { colspan: String(columns.length) }, open(row))));
        }
      };
      line.addEventListener("click", toggle);
      line.addEventListener("keydown", (event) => event.key === "Enter" && toggle());
    }
    body.append(line);
  }
  const made = h(
    "table",
    {},
    h("caption", { class: "sr" }, caption),
    h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col", class: column.class }, column.head)))),
    body,
  );
  return h(
    "div",
    { class: "tabled" },
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, made),
    exportButton("CSV", caption, () => saveFile(`${fileName(caption)}.csv`, new Blob([csvOf(made)], { type: "text/csv" }))),
  );
}

// The table as it stands, without what was opened under a row: quoted as RFC 4180 says, numbers with a plain minus.
export function csvOf(made) {
  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const plain = (text) => (/^[−+]?[\d,]*\.?\d+$/.test(text) ? text.replace("−", "-").replace("+", "").replaceAll(",", "") : text === MISSING ? "" : text);
  const lines = [...made.querySelectorAll("tr")].filter((line) => !line.closest("td") && !line.classList.contains("open"));
  return lines.map((line) => [...line.children].map((cell) => quoted(plain(cell.textContent.trim()))).join(",") + "\r\n").join("");
}

export const exportButton = (kind, caption, save) =>
  h("button", { type: "button", class: "export", "aria-label": `${caption}: save as ${kind}`, onclick: (event) => { event.stopPropagation(); save(); } }, kind);

export const fileName = (caption) => (caption || "scalpdesk").toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");

export function saveFile(name, blob) {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

// Somebody selects text in it, or holds a button of it down.
export function isInHand(container) {
  const selection = document.getSelection();
  const isSelected = selection && !selection.isCollapsed && selection.rangeCount > 0 && selection.getRangeAt(0).intersectsNode(container);
  return Boolean(isSelected) || container.matches(":active");
}

const waitingToBeDrawn = new Map();
for (const name of ["selectionchange", "click"])
  document.addEventListener(name, () => waitingToBeDrawn.forEach((children, container) => redraw(container, ...children)));

// Put what was drawn anew in the place of the old: a row that somebody opened stays open, and the focus on its row.
// While somebody selects in the old it waits.
export function redraw(container, ...children) {
  if (isInHand(container)) { waitingToBeDrawn.set(container, children); return; }
  waitingToBeDrawn.delete(container);
  const isOpen = (line) => line.nextElementSibling?.classList.contains("open");
  const opened = new Set([...container.querySelectorAll("tr[data-row]")].filter(isOpen).map((line) => line.dataset.row));
  const inside = /** @type {HTMLElement | null} */ (document.activeElement);
  const focused = container.contains(inside) ? inside?.dataset.row : undefined;
  const exported = inside?.matches(".export") && container.contains(inside) ? inside.getAttribute("aria-label") : null;
  container.replaceChildren(...children);
  if (exported) [...container.querySelectorAll(".export")].find((each) => each.getAttribute("aria-label") === exported)?.focus({ preventScroll: true });
  for (const name of opened) [...container.querySelectorAll("tr[data-row]")].find((line) => line.dataset.row === name)?.click();  // a row within a row after it
  for (const line of container.querySelectorAll("tr[data-row]")) {
    if (line.dataset.row === focused) line.focus({ preventScroll: true });
  }
}

export const tinted = (text, tone, bold = false) =>
  h(bold ? "b" : "span", { class: tone || "" }, shown(text));

export const pieces = (list) => list.map((piece) => h("span", { class: piece.tone || "" }, piece.text));

export function card(width, title, ...children) {
  return h("section", { class: `card ${width}` }, h("div", { class: "top" }, h("h2", {}, title)), children);
}

export function facts(pairs) {
  return h(
    "dl",
    { class: "facts" },
    pairs.map(([name, value, tone]) => h("div", {}, h("dt", {}, name), h("dd", { class: tone || "" }, shown(value)))),
  );
}

// Buttons through a long list, newest first: `before` is where the page shown begins, null for the newest.
export function pager(changed) {
  let pages = [], next = null;
  const turn = (stack) => { pages = stack; changed(); };
  const newest = h("button", { type: "button", onclick: () => turn([]) }, "Newest");
  const newer = h("button", { type: "button", onclick: () => turn(pages.slice(0, -1)) }, "Newer");
  const older = h("button", { type: "button", onclick: () => turn([...pages, next]) }, "Older");
  const note = h("span", { class: "muted" });
  const element = h("div", { class: "controls-row", hidden: true }, newest, newer, older, note);
  return {
    element,
    get before() { return pages.at(-1) ?? null; },
    reset() { pages = []; },
    // `given` is where the next older page begins, null at the end
    show(given, text) {
      next = given ?? null;
      newest.disabled = newer.disabled = !pages.length;
      older.disabled = next === null;
      element.hidden = !pages.length && next === null;
      setText(note, text);
    },
  };
}

// The run that the address names (?run=ID), and a line that says which run a page of records is of.
export const namedRun = () => new URLSearchParams(location.search).get("run") || "";

export function runNote(page, other) {
  if (!namedRun() || !page.run) return "";
  return h(
    "p",
    { class: "muted" },
    `Run ${page.run}${page.reading ? `, read up to ${page.reading} ET` : ""}. `,
    h("a", { href: `/${other}?run=${page.run}` }, other === "why" ? "Its decisions" : "Its orders"),
    ", ",
    h("a", { href: location.pathname }, "the followed run"),
  );
}

// New York time, with the date where it is not the day of the page.
export const momentOf = (row, page) => (row.day === page.day ? row.time : `${row.day} ${row.time}`);

// Documents of a run: where the address names one (?run=ID), they are of that run.
const OF_RUN = /^\/api\/(state|series|fills|cards|contracts|position|volatility|picker|risk|scalps|orders|decisions|today)\b/;

function ofNamedRun(path) {
  const run = namedRun();
  if (!run || !OF_RUN.test(path) || /[?&]run=/.test(path)) return path;
  return `${path}${path.includes("?") ? "&" : "?"}run=${encodeURIComponent(run)}`;
}

export async function fetchJson(path, options) {
  path = ofNamedRun(path);
  const answer = await fetch(path, { headers: { accept: "application/json" }, ...options });
  let body = null;
  try { body = await answer.json(); } catch { body = { error: `${answer.status} ${answer.statusText}` }; }
  return { ok: answer.ok, status: answer.status, body, retry: Number(answer.headers?.get("retry-after")) };
}

// Why a document has nothing to show, and what to do about it; empty where it has.
export const whyNothing = (page) => page.empty || [page.error, page.fix].filter(Boolean).join(": ");

// Fetch a document at once and then every so many seconds while the page is visible; returns what ends it.
export function poll(path, draw, seconds) {
  let timer = 0, ended = false, asked = 0, pause = seconds;
  const once = async () => {
    clearTimeout(timer);
    asked += 1;
    const mine = asked;
    try {
      if (!document.hidden) {
        const { body, status, retry } = await fetchJson(typeof path === "function" ? path() : path);
        const isBusy = status === 503 && retry > 0;  // the last good values stay
        pause = isBusy ? Math.min(retry, seconds) : seconds;
        if (!ended && mine === asked && !isBusy) draw(body);
      }
    } catch {
      // the banner of the page says that the server is gone; the last good values stay
    }
    if (!ended && mine === asked) timer = setTimeout(once, pause * 1000);
  };
  const stop = () => { ended = true; clearTimeout(timer); };
  stop.now = once;
  once();
  return stop;
}
