"""``scalpdesk new``: begin a package of your own."""

import re
from importlib.resources import files
from pathlib import Path

import click

from scalpdesk.cli.command import desk_command
from scalpdesk.cli.output import print_json
from scalpdesk.core.errors import ConfigError

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
STARTER = "morning-straddle"
"""Name of the strategy that a new package begins with: the module `starter`."""
_PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.25"]
build-backend = "hatchling.build"

[project]
name = "morning-straddle"
version = "0.1.0"
dependencies = ["scalpdesk"]

[project.entry-points."scalpdesk.strategies"]
morning-straddle = "morning_straddle.strategy:PLUG"

[tool.hatch.build.targets.wheel]
packages = ["src/morning_straddle"]

[tool.pytest.ini_options]
testpaths = ["tests"]
"""
_TEST = """\
from scalpdesk import PreparedMarket, backtest, load_data, walk_forward


def test_it_ends_flat_and_a_wider_band_hedges_less():
    day = load_data(start="2018-02-05")
    narrow, wide = (
        backtest("morning-straddle", day, settings={"delta_shares": shares}) for shares in (2, 30)
    )
    assert narrow.summary["end_positions"] == wide.summary["end_positions"] == {}
    assert narrow.summary["hedges"] > wide.summary["hedges"] > 0


def test_each_choice_is_judged_on_a_later_session():
    market = PreparedMarket(load_data(start="2018-02-05", end="2018-02-07"))
    found = walk_forward("morning-straddle", market, {"delta_shares": [5, 30]}, train=2, test=1)
    for fold in found.report.folds:
        assert fold.train_last < fold.test_first
"""
README = """\
# morning-straddle

A strategy for scalpdesk. It begins as a straddle that is bought in the morning, hedged, and sold in the
afternoon: change `src/morning_straddle/strategy.py` into yours.

    pip install -e . pytest
    scalpdesk backtest morning-straddle
    scalpdesk replay last --verify
    scalpdesk research lookahead morning-straddle --start 2018-02-05
    scalpdesk sweep morning-straddle --start 2018-02-05 --param delta_shares=2,10 --param buy_at=10:00,12:00
    scalpdesk walkforward morning-straddle --start 2018-02-05 --end 2018-02-16 --param delta_shares=2,5,10,20
    python -m pytest
"""


def project_files(name: str) -> dict[str, str]:
    """Return the files of a new strategy's package by path."""
    module = name.replace("-", "_")
    texts = {
        "pyproject.toml": _PYPROJECT,
        "README.md": README,
        f"src/{module}/__init__.py": "",
        f"src/{module}/strategy.py": files("scalpdesk.cli").joinpath("starter.py").read_text("utf-8"),
        "tests/test_strategy.py": _TEST,
    }
    names = {STARTER: name, STARTER.replace("-", "_"): module, _class_name(STARTER): _class_name(name)}
    for old, new in names.items():
        texts = {path: text.replace(old, new) for path, text in texts.items()}
    return texts


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("-"))


@click.group("new")
def new() -> None:
    """Begin a package of your own."""


@desk_command("strategy", group=new, example="scalpdesk new strategy my-straddle")
@click.argument("name")
@click.option("--folder", metavar="DIR", help="Folder to make [default: NAME].")
def strategy(*, as_json: bool, name: str, folder: str | None) -> None:
    """Write a package with a strategy that trades, its settings, tests and walk-forward.

    NAME is its name on the command line, in small letters: my-straddle. Nothing of the product is changed:
    the package is installed beside it.
    """
    from scalpdesk.datasets.store import replace_file
    from scalpdesk.strategies.registry import strategy_names

    if not NAME.fullmatch(name):
        raise ConfigError(
            "a strategy has a name of small letters, digits and hyphens",
            where="NAME",
            value=name,
            fix="my-straddle",
        )
    if name in strategy_names():
        raise ConfigError("there is a strategy of this name", where="NAME", value=name, fix="choose another")
    target = Path(folder or name)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(
            "the folder is not empty", where="--folder", value=str(target), fix="choose another"
        )
    written = project_files(name)
    for path, text in written.items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        replace_file(target / path, text)
    if as_json:
        print_json({"written": list(written), "folder": str(target)})
        return
    click.echo(f"written: {', '.join(str(target / path) for path in written)}")
    click.echo(f"next: pip install -e {target}, then scalpdesk backtest {name}")
