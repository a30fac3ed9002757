"""Every command of the pages of instructions, carried out in order, with the outcome that its page shows.

``make pages`` runs this module; :data:`tests.docs.page_reader.NOT_DONE` names what is not done, and why.
"""

import re
import signal
import sys
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from tests.docs.page_commands import ROOT, Step, pages, steps_of
from tests.docs.page_reader import NOT_DONE, Reader, not_done
from tests.docs.pages import install_page
from tests.docs.vendor_downloads import put_vendor_downloads

RECORDED = ROOT.parent / "shared" / "data"
RECORDED_FILES = {
    "Data": "raw_lean/Data",
    "spy_hourly.parquet": "daily_history/spy_hourly.parquet",
    "futures_quote.parquet": "es_bars_2013/futures_quote.parquet",
    "options_quote.parquet": "goog_2015-12/options_quote.parquet",
    "capture.gz": "deribit_wire/DERIBIT.0.gz",
    "coinbase_btcusd_daily.parquet": "btc/coinbase_btcusd_daily.parquet",
}
"""Files of the reader's own on the pages, by what stands for them."""
NEEDS_RECORDED = re.compile(r"\blean\b|--data mine|" + "|".join(map(re.escape, RECORDED_FILES)))
LONG = re.compile(r"--end 2018-12-31 --set entry.again|--seeds 0:1000")
"""Minutes on an idle machine: carried out by ``make release-check``."""
GIVEN = {
    "docs/concepts/live-desk.md": ("scalpdesk demo",),
    "docs/go-live/alerts.md": ("scalpdesk run gamma-scalper",),
    "docs/go-live/checklist.md": ("scalpdesk init --yes",),
    "docs/go-live/drill.md": ("scalpdesk init --yes",),
    "docs/go-live/modes.md": ("scalpdesk run gamma-scalper",),
    "docs/operations/backup.md": (
        "scalpdesk backtest gamma-scalper --set desk.runs_dir=/var/lib/scalpdesk/runs",
        "scalpdesk init --yes",
        "sudo cp scalpdesk.toml /var/lib/scalpdesk",
    ),
    "docs/howto/expiry-day.md": ("scalpdesk backtest zero-dte --set entry.mode=straddle",),
    "docs/howto/diary.md": (
        (
            "scalpdesk backtest gamma-scalper --start 2018-02-05 --end 2018-02-06 --set entry.gate=off"
            " --set exits.flat_minutes_before_close=10"
        ),
    ),
    "docs/howto/taxes.md": (
        "scalpdesk backtest gamma-scalper --set entry.gate=off --set exits.flat_minutes_before_close=10",
    ),
    "docs/howto/report.md": ("scalpdesk backtest gamma-scalper",),
    "docs/operations/dashboard-api.md": (
        "scalpdesk backtest gamma-scalper --set entry.gate=off",
        "scalpdesk dashboard --run last --port 0",
    ),
    "docs/go-live/venue-silent.md": ("scalpdesk run gamma-scalper",),
    "docs/operations/service.md": ("scalpdesk run gamma-scalper",),
    "docs/strategies/spx.md": ("scalpdesk data import lean ~/Lean/Data",),
    "docs/troubleshooting.md": ("scalpdesk run gamma-scalper",),
    "examples/band-trader/README.md": ("scalpdesk data import lean ~/Lean/Data",),
}
"""Commands that the reader of a page has carried out before he opens it."""


def _tape():
    from scalpdesk.datasets.embedded.market import reconstruct

    tape = reconstruct(date(2018, 2, 5))
    return {"tape": tape, "now_ns": tape.sessions[0].open_ns + 3_600 * 10**9}


def _chain():
    given = _tape()
    return given | {"later_ns": given["now_ns"] + 60 * 10**9, "strikes": [265.0, 270.0]}


PACKAGE_ON = {"docs/developing/venue_skeleton.md": ROOT / "docs" / "developing" / "add_a_plug_in.md"}
"""Pages that add a file to the package of another."""
NAMES = {
    "docs/developing/add_a_venue.md": lambda: {"pytest": pytest, "CHECKS": ()},
    "docs/concepts/gex.md": _tape,
    "docs/concepts/surface.md": _chain,
    "docs/venues/exchange.md": lambda: {"key": "PK", "secret": "S"},
}
"""Names that a page's Python takes as given."""
STEPS = {str(page.relative_to(ROOT)): steps_of(page) for page in pages()}


@pytest.fixture(autouse=True)
def _interrupts_are_heeded():
    """Let what the pages start end at Ctrl-C: a suite in the background ignores it, and what it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def reader(request, tmp_path, monkeypatch, socket_enabled):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    made = Reader(tmp_path, monkeypatch)
    for name, path in RECORDED_FILES.items():
        if RECORDED.is_dir():
            (made.folder / name).symlink_to(RECORDED / path)
    (made.home / "Lean").symlink_to(made.folder)
    (made.folder / "spx-hedges.toml").symlink_to(ROOT / "examples" / "validation" / "spx-hedges.toml")
    (made.folder / "quotes.csv").write_text(
        "ts,symbol,bid,ask,bid_size,ask_size\n2015-12-24T15:00:00Z,GOOG,749.0,749.2,100,200\n"
    )
    put_vendor_downloads(made.folder)
    yield made
    for name, module in list(sys.modules.items()):
        if str(tmp_path) in str(getattr(module, "__file__", None)):
            del sys.modules[name]


def steps_to_do(page: str, *, is_long: bool) -> list[Step]:
    return [
        step
        for step in STEPS[page]
        if not not_done(step)
        and bool(LONG.search(step.text)) is is_long
        and (RECORDED.is_dir() or not NEEDS_RECORDED.search(step.text))
    ]


def outcome(step: Step, code: int, printed: list[str], shown_outputs, *, is_timed: bool) -> str | None:
    """Return in what a step ended otherwise than its page says; what a desk prints that runs is not held."""
    is_live = "--live" in step.text or step.text.startswith("scalpdesk arm ")
    wanted = 2 if step.is_refused or is_live else 0  # nothing is armed, there are no keys of a live account
    if code != wanted:
        return f"exit code {code}, not {wanted}: {printed[-12:]}"
    lost = [] if is_timed else shown_outputs.missing(step, printed) or shown_outputs.stale(step, printed)
    return f"shown, but not printed: {lost}; printed: {printed[:40]}" if lost else None


def put_wrong_file(step: Step, folder: Path) -> None:
    """Write the configuration file with the mistake that a page shows as refused."""
    for line in step.lines:
        if found := re.search(r"where: (strategies\.[\w-]+)\.(\S+) \(scalpdesk.toml:(\d+)\)", line):
            section, key, number = found.groups()
            before = ["#"] * (int(number) - 2) + [f"[{section}]"]
            (folder / "scalpdesk.toml").write_text("\n".join([*before, f"{key} = 1", ""]))


def follow(reader: Reader, page: str, steps: list[Step], shown_outputs) -> dict[str, str]:
    """Carry out the steps of a page in order; return what ended otherwise than the page says."""
    wrong = {}
    text = (ROOT / page).read_text("utf-8")
    if page in PACKAGE_ON:
        install_page(PACKAGE_ON[page], reader.site, ROOT / page)
    elif "`pyproject.toml`\n" in text and "$ pip install" not in text and "scalpdesk new" not in text:
        install_page(ROOT / page, reader.site)
    reader.names |= NAMES.get(page, dict)()
    with reader.followed():
        for number, command in enumerate(GIVEN.get(page, ())):
            if NEEDS_RECORDED.search(command) and not RECORDED.is_dir():
                continue
            code, printed = reader.follow(Step(page, 0, command))
            assert code == 0, (number, command, printed)
        for step in steps:
            put_wrong_file(step, reader.folder)
            try:
                code, printed = reader.follow(step)
                problem = outcome(step, code, printed, shown_outputs, is_timed=bool(reader.running))
            except Exception as error:  # noqa: BLE001 - the other steps of the page are tried as well
                problem = f"{type(error).__name__}: {error}"
            if problem:
                wrong[f"{page}:{step.line}: {step.text}"] = problem
    return wrong


@pytest.mark.pages
@pytest.mark.parametrize("page", [page for page in STEPS if steps_to_do(page, is_long=False)])
def test_a_page_does_what_it_says(reader, page, shown_outputs):
    wrong = follow(reader, page, steps_to_do(page, is_long=False), shown_outputs)
    assert not wrong, "\n".join(f"{where}\n    {what}" for where, what in wrong.items())


@pytest.mark.slow
@pytest.mark.pages
@pytest.mark.parametrize("page", [page for page in STEPS if steps_to_do(page, is_long=True)])
def test_long_commands_of_a_page(reader, page, shown_outputs):
    assert follow(reader, page, steps_to_do(page, is_long=True), shown_outputs) == {}


@pytest.mark.pages
def test_each_reason_to_leave_a_command_out_is_used(capsys):
    left = Counter(why for steps in STEPS.values() for step in steps if (why := not_done(step)))
    assert set(left) == set(NOT_DONE)
    with capsys.disabled():
        total = sum(map(len, STEPS.values()))
        sys.stdout.write(
            f"\n{total - left.total()} of {total} commands and Python blocks are carried out; not:\n"
        )
        for why, count in left.most_common():
            sys.stdout.write(f"  {count:3} {why}\n")
