"""Options once: what a struct's flags take, and what they stand for."""

import math
from datetime import date
from typing import Annotated, Literal

import pytest

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.flags import Flag, Options, options_of, read_date


class Wanted(Options, frozen=True, kw_only=True):
    days: Annotated[int | None, Flag("Days.", least=2, most=9)] = None
    width: Annotated[float, Flag("Width.", least=0, most=1, above_least=True)] = 0.5
    kind: Annotated[Literal["a", "bee"], Flag("Kind.", key="section.kind")] = "a"
    names: Annotated[tuple[str, ...], Flag("Names.", choices=lambda: ("one", "two"))] = ()
    note: str = ""


@pytest.mark.rows(
    ("field", "value"),
    [
        ("days", 1),
        ("days", 10),
        ("width", 0.0),
        ("width", 1.5),
        ("width", math.nan),
        ("kind", "be"),
        ("names", ("one", "twoo")),
    ],
)
def test_what_a_flag_does_not_take_is_refused_in_python_by_its_field(field, value):
    with pytest.raises(ArgumentError) as caught:
        Wanted(**{field: value})
    assert caught.value.where == field
    assert caught.value.fix
    assert str(caught.value.value) in str(value)


def test_a_slip_of_a_name_is_told_the_nearest():
    with pytest.raises(ArgumentError) as caught:
        Wanted(kind="be")
    assert caught.value.nearest == "bee"


def test_what_a_flag_takes_passes_and_a_field_without_one_is_no_flag():
    wanted = Wanted(days=9, width=1.0, kind="bee", names=("two", "one"), note="x")
    assert (wanted.days, wanted.width, wanted.note) == (9, 1.0, "x")
    assert tuple(options_of(Wanted)) == ("days", "width", "kind", "names")
    assert options_of(Wanted)["kind"].choices == ("a", "bee")
    assert options_of(Wanted)["names"].choices == ("one", "two")


def test_a_flag_with_a_key_is_a_setting():
    assert Wanted(kind="bee").overrides() == ("section.kind=bee",)


def test_days_are_read_in_one_form():
    assert read_date("2018-02-05", "--start") == date(2018, 2, 5)
    with pytest.raises(ArgumentError) as caught:
        read_date("5.2.2018", "--start")
    assert (caught.value.where, caught.value.value) == ("--start", "5.2.2018")
