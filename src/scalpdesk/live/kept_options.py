"""Expiring options that are not closed: the operator hears of them, the venue what it shall not exercise."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from scalpdesk.core.errors import Notify
from scalpdesk.core.events import ExerciseNotice
from scalpdesk.core.units import ZERO, InstrumentId
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.deadlines import ExpiryRule, takes_notices
from scalpdesk.live.consumer import Item
from scalpdesk.live.reconciler import settle_queue
from scalpdesk.live.supervision import Supervisor
from scalpdesk.venues.contract import Gateway, TakesNotices


@dataclass(slots=True, kw_only=True)
class KeptOptions:
    """Leaves options to their end, as ``desk.at_expiry`` says."""

    engine: TradingEngine
    gateway: Gateway
    at_expiry: ExpiryRule
    supervisor: Supervisor
    put: Callable[[Item], None]
    notify: Notify
    now_ns: Callable[[], int]
    _reported: set[InstrumentId] = field(default_factory=set)
    _noticed: set[InstrumentId] = field(default_factory=set)
    """Those whose notice is on its way to the venue."""

    def take(self, expiring: Mapping[InstrumentId, OptionContract]) -> None:
        """Leave options to their end; tell the venue if what was bought is not to be exercised."""
        names = ", ".join(each.symbol for number, each in expiring.items() if number not in self._reported)
        if names:
            self._reported |= expiring.keys()
            self.notify("warning", f"kept to the expiry (desk.at_expiry={self.at_expiry}): {names}")
        gateway, desk = self.gateway, self.engine.desk
        if self.at_expiry is not ExpiryRule.LET_GO or not isinstance(gateway, TakesNotices):
            return
        for number, contract in expiring.items():
            held = desk.positions.quantity(number)
            is_due = held > desk.lapsing.get(number, ZERO) and number not in self._noticed
            if is_due and takes_notices(contract):
                self._noticed.add(number)
                work = self._let_go(gateway, number, held)
                self.supervisor.spawn(f"do-not-exercise of {contract.symbol}", work)

    async def _let_go(self, gateway: TakesNotices, number: InstrumentId, held: Decimal) -> None:
        """Give a notice that the journal does not have; one that fails is given again at the next look."""
        try:
            await gateway.do_not_exercise(number, held)  # it takes the place of an earlier one
            now_ns = max(self.now_ns(), self.engine.now_ns)
            self.put(ExerciseNotice(number, now_ns, now_ns, held))
            await settle_queue()
        finally:
            self._noticed.discard(number)
        symbol = self.engine.desk.instruments[number].symbol
        self.notify("info", f"the venue exercises none of {held:f} {symbol}")
