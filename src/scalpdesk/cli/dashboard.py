"""``scalpdesk dashboard``: the web page of the desks in a folder of runs, and its API."""

import os
import sys
from pathlib import Path

import click

from scalpdesk.cli.command import desk_command, settings_from
from scalpdesk.cli.output import print_json

DEFAULT_PORT = 10_000
LOCAL = ("127.0.0.1", "::1")


@desk_command(
    "dashboard",
    example=("scalpdesk dashboard", "scalpdesk dashboard --port 10001 --run last"),
)
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=DEFAULT_PORT, show_default=True, help="0: any."
)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address; others than loopback need a token."
)
@click.option(
    "--allow-host", "names", multiple=True, metavar="NAME:PORT", help="A further name of this server."
)
@click.option(
    "--run", "run_id", default=None, metavar="RUN", help="Show this run [default: the desk that runs]."
)
@click.option("--runs-dir", default=None, metavar="DIR", help="Folder of the runs.")
@click.option("--show-token", is_flag=True, help="Show the tokens and end.")
def dashboard(
    *,
    as_json: bool,
    port: int,
    host: str,
    names: tuple[str, ...],
    run_id: str | None,
    runs_dir: str | None,
    show_token: bool,
) -> None:
    """Serve the web page and its API until interrupted; reads only what desks write.

    Whoever opens the page on this machine reads. Halt and flatten need the operator's token, which is made
    at the first start and kept in the state folder, for its owner only.
    """
    from scalpdesk.core.clock import SystemClock
    from scalpdesk.live.arming import state_dir
    from scalpdesk.web.access import Access, load_tokens
    from scalpdesk.web.app import listener_of, serve
    from scalpdesk.web.feed import DeskFeed

    tokens = load_tokens(state_dir(os.environ))
    if show_token:
        if as_json:
            print_json({"operator": tokens.operator, "viewer": tokens.viewer})
        else:
            click.echo(f"operator {tokens.operator}\nviewer   {tokens.viewer}")
        return
    folder = Path(settings_from().config.desk.runs_dir if runs_dir is None else runs_dir)
    listener = listener_of(host, port)
    port = int(listener.getsockname()[1])
    address = f"http://{'localhost' if host in LOCAL else host}:{port}/"
    if as_json:
        print_json({"url": address, "pid": os.getpid()})
    else:
        click.echo(f"the desk's page: {address}")
        click.echo(f"with halt and flatten: {address}#token={tokens.operator}")
        click.echo("Ctrl-C ends the page; a desk goes on")
    sys.stdout.flush()
    serve(
        DeskFeed(folder, run_id, SystemClock()), Access(tokens, host=host, port=port, names=names), listener
    )
