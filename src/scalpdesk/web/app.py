"""The dashboard's server: pages, API, event stream, commands, metrics.

Documents are made in worker threads and read under the follower's lock; the loop itself only passes on bytes
that were encoded once for all clients.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from scalpdesk.core.errors import ConfigError, ScalpdeskError
from scalpdesk.core.version import BUILD
from scalpdesk.web.access import Access, Guard
from scalpdesk.web.answering import RefusedError, as_json, busy, failed, refused
from scalpdesk.web.book_risk import RiskKeeper
from scalpdesk.web.feed import BusyError, DeskFeed
from scalpdesk.web.reruns import RerunJobs
from scalpdesk.web.routes import commands, desk, pages, records, server, session

_SEND_BUFFER_BYTES = 256 * 1024
REQUEST_SECONDS = 10.0


def create_app(feed: DeskFeed, access: Access) -> FastAPI:
    """Return the application; the caller starts the feed, unless the server's lifespan does."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        feed.start()
        try:
            yield
        finally:
            feed.stop()
            app.state.risk.stop()
            app.state.reruns.stop()

    app = FastAPI(
        title="scalpdesk",
        version=BUILD,
        description="State and history of a desk. Amounts are strings with two decimals; times are UTC"
        " nanoseconds (`_ns`) or New York clock times. Null is not known, never zero.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,  # a route of ours, which needs a role
        lifespan=lifespan,
    )
    app.state.feed, app.state.access, app.state.risk = feed, access, RiskKeeper(feed)
    app.state.reruns = RerunJobs(feed.runs_dir, feed.clock)
    app.add_middleware(Guard, access=access)
    app.add_exception_handler(RequestValidationError, _refuse_fields)
    app.add_exception_handler(RefusedError, refused)
    app.add_exception_handler(ScalpdeskError, failed)
    app.add_exception_handler(BusyError, busy)
    for subject in (pages, desk, records, server, commands, session):
        app.include_router(subject.router)
    app.include_router(records.writing)
    return app


def _refuse_fields(_request: Request, error: Exception) -> Response:
    """Name each wrong field and what was wrong; its value is not sent back: it may be a token."""
    assert isinstance(error, RequestValidationError)
    return as_json(
        {"detail": [{name: each[name] for name in ("type", "loc", "msg")} for each in error.errors()]}, 422
    )


class BoundedConnection(H11Protocol):
    """A connection that ends when its client brings no whole request within :data:`REQUEST_SECONDS`."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Wait for the first request."""
        super().connection_made(transport)
        self._await_request()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._await_request()
        super().on_response_complete()

    def _await_request(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self._end_half_open)

    def _end_half_open(self) -> None:
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self.transport.abort()


def listener_of(host: str, port: int) -> socket.socket:
    """Return a listening socket whose clients get a small send buffer, so that a slow one is noticed.

    Raises ConfigError when the port is taken, or the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"the dashboard cannot listen here: {error.strerror or error}",
            where="--host, --port",
            value=f"{host}:{port}",
            fix="another dashboard may run already; --port chooses another port",
        ) from error
    return listener


def serve(feed: DeskFeed, access: Access, listener: socket.socket) -> None:
    """Serve on a listening socket until interrupted."""
    app = create_app(feed, access)
    config = uvicorn.Config(
        app,
        http=BoundedConnection,
        log_level="warning",
        timeout_graceful_shutdown=1,
        access_log=False,
        proxy_headers=False,  # whom to believe is in the settings of the dashboard
        ws="none",
    )
    uvicorn.Server(config).run([listener])
