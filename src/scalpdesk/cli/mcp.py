"""``scalpdesk mcp``: the desk's reports as tools of the Model Context Protocol, and a halt.

A tool is a command with ``--json``, carried out in a process of its own: an agent reads what a person reads.
Nothing that opens, arms, resumes or changes a setting is among them.
"""

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Annotated, Any

import click

from scalpdesk.cli.command import desk_command
from scalpdesk.core.version import BUILD

if TYPE_CHECKING:
    from mcp.server import MCPServer

_LONGEST_LIST = 40
"""Rows of a list that an answer holds: the first and the last, with how many lie between."""
_LONGEST_SECONDS = 300.0
_INSTRUCTIONS = (
    "Reports of a trading desk: finished runs, the running desk, why orders were sent, the risk of a book,"
    " rankings of structures. Amounts are in the currency that the document names. halt stops a desk from"
    " sending orders; only a person can resume it."
)
Run = Annotated[str, "A run's id, its beginning, or last."]


class CommandTools:
    """Commands of this program as functions that return their documents.

    ``runs_dir``: Folder of the runs; None for that of the settings.
    """

    def __init__(self, runs_dir: str | None = None) -> None:
        self._where = [] if runs_dir is None else [f"--runs-dir={runs_dir}"]

    def _document(self, command: str, *options: str, names: tuple[str, ...] = ()) -> dict[str, Any]:
        """Carry a command out; what an agent named comes after ``--``, where nothing is an option."""
        words = [sys.executable, "-m", "scalpdesk", command, "--json", *self._where, *options, "--", *names]
        done = subprocess.run(  # noqa: S603 - this program, no shell
            words,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=_LONGEST_SECONDS,
        )
        try:
            found = json.loads(done.stdout)
        except json.JSONDecodeError:
            problem = done.stderr.strip().splitlines()
            return {
                "error": {"what": problem[-1] if problem else "the command has no answer", "where": command}
            }
        shown = shortened(found)
        return shown if isinstance(shown, dict) else {"rows": shown}

    def list_runs(self) -> dict[str, Any]:
        """List the runs on record, the newest last: strategy, market, sessions, P&L."""
        return self._document("runs")

    def report(self, run: Run = "last") -> dict[str, Any]:
        """Explain a finished run: P&L by Greek and by session, structures, hedges, costs, drawdown."""
        return self._document("report", names=(run,))

    def status(self) -> dict[str, Any]:
        """Show the desk that runs here: mode, positions, open orders, P&L, connections."""
        return self._document("status")

    def why(
        self, what: Annotated[str, "Id of an order, or number of a decision."], run: Run = "last"
    ) -> dict[str, Any]:
        """Explain why an order was sent or a decision made, with the figures that it rested on."""
        return self._document("why", f"--run={run}", names=(what,))

    def decisions(self, run: Run = "last") -> dict[str, Any]:
        """List the decisions of a run with their orders."""
        return self._document("why", "--list", f"--run={run}")

    def risk(
        self,
        run: Run = "last",
        time: Annotated[str, "New York time HH:MM; empty: when something was held last."] = "",
    ) -> dict[str, Any]:
        """Show the risk of a run's book: value at risk, expected shortfall, stress days, scenario grid."""
        return self._document("risk", *([f"--time={time}"] if time else []), names=(run,))

    def expiry(self, run: Run = "last") -> dict[str, Any]:
        """Show the options of a run on their last day: pins, cut-offs, what will be held tomorrow."""
        return self._document("expiry", names=(run,))

    def scan(
        self,
        symbols: Annotated[str, "Underlyings with commas between them, as SPY,QQQ."] = "SPY",
        day: Annotated[str, "Session, YYYY-MM-DD."] = "2018-02-05",
        time: Annotated[str, "New York time, HH:MM."] = "12:00",
        structure: Annotated[str, "A shape, as iron_fly, or all; empty: straddles and strangles."] = "",
        data: Annotated[str, "Data set."] = "embedded",
    ) -> dict[str, Any]:
        """Rank structures of option chains by expected edge, net of spread and hedging costs."""
        options = [f"--start={day}", f"--time={time}", f"--data={data}"]
        options += [f"--structure={structure}"] if structure else []
        return self._document("scan", *options, names=tuple(name.strip() for name in symbols.split(",")))

    def halt(
        self, reason: Annotated[str, "Why, for the person who resumes it."], run: Run = ""
    ) -> dict[str, Any]:
        """Cancel all orders of the desk that runs here and send nothing more, until a person resumes it."""
        return self._document("halt", f"--reason={reason}", *([f"--run={run}"] if run else []))


def shortened(document: Any) -> Any:
    """Return a document whose long lists hold their first and last rows."""
    if isinstance(document, dict):
        return {key: shortened(value) for key, value in document.items()}
    if not isinstance(document, list):
        return document
    if len(document) <= _LONGEST_LIST:
        return [shortened(each) for each in document]
    half = _LONGEST_LIST // 2
    between = {"left_out": len(document) - 2 * half}
    return [*map(shortened, document[:half]), between, *map(shortened, document[-half:])]


def _server_of(tools: CommandTools) -> "MCPServer":
    """Return the server of the tools."""
    from mcp.server import MCPServer
    from mcp.types import ToolAnnotations

    server = MCPServer("scalpdesk", instructions=_INSTRUCTIONS, version=BUILD)
    reads = (tools.list_runs, tools.report, tools.status, tools.why, tools.decisions)
    for each in (*reads, tools.risk, tools.expiry, tools.scan):
        server.tool(annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False))(each)
    server.tool(annotations=ToolAnnotations(destructive_hint=True, idempotent_hint=True))(tools.halt)
    return server


@desk_command("mcp", example=("scalpdesk mcp", "scalpdesk mcp --runs-dir runs"))
@click.option("--runs-dir", metavar="DIR", help="Folder of the runs [default: desk.runs_dir].")
def mcp(*, as_json: bool, runs_dir: str | None) -> None:
    """Serve reports of runs and of the running desk to an agent, over stdin and stdout.

    Its tools read; one of them halts the desk. None arms, resumes or trades.
    """
    del as_json  # the protocol is JSON
    _server_of(CommandTools(runs_dir)).run("stdio")
