"""``scalpdesk parity``: a live run against its own backtest, the difference split into its causes."""

from typing import Any

import click

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.market import load_tape
from scalpdesk.cli.output import print_answer, print_table, table_of
from scalpdesk.cli.waiting import progress_bar
from scalpdesk.core.units import money_decimals

_MEANING = {
    "data": "the recorded stream in place of the data set",
    "latency": "each order and answer as long under way as it was",
    "fills": "executions when, as much and at the prices that they were",
    "rejects": "orders refused that the venue refused",
    "fees": "fees and bookings of cash as the venue charged them",
    "choices": "other orders because of those fees",
    "decisions": "the rest: what the live desk decided otherwise, or marked at another instant",
}


@desk_command(
    "parity",
    example=(
        "scalpdesk parity last",
        "scalpdesk parity 20180205-093000-gamma-scalper-simulated-7ceb68 --json",
        "scalpdesk parity last --data lean",
    ),
)
@click.argument("run_id", metavar="RUN")
@click.option(
    "--data",
    "data_set",
    metavar="NAME",
    help="Begin with a backtest of this data set [default: of the run's own, or of the recorded stream].",
)
@click.option("--seed", type=int, help="Path of an embedded market [default: simulation.seed].")
@settings_options
def parity(
    *,
    as_json: bool,
    run_id: str,
    data_set: str | None,
    seed: int | None,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Explain the difference between RUN's P&L and that of its backtest, in parts that sum to it.

    RUN is a live, sandbox or simulated run, by id or "last". Its own recorded stream goes through the
    backtest; each further backtest takes one more condition over from the run. The result is kept in the
    run's folder, and the dashboard shows it.
    """
    from scalpdesk.cli.history import find_run
    from scalpdesk.research.parity import check_is_live, compare, keep

    run_dir = find_run(config_file, overrides, run_id)
    check_is_live(run_dir)
    with progress_bar(as_json=as_json) as report:
        market = _market(run_dir, data_set, seed, config_file, overrides)
        document = compare(
            run_dir, market, seed=seed, progress=lambda done, total: report(done, total, "events")
        )
    keep(document, run_dir)
    print_answer(document, lambda: _print(document), as_json=as_json)


def _market(
    run_dir: Any, data_set: str | None, seed: int | None, config_file: str | None, overrides: tuple[str, ...]
) -> Any:
    """Return the tape of the data set that is asked for, or that the run itself played; None without one."""
    from scalpdesk.backtesting.recorded import LiveRecord
    from scalpdesk.journal.reader import peek_header
    from scalpdesk.research.parity import played_by

    if data_set is None:
        return played_by(run_dir)
    header = peek_header(run_dir)
    sessions = LiveRecord(run_dir).sessions
    settings = settings_from(config_file, overrides, header.strategy)
    return load_tape(
        settings,
        data_set,
        str(header.data["underlying"]),
        sessions[0].day,
        last=sessions[-1].day,
        seed=seed,
    )


def _print(document: dict[str, Any]) -> None:
    currency, course, live = document["currency"], document["chain"], document["live_pnl"]
    n = money_decimals(currency)
    click.echo(document["headline"])
    rows = [
        ("backtest", None, course["backtest"], document["data"] or "recorded stream"),
        *((name, each, course.get(name, live), _MEANING[name]) for name, each in document["parts"].items()),
        ("live", document["difference"], live, ""),
    ]
    columns = f"={{0[0]}}|{currency}={{0[1]:+.{n}f}}|P&L after it={{0[2]:.{n}f}}|what changes={{0[3]}}"
    print_table(table_of(rows, columns, unknown="", text=("what changes",)))
    if len(document["sessions"]) > 1:
        columns = f"session|live {currency}={{0[live_pnl]:.{n}f}}"
        columns += f"|backtest {currency}={{0[backtest_pnl]:.{n}f}}|difference={{0[difference]:+.{n}f}}"
        columns += "|live orders={0[orders][live]}|backtest orders={0[orders][backtest]}"
        click.echo("session by session, against the backtest:")
        print_table(table_of(document["sessions"], columns))
    orders, latency = document["orders"], document["latency_ms"]
    click.echo(
        f"{orders['matched']} of {orders['backtest']} orders of the last backtest are among the"
        f" {orders['live']} of the run;\nmedian latency {latency['out']:.1f} ms out,"
        f" {latency['back']:.1f} ms back"
    )
    decisions = document["decisions"]
    same = "the same" if decisions["equal"] else "not the same"
    click.echo(
        f"{decisions['live']} decisions of the run, {decisions['backtest']} of the last backtest: {same}"
    )
    if document["data"] is None:
        click.echo(
            "no data set of this session: the comparison begins with the recorded stream (--data NAME)"
        )
