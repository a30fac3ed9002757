"""Every straddle and strangle of a chain by optopsy: ``optopsy_chain.py CHAIN REPEATS``."""

import hashlib
import json
import sys
import time
from importlib import metadata
from pathlib import Path

import optopsy
import pandas as pd
from contender import median_seconds, tell

SPOT, TODAY = 500.0, "2024-03-04"


def main() -> None:
    chain_file, repeats = Path(sys.argv[1]), int(sys.argv[2])
    rows = json.loads(chain_file.read_text(encoding="utf-8"))
    table = pd.DataFrame(rows, columns=["days", "strike", "is_call", "bid", "ask"])
    today = pd.Timestamp(TODAY)
    entry = pd.DataFrame(
        {
            "underlying_symbol": "X",
            "underlying_price": SPOT,
            "option_type": table["is_call"].map({True: "c", False: "p"}),
            "expiration": today + pd.to_timedelta(table["days"], unit="D"),
            "quote_date": today,
            "strike": table["strike"].astype(float),
            "bid": table["bid"].astype(float),
            "ask": table["ask"].astype(float),
        }
    )
    data = pd.concat([entry, entry.assign(quote_date=entry["expiration"])], ignore_index=True)
    terms = {
        "max_entry_dte": 120,
        "exit_dte": 0,
        "max_otm_pct": 0.20,
        "min_bid_ask": 0.001,
        "raw": True,
    }

    def work():
        return optopsy.long_straddles(data, **terms), optopsy.long_strangles(data, **terms)

    (straddles, strangles) = work()
    seconds = median_seconds(work, repeats, time.perf_counter)
    days = (straddles["expiration"] - today).dt.days
    pairs = list(zip(days.tolist(), straddles["strike"].tolist(), straddles["strike"].tolist(), strict=True))
    days = (strangles["expiration"] - today).dt.days
    puts, calls = strangles["strike_leg1"].tolist(), strangles["strike_leg2"].tolist()
    pairs = sorted(pairs + list(zip(days.tolist(), puts, calls, strict=True)))
    tell(
        seconds=seconds,
        pairs=len(pairs),
        cost=float(straddles["total_entry_cost"].sum() + strangles["total_entry_cost"].sum()),
        digest=hashlib.sha256(json.dumps(pairs).encode()).hexdigest(),
        version=metadata.version("optopsy"),
    )


if __name__ == "__main__":
    main()
