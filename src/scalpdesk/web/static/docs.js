// The API's description as one list, made from the same document that programs read.

import { fetchJson, h, table } from "./dom.js";

const { body } = await fetchJson("/openapi.json");
const routes = Object.entries(body.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, what]) => ({ path, method: method.toUpperCase(), ...what })),
);
document.getElementById("routes").replaceChildren(
  h("p", {}, body.info.description),
  table(
    [
      { head: "Method", cell: (route) => route.method },
      { head: "Path", cell: (route) => h("code", {}, route.path) },
      { head: "What it answers", cell: (route) => route.summary },
      { head: "Parameters", cell: (route) => (route.parameters || []).map((each) => each.name).join(", ") },
    ],
    routes,
    { caption: "Routes of the API" },
  ),
);
