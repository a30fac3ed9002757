"""Importers and downloaders as commands: a group lists the sources by name, and each has its own flags."""

from collections.abc import Callable
from typing import Any

import click

from scalpdesk.cli.command import Body, DeskGroup, desk_command
from scalpdesk.cli.data import catalog_option, raw_option
from scalpdesk.cli.flags import options
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.plugins import Socket
from scalpdesk.data_sources.contract import SourceSpec


class SourceGroup(DeskGroup):
    """A group whose commands are sources, the product's own and those of installed packages.

    ``sources``: Socket of the sources.
    ``declare``: Returns the command of a spec.
    """

    def __init__(
        self,
        *args: Any,
        sources: Socket,
        declare: Callable[[Any], click.Command],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._sources, self._declare = sources, declare

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the sources, sorted."""
        del ctx
        return list(self._sources.names())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a source, None when there is no such source."""
        if cmd_name not in {*self.list_commands(ctx), *self._sources.parts}:
            return None
        return self._declare(self._sources.find(cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a line for each source; one that cannot be used says so, and the others are listed."""
        rows = []
        for name in self.list_commands(ctx):
            try:
                rows.append((name, self._declare(self._sources.find(name)).get_short_help_str()))
            except ConfigError as refusal:
                rows.append((name, f"Cannot be used: {refusal.what}"))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def source_command(
    spec: SourceSpec[Any], body: Body, first: Callable[[Body], Body] = lambda body: body
) -> click.Command:
    """Return the command of a source: ``body`` with the options of ``first``, its flags and its catalogue."""
    body = (raw_option if spec.is_raw else catalog_option)(body)
    body = first(options(spec.flags, "flags")(body))
    body.__doc__ = spec.help
    command = desk_command(spec.name, example=spec.examples)(body)
    command.short_help = spec.summary
    return command
