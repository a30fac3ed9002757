"""``scalpdesk plugins``: every socket of the desk, and what is plugged in."""

from typing import TYPE_CHECKING, Any

import click

from scalpdesk.cli.command import desk_command
from scalpdesk.cli.output import new_table, print_json, print_table
from scalpdesk.core.errors import EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from scalpdesk.core.plugins import PlugIn


@desk_command("plugins", example=("scalpdesk plugins", "scalpdesk plugins --json"))
def plugins(*, as_json: bool) -> int:
    """List every kind of plug-in, with the product's own and those of installed packages.

    Each plug-in of a package is loaded and its contract checked. A refused one is shown with the reason, and
    the exit code is 1.
    """
    from scalpdesk.core.plugins import OWN
    from scalpdesk.core.sockets import SOCKETS

    found = [(socket, list(socket.members())) for socket in SOCKETS]
    refused = [(socket, each) for socket, members in found for each in members if each.problem is not None]
    if as_json:
        sockets = [
            {name: getattr(socket, name) for name in ("kind", "group", "contract")}
            | {"page": f"docs/developing/{socket.page}", "plugins": [_facts(each) for each in members]}
            for socket, members in found
        ]
        print_json({"sockets": sockets})
        return EXIT_FAILED if refused else EXIT_OK
    table = new_table(
        "socket", "entry point group", "scalpdesk", "installed", text=("scalpdesk", "installed")
    )
    for socket, members in found:
        own = [each.name for each in members if each.distribution == OWN]
        installed = [f"{each.name} ({each.distribution})" for each in members if each.distribution != OWN]
        table.add_row(socket.kind, socket.group, ", ".join(own), ", ".join(installed))
    print_table(table)
    for _, each in refused:
        click.echo(f"refused: {each.problem}", err=True)
    return EXIT_FAILED if refused else EXIT_OK


def _facts(plug: "PlugIn") -> dict[str, Any]:
    facts: dict[str, Any] = {name: getattr(plug, name) for name in ("name", "distribution", "reference")}
    return facts | {"problem": None if plug.problem is None else plug.problem.as_dict()}
