"""``scalpdesk doctor``: is the installation whole, and is what the desk needs at hand."""

import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from scalpdesk.cli.command import desk_command
from scalpdesk.cli.compiling import are_compiled, compile_all_kernels
from scalpdesk.cli.output import print_json
from scalpdesk.cli.waiting import progress_bar
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.diagnosis import Diagnosis
from scalpdesk.core.errors import EXIT_FAILED, EXIT_OK, ConfigError, ScalpdeskError
from scalpdesk.core.installing import install_line
from scalpdesk.core.units import count_text

if TYPE_CHECKING:
    from scalpdesk.config.settings import DeskConfig

_OLDEST_PYTHON = (3, 11)
_EARLIEST_PLAUSIBLE_NS = 1_704_067_200_000_000_000  # 2024-01-01: the product is younger than that
_FIRST_RUN_IMPORTS = (
    "exchange_calendars",
    "sqlalchemy.orm",
    "alembic.command",
    "rich.live",
    "rich.table",
    "scalpdesk.assembly",
    "scalpdesk.datasets.catalog",
    "scalpdesk.datasets.embedded.market",
)
"""Packages are installed without byte code; importing them once during set-up writes it."""
_EXTRA = '"scalpdesk[NAME]"'
_MARKS = {"ok": "ok  ", "note": "note", "fail": "FAIL"}


@desk_command("doctor", example=("scalpdesk doctor", "scalpdesk doctor --warm-up"))
@click.option(
    "--warm-up", is_flag=True, help="Compile the pricing kernels now, so that the first run starts warm."
)
def doctor(*, as_json: bool, warm_up: bool) -> int:
    """Check Python, packages, time zones, folders, data, kernels and keys; exit 1 when one fails."""
    return report_findings(examine(Path.cwd(), warm_up=warm_up), as_json=as_json, warm_up=warm_up)


def report_findings(found: Iterable[Diagnosis], *, as_json: bool, warm_up: bool) -> int:
    """Print findings as they come; return the exit code. At set-up (``warm_up``) no extra is wanted yet."""
    findings, absent = [], []
    for finding in found:
        findings.append(finding)
        if finding.name.startswith("extra ") and finding.verdict == "note":
            absent.append(finding.name.removeprefix("extra "))
        elif not as_json:
            _show(finding)
    failed = sum(finding.verdict == "fail" for finding in findings)
    if as_json:
        print_json({"ok": not failed, "failed": failed, "findings": [asdict(f) for f in findings]})
    else:
        if absent and not warm_up:
            _show(Diagnosis("extras", "note", f"not installed: {', '.join(absent)}", f"pip install {_EXTRA}"))
        click.echo(f"\n{count_text(failed, 'check')} failed" if failed else "\nall checks passed")
    return EXIT_FAILED if failed else EXIT_OK


def _show(finding: Diagnosis) -> None:
    click.echo(f"{_MARKS[finding.verdict]}  {finding.name:<22} {finding.detail}")
    if finding.fix is not None:
        click.echo(f"{'':28} fix: {finding.fix}")


def installed_version(package: str) -> str | None:
    """Return the version of an installed package, None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def examine(
    folder: Path, *, warm_up: bool, version_of: Callable[[str], str | None] = installed_version
) -> Iterator[Diagnosis]:
    """Yield what is found, one check after another.

    In the folder in which the desk would be started; ``warm_up`` compiles the kernels rather than only look
    whether they are compiled.
    """
    yield _python()
    yield from _core_packages(version_of)
    yield from _extras(version_of)
    yield from _clock()
    with progress_bar(as_json=True):
        config, finding = _configuration(folder)
    yield finding
    yield _runs_folder(folder / ("runs" if config is None else config.desk.runs_dir))
    yield _catalog(folder / ("catalog" if config is None else config.data.catalog))
    yield _kernels(warm_up=warm_up)
    yield _compiled_modules()
    yield from _strategies({} if config is None else config.strategies)
    yield from _keys(folder)
    if config is not None:
        yield from _records(config)
        yield from _dealer_gamma(config)


def _python() -> Diagnosis:
    have = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _OLDEST_PYTHON:
        return Diagnosis("python", "fail", have, "take Python 3.11 or newer")
    return Diagnosis("python", "ok", f"{have} at {sys.executable}")


_REQUIREMENT = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?\s*(?:>=\s*([0-9.]+))?")


def _requirements() -> list[tuple[str, str, str | None]]:
    """Return (package, lowest version, extra or None) of everything the distribution names."""
    rows = []
    for line in metadata.requires("scalpdesk") or []:
        wanted, _, marker = line.partition(";")
        found = _REQUIREMENT.match(wanted)
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker)
        if found is not None:
            rows.append((found.group(1), found.group(2) or "0", extra.group(1) if extra else None))
    return rows


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _core_packages(version_of: Callable[[str], str | None]) -> Iterator[Diagnosis]:
    versions, wrong = [], []
    for package, lowest, extra in _requirements():
        if extra is not None:
            continue
        have = version_of(package)
        if have is None or _numbers(have) < _numbers(lowest):
            wrong.append(f"{package} >= {lowest} (found {have or 'none'})")
        else:
            versions.append(f"{package} {have}")
    if wrong:
        yield Diagnosis("packages", "fail", f"needs {', '.join(wrong)}", "pip install --upgrade scalpdesk")
    else:
        yield Diagnosis("packages", "ok", ", ".join(versions))


def _extras(version_of: Callable[[str], str | None]) -> Iterator[Diagnosis]:
    needed: dict[str, list[str]] = {}
    for package, _lowest, extra in _requirements():
        if extra is not None and extra != "all":
            needed.setdefault(extra, []).append(package)
    for extra, packages in sorted(needed.items()):
        missing = [package for package in packages if version_of(package) is None]
        if missing:
            yield Diagnosis(
                f"extra {extra}",
                "note",
                f"not installed ({', '.join(missing)})",
                install_line(f"scalpdesk[{extra}]"),
            )
        else:
            yield Diagnosis(f"extra {extra}", "ok", ", ".join(f"{p} {version_of(p)}" for p in packages))


def _clock() -> Iterator[Diagnosis]:
    try:
        ZoneInfo("America/New_York")
    except ZoneInfoNotFoundError:
        yield Diagnosis("time zones", "fail", "no data for America/New_York", "pip install tzdata")
    else:
        yield Diagnosis("time zones", "ok", "America/New_York known")
    now_ns = SystemClock().now_ns()
    if now_ns < _EARLIEST_PLAUSIBLE_NS:
        yield Diagnosis("clock", "fail", "the machine's clock is years behind", "set the clock (NTP)")
    else:
        yield Diagnosis("clock", "ok", "plausible")


def _configuration(folder: Path) -> tuple["DeskConfig | None", Diagnosis]:
    from scalpdesk.config.settings import load_settings

    try:
        loaded = load_settings(environ=os.environ, cwd=folder)
    except ConfigError as error:
        lines = "; ".join(line.strip() for line in error.render().splitlines())
        return None, Diagnosis("configuration", "fail", lines, "scalpdesk config check")
    detail = (
        loaded.config_file.name if loaded.config_file else "no file: defaults (scalpdesk init writes one)"
    )
    return loaded.config, Diagnosis("configuration", "ok", detail)


def _runs_folder(folder: Path) -> Diagnosis:
    nearest = folder
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        return Diagnosis(
            "runs folder",
            "fail",
            f"{folder.name}: cannot write in {nearest}",
            "set desk.runs_dir to a folder you can write",
        )
    return Diagnosis(
        "runs folder",
        "ok",
        f"{folder.name}: writable" if folder.exists() else f"{folder.name}: made when needed",
    )


def _catalog(folder: Path) -> Diagnosis:
    files = sum(1 for _ in folder.rglob("*.parquet")) if folder.is_dir() else 0
    if files:
        return Diagnosis("data catalogue", "ok", f"{folder.name}: {files} Parquet files")
    return Diagnosis(
        "data catalogue",
        "note",
        f"{folder.name}: nothing recorded yet; the embedded market works without",
        "scalpdesk data import FORMAT PATH",
    )


def _kernels(*, warm_up: bool) -> Diagnosis:
    if warm_up:
        started = time.perf_counter()
        compile_all_kernels(_FIRST_RUN_IMPORTS)
        return Diagnosis("pricing kernels", "ok", f"warm after {time.perf_counter() - started:.1f} s")
    if are_compiled("every-day"):
        return Diagnosis("pricing kernels", "ok", "compiled")
    return Diagnosis(
        "pricing kernels",
        "note",
        "not compiled yet: the first run will be slower",
        "scalpdesk doctor --warm-up",
    )


def _compiled_modules() -> Diagnosis:
    from scalpdesk.engine import trading_engine

    if not trading_engine.__file__.endswith(".py"):
        return Diagnosis("compiled modules", "ok", "in use")
    detail = "none: the sources decide the same, a backtest of years takes longer"
    fix = "install the compiled wheel; in a checkout make compiled; export PYTHONPATH=.venv/compiled"
    return Diagnosis("compiled modules", "note", detail, fix)


def _strategies(sections: Mapping[str, Any]) -> Iterator[Diagnosis]:
    """Let each strategy say what this machine lacks for it."""
    from scalpdesk.core.plugins import resolved
    from scalpdesk.core.sockets import STRATEGIES

    for name in STRATEGIES.names():
        with suppress(ConfigError):  # the command plugins says why a package's strategy is refused
            if diagnosis := STRATEGIES.find(name).diagnosis:
                yield resolved(diagnosis)(sections.get(name, {}))


def _keys(folder: Path) -> Iterator[Diagnosis]:
    path = folder / ".env"
    if not path.exists():
        yield Diagnosis("keys", "note", "no .env: simulated and embedded markets need none")
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        yield Diagnosis("keys", "fail", f".env can be read by others (mode {mode:o})", "chmod 600 .env")
    else:
        yield Diagnosis("keys", "ok", f".env is readable by you alone (mode {mode:o})")


def _records(config: "DeskConfig") -> Iterator[Diagnosis]:
    """Ask the database of the runs; yield nothing where none is named."""
    from scalpdesk.records.store import HEAD_REVISION, stored_revision

    if config.records_url is None:
        return
    try:
        shown, revision = stored_revision(config.records_url)
    except ScalpdeskError as error:
        yield Diagnosis("records", "fail", f"{error.value or error.where}: {error.what}", error.fix)
        return
    if revision == HEAD_REVISION:
        yield Diagnosis("records", "ok", f"{shown}: answers, tables {revision}")
    elif revision is None:
        detail = f"{shown}: answers, holds no table of the desk yet"
        yield Diagnosis("records", "note", detail, "scalpdesk runs makes them from the journals")
    else:
        detail = f"{shown}: answers, tables {revision}; this version's are {HEAD_REVISION}"
        yield Diagnosis("records", "note", detail, "scalpdesk runs brings older tables up to date")


def _dealer_gamma(config: "DeskConfig") -> Iterator[Diagnosis]:
    """Ask once where a live desk would ask; yield nothing where no source is named."""
    from scalpdesk.live.market import live_source

    notices: list[str] = []
    try:
        source = live_source(config, notify=lambda _level, text: notices.append(text))
    except ConfigError as error:
        yield Diagnosis("dealer gamma", "note", error.what, error.fix)
        return
    found = source.look(SystemClock().now_ns())
    if found is None:
        if notices:  # a store is named, and its package or its key file is not there
            yield Diagnosis("dealer gamma", "note", notices[0])
        return
    if found.reason:
        yield Diagnosis("dealer gamma", "note", f"{found.reason}: the standard threshold is used")
    else:
        yield Diagnosis(
            "dealer gamma", "ok", f"{found.symbol} {found.exposure_usd:,.0f} USD ({found.source})"
        )
