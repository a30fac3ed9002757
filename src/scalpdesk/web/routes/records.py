"""Runs and scalps on record."""

import time
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from scalpdesk.core.errors import RetryError, ScalpdeskError
from scalpdesk.journal.reader import run_named
from scalpdesk.monitor.answers import Run, Runs, ScalpsPage
from scalpdesk.monitor.texts import json_safe
from scalpdesk.web.access import Role
from scalpdesk.web.answering import Feed, as_json, errors, needs
from scalpdesk.web.runs import RunOrder, run_page, runs_page, scalps_document
from scalpdesk.web.tear_sheet import read_run, sheet_document, sheet_policy, tear_sheet

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
    "/api/runs",
    summary="Runs on record that have every word of a search, the newest first or in another order.",
    response_model=Runs,
    responses=errors(401, 503),
)
def runs(
    feed: Feed,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    search: Annotated[str, Query(max_length=200)] = "",
    sort: RunOrder = RunOrder.NEWEST,
) -> Response:
    """Return the runs on record."""
    try:
        found = runs_page(feed.runs_dir, limit, feed.records_url, search=search, sort=sort)
        return as_json(json_safe(found))
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


@router.get(
    "/api/runs/{run_id}/sheet",
    summary="Tear sheet of a run: one page that can be kept as a file.",
    response_class=Response,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}, **errors(401, 404)},
)
def sheet(run_id: str, feed: Feed) -> Response:
    """Return the tear sheet of a run, of what of it there is so far."""
    try:
        document = sheet_document(read_run(run_named(feed.runs_dir, run_id)))
    except ScalpdeskError as error:
        return _refusal(error)
    policy = f"{sheet_policy()}; frame-ancestors 'none'"
    headers = {"content-security-policy": policy, "cache-control": "no-store"}
    return HTMLResponse(tear_sheet(document), headers=headers)


def _refusal(error: ScalpdeskError) -> Response:
    """Answer that there is no such run, or that the database of the runs does not answer."""
    return as_json({"error": error.what, "fix": error.fix}, 503 if isinstance(error, RetryError) else 404)
