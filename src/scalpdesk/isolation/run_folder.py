"""The strategy folder of a run: whether it asks one, which code it is, and starting it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from scalpdesk.isolation.answering import FolderAnswerer
from scalpdesk.isolation.folder import folder_digest
from scalpdesk.isolation.process import FolderLimits
from scalpdesk.strategies.external.config import ExternalConfig, no_folder_given

EXTERNAL = "external"


def external_config(strategy: str, sections: Mapping[str, Any]) -> ExternalConfig | None:
    """Return the settings of the strategy folder that a run asks, or None when it asks none.

    Parameters
    ----------
    strategy
        Of the run; several are joined by ``+``.
    sections
        Settings by strategy, as plain data.
    """
    if EXTERNAL not in strategy.split("+"):
        return None
    chosen = msgspec.convert(sections.get(EXTERNAL, {}), ExternalConfig, strict=False)
    return chosen if chosen.folder else None


def folder_facts(strategy: str, sections: Mapping[str, Any]) -> dict[str, str]:
    """Return what a run's header says of its strategy folder: a digest of the code; nothing without one.

    Raises
    ------
    ConfigError
        When there is no ``strategy.py`` in it.
    """
    chosen = external_config(strategy, sections)
    return {} if chosen is None else {"folder_sha256": folder_digest(Path(chosen.folder))}


def start_folder(strategy: str, sections: Mapping[str, Any]) -> FolderAnswerer | None:
    """Load the strategy folder of a run, in a process of its own unless told otherwise.

    Raises
    ------
    ConfigError
        When the strategy asks a folder and none is given, or it cannot be loaded.
    """
    chosen = external_config(strategy, sections)
    if chosen is None:
        if EXTERNAL in strategy.split("+"):
            raise no_folder_given()
        return None
    limits = FolderLimits(chosen.time_limit_seconds, chosen.memory_limit_mb)
    return FolderAnswerer.start(Path(chosen.folder), isolate=chosen.isolate, limits=limits)
