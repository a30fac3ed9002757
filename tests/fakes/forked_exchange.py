"""The exchange of :mod:`fakes.killing` in a fork of this process."""

from datetime import date

from fakes import killing
from fakes.forked import ExchangeCommand
from scalpdesk.datasets.embedded import market


class Exchange(killing.Exchange):
    """``scalpdesk exchange`` for shares, standing still until told otherwise."""

    def __init__(self, session: str = "2018-02-05", seed: int = 1, *options: str) -> None:
        market.reconstruct(
            date.fromisoformat(session), seed=seed, underlying="SPY"
        )  # drawn once for all forks
        words = ["--data", "embedded", "--session", session, "--seed", str(seed)]
        self.running = ExchangeCommand([*words, "--speed", "0", "--rate-limit", "0", *options])
        self.venue = "alpaca"
        self.url = self.running.ready["urls"]["admin"].removesuffix("/admin")
        self.key, self.secret = self.running.ready["keys"]["alpaca"]

    def close(self) -> None:
        self.running.close()
