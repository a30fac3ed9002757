// Leave versions and hashes in the lock, and no address: `make lock` writes it so.

import { readFileSync, writeFileSync } from "node:fs";

const place = new URL("../package-lock.json", import.meta.url);
const lock = JSON.parse(readFileSync(place, "utf-8"));
for (const each of Object.values(lock.packages)) {
  for (const name of ["funding", "resolved", "deprecated"]) delete each[name];
}
writeFileSync(place, `${JSON.stringify(lock, null, 2)}\n`);
