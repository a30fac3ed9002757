"""Who may do what: every role, route, method, origin and host."""

import stat
from itertools import product

import pytest

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

TOKENS = Tokens("operator-token", "viewer-token")
PATHS = ("/", "/orders", "/api/desk", "/api/events", "/metrics", "/openapi.json", "/healthz", "/login")
CHANGES = (
    "/api/commands/halt",
    "/api/commands/flatten",
    "/api/commands/resume",
    "/api/alerts/acknowledge",
)
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


def expected(method, path, role, origin, host, *, loopback):
    """The matrix in words: host first, then origin, then the role."""
    if host not in {"localhost:10000", "127.0.0.1:10000", "[::1]:10000"}:
        return 421
    if method not in {"GET", "HEAD", "POST"}:
        return 405
    if origin not in {None, "http://localhost:10000"}:
        return 403
    if method == "POST":
        if origin is None and role == "nothing":
            return 403
        if path in {"/healthz", "/login"} or role == "operator":
            return None
        return 403 if loopback or role == "viewer" else 401
    if loopback or role != "nothing" or path in {"/", "/orders", "/healthz", "/login"}:
        return None
    return 401


@pytest.mark.parametrize("loopback", [True, False])
def test_every_cell_of_the_route_matrix(loopback):
    access = Access(TOKENS, host="127.0.0.1" if loopback else "0.0.0.0")
    cells = 0
    for method, role, origin, host in product(
        ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"), ROLES, ORIGINS, HOSTS
    ):
        for path in (*PATHS, *CHANGES) if method == "POST" else PATHS:
            refused = access.refusal(method, path, headers(role, origin, host))
            found = None if refused is None else refused.status
            cell = (method, path, role, origin, host)
            assert found == expected(*cell, loopback=loopback), cell
            cells += 1
    assert cells == 90 * (5 * len(PATHS) + len(PATHS) + len(CHANGES))


def test_script_of_another_site_is_refused_and_a_link_from_there_is_not():
    access = Access(TOKENS)
    across = {"sec-fetch-site": "cross-site"}
    for mode in ("cors", "no-cors", "same-origin"):
        script = headers(**across, **{"sec-fetch-mode": mode})
        assert access.refusal("GET", "/api/desk", script).status == 403
    assert access.refusal("GET", "/", headers(**across, **{"sec-fetch-mode": "navigate"})) is None


def test_further_name_is_served_only_when_allowed():
    named = headers(host="desk.lan:10000")
    assert Access(TOKENS).refusal("GET", "/", named).status == 421
    assert Access(TOKENS, names=("desk.lan:10000",)).refusal("GET", "/", named) is None


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
    assert access.refusal("GET", "/", headers(host=sent)) is None
    assert access.refusal("POST", "/login", headers(host=sent, origin=f"http://{sent}")) is None


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
    assert access.refusal("POST", "/api/commands/halt", mine) is None
    clock.now = SESSION_SECONDS - 1
    assert access.role_of(mine) is Role.OPERATOR
    clock.now = SESSION_SECONDS
    assert access.role_of(mine) is Role.VIEWER
    role, session = access.log_in("viewer-token")
    mine = headers(origin="http://localhost:10000", cookie=access.set_cookie(session).split(";")[0])
    assert access.refusal("POST", "/api/commands/halt", mine).status == 403
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
