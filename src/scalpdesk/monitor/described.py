"""Structs as the dashboard's OpenAPI document describes them: what is sent of each, from its own fields."""

from decimal import Decimal
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from typing_extensions import TypedDict

from scalpdesk.report.figures import Shown

_LIST: Any = list
_DICT: Any = dict
_TYPED_DICT: Any = TypedDict  # types that are known at run time alone


class Described:
    """Lets pydantic describe a struct by what :func:`scalpdesk.report.figures.json_safe` makes of it."""

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Return the schema of the JSON types of its fields."""
        return handler.generate_schema(_sent(source))


def _sent(kind: Any) -> Any:
    """Return the type of what is sent of a value: JSON types, exact amounts as text.

    A float that is not finite is sent as null, so any may be.
    """
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _shape_of(kind)
    if kind is Decimal or (isinstance(kind, type) and issubclass(kind, Enum)):
        return str
    if kind is float:
        return float | None
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _told(inner[0], [each for each in inner[1:] if isinstance(each, Shown)])
    if origin in (Union, UnionType):
        return Union[tuple(map(_sent, inner))]  # noqa: UP007 - of types known at run time
    if origin in (list, tuple):
        return _LIST[_sent(inner[0])]
    if origin is dict:
        return _DICT[str, _sent(inner[1])]
    return NoneType if kind is None else kind


def _told(kind: Any, shown: list[Shown]) -> Any:
    from pydantic import Field  # noqa: PLC0415 - only the server has it loaded

    for each in shown:
        text = f"{each.head}, {each.unit}" if each.unit else each.head
        return Annotated[_sent(kind), Field(description=text)]
    return _sent(kind)


@cache
def _shape_of(kind: type[msgspec.Struct]) -> Any:
    fields = {each.encode_name: _sent(each.type) for each in msgspec.structs.fields(kind)}
    shape = _TYPED_DICT(kind.__name__, fields)
    shape.__doc__ = kind.__doc__
    return shape
