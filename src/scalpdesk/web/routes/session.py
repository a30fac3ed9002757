"""A token for a session of the page, and the end of the session."""

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from scalpdesk.monitor.answers import LoggedIn
from scalpdesk.web.access import Refusal, Role
from scalpdesk.web.answering import Doors, as_json, errors

router = APIRouter(tags=["access"])


class Login(BaseModel):
    """A token, typed or from the address that the command line printed."""

    token: str = Field(min_length=1, max_length=200)


@router.post(
    "/login",
    summary="Exchange a token for a session of the page.",
    response_model=LoggedIn,
    responses=errors(401, 429),
)
async def login(body: Login, request: Request, access: Doors) -> Response:
    """Begin a session, or count a wrong token."""
    found = access.log_in(body.token, request.state.source)
    if isinstance(found, Refusal):
        refused = as_json({"error": found.why}, found.status)
        if found.retry_seconds:
            refused.headers["retry-after"] = str(found.retry_seconds)
        return refused
    role, session = found
    answer = as_json({"role": role.value})
    answer.headers["set-cookie"] = access.set_cookie(session, request.headers)
    return answer


@router.post("/logout", summary="End the session of the page.", response_model=LoggedIn)
async def logout(request: Request, access: Doors) -> Response:
    """End the session of a request; without one nothing changes."""
    access.log_out(request.headers)
    answer = as_json({"role": Role.NOBODY.value})
    answer.headers["set-cookie"] = access.set_cookie("", request.headers)
    return answer
