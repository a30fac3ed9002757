"""Folds of a walk-forward test: its options, and the sessions of each choice and its test."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.flags import Flag, Options

_MeasureName = Literal["sharpe", "pnl"]
_USUAL_FOLDS = 4
_LEAST_TRAIN = 2
"""Sessions of a choice: a Sharpe ratio takes two."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Sessions of one choice and its test, by day in order."""

    train: tuple[date, ...]
    test: tuple[date, ...]
    purged: tuple[date, ...] = ()
    """Left out of the choice because a trade of theirs may reach into the test."""
    embargoed: tuple[date, ...] = ()
    """Left out of the choice because they follow an earlier test."""


class FoldPlan(Options, frozen=True, kw_only=True):
    """Division of sessions into folds, and the choice of each.

    The tests follow one another and end with the last session. A length of None follows from the others.
    """

    folds: Annotated[int | None, Flag("Number of tests [default: as many as fit, or 4].")] = None
    train: Annotated[int | None, Flag("Sessions of a choice.", "SESSIONS")] = None
    """Anchored: of the first choice."""
    test: Annotated[int | None, Flag("Sessions of a test.", "SESSIONS")] = None
    anchored: Annotated[bool, Flag("Let every choice begin with the first session.")] = False
    """Otherwise it moves on with the tests."""
    purge: Annotated[int, Flag("Sessions left out before a test [default: {default}].", "SESSIONS")] = 0
    """As many as a trade of the strategy overlaps."""
    embargo: Annotated[
        int, Flag("Sessions after a test that later choices leave out [default: {default}].", "SESSIONS")
    ] = 0
    metric: Annotated[_MeasureName, Flag("Figure that a choice maximises.")] = "sharpe"
    """Of equals the first combination is chosen."""
    one_run: Annotated[
        bool,
        Flag(
            "Choose by one backtest over all sessions: faster, but it may hold a position as a fold begins."
        ),
    ] = False
    earlier_trials: Annotated[
        int,
        Flag(
            "Configurations tried before, beside these: the deflated Sharpe ratio counts them.",
            "NUMBER",
            least=0,
            shows_default=False,
        ),
    ] = 0

    def divide(self, days: Sequence[date]) -> tuple[Fold, ...]:
        """Return the folds of these session days.

        Raises
        ------
        ArgumentError
            When a length is out of range, or the sessions do not suffice; names the option.
        """
        for name, value, least in (
            ("--folds", self.folds, 1),
            ("--train", self.train, _LEAST_TRAIN),
            ("--test", self.test, 1),
            ("--purge", self.purge, 0),
            ("--embargo", self.embargo, 0),
        ):
            if value is not None and value < least:
                raise ArgumentError("too few", where=name, value=value, fix=f"give {least} or more")
        number, room = self.folds, len(days) - self.purge
        if number is None and self.train is not None and self.test is not None:
            number = (room - self.train) // self.test
        number = _USUAL_FOLDS if number is None else number
        test = self.test
        if test is None:
            test = (room - self.train) // number if self.train is not None else room // (number + 1)
        train = room - number * test if self.train is None else self.train
        if number < 1 or test < 1 or train < _LEAST_TRAIN or train + number * test > room:
            least = max(self.train or _LEAST_TRAIN, _LEAST_TRAIN) + self.purge
            least += (self.folds or number if number > 0 else 1) * (self.test or 1)
            raise ArgumentError(
                f"the folds take {least} sessions or more",
                where="--start, --end",
                value=f"{len(days)} sessions",
                fix="take a longer span, fewer folds, or shorter --train, --test and --purge",
            )
        first = len(days) - number * test
        tests = [range(low, low + test) for low in range(first, len(days), test)]
        found = []
        for place, held_out in enumerate(tests):
            end = held_out.start - self.purge
            barred = {
                at for earlier in tests[:place] for at in range(earlier.stop, earlier.stop + self.embargo)
            }
            begin = 0 if self.anchored else end - train
            chosen_on = [at for at in range(begin, end) if at not in barred]
            if len(chosen_on) < _LEAST_TRAIN:
                raise ArgumentError(
                    f"the embargo leaves the choice of fold {place + 1} {len(chosen_on)} sessions",
                    where="--embargo",
                    value=self.embargo,
                    fix="give a smaller one, or a longer --train",
                )
            parts = (chosen_on, held_out, range(end, held_out.start), sorted(barred & set(range(begin, end))))
            found.append(Fold(*(tuple(days[at] for at in part) for part in parts)))
        return tuple(found)
