"""A struct of options as the flags of a command."""

from datetime import date
from typing import Annotated, Literal

import click
import pytest
from click.testing import CliRunner

from scalpdesk.cli.flags import options
from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.flags import Flag, Options


class Wanted(Options, frozen=True, kw_only=True):
    day: Annotated[date, Flag("Day.", "DATE", "--start")]
    last: Annotated[date | None, Flag("Last day.")] = None
    days: Annotated[int, Flag("Days.", least=2)] = 3
    width: Annotated[float, Flag("Width.", least=0, above_least=True, shows_default=False)] = 0.5
    side: Annotated[Literal["long", "short"] | None, Flag("Side.")] = None
    loud: Annotated[bool, Flag("Loud.")] = False
    fees: Annotated[bool, Flag("Fees.", name="--fees/--no-fees")] = True
    guard: Annotated[bool | None, Flag("Guard.", name="--guard/--no-guard")] = None
    names: Annotated[tuple[str, ...], Flag("Names.", name="--name")] = ()


def called(*words):
    seen = []

    @click.command()
    @options(Wanted)
    def command(*, options):
        seen.append(options)

    result = CliRunner().invoke(command, list(words))
    if isinstance(result.exception, ArgumentError):
        raise result.exception
    return seen[0] if seen else result


def test_flags_become_the_struct():
    assert called("--start", "2018-02-05") == Wanted(day=date(2018, 2, 5))
    given = ("--last", "2018-02-06", "--days", "2", "--width", "0.1", "--side", "short", "--loud")
    more = ("--no-fees", "--no-guard", "--name", "a", "--name", "b")
    assert called("--start", "2018-02-05", *given, *more) == Wanted(
        day=date(2018, 2, 5),
        last=date(2018, 2, 6),
        days=2,
        width=0.1,
        side="short",
        loud=True,
        fees=False,
        guard=False,
        names=("a", "b"),
    )


@pytest.mark.parametrize(
    "words", [(), ("--days", "1"), ("--width", "0"), ("--width", "nan"), ("--side", "up")]
)
def test_what_a_flag_does_not_take_is_wrong_use(words):
    start = ("--start", "2018-02-05") if words else ()
    assert called(*start, *words).exit_code == 2


def test_a_day_that_is_none_is_refused_by_its_flag():
    with pytest.raises(ArgumentError) as caught:
        called("--start", "today")
    assert (caught.value.where, caught.value.value) == ("--start", "today")


def test_the_help_shows_ranges_choices_and_defaults():
    text = called("--help").output
    assert "[default: 3; x>=2]" in text
    assert "[long|short]" in text
    assert "0.5" not in text
    assert "--fees / --no-fees" in text
