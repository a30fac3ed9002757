"""Access control of the dashboard: tokens, sessions, roles, and the checks of every request.

Three roles: ``nobody``, ``viewer`` (reads) and ``operator`` (halts, flattens, resumes). On loopback everybody
may read; elsewhere, and through a proxy, a token is needed for that, too. Changing anything always takes the
operator's token, from the page after a login or as ``Authorization: Bearer``.
"""

import os
import secrets
import stat
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from http.cookies import CookieError, SimpleCookie
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scalpdesk.core.errors import ConfigError
from scalpdesk.core.owner_only import own_folder

_SECRETS_FILE = "dashboard.json"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})
SESSION_SECONDS = 12 * 3_600.0
_MOST_SESSIONS = 100
WRONG_TOKENS = 5
WRONG_TOKEN_SECONDS = 60.0
"""So many wrong tokens of a source within so many seconds, and its further wrong ones wait unjudged."""
MOST_SOURCES = 10_000
"""Sources of wrong tokens that are remembered; of more, the one that was wrong longest ago is forgotten."""
_NETWORK_BITS = 64
"""Addresses of IPv6 that count as one source: a subscriber is given at least so many."""
_FORWARDED = ("x-forwarded-for", "forwarded", "x-real-ip", "via")
"""Headers of requests that came through a proxy."""
MOST_READS = 12
"""Documents that are made at a time for requests of one role: each takes a thread of the server."""
READ_AGAIN_SECONDS = 1
_UNCOUNTED = frozenset({"/api/events"})
"""Reads that take no thread."""
_MOST_BODY_BYTES = 16 * 1024
_SAFE_METHODS = frozenset({"GET", "HEAD"})
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Role(StrEnum):
    """Role of a request."""

    NOBODY = "nobody"
    VIEWER = "viewer"
    OPERATOR = "operator"


class Tokens(msgspec.Struct, frozen=True):
    """The secrets of a dashboard; the file that holds them is its owner's only."""

    operator: str
    viewer: str

    def __repr__(self) -> str:
        return "Tokens(…)"


def load_tokens(folder: Path) -> Tokens:
    """Return the tokens in a folder; made at the first start.

    Raises ConfigError when the file is readable by others, or its folder writable, or is not one of ours.
    """
    path = own_folder(folder, "the folder of the dashboard's tokens") / _SECRETS_FILE
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return _read_tokens(path)
    tokens = Tokens(secrets.token_urlsafe(24), secrets.token_urlsafe(24))
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(tokens))
    return tokens


def _read_tokens(path: Path) -> Tokens:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise ConfigError(
            "the dashboard's tokens can be read by others",
            where=str(path),
            value=f"{mode:04o}",
            fix=f"rm {path}; the next start makes new tokens",
        )
    try:
        return msgspec.json.decode(path.read_bytes(), type=Tokens)
    except msgspec.MsgspecError as error:
        raise ConfigError(
            "this is not a file of dashboard tokens", where=str(path), fix=f"rm {path}"
        ) from error


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused."""

    status: int
    why: str
    retry_seconds: int = 0


class WrongTokens:
    """Counts wrong tokens by source, and makes a source with many of them wait."""

    def __init__(self) -> None:
        self._wrong: dict[str, deque[float]] = {}
        """When, in monotonic seconds; the source that was wrong last at the end."""

    def refusal(self, source: str, now: float) -> Refusal | None:
        """Return why no wrong token of a source is counted now, or None."""
        wrong = self._wrong.get(source)
        if wrong is None or len(wrong) < WRONG_TOKENS or now - wrong[0] >= WRONG_TOKEN_SECONDS:
            return None
        wait = int(WRONG_TOKEN_SECONDS - (now - wrong[0])) + 1
        return Refusal(429, f"too many wrong tokens: again in {wait} s", wait)

    def add(self, source: str, now: float) -> None:
        """Count a wrong token."""
        wrong = self._wrong.pop(source, None)
        self._wrong[source] = deque(maxlen=WRONG_TOKENS) if wrong is None else wrong
        self._wrong[source].append(now)
        if len(self._wrong) > MOST_SOURCES:
            del self._wrong[next(iter(self._wrong))]


class Access:
    """Roles of requests, sessions of the page, and the limit on wrong tokens.

    ``tokens``: The secrets.
    ``host``, ``port``: Address that the server is bound to.
    ``names``: Further values of the header Host that are allowed (``desk.lan:10000``).
    ``origins``: Addresses of the page behind a proxy, with their scheme (``https://desk.example.com``).
    ``proxies``: Addresses or networks of proxies whose X-Forwarded-For is believed.
    ``reads_freely``: Whether anybody on this machine may read without a token; with ``origins`` it always
    takes one, because a proxy's requests come from this machine, too.
    ``clock``: Monotonic seconds.
    """

    def __init__(
        self,
        tokens: Tokens,
        *,
        host: str = "127.0.0.1",
        port: int = 10_000,
        names: tuple[str, ...] = (),
        origins: tuple[str, ...] = (),
        proxies: tuple[str, ...] = (),
        reads_freely: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tokens = tokens
        self._clock = clock
        self._reads_freely = reads_freely and host in _LOOPBACK and not origins
        own = in_address(host)
        shown = {f"{name}:{port}" for name in (*_LOOPBACK - {"::1"}, own)}
        shown |= {*names, *({own} if port == 80 else ())}
        self._direct = frozenset(name.lower() for name in shown)
        self._origins = frozenset(origin.lower() for origin in origins)
        parts = [urlsplit(origin) for origin in self._origins]
        # proxies pass the name on with its port or, as nginx's $host, without
        self.hosts = self._direct | {
            name for each in parts for name in (each.netloc, in_address(each.hostname or ""))
        }
        self._proxies = tuple(ip_network(proxy, strict=False) for proxy in proxies)
        self.cookie = f"scalpdesk_{port}"
        self._sessions: dict[str, tuple[Role, float]] = {}
        self._wrong_tokens = WrongTokens()

    def source_of(self, peer: str, forwarded_for: Sequence[str]) -> str:
        """Return whose request it is, for the limit on wrong tokens: an address, or a network of IPv6.

        Each proxy adds an address at the end of X-Forwarded-For; only a trusted proxy's is believed.
        """
        address = _address(peer)
        for text in reversed(",".join(forwarded_for).split(",")):
            if address is None or not any(address in network for network in self._proxies):
                break
            before = _address(text)
            if before is None:
                break
            address = before
        if address is None:
            return peer
        return str(ip_network((address, _NETWORK_BITS if address.version == 6 else 32), strict=False))

    def role_of(self, headers: Mapping[str, str], source: str) -> Role | Refusal:
        """Return the role of a request by its token or session; a refusal of one wrong token too many."""
        bearer = headers.get("authorization", "")
        if bearer.startswith("Bearer "):
            return self._judged(bearer[len("Bearer ") :], source)
        session = self._session_name(headers)
        if session is not None:
            role, until = self._sessions.get(_digest(session), (Role.NOBODY, 0.0))
            if role is not Role.NOBODY and self._clock() < until:
                return role
        is_local = self._reads_freely and not any(name in headers for name in _FORWARDED)
        return Role.VIEWER if is_local else Role.NOBODY

    def refusal(self, method: str, headers: Mapping[str, str]) -> Refusal | None:
        """Return why a request is refused before it reaches its route, whatever the route, or None.

        The Host must be one of ours (a foreign name that resolves here is refused), and no other site may
        read or change anything: the Origin of a change must be ours.
        """
        host = headers.get("host", "").lower()
        if host not in self.hosts:
            return Refusal(421, "this name is not served here: dashboard.origins allows one")
        if method not in _SAFE_METHODS and method != "POST":
            return Refusal(405, "GET, HEAD and POST only")
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        is_ours = host in self._direct and (origin or "").lower() == f"http://{host}"
        if origin is not None and origin.lower() not in self._origins and not is_ours:
            return Refusal(403, "requests of other sites are refused: dashboard.origins allows one")
        if site in {"cross-site", "same-site"} and headers.get("sec-fetch-mode") != "navigate":
            return Refusal(403, "requests of other sites are refused")
        has_bearer = headers.get("authorization", "").startswith("Bearer ")
        if method == "POST" and origin is None and not has_bearer:
            return Refusal(403, "a change needs the Origin of this page, or a token")
        return None

    def log_in(self, token: str, source: str) -> tuple[Role, str] | Refusal:
        """Return the role of a token and the name of a new session, or why it is refused."""
        now, role = self._clock(), self._judged(token, source)
        if isinstance(role, Refusal):
            return role
        if role is Role.NOBODY:
            return Refusal(401, "this is not a token of this desk: scalpdesk dashboard --show-token")
        self._sessions = {name: kept for name, kept in self._sessions.items() if kept[1] > now}
        if len(self._sessions) >= _MOST_SESSIONS:
            del self._sessions[min(self._sessions, key=lambda name: self._sessions[name][1])]
        session = secrets.token_urlsafe(32)
        self._sessions[_digest(session)] = (role, now + SESSION_SECONDS)
        return role, session

    def log_out(self, headers: Mapping[str, str]) -> None:
        """End the session of a request."""
        session = self._session_name(headers)
        if session is not None:
            self._sessions.pop(_digest(session), None)

    def set_cookie(self, session: str, headers: Mapping[str, str]) -> str:
        """Return the header that keeps a session in the browser; an empty name removes it.

        To a page that came over TLS the browser sends it back over TLS alone.
        """
        age = int(SESSION_SECONDS) if session else 0
        secure = "; Secure" if headers.get("origin", "").lower().startswith("https://") else ""
        return f"{self.cookie}={session}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}"

    def _session_name(self, headers: Mapping[str, str]) -> str | None:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return None
        return None if cookie is None else cookie.value

    def _judged(self, token: str, source: str) -> Role | Refusal:
        """Return a token's role; a wrong one counts against its source, which may have to wait.

        The right one is taken at any time: all programs of a machine are one source, and a token is too long
        to be guessed.
        """
        given = token.encode()
        if compare_digest(given, self._tokens.operator.encode()):
            return Role.OPERATOR
        if compare_digest(given, self._tokens.viewer.encode()):
            return Role.VIEWER
        now = self._clock()
        if (refused := self._wrong_tokens.refusal(source, now)) is not None:
            return refused
        self._wrong_tokens.add(source, now)
        return Role.NOBODY


def role_refusal(needed: Role, role: Role) -> Refusal | None:
    """Return why a request of a role may not use a route that needs another one, or None."""
    if needed is Role.OPERATOR and role is not Role.OPERATOR:
        return Refusal(401 if role is Role.NOBODY else 403, "this needs the operator's token")
    if needed is Role.VIEWER and role is Role.NOBODY:
        return Refusal(401, "this needs a token: log in, or send it as Authorization: Bearer")
    return None


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address as proxies write it, with a port or without; None for any other text.

    >>> _address("[fd00::1]:443"), _address(" 192.0.2.7:5000"), _address("::ffff:192.0.2.7")
    (IPv6Address('fd00::1'), IPv4Address('192.0.2.7'), IPv4Address('192.0.2.7'))
    """
    bare = text.strip()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        found = ip_address(bare)
    except ValueError:
        return None
    return (found.version == 6 and found.ipv4_mapped) or found


def in_address(host: str) -> str:
    """Return a host as it stands in an address and in the header Host.

    >>> in_address("fd00::1"), in_address("desk.lan")
    ('[fd00::1]', 'desk.lan')
    """
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _digest(session: str) -> str:
    return sha256(session.encode()).hexdigest()


class Guard:
    """Asks :class:`Access` about every request before any route, bounds its body, and adds the headers.

    A route finds ``role`` and ``source`` in the state of its request. Reads of a role beyond
    :data:`MOST_READS` at a time are refused: they would take the threads that others need.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access
        self._reads: Counter[Role] = Counter()
        """Documents that are being made, by the role that asked."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; websockets are refused altogether."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = message.get("headers", ())
                names = {name for name, _ in own}  # a tear sheet brings a policy for its own scripts
                message["headers"] = [*own, *(each for each in _HEADERS if each[0] not in names)]
            await send(message)

        headers = Headers(scope=scope)
        refused = self._access.refusal(scope["method"], headers)
        length = headers.get("content-length", "0")
        if refused is None and (not length.isdigit() or int(length) > _MOST_BODY_BYTES):
            refused = Refusal(413, "the request is too long")
        if refused is None and "transfer-encoding" in headers:
            refused = Refusal(411, "a request says how long it is")
        peer = scope.get("client") or ("",)
        source = self._access.source_of(peer[0], headers.getlist("x-forwarded-for"))
        role = self._access.role_of(headers, source) if refused is None else refused
        if isinstance(role, Refusal):
            await _answer(send_guarded, role)
            return
        scope["state"] = {**scope.get("state", {}), "role": role, "source": source}
        path = scope["path"]
        is_counted = scope["method"] in _SAFE_METHODS and path not in _UNCOUNTED and path.startswith("/api/")
        if is_counted and self._reads[role] >= MOST_READS:
            busy = Refusal(503, "too many documents are being made: ask again", READ_AGAIN_SECONDS)
            await _answer(send_guarded, busy)
            return
        self._reads[role] += is_counted
        try:
            await self._app(scope, receive, send_guarded)
        finally:
            self._reads[role] -= is_counted


async def _answer(send: Send, refused: Refusal) -> None:
    body = msgspec.json.encode({"error": refused.why})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refused.retry_seconds:
        headers.append((b"retry-after", str(refused.retry_seconds).encode()))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
