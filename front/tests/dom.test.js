import assert from "node:assert/strict";
import { test } from "node:test";

import { main } from "./page.js";
import { csvOf, h, pager, redraw, setText, table } from "../../src/scalpdesk/web/static/dom.js";

const COLUMNS = [{ head: "Name", cell: (row) => row.name }, { head: "Held", class: "num", cell: (row) => row.held }];
const ROWS = [{ name: "A", held: "1" }, { name: "B", held: null }];
const cells = (host) => [...host.querySelectorAll("tbody tr")].map((line) => [...line.cells].map((cell) => cell.textContent));
const opening = (rows) => table(COLUMNS, rows, { caption: "Legs", key: (row) => row.name, open: (row) => `more of ${row.name}` });

test("text stays text, and what is false, null or undefined is not drawn", () => {
  const made = h("p", { class: "note", hidden: false, title: null }, "<b>", ["a", [null, false, 0]]);
  assert.equal(made.textContent, "<b>a0");
  assert.equal(made.children.length, 0);
  assert.deepEqual(made.getAttributeNames(), ["class"]);
});

test("a table has its heads, its rows and a dot for what is not known", () => {
  const made = table(COLUMNS, ROWS, { caption: "Legs" });
  assert.deepEqual([...made.querySelectorAll("th")].map((head) => head.textContent), ["Name", "Held"]);
  assert.deepEqual(cells(made), [["A", "1"], ["B", "·"]]);
  assert.equal(made.querySelector("caption").textContent, "Legs");
});

test("a row that somebody opened stays open when the table is drawn anew, wherever it stands then", () => {
  redraw(main, opening(ROWS));
  main.querySelector("tr[data-row=B]").click();
  redraw(main, opening([{ name: "C", held: "2" }, ...ROWS]));
  assert.deepEqual(cells(main), [["C", "2"], ["A", "1"], ["B", "·"], ["more of B"]]);
});

test("a text that has not changed is left alone", () => {
  const line = h("p", {}, "same");
  const node = line.firstChild;
  setText(line, "same");
  assert.equal(line.firstChild, node);
  setText(line, null);
  assert.equal(line.textContent, "·");
});

test("a pager goes to older rows and back to the newest", () => {
  const asked = [];
  const pages = pager(() => asked.push(pages.before));
  pages.show("40", "1 to 40");
  const [newest, newer, older] = pages.element.querySelectorAll("button");
  older.click();
  pages.show("80", "41 to 80");
  older.click();
  newer.click();
  newest.click();
  assert.deepEqual(asked, ["40", "80", "40", null]);
});

test("a table under a selection waits, and takes the newest rows once nothing is selected", () => {
  redraw(main, opening(ROWS));
  const kept = main.querySelector("tbody tr");
  document.getSelection().selectAllChildren(kept);
  redraw(main, opening([{ name: "C", held: "2" }]));
  redraw(main, opening([{ name: "D", held: "3" }]));
  assert.equal(main.querySelector("tbody tr"), kept);
  document.getSelection().removeAllRanges();
  document.dispatchEvent(new window.Event("selectionchange"));
  assert.deepEqual(cells(main), [["D", "3"]]);
});

test("a selection elsewhere holds no table up", () => {
  const other = h("p", {}, "selected");
  document.body.append(other);
  document.getSelection().selectAllChildren(other);
  redraw(main, opening([{ name: "E", held: "4" }]));
  assert.deepEqual(cells(main), [["E", "4"]]);
  document.getSelection().removeAllRanges();
});

test("a table is saved with its heads, numbers as numbers, and without what was opened", () => {
  const made = opening([{ name: "SPY, 600 \"call\"", held: "−1,204.50" }, { name: "B", held: null }, { name: "10:41", held: "+3" }]);
  made.querySelector("tbody tr").click();
  assert.equal(csvOf(made), "Name,Held\r\n\"SPY, 600 \"\"call\"\"\",-1204.50\r\nB,\r\n10:41,3\r\n");
});
