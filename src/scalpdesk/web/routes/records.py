"""Runs and scalps on record."""

import time
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from scalpdesk.core.errors import RetryError, ScalpdeskError
from scalpdesk.monitor.answers import Run, Runs, ScalpsPage
from scalpdesk.monitor.texts import json_safe
from scalpdesk.web.access import Role
from scalpdesk.web.answering import Feed, as_json, errors, needs
from scalpdesk.web.runs import run_page, runs_page, scalps_document

REFRESH_SECONDS = 30.0
"""Least time between two readings of journals into the store of runs, for the page of scalps."""
router = APIRouter(tags=["records"], dependencies=[needs(Role.VIEWER)])


@router.get(
    "/api/scalps",
    summary="Options scalps: open, history, performance.",
    response_model=ScalpsPage,
    responses=errors(401, 404, 503),
)
def scalps(
    request: Request, feed: Feed, run: Annotated[str | None, Query(max_length=100)] = None
) -> Response:
    """Return the scalps of a run or of all."""
    state = request.app.state
    is_due = time.monotonic() - getattr(state, "scalps_read", -REFRESH_SECONDS) >= REFRESH_SECONDS
    try:
        found = scalps_document(feed.runs_dir, run, feed.records_url, refresh=is_due)
    except ScalpdeskError as error:
        return _refusal(error)
    if is_due:
        state.scalps_read = time.monotonic()
    return as_json(json_safe(found))


@router.get(
    "/api/runs", summary="Runs on record, the newest first.", response_model=Runs, responses=errors(401, 503)
)
def runs(feed: Feed, limit: Annotated[int, Query(ge=1, le=1_000)] = 100) -> Response:
    """Return the runs on record."""
    try:
        return as_json(json_safe(runs_page(feed.runs_dir, limit, feed.records_url)))
    except ScalpdeskError as error:
        return _refusal(error)


@router.get(
    "/api/runs/{run_id}",
    summary="One run: its summary and its series of marks.",
    response_model=Run,
    responses=errors(401, 404, 503),
)
def one_run(run_id: str, feed: Feed) -> Response:
    """Return a run."""
    try:
        return as_json(json_safe(run_page(feed.runs_dir, run_id, feed.records_url)))
    except ScalpdeskError as error:
        return _refusal(error)


def _refusal(error: ScalpdeskError) -> Response:
    """Answer that there is no such run, or that the database of the runs does not answer."""
    return as_json({"error": error.what, "fix": error.fix}, 503 if isinstance(error, RetryError) else 404)
