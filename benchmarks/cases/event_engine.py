"""The event engine on the work of `work.py`, beside general engines."""

from functools import partial
from pathlib import Path
from typing import Any

import work
from measuring import (
    ENGINE,
    SMOKE_EVENTS,
    BenchmarkError,
    Context,
    Result,
    against,
    alone,
    find_python,
    us_each,
)

BACKTRADER_EVENTS = 100_000
NAUTILUS, SKIP_AHEAD = "nautilus_trader", "scalpdesk, skip-ahead"
NAUTILUS_2, NEWER = "nautilus_trader 2", "3.12"
OPENQUANTER = "openquanter"
LEAN_BACKTRADER = "backtrader, observers off"
SKIP_AHEAD_ROUNDS = 15
"""Rounds of skip-ahead and its peer: single pairs of a short run and a long one scatter by a fourth."""

TITLE = "Event engine: a million quotes, one dead band"
SUBJECT = (*ENGINE, "src/scalpdesk/journal")

ABOUT = f"""\
One instrument, {work.QUOTES:,} quotes of a seeded walk on a one-cent grid (spread one tick), one long-gamma
position whose delta rises by 540 shares a dollar. When the net delta leaves ±{work.BAND_SHARES} shares the
strategy sends a market order for the rounded difference; it fills at the far side of the quote that caused
it. About 0.9 % of the quotes trade. No fee, no latency.

**Same work, shown.** `benchmarks/work.py` computes fills, final holding and profit in integers. A contender
whose fill count, holding or profit in cents differs from it stops the run.

**Timed**: the engine's run, from the first event in to the last out, in processor time of its process: each
engine works in one thread, and the clock on the wall would also time whatever else the machine does.
**Not timed, for anybody**: starting Python, importing and making the quotes. The peers get their quotes as
objects of their own, made before the clock starts; scalpdesk turns columns into events as it runs, as in
every backtest, and that is timed. The objects that exist before the clock starts are taken out of the garbage
collector's sight for every contender (`gc.freeze`); this helps nautilus_trader most. Each contender runs in a
process of its own, its peak memory is the process's, loaded quotes included.

**scalpdesk** runs its whole path: trigger, strategy, risk gate, order manager, simulated exchange, ledger,
and a mark with its explain at every fill and every minute. Its exchange refuses an order that would turn a
holding from long to short, as brokers do; the account holds a block of shares from the start, and it never
does. `event_engine_journal` adds the journal as a backtest keeps it: checksummed, hash-chained, sealed at the
end inside the time, not synced to disk at each order. Its order path is compiled, as in a wheel
(docs/developing/decisions/0008-compiled-order-path.md); `event_engine_sources` is the same without.

`event_engine_skip_ahead` is the same work where the strategy's trigger has the two prices at which the
band is left: the runner asks it for the next such quote in the columns, a compiled kernel, and hands that one
over. The quotes between are applied in bulk; the loss is judged each second, marks come each minute,
and each order goes the whole path as above. Its peer looks at each quote, as its interface asks. The kernel
is loaded before the clock starts, as imports are. Its ratio is the median of {SKIP_AHEAD_ROUNDS} rounds or
more. `event_engine_skip_ahead_wide` is **other work**: a band of ±{work.WIDE_BAND_SHARES} shares, left by
about 0.05 % of the quotes, as often as the gamma scalper hedges in a session (108 hedges in 200,000 quotes of
SPY); its peer does this work too, to the same fills.

**nautilus_trader** gets `QuoteTick`s, a margin account, its default risk engine, logging off, no closing
analysis. Its profit is summed from its fill events; its account, which rounds at each closing fill, shows
29 cents more. **nautilus_trader 2** is its release candidate 2.0.0rc6, whose core is Rust, with the same
settings and a fee model of zero, which it asks for. It needs Python {NEWER}; without `python{NEWER}` it has
no row.

**openquanter** gets its `Tick`s and calls a Python strategy once a tick, with margin enforced. It fills a
market order at the sides of the next tick, so a tick shows its quote as the last price and the sides of the
quote before: each order then fills at the quote that caused it. It keeps no explain, no gate and no journal.

**backtrader** knows bars only: each quote is one bar at the mid, cheat-on-close fills at the bar that
caused the order, and a fixed slippage of half a tick outside the bar's range turns the mid into the bid or
the ask, so its fill prices are those of the quotes. It runs on the first {BACKTRADER_EVENTS:,} quotes, is
held to the answer of those, and its cost per event is compared. Its memory is for these. `backtrader` is
`Cerebro()` as it comes, with the observers that follow cash, value and trades; the line with observers off
is the least it can do.
"""


def _checked(expected: work.Answer, name: str, run: dict[str, Any]) -> dict[str, Any]:
    got = work.Answer(run["fills"], run["position"], run["pnl_cents"])
    if got != expected:
        raise BenchmarkError(f"{name} did other work: {got} where {expected} is right")
    return run


def _memory(runs: list[dict[str, Any]]) -> list[float]:
    return [run["peak_rss_mb"] for run in runs]


def measure(context: Context) -> list[Result]:
    """Run all contenders on the same quotes and compare."""
    quotes = work.make_quotes(SMOKE_EVENTS if context.smoke else work.QUOTES)
    columns = context.scratch / "quotes.npz"
    quotes.save(columns)
    expected = work.answer(quotes)
    print(f"  {len(quotes):,} quotes, {expected}", flush=True)
    wide_columns = context.scratch / "wide.npz"
    quotes.save(wide_columns, band_shares=work.WIDE_BAND_SHARES)
    wide_expected = work.answer(quotes, band_shares=work.WIDE_BAND_SHARES)

    def ours(*options: str, pure: bool = False) -> dict[str, Any]:
        return _checked(expected, "scalpdesk", context.run_ours("dead_band.py", columns, *options, pure=pure))

    def wide() -> dict[str, Any]:
        run = context.run_ours("dead_band.py", wide_columns, "--skip-ahead")
        return _checked(wide_expected, "scalpdesk", run)

    def journalled(folder: Path) -> dict[str, Any]:
        return ours("--journal", str(folder))

    contenders = {
        "scalpdesk": ours,
        "scalpdesk, journal on": partial(journalled, context.scratch / "journal"),
        "scalpdesk, not compiled": partial(ours, pure=True),
        SKIP_AHEAD: partial(ours, "--skip-ahead"),
        "scalpdesk, skip-ahead, wide band": wide,
    }
    if not context.smoke:
        few = work.answer(quotes.first(BACKTRADER_EVENTS))

        def nautilus() -> dict[str, Any]:
            return _checked(expected, "nautilus_trader", context.run_peer("nautilus_dead_band.py", columns))

        def nautilus_wide() -> dict[str, Any]:
            run = context.run_peer("nautilus_dead_band.py", wide_columns)
            return _checked(wide_expected, "nautilus_trader", run)

        def openquanter() -> dict[str, Any]:
            return _checked(expected, OPENQUANTER, context.run_peer("openquanter_dead_band.py", columns))

        def backtrader(*options: str) -> dict[str, Any]:
            run = context.run_peer("backtrader_dead_band.py", columns, BACKTRADER_EVENTS, *options)
            return _checked(few, "backtrader", run)

        def nautilus_2() -> dict[str, Any]:
            return _checked(
                expected, NAUTILUS_2, context.run_peer("nautilus2_dead_band.py", columns, python=NEWER)
            )

        if find_python(NEWER):
            contenders[NAUTILUS_2] = nautilus_2
        else:
            print(f"  {NAUTILUS_2}: not run, needs python{NEWER}")
        contenders |= {
            NAUTILUS: nautilus,
            OPENQUANTER: openquanter,
            "nautilus_trader, wide band": nautilus_wide,
            "backtrader": backtrader,
            LEAN_BACKTRADER: partial(backtrader, "--no-observers"),
        }
    runs = context.interleave(contenders)
    pair = {name: contenders[name] for name in (SKIP_AHEAD, NAUTILUS) if name in contenders}
    missing = 0 if context.smoke else max(SKIP_AHEAD_ROUNDS - context.rounds, 0)
    more = context.interleave(pair, rounds=missing)
    return _results(runs, {name: runs[name] + more[name] for name in pair})


def _results(runs: dict[str, list[dict[str, Any]]], pair: dict[str, list[dict[str, Any]]]) -> list[Result]:
    """Compare; ``pair`` holds all rounds of skip-ahead and its peer."""
    metric = "us_per_event"
    plain = us_each(runs["scalpdesk"])
    journal = us_each(runs["scalpdesk, journal on"])
    sources = us_each(runs["scalpdesk, not compiled"])
    skipping = us_each(pair[SKIP_AHEAD])
    wide = us_each(runs["scalpdesk, skip-ahead, wide band"])
    if NAUTILUS not in runs:
        return [
            alone("event_engine", metric, plain),
            alone("event_engine_journal", metric, journal),
            alone("event_engine_sources", metric, sources),
            alone("event_engine_skip_ahead", metric, skipping),
            alone("event_engine_skip_ahead_wide", metric, wide),
        ]
    nautilus = us_each(runs[NAUTILUS])
    beside_skipping = us_each(pair[NAUTILUS])
    nautilus_wide = us_each(runs["nautilus_trader, wide band"])
    backtrader = us_each(runs["backtrader"])
    lean = us_each(runs[LEAN_BACKTRADER])
    memory = _memory(runs["scalpdesk"])
    newer = {NAUTILUS_2: runs[NAUTILUS_2]} if NAUTILUS_2 in runs else {}
    return [
        *(against("event_engine", metric, plain, name, us_each(run)) for name, run in newer.items()),
        *(against("event_engine", "peak_rss_mb", memory, name, _memory(run)) for name, run in newer.items()),
        against("event_engine", metric, plain, NAUTILUS, nautilus, target=5.0),
        against("event_engine", metric, plain, OPENQUANTER, us_each(runs[OPENQUANTER])),
        against("event_engine", metric, plain, "backtrader", backtrader, target=30.0),
        against("event_engine", metric, plain, LEAN_BACKTRADER, lean),
        against("event_engine_journal", metric, journal, NAUTILUS, nautilus, target=3.0),
        against("event_engine_sources", metric, sources, NAUTILUS, nautilus),
        against("event_engine_skip_ahead", metric, skipping, NAUTILUS, beside_skipping, target=25.0),
        against("event_engine_skip_ahead_wide", metric, wide, NAUTILUS, nautilus_wide),
        against("event_engine", "peak_rss_mb", memory, NAUTILUS, _memory(runs[NAUTILUS])),
        against("event_engine", "peak_rss_mb", memory, OPENQUANTER, _memory(runs[OPENQUANTER])),
        against("event_engine", "peak_rss_mb", memory, "backtrader", _memory(runs["backtrader"])),
    ]
