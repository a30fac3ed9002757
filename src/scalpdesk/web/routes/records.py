"""Runs and scalps on record."""

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, Field

from scalpdesk.core.errors import RetryError
from scalpdesk.journal.reader import run_named
from scalpdesk.monitor.answers import DiaryPage, Note, Notes, RerunsPage, Run, Runs, ScalpsPage
from scalpdesk.records.notes import keep_note, subject_in
from scalpdesk.records.store import open_store, store_url
from scalpdesk.research.reruns import kept_reruns
from scalpdesk.web.access import Role
from scalpdesk.web.answering import Feed, as_json, errors, needs
from scalpdesk.web.diary import diary_page
from scalpdesk.web.reruns import RerunJobs
from scalpdesk.web.runs import RunOrder, notes_document, run_page, runs_page, scalps_document
from scalpdesk.web.tear_sheet import read_run, sheet_document, sheet_policy, tear_sheet

REFRESH_SECONDS = 30.0
"""Least time between two readings of journals into the store of runs, for the page of scalps."""
router = APIRouter(tags=["records"], dependencies=[needs(Role.VIEWER)])
writing = APIRouter(tags=["records"], dependencies=[needs(Role.OPERATOR)])


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
    found = scalps_document(feed.runs_dir, run, feed.records_url, refresh=is_due)
    if is_due:
        state.scalps_read = time.monotonic()
    return as_json(found)


@router.get(
    "/api/runs",
    summary="Runs on record that have every word of a search, the newest first or in another order.",
    response_model=Runs,
    responses=errors(401, 503),
)
def runs(
    feed: Feed,
    limit: Annotated[int, Query(ge=1)] = 100,
    search: Annotated[str, Query(max_length=200)] = "",
    sort: RunOrder = RunOrder.NEWEST,
) -> Response:
    """Return the runs on record."""
    found = runs_page(feed.runs_dir, limit, feed.records_url, search=search, sort=sort)
    return as_json(found)


@router.get(
    "/api/runs/{run_id}",
    summary="One run: its summary and its series of marks.",
    response_model=Run,
    responses=errors(401, 404, 503),
)
def one_run(run_id: str, feed: Feed) -> Response:
    """Return a run."""
    return as_json(run_page(feed.runs_dir, run_id, feed.records_url))


@router.get(
    "/api/runs/{run_id}/sheet",
    summary="Tear sheet of a run: one page that can be kept as a file.",
    response_class=Response,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}, **errors(401, 404)},
)
def sheet(run_id: str, feed: Feed) -> Response:
    """Return the tear sheet of a run, of what of it there is so far."""
    run_dir = run_named(feed.runs_dir, run_id)
    again = kept_reruns(feed.runs_dir, run_dir.name)
    made = ((), ()) if again is None else (again.fill_models, again.paths)
    document = sheet_document(read_run(run_dir), *made)
    policy = f"{sheet_policy()}; frame-ancestors 'none'"
    headers = {"content-security-policy": policy, "cache-control": "no-store"}
    return HTMLResponse(tear_sheet(document), headers=headers)


class NewReruns(BaseModel):
    """Ways in which a run is to be made again."""

    fill_models: bool = Field(default=True, description="Under the other fill models.")
    paths: int = Field(default=20, ge=0, le=1_000, description="Redrawn paths, its own among them.")


def _reruns(request: Request) -> RerunJobs:
    found: RerunJobs = request.app.state.reruns
    return found


Jobs = Annotated[RerunJobs, Depends(_reruns)]


@router.get(
    "/api/runs/{run_id}/reruns",
    summary="The run under other fill models and on redrawn paths: results so far.",
    response_model=RerunsPage,
    responses=errors(401, 404),
)
def reruns(run_id: str, feed: Feed, jobs: Jobs) -> Response:
    """Return the reruns of a run."""
    return as_json(jobs.page(run_named(feed.runs_dir, run_id)))


@writing.post(
    "/api/runs/{run_id}/reruns",
    summary="Make an ended run again, in a process of its own: the operator's token is needed.",
    response_model=RerunsPage,
    responses=errors(401, 403, 404, 409),
)
def start_reruns(run_id: str, body: NewReruns, feed: Feed, jobs: Jobs) -> Response:
    """Start the reruns of a run; one run at a time is made again."""
    run_dir = run_named(feed.runs_dir, run_id)
    try:
        jobs.start(run_dir, fill_models=body.fill_models, paths=body.paths)
    except RetryError as error:
        return as_json({"error": error.what, "fix": error.fix}, 409)
    return reruns(run_id, feed, jobs)


@writing.post(
    "/api/runs/{run_id}/reruns/cancel",
    summary="End the process that makes a run again: the operator's token is needed.",
    response_model=RerunsPage,
    responses=errors(401, 403, 404),
)
def cancel_reruns(run_id: str, feed: Feed, jobs: Jobs) -> Response:
    """Cancel the reruns of a run; what was made stays."""
    jobs.cancel(run_named(feed.runs_dir, run_id).name)
    return reruns(run_id, feed, jobs)


@router.get("/api/journal", include_in_schema=False)  # its former name
@router.get(
    "/api/diary",
    summary="Calendar of P&L, trades with their edge, and notes: of a run, or of all that a search finds.",
    response_model=DiaryPage,
    responses=errors(401, 404, 503),
)
def diary(
    feed: Feed,
    run: Annotated[str | None, Query(max_length=255)] = None,
    search: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """Return the Diary page; without a run and a search that of the followed run."""
    followed = feed.follower
    if not run and followed is not None and followed.run_dir.parent == feed.runs_dir:
        run = followed.run_dir.name
    names = [run] if run and not search.strip() else []
    return as_json(diary_page(feed.runs_dir, names, search, feed.records_url))


class NewNote(BaseModel):
    """What to note; it replaces what was noted of the same run, day or trade."""

    run: str = Field(min_length=1, max_length=255, description="Id of a run, or the beginning of it.")
    day: str | None = Field(default=None, max_length=10, description="A day of the run, YYYY-MM-DD.")
    trade: int | None = Field(default=None, description="A trade of the run, by its number.")
    tags: list[Annotated[str, Field(max_length=41)]] = Field(default=[], max_length=20)
    note: str = Field(default="", max_length=4_000)


@router.get(
    "/api/notes",
    summary="Tags and notes of a run, or of all.",
    response_model=Notes,
    responses=errors(401, 404),
)
def notes(feed: Feed, run: Annotated[str | None, Query(max_length=255)] = None) -> Response:
    """Return what is noted."""
    return as_json(notes_document(feed.runs_dir, run, feed.records_url))


@writing.post(
    "/api/notes",
    summary="Note a run, a day or a trade: the operator's token is needed.",
    response_model=Note,
    responses=errors(401, 403, 404, 503),
)
def note(body: NewNote, feed: Feed) -> Response:
    """Keep a note in the store of the runs."""
    run_dir = run_named(feed.runs_dir, body.run)
    with open_store(feed.records_url or store_url(feed.runs_dir)) as store:
        subject = subject_in(run_dir, store, body.day, body.trade)
        now_ns = feed.clock.now_ns()
        kept = keep_note(store, run_dir.name, subject, tags=body.tags, note=body.note, now_ns=now_ns)
    return as_json(kept)
