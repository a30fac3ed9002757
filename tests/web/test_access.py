"""The dashboard's access rules: every role, route, method, origin and host."""

import stat
from itertools import product

import pytest

from scalpdesk.core.clock import SystemClock
from scalpdesk.core.errors import ConfigError
from scalpdesk.web.access import (
    MOST_SOURCES,
    SESSION_SECONDS,
    WRONG_TOKEN_SECONDS,
    WRONG_TOKENS,
    Access,
    Refusal,
    Role,
    Tokens,
    WrongTokens,
    load_tokens,
    role_refusal,
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
    if origin not in {None, f"http://{host}"}:  # another address of ours is another page
        return 403
    return 403 if method == "POST" and origin is None and role == "nothing" else None


def test_every_cell_of_the_matrix_of_what_is_refused_before_the_routes():
    access = Access(TOKENS)
    methods = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
    for cell in product(methods, ROLES, ORIGINS, HOSTS):
        method, *sent = cell
        refused = access.refusal(method, headers(*sent))
        assert (None if refused is None else refused.status) == expected(*cell), cell


OPEN = {
    "/",
    "/journal",
    "/static/{name:path}",
    "/healthz",
    "/login",
    "/logout",
    *(f"/{name}" for name in PAGES[1:]),
}
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


TLS = "https://desk.example.com"
PROXIED = {"origins": (TLS,), "proxies": ("127.0.0.1", "10.1.0.0/16", "fd00:1::/32")}


@pytest.mark.parametrize("host", ["desk.example.com:8443", "desk.example.com"])
def test_a_proxy_passes_the_name_on_with_its_port_or_without(host):
    access = Access(TOKENS, origins=("https://desk.example.com:8443",))
    assert access.refusal("POST", headers(host=host, origin="https://desk.example.com:8443")) is None
    assert access.refusal("POST", headers(host=host, origin="https://desk.example.com")).status == 403
    six = Access(TOKENS, origins=("https://[fd00::1]:8443",))
    assert six.refusal("GET", headers(host="[fd00::1]")) is None


@pytest.mark.parametrize("host", ["desk.example.com", "localhost:10000", "DESK.example.com"])
def test_a_page_behind_a_tls_proxy_may_change_things_whatever_host_the_proxy_names(host):
    access = Access(TOKENS, **PROXIED)
    assert access.refusal("POST", headers(host=host, origin=TLS)) is None
    assert Access(TOKENS).refusal("POST", headers(origin=TLS)).status == 403
    # the same name without TLS, a port beside it, a name that begins like it
    for other in ("http://desk.example.com", f"{TLS}:444", f"{TLS}.evil.example", "https://localhost:10000"):
        assert access.refusal("POST", headers(host=host, origin=other)).status == 403, other


def test_whoever_comes_through_a_proxy_needs_a_token_to_read():
    """The proxy on this machine makes a stranger's request one of loopback."""
    plain = headers()
    assert Access(TOKENS).role_of(plain, "127.0.0.1") is Role.VIEWER
    assert Access(TOKENS, **PROXIED).role_of(plain, "127.0.0.1") is Role.NOBODY
    assert Access(TOKENS, reads_freely=False).role_of(plain, "127.0.0.1") is Role.NOBODY
    for name in ("x-forwarded-for", "forwarded", "x-real-ip", "via"):  # a proxy that no setting names
        assert Access(TOKENS).role_of(headers(**{name: "192.0.2.9"}), "127.0.0.1") is Role.NOBODY
    assert Access(TOKENS, **PROXIED).role_of(headers("viewer"), "127.0.0.1") is Role.VIEWER


def cookie_of(access, session, **sent):
    """Return the Cookie header that a browser sends back."""
    return headers(cookie=access.set_cookie(session, headers(**sent)).split(";")[0])


def test_login_makes_a_session_that_ends():
    clock = Clock()
    access = Access(TOKENS, clock=clock)
    role, session = access.log_in("operator-token", "a")
    assert role is Role.OPERATOR
    cookie = access.set_cookie(session, headers(origin="http://localhost:10000"))
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} < set(cookie.split("; "))
    assert "Secure" not in cookie  # a browser would send it back to no http page
    mine = cookie_of(access, session)
    assert access.role_of(mine, "b") is Role.OPERATOR
    clock.now = SESSION_SECONDS - 1
    assert access.role_of(mine, "b") is Role.OPERATOR
    clock.now = SESSION_SECONDS
    assert access.role_of(mine, "b") is Role.VIEWER
    role, session = access.log_in("viewer-token", "a")
    assert role_refusal(Role.OPERATOR, access.role_of(cookie_of(access, session), "a")).status == 403
    elsewhere = Access(TOKENS, host="0.0.0.0")
    _, session = elsewhere.log_in("operator-token", "a")
    mine = cookie_of(elsewhere, session)
    elsewhere.log_out(mine)
    assert elsewhere.role_of(mine, "a") is Role.NOBODY


def test_the_cookie_of_a_page_over_tls_is_sent_back_over_tls_alone():
    access = Access(TOKENS, **PROXIED)
    for name in ("name", ""):
        assert "Secure" in access.set_cookie(name, headers(origin=TLS)).split("; ")


@pytest.mark.parametrize("how", ["login", "bearer"])
def test_a_source_of_wrong_tokens_waits_with_further_wrong_ones_and_the_right_one_always_counts(how):
    clock = Clock()
    access = Access(TOKENS, clock=clock)

    def tried(token, source):
        if how == "login":
            found = access.log_in(token, source)
            return found if isinstance(found, Refusal) else found[0]
        return access.role_of(headers(authorization=f"Bearer {token}"), source)

    session = cookie_of(access, access.log_in("operator-token", "guesser")[1])
    for _ in range(WRONG_TOKENS):
        found = tried("guess", "guesser")
        assert found is Role.NOBODY or found.status == 401
    refused = tried("another guess", "guesser")
    assert (refused.status, refused.retry_seconds) == (429, int(WRONG_TOKEN_SECONDS) + 1)
    assert [tried(f"{role}-token", "guesser") for role in ("operator", "viewer")] == [
        Role.OPERATOR,
        Role.VIEWER,
    ]
    assert access.role_of(session, "guesser") is Role.OPERATOR  # who is logged in stays so
    clock.now = WRONG_TOKEN_SECONDS
    found = tried("guess", "guesser")
    assert found is Role.NOBODY or found.status == 401


def test_wrong_logins_and_wrong_bearers_count_together():
    access = Access(TOKENS, clock=Clock())
    for number in range(WRONG_TOKENS):
        if number % 2:
            access.log_in("guess", "a")
        else:
            access.role_of(headers(authorization="Bearer guess"), "a")
    assert access.log_in("guess", "a").status == 429
    assert access.role_of(headers(authorization="Bearer guess"), "a").status == 429


@pytest.mark.parametrize(
    ("peer", "written", "source"),
    [
        ("192.0.2.1", [], "192.0.2.1/32"),
        ("192.0.2.1", ["198.51.100.9"], "192.0.2.1/32"),  # no proxy of ours: what it writes is not believed
        ("127.0.0.1", ["198.51.100.9"], "198.51.100.9/32"),
        ("127.0.0.1", ["203.0.113.5, 198.51.100.9"], "198.51.100.9/32"),  # the visitor wrote the first one
        ("127.0.0.1", ["203.0.113.5", "198.51.100.9"], "198.51.100.9/32"),  # on a line of its own
        ("127.0.0.1", ["198.51.100.9, 10.1.2.3"], "198.51.100.9/32"),  # through two proxies of ours
        ("127.0.0.1", ["198.51.100.9:4711"], "198.51.100.9/32"),
        ("127.0.0.1", ["[2001:db8:5::1]:443"], "2001:db8:5::/64"),
        ("127.0.0.1", ["2001:db8:5:0:ffff::2"], "2001:db8:5::/64"),  # one subscriber, many addresses
        ("127.0.0.1", ["::ffff:198.51.100.9"], "198.51.100.9/32"),
        ("::ffff:127.0.0.1", ["198.51.100.9"], "198.51.100.9/32"),  # a server on both kinds of address
        ("fd00:1::7", ["198.51.100.9"], "198.51.100.9/32"),
        ("127.0.0.1", ["unknown"], "127.0.0.1/32"),
        ("127.0.0.1", ["198.51.100.9, unknown"], "127.0.0.1/32"),
        ("127.0.0.1", [""], "127.0.0.1/32"),
        ("127.0.0.1", ["10.1.0.1, 10.1.0.2"], "10.1.0.1/32"),
        ("testclient", ["198.51.100.9"], "testclient"),
    ],
)
def test_whose_request_it_is_only_a_trusted_proxy_says(peer, written, source):
    assert Access(TOKENS, **PROXIED).source_of(peer, written) == source
    untrusting = Access(TOKENS, origins=(TLS,)).source_of(peer, written)
    assert untrusting == Access(TOKENS).source_of(peer, [])


def test_so_many_sources_are_remembered_and_no_more():
    wrong = WrongTokens()
    for number in range(MOST_SOURCES + 1):
        for _ in range(WRONG_TOKENS):
            wrong.add(f"source {number}", 0.0)
    waits = [wrong.refusal(f"source {number}", 1.0) is not None for number in range(MOST_SOURCES + 1)]
    assert waits == [False] + [True] * MOST_SOURCES


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
