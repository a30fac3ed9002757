// Today: the morning. Is the account as it was left, what came since, what expires, what is on, what is left?

import { card, h, poll, shown, table } from "./dom.js";

export function create(main) {
  const account = h("p", { class: "verdict" }), next = h("p");
  const since = h("div"), ending = h("div"), planned = h("div"), vols = h("div"), room = h("div");
  main.replaceChildren(
    h("section", { class: "card wide" }, h("h2", {}, "Is the account as it was left?"), account, next),
    card("w6", "What happened since the close?", since),
    card("w6", "What expires within a week?", ending),
    card("w4", "What is on today?", planned),
    card("w4", "Is volatility cheap?", vols),
    card("w4", "What may be lost today?", room),
  );
  const lines = (/** @type {string[]} */ rows, /** @type {string} */ none) =>
    rows.length ? h("ul", {}, rows.map((row) => h("li", {}, row))) : h("p", { class: "empty" }, none);

  /** @param {Answer<"/api/today">} page */
  function draw(page) {
    const said = page.error || page.empty;
    if (said) { account.replaceChildren(said); return; }
    account.replaceChildren(`${page.account_text} ${page.holds ? `Held: ${page.holds}.` : "Nothing is held."} ${page.structures.join(" ")} Net worth ${page.nav} ${page.currency}.`);
    next.replaceChildren("Next: ", h("code", {}, page.next_line));
    since.replaceChildren(
      lines([...page.differences, ...page.happened.map((each) => `${each.at} ${each.kind.replaceAll("_", " ")}: ${each.text}${each.cash ? `, ${each.cash} ${page.currency}` : ""}`)], `Nothing since ${page.since}.`),
      page.not_told ? h("p", { class: "muted" }, page.not_told) : "",
    );
    ending.replaceChildren(
      page.expires.length
        ? table([
            { head: "Option", cell: (row) => row.label }, { head: "Held", class: "num", cell: (row) => row.quantity },
            { head: "Last order", class: "nowrap", cell: (row) => row.last_order }, { head: "What it takes", cell: (row) => row.takes },
          ], page.expires, { caption: "Options that expire within a week" })
        : h("p", { class: "empty" }, "Nothing that is held."),
    );
    planned.replaceChildren(h("p", {}, `${page.day}, ${page.opens}.`), lines(page.events, "Nothing is scheduled."));
    vols.replaceChildren(h("p", {}, h("b", {}, page.cheap === "not known" ? "Not known" : `It is ${page.cheap}`), "."), h("p", { class: "muted" }, page.volatility));
    room.replaceChildren(
      table([
        { head: "Limit", cell: (row) => row.name }, { head: `Left, ${page.currency}`, class: "num", cell: (row) => shown(row.left) }, { head: "Of", class: "num", cell: (row) => shown(row.limit) },
      ], page.limits, { caption: "What the limits leave" }),
    );
  }
  return { update() {}, destroy: poll("/api/today", draw, 30) };
}
