"""What a live desk asks for dealer gamma, put together from its settings."""

from pathlib import Path

from scalpdesk.core.errors import ConfigError
from scalpdesk.regime.exposure_history import ExposureHistory
from scalpdesk.regime.exposure_settings import ExposureSettings
from scalpdesk.regime.exposure_source import ExposureSource, Say
from scalpdesk.regime.firestore_store import FirestoreExposureStore


def firestore_of(
    settings: ExposureSettings,
    *,
    project: str | None,
    credentials_file: str | None,
    emulator_host: str | None,
    document: str | None = None,
) -> FirestoreExposureStore:
    """Return the store that the settings name; nothing is connected yet.

    Parameters
    ----------
    settings
        Document and time-out.
    project, credentials_file, emulator_host
        Of the configuration's ``credentials``.
    document
        Another path than the settings'.

    Raises
    ------
    ConfigError
        When the document's path, the key file or the package is not there.
    """
    return FirestoreExposureStore(
        project,
        document=document or settings.document,
        credentials_file=credentials_file,
        emulator_host=emulator_host,
        timeout_seconds=settings.timeout_seconds,
    )


def live_source(
    settings: ExposureSettings,
    value_by_hand: str | None,
    *,
    project: str | None = None,
    credentials_file: str | None = None,
    emulator_host: str | None = None,
    history_folder: Path | None = None,
    say: Say | None = None,
) -> ExposureSource:
    """Return the source of a live desk: the value set by hand, else the store when there is one.

    Parameters
    ----------
    settings
        Where the exposure comes from.
    value_by_hand
        Text that a person set.
    project, credentials_file, emulator_host
        Of the configuration's ``credentials``.
    history_folder
        Folder of the exposures of earlier sessions.
    say
        Told what a person should know.

    Raises
    ------
    ConfigError
        When ``gex.store`` is ``firestore`` and its package, key file or path is not there; under ``auto``
        that is only said.
    """
    named = project is not None or emulator_host is not None
    store = history = None
    if value_by_hand is None and (settings.store == "firestore" or (settings.store == "auto" and named)):
        try:
            store = firestore_of(
                settings, project=project, credentials_file=credentials_file, emulator_host=emulator_host
            )
        except ConfigError as error:
            if settings.store == "firestore":
                raise
            if say is not None:  # nobody asked for it in so many words: trading goes on without
                fix = "" if error.fix is None else f" ({error.fix})"
                say(
                    "warning",
                    f"dealer gamma is not asked for: {error.what}{fix}; the standard threshold is used",
                )
        else:
            if history_folder is not None:
                history = ExposureHistory(history_folder, store.name, settings.symbol)
    return ExposureSource(
        settings.symbol,
        value_by_hand=value_by_hand,
        store=store,
        say=say,
        cache_seconds=settings.cache_seconds,
        max_age_seconds=settings.max_age_seconds,
        history=history,
    )
