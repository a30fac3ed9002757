"""Behaviour of scalpdesk, measured from outside, to be equal before and after a change of its inside.

    python tests/oracle/measure.py --out FILE               measure and write
    python tests/oracle/measure.py --compare FILE           measure and compare; exit 1 on a difference
    python tests/oracle/measure.py --compare FILE --after FILE    compare two files, measure nothing

Only the command line and ``from scalpdesk import backtest, load_data`` are used, so that the same script
runs whatever the modules inside are called. Times, versions, paths and run ids are not measured.
``decision_hash`` covers every output of a run with its reasons in words; ``marks`` covers the state of the
book and its explain at every mark, numbers only: where the first differs and the second does not, words
or ids have changed and no number.
"""

# ruff: noqa: T201 - a script that prints

import argparse
import contextlib
import hashlib
import io
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
LEAN = SHARED / "data" / "raw_lean" / "Data"
CASES = SHARED / "reference" / "worked_cases.json"
EXAMPLES = ROOT / "examples"

Record = dict[str, Any]
Measured = Iterator[tuple[str, Record]]

# tools ------------------------------------------------------------------------------------------


class AbsentError(Exception):
    """A part needs a file that is not beside the checkout."""


def needs(path: Path) -> Path:
    if not path.exists():
        raise AbsentError(f"needs {path.relative_to(ROOT.parent)} beside the checkout")
    return path


def digest(value: bytes | str) -> str:
    return hashlib.sha256(value.encode() if isinstance(value, str) else value).hexdigest()[:32]


def cli(*words: str) -> tuple[int, str]:
    """Run a command in this interpreter; return its exit code and what it writes to stdout."""
    from scalpdesk.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(words))
    if code not in {0, 1}:
        raise RuntimeError(f"scalpdesk {' '.join(words)} exits {code}: {err.getvalue() or out.getvalue()}")
    return code, out.getvalue()


def attempt(function: Callable[..., Record], *args: Any) -> Record:
    """Return what the function gives, or why it fails; the rest is measured."""
    try:
        return function(*args)
    except Exception as problem:  # noqa: BLE001
        return {"error": str(problem)}


def cli_json(*words: str) -> Record:
    document: Record = json.loads(cli(*words, "--json")[1])
    return document


def settings_flags(settings: Record) -> list[str]:
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def of_run(summary: Record, marks: str) -> Record:
    """Return what is kept of a run."""
    same = ("decision_hash", "events", "decisions", "orders", "fills", "hedges", "nav_change", "pnl")
    return {**{name: summary[name] for name in (*same, "end_positions", "mode")}, "marks": marks}


def backtest_cli(*words: str) -> Record:
    with tempfile.TemporaryDirectory() as folder:
        summary = cli_json("backtest", *words, "--no-journal", "--out", folder)
        return of_run(summary, digest((Path(folder) / "marks.csv").read_bytes()))


_CATALOG: list[Path] = []


def recorded_catalog() -> Path:
    """Return a catalogue with the recorded days, imported once per process."""
    if not _CATALOG:
        folder = Path(tempfile.mkdtemp(dir=Path.cwd()))
        cli("data", "import", "lean", str(needs(LEAN)), "--name", "lean", "--catalog", str(folder))
        _CATALOG.append(folder)
    return _CATALOG[0]


# parts ------------------------------------------------------------------------------------------


def demo() -> Measured:
    for strategy in STRATEGIES:
        yield strategy, attempt(demo_of, strategy)


def demo_of(strategy: str) -> Record:
    words = ("demo", "--strategy", strategy, "--session", "2018-02-05", "--seed", "1", "--speed", "max")
    summary = cli_json(*words, "--no-dashboard")
    explained = cli_json("report", "last")["hedge_explain"]
    for row in explained:
        row.pop("reason")
    return of_run(summary, digest(json.dumps(explained, sort_keys=True)))


SPANS: tuple[tuple[str, str, str, Record], ...] = (
    ("spxw-2021-01-04", "2021-01-04", "2021-01-04", {}),
    ("spxw-2021-01-08", "2021-01-08", "2021-01-08", {}),
    ("goog-2015-12-23", "2015-12-23", "2015-12-23", {}),
    ("goog-2015-12-23", "2015-12-23", "2015-12-24", {"exits.close_at": "null"}),
    (
        "spxw-2021-01-08",
        "2021-01-04",
        "2021-01-08",
        {"straddles": 1, "hedge.threshold_shares": 2, "simulation.starting_cash": 1_000_000},
    ),
)
"""Configuration of docs/evidence/results.md, first and last session, and what is set besides. The first
three are its runs; in the others a straddle is held overnight, American and European, until it expires."""


def recorded() -> Measured:
    catalog = recorded_catalog()
    for name, first, last, settings in SPANS:
        words = ["--start", first, "--end", last, "--config", str(EXAMPLES / "validation" / f"{name}.toml")]
        flags = settings_flags({"data.catalog": catalog, **settings})
        key = name if first == last else f"{name}, {first} to {last}"
        yield key, attempt(backtest_cli, "gamma-scalper", "--data", "lean", *words, *flags)


def zero_dte_recorded() -> Measured:
    """The recorded days of docs/evidence/zero-dte.md, and others with the desk's default costs."""
    catalog = recorded_catalog()
    spxw = {"underlying": "SPXW", "data.index_source": "parity", "risk.index_orders": True}
    goog = {"underlying": "GOOG"}
    base = {
        "data.catalog": catalog,
        "entry.mode": "straddle",
        "simulation.fees": "alpaca",
        "simulation.starting_cash": 1_000_000,
    }
    for day, market in (
        ("2021-01-04", spxw),
        ("2021-01-06", spxw),
        ("2021-01-08", spxw),
        ("2015-12-24", goog),
    ):
        flags = settings_flags({**base, **market})
        yield day, attempt(backtest_cli, "zero-dte", "--data", "lean", "--start", day, *flags)


DAYS = (
    "2014-01-17",
    "2014-07-25",
    "2014-12-12",
    "2015-04-13",
    "2015-08-24",
    "2015-11-02",
    "2016-04-22",
    "2016-05-02",
    "2016-07-29",
    "2016-11-25",
    "2017-03-15",
    "2017-06-21",
    "2017-10-25",
    "2018-02-05",
    "2018-02-08",
    "2018-03-07",
    "2018-03-26",
    "2018-04-06",
    "2018-08-31",
    "2018-10-29",
)
"""Three wild days, the half day 2016-11-25, and ``random.Random(9).sample`` of 16 of the other sessions on
Monday, Wednesday and Friday: options expire then."""

MARKETS: tuple[Record, ...] = (
    {},
    {"simulation.fill_model": "mid", "simulation.fees": "alpaca"},
    {"simulation.fill_model": "queue"},
    {"simulation.fill_model": "adverse", "simulation.seed": 3},
    {"simulation.fill_model_hedge": "mid", "simulation.latency_ms": 250},
    {"simulation.displayed_sizes": False, "simulation.fees": "alpaca", "simulation.latency_ms": 40},
    {"simulation.starting_cash": 1_000_000, "simulation.fill_model": "queue", "simulation.latency_ms": 100},
)
"""Settings of the simulated market; the case number chooses."""

BAND = "hedge.band_settings"
STRATEGIES: dict[str, tuple[Record, ...]] = {
    "gamma-scalper": (
        {"entry.gate": "off", "exits.edge_gone": False},
        {"entry.min_edge_usd": 1, "entry.min_vol_ratio": 1.01},
        {"entry.gate": "off", "exits.edge_gone": False, "hedge.band": "whalley_wilmott", "straddles": 2},
        {"entry.gate": "advise", "hedge.band": "zakamouline", "hedge.delta_vol": "entry"},
        {"entry.gate": "off", "exits.edge_gone": False, "hedge.band": "leland", "exits.close_at": "15:50"},
        {
            "entry.gate": "off",
            "exits.edge_gone": False,
            "hedge.band": "time_based",
            f"{BAND}.interval_seconds": 900,
        },
        {
            "entry.gate": "off",
            "exits.edge_gone": False,
            "hedge.delta_vol": "fixed",
            "hedge.fixed_vol": 0.15,
            "exits.stop_fraction": 0.01,
            "entry.again_after_exit": True,
        },
        {
            "entry.gate": "off",
            "exits.edge_gone": False,
            "selection.min_expiration_days": 5,
            "exits.min_dte": 1,
            "exits.arm_fraction": 0.005,
            "exits.giveback_fraction": 0.2,
            "hedge.delta_vol": "forecast",
        },
        {"entry.gate": "off", "exits.flat_minutes_before_close": 20, "triggers.spread_filter": False},
        {
            "entry.gate": "off",
            "exits.edge_gone": False,
            "hedge.band": "zakamouline",
            f"{BAND}.risk_aversion": 0.01,
            "straddles": 3,
        },
    ),
    "zero-dte": (
        {},
        {"hedge.regime": "own_gamma", "entry.straddles": 2},
        {"hedge.regime": "standard", "hedge.threshold": 0.3, "exit.venue": "alpaca"},
        {"exit.minutes_before_close": 60, "hedge.seconds_between_hedges": 5, "hedge.regime": "standard"},
    ),
    "st0cka": (
        {},
        {"sell_until": "15:30", "buy_until": "15:00", "profit_target": 0.05},
        {"use_mean_reversion": True, "buy_until": "15:00", "sell_until": "15:45", "stop_usd": 0.3},
        {"use_volatility_sizing": False, "position_size_max": 5, "require_viable": True},
        {"buy_until": "12:00", "sell_until": "12:30", "stop_usd": 0.03, "entry_interval_seconds": 10},
    ),
    "st0ckg": (
        {},
        {"scoring": "original", "filters.trend_filter": False},
        {
            "choose": "tradable",
            "filters.window_until": "15:30",
            "filters.min_seconds_between_trades": 300,
            "filters.trend_filter": False,
            "contract.min_open_interest_contracts": 0,
            "contract.min_volume_contracts": 0,
            "exits.risk_unit_usd": 0.03,
        },
        {
            "scoring": "original",
            "choose": "tradable",
            "filters.window_until": "15:30",
            "filters.min_seconds_between_trades": 60,
            "filters.min_seconds_same_signal": 60,
            "filters.trend_filter": False,
            "contract.min_open_interest_contracts": 0,
            "contract.min_volume_contracts": 0,
            "contract.equity_fraction": 0.05,
        },
    ),
    "hybrid": (
        {"strategies.gamma-scalper.entry.gate": "off"},
        {"volatility_threshold_for_gamma": 0.1, "strategies.gamma-scalper.entry.gate": "off"},
        {
            "volatility_threshold_for_gamma": 0.12,
            "hysteresis": 0.005,
            "dwell_minutes": 5,
            "strategies.gamma-scalper.entry.gate": "off",
            "strategies.gamma-scalper.hedge.band": "whalley_wilmott",
            "strategies.st0cka.buy_until": "15:00",
            "strategies.st0cka.sell_until": "15:30",
        },
    ),
}
"""Settings of a strategy; the number of the day chooses."""


def run(strategy: str, tape: Any, settings: Record) -> Record:
    from scalpdesk import backtest

    result = backtest(strategy, tape, settings=settings)
    return of_run(result.summary, digest(json.dumps(msgspec.to_builtins(list(result.marks)))))


def days() -> Measured:
    """Twenty reconstructed days by five strategies, the settings varied from case to case."""
    from scalpdesk import load_data

    for number, day in enumerate(DAYS):
        tape = load_data(start=day, seed=1 + number % 3)
        for place, (strategy, variants) in enumerate(STRATEGIES.items()):
            settings = {**MARKETS[(number + 2 * place) % len(MARKETS)], **variants[number % len(variants)]}
            if strategy == "zero-dte":
                settings["entry.mode"] = "straddle"
            yield f"{day} {strategy}", attempt(run, strategy, tape, settings)


def held(**positions: int) -> Record:
    return {f"simulation.positions.{symbol}": quantity for symbol, quantity in positions.items()}


def shares_of_ten_thousand(shares: int) -> Record:
    return {
        "simulation.starting_cash": 10_000,
        "use_volatility_sizing": False,
        "position_size_min": shares,
        "position_size_max": shares,
        "risk.max_capital_fraction": 4,
        "risk.max_position_fraction": 1,
        "risk.max_net_delta_fraction": "null",
    }


ANY_ENTRY = {"entry.gate": "off"}
LONG = {"buy_until": "15:00", "sell_until": "15:30"}
SPECIAL: dict[str, tuple[str, Record]] = {
    "options of the day expire in and out of the money": (
        "st0cka",
        {
            "mode": "resume",
            **held(SPY180205C00260000=2, SPY180205P00260000=1, SPY180205C00270000=-1, SPY=100),
            **held(SPY180205P00270000=-2),
        },
    ),
    "short straddle adopted": (
        "zero-dte",
        {**held(SPY180205C00274000=-1, SPY180205P00274000=-1), "simulation.starting_cash": 1_000_000},
    ),
    "long straddle adopted": ("zero-dte", held(SPY180205C00274000=2, SPY180205P00274000=2)),
    "straddle resumed": (
        "gamma-scalper",
        {"mode": "resume", **held(SPY180316C00275000=1, SPY180316P00275000=1, SPY=10)},
    ),
    "holdings closed at the start": ("gamma-scalper", {**ANY_ENTRY, **held(SPY180316C00275000=1, SPY=10)}),
    "orders a minute limited": ("st0cka", {**LONG, "risk.max_orders_per_minute": 2}),
    "loss of a day limited": ("st0cka", {**LONG, "risk.max_daily_loss": 1}),
    "losses in a row limited": ("st0cka", {**LONG, "risk.max_consecutive_losses": 1}),
    "theta limited": ("gamma-scalper", {**ANY_ENTRY, "risk.max_theta_fraction": 0.00001}),
    "account of 1,000 buys shares": ("st0cka", {"simulation.starting_cash": 1_000}),
    "account of 1,000 buys options": ("gamma-scalper", {**ANY_ENTRY, "simulation.starting_cash": 1_000}),
    "account of 10,000 buys 100 shares": ("st0cka", shares_of_ten_thousand(100)),
    "account of 10,000 buys 10,000 shares": ("st0cka", shares_of_ten_thousand(10_000)),
    "two strategies on one account": (
        "gamma-scalper+st0cka",
        {"strategies.gamma-scalper.entry.gate": "off"},
    ),
}
"""Runs of 2018-02-05 for what the twenty days do not meet."""


def special() -> Measured:
    from scalpdesk import load_data

    tape = load_data(start="2018-02-05")
    for key, (strategy, settings) in SPECIAL.items():
        yield key, attempt(run, strategy, tape, settings)
    straddle = settings_flags(held(SPY180205C00274000=2, SPY180205P00274000=2))
    for name, flags in (("hello", []), ("gamma_scalper_0dte", straddle)):
        folder = EXAMPLES / name
        words = ("external", "--strategy", str(folder), *flags)
        yield f"folder {name}", attempt(backtest_cli, *words)
        yield f"harness {name}", attempt(harness, folder)


def harness(folder: Path) -> Record:
    code, text = cli("harness", "--strategy", str(folder), "--events", str(folder / "events.ndjson"))
    return {"exit": code, "intents": len(json.loads(text)), "stdout": digest(text)}


def cases() -> Measured:
    found = cli_json("selftest", "--cases", str(needs(CASES)))["cases"]
    by_area: dict[str, Counter[str]] = {}
    for case in found:
        by_area.setdefault(case["area"], Counter())[case["verdict"]] += 1
    for area, counts in sorted(by_area.items()):
        yield f"area {area}", {verdict: counts[verdict] for verdict in ("passed", "failed", "unbound")}
    for verdict in ("failed", "unbound"):
        yield verdict, {"ids": sorted(case["id"] for case in found if case["verdict"] == verdict)}


def seeds(span: str) -> Measured:
    """Seeded trials, in a process of their own because they start others."""
    words = ["selftest", "--seeds", span, "--workers", "1", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "scalpdesk.cli.main", *words], capture_output=True, text=True, check=False
    )
    if done.returncode not in {0, 1}:
        raise RuntimeError(f"scalpdesk {' '.join(words)} exits {done.returncode}: {done.stderr}")
    found = json.loads(done.stdout)
    totals = {name: found[name] for name in ("seeds", "orders", "events", "faults_injected")}
    totals["restarts"] = found["lives"] - found["seeds"]
    totals["violations"] = len(found["violations"])
    yield span, totals
    yield f"{span} edges of the order machine", found["path_hits"]["edges"]
    yield f"{span} faults by order state", found["path_hits"]["fault_states"]


def drill() -> Measured:
    found = cli_json("drill")["disasters"]
    yield "together", {"ok": sum(row["ok"] for row in found), "of": len(found)}
    for row in found:
        yield row["name"], {key: row[key] for key in ("ok", "ending", "position", "simulated_seconds", "did")}


def helps() -> Measured:
    """Every command's ``--help``, byte for byte, found by walking the tables of commands."""
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        words = waiting.pop(0)
        text = cli(*words, "--help")[1]
        yield " ".join(("scalpdesk", *words)), {"sha256": hashlib.sha256(text.encode()).hexdigest()}
        table = re.search(r"\nCommands:\n((?:  .*\n)+)", text)
        if table:
            waiting += [(*words, name) for name in re.findall(r"^  (\S+)", table[1], re.MULTILINE)]


def key_paths(value: Any, at: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from key_paths(item, f"{at}.{key}" if at else key)
    elif isinstance(value, list):
        for item in value:
            yield from key_paths(item, f"{at}[]")
    else:
        yield at


def to_digits(value: Any, digits: int) -> Any:
    if isinstance(value, float):
        return f"{value:.{digits - 1}e}"
    if isinstance(value, dict):
        return {key: to_digits(item, digits) for key, item in value.items()}
    return [to_digits(item, digits) for item in value] if isinstance(value, list) else value


OPTION = ("--spot", "590", "--strike", "600", "--days", "30", "--rate", "4%")
FIGURES: tuple[tuple[str, ...], ...] = (
    ("price", *OPTION, "--vol", "16%"),
    ("price", *OPTION, "--vol", "16%", "--style", "american", "--dividend", "10:1.5", "--put"),
    ("price", *OPTION, "--vol", "16%", "--style", "european", "--model", "black76"),
    ("iv", *OPTION, "--price", "6.5"),
    ("iv", *OPTION, "--price", "14.2", "--put", "--style", "american"),
    ("chain", "SPY", "--session", "2018-02-05", "--time", "15:00"),
    ("chain", "SPY", "--session", "2015-08-24", "--time", "10:00", "--expiry", "2015-08-28"),
    ("gex", "SPY", "--session", "2018-02-05", "--at", "15:00"),
    ("surface", "SPY", "--session", "2018-02-05"),
    ("surface", "SPY", "--session", "2015-08-24", "--scenario", "--clock", "us-sessions"),
    ("vol", "SPY", "--session", "2018-02-05"),
)
"""Commands whose every figure depends on nothing but their arguments."""

OTHERS: tuple[tuple[str, ...], ...] = (
    ("runs",),
    ("report", "last"),
    ("replay", "last", "--verify"),
    ("config", "check"),
    ("data", "ls"),
    ("data", "verify", "embedded", "--session", "2018-02-05"),
    ("doctor",),
)
"""Commands of whose JSON only the keys are kept, after a demo in the same folder."""


def keys_of(words: tuple[str, ...]) -> Record:
    code, text = cli(*words, "--json")
    document = json.loads(text)
    record: Record = {"exit": code, "keys": sorted(set(key_paths(document)))}
    if words in FIGURES:
        digits = 4 if words[0] == "vol" else 10  # a fit ends 1e-7 apart by where its arrays lie
        record["figures"] = digest(json.dumps(to_digits(document, digits), sort_keys=True))
    return record


def keys() -> Measured:
    """Sorted paths of the keys of ``--json`` output; figures where nothing varies."""
    yield "demo", {"keys": sorted(set(key_paths(cli_json("demo", "--speed", "max", "--no-dashboard"))))}
    for words in (*OTHERS, *FIGURES):
        yield " ".join(words), attempt(keys_of, words)
    for strategy in (None, *STRATEGIES):
        document = cli_json("config", "show", *([strategy] if strategy else []))
        defaults = {row["key"]: row["value"] for row in document["values"]}
        paths = sorted({path for path in key_paths(document) if not path.startswith("values[].value")})
        yield f"config show {strategy or ''}".strip(), {"keys": paths, "defaults": defaults}


PARTS: dict[str, Callable[[argparse.Namespace], Measured]] = {
    "demo": lambda _: demo(),
    "recorded": lambda _: recorded(),
    "zero-dte": lambda _: zero_dte_recorded(),
    "days": lambda _: days(),
    "special": lambda _: special(),
    "cases": lambda _: cases(),
    "drill": lambda _: drill(),
    "help": lambda _: helps(),
    "keys": lambda _: keys(),
    "seeds": lambda asked: seeds(asked.seeds),
}

# measuring and comparing ------------------------------------------------------------------------


def measure(asked: argparse.Namespace, parts: Iterable[str]) -> Record:
    """Measure the parts in a folder of their own, whatever the caller's settings are."""
    found: Record = {"versions": versions(), "parts": {}, "left_out": {}}
    for name in [name for name in os.environ if name.startswith(("SCALPDESK", "ALPACA", "APCA", "IBKR"))]:
        del os.environ[name]
    os.environ.update(COLUMNS="80", NO_COLOR="1")
    here = Path.cwd()
    for part in parts:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            try:
                for key, record in PARTS[part](asked):
                    found["parts"].setdefault(part, {})[key] = record
                note = f"{len(found['parts'][part])} records"
            except AbsentError as absent:
                found["left_out"][part] = note = str(absent)
            except Exception as problem:  # noqa: BLE001 - what fails is a difference, and the rest is measured
                found["parts"].setdefault(part, {})["error"] = {"error": str(problem)}
                note = f"failed: {problem}"
            finally:
                os.chdir(here)
                _CATALOG.clear()
        print(f"{part:<10} {time.perf_counter() - began:7.1f} s  {note}", flush=True)
    return found


def versions() -> Record:
    packages = {name: version(name) for name in ("numpy", "scipy", "numba", "exchange-calendars", "click")}
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    commit = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    return {"commit": commit, "python": platform.python_version(), "machine": platform.machine(), **packages}


def short(record: Record | None) -> str:
    """Return a record in a few words, for the table."""
    if record is None:
        return "-"
    if "decision_hash" in record:
        counts = f"{record['orders']} orders, {record['fills']} fills"
        return f"{record['decision_hash'][:12]} {counts}, {record['nav_change']}"
    text = json.dumps(record, sort_keys=True)
    return text if len(text) <= 48 else f"{digest(text)[:12]} ({len(record)} fields)"


def differences(before: Record, after: Record) -> list[str]:
    lines = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if isinstance(old, list) and isinstance(new, list):
            lines += [f"{name}: no longer {item}" for item in old if item not in new]
            lines += [f"{name}: new {item}" for item in new if item not in old]
        elif isinstance(old, dict) and isinstance(new, dict):
            lines += [f"{name}.{text}" for text in differences(old, new)]
        else:
            lines.append(f"{name}: {old} -> {new}")
    return lines


EQUAL = "equal"


def verdict(old: Record | None, new: Record | None) -> str:
    if "error" in (old or {}) or "error" in (new or {}):
        return "NOT MEASURED"  # the same failure twice says nothing of what the desk does
    if old == new:
        return EQUAL
    if old and new and {name for name in {*old, *new} if old.get(name) != new.get(name)} == {"decision_hash"}:
        return "DIFFERENT (words or ids; every number equal)"
    return "DIFFERENT"


def compare(before: Record, after: Record, parts: Iterable[str]) -> int:
    """Print the table and return how many records differ."""
    equal = different = 0
    for name in (name for name, had in before["versions"].items() if after["versions"].get(name) != had):
        print(f"note: {name} was {before['versions'][name]}, is {after['versions'].get(name)}")
    print("| key | before | after | verdict |\n|---|---|---|---|")
    for part in parts:
        if part in before["left_out"] or part in after["left_out"]:
            why = [run["left_out"].get(part, "measured") for run in (before, after)]
            print(f"| {part} | {why[0]} | {why[1]} | LEFT OUT |")
            continue
        old_part, new_part = before["parts"].get(part, {}), after["parts"].get(part, {})
        for key in dict.fromkeys([*old_part, *new_part]):
            old, new = old_part.get(key), new_part.get(key)
            word = verdict(old, new)
            print(f"| {part}: {key} | {short(old)} | {short(new)} | {word} |")
            if word == EQUAL:
                equal += 1
                continue
            different += 1
            for line in differences(old or {}, new or {})[:20]:
                print(f"|   {line} | | | |")
    print(f"\n{equal} equal, {different} different")
    return different


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what scalpdesk does, or compare with a file.")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas: %(default)s")
    parser.add_argument("--seeds", default="0:200", help="span of the seeded trials (default %(default)s)")
    parser.add_argument("--out", type=Path, help="write the parts measured; others in the file stay")
    parser.add_argument("--compare", type=Path, help="compare with this file; exit 1 on a difference")
    parser.add_argument("--after", type=Path, help="with --compare: this file instead of measuring")
    asked = parser.parse_args()
    parts = asked.only.split(",")
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        parser.error(f"unknown part {', '.join(unknown)}: choose from {', '.join(PARTS)}")
    after = json.loads(asked.after.read_text()) if asked.after else measure(asked, parts)
    if asked.out:
        kept = json.loads(asked.out.read_text()) if asked.out.is_file() else {"parts": {}, "left_out": {}}
        left_out = {part: why for part, why in kept["left_out"].items() if part not in after["parts"]}
        merged = {
            "versions": after["versions"],
            "parts": {**kept["parts"], **after["parts"]},
            "left_out": {**left_out, **after["left_out"]},
        }
        asked.out.write_text(json.dumps(merged, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if asked.compare:
        return 1 if compare(json.loads(asked.compare.read_text()), after, parts) else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
