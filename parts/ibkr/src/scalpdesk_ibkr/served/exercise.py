"""Exercise and lapse over the TWS socket: what a client asks for becomes an order that waits for the evening.

The form was seen on a paper account in June 2026: an option out of the money is refused with code 322, and
an accepted request is shown as an order of its own id, ``BUY``, ``LMT``, ``PreSubmitted``. How TWS ends that
order when the exercise is done was not seen: here it is ``Filled``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from scalpdesk.base import ZERO, InstrumentId, Refused
from scalpdesk.exchange import SimulatedMarket, Status
from scalpdesk_ibkr import messages
from scalpdesk_ibkr.served.contracts import NO_CONTRACT, ContractBook, Query
from scalpdesk_ibkr.served.layouts import OPEN_ORDER, error_message
from scalpdesk_ibkr.served.orders import ENDS, Send, perm_id_of
from scalpdesk_ibkr.served.wire import Message, Reader, TwsError

_EXERCISE, _LAPSE = 1, 2
_IN_VAIN, _NOT_IN_THE_MONEY = (
    "Error processing request.",
    "Exercise ignored because option is not in-the-money.",
)
_REFUSED = "Exercise/Lapse failed due to server rejection."
FINAL_AFTER_NS = 1
"""After the last notices: by then the broker has carried them out."""


@dataclass(frozen=True, slots=True)
class _ExerciseRequest:
    """A request that the broker has taken."""

    client_id: int
    order_id: int
    perm_id: int
    code: str
    number: InstrumentId
    contracts: Decimal


class ExerciseDesk:
    """Exercise notices and contrary instructions of all clients.

    ``codes``: The vendor's account codes, each with the broker's name of the account.
    ``send``: Sends a message to a client.
    """

    def __init__(
        self, world: SimulatedMarket, contracts: ContractBook, codes: Mapping[str, str], send: Send
    ) -> None:
        self._world, self._contracts, self._names, self._send = world, contracts, codes, send
        self._waiting: dict[tuple[int, int], _ExerciseRequest] = {}

    def take(self, client_id: int, request_id: int, reader: Reader) -> None:
        """Take an exercise (action 1) or a lapse (2) of bought contracts (message 21)."""
        number = self._contract(reader)
        action, contracts = reader.whole("exerciseAction"), Decimal(reader.whole("exerciseQuantity"))
        code, overrides = reader.text() or next(iter(self._names)), reader.flag("override")
        if action not in (_EXERCISE, _LAPSE) or code not in self._names:
            raise TwsError(321, "Error validating request:-'exercise' : action 1 or 2 of an own account")
        option, expiry = self._world.ledger.instruments[number], self._world.broker.expiry
        spot = self._world.ledger.spot_of(option) if option.is_option else None
        if action == _EXERCISE and option.is_option and not overrides:
            pays = spot is not None and option.payoff(spot.mid) > 0.0
            if not pays:
                raise TwsError(322, _IN_VAIN + _NOT_IN_THE_MONEY)
        try:
            last_ns = expiry.instruct(
                self._names[code], number, exercises=action == _EXERCISE, contracts=contracts
            )
        except Refused:
            raise TwsError(322, _IN_VAIN + _REFUSED) from None
        perm_id = perm_id_of(f"{client_id}|{request_id}|{self._world.options.salt}")
        asked = _ExerciseRequest(client_id, request_id, perm_id, code, number, contracts)
        for key, earlier in tuple(self._waiting.items()):  # a later word on the contract replaces it
            if (earlier.code, earlier.number) == (code, number):
                self._end(key, messages.CANCELLED)
        self._waiting[client_id, request_id] = asked
        self._send(client_id, partial(self._shown, asked))
        self._send(client_id, lambda _: self._status(asked, messages.PRE_SUBMITTED))
        self._world.ledger.at(
            last_ns + FINAL_AFTER_NS, partial(self._end, (client_id, request_id), messages.FILLED)
        )

    def cancel(self, client_id: int, order_id: int) -> bool:
        """Withdraw a request; return whether there was one that still could be."""
        asked = self._waiting.get((client_id, order_id))
        if asked is None:
            return False
        self._world.broker.expiry.instructions.pop((self._names[asked.code], asked.number), None)
        code, why = ENDS[Status.CANCELED]
        self._send(client_id, lambda version: error_message(version, order_id, code, why))
        self._end((client_id, order_id), messages.CANCELLED)
        return True

    def cancel_all(self) -> None:
        """Withdraw the requests of all clients."""
        for key in tuple(self._waiting):
            self.cancel(*key)

    def show_open(self, client_id: int, version: int, *, of_all: bool = False) -> Iterator[Message]:
        """Yield the requests that wait, each with its status."""
        for asked in self._waiting.values():
            if of_all or asked.client_id == client_id:
                yield self._shown(asked, version)
                yield self._status(asked, messages.PRE_SUBMITTED)

    def _contract(self, reader: Reader) -> InstrumentId:
        con_id = reader.whole("conId")
        symbol, kind, last = reader.texts(3)
        strike = reader.number("strike")
        query = Query(con_id, symbol, kind, last[:8], strike or None, *reader.texts(6))
        found = self._contracts.find(query, with_expired=True)  # it may have ended an hour ago
        if len(found) != 1:
            raise TwsError(200, NO_CONTRACT)
        return found[0]

    def _end(self, key: tuple[int, int], status: str) -> None:
        asked = self._waiting.pop(key, None)
        if asked is not None:
            self._send(asked.client_id, lambda _: self._status(asked, status))

    def _shown(self, asked: _ExerciseRequest, version: int) -> Message:
        """Return an openOrder message (5)."""
        return 5, *OPEN_ORDER.write(
            version,
            {
                "orderId": asked.order_id,
                "clientId": asked.client_id,
                "permId": asked.perm_id,
                "contract": self._contracts.fields(asked.number),
                "action": "BUY",
                "totalQuantity": asked.contracts,
                "orderType": "LMT",
                "tif": "DAY",
                "account": asked.code,
                "status": messages.PRE_SUBMITTED,
            },
        )

    @staticmethod
    def _status(asked: _ExerciseRequest, status: str) -> Message:
        """Return an orderStatus message (3)."""
        filled = asked.contracts if status == messages.FILLED else ZERO
        left = ZERO if status == messages.FILLED else asked.contracts
        return (
            *(3, asked.order_id, status, filled, left, ZERO),
            *(asked.perm_id, 0, ZERO, asked.client_id, "", 0),
        )
