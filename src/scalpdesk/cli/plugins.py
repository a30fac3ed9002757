"""``scalpdesk plugins``: every socket of the desk, and what is plugged in."""

import click

from scalpdesk.cli.command import desk_command
from scalpdesk.cli.output import new_table, print_json, print_table
from scalpdesk.core.errors import EXIT_FAILED, EXIT_OK


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
        print_json(
            {
                "sockets": [
                    {
                        "kind": socket.kind,
                        "group": socket.group,
                        "contract": socket.contract,
                        "page": f"docs/developing/{socket.page}",
                        "plugins": [
                            {
                                "name": each.name,
                                "distribution": each.distribution,
                                "reference": each.reference,
                                "problem": None if each.problem is None else each.problem.as_dict(),
                            }
                            for each in members
                        ],
                    }
                    for socket, members in found
                ]
            }
        )
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
