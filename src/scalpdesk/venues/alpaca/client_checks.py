"""What a gateway to Alpaca looks at before anything may be sent; each refusal says what to do."""

from scalpdesk.core.clock import Clock
from scalpdesk.core.errors import ConfigError, RetryError, StopError
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.venues.alpaca import wire_account
from scalpdesk.venues.alpaca.client_http import HttpPath, Reply
from scalpdesk.venues.alpaca.client_queries import Queries
from scalpdesk.venues.alpaca.endpoints import Endpoints
from scalpdesk.venues.alpaca.options import GatewayOptions
from scalpdesk.venues.alpaca.wire_answers import Verdict, judge
from scalpdesk.venues.base import AccountFacts, FollowingClock, VenueClock


class Checks:
    """Keys, account and clock of one gateway.

    Parameters
    ----------
    endpoints
        Where it connects to.
    options
        What it asks of the account.
    queries
        Reads answers.
    """

    def __init__(self, endpoints: Endpoints, options: GatewayOptions, queries: Queries) -> None:
        self._endpoints = endpoints
        self._options = options
        self._queries = queries

    async def first_ask(self, path: HttpPath) -> Reply:
        """Ask for the account, as the first thing of all.

        Raises
        ------
        ConfigError
            When the keys are not accepted.
        RetryError
            When the venue does not answer.
        """
        try:
            reply = await path.ask(wire_account.ACCOUNT)
        except RetryError as error:
            raise RetryError(
                "the venue cannot be reached; nothing was sent",
                where=self._endpoints.trading_url,
                value=error.what,
                fix="look at this machine's network and the venue's status page, then start again",
            ) from None
        answer = judge(reply.status, reply.body)
        if answer.verdict is Verdict.UNAUTHORIZED:
            raise self.wrong_keys(answer.reason)
        return self._queries.checked(reply, wire_account.ACCOUNT)

    def wrong_keys(self, reason: str) -> ConfigError:
        """Return the refusal of keys that the venue does not accept; it shows none of them."""
        here = "the live" if self._endpoints.is_live else "the paper" if self._endpoints.is_paper else "this"
        return ConfigError(
            f"the venue does not accept the keys in {here} environment; no order was sent",
            where="credentials.trading_api_key, credentials.trading_api_secret",
            value=reason,
            fix="copy key and secret of this environment's account again; paper and live have their own",
        )

    def account(self, account: AccountFacts) -> None:
        """Refuse an account that was not armed, may not trade, or lacks the options level.

        Raises
        ------
        StopError
            When the desk was armed for another account.
        ConfigError
            When the account cannot do what the strategy wants.
        """
        if self._options.data_only:
            return
        token = self._endpoints.live_token
        if token is not None and token.account_id != account.account_id:
            raise StopError(
                "the desk was armed for another account; nothing was sent",
                where=f"armed for {token.account_id}",
                value=account.account_id,
                fix="check the keys, then disarm and arm again",
            )
        if not account.may_trade:
            raise ConfigError(
                "the account may not trade now",
                where=f"account status {account.status}",
                fix="look at the account's messages on the venue's own pages",
            )
        if account.options_level < self._options.options_level:
            raise ConfigError(
                "the account has no permission for the options this strategy trades",
                where="options_trading_level",
                value=f"{account.options_level}, needed {self._options.options_level}",
                fix="apply for the level on the venue's own pages; a paper account gets it at once",
            )

    def clock(self, venue: VenueClock, ours: Clock) -> None:
        """Refuse a machine whose clock is off; a clock that follows the venue is set.

        Raises
        ------
        ConfigError
            When the two lie too far apart.
        """
        if isinstance(ours, FollowingClock):
            ours.observe(venue.now_ns)
            return
        skew_seconds = (venue.now_ns - ours.now_ns()) / NANOS_PER_SECOND
        if abs(skew_seconds) > self._options.most_clock_skew_seconds:
            raise ConfigError(
                "this machine's clock is off; nothing was sent",
                where="clock against the venue's",
                value=f"{skew_seconds:+.1f} s",
                fix="switch on network time (NTP) and start again",
            )
