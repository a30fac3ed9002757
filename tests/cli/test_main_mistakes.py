"""The commonest mistakes, a row each: what was typed, and the message that names place, fault and fix."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest

from scalpdesk.cli.main import main


class Mistake(NamedTuple):
    """Typed words, and the text of the message; ``files`` are written first."""

    name: str
    command: str
    what: str
    where: str
    fix: str
    files: Mapping[str, str] = MappingProxyType({})
    environment: Mapping[str, str] = MappingProxyType({})
    nearest: str | None = None


BOTH_KEYS = {"TRADING_API_KEY": "abc", "TRADING_API_SECRET": "def"}
ONE_OF = "use one of ema-scalper, external, gamma-scalper, hybrid"
DESK_TOML = "scalpdesk.toml"
MISTAKES = [
    Mistake("command misspelt", "backtets gamma-scalper", "unknown command", "scalpdesk",
            "scalpdesk backtest", nearest="backtest"),
    Mistake("option misspelt", "demo --sesion 2018-02-05", "unknown option", "scalpdesk demo",
            "scalpdesk demo --help", nearest="--start"),
    Mistake("strategy misspelt", "backtest gama-scalper", "there is no strategy of this name", "strategy",
            ONE_OF, nearest="gamma-scalper"),
    Mistake("one of two strategies misspelt", "run gamma-scalper+zero-dtee",
            "there is no strategy of this name", "strategy", ONE_OF, nearest="zero-dte"),
    Mistake("no strategy named", "run", "which strategy?", "STRATEGY", "name one of ema-scalper"),
    Mistake("key misspelt after --set", "backtest gamma-scalper --set hedge.treshold_shares=2",
            "unknown configuration key", "strategies.gamma-scalper.hedge.treshold_shares (--set)",
            "use hedge.threshold_shares", nearest="hedge.threshold_shares"),
    Mistake("key misspelt in the file", "config check", "unknown configuration key",
            "risk.max_daily_los (scalpdesk.toml:2)", "use risk.max_daily_loss",
            {DESK_TOML: "[risk]\nmax_daily_los = 100\n"}, nearest="risk.max_daily_loss"),
    Mistake("key misspelt in the environment", "config check", "unknown configuration key",
            "risk.MAX_DAILY_LOS (environment SCALPDESK_RISK__MAX_DAILY_LOS)", "use risk.max_daily_loss",
            environment={"SCALPDESK_RISK__MAX_DAILY_LOS": "5"}, nearest="risk.max_daily_loss"),
    Mistake("key outside of its section", "config check", "unknown configuration key",
            "max_capital_fraction (scalpdesk.toml:1)", "use risk.max_capital_fraction",
            {DESK_TOML: "max_capital_fraction = 0.5\n"}, nearest="risk.max_capital_fraction"),
    Mistake("file that is no TOML", "config check", "the file is not valid TOML", "scalpdesk.toml:1",
            "write key = value below a [section]", {DESK_TOML: "[risk\nx = 1\n"}),
    Mistake("tabs in YAML", "config check", "the file is not valid YAML", "params.yaml:2",
            "indent with spaces", {"params.yaml": "risk:\n\tmax: 1\n"}),
    Mistake("file of another name", "backtest gamma-scalper --config dsk.toml",
            "there is no such configuration file", "--config", "scalpdesk init", {"desk.toml": ""},
            nearest="desk.toml"),
    Mistake("text where a number belongs", "backtest gamma-scalper --set straddles=two",
            "this key takes a whole number", "strategies.gamma-scalper.straddles (--set)",
            "set strategies.gamma-scalper.straddles to a whole number"),
    Mistake("a part of a coin", "backtest gamma-scalper --data embedded-btc --set straddles=0.1",
            "this key takes a whole number, 1 or more", "strategies.gamma-scalper.straddles (--set)",
            "--set strategies.gamma-scalper.straddles=1"),
    Mistake("a part of a coin in a file", "backtest gamma-scalper --data embedded-btc",
            "this key takes a whole number, 1 or more", "strategies.gamma-scalper.straddles (params.yaml",
            "--set strategies.gamma-scalper.straddles=1",
            {"params.yaml": "strategies:\n  gamma-scalper:\n    straddles: 0.1\n"}),
    Mistake("several symbols of a strategy of one", "backtest hybrid --symbols SPY,QQQ --start 2018-02-05",
            "the hybrid trades one underlying", "underlying", "--symbols SPY; st0cka or gamma-scalper"),
    Mistake("--set without a value", "backtest gamma-scalper --set straddles",
            "an override is written KEY=VALUE", "--set", "--set simulation.latency_ms=50"),
    Mistake("per cent where a fraction belongs", "backtest gamma-scalper --set risk.max_capital_fraction=50",
            "this key takes a multiple of equity", "risk.max_capital_fraction (--set)",
            "set risk.max_capital_fraction=0.5"),
    Mistake("points of volatility as a fraction", "price --spot 100 --strike 100 --days 30 --vol 20",
            "'20' is 2000%; write 20% if percent is meant", "scalpdesk price --vol",
            "scalpdesk price --help"),
    Mistake("a backtest to go on with", "backtest gamma-scalper --resume", "no state of a backtest is saved",
            "--resume", "run it again: the same command without --resume"),
    Mistake("fill model misspelt", "backtest gamma-scalper --fill-model crss", "no fill model of this name",
            "simulation.fill_model (--set)", "use one of adverse, cross, mid, queue", nearest="cross"),
    Mistake("an expiry window that is empty",
            "backtest gamma-scalper --set selection.min_expiration_days=100", "the expiry window is empty",
            "strategies.gamma-scalper.selection.max_expiration_days",
            "set selection.max_expiration_days=100"),
    Mistake("a time of day that is none", "backtest gamma-scalper --set exits.close_at=25:00",
            "not a time of day", "strategies.gamma-scalper.exits.close_at (--set)", "write HH:MM"),
    Mistake("quiet hours in words", "config check", "quiet hours are two times of day", "alerts.quiet_hours",
            "22:00-07:00", {DESK_TOML: '[alerts]\nquiet_hours = "22 to 7"\n'}),
    Mistake("time zone misspelt", "config check", "this is no time zone", "alerts.timezone",
            "name one as America/New_York", {DESK_TOML: '[alerts]\ntimezone = "America/NewYork"\n'},
            nearest="America/New_York"),
    Mistake("a Saturday", "demo --session 2018-02-03", "this day is a Saturday, the exchange is closed",
            "--start", "--start 2018-02-05", nearest="2018-02-02 or 2018-02-05"),
    Mistake("a holiday", "backtest gamma-scalper --start 2018-01-15", "this day is a holiday", "--start",
            "--start 2018-01-16", nearest="2018-01-12 or 2018-01-16"),
    Mistake("a day written otherwise", "demo --session 05.02.2018", "not a date", "--start",
            "write it as 2018-02-05"),
    Mistake("a day beyond the data", "demo --session 2024-02-05", "and not this day", "--start",
            "--start 2018-12-31", nearest="2018-12-31"),
    Mistake("the end before the start", "backtest gamma-scalper --start 2018-02-06 --end 2018-02-05",
            "the last day lies before the first", "--end", "--start 2018-02-05 --end 2018-02-06"),
    Mistake("a percentage", "backtest gamma-scalper --set exits.stop_fraction=30%", "this key takes a number",
            "strategies.gamma-scalper.exits.stop_fraction", "exits.stop_fraction=0.3"),
    Mistake("data set misspelt", "backtest gamma-scalper --data embeded",
            "no data set of this name in the catalogue", "catalog", "write embedded",
            nearest="embedded"),
    Mistake("a share that the embedded market lacks", "backtest gamma-scalper --set underlying=AAPL",
            "the embedded market knows two shares", "underlying", "use one of them, or import recorded data",
            nearest="SPY or QQQ"),
    Mistake("dollars at a market that settles in coin",
            "backtest gamma-scalper --data embedded-btc --start 2025-03-05 --set underlying=BTC-PERPETUAL",
            "BTC-PERPETUAL is settled in BTC", "desk.currency (default)", "set desk.currency to BTC"),
    Mistake("a folder of data that is not there", "data import lean Leen/Data",
            "this is not LEAN's Data folder", "Leen/Data", "pass the folder that holds equity/, option/"),
    Mistake("a speed in words", "demo --speed fast", "not a speed", "--speed",
            "write market seconds a second, e.g. 400, or max"),
    Mistake("venue misspelt", "run gamma-scalper --venue alpacca", "'alpacca' is not one of",
            "scalpdesk run --venue", "write alpaca", nearest="alpaca"),
    Mistake("no keys", "run gamma-scalper --venue alpaca", "the venue needs a key and a secret",
            "credentials.trading_api_key", "put TRADING_API_KEY and TRADING_API_SECRET into .env"),
    Mistake("a key without its secret", "run gamma-scalper --venue alpaca",
            "a key needs its secret", "credentials.trading_api_secret", "into .env, or neither",
            environment={"TRADING_API_KEY": "abc"}),
    Mistake("keys that others may read", "run gamma-scalper --venue alpaca",
            "the file with the keys can be read or written by others", ".env: TRADING_API_KEY",
            "chmod 600 .env", {".env": "TRADING_API_KEY=abc\nTRADING_API_SECRET=def\n"}),
    Mistake("real money without saying so", "run gamma-scalper --venue alpaca --live",
            "--live contradicts the configuration, which says paper", "desk.paper", "set desk.paper = false",
            environment=BOTH_KEYS),
    Mistake("real money at the simulated venue", "run gamma-scalper --venue simulated --live",
            "real money is traded at a venue that can be armed", "--live, --venue", "--venue alpaca --live"),
    Mistake("a report before the first run", "report last", "there is no run yet", "runs",
            "scalpdesk demo makes one"),
    Mistake("fewer hedges than none", "report last --hedges -3", "-3 is not in the range",
            "scalpdesk report --hedges", "scalpdesk report --help"),
    Mistake("nothing runs that could answer", "status", "no desk runs here", "runs",
            "scalpdesk run STRATEGY starts one"),
    Mistake("alerts without an address", "alerts test", "there is no address to send alerts to",
            "credentials.alert_urls", "SCALPDESK_CREDENTIALS__ALERT_URLS=tgram://"),
    Mistake("a time to expiry that is over", "price --spot 100 --strike 100 --vol 16% --days -3",
            "the time to expiry is a number of at least 0", "--days", "--days 30"),
    Mistake("a spot below nothing", "price --spot -5 --strike 100 --vol 16% --days 3",
            "spot must be at least 0", "spot", "give a spot that is at least 0"),
    Mistake("an option's price below nothing", "price --paid -1 --spot 100 --strike 100 --days 30",
            "the price is no number of zero or more", "--paid", "--paid 10.85"),
    Mistake("fewer strikes than none", "chain SPY --strikes -3", "-3 is not in the range",
            "scalpdesk chain --strikes", "scalpdesk chain --help"),
    Mistake("a chain's spot below nothing", "gex SPY --spot -3", "-3.0 is not in the range",
            "scalpdesk gex --spot", "scalpdesk gex --help"),
    Mistake("a spot beside the market's own", "gex SPY --spot 3", "--spot goes with --chain", "--spot",
            "leave --spot out"),
    Mistake("days that nothing keeps", "vol SPY --days 3", "--days goes with --keep", "--days", "add --keep"),
    Mistake("a model that nothing judges", "vol SPY --model har", "--model goes with --evaluate", "--model",
            "add --evaluate"),
    Mistake("a page of a run that is not there", "dashboard --run nope --port 0", "there is no run yet",
            "runs", "scalpdesk demo makes one"),
    Mistake("runs in a folder without a name", "runs --set desk.runs_dir=",
            "this key takes text of length >= 1", "desk.runs_dir (--set)", "set desk.runs_dir to text"),
    Mistake("a seed below zero", "demo --seed -1", "a seed is a whole number from 0", "seed", "choose one"),
    Mistake("the other coin's market",
            "backtest gamma-scalper --data embedded-btc --start 2025-03-05 --set underlying=ETH-PERPETUAL",
            "the market embedded-btc has BTC-PERPETUAL alone", "underlying", "--data embedded-eth",
            nearest="BTC-PERPETUAL"),
    Mistake("shares in a coin's market", "backtest gamma-scalper --data embedded-eth --start 2025-03-05",
            "the market embedded-eth has ETH-PERPETUAL alone", "underlying",
            "set strategies.gamma-scalper.underlying to ETH-PERPETUAL", nearest="ETH-PERPETUAL"),
    Mistake("an exchange's speed in words", "exchange --speed x",
            "a speed is a number of market seconds a second, 0 or more, or max", "--speed",
            "write 1 for the pace"),
    Mistake("an empty file of data", "data import csv empty.csv --underlying SPY --name x",
            "the file is empty", "empty.csv", "export it again", {"empty.csv": ""}),
    Mistake("a strategy mode that is no strategy", "config check", "there is no strategy of this name",
            "desk.strategy_mode (environment STRATEGY_MODE)", ONE_OF,
            environment={"STRATEGY_MODE": "gama-scalper"}, nearest="gamma-scalper"),
    Mistake("a device for a configuration", "config check --config /dev/null",
            "this is a device or a pipe, not a file with settings", "/dev/null", "name a file with settings"),
    Mistake("a strategy folder without its file", "backtest external --strategy mine",
            "there is no strategy.py here", "--strategy", "on_market_event(event)", {"mine/other.py": ""}),
]  # fmt: skip


def test_there_are_thirty_or_more_and_none_stands_twice():
    assert len({mistake.name for mistake in MISTAKES}) == len(MISTAKES) >= 30
    assert len({(each.command, str(each.files), str(each.environment)) for each in MISTAKES}) == len(MISTAKES)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_common_mistake_is_named_with_its_place_and_the_fix(mistake, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, text in mistake.files.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
        Path(name).chmod(0o644)
    for name, value in mistake.environment.items():
        monkeypatch.setenv(name, value)
    code = main(mistake.command.split())
    told = capsys.readouterr()
    lines = dict(line.strip().partition(": ")[::2] for line in told.err.strip().splitlines())
    assert (told.out, code) == ("", 1 if mistake.name == "nothing runs that could answer" else 2)
    assert mistake.what in lines["error"]
    assert lines["where"].startswith(mistake.where)
    assert mistake.fix in lines["fix"]
    assert lines.get("nearest") == mistake.nearest
    assert "Traceback" not in told.err
