"""The dashboard's access rules: every role, route, method, origin and host."""

import stat
from itertools import product

import pytest

from scalpdesk.core.clock import SystemClock
from scalpdesk.core.errors import ConfigError
from scalpdesk.web.access import (
    LOGIN_FAILURES,
    LOGIN_SECONDS,
    SESSION_SECONDS,
    Access,
    Refusal,
    Role,
    Tokens,
    load_tokens,
)
from scalpdesk.web.feed import DeskFeed
from scalpdesk.web.routes import commands, desk, pages, records, server, session
from scalpdesk.web.routes.pages import PAGES

TOKENS = Tokens("operator-token", "viewer-token")
ROUTES = {
    route.path: route.methods
    for subject in (pages, desk, records, server, commands, session)
    for route in subject.router.routes
}
ROLES = ("nothing", "viewer", "operator")
ORIGINS = (None, "http://localhost:10000", "http://evil.example", "http://localhost:3000", "null")
HOSTS = ("localhost:10000", "127.0.0.1:10000", "[::1]:10000", "evil.example:10000", "localhost:3000", "")


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def headers(role="nothing", origin=None, host="localhost:10000", **more):
    found = {"host": host, **more}
    if role != "nothing":
        found["authorization"] = f"Bearer {role}-token"
    if origin is not None:
        found["origin"] = origin
    return found


def expected(method, role, origin, host):
    """Return the status of a refusal before the routes: by host, then by method, then by origin."""
    if host not in {"localhost:10000", "127.0.0.1:10000", "[::1]:10000"}:
        return 421
    if method not in {"GET", "HEAD", "POST"}:
        return 405
    if origin not in {None, "http://localhost:10000"}:
        return 403
    return 403 if method == "POST" and origin is None and role == "nothing" else None


def test_every_cell_of_the_matrix_of_what_is_refused_before_the_routes():
    access = Access(TOKENS)
    methods = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
    for cell in product(methods, ROLES, ORIGINS, HOSTS):
        method, *sent = cell
        refused = access.refusal(method, headers(*sent))
        assert (None if refused is None else refused.status) == expected(*cell), cell


OPEN = {"/", "/static/{name:path}", "/healthz", "/login", "/logout", *(f"/{name}" for name in PAGES[1:])}
"""Routes that need no role: frames without a figure, the state of the process, and how to get a role."""


@pytest.mark.parametrize("loopback", [True, False])
@pytest.mark.parametrize("role", ROLES)
def test_every_route_of_the_application_asks_for_its_role(client_of, tmp_path, role, loopback):
    client = client_of(DeskFeed(tmp_path, None, SystemClock()), host="127.0.0.1" if loopback else "0.0.0.0")
    sent = headers(role, origin="http://localhost:10000")
    routes = [(path, method) for path, methods in ROUTES.items() for method in methods]
    assert {path for path, _ in routes} > OPEN
    for path, method in routes:
        if path == "/api/events" and (role != "nothing" or loopback):
            continue  # it goes on
        answer = client.request(method, path.replace("{", "").replace("}", ""), json={}, headers=sent)
        if path in OPEN or role == "operator":
            wanted = False
        elif method == "POST":
            wanted = 403 if loopback or role == "viewer" else 401
        else:
            wanted = 401 if not loopback and role == "nothing" else False
        assert (answer.status_code if answer.status_code in {401, 403} else False) == wanted, (path, method)


def test_a_role_is_asked_for_before_a_body_is_read(client_of, held_feed):
    answer = client_of(held_feed, host="0.0.0.0").post(
        "/api/commands/halt", content=b"{", headers=headers(origin="http://localhost:10000")
    )
    assert answer.status_code == 401


def test_script_of_another_site_is_refused_and_a_link_from_there_is_not():
    access = Access(TOKENS)
    across = {"sec-fetch-site": "cross-site"}
    for mode in ("cors", "no-cors", "same-origin"):
        script = headers(**across, **{"sec-fetch-mode": mode})
        assert access.refusal("GET", script).status == 403
    assert access.refusal("GET", headers(**across, **{"sec-fetch-mode": "navigate"})) is None


def test_further_name_is_served_only_when_allowed():
    named = headers(host="desk.lan:10000")
    assert Access(TOKENS).refusal("GET", named).status == 421
    assert Access(TOKENS, names=("desk.lan:10000",)).refusal("GET", named) is None


@pytest.mark.parametrize(
    ("host", "names", "sent"),
    [
        ("fd00::1", (), "[fd00::1]:10000"),
        ("FD00::1", (), "[fd00::1]:10000"),
        ("0.0.0.0", ("Desk.LAN:10000",), "desk.lan:10000"),
    ],
)
def test_a_name_is_served_as_browsers_send_it(host, names, sent):
    access = Access(TOKENS, host=host, names=names)
    assert access.refusal("GET", headers(host=sent)) is None
    assert access.refusal("POST", headers(host=sent, origin=f"http://{sent}")) is None


def test_login_makes_a_session_that_ends():
    clock = Clock()
    access = Access(TOKENS, clock=clock)
    role, session = access.log_in("operator-token")
    assert role is Role.OPERATOR
    cookie = access.set_cookie(session)
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    mine = headers(origin="http://localhost:10000", cookie=cookie.split(";")[0])
    assert access.role_of(mine) is Role.OPERATOR
    assert access.role_refusal(Role.OPERATOR, mine) is None
    clock.now = SESSION_SECONDS - 1
    assert access.role_of(mine) is Role.OPERATOR
    clock.now = SESSION_SECONDS
    assert access.role_of(mine) is Role.VIEWER
    role, session = access.log_in("viewer-token")
    mine = headers(origin="http://localhost:10000", cookie=access.set_cookie(session).split(";")[0])
    assert access.role_refusal(Role.OPERATOR, mine).status == 403
    access.log_out(mine)
    assert Access(TOKENS, host="0.0.0.0").role_of(mine) is Role.NOBODY


def test_wrong_tokens_are_counted_and_then_every_login_waits():
    clock = Clock()
    access = Access(TOKENS, clock=clock)
    for _ in range(LOGIN_FAILURES):
        assert access.log_in("guess").status == 401
    refused = access.log_in("operator-token")  # the right one waits as well: nothing is learnt
    assert isinstance(refused, Refusal)
    assert (refused.status, refused.retry_seconds) == (429, int(LOGIN_SECONDS) + 1)
    clock.now = LOGIN_SECONDS
    assert access.log_in("operator-token")[0] is Role.OPERATOR


def test_tokens_are_made_once_for_their_owner_alone(tmp_path):
    first = load_tokens(tmp_path / "state")
    path = tmp_path / "state" / "dashboard.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_tokens(tmp_path / "state") == first
    assert len({first.operator, first.viewer, load_tokens(tmp_path / "other").operator}) == 3
    assert first.operator not in repr(first)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="read by others"):
        load_tokens(tmp_path / "state")
    path.chmod(0o600)
    path.write_text("{}")
    with pytest.raises(ConfigError, match="not a file of dashboard tokens"):
        load_tokens(tmp_path / "state")
