"""The pages and their files; without a role a page is a frame without a figure."""

import html
from functools import cache, partial

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from scalpdesk.monitor import documents
from scalpdesk.web.access import Role
from scalpdesk.web.answering import Feed, as_json, needs
from scalpdesk.web.feed import empty_head
from scalpdesk.web.static_files import CHART_FILES, chart_file, static_file

PAGES = ("desk", "position", "orders", "why", "volatility", "scalps", "runs", "system", "diary", "today")
router = APIRouter(include_in_schema=False)
own_files = StaticFiles(packages=[("scalpdesk.web", "static")])

_chart_file = cache(chart_file)
_template = cache(static_file)


@router.get("/static/{name:path}")
async def static_content(name: str, request: Request) -> Response:
    """Return a file of the chart library or one of our own, which a browser asks about each time."""
    if name in CHART_FILES and (content := _chart_file(name)) is not None:
        kind = "text/css" if name.endswith(".css") else "text/javascript"
        answer = Response(content, media_type=kind)
    elif name in CHART_FILES or name.endswith(".html"):  # templates
        return as_json({"error": "there is no such file"}, 404)
    else:
        answer = await own_files.get_response(name, request.scope)
    answer.headers["cache-control"] = "no-cache"
    return answer


def _page(name: str, request: Request, feed: Feed) -> HTMLResponse:
    # the account stands in the markup itself: whatever fails in a script, it is never another one
    role, head = request.state.role, None
    if role is not Role.NOBODY:
        head = feed.read(lambda follower: documents.run_head(follower, is_running=feed.is_running))
    head = head or empty_head()
    account = head["account"]
    values = {
        "page": name,
        "kind": account["kind"],
        "label": account["label"],
        "title": f"{'LIVE ' if account['kind'] == 'LIVE' else ''}scalpdesk",
        "role": role.value,
        "state": head["state"],
        "charts": "no" if _chart_file("uplot.js") is None else "yes",
    }
    text = _template("index.html").decode()
    for key, value in values.items():
        text = text.replace("{{" + key + "}}", html.escape(value))
    return HTMLResponse(text, headers={"cache-control": "no-store"})


for _name in PAGES:
    router.get("/" if _name == "desk" else f"/{_name}")(partial(_page, _name))
router.get("/journal")(partial(_page, "diary"))  # its former name


@router.get("/api/docs", dependencies=[needs(Role.VIEWER)])
def api_docs() -> HTMLResponse:
    """Return the page that lists the API."""
    return HTMLResponse(_template("docs.html"))


@router.get("/openapi.json", dependencies=[needs(Role.VIEWER)])
def openapi(request: Request) -> Response:
    """Return the description of the API."""
    return as_json(request.app.openapi())
