"""A local Firestore that speaks the real protocol over gRPC, and fails in the ways that the real one does.

Two calls are answered, those behind ``get()`` and ``set()`` of a document: ``BatchGetDocuments`` and
``Commit``. Messages are the client library's own types, so what is on the wire is the real thing.
"""

import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Self

import grpc
from google.cloud.firestore_v1.types import document as documents
from google.cloud.firestore_v1.types import firestore as messages
from google.cloud.firestore_v1.types import write as writes

_SERVICE = "google.firestore.v1.Firestore"


class _FirestoreServer:
    """A server on a free port of this machine; use it as a context."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, Any]] = {}
        """Fields by the path below ``documents/``, as plain values."""
        self.calls: list[tuple[str, str]] = []
        """Method and full name of the document, in order."""
        self.refusal: grpc.StatusCode | None = None
        """Status that every call is refused with."""
        self.answers = threading.Event()
        """Cleared, no call is answered until it is set again."""
        self.answers.set()
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    _SERVICE,
                    {
                        "BatchGetDocuments": grpc.unary_stream_rpc_method_handler(
                            self._batch_get,
                            messages.BatchGetDocumentsRequest.deserialize,
                            messages.BatchGetDocumentsResponse.serialize,
                        ),
                        "Commit": grpc.unary_unary_rpc_method_handler(
                            self._commit,
                            messages.CommitRequest.deserialize,
                            messages.CommitResponse.serialize,
                        ),
                    },
                ),
            )
        )
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self.host = f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Close the port; what waits is let go first."""
        self.answers.set()
        self._server.stop(0).wait()

    def _batch_get(
        self, request: messages.BatchGetDocumentsRequest, context: grpc.ServicerContext
    ) -> Iterator[messages.BatchGetDocumentsResponse]:
        now = datetime.now(UTC)
        for name in request.documents:
            self._meet("BatchGetDocuments", name, context)
            fields = self.documents.get(name.partition("/documents/")[2])
            if fields is None:
                yield messages.BatchGetDocumentsResponse(missing=name, read_time=now)
            else:
                found = documents.Document(
                    name=name,
                    fields={key: _encoded(value) for key, value in fields.items()},
                    create_time=now,
                    update_time=now,
                )
                yield messages.BatchGetDocumentsResponse(found=found, read_time=now)

    def _commit(
        self, request: messages.CommitRequest, context: grpc.ServicerContext
    ) -> messages.CommitResponse:
        now = datetime.now(UTC)
        for one in request.writes:
            self._meet("Commit", one.update.name, context)
            path = one.update.name.partition("/documents/")[2]
            self.documents[path] = {key: decoded(value) for key, value in one.update.fields.items()}
        results = [writes.WriteResult(update_time=now) for _ in request.writes]
        return messages.CommitResponse(write_results=results, commit_time=now)

    def _meet(self, method: str, name: str, context: grpc.ServicerContext) -> None:
        self.calls.append((method, name))
        self.answers.wait(30.0)
        if self.refusal is not None:
            context.abort(self.refusal, f"refused with {self.refusal.name}")


@contextmanager
def firestore_server() -> Iterator[_FirestoreServer]:
    """Run a server for as long as the context lasts."""
    with _FirestoreServer() as server:
        yield server


def _encoded(value: object) -> documents.Value:
    """Return a plain value as Firestore types it."""
    if value is None:
        return documents.Value(null_value=0)
    if isinstance(value, bool):
        return documents.Value(boolean_value=value)
    if isinstance(value, int):
        return documents.Value(integer_value=value)
    if isinstance(value, float):
        return documents.Value(double_value=value)
    if isinstance(value, datetime):
        return documents.Value(timestamp_value=value)
    if isinstance(value, dict):
        fields = {key: _encoded(one) for key, one in value.items()}
        return documents.Value(map_value=documents.MapValue(fields=fields))
    assert isinstance(value, str)
    return documents.Value(string_value=value)


def decoded(value: documents.Value) -> object:
    """Return a value as Firestore types it as a plain one."""
    kind = documents.Value.pb(value).WhichOneof("value_type")
    return getattr(value, kind)
