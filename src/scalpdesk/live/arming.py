"""Arming live trading: a file for one account and one configuration, made by a person in two steps."""

import os
import stat
from pathlib import Path

import msgspec

from scalpdesk.core.errors import ConfigError
from scalpdesk.live.account_lock import account_file
from scalpdesk.venues.base import LiveToken

SUFFIX = ".armed.json"


def arm(folder: Path, venue: str, token: LiveToken, *, typed_account: str, typed_hash: str) -> Path:
    """Write the arming of an account; both names must have been typed back.

    Parameters
    ----------
    folder
        Machine-wide folder of the desk's state.
    venue
        The venue.
    token
        What is armed.
    typed_account, typed_hash
        What the person typed: the account's id, and at least the first 8 digits of the hash.

    Raises
    ------
    ConfigError
        When what was typed is not what was shown.
    """
    given = typed_hash.strip().lower()
    if typed_account.strip() != token.account_id or len(given) < 8 or not token.config_hash.startswith(given):
        raise ConfigError(
            "what was typed is not the account and configuration shown; the desk is not armed",
            where="arm",
            fix="type both exactly as shown: the account's id and the hash's first 8 digits",
        )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = account_file(folder, venue, token.account_id, SUFFIX)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, msgspec.json.encode(token))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return path


def armed(folder: Path, venue: str) -> list[LiveToken]:
    """Return all armings for a venue that can be read and that nobody else may write.

    Raises
    ------
    ConfigError
        When an arming's file is open to others.
    """
    tokens = []
    for path in sorted(folder.glob(f"{venue}-*{SUFFIX}")):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise ConfigError(
                "the arming can be read or written by others",
                where=str(path),
                value=f"mode {mode:o}",
                fix="scalpdesk disarm, then arm again",
            )
        try:
            tokens.append(msgspec.json.decode(path.read_bytes(), type=LiveToken))
        except msgspec.MsgspecError:
            continue  # a torn file arms nothing
    return tokens


def token_for(folder: Path, venue: str, config_hash: str) -> LiveToken:
    """Return the arming that fits this configuration; the gateway holds it against the account.

    Raises
    ------
    ConfigError
        When nothing is armed, or only another configuration.
    """
    tokens = armed(folder, venue)
    for token in tokens:
        if token.config_hash == config_hash:
            return token
    if not tokens:
        raise ConfigError(
            "live trading is not armed; nothing was sent",
            where="--live",
            fix="scalpdesk arm STRATEGY shows the account and the configuration and asks for both",
        )
    raise ConfigError(
        "live trading was armed for another configuration; the arming has lapsed, nothing was sent",
        where="configuration hash",
        value=config_hash[:8],
        nearest=", ".join(sorted(token.config_hash[:8] for token in tokens)),
        fix="look at what changed (scalpdesk config show), then scalpdesk arm STRATEGY again",
    )


def disarm(folder: Path, venue: str, account_id: str | None = None) -> list[str]:
    """Remove the arming of an account, or of all; return the accounts that were armed."""
    gone = []
    for path in sorted(folder.glob(f"{venue}-*{SUFFIX}")):
        name = path.name.removeprefix(f"{venue}-").removesuffix(SUFFIX)
        if account_id is None or path == account_file(folder, venue, account_id, SUFFIX):
            path.unlink(missing_ok=True)
            gone.append(name)
    return gone
