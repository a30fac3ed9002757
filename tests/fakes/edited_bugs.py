"""Bugs that replace a few words of one function of the desk, for the length of a trial.

A row names the function, the words that stand in its source and those that replace them. The function is
compiled again with the replacement and everything else of it stays, so that a row that no longer fits the
source fails instead of planting nothing.
"""

import functools
import inspect
import textwrap
from typing import Any, NamedTuple

from scalpdesk.engine import desk as engine_desk
from scalpdesk.live import recovery, runner
from scalpdesk.portfolio import positions
from scalpdesk.risk.checks import account_is_compared, symbol_trades
from scalpdesk.risk.gate import RiskGate
from scalpdesk.strategies.toolkit import hedger
from scalpdesk.venues import tracker
from scalpdesk.venues.deribit import orders as deribit_orders

Change = tuple[Any, str, Any]


class Edit(NamedTuple):
    """One bug: ``old`` in the source of ``owner.name`` becomes ``new``.

    Parameters
    ----------
    story
        What it does.
    owner, name
        Class or module, and the name of the function in it. A module that imported the function from
        another one is the owner of what it calls.
    old, new
        Words of the source, and what stands there while the bug is planted.
    protocol
        Trials that notice it: over ``alpaca``'s protocol or over ``deribit``'s.
    """

    story: str
    owner: Any
    name: str
    old: str
    new: str
    protocol: str = "alpaca"

    def changes(self) -> list[Change]:
        """Return the function with the words replaced.

        Raises
        ------
        LookupError
            When the words do not stand in the source exactly once.
        """
        known = inspect.getattr_static(self.owner, self.name)
        plain = (
            known.fget if isinstance(known, property) else inspect.unwrap(getattr(known, "__func__", known))
        )
        source = textwrap.dedent(inspect.getsource(plain))
        if source.count(self.old) != 1:
            raise LookupError(f"{self.name} has {self.old!r} {source.count(self.old)} times")
        scope: dict[str, Any] = {}
        code = compile(source.replace(self.old, self.new), f"<{self.name} with a bug>", "exec")
        exec(code, plain.__globals__, scope)
        return [(self.owner, self.name, scope[plain.__name__])]


class CheckEdit(NamedTuple):
    """A check of the risk gate with words replaced; without any it has no objection to any order."""

    story: str
    check: Any
    old: str = ""
    new: str = ""
    protocol: str = "alpaca"

    def changes(self) -> list[Change]:
        """Return a gate that asks the edited check in the place of the plain one."""
        plain, compiled, known = self.check, RiskGate._compile, inspect.getmodule(self.check)
        edited: Any = lambda _context: None  # noqa: E731
        if self.old:
            body = inspect.getsource(plain)
            assert body.count(self.old) == 1, (self.old, body.count(self.old))
            body = body[body.index("def ") :]  # without the declaration of its scope
            scope: dict[str, Any] = {}
            exec(compile(body.replace(self.old, self.new), "<check>", "exec"), vars(known), scope)
            edited = scope[plain.__name__]

        @functools.wraps(compiled)
        def compile_with_bug(gate: RiskGate, key: Any) -> Any:
            return tuple(edited if check is plain else check for check in compiled(gate, key))

        return [(RiskGate, "_compile", compile_with_bug)]


EDITED_BUGS: dict[str, Edit | CheckEdit] = {
    "hedge_blind_to_pending": Edit(
        "a hedge is sized without what is on its way",
        hedger.DeltaHedger,
        "_leg_greeks",
        "view.positions.quantity(number) + view.orders.pending(number)",
        "view.positions.quantity(number)",
    ),
    "rest_at_the_mean": Edit(
        "missing executions are priced at the order's mean, not at that of the rest",
        tracker,
        "mean_of_rest",
        "return price if is_possible else mean",
        "return mean",
    ),
    "inferred_counted_twice": Edit(
        "a trade counts again what was inferred before it (Deribit)",
        tracker.OrderTracker,
        "next_execution",
        "covered = min(each.inferred, left)",
        "covered = ZERO",
        "deribit",
    ),
    "bust_keeps_the_fee": Edit(
        "a bust does not give the fee back",
        engine_desk.Desk,
        "book_bust",
        "self.account.pay_for(-quantity, price, instrument.multiplier, -fee)",
        "self.account.pay_for(-quantity, price, instrument.multiplier, ZERO)",
    ),
    "bust_keeps_the_fee_of_a_position": Edit(
        "a position keeps the fee of what was taken back",
        positions.PositionManager,
        "take_back",
        "position.fees -= fee",
        "pass",
    ),
    "loss_limit_gone": Edit(
        "the day's loss ends nothing",
        engine_desk.Desk,
        "loss_at_limit",
        "if loss > -self._loss_limit:",
        "if True:",
    ),
    "transfer_is_a_gain": Edit(
        "money that is brought counts as the day's gain",
        engine_desk.Desk,
        "_note_transfer",
        "self.session_equity += worth",
        "pass",
    ),
    "restart_forgets_executions": Edit(
        "after a restart the gateway does not know which executions are booked",
        recovery,
        "_known",
        "{**dict.fromkeys(order.busted, (Decimal(0), Decimal(0))), **order.executions}",
        "{}",
    ),
    "halted_symbol_traded": CheckEdit("orders go out in a symbol that is halted", symbol_trades),
    "overlapping_spans": Edit(
        "an execution is a repetition only where it covers exactly the same",
        tracker.TrackedOrder,
        "is_uncovered",
        "known.end <= span.start or known.start >= span.end",
        "known != span",
    ),
    "absent_at_once": Edit(
        "after a restart an order that is not found was never there (Deribit)",
        deribit_orders.OrderPath,
        "adopt",
        "self.tracker.restore(known, self._request_ended_ns)",
        "self.tracker.restore(known)",
        "deribit",
    ),
    "cost_kept_across_zero": Edit(
        "a position that crosses zero keeps its old price",
        positions.Position,
        "_price_trades",
        "self._cost = price * after if turns else average * after",
        "self._cost = average * after",
    ),
    "dividend_is_no_income": Edit(
        "a dividend is no income of its position",
        positions.PositionManager,
        "change",
        "payer.income += change.cash_change",
        "pass",
    ),
    "unacknowledged_taken_for_sent": Edit(
        "after a restart an order without an answer is not doubted",
        runner,
        "continuation",
        "if state is OrderState.PENDING_NEW and not venue_order_id:",
        "if False:",
    ),
    "trades_before_the_comparison": CheckEdit(
        "a resumed desk trades before the account is compared", account_is_compared
    ),
    "no_comparison_after_a_restart": Edit(
        "a resumed desk takes the account for compared",
        runner,
        "continuation",
        "is_compared=False",
        "is_compared=True",
    ),
}
"""Bugs that trials did not reach, or reached and did not see."""
