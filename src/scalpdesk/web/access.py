"""Access control of the dashboard: tokens, sessions, roles, and the checks of every request.

Three roles: ``nobody``, ``viewer`` (reads) and ``operator`` (halts, flattens, resumes). On loopback everybody
may read; elsewhere a token is needed for that, too. Changing anything always takes the operator's
token, from the page after a login or as ``Authorization: Bearer``.
"""

import os
import secrets
import stat
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from http.cookies import CookieError, SimpleCookie
from pathlib import Path

import msgspec
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scalpdesk.core.errors import ConfigError

SECRETS_FILE = "dashboard.json"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})
SESSION_SECONDS = 12 * 3_600.0
MOST_SESSIONS = 100
LOGIN_FAILURES = 5
LOGIN_SECONDS = 60.0
"""So many wrong tokens within so many seconds, and every further login is refused for a while."""
MOST_BODY_BYTES = 16 * 1024
SAFE_METHODS = frozenset({"GET", "HEAD"})
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
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

    Raises
    ------
    ConfigError
        When the file is readable by others, or is not one of ours.
    """
    path = folder / SECRETS_FILE
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
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


class Access:
    """Roles of requests, sessions of the page, and the limit on wrong tokens.

    Parameters
    ----------
    tokens
        The secrets.
    host, port
        Address that the server is bound to.
    names
        Further values of the header Host that are allowed (``desk.lan:10000``).
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        tokens: Tokens,
        *,
        host: str = "127.0.0.1",
        port: int = 10_000,
        names: tuple[str, ...] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tokens = tokens
        self._clock = clock
        self.is_loopback = host in LOOPBACK
        own = in_address(host)
        shown = {f"{name}:{port}" for name in (*LOOPBACK - {"::1"}, own)}
        shown |= {*names, *({own} if port == 80 else ())}
        self.hosts = frozenset(name.lower() for name in shown)
        self.cookie = f"scalpdesk_{port}"
        self._sessions: dict[str, tuple[Role, float]] = {}
        self._failures: deque[float] = deque(maxlen=LOGIN_FAILURES)

    def role_of(self, headers: Mapping[str, str]) -> Role:
        """Return the role of a request by its bearer token or its session."""
        bearer = headers.get("authorization", "")
        if bearer.startswith("Bearer "):
            return self._role_of_token(bearer[len("Bearer ") :])
        session = self._session_name(headers)
        if session is not None:
            role, until = self._sessions.get(_digest(session), (Role.NOBODY, 0.0))
            if role is not Role.NOBODY and self._clock() < until:
                return role
        return Role.VIEWER if self.is_loopback else Role.NOBODY

    def refusal(self, method: str, headers: Mapping[str, str]) -> Refusal | None:
        """Return why a request is refused before it reaches its route, whatever the route, or None.

        The Host must be one of ours (a foreign name that resolves here is refused), and no other site may
        read or change anything: the Origin of a change must be ours.
        """
        if headers.get("host", "").lower() not in self.hosts:
            return Refusal(421, "this name is not served here")
        if method not in SAFE_METHODS and method != "POST":
            return Refusal(405, "GET, HEAD and POST only")
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        is_ours = origin is None or origin.lower() in {f"http://{host}" for host in self.hosts}
        if not is_ours:
            return Refusal(403, "requests of other sites are refused")
        if site in {"cross-site", "same-site"} and headers.get("sec-fetch-mode") != "navigate":
            return Refusal(403, "requests of other sites are refused")
        has_bearer = headers.get("authorization", "").startswith("Bearer ")
        if method == "POST" and origin is None and not has_bearer:
            return Refusal(403, "a change needs the Origin of this page, or a token")
        return None

    def role_refusal(self, needed: Role, headers: Mapping[str, str]) -> Refusal | None:
        """Return why a request may not use a route that needs this role, or None."""
        role = self.role_of(headers)
        if needed is Role.OPERATOR and role is not Role.OPERATOR:
            return Refusal(401 if role is Role.NOBODY else 403, "this needs the operator's token")
        if needed is Role.VIEWER and role is Role.NOBODY:
            return Refusal(401, "this needs a token: log in, or send it as Authorization: Bearer")
        return None

    def log_in(self, token: str) -> tuple[Role, str] | Refusal:
        """Return the role of a token and the name of a new session, or why it is refused."""
        now = self._clock()
        if len(self._failures) == LOGIN_FAILURES and now - self._failures[0] < LOGIN_SECONDS:
            wait = int(LOGIN_SECONDS - (now - self._failures[0])) + 1
            return Refusal(429, f"too many wrong tokens: again in {wait} s", wait)
        role = self._role_of_token(token)
        if role is Role.NOBODY:
            self._failures.append(now)
            return Refusal(401, "this is not a token of this desk: scalpdesk dashboard --show-token")
        self._sessions = {name: kept for name, kept in self._sessions.items() if kept[1] > now}
        if len(self._sessions) >= MOST_SESSIONS:
            del self._sessions[min(self._sessions, key=lambda name: self._sessions[name][1])]
        session = secrets.token_urlsafe(32)
        self._sessions[_digest(session)] = (role, now + SESSION_SECONDS)
        return role, session

    def log_out(self, headers: Mapping[str, str]) -> None:
        """End the session of a request."""
        session = self._session_name(headers)
        if session is not None:
            self._sessions.pop(_digest(session), None)

    def set_cookie(self, session: str) -> str:
        """Return the header that keeps a session in the browser; an empty name removes it."""
        age = int(SESSION_SECONDS) if session else 0
        return f"{self.cookie}={session}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}"

    def _session_name(self, headers: Mapping[str, str]) -> str | None:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return None
        return None if cookie is None else cookie.value

    def _role_of_token(self, token: str) -> Role:
        given = token.encode()
        if compare_digest(given, self._tokens.operator.encode()):
            return Role.OPERATOR
        return Role.VIEWER if compare_digest(given, self._tokens.viewer.encode()) else Role.NOBODY


def in_address(host: str) -> str:
    """Return a host as it stands in an address and in the header Host.

    >>> in_address("fd00::1"), in_address("desk.lan")
    ('[fd00::1]', 'desk.lan')
    """
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _digest(session: str) -> str:
    return sha256(session.encode()).hexdigest()


class Guard:
    """Asks :class:`Access` about every request before any route, bounds its body, and adds the headers."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

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
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        headers = Headers(scope=scope)
        refused = self._access.refusal(scope["method"], headers)
        length = headers.get("content-length", "0")
        if refused is None and (not length.isdigit() or int(length) > MOST_BODY_BYTES):
            refused = Refusal(413, "the request is too long")
        if refused is None and "transfer-encoding" in headers:
            refused = Refusal(411, "a request says how long it is")
        if refused is not None:
            await _answer(send_guarded, refused)
            return
        await self._app(scope, receive, send_guarded)


async def _answer(send: Send, refused: Refusal) -> None:
    body = msgspec.json.encode({"error": refused.why})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
