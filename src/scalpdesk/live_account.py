"""Look at a venue's live account without being armed: for ``scalpdesk arm``. It reads and nothing else."""

from scalpdesk.core.errors import ConfigError, RetryError
from scalpdesk.settings import LoadedSettings
from scalpdesk.venues.base import AccountFacts


async def live_account(settings: LoadedSettings, url: str | None = None) -> AccountFacts:
    """Return the account that the configured keys open at the live host.

    Parameters
    ----------
    settings
        The configuration with the keys.
    url
        Another address (tests).

    Raises
    ------
    ConfigError
        Keys missing, of the paper environment, or not accepted.
    RetryError
        The venue does not answer.
    """
    from scalpdesk.venues.alpaca import wire_account  # noqa: PLC0415 - an extra
    from scalpdesk.venues.alpaca.client_http import HttpPath  # noqa: PLC0415 - an extra
    from scalpdesk.venues.alpaca.endpoints import LIVE_HOST, PAPER_KEY  # noqa: PLC0415 - an extra
    from scalpdesk.venues.alpaca.wire_answers import Verdict, judge  # noqa: PLC0415 - an extra

    keys = settings.venue_keys()
    if keys is None:
        raise ConfigError(
            "arming needs the live account's key and secret",
            where="credentials.trading_api_key, credentials.trading_api_secret",
            fix="put TRADING_API_KEY and TRADING_API_SECRET into .env",
        )
    key, secret = (one.reveal() for one in keys)
    if settings.config.desk.paper or key.startswith(PAPER_KEY):
        raise ConfigError(
            "the configuration is one for paper; the desk is not armed",
            where="desk.paper" if settings.config.desk.paper else "credentials.trading_api_key",
            fix="set desk.paper = false (IS_PAPER_TRADING=false) and put in the live account's key",
        )
    headers = {"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": secret}
    path = HttpPath(url or f"https://{LIVE_HOST}", headers, connections=1, timeout_seconds=10.0)
    try:
        reply = await path.ask(wire_account.ACCOUNT)
    except RetryError as error:
        raise RetryError(
            "the venue cannot be reached; the desk is not armed",
            where=LIVE_HOST,
            value=error.what,
            fix="look at this machine's network and the venue's status page",
        ) from None
    finally:
        await path.close()
    answer = judge(reply.status, reply.body)
    if answer.verdict is not Verdict.DONE:
        raise ConfigError(
            "the live environment does not accept these keys; the desk is not armed",
            where="credentials.trading_api_key, credentials.trading_api_secret",
            value=answer.reason,
            fix="copy key and secret of the live account again",
        )
    return wire_account.read_account(reply.body)
