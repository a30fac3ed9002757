"""Commands of a person to the desk: halt, flatten, resume, acknowledge an alert."""

import asyncio

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, Field

from scalpdesk.core.errors import ScalpdeskError
from scalpdesk.monitor.answers import Acknowledged, CommandAnswer
from scalpdesk.web.access import Role
from scalpdesk.web.answering import NO_RUN, Feed, as_json, errors, needs
from scalpdesk.web.feed import acknowledge

ACTIONS = ("halt", "flatten", "resume")
router = APIRouter(tags=["commands"], dependencies=[needs(Role.OPERATOR)])


class Command(BaseModel):
    """A command for the desk."""

    key: str = Field(min_length=8, max_length=100, description="Chosen by the sender: one for each command.")
    reason: str = Field(default="", max_length=500, description="Kept in the journal.")
    run: str = Field(
        default="",
        max_length=255,
        description="Id of the run that is meant; it is refused when another one is followed by now.",
    )


class Acknowledgement(BaseModel):
    """Alerts that a person has seen to."""

    key: str = Field(default="", max_length=200, description="Beginning of their keys; all when empty.")


@router.post(
    "/api/alerts/acknowledge",
    summary="Acknowledge open alerts: the operator's token is needed.",
    response_model=Acknowledged,
    responses=errors(401, 403, 503),
)
async def acknowledge_alerts(body: Acknowledgement, feed: Feed) -> Response:
    """Leave an acknowledgement for the watcher, and look for alerts again."""
    follower = feed.follower
    if follower is None:
        return as_json(NO_RUN, 503)
    await asyncio.to_thread(acknowledge, follower.run_dir, body.key, "operator on the dashboard")
    await asyncio.to_thread(feed.judge)
    return as_json({"acknowledged": body.key})


@router.post(
    "/api/commands/{action}",
    summary="halt, flatten or resume the desk: the operator's token is needed.",
    response_model=CommandAnswer,
    responses=errors(401, 403, 404, 409, 503),
)
async def command(action: str, body: Command, feed: Feed) -> Response:
    """Send a command to the desk; a key is sent once.

    It has a thread of the loop's own pool: those of the server's may all be making documents.
    """
    if action not in ACTIONS:
        return as_json({"error": "unknown command", "fix": ", ".join(ACTIONS)}, 404)
    reason = body.reason or ("" if action == "resume" else f"{action} from the dashboard")
    try:
        answer = await asyncio.to_thread(feed.command, action, body.key, reason, body.run)
    except ScalpdeskError as error:
        return as_json({"error": error.what, "fix": f"scalpdesk {action}"}, 503)
    return as_json(answer, 409 if "error" in answer else 200)
