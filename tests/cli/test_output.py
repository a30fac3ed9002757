"""Tables show whole figures, whatever the terminal; and every character, whatever its encoding."""

import io
import json
import re
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from scalpdesk.cli.main import main
from scalpdesk.cli.output import new_table, print_json, print_table, table_of
from scalpdesk.cli.run import opening_of, show_progress
from scalpdesk.config.settings import load_settings
from scalpdesk.live.plan import LivePlan
from scalpdesk_testing.kit.live import LiveBench, follower, walk

AMOUNTS = st.decimals(-10_000_000, 10_000_000, places=2).map(lambda amount: f"{amount:+,}")
HEADINGS = ("run", "hedges", "fills", "P&L", "costs", "vega")


def terminal(width: int) -> Console:
    return Console(file=StringIO(), width=width, force_terminal=True, color_system=None)


def table_with(rows, **choices):
    table = new_table(*HEADINGS, **choices)
    for number, row in enumerate(rows):
        table.add_row(f"r{number}", *row)
    return table


@given(
    rows=st.lists(st.tuples(*[AMOUNTS] * 5), min_size=1, max_size=4),
    width=st.integers(12, 90),
    is_tight=st.booleans(),
    first=st.permutations(HEADINGS[1:]).map(lambda names: names[:3]),
)
def test_a_figure_is_shown_whole_or_its_column_is_named_as_left_out(rows, width, is_tight, first):
    out = terminal(width)
    print_table(table_with(rows, is_tight=is_tight), out, first_to_go=first)
    shown = out.file.getvalue()
    below = re.search(r"left out in \d+ columns: (.*); --json", shown)
    gone = set(below.group(1).split(", ")) if below else set()
    lines = [line.split() for line in shown.splitlines()[: len(rows) + 1]]
    assert lines[0] == [name for name in HEADINGS if name not in gone]
    for number, row in enumerate(rows):
        kept = [cell for name, cell in zip(HEADINGS[1:], row, strict=True) if name not in gone]
        assert lines[number + 1] == [f"r{number}", *kept]
    if gone:  # no more than had to go, and in the order asked for
        assert gone == set(
            [*first, *(name for name in reversed(HEADINGS[1:]) if name not in first)][: len(gone)]
        )


def test_a_pipe_gets_every_column_however_wide():
    out = Console(file=StringIO(), width=40)
    rows = [["+1,234,567.89"] * 5]
    print_table(table_with(rows), out)
    assert out.file.getvalue().splitlines()[1].split() == ["r0", *rows[0]]
    assert out.width == 40


class Priced(msgspec.Struct):
    name_of: str
    price: float | None
    inner: dict[str, float]


def test_a_table_of_rows_has_a_column_for_each_template():
    rows = [Priced("one", 1.25, {"share": 0.5}), Priced("two", None, {"share": -0.25})]
    columns = "name of|at={price:.1f}|price:.2$|share={inner[share]:.1p %} of {whole}"
    for them in (rows, map(msgspec.structs.asdict, rows)):
        table = table_of(them, columns, {"whole": lambda _: 10, "name of": lambda _: "x"}, unknown="?")
        assert [column.header for column in table.columns] == ["name of", "at", "price", "share"]
        cells = [list(column.cells) for column in table.columns]
        assert cells == [
            ["x", "x"],
            ["1.2", "?"],
            ["[green]+1.25[/]", "?"],
            ["50.0 % of 10", "-25.0 % of 10"],
        ]
    assert list(table_of([(7, 8)], "first={0[0]}|second={0[1]:+}").columns[1].cells) == ["+8"]


def test_output_is_utf8_whatever_the_encoding_of_the_system():
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="cp1252", write_through=True) for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err):
        assert main(["gex", "SPY", "--strikes", "2"]) == 0
        print_json({"forecast": "σ ≥ 10 €"})
    shown = out.buffer.getvalue().decode("utf-8")
    assert "██" in shown
    assert json.loads(shown[shown.index("{") :]) == {"forecast": "σ ≥ 10 €"}
    assert err.buffer.getvalue() == b""


def test_a_run_shows_speed_progress_and_how_to_stop(tmp_path):
    bench = LiveBench(tmp_path, walk(), lambda: follower(10, 5))
    plan = LivePlan(load_settings("gamma-scalper"), pace=60.0)
    opening = opening_of(bench.header(), plan)
    assert "at 60 times the market's time, a session in about 6.5 minutes" in opening
    assert "--on-stop " in opening
    sandbox = msgspec.structs.replace(bench.header(), venue="sandbox")
    assert ": sandbox, account" in opening_of(sandbox, plan)
    shown = []

    def report(*words):
        shown.append((*words, float(bench.engine.desk.attribution.change_now())))

    bench.live(meanwhile=lambda desk: show_progress(desk.engine, report, pause_seconds=0.0))
    done, totals, labels, earned = zip(*shown, strict=True)
    assert list(done) == sorted(done)
    assert set(totals) == {bench.tape.sessions[0].close_ns - bench.tape.sessions[0].open_ns}
    assert 0 < done[-1] <= totals[0]
    assert [float(label.split("P&L ")[1].split()[0]) for label in labels] == [round(usd, 2) for usd in earned]
    assert earned[-1] != 0.0


@pytest.mark.parametrize(
    ("start", "end", "where", "near"),
    [
        ("2018-12-27", "2019-01-04", "--end", "2018-12-31"),
        ("2013-12-30", "2014-01-03", "--start", "2014-01-03"),
    ],
)
def test_a_span_that_reaches_beyond_the_data_is_refused_at_the_end_that_does(
    start, end, where, near, document_of
):
    error = document_of("backtest", "gamma-scalper", "--start", start, "--end", end, code=2)["error"]
    assert (error["where"], error["nearest"]) == (where, near)
