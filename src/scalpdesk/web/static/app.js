// The frame of every page: header, tabs, commands, keyboard. A page draws itself into <main>.

import { fetchJson, h, namedRun, setText } from "./dom.js";
import * as desk from "./desk.js";
import { booked, bookedTone, places, plain, signed, span } from "./figures.js";
import { connect, listen, store } from "./store.js";

const root = document.documentElement;
const $ = (/** @type {string} */ id) => document.getElementById(id);
const pick = /** @type {HTMLSelectElement} */ ($("pick"));
const ORDER = ["desk", "position", "orders", "why", "volatility", "scalps", "runs", "system", "diary", "today"];
const LOADERS = {
  desk: async () => desk,
  position: () => import("./position.js"),
  orders: () => import("./orders.js"),
  why: () => import("./why.js"),
  volatility: () => import("./volatility.js"),
  scalps: () => import("./scalps.js"),
  runs: () => import("./runs.js"),
  system: () => import("./system.js"),
  diary: () => import("./diary.js"),
  today: () => import("./today.js"),
};
const pending = new Set();
let page = null, pageName = root.dataset.page, asked = "", frame = 0, lastText = 0;

// pages ----------------------------------------------------------------------------------------

async function show(name, push) {
  if (root.dataset.role === "nobody") { openLogin(); return; }
  asked = name;
  const module = await LOADERS[name]();
  if (asked !== name) return;  // another page was asked for while this one loaded
  if (page) page.destroy();
  pageName = name;
  root.dataset.page = name;
  if (push) history.pushState({}, "", addressOf(name));
  for (const link of $("tabs").querySelectorAll("a")) {
    if (link.dataset.page === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  page = module.create($("main"));
}

// the run that a person picked stays picked on every page
function addressOf(name, run = namedRun()) {
  return `${name === "desk" ? "/" : `/${name}`}${run ? `?run=${encodeURIComponent(run)}` : ""}`;
}

/** @param {Shapes["ListedRun"][]} found */
function offer(found) {
  const picked = namedRun();
  const names = found.map((run) => [run.run_id, `${run.pnl} ${run.currency}, ${run.strategy}, ${run.played || "no event yet"}${run.state === "ended" ? "" : `, ${run.state}`}`]);
  if (picked && !found.some((run) => run.run_id === picked)) names.unshift([picked, picked]);
  pick.replaceChildren(h("option", { value: "" }, "Followed run"), ...names.map(([id, text]) => h("option", { value: id }, text)));
  pick.value = picked;
}

async function listRuns() {
  const { ok, body } = /** @type {Fetched<"/api/runs">} */ (await fetchJson("/api/runs?limit=50"));
  offer((ok && body.runs) || []);
}

pick.addEventListener("change", () => location.assign(addressOf(pageName, pick.value)));
pick.addEventListener("pointerdown", listRuns, { once: true });
pick.addEventListener("focus", listRuns, { once: true });

$("tabs").addEventListener("click", (event) => {
  const link = /** @type {Element} */ (event.target).closest("a[data-page]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  show(link.dataset.page, true);
});
addEventListener("popstate", () => show(location.pathname.slice(1) || "desk", false));

// states: texts at most four times a second, charts at most ten, in one frame, and only when visible
function schedule(what) {
  pending.add(what);
  if (!frame) frame = requestAnimationFrame(draw);
}

function draw(now) {
  frame = 0;
  if (document.hidden) return;
  if (pending.has("connection")) { drawConnection(); pending.delete("connection"); }
  if (pending.has("series") && page) { page.update("series"); pending.delete("series"); }
  if (pending.has("state")) {
    if (now - lastText < 250) { if (!frame) frame = requestAnimationFrame(draw); return; }
    lastText = now;
    pending.delete("state");
    drawHead();
    drawConnection();
    if (page) page.update("state");
    root.dataset.drawn = String(store.state?.stamp_ms);
  }
}
document.addEventListener("visibilitychange", () => schedule("state"));

// header ---------------------------------------------------------------------------------------

function pair(id, value, note, tone) {
  const [big, small] = [$(id).querySelector("b"), $(id).querySelector("small:last-child")];
  setText(big, value, true);
  big.className = tone || "";
  if (note !== undefined) setText(small, note);
}

function drawHead() {
  const { head } = /** @type {State} */ (store.state);
  const { account } = head;
  root.dataset.kind = account.kind;
  root.dataset.state = head.state;
  const narrow = window.innerWidth < 640;
  setText($("badge"), narrow && account.kind === "LIVE" ? "LIVE" : account.label);
  document.title = `${account.kind === "LIVE" ? "LIVE " : ""}${head.pnl ? `${booked(head.pnl)} ` : ""}${head.title}`;
  pair("what", head.title, head.subtitle);
  $("scalps").hidden = !head.has_scalps && pageName !== "scalps";
  if (head.state === "empty") return;
  const ended = head.state !== "running", gone = head.state === "gone", reading = head.state === "reading";
  pair("mode", reading ? "READING" : gone ? "NOT RUNNING" : head.cut ? "CUT SHORT" : ended ? "ENDED" : head.starting ? "STARTING" : head.mode, ended ? `last mode ${head.mode}` : `mode, ${span(head.mode_seconds ?? 0)}`, gone ? "dangerous" : (head.mode === "ACTIVE" && !head.starting) || ended ? "" : "warn");
  $("mode").title = head.mode_reason || "";
  if (ended) pair("age", "·", reading ? "journal up to here" : gone ? "journal not closed" : "run ended, nothing new");
  else pair("age", ageText(head), `data age, ${head.data}`, head.stale ? "warn" : "");
  pair("pnl", booked(head.pnl), `P&L today, ${head.currency}`, bookedTone(head.pnl));
  const worst = $("worst").querySelector("b");
  const whole = places(head.currency ?? "USD");
  worst.replaceChildren(signed(head.worst_pnl, whole) ?? "·", " ", h("small", {}, `of ${head.limit ? plain(Number(head.limit), whole) : "·"}`));
  worst.title = `Worst case: ${head.worst_definition || "not known"}. Beside it the day's loss limit.`;
  const bar = $("worst").querySelector("i");
  bar.style.width = `${100 * (head.worst_fraction ?? 0)}%`;
  bar.className = (head.worst_fraction ?? 0) > 0.8 ? "hot" : "";
  const local = new Date((head.now_ns ?? 0) / 1e6).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  pair("clock", head.clock, `${local} local${head.speed ? `, ${plain(head.speed, 0)}×` : ""}`);
  /** @type {Text} */ ($("halt").firstChild).textContent = head.mode === "HALTED" && !ended ? "Resume " : "Halt ";
}

/** @param {Shapes["Head"]} head */
function ageText({ age_seconds: age, stale }) {
  if (age === null || age === undefined) return null;
  return `${age.toFixed(1)} s${stale ? " STALE" : ""}`;
}

function drawConnection() {
  const banner = $("banner");
  const { head } = store.state || {};
  root.classList.toggle("lost", store.lost > 0);
  let text = "", bad = false, mayResume = false;
  if (store.refused && !store.state) {
    text = `${store.refused}: ${namedRun()}. Pick another run above.`;
    bad = true;
  } else if (store.lost) {
    text = `Page disconnected ${Math.round(store.lost)} s, the desk may be trading. Type scalpdesk status, or scalpdesk halt.`;
    bad = true;
  } else if (head?.problem) {
    text = `${head.problem.split("\n")[0]}. The last good values stay below.`;
    bad = true;
  } else if (head?.cut) {
    text = `This backtest was ${head.cut}; only what was played is shown.`;
  } else if (head?.mode && head.state !== "ended" && head.state !== "reading") {
    const said = [];
    if (head.state === "gone") {
      said.push(`No desk runs, and the journal of ${head.run_id} is not closed. Held at its last record: ${head.holds || "nothing"}. Resume it (scalpdesk run … --resume), or close the positions at the venue.`);
      bad = true;
    } else if (head.mode !== "ACTIVE") {
      const isFlat = head.mode === "FLATTENING" && !head.holds && !head.works;
      said.push(`${head.mode}: ${head.mode_reason || "no reason given"}${isFlat ? "; nothing is held and no order works any more" : head.holds ? `; held: ${head.holds}` : ""}.`);
      mayResume = head.mode !== "HALTED";
    }
    if (head.alarm) {
      const more = head.alarm.number - 1;
      said.push(`ALARM: ${head.alarm.what.replace(/\.?$/, ".")}${more ? ` And ${more} more.` : ""} (System acknowledges.)`);
      bad = true;
    }
    text = said.join(" ");
  }
  banner.hidden = !text;
  banner.classList.toggle("bad", bad);
  $("resume").hidden = !mayResume;
  setText(banner.firstChild, text || " ");
}

// commands -------------------------------------------------------------------------------------

// the run that the operator sees: until a panel is confirmed, the server may have turned to another desk
const shownRun = () => store.state?.head.run_id;
const newKey = () => [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

async function send(action, key, reason, run) {
  const timer = setTimeout(() => note(`No answer in 2 s. Type: scalpdesk ${action}`, true), 2000);
  try {
    const { ok, status, body } = await fetchJson(`/api/commands/${action}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ key, reason, run }),
    });
    clearTimeout(timer);
    if (status === 401 || status === 403) { openLogin(() => send(action, key, reason, run)); return false; }
    if (!ok) note(`${body.error}. ${body.fix ? `Type: ${body.fix}` : ""}`, true);
    else {
      const whose = body.account ? `; account ${body.account} at ${body.venue}, started in ${body.folder}` : "";
      note(`${action}: ${body.note ?? `${body.was} to ${body.mode}, ${body.cancels} cancels sent`}${whose}`, false);
    }
    return ok;
  } catch {
    clearTimeout(timer);
    note(`The page's server does not answer. Type: scalpdesk ${action}`, true);
    return false;
  }
}

function note(text, bad) {
  const panel = $("panel");
  panel.replaceChildren(
    h("p", { class: `grow ${bad ? "dangerous" : ""}`, role: "status" }, text),
    h("button", { type: "button", onclick: closePanel }, "Close ", h("kbd", {}, "Esc")),
  );
  panel.hidden = false;
}

function closePanel() {
  $("panel").hidden = true;
  $("panel").replaceChildren();
}

// an ended run takes no commands: its buttons are not shown, and its keys do nothing
const takesCommands = () => root.dataset.state === "running";

function halt() {
  if (store.state?.head.mode === "HALTED") return openResume();
  note("Halting …", false);
  return send("halt", newKey(), "halt pressed on the dashboard", shownRun());
}

function openResume() {
  const field = h("input", { type: "text", "aria-label": "Reason", placeholder: "reason, kept in the journal", size: "40" });
  const key = newKey(), run = shownRun();
  const go = () => field.value.trim() && send("resume", key, field.value.trim(), run);
  field.addEventListener("keydown", (event) => event.key === "Enter" && go());
  $("panel").replaceChildren(
    h("div", { class: "grow" }, h("h2", {}, "Resume: let the desk trade again"), field),
    h("button", { type: "button", onclick: closePanel }, "Cancel ", h("kbd", {}, "Esc")),
    h("button", { type: "button", onclick: go }, "Resume"),
  );
  $("panel").hidden = false;
  field.focus();
}

async function openFlatten() {
  const key = newKey(), run = shownRun();
  const { body: plan } = /** @type {Fetched<"/api/flatten">} */ (await fetchJson("/api/flatten"));
  const live = root.dataset.kind === "LIVE";
  const go = () => { send("flatten", key, "flatten confirmed on the dashboard", run); };
  const confirm = live ? typed(go) : held(go, 800);
  $("panel").replaceChildren(
    h(
      "div",
      { class: "grow" },
      h("h2", {}, plan.title || "Flatten"),
      h("p", { class: "muted" }, [plan.legs, plan.cost].filter(Boolean).join(" ")),
    ),
    h("button", { type: "button", onclick: closePanel }, "Cancel ", h("kbd", {}, "Esc")),
    confirm,
  );
  $("panel").hidden = false;
  confirm.focus();
}

function held(go, milliseconds) {
  const fill = h("i"), said = h("span", {}, "Hold to flatten"), button = h("button", { type: "button", class: "danger hold" }, fill, said);
  let started = 0, timer = 0, enters = 0;
  const step = () => {
    const done = (performance.now() - started) / milliseconds;
    fill.style.width = `${Math.min(100 * done, 100)}%`;
    if (done >= 1) { stop(); go(); } else timer = requestAnimationFrame(step);
  };
  const stop = () => { cancelAnimationFrame(timer); fill.style.width = "0"; };
  button.addEventListener("pointerdown", () => { started = performance.now(); step(); });
  for (const name of ["pointerup", "pointerleave", "pointercancel"]) button.addEventListener(name, stop);
  button.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.repeat) return;
    event.preventDefault();
    enters += 1;
    said.textContent = enters === 1 ? "Enter again to flatten" : "Flattening";
    if (enters === 2) go();
  });
  return button;
}

function typed(go) {
  const field = h("input", { type: "text", "aria-label": "Type flatten to confirm", placeholder: "type flatten, then Enter", autocomplete: "off" });
  field.addEventListener("keydown", (event) => event.key === "Enter" && field.value.trim().toLowerCase() === "flatten" && go());
  return field;
}

function openLogin(then) {
  const field = h("input", { type: "password", "aria-label": "Token", placeholder: "operator token", autocomplete: "off", size: "36" });
  const message = h("p", { class: "muted" }, "The command line printed it: scalpdesk dashboard --show-token");
  const go = async () => {
    if (await logIn(field.value.trim(), message)) { closePanel(); if (then) then(); }
  };
  field.addEventListener("keydown", (event) => event.key === "Enter" && go());
  $("panel").replaceChildren(
    h("div", { class: "grow" }, h("h2", {}, root.dataset.role === "nobody" ? "Log in to read this desk" : "Log in to operate the desk"), message),
    field,
    h("button", { type: "button", onclick: go }, "Log in"),
    h("button", { type: "button", onclick: closePanel }, "Cancel ", h("kbd", {}, "Esc")),
  );
  $("panel").hidden = false;
  field.focus();
}

async function logIn(token, message) {
  const { ok, body } = await fetchJson("/login", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ token }),
  });
  if (!ok && message) { setText(message, body.error || "refused"); message.className = "dangerous"; }
  if (ok && root.dataset.role === "nobody") location.reload();
  else if (ok) setRole(body.role);
  return ok;
}

function setRole(role) {
  root.dataset.role = role;
  setText($("role"), role === "operator" ? "Operator: log out" : "Log in");
}

$("role").addEventListener("click", async () => {
  if (root.dataset.role !== "operator") { openLogin(); return; }
  await fetchJson("/logout", { method: "POST" });
  location.reload();
});
$("halt").addEventListener("click", halt);
$("resume").addEventListener("click", openResume);
$("flatten").addEventListener("click", openFlatten);

// theme and keyboard ---------------------------------------------------------------------------

const THEMES = ["auto", "dark", "light"];
function nextTheme() {
  const next = THEMES[(THEMES.indexOf(root.dataset.theme || "") + 1) % THEMES.length];
  root.dataset.theme = next;
  try { localStorage.setItem("scalpdesk-theme", next); } catch { /* private window: for this page only */ }
  setText($("theme"), `Theme: ${next}`);
  if (page?.restyle) page.restyle();
}
$("theme").addEventListener("click", nextTheme);
setText($("theme"), `Theme: ${root.dataset.theme}`);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => page?.restyle?.());

const HELP = [["1–8", "pages"], ["/", "search"], ["H, then Enter", "halt"], ["F", "flatten panel"], ["T", "theme"], ["J K", "row; Enter opens"], ["Esc", "close"], ["K in this list", "switch the keys off or on"]];
let haltReady = false;
const keysOff = () => { try { return localStorage.getItem("scalpdesk-keys") === "off"; } catch { return false; } };

function openHelp() {
  $("panel").replaceChildren(
    h("dl", { class: "facts grow" }, HELP.map(([key, what]) => h("div", {}, h("dt", {}, key), h("dd", {}, what)))),
    h("button", { type: "button", onclick: () => { try { localStorage.setItem("scalpdesk-keys", keysOff() ? "on" : "off"); } catch { /* private window */ } openHelp(); } }, keysOff() ? "Keys are off: switch on" : "Switch the keys off"),
    h("button", { type: "button", onclick: closePanel }, "Close"),
  );
  $("panel").hidden = false;
}

function moveRow(step) {
  const rows = [...$("main").querySelectorAll("tbody tr[tabindex]")];
  const at = rows.findIndex((row) => row === document.activeElement);
  const next = rows[Math.min(Math.max(at + step, 0), rows.length - 1)];
  if (next) next.focus();
}

addEventListener("keydown", (event) => {
  if (event.key === "Escape") { haltReady = false; closePanel(); return; }
  if (/** @type {Element} */ (event.target).closest("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "?") { openHelp(); return; }
  if (keysOff()) return;
  if (event.key === "Enter" && haltReady) { event.preventDefault(); haltReady = false; halt(); return; }
  const wasReady = haltReady;
  haltReady = false;
  const key = event.key.toLowerCase();
  if (key >= "0" && key <= "9") show(ORDER[(Number(key) + 9) % 10], true);
  else if (key === "h" && !wasReady && takesCommands()) { haltReady = true; note("Press Enter to halt, Esc to leave it.", false); }
  else if (key === "f" && takesCommands()) { event.preventDefault(); openFlatten(); }
  else if (key === "t") nextTheme();
  else if (key === "j") moveRow(1);
  else if (key === "k") moveRow(-1);
  else if (key === "/") { event.preventDefault(); show("why", true).then(() => $("main").querySelector("input")?.focus()); }
});

// start ----------------------------------------------------------------------------------------

setRole(root.dataset.role);
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {  // never sent in an address: what follows the number sign stays in the browser
  history.replaceState({}, "", location.pathname + location.search);
  logIn(given);
}
if (root.dataset.role === "nobody") {
  $("main").replaceChildren(h("p", { class: "card wide muted" }, "Nothing is shown before you log in."));
} else {
  for (const link of $("tabs").querySelectorAll("a")) link.setAttribute("href", addressOf(link.dataset.page));
  if (namedRun()) {
    offer([]);  // whose figures these are is said at once, what they are when the list has come
    listRuns();
  }
  listen(schedule);
  connect();
}
show(pageName, false);
