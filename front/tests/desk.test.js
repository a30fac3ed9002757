import assert from "node:assert/strict";
import { test } from "node:test";

import "./page.js";
import { meanOf } from "../../src/scalpdesk/web/static/desk.js";

test("a mean is called VWAP only where one by volume is known", () => {
  const twap = [1, 2];
  assert.deepEqual(meanOf({ premium_vwap: [null, null], premium_twap: twap }), ["TWAP", twap]);
  assert.deepEqual(meanOf({ premium_vwap: [null, 3], premium_twap: twap }), ["VWAP", [null, 3]]);
});
