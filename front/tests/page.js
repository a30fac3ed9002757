// A document for the scripts that draw: import it before them.

import { JSDOM } from "jsdom";

const { window } = new JSDOM("<!doctype html><html data-theme='dark'><body><main id='main'></main></body></html>", {
  url: "http://localhost/",
  pretendToBeVisual: true,
});
for (const name of ["window", "document", "location", "Node", "Event", "KeyboardEvent", "getComputedStyle", "requestAnimationFrame", "Blob"]) {
  Object.defineProperty(globalThis, name, { value: name === "window" ? window : window[name], configurable: true, writable: true });
}
window.ResizeObserver = globalThis.ResizeObserver = class { observe() {} disconnect() {} };

export const main = window.document.getElementById("main");
