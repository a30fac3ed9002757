"""The ``scalpdesk`` command: which commands there are, and how every one of them fails.

Nothing heavy is imported here: each command lives in a module that is imported when it is called,
so that ``scalpdesk --help`` answers at once.
"""

import errno
import os
import re
import shlex
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import click

from scalpdesk.cli.command import EXIT_CODES, WORDS, LazyGroup, debug_option
from scalpdesk.cli.output import EXIT_INTERRUPTED, print_error, write_utf8
from scalpdesk.cli.usage import usage_refusal
from scalpdesk.cli.waiting import TOLD, Interrupts, Progress, StartLine
from scalpdesk.core.errors import EXIT_FAILED, EXIT_OK, EXIT_USAGE, ConfigError, ScalpdeskError
from scalpdesk.core.installing import install_line
from scalpdesk.core.owner_only import hide_memory
from scalpdesk.core.version import BUILD

TOPICS: dict[str, dict[str, tuple[str, str]]] = {
    "first": {
        "demo": (
            "scalpdesk.cli.trade:demo",
            "Trade one session of the embedded market: no keys, no network.",
        ),
        "backtest": ("scalpdesk.cli.trade:backtest", "Trade recorded or reconstructed sessions and report."),
        "report": ("scalpdesk.cli.history:report", "Explain a finished run: P&L by Greek, hedges, costs."),
        "data": ("scalpdesk.cli.data:data", "Market data: ls, verify, import, download, record."),
        "run": ("scalpdesk.cli.run:run", "Trade: simulated, a venue's paper account, or live once armed."),
        "status": ("scalpdesk.cli.operate:status", "Show the state of a running desk."),
        "halt": ("scalpdesk.cli.operate:halt", "Cancel all orders and send nothing more."),
        "dashboard": ("scalpdesk.cli.dashboard:dashboard", "The web page of the desk, and its API."),
        "sweep": ("scalpdesk.cli.sweep:sweep", "Backtest every combination of settings; one table."),
        "new": ("scalpdesk.cli.new:new", "Begin a strategy of your own: a package that trades, with tests."),
    },
    "live": {
        "today": (
            "scalpdesk.cli.today:today",
            "The morning: account, expiries, events, limits, next line.",
        ),
        "flatten": ("scalpdesk.cli.operate:flatten", "Cancel all orders and close all positions."),
        "reduce": ("scalpdesk.cli.operate:reduce", "Only send orders that make positions smaller."),
        "resume": ("scalpdesk.cli.operate:resume", "Let a halted desk trade again; needs a reason."),
        "settle": ("scalpdesk.cli.operate:settle", "Say what became of an order in doubt."),
        "arm": ("scalpdesk.cli.operate:arm", "Arm live trading for one account and configuration."),
        "disarm": ("scalpdesk.cli.operate:disarm", "End the arming of live trading."),
        "certify": (
            "scalpdesk.cli.certify:certify",
            "Ask a venue's paper account each part of the contract.",
        ),
        "alerts": (
            "scalpdesk.cli.alerts:alerts",
            "Messages to people when a desk needs them; test, ack, watch.",
        ),
        "drill": ("scalpdesk-testing", "Rehearse a day's disasters on your own configuration."),
    },
    "records": {
        "runs": ("scalpdesk.cli.history:runs", "List the runs on record."),
        "why": ("scalpdesk.cli.why:why", "Explain an order or a decision of a run; --list shows all."),
        "replay": (
            "scalpdesk.cli.history:replay",
            "Run a journal again; --verify compares decisions, --under other fills and paths.",
        ),
        "diary": (
            "scalpdesk.cli.diary:diary",
            "P&L by day, month, weekday, hour, expiry; edge; --note.",
        ),
        "tax": ("scalpdesk.cli.tax:tax", "A year for the accountant: lots, Form 8949, Form 6781."),
        "reconcile": (
            "scalpdesk.cli.reconcile:reconcile",
            "A broker's statement against the journal, line by line.",
        ),
        "scalps": ("scalpdesk.cli.scalps:scalps", "The options scalper's positions, history, performance."),
        "parity": (
            "scalpdesk.cli.parity:parity",
            "A live run against its backtest: the difference in parts.",
        ),
    },
    "research": {
        "walkforward": (
            "scalpdesk.cli.walkforward:walkforward",
            "Choose settings on past sessions, judge them on the next.",
        ),
        "bands": ("scalpdesk.cli.bands:bands", "Hedge bands over the same sessions, and the band to take."),
        "scan": ("scalpdesk.cli.scan:scan", "Straddles and strangles of chains, ranked by net edge."),
        "research": (
            "scalpdesk.cli.research:research",
            "Look-ahead, bad quotes, hedges, dealer gamma, signals, entries.",
        ),
    },
    "market": {
        "chain": ("scalpdesk.cli.chain:chain", "An option chain with implied vols and Greeks."),
        "surface": ("scalpdesk.cli.surface:surface", "Forwards, smiles and term structure of a chain."),
        "vol": ("scalpdesk.cli.vol:vol", "Volatility report: realised, forecast, implied; --evaluate."),
        "gex": ("scalpdesk.cli.gex:gex", "Dealer gamma: net, strikes, walls, flip; --publish to Firestore."),
        "risk": ("scalpdesk.cli.risk:risk", "Risk of a book: VaR, stress days, scenario grid; --coverage."),
        "expiry": (
            "scalpdesk.cli.expiry:expiry",
            "Options on their last day: pins, cut-offs, shares tomorrow.",
        ),
        "price": (
            "scalpdesk.cli.calculators:price",
            "Price and Greeks of one option; --paid: its implied volatility.",
        ),
        "contract": ("scalpdesk.cli.calculators:contract", "An option's class: settlement, ticks, hours."),
    },
    "set-up": {
        "init": (
            "scalpdesk.cli.config:init",
            "Ask for venue, keys, limits; write a commented scalpdesk.toml.",
        ),
        "config": (
            "scalpdesk.cli.config:config",
            "The effective configuration and where each value is from.",
        ),
        "doctor": ("scalpdesk.cli.doctor:doctor", "Check the installation, folders, data and keys."),
        "plugins": ("scalpdesk.cli.plugins:plugins", "All that can be plugged in, and what is installed."),
        "exchange": ("scalpdesk.cli.exchange:exchange", "A simulated exchange for official clients."),
        "mcp": ("scalpdesk.cli.mcp:mcp", "Reports as tools for an agent, and a halt: no trading."),
        "harness": ("scalpdesk-strategies", "Protocol v1: events through a strategy folder."),
        "selftest": ("scalpdesk-testing", "Compute worked cases and compare with their answers."),
    },
}
"""Commands by topic, those of the first screen first: their place, and one line of help."""
COMMANDS = {name: entry for topic in TOPICS.values() for name, entry in topic.items()}
FORMER = {
    "basis": "research basis",
    "hedges": "research hedges",
    "iv": "price",
    "lookahead": "research lookahead",
    "journal": "diary",
    "note": "diary --note",
    "rerun": "replay --under",
    "stress": "research stress",
}
"""Commands by the name that they had; it still works, with a word, and no help shows it."""

OWN_COMMANDS = {name: place for name, (place, _) in COMMANDS.items() if ":" in place}
"""The commands of this distribution: ``module:attribute`` by name."""

EXTRA_OF_MODULE = {
    "aiohttp": "exchange",
    "alpaca": "alpaca",
    "ib_async": "ibkr",
    "apprise": "alerts",
    "databento": "databento",
    "fastapi": "web",
    "matplotlib": "plots",
    "mcp": "mcp",
    "optuna": "search",
    "prometheus_client": "web",
    "psycopg": "postgres",
    "ray": "ray",
    "sklearn": "ml",
    "starlette": "web",
    "uvicorn": "web",
}
"""Extra to install when a command needs a module that the core does not bring."""


@click.group(
    "scalpdesk",
    cls=LazyGroup,
    table=COMMANDS,
    topics=TOPICS,
    former=FORMER,
    socket="COMMANDS",
    context_settings={"max_content_width": 100},
    epilog=EXIT_CODES,
)
@click.version_option(BUILD, prog_name="scalpdesk")
@debug_option
def root() -> None:
    """A desk for gamma scalping and short-dated option scalping.

    Start with: scalpdesk demo. What installed packages add, commands too: scalpdesk plugins
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Without ``argv`` the words are those of the process.

    Returns 0 success, 1 a failed check or run, 2 wrong use or configuration, 130 interrupted.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    if argv is None:  # a program: its matrices are small, and their digits are not to depend on the machine
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        hide_memory()
    if sys.stdout is None:  # closed by the shell that started this: what is opened next would take its place
        refusal = ScalpdeskError(
            "stdout is closed", where=STDOUT, fix="add > /dev/null to discard the output"
        )
        print_error(refusal, as_json=False)
        return refusal.exit_code
    write_utf8()
    if "_SCALPDESK_COMPLETE" in os.environ:  # the shell asks what could come next
        root.main(args, prog_name="scalpdesk")
    as_json, debug = "--json" in args, "--debug" in args
    is_program = argv is None
    began = time.monotonic()
    try:
        with (
            _start_line(args) if is_program else nullcontext(),
            root.make_context("scalpdesk", [*args]) as ctx,
        ):
            ctx.meta[WORDS] = args
            result = root.invoke(ctx)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except BrokenPipeError:
        _leave_pipe()
        return EXIT_FAILED
    except (EOFError, click.Abort):
        return EXIT_INTERRUPTED
    except KeyboardInterrupt as stop:
        if TOLD not in stop.args:
            _tell_end(args, time.monotonic() - began)
        if is_program:
            # an interrupt within exec(), as a dataclass is made, counts as unhandled until the next exec():
            # Python would kill itself by the signal instead of ending with our exit code
            exec("")  # noqa: S102 - nothing is carried out
        return EXIT_INTERRUPTED
    except Exception as problem:  # noqa: BLE001 - the edge of the program: every failure takes one shape here
        refusal = _as_refusal(problem)
        if debug and refusal.exit_code != EXIT_USAGE:  # of a user's mistake the lines of our code say nothing
            traceback.print_exc(file=sys.stderr)
        takes_json = as_json and refusal.where != STDOUT
        try:
            print_error(refusal, as_json=takes_json)
        except OSError:  # stdout takes no document: stderr is left
            print_error(refusal, as_json=False)
            _leave_pipe()
        return refusal.exit_code
    return result if type(result) is int else EXIT_OK


def _start_line(args: Sequence[str]) -> AbstractContextManager[object]:
    """Return a line that shows a terminal that the command works, until it writes something."""
    sys.unraisablehook = Interrupts.keep
    names = [word for word in args[:2] if not word.startswith("-")]
    return StartLine(" ".join(["scalpdesk", *names])) if sys.stderr.isatty() else nullcontext()


def _tell_end(args: Sequence[str], seconds: float) -> None:
    """Say how far an interrupted command came, and how it is begun again."""
    reached = f" ({Progress.last})" if Progress.last else ""
    again = shlex.join(["scalpdesk", *args])
    click.echo(f"interrupted after {seconds:.0f} s{reached}; begin again: {again}", err=True)


def _as_refusal(problem: Exception) -> ScalpdeskError:
    """Return any failure in the one shape that users see."""
    if isinstance(problem, ScalpdeskError):
        return problem
    if isinstance(problem, click.ClickException):
        return usage_refusal(problem)
    if isinstance(problem, ModuleNotFoundError) and (extra := EXTRA_OF_MODULE.get(problem.name or "")):
        return ConfigError(
            "this needs a package that is not installed",
            where=problem.name,
            fix=install_line(f"scalpdesk[{extra}]"),
        )
    if isinstance(problem, OSError) and problem.errno is not None:
        return _system_refusal(problem)
    if found := _UNCACHED.match(str(problem)):
        return ScalpdeskError(
            "compiled code cannot be kept: neither the folder of the program nor that of the user's caches"
            " can be written",
            where=f"{Path(found[1]).parent / '__pycache__'}, {Path('~/.cache').expanduser()}",
            fix="set NUMBA_CACHE_DIR to a folder that this user alone can write:"
            " NUMBA_CACHE_DIR=/var/lib/scalpdesk/kernels scalpdesk …",
        )
    message = f"{type(problem).__name__}: {problem}".strip().rstrip(":").partition("\n")[0]
    message = "; ".join((message, *getattr(problem, "__notes__", ())))
    return ScalpdeskError(f"unexpected {message}", fix="run again with --debug for the traceback")


_UNCACHED = re.compile(r"cannot cache function .*: no locator available for file '(.*)'")
"""Message of numba where it finds no folder for compiled code."""

STDOUT = "stdout"

_ACCESS = "give the user that runs this access to it, or name another place"
_SPACE = "free disk space, or name another place"
_FILES = "raise the number of open files: ulimit -n 4096"
_SYSTEM_FIXES = {
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _ACCESS),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _SPACE),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), _FILES),
    errno.ENOENT: "check the path",
    errno.EISDIR: "name a file: this is a folder",
    errno.ENOTDIR: "name a folder: this is a file",
    errno.ENOTEMPTY: "name an empty folder",
    errno.EEXIST: "name another place, or remove what is there",
}


def _system_refusal(problem: OSError) -> ScalpdeskError:
    """Return what the operating system refused: which file, why, what to do."""
    names = [
        os.fsdecode(name) for name in (problem.filename, problem.filename2) if isinstance(name, str | bytes)
    ]
    fix = _SYSTEM_FIXES.get(
        problem.errno or 0, "check the file and its disk, or the address; --debug shows where"
    )
    what = f"the system refused this: {problem.strerror or problem}"
    if _is_of_output(problem):
        what, names = f"the output cannot be written: {problem.strerror}", [STDOUT]
        _leave_pipe()  # what still waits to be written would fail again at the end
    return ScalpdeskError(what, where=" -> ".join(names) or None, fix=fix)


def _is_of_output(problem: OSError) -> bool:
    """Return whether it was raised where a command writes its output."""
    trace = problem.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    code = None if trace is None else trace.tb_frame.f_code
    return code is not None and (
        code is main.__code__ or Path(code.co_filename).parent.name in {"click", "rich"}
    )


def _leave_pipe() -> None:
    """Discard all further output: its reader has gone (``scalpdesk runs | head``), or its disk is full."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
