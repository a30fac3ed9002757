"""The page of migration: each accepted name has its row, and what a row leads to exists."""

import math
import re
from decimal import Decimal
from pathlib import Path
from statistics import NormalDist

import pytest

from scalpdesk.cli.dashboard import DEFAULT_PORT
from scalpdesk.config import settings
from scalpdesk.config.schema import Schema
from scalpdesk.config.sources import LEGACY_NAMES, dotted
from scalpdesk.core.errors import ScalpdeskError
from scalpdesk.risk.checks import loss_rule
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.gamma_scalper.config import GammaScalperConfig
from scalpdesk.strategies.registry import find_strategy
from scalpdesk.web.routes import desk, server

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "start" / "migration.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").replace("\\|", "/").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| before")
]
SECTIONS = ("desk", "data", "simulation", "marketdata", "risk", "rates", "credentials")
KEYS = sorted(
    set(re.findall(r"`((?:strategies\.[a-z0-9-]+|" + "|".join(SECTIONS) + r")\.[a-z0-9_.]+)`", PAGE))
)
FILES = sorted(
    {
        word
        for row in ROWS
        for word in re.findall(r"`([a-z0-9_/.]+)`", row[1])
        if "/" in word and not word.startswith(("/api", "scalpdesk"))
    }
)


def keys_of(section):
    """Every key below a section, written with dots."""
    strategy = section.removeprefix("strategies.") if section.startswith("strategies.") else None
    schema = Schema(settings.DeskConfig, lambda name: find_strategy(name).config, None, strategy)
    return {dotted(path) for path in schema.all_paths()}


@pytest.mark.parametrize("key", KEYS)
def test_each_new_key_exists(key):
    words = key.split(".")
    section = ".".join(words[:2]) if words[0] == "strategies" else words[0]
    assert key in keys_of(section)


def test_there_are_keys_and_rows_enough_to_be_the_page():
    assert len(KEYS) > 45
    assert len(ROWS) > 90
    assert all(len(row) == 2 and all(row) for row in ROWS)


@pytest.mark.parametrize("name", sorted(LEGACY_NAMES))
def test_each_accepted_name_leads_to_its_key(name):
    key = dotted(LEGACY_NAMES[name])
    rows = [row for row in ROWS if f"`{name}`" in row[0]]
    assert rows
    assert any(f"`{key}`" in row[1] for row in rows)


@pytest.mark.parametrize("file", FILES)
def test_each_new_place_exists(file):
    assert any((folder / file).exists() for folder in (ROOT, ROOT / "src" / "scalpdesk"))


def test_no_row_speaks_of_a_strategy_that_is_not_there():
    for name in sorted(set(re.findall(r"scalpdesk run ([a-z0-9_-]+)", PAGE))):
        try:
            find_strategy(name)
        except ScalpdeskError as problem:
            pytest.fail(problem.render())


def test_the_addresses_of_the_old_dashboard_are_served():
    (row,) = [row for row in ROWS if ":10000" in row[0]]
    assert f"port {DEFAULT_PORT}" in row[1]
    served = {route.path for route in (*desk.router.routes, *server.router.routes)}
    assert served >= set(re.findall(r"`(/api/[a-z]+)`", row[0]))
    assert "not there yet" not in PAGE.lower()


def test_constants_of_the_0dte_strategy_are_not_taken_for_names_of_the_environment():
    """The names that the page lists from ``.env`` are read, and these are not."""
    for name in ("HEDGING_THRESHOLD", "HEDGING_THRESHOLD_NEGATIVE_GEX", "EXIT_TIME_ET"):
        (row,) = [row for row in ROWS if f"`{name}`" in row[0]]
        assert name not in LEGACY_NAMES
        assert "constant" in row[0]
        assert "never read from `.env`" in row[1]


def test_what_the_gamma_scalper_does_where_nothing_is_set_is_as_the_page_has_it():
    config = GammaScalperConfig()
    assert (config.mode, config.entry.gate, config.hedge.make_band().name) == (
        "init",
        "enforce",
        "whalley_wilmott",
    )
    assert (config.entry.not_before, config.entry.not_after) == ("09:35", "15:30")
    assert (config.exits.min_dte, config.exits.stop_fraction, config.entry.again_after_exit) == (
        7,
        0.3,
        False,
    )
    for words in ("`INITIALIZATION_MODE` not set", "`HEDGING_DELTA_THRESHOLD` not set", "buys at once"):
        assert any(words in row[0] for row in ROWS)


def straddle(days, spot=680.0, vol=0.15):
    """Premium and vega a point of an at-the-money straddle of 100 shares, by Black without rates."""
    root = math.sqrt(days / 365)
    d1, normal = 0.5 * vol * root, NormalDist()
    price = spot * (normal.cdf(d1) - normal.cdf(-d1))
    return 200 * price, 2 * spot * normal.pdf(d1) * root


def test_the_least_equity_of_each_strategy_is_what_the_limits_let_through():
    limits = RiskLimits()
    wanted = {
        "for a straddle of 30 days": straddle(30)[0] / limits.max_position_fraction,
        "for one of 60": straddle(60)[0] / limits.max_position_fraction,
        "for a share": 680 / limits.max_position_fraction,
        "for three": 3 * 680 / limits.max_position_fraction,
        "for one of 30 days": straddle(30)[1] / limits.max_vega_fraction,
    }
    text = PAGE[PAGE.index("much money it needs") :].partition("\n## ")[0]
    for words, equity in wanted.items():
        step = 10 if "share" in words or "three" in words else 100
        figure = f"{math.ceil(equity / step) * step:,}"
        assert re.search(rf"{figure}(?: USD)? {words}", text), (words, figure)
    premium = Decimal(round(straddle(30)[0]))
    for equity, rule in ((Decimal(9_300), "position_size"), (Decimal(9_400), None)):
        found = loss_rule(
            limits.daily_loss_limit(equity),
            limits.max_consecutive_losses,
            limits.max_position_fraction,
            daily_pnl=Decimal(0),
            consecutive_losses=0,
            proposed_risk=premium,
            proposed_loss=Decimal(0),
            equity=equity,
        )
        assert found == rule
