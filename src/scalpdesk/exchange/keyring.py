"""API keys of the accounts of a simulated exchange, for every protocol."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Credential:
    """API keys of an account."""

    key: str
    secret: str
    account: str

    def __repr__(self) -> str:
        return f"Credential(account={self.account!r})"


class Keyring:
    """Finds the account of API keys."""

    def __init__(self, credentials: Iterable[Credential]) -> None:
        self._by_key = {credential.key: credential for credential in credentials}

    @property
    def credentials(self) -> list[Credential]:
        """All keys."""
        return list(self._by_key.values())

    def account_of(self, key: str, secret: str) -> str | None:
        """Return the account of a key and secret, or None."""
        found = self._by_key.get(key)
        if found is None or not hmac.compare_digest(found.secret.encode(), secret.encode()):
            return None
        return found.account
