# ruff: noqa: INP001, T201 - a script beside the pages, not a package
"""Take the pictures of the pages: each page of the dashboard and the tear sheets, light and dark.

    .venv/bin/python docs/take_pictures.py [NAME ...]      all, or those named

It trades seeded sessions of the embedded market, holds each in the middle at the market's own speed while
Chromium takes the dashboard's pages (Debian: ``apt-get install chromium``), and lets them end for the
tear sheets. Everything happens in a folder of its own that is removed afterwards.
"""

import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from datetime import date
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import run_backtest
from scalpdesk.cli.dashboard import PageProcess
from scalpdesk.cli.main import main as scalpdesk
from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND
from scalpdesk.live.run import DemoControl
from scalpdesk.strategies.registry import find_strategy

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "pictures"
SCHEMES = ("light", "dark")
WIDTH, LARGEST = 1280, 1_400
MOST_BYTES, MOST_BYTES_IN_ALL = 250_000, 3_000_000
COLOURS = 256
SLOWER = 1.2
WAIT_MS = 120_000


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that is taken in each scheme."""

    name: str
    of: str
    """The desk or tear sheet that it shows: a key of ``DESKS`` or ``SHEETS``."""
    page: str = ""
    """Page of the dashboard, as its navigation names it."""
    click: str = ""
    """Selector of an element that is clicked first."""
    waits_for: str = "main canvas, main tbody tr"
    """Selector of an element without which the page is not drawn."""
    part: str = ""
    """Selector of the element that is shown alone."""
    width: int = WIDTH
    height: int = LARGEST
    """Height beyond which it is cut."""
    least_height: int = 300

    @property
    def files(self) -> dict[str, Path]:
        """Return the file of each scheme."""
        return {scheme: FOLDER / f"{self.name}-{scheme}.png" for scheme in SCHEMES}


PICTURES = (
    Picture("desk", "gamma", "desk", waits_for=".price canvas"),
    Picture("position", "gamma", "position", waits_for="main canvas", height=1_300),
    Picture("orders", "gamma", "orders", click="main tbody tr[tabindex]:has-text('hedge')", height=1_000),
    Picture("why", "gamma", "why", click="main tbody tr[tabindex]:has-text('hedge')", height=1_000),
    Picture("volatility", "gamma", "volatility", waits_for="main canvas", height=1_900),
    Picture("runs", "gamma", "runs", click="main tbody tr:nth-child(2) input[type=checkbox]", height=1_000),
    Picture("diary", "gamma", "diary", height=1_200),
    Picture("today", "gamma", "today", height=900),
    Picture("system", "gamma", "system", height=1_000),
    Picture(
        "desk-phone", "gamma", "desk", waits_for=".price canvas", width=390, height=844, least_height=844
    ),
    Picture("scalps", "scalps", "scalps", click="#tab-history", height=900),
    Picture("scalps-live", "scalps", "scalps", height=900),
    Picture("scalps-picker", "scalps", "scalps", click="#tab-picker", height=1_000),
    Picture("desk-coin", "coin", "desk", waits_for=".price canvas"),
    Picture("tear-sheet", "run", waits_for="canvas", height=900),
    Picture("explain", "run", waits_for="canvas", part=".card:has(.fall)"),
    Picture("bands", "bands", waits_for="canvas", height=900),
    Picture("sweep", "sweep", waits_for="canvas", height=900),
)


@dataclass(frozen=True, slots=True)
class Desk:
    """A seeded session of a market, held at an instant."""

    strategy: str
    underlying: str
    data: str
    day: date
    minutes: float
    """Minutes from the open to where it is held."""
    overrides: tuple[str, ...] = ()
    config: Path | None = None


SHOWCASE = find_strategy("gamma-scalper").showcase.settings
DESKS = {
    "gamma": Desk(
        "gamma-scalper", "SPY", "embedded", date(2018, 2, 9), 230,
        (*SHOWCASE, "entry.gate=enforce", "exits.edge_gone=true", "simulation.fees=alpaca"),
    ),
    "vix": Desk("gamma-scalper", "SPY", "embedded", date(2018, 2, 5), 230, ("simulation.fees=alpaca",)),
    "scalps": Desk("ema-scalper", "SPY", "embedded", date(2018, 2, 5), 86, ("simulation.fees=alpaca",)),
    "coin": Desk(
        "gamma-scalper", "BTC-PERPETUAL", "embedded-btc", date(2025, 3, 5), 240,
        ("entry.min_edge_usd=-1", "hedge.band_settings.risk_aversion=0.25"),
        ROOT / "examples" / "btc-gamma-scalper" / "params.yaml",
    ),
}  # fmt: skip
OTHER_RUNS = (replace(DESKS["vix"], strategy="zero-dte"), replace(DESKS["vix"], day=date(2018, 2, 6)))
"""Runs that ended before, for the page of runs."""
SWEPT = ("hedge.band=fixed,whalley_wilmott", "hedge.threshold_shares=1:20:log:6")


class HeldRun(threading.Thread):
    """A session that is played at once to its instant, then at the market's own speed until it may end."""

    def __init__(self, desk: Desk, runs_dir: Path, *, held: bool = True) -> None:
        super().__init__(daemon=True)
        self._desk, self._runs_dir = desk, runs_dir
        self._is_there, self._may_end = threading.Event(), threading.Event()
        if not held:
            self._may_end.set()
        self.run_dir: Path | None = None
        self._problem: BaseException | None = None

    def run(self) -> None:
        """Trade the session."""
        try:
            self._trade()
        except BaseException as problem:  # noqa: BLE001 - raised again where it is waited for
            self._problem = problem
        self._is_there.set()

    def _trade(self) -> None:

        desk = self._desk
        overrides = (*find_strategy(desk.strategy).demo_settings, *desk.overrides)
        settings = load_settings(desk.strategy, config_file=desk.config, overrides=overrides, environ={})
        tape = load_market(
            settings, desk.data, underlying=desk.underlying, start=desk.day, end=desk.day, seed=1
        )
        held_ns = tape.sessions[0].open_ns + int(desk.minutes * MINUTE_NS)
        with DemoControl(self._runs_dir) as control:
            before_ns = held_ns

            def observe(run: Any, now_ns: int) -> None:
                nonlocal before_ns
                control.on_step(run, now_ns)
                if now_ns >= held_ns and not self._may_end.is_set():
                    self._is_there.set()
                    # never faster than the clock: the page would show a speed
                    self._may_end.wait(SLOWER * (now_ns - before_ns) / NANOS_PER_SECOND)
                    before_ns = now_ns

            self.run_dir = run_backtest(
                settings, tape, SystemClock(), mode="demo", seed=1, runs_dir=self._runs_dir, observer=observe,
                step_seconds=1.0,
            ).run_dir  # fmt: skip

    def wait_there(self) -> None:
        """Wait until the session stands at its instant."""
        self._is_there.wait()
        if self._problem is not None:
            raise self._problem

    def finish(self) -> Path:
        """Let it end; return the run's folder."""
        self._may_end.set()
        self.join()
        if self._problem is not None:
            raise self._problem
        assert self.run_dir is not None
        return self.run_dir


# the browser -----------------------------------------------------------------------------------------


@contextmanager
def browser() -> Iterator[Any]:
    """Open headless Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise SystemExit("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


def take(opened: Any, picture: Picture, address: str, token: str = "") -> None:
    """Take a picture in both schemes."""
    for scheme, file in picture.files.items():
        context = opened.new_context(
            viewport={"width": picture.width, "height": picture.least_height}, color_scheme=scheme,
            reduced_motion="reduce", locale="en-GB", timezone_id="America/New_York",
        )  # fmt: skip
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        page.goto(f"{address}{'' if picture.page in {'', 'desk'} else picture.page}{token}")
        page.wait_for_selector("html[data-drawn]", state="attached")
        if picture.page:  # the speed is that of the last seconds: none is shown once the market keeps time
            expect(page.locator("#clock small")).to_have_text(re.compile("local$"), timeout=WAIT_MS)
            expect(page.locator("#age b")).to_have_text(re.compile(r"^\d\.\d s$"), timeout=WAIT_MS)
        if picture.click:
            page.locator(picture.click).first.click()
        page.locator(picture.waits_for).first.wait_for()
        page.wait_for_timeout(1_500)  # two more states: charts have their size then
        page.mouse.move(0, 0)
        if picture.part:
            raw = page.locator(picture.part).first.screenshot()
        else:
            page.evaluate("scrollTo(0, 0)")
            raw = page.screenshot(full_page=True)
        save(raw, file, picture.height)
        context.close()
        print(f"taken: {file.relative_to(ROOT)}, {file.stat().st_size / 1e3:.0f} kB", flush=True)


def save(raw: bytes, file: Path, height: int) -> None:
    """Write a picture with 256 colours, cut below ``height``."""
    picture = Image.open(BytesIO(raw)).convert("RGB")
    picture = picture.crop((0, 0, picture.width, min(picture.height, height)))
    pixels = np.asarray(picture, np.int32) @ (1 << 16, 1 << 8, 1)
    colours, places, counts = np.unique(pixels, return_inverse=True, return_counts=True)
    # half of the palette are the most frequent colours, half stand for all others alike: by frequency alone
    # the few points of a warning or a button would take the colour of a neighbour
    frequent = np.argsort(-counts)[: COLOURS // 2]
    parts = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1)
    others = Image.fromarray(np.delete(parts, frequent[:-1], axis=0)[None].astype(np.uint8))
    rest = np.reshape(others.quantize(COLOURS // 2, Image.Quantize.MEDIANCUT).getpalette(), (-1, 3))
    palette = np.concatenate([parts[frequent], rest])
    nearest = np.array([np.argmin(np.sum((palette - each) ** 2, axis=1)) for each in parts], np.uint8)
    few = Image.fromarray(nearest[places].reshape(pixels.shape), "P")
    few.putpalette(palette.astype(np.uint8).tobytes())
    few.save(file, optimize=True)
    if file.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{file.name} has {file.stat().st_size:,} bytes, more than {MOST_BYTES:,}")


# desks and sheets ------------------------------------------------------------------------------------


def of_desk(opened: Any, name: str, pictures: Sequence[Picture], folder: Path) -> Path:
    """Take the pictures of a desk's pages; return the folder of its run, which has ended."""
    runs_dir = folder / name / "runs"
    if any(picture.page == "runs" for picture in pictures):
        for other in OTHER_RUNS:
            ended = HeldRun(other, runs_dir, held=False)
            ended.start()
            ended.finish()
    desk = HeldRun(DESKS[name], runs_dir)
    desk.start()
    desk.wait_there()
    server = PageProcess(runs_dir, 0)
    try:
        found = re.search(r"(http://localhost:\d+/)(#token=[\w-]+)", server.where(with_token=True))
        if found is None:
            raise SystemExit(server.where())
        time.sleep(12)  # the page measures the speed of the market over its last seconds
        for picture in pictures:
            take(opened, picture, *found.groups())
    finally:
        server.end()
        run_dir = desk.finish()
    return run_dir


def run_sheet(folder: Path) -> Path:
    """Write the tear sheet of the demo's session."""
    desk = HeldRun(DESKS["vix"], folder / "runs", held=False)
    desk.start()
    return _scalpdesk(folder, "report", desk.finish().name)


def bands_sheet(folder: Path) -> Path:
    """Write the tear sheet of the hedge bands."""
    return _scalpdesk(folder, "bands", "--delta-cap", "8")


def sweep_sheet(folder: Path) -> Path:
    """Write the tear sheet of the sweep that its page runs."""
    grid = [word for each in SWEPT for word in ("--param", each)]
    dates = ("--start", "2018-02-05", "--end", "2018-02-09")
    return _scalpdesk(folder, "sweep", "gamma-scalper", *dates, "--set", "entry.gate=advise", *grid)


SHEETS: dict[str, Callable[[Path], Path]] = {"run": run_sheet, "bands": bands_sheet, "sweep": sweep_sheet}


def _scalpdesk(folder: Path, *words: str) -> Path:
    file, printed = folder / "sheet.html", StringIO()
    with chdir(folder), redirect_stdout(printed), redirect_stderr(printed):
        code = scalpdesk([*words, "--html", file.name])
    if code:
        raise SystemExit(printed.getvalue())
    return file


def main(names: Sequence[str]) -> int:
    """Take the pictures that are named, or all."""
    wanted = [each for each in PICTURES if not names or each.name in names]
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made, browser() as opened:
        folder = Path(made)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        for name in DESKS:
            if pictures := [each for each in wanted if each.of == name]:
                of_desk(opened, name, pictures, folder)
        for name, sheet in SHEETS.items():
            if pictures := [each for each in wanted if each.of == name]:
                (folder / name).mkdir()
                address = sheet(folder / name).as_uri()
                for picture in pictures:
                    take(opened, picture, address)
    total = sum(file.stat().st_size for file in FOLDER.iterdir())
    print(f"{total / 1e6:.2f} MB in {FOLDER.relative_to(ROOT)}")
    if total > MOST_BYTES_IN_ALL:
        raise SystemExit(f"the pictures have {total:,} bytes, more than {MOST_BYTES_IN_ALL:,}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
