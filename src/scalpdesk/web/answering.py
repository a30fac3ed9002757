"""Shared by the routes: the feed, the role that a route needs, and JSON answers."""

from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.responses import Response
from fastapi.security import HTTPBearer, SecurityScopes

from scalpdesk.core.errors import ArgumentError, RetryError, ScalpdeskError
from scalpdesk.monitor import answers
from scalpdesk.web.access import READ_AGAIN_SECONDS, Access, Refusal, Role, role_refusal
from scalpdesk.web.feed import DeskFeed, encoded

NO_RUN = answers.NoRun(error="there is no run yet", fix="scalpdesk demo")
_TOKEN = HTTPBearer(auto_error=False, scheme_name="token", description="scalpdesk dashboard --show-token")


class RefusedError(Exception):
    """A request that its route refuses."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.why)
        self.refusal = refusal


async def _feed(request: Request) -> DeskFeed:
    feed: DeskFeed = request.app.state.feed
    return feed


async def _access(request: Request) -> Access:
    access: Access = request.app.state.access
    return access


Feed = Annotated[DeskFeed, Depends(_feed)]
Doors = Annotated[Access, Depends(_access)]


async def _require(request: Request, wanted: SecurityScopes, _token: Annotated[Any, Depends(_TOKEN)]) -> None:
    for role in wanted.scopes:
        refusal = role_refusal(Role(role), request.state.role)
        if refusal is not None:
            raise RefusedError(refusal)


def needs(role: Role) -> Any:
    """Return a dependency that refuses a request of a lesser role; the OpenAPI document names the role."""
    return Security(_require, scopes=[role.value])


def refused(_request: Request, error: Exception) -> Response:
    """Answer a request that its route refused."""
    assert isinstance(error, RefusedError)
    return as_json({"error": error.refusal.why}, error.refusal.status)


def failed(_request: Request, error: Exception) -> Response:
    """Answer a request for what is not there, that is wrong in itself, or whose database does not answer."""
    assert isinstance(error, ScalpdeskError)
    status = 422 if isinstance(error, ArgumentError) else 503 if isinstance(error, RetryError) else 404
    return as_json({"error": error.what, "fix": error.fix}, status)


def busy(_request: Request, _error: Exception) -> Response:
    """Answer a request that would wait for too many others."""
    answer = as_json({"error": "other runs are being read: ask again"}, 503)
    answer.headers["retry-after"] = str(READ_AGAIN_SECONDS)
    return answer


def as_json(document: Any, status: int = 200) -> Response:
    """Return an answer that no cache keeps."""
    return Response(
        encoded(document),
        status,
        media_type="application/json",
        headers={"cache-control": "no-store"},
    )


_ERRORS: dict[int | str, str] = {
    401: "No token, or a wrong one.",
    403: "The token of another role, or a request of another site.",
    404: "There is no such thing.",
    409: "Nothing was sent, or another is being made.",
    429: "Too many wrong tokens.",
    503: "There is no desk, or it or the database of the runs does not answer, or too many ask at once.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what a route answers where it cannot do what was asked, for its OpenAPI entry."""
    return {status: {"description": _ERRORS[status], "model": answers.NoRun} for status in statuses}
