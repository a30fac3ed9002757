"""The page behind a proxy that ends TLS, over sockets: the program, a proxy as nginx is set up, a client."""

import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scalpdesk.core.owner_only import state_dir
from scalpdesk.web.access import WRONG_TOKENS, load_tokens

pytestmark = pytest.mark.enable_socket


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A file with a key and a certificate of its own signature for localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


class Forwarding(BaseHTTPRequestHandler):
    """Hands a request on as nginx does, with the visitor's address behind those that came with it."""

    upstream = 0
    keeps_host = True

    def handle_one(self):
        length = int(self.headers.get("content-length", 0))
        sent = dict(self.headers.items())
        if not self.keeps_host:  # nginx without proxy_set_header Host
            sent["Host"] = f"127.0.0.1:{self.upstream}"
        came = self.headers.get_all("x-forwarded-for") or []
        sent["X-Forwarded-For"] = ", ".join([*came, self.client_address[0]])
        onward = HTTPConnection("127.0.0.1", self.upstream)
        onward.request(self.command, self.path, self.rfile.read(length), sent)
        answer = onward.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for word, value in answer.getheaders():
            if word not in {"transfer-encoding", "connection"}:
                self.send_header(word, value)
        self.end_headers()
        self.wfile.write(body)
        onward.close()

    do_GET = do_POST = handle_one  # noqa: N815 - the names that the server calls

    def log_message(self, *_words):
        pass


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(True, id="Host kept", marks=pytest.mark.second),
        pytest.param(False, id="Host changed"),
    ],
)
def visit(request, certificate, held_runs) -> Iterator:
    """Return a function that sends a request through the proxy, from an address of loopback."""
    handler = type("Handler", (Forwarding,), {"keeps_host": request.param})
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    proxy.socket = context.wrap_socket(proxy.socket, server_side=True)
    origin = f"https://localhost:{proxy.server_port}"
    words = ["dashboard", "--port", "0", "--runs-dir", str(held_runs), "--json", "--origin", origin]
    server = subprocess.Popen(
        [sys.executable, "-m", "scalpdesk", *words],
        stdout=subprocess.PIPE,
        env=os.environ | {"SCALPDESK_DASHBOARD__PROXIES": "127.0.0.1"},
    )
    told = json.loads("".join(line.decode() for line in iter(server.stdout.readline, b"}\n")) + "}")
    handler.upstream = int(told["url"].rstrip("/").rpartition(":")[2])
    thread = threading.Thread(target=proxy.serve_forever)
    thread.start()
    trusting = ssl.create_default_context(cafile=certificate)

    def send(path, body=None, address="127.0.0.1", origin=origin, **headers):
        line = HTTPSConnection(
            "localhost", proxy.server_port, context=trusting, source_address=(address, 0), timeout=60
        )
        sent = headers | ({} if body is None else {"content-type": "application/json", "origin": origin})
        line.request("GET" if body is None else "POST", path, json.dumps(body) if body else None, sent)
        answer = line.getresponse()
        found = answer.status, json.loads(answer.read()), answer.headers
        line.close()
        return found

    token = load_tokens(state_dir(os.environ)).operator
    try:
        yield send, token
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(30)
        server.stdout.close()


HALT = {"key": "key-00001", "reason": "test"}


def test_a_visitor_logs_in_and_operates_over_tls_and_reads_nothing_before(visit):
    send, token = visit
    assert send("/api/orders")[0] == 401
    assert send("/login", {"token": token}, origin="http://localhost")[0] == 403
    status, answer, headers = send("/login", {"token": token})
    assert (status, answer) == (200, {"role": "operator"})
    cookie = headers["set-cookie"].split("; ")
    assert "Secure" in cookie
    status, answer, _ = send("/api/commands/halt", HALT, cookie=cookie[0])
    assert status == 409  # past every door: the run has no desk
    assert "takes no commands" in answer["error"]
    assert send("/api/orders", cookie=cookie[0])[0] == 200


@pytest.mark.second
def test_who_guesses_through_the_proxy_keeps_nobody_else_out(visit):
    send, token = visit
    for number in range(WRONG_TOKENS):
        forged = {"x-forwarded-for": f"198.51.100.{number}"}
        assert send("/login", {"token": "guess"}, "127.0.0.2", **forged)[0] == 401
    status, _, headers = send("/login", {"token": "guess"}, "127.0.0.2", **forged)
    assert status == 429
    assert 1 <= int(headers["retry-after"]) <= 61
    assert send("/login", {"token": "guess"}, "127.0.0.3")[0] == 401
    assert send("/login", {"token": token}, "127.0.0.2", **forged)[0] == 200  # the right one always counts
