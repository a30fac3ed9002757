"""Declaration of commands: each has ``--json``, ``--debug`` and an example in its help."""

import math
import os
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from scalpdesk.cli.output import FORMER_OPTIONS, log_to_stderr
from scalpdesk.cli.waiting import tell_interrupted
from scalpdesk.core.errors import ConfigError, ScalpdeskError, nearest_name
from scalpdesk.core.installing import install_line
from scalpdesk.core.units import count_text

if TYPE_CHECKING:
    from scalpdesk.config.settings import LoadedSettings
    from scalpdesk.core.plugins import Socket
    from scalpdesk.research.sweep import SweepFolder
    from scalpdesk.web.research_sheets import Result

Body = Callable[..., int | None]
"""A command's function: takes ``as_json`` and its options; returns an exit code, None for success."""

EXIT_CODES = "Exit codes: 0 success; 1 a failed check or run; 2 wrong use or configuration; 130 interrupted."


class ShortHelpCommand(click.Command):
    """A command that answers ``-h`` and ``--help``, whichever context it is called from."""

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        """Return the names of the help option, less those that another option has.

        Not left to the root's context: click keeps the option that the first context asked for.
        """
        ctx.help_option_names = ["-h", "--help"]
        return super().get_help_option_names(ctx)


class DeskCommand(ShortHelpCommand):
    """A command whose help ends with examples."""

    examples: tuple[str, ...] = ()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, former names of options too, and say of every complaint to which command it belongs."""
        own = {name for param in self.params for name in param.opts}
        for place, word in enumerate(args):
            name, has_value, value = word.partition("=")
            if name in FORMER_OPTIONS and name not in own and FORMER_OPTIONS[name] in own:
                args[place] = f"{FORMER_OPTIONS[name]}{has_value}{value}"
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as problem:
            problem.ctx = problem.ctx or ctx
            raise

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples below the options, one a line."""
        with formatter.section("Examples" if len(self.examples) > 1 else "Example"):
            for example in self.examples:
                formatter.write(f"{' ' * formatter.current_indent}{example}\n")
        super().format_epilog(ctx, formatter)


def _start_logging(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    """Answer ``--debug``, given before the command's name or after it."""
    debug = bool(ctx.meta.get("scalpdesk.debug")) or value
    ctx.meta["scalpdesk.debug"] = debug
    log_to_stderr(debug=debug)


debug_option = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    callback=_start_logging,
    help="Log everything to stderr and show tracebacks.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Write one JSON document to stdout.")


def _strategy_names() -> Iterable[str]:
    from scalpdesk.strategies.registry import strategy_names

    return strategy_names()


def _run_names() -> Iterable[str]:
    from scalpdesk.journal.reader import LAST, run_dirs

    return (*(path.name for path in reversed(run_dirs(Path(settings_from().config.desk.runs_dir)))), LAST)


def _data_names() -> Iterable[str]:
    from scalpdesk.datasets.embedded import RECONSTRUCTED
    from scalpdesk.datasets.manifests import data_set_names

    catalog = Path(settings_from().config.data.catalog)
    return (*RECONSTRUCTED, *data_set_names(catalog))


class NameType(click.types.StringParamType):
    """A text whose possible values the shell completes; what else it may be, the command says."""

    def __init__(self, names: Callable[[], Iterable[str]]) -> None:
        self._names = names

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that begin so; an empty list when the configuration or a folder cannot be read."""
        del ctx, param
        with suppress(ScalpdeskError, OSError):
            return [CompletionItem(name) for name in self._names() if name.startswith(incomplete)]
        return []


class PlugType(NameType):
    """A plug-in's name: the help lists all of them, and loads them for it alone.

    ``socket``: Knows the names.
    """

    def __init__(self, socket: "Socket") -> None:
        super().__init__(lambda: dict.fromkeys((*socket.own_names(), *socket.names())))

    def get_metavar(self, param: click.Parameter, *_: Any, **__: Any) -> str:
        """Return the names as those of a choice are shown."""
        del param
        return f"[{'|'.join(self._names())}]"


_COMPLETED: dict[str, Callable[[], Iterable[str]]] = {
    "strategy": _strategy_names,
    "data_set": _data_names,
    **dict.fromkeys(("run", "run_id", "others"), _run_names),
}
"""Parameters of any command, by name, whose values are names of something; folders complete as files."""


class NumberRange(click.FloatRange):
    """A number within a range; NaN, which no comparison finds outside of any, is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number.

        Raises click.BadParameter when it is not a number, or outside of the range.
        """
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number


def desk_command(
    name: str, *, example: str | Sequence[str], group: click.Group | None = None
) -> Callable[[Body], DeskCommand]:
    """Declare a command of the desk.

    Adds ``--json`` (passed as ``as_json: bool``) and ``--debug`` (handled by ``main``), puts the
    examples in the help and returns the function's value as the exit code (None is 0). A function's
    docstring is its help. Use it as the outermost decorator; options and arguments go below it.

    Parameters
    ----------
    name
        The word on the command line.
    example
        One command line, or several, shown in the help as they would be typed.
    group
        The group to add the command to, for commands below ``data`` or ``config``.
    """

    def declare(body: Body) -> DeskCommand:
        command = click.command(name, cls=DeskCommand)(_json_option(debug_option(body)))
        for param in command.params:
            if type(param.type) is not click.types.StringParamType:
                continue
            if param.metavar in {"DIR", "FILE"}:
                param.type = click.Path()
            elif param.name in _COMPLETED:
                param.type = NameType(_COMPLETED[param.name])
        command.examples = (example,) if isinstance(example, str) else tuple(example)
        if group is not None:
            group.add_command(command)
        return command

    return declare


WORDS = "scalpdesk.words"
"""Where the context keeps the words that were typed after ``scalpdesk``."""


def typed_command(*more: str, without: Collection[str] = ()) -> str:
    """Return the command line that is carried out, as a shell takes it: less some flags, with more words."""
    words = click.get_current_context().meta.get(WORDS, [])
    return shlex.join(["scalpdesk", *(word for word in words if word not in without), *more])


def settings_from(
    config_file: str | None = None,
    overrides: Sequence[str] = (),
    strategy: str | None = None,
    *,
    simulated_account: bool = True,
) -> "LoadedSettings":
    """Load the configuration of a command called in this folder, with this environment.

    Without a strategy the sections of strategies are not read: a wrong key there keeps nothing from a reader.
    """
    from scalpdesk.config.settings import load_settings
    from scalpdesk.instruments.classes import use_classes

    settings = load_settings(
        strategy,
        config_file=config_file,
        overrides=overrides,
        environ=os.environ,
        cwd=Path(),
        simulated_account=simulated_account,
        reads_strategies=strategy is not None,
    )
    use_classes(settings.config.classes)
    return settings


def _writable(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Refuse a folder, another kind of file, and a folder that is not there, before hours of work."""
    given = Path(value or "sheet.html")
    if given.is_dir() or given.suffix.lower() not in {"", ".html", ".htm"}:
        better = given / "sheet.html" if given.is_dir() else given.with_suffix(".html")
        raise ConfigError(
            "a tear sheet is an HTML file",
            where="--html",
            value=value,
            fix=f"--html {shlex.quote(str(better))}",
        )
    if value is not None and not Path(value).absolute().parent.is_dir():
        raise ConfigError(
            "the folder of the tear sheet does not exist",
            where="--html",
            value=value,
            fix=f"mkdir -p {shlex.quote(str(Path(value).parent))}",
        )
    return value


html_option = click.option(
    "--html",
    "html_file",
    default=None,
    metavar="FILE",
    callback=_writable,
    help="Write the tear sheet: one offline file.",
)


@contextmanager
def kept_when_interrupted(folders: "Sequence[SweepFolder]") -> Iterator[None]:
    """At Ctrl-C say how many backtests are kept, and how to go on."""
    try:
        yield
    except KeyboardInterrupt as stop:
        ended = sum(len(folder.rows()) for folder in folders)
        where = f", in {folders[0].path}" if ended else ""
        tell_interrupted(
            stop,
            f"interrupted: {count_text(ended, 'backtest')} kept{where}",
            f"the same command goes on: {typed_command()}",
        )
        raise


def write_result_sheet(result: "Result", file: str) -> None:
    """Write the tear sheet of a result with the command line that made it; say on stderr where it is."""
    from scalpdesk.web.research_sheets import write_research_sheet

    size = write_research_sheet(Path(file), result, typed_command())
    click.echo(f"{file}: {size / 1e3:.0f} kB", err=True)


def settings_options(body: Body) -> Body:
    """Add ``--config FILE`` (``config_file: str | None``) and ``--set KEY=VALUE`` (``overrides: tuple``).

    ``--runs-dir DIR`` comes with them, as the override ``desk.runs_dir``.
    """
    runs_dir: list[str] = []

    def keep(_ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
        runs_dir[:] = [] if value is None else [f"desk.runs_dir={value}"]

    def with_runs_dir(
        _ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]
    ) -> tuple[str, ...]:
        return (*value, *runs_dir)

    body = click.option(
        "--runs-dir",
        metavar="DIR",
        default=None,
        is_eager=True,
        expose_value=False,
        callback=keep,
        help="Folder of the runs [default: desk.runs_dir].",
    )(body)
    body = click.option(
        "--set",
        "overrides",
        metavar="KEY=VALUE",
        multiple=True,
        callback=with_runs_dir,
        help="Set one key; a key of the strategy or a full path. May be repeated.",
    )(body)
    return click.option(
        "--config",
        "config_file",
        metavar="FILE",
        help="TOML or YAML file [default: scalpdesk.toml or params.yaml here].",
    )(body)


class DeskGroup(ShortHelpCommand, click.Group):
    """A group that answers an unknown name with the nearest one, and no name with its help."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Show the help and end well when nothing was asked."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command named first in ``args``.

        Raises ConfigError when there is no such command.
        """
        name = args[0]
        command = self.get_command(ctx, name)
        if command is not None:
            return name, command, args[1:]
        if name.startswith("-"):
            return super().resolve_command(ctx, args)
        from scalpdesk.config.traders_words import name_meant

        meant = name_meant("command", name) if ctx.parent is None else None
        nearest = self._elsewhere(ctx, name) or meant or nearest_name(name, self.list_commands(ctx), 0.7)
        raise ConfigError(
            "unknown command",
            where=ctx.command_path,
            value=name,
            nearest=nearest,
            fix=f"{ctx.command_path} {nearest or '--help'}",
        )

    def _elsewhere(self, ctx: click.Context, name: str) -> str | None:
        """Return the words for a command of this name in a group of this one."""
        for other in self.list_commands(ctx):
            with suppress(ScalpdeskError, ImportError):
                group = self.get_command(ctx, other)
                if isinstance(group, click.Group) and name in group.list_commands(ctx):
                    return f"{other} {name}"
        return None


class LazyGroup(DeskGroup):
    """A group that knows its commands by name and imports one only when it is called.

    ``table``: Maps a command's name to (``module:attribute`` or the package that brings it, one line of
    help).
    ``topics``: The table by topic: the help has a line for each command of the first topic, and the names of
    the others, which ``help TOPIC`` explains.
    ``former``: Today's words for a command by the name that it had.
    ``socket``: Name in :mod:`scalpdesk.core.sockets` of the socket for commands of installed packages. It is
    asked only about names that the table does not have, so that all other commands start as fast.
    """

    def __init__(
        self,
        *args: Any,
        table: dict[str, tuple[str, str]],
        topics: Mapping[str, Mapping[str, tuple[str, str]]] | None = None,
        former: Mapping[str, str] | None = None,
        socket: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._table, self._socket_name = table, socket
        self._topics, self._former = topics or {}, former or {}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Answer ``help``, alone, of a topic or of a command."""
        if self._topics and args[:1] == ["help"] and not ctx.resilient_parsing:
            if len(args) == 2 and args[1] in self._topics:
                formatter = ctx.make_formatter()
                formatter.write_dl([(name, entry[1]) for name, entry in self._topics[args[1]].items()])
                click.echo(formatter.getvalue().rstrip())
                ctx.exit()
            args = [*args[1:], "--help"]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command named first in ``args``, by a former name too."""
        now = self._former.get(args[0])
        if now is not None:
            if not ctx.resilient_parsing:
                click.echo(f"{ctx.command_path} {args[0]} is now: {ctx.command_path} {now}", err=True)
            args = [*now.split(), *args[1:]]
        return super().resolve_command(ctx, args)

    @property
    def _socket(self) -> "Socket | None":
        if self._socket_name is None:
            return None
        found: Socket = getattr(import_module("scalpdesk.core.sockets"), self._socket_name)
        return found

    def _installed(self) -> tuple[str, ...]:
        socket = self._socket
        return () if socket is None else tuple(name for name in socket.names() if not socket.is_own(name))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table, then those of installed packages."""
        installed = (name for name in self._installed() if name not in self._table)
        return [*self._table, *super().list_commands(ctx), *installed]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command, or None for an unknown name.

        Raises ConfigError when an installed package's command does not keep its contract.
        """
        target = self._table[cmd_name][0] if cmd_name in self._table else ""
        module, is_here, attribute = target.partition(":")
        if is_here:
            command = getattr(import_module(module), attribute)
            assert isinstance(command, click.Command)
            return command
        socket = self._socket
        if socket is not None and cmd_name in self._installed():
            return socket.find_spec(click.Command, cmd_name)
        if target:
            raise ConfigError(
                "this command comes with a package that is not installed",
                where=f"scalpdesk {cmd_name}",
                value=target,
                fix=install_line(target),
            )
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table without importing any command."""
        first, *others = self._topics or ("",)
        rows = [(name, entry[1]) for name, entry in self._topics.get(first, self._table).items()]
        if ctx.parent is not None:
            rows += [(name, "From an installed package.") for name in self._installed()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
        if others:
            with formatter.section(f"More, by topic ({ctx.command_path} help TOPIC)"):
                formatter.write_dl([(topic, " ".join(self._topics[topic])) for topic in others])
