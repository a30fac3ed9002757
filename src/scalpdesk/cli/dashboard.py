"""``scalpdesk dashboard``: the web page of the desks in a folder of runs, and its API."""

import ctypes
import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from scalpdesk.cli.command import desk_command, settings_from
from scalpdesk.cli.flags import options
from scalpdesk.cli.operate import desk_finder
from scalpdesk.cli.output import print_answer, print_json
from scalpdesk.cli.rerun import end_with_parent
from scalpdesk.core.flags import Flag, Options

if TYPE_CHECKING:
    from scalpdesk.live.finding import DeskFinder

DEFAULT_PORT = 10_000
_LOCAL = ("127.0.0.1", "::1")

_RECORDS_NAME = "SCALPDESK_CREDENTIALS__RECORDS_URL"
_READY_SECONDS = 20.0
_END_SECONDS = 3.0


class PageProcess:
    """The dashboard in a process of its own, beside a desk of this one."""

    def __init__(self, runs_dir: Path, port: int = DEFAULT_PORT, records_url: str | None = None) -> None:
        where = ("--runs-dir", str(runs_dir.resolve()), "--port", str(port))
        # the names of keys are gone from this process's environment by now
        url = {} if records_url is None else {_RECORDS_NAME: records_url}
        self._answer: dict[str, Any] = {}
        self._is_ready = threading.Event()
        # a session of its own: an interrupt ends the desk first, in order, and then the page
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "scalpdesk", "dashboard", "--json", "--beside-desk", *where],
            stdin=subprocess.PIPE,  # its end is how the page learns that this process is gone
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | url,
            start_new_session=True,
        )
        threading.Thread(target=self._read, name="page", daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        text = ""
        for line in self._process.stdout:
            text += line.decode("utf-8", "replace")
            if line.rstrip() == b"}":
                break
        with suppress(json.JSONDecodeError):
            self._answer = json.loads(text)
        self._is_ready.set()

    def where(self, *, with_token: bool = False) -> str:
        """Return the page's address as a line for the operator, or why it does not answer.

        ``with_token``: With the operator's token: for a terminal, never for a file.
        """
        self._is_ready.wait(_READY_SECONDS)
        if "url" in self._answer:
            url = self._answer["url"]
            return f"the desk's page: {url}\n{_for_operators(url, with_token=with_token)}"
        error = self._answer.get("error") or {"what": "it did not start in time"}
        return f"no page: {error['what']}" + (f"; {error['fix']}" if error.get("fix") else "")

    @property
    def is_up(self) -> bool:
        """Whether the page is served."""
        return "url" in self._answer and self._process.poll() is None

    def wait(self) -> None:
        """Wait until the page's process ends or this one is interrupted."""
        with suppress(KeyboardInterrupt):
            self._process.wait()

    def end(self) -> None:
        """End the page's process."""
        self._process.terminate()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def runs_shown(finder: "DeskFinder") -> Path:
    """Return the folder whose runs the page shows: that of the desks started here, else the settings' own."""
    folders = {path.parent for path in finder.running()}
    return folders.pop() if len(folders) == 1 else finder.folder


def _for_operators(url: str, *, with_token: bool) -> str:
    """Return how halt and flatten are reached from the page; what is no terminal is read by others later."""
    from scalpdesk.core.owner_only import state_dir
    from scalpdesk.web.access import load_tokens

    if not with_token:
        return "with halt and flatten: log in with what scalpdesk dashboard --show-token shows in a terminal"
    # on a line of its own: a terminal would break it, and the token be lost with a click
    return f"with halt and flatten:\n{url}#token={load_tokens(state_dir(os.environ)).operator}"


_M_ARENA_MAX, _ARENAS = -8, 2
"""Option of glibc's mallopt(3), and the heaps that all threads of the page share."""


def share_heaps() -> None:
    """Let the threads that make documents share two heaps, where the C library is glibc.

    Each thread has one of its own otherwise, and keeps the memory of its largest document: after a minute of
    sixty readers the page had 563 MB, with two heaps 423 (364 before the first reader).
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


class PageOptions(Options, frozen=True, kw_only=True):
    """Where the page is served, and what it shows."""

    port: Annotated[int, Flag("0: any.", least=0, most=65_535)] = DEFAULT_PORT
    host: Annotated[str, Flag("Address; others than loopback need a token.")] = "127.0.0.1"
    names: Annotated[
        tuple[str, ...], Flag("A further name of this server.", "NAME:PORT", "--allow-host")
    ] = ()
    origins: Annotated[tuple[str, ...], Flag("Its address behind a TLS proxy.", "URL", "--origin")] = ()
    run_id: Annotated[str | None, Flag("Show this run [default: the desk that runs].", "RUN", "--run")] = None
    runs_dir: Annotated[str | None, Flag("Folder of the runs.", "DIR")] = None


@desk_command(
    "dashboard",
    example=("scalpdesk dashboard", "scalpdesk dashboard --port 10001 --run last"),
)
@options(PageOptions)
@click.option("--beside-desk", is_flag=True, hidden=True, help="End with the process that started it.")
@click.option("--show-token", is_flag=True, help="Show the tokens, in a terminal, and end.")
def dashboard(
    *,
    as_json: bool,
    options: PageOptions,
    beside_desk: bool,
    show_token: bool,
) -> None:
    """Serve the web page and its API until interrupted; reads only what desks write.

    Anybody on this machine may read the page. Halt and flatten need the operator's token, which is made
    at the first start and kept in the state folder, for its owner only.
    """
    from scalpdesk.alerts.service import PageWatch
    from scalpdesk.config.settings import DashboardSection, DeskConfig
    from scalpdesk.config.sources import take_keys
    from scalpdesk.core.clock import SystemClock
    from scalpdesk.core.errors import ConfigError
    from scalpdesk.core.owner_only import state_dir
    from scalpdesk.journal.reader import find_run_dir
    from scalpdesk.live.finding import DeskFinder
    from scalpdesk.web.access import Access, in_address, load_tokens
    from scalpdesk.web.app import listener_of, serve
    from scalpdesk.web.feed import DeskFeed

    tokens = load_tokens(state_dir(os.environ))
    if show_token:
        if not sys.stdout.isatty():
            raise ConfigError(
                "tokens are shown in a terminal alone",
                where="--show-token",
                fix=f"type it in a terminal; a program of yours reads their file in {state_dir(os.environ)}",
            )
        text = f"operator {tokens.operator}\nviewer   {tokens.viewer}"
        print_answer({"operator": tokens.operator, "viewer": tokens.viewer}, text, as_json=as_json)
        return
    config, is_known = DeskConfig(), True
    try:
        config = settings_from().config
    except ConfigError:
        if options.runs_dir is None and not DeskFinder(None).running():
            raise  # where the folder is named, or a desk runs here, the page needs nothing of the file
        is_known = False
    proxied = DashboardSection((*config.dashboard.origins, *options.origins), config.dashboard.proxies)
    take_keys(os.environ)
    folder, host = runs_shown(desk_finder(options.runs_dir)), options.host
    if options.run_id is not None:
        find_run_dir(folder, options.run_id)  # refused before a page is served
    listener = listener_of(host, options.port)
    port = int(listener.getsockname()[1])
    address = f"http://{'localhost' if host in _LOCAL else in_address(host)}:{port}/"
    if as_json:
        print_json({"url": address, "pid": os.getpid()})
    else:
        address = f"{proxied.origins[0]}/" if proxied.origins else address
        click.echo(f"the desk's page: {address}")
        click.echo(_for_operators(address, with_token=sys.stdout.isatty()))
        click.echo("Ctrl-C ends the page; a desk goes on")
    sys.stdout.flush()
    if beside_desk:
        threading.Thread(target=end_with_parent, name="parent", daemon=True).start()
    share_heaps()
    clock = SystemClock()
    watch = PageWatch(config.alerts, clock)
    access = Access(
        tokens,
        host=host,
        port=port,
        names=options.names,
        origins=proxied.origins,
        proxies=proxied.proxies,
        reads_freely=is_known,  # a file that cannot be read may name a proxy
    )
    serve(DeskFeed(folder, options.run_id, clock, watch, records_url=config.records_url), access, listener)
