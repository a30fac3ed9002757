"""What a person sees while a run goes on: a live screen for the demo, a bar for longer work."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from scalpdesk.cli.summary_view import LABELS, bar_of, money
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.portfolio.attribution import PARTS

if TYPE_CHECKING:
    from rich.console import RenderableType

    from scalpdesk.assembly import Assembled
    from scalpdesk.marketdata.tape import MarketTape

FRAMES_PER_SECOND = 10
PROGRESS_AFTER_SECONDS = 2.0


class LiveView:
    """The demo's screen: time, spot, position, net delta, P&L by Greek, the last decision.

    Parameters
    ----------
    tape
        The market that is run.
    pace
        Market seconds a second; None does not wait.
    """

    def __init__(self, tape: "MarketTape", pace: float | None) -> None:
        from rich.live import Live

        self._tape = tape
        self._pace = pace
        self._open_ns = tape.sessions[0].open_ns
        self._close_ns = tape.sessions[-1].close_ns
        self._began = 0.0
        self._next_frame = 0.0
        self._live = Live(refresh_per_second=FRAMES_PER_SECOND, transient=True)

    def __enter__(self) -> Self:
        self._live.__enter__()
        self._began = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def on_step(self, run: "Assembled", now_ns: int) -> None:
        """Draw a frame when one is due, and wait until the wall clock has come this far."""
        if self._pace is not None:
            due = self._began + (now_ns - self._open_ns) / 1e9 / self._pace
            ahead = due - time.perf_counter()
            if ahead > 0:
                time.sleep(ahead)
        wall = time.perf_counter()
        if wall >= self._next_frame:
            self._next_frame = wall + 1.0 / FRAMES_PER_SECOND
            self._live.update(self._frame(run, now_ns))

    def _frame(self, run: "Assembled", now_ns: int) -> "RenderableType":
        from rich.console import Group
        from rich.panel import Panel
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        desk = run.engine.desk
        spot = desk.market.mark(desk.view.underlying) or 0.0
        # an observer: whoever watches must not change what the desk decides
        greeks = desk.delta_engine.observer().position_greeks(desk.positions.held(), now_ns)
        total = float(desk.attribution.nav_change)
        head = Table.grid(padding=(0, 2))
        head.add_row(
            f"[bold]{self._tape.underlying}[/] {spot:,.2f}",
            f"{to_new_york(now_ns):%Y-%m-%d %H:%M:%S} New York",
            f"[dim]{self._tape.kind} market[/]",
            f"{run.tally.taken['hedge']} hedges",
        )
        state = Table.grid(padding=(0, 2))
        held = "  ".join(
            f"{position.quantity:+f} {desk.instruments[position.instrument_id].symbol}"
            for position in desk.positions.held()
        )
        state.add_row("position", held or "flat")
        state.add_row(
            "net delta",
            f"{greeks.net_delta_shares:+.1f} shares   gamma {greeks.gamma_shares_per_usd:+.2f} shares/$"
            f"   theta {greeks.theta_usd_per_day:+.2f} $/day   vega {greeks.vega_usd_per_point:+.2f} $/point",
        )
        decision = run.tally.last_decision
        if decision is not None:
            at = to_new_york(decision.ts_ns)
            state.add_row("last", f"{at:%H:%M:%S} {decision.kind}: {decision.reasons[0]}")
        parts = Table.grid(padding=(0, 2))
        widest = max((abs(float(amount)) for amount in desk.attribution.totals.values()), default=0.0)
        for name in PARTS:
            amount = float(desk.attribution.totals[name])
            parts.add_row(LABELS[name], money(amount), bar_of(amount, widest))
        done = ProgressBar(
            total=self._close_ns - self._open_ns, completed=max(now_ns - self._open_ns, 0), width=60
        )
        title = f"scalpdesk  {run.header.strategy}  P&L {money(total)}"
        return Panel(Group(head, done, "", state, "", parts), title=title, width=100)


class ProgressView:
    """A progress bar on stderr once a run has taken two seconds; silent when nobody looks.

    Parameters
    ----------
    tape
        The market that is run.
    """

    def __init__(self, tape: "MarketTape") -> None:
        self._sessions = tape.sessions
        self._length_ns = sum(session.close_ns - session.open_ns for session in tape.sessions)
        self._began = time.perf_counter()
        self._shown = False
        self._last = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")

    def on_step(self, run: "Assembled", now_ns: int) -> None:
        """Redraw the bar a few times a second."""
        del run
        wall = time.perf_counter()
        if wall - self._began < PROGRESS_AFTER_SECONDS or wall - self._last < 0.2 or not sys.stderr.isatty():
            return
        self._last = wall
        self._shown = True
        done_ns = sum(
            min(max(now_ns - session.open_ns, 0), session.close_ns - session.open_ns)
            for session in self._sessions
        )
        share = done_ns / self._length_ns
        sys.stderr.write(f"\r{'#' * int(40 * share):<40} {share:4.0%} {to_new_york(now_ns):%Y-%m-%d %H:%M}")
        sys.stderr.flush()
