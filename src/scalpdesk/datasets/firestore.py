"""Dealer gamma exposure in a Firestore document: ``market_regime/SPX_GEX`` by default.

Fields: ``gex_value`` (a number), ``last_update`` (a timestamp), ``symbol`` (a string). Reading is one
``BatchGetDocuments`` call, writing one ``Commit``; neither is tried twice, so that an answer is bounded
by its time-out.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from scalpdesk.core.errors import ConfigError
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.datasets.dealer_gamma import ExposureGap, ExposureUnknownError, StoredExposure
from scalpdesk.marketdata.dealer_gamma import DEFAULT_DOCUMENT, DEFAULT_SYMBOL, TIMEOUT_SECONDS

_EMULATOR = "FIRESTORE_EMULATOR_HOST"


class FirestoreExposureStore:
    """One Firestore document that holds an exposure.

    The client is made at the first call, in whichever thread makes it: finding credentials may ask the
    network.

    ``project``: Project of the database; None takes the one that the credentials name.
    ``document``: Path of the document: collection and document, or more pairs of them.
    ``credentials_file``: Key file of a service account; None takes what the machine has.
    ``emulator_host``: Host and port of a local server without credentials; None speaks to Firestore itself.
    ``timeout_seconds``: Longest wait for an answer.

    Raises ConfigError when the path does not name a document, the key file is not there, or the package is
    missing.
    """

    name = "firestore"

    def __init__(
        self,
        project: str | None = None,
        *,
        document: str = DEFAULT_DOCUMENT,
        credentials_file: str | None = None,
        emulator_host: str | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        parts = document.split("/")
        if len(parts) % 2 or not all(parts):
            raise ConfigError(
                "a document's path is pairs of collection and document",
                where="gex.document",
                value=document,
                fix=f"write it as {DEFAULT_DOCUMENT}",
            )
        if credentials_file is not None and emulator_host is None and not Path(credentials_file).is_file():
            raise ConfigError(
                "the key file of Firestore is not there",
                where="credentials.google_application_credentials (GOOGLE_APPLICATION_CREDENTIALS)",
                value=credentials_file,
                fix="put in the path of the service account's JSON file",
            )
        self._firestore = _package()
        self._project = project
        self._document = document
        self._credentials_file = credentials_file
        self._emulator_host = emulator_host
        self._timeout_seconds = timeout_seconds
        self._client: Any = None

    def read(self) -> StoredExposure:
        """Return what the document holds.

        Raises ExposureUnknownError when there is no answer in time, no document, or no number and timestamp
        in it.
        """
        with _failures_named(self._document, self._timeout_seconds):
            found = self._reference().get(timeout=self._timeout_seconds, retry=None)
        if not found.exists:
            raise ExposureUnknownError(ExposureGap.NO_DOCUMENT, self._document)
        fields = found.to_dict() or {}
        symbol = fields.get("symbol")
        return StoredExposure(
            symbol if isinstance(symbol, str) and symbol else DEFAULT_SYMBOL,
            _number(fields),
            _instant_ns(fields),
        )

    def write(self, exposure: StoredExposure) -> None:
        """Put an exposure into the document, whatever it held.

        Raises ExposureUnknownError when the store does not take it.
        """
        fields = {
            "gex_value": exposure.exposure_usd,
            "last_update": datetime.fromtimestamp(exposure.last_update_ns / NANOS_PER_SECOND, UTC),
            "symbol": exposure.symbol,
        }
        with _failures_named(self._document, self._timeout_seconds):
            self._reference().set(fields, timeout=self._timeout_seconds, retry=None)

    def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _reference(self) -> Any:
        if self._client is None:
            self._client = self._connected()
        return self._client.document(self._document)

    def _connected(self) -> Any:
        if self._emulator_host is not None:
            with _emulator_at(self._emulator_host):
                return self._firestore.Client(project=self._project)
        if self._credentials_file is not None:
            keys = {} if self._project is None else {"project": self._project}
            return self._firestore.Client.from_service_account_json(self._credentials_file, **keys)
        return self._firestore.Client(project=self._project)


def _package() -> Any:
    try:
        return import_module("google.cloud.firestore")
    except ModuleNotFoundError as problem:
        raise ConfigError(
            "reading Firestore needs a package that is not installed",
            where="google-cloud-firestore",
            fix='pip install "scalpdesk[firestore]"',
        ) from problem


@contextmanager
def _emulator_at(host: str) -> Iterator[None]:
    """Let the client find a local server: it looks for one in the environment and nowhere else."""
    before = os.environ.get(_EMULATOR)
    os.environ[_EMULATOR] = host
    try:
        yield
    finally:
        if before is None:
            del os.environ[_EMULATOR]
        else:
            os.environ[_EMULATOR] = before


@contextmanager
def _failures_named(document: str, timeout_seconds: float) -> Iterator[None]:
    """Turn every way in which a call may fail into the one error that a reader must know."""
    calls = import_module("google.api_core.exceptions")
    auth = import_module("google.auth.exceptions")
    try:
        yield
    except calls.DeadlineExceeded as error:
        raise ExposureUnknownError(ExposureGap.SLOW, f"{timeout_seconds:g} s") from error
    except (calls.Forbidden, calls.Unauthorized) as error:
        raise ExposureUnknownError(ExposureGap.DENIED, _brief(error)) from error
    except calls.NotFound as error:
        raise ExposureUnknownError(ExposureGap.NO_DOCUMENT, f"{document}: {_brief(error)}") from error
    except calls.ServiceUnavailable as error:
        raise ExposureUnknownError(ExposureGap.UNREACHABLE, _brief(error)) from error
    except (calls.GoogleAPIError, import_module("grpc").RpcError) as error:
        raise ExposureUnknownError(ExposureGap.REFUSED, _brief(error)) from error
    except auth.TransportError as error:
        raise ExposureUnknownError(ExposureGap.UNREACHABLE, _brief(error)) from error
    except auth.GoogleAuthError as error:
        raise ExposureUnknownError(ExposureGap.DENIED, _brief(error)) from error
    except (OSError, ValueError) as error:  # an unreadable or wrong key file, no project
        raise ExposureUnknownError(ExposureGap.REFUSED, _brief(error)) from error


def _brief(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:200]


def _number(fields: dict[str, Any]) -> float:
    value = fields.get("gex_value")
    # a bool is an int to Python and no exposure; a text is what somebody forgot to convert
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ExposureUnknownError(ExposureGap.WRONG_TYPE, f"gex_value is {_kind(fields, 'gex_value')}")
    if not math.isfinite(value):
        raise ExposureUnknownError(ExposureGap.NOT_A_NUMBER, f"gex_value is {value}")
    return float(value)


def _instant_ns(fields: dict[str, Any]) -> int:
    value = fields.get("last_update")
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ExposureUnknownError(ExposureGap.WRONG_TYPE, f"last_update is {_kind(fields, 'last_update')}")
    return round(value.timestamp() * 1_000_000) * 1_000


def _kind(fields: dict[str, Any], name: str) -> str:
    return f"a {type(fields[name]).__name__}" if name in fields else "missing"
