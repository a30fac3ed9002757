"""What each key means, takes and is by default: for the reference page, ``config show KEY`` and ``init``."""

import ast
import inspect
import math
import re
import types
from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal
from enum import Enum
from textwrap import dedent
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import msgspec

from scalpdesk.config.schema import Schema, Secret
from scalpdesk.config.settings import DeskConfig
from scalpdesk.config.sources import OVERRIDE, KeyPath, dotted
from scalpdesk.config.traders_words import option_meant
from scalpdesk.core.bounds import bounds_in
from scalpdesk.strategies.registry import canonical_name, find_strategy, strategy_names
from scalpdesk.venues.registry import find_venue


class KeyMeaning(NamedTuple):
    """A key as a reader needs it."""

    path: KeyPath
    takes: str
    default: str
    means: str
    unit: str
    """Kind of number, in words; empty where its type says all."""

    @property
    def takes_text(self) -> str:
        """What it takes and in which unit, without marks."""
        return self.takes.replace("`", "") + (f" ({self.unit})" if self.unit else "")


def key_meanings(struct: type[msgspec.Struct], prefix: KeyPath = ()) -> Iterator[KeyMeaning]:
    """Yield every key of a section, those of its own sections too."""
    meanings = field_docs(struct)
    for field in msgspec.structs.fields(struct):
        path = (*prefix, field.encode_name)
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from key_meanings(field.type, path)
        else:
            unit = next((bound.unit for bound in bounds_in(field.type)), "")
            means = meanings.get(field.name, "")
            yield KeyMeaning(path, type_words(field.type), _default(field), means, unit)


def _default(field: msgspec.structs.FieldInfo) -> str:
    value = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    if value is msgspec.NODEFAULT:
        return "required"
    if value in (None, msgspec.UNSET, {}, (), []):
        return "—"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`"


_WORDS: dict[Any, str] = {
    int: "whole number",
    float: "number",
    bool: "true or false",
    str: "text",
    Decimal: "exact amount",
    Secret: "secret",
}


def type_words(kind: Any) -> str:
    """Return a type in words."""
    origin = get_origin(kind)
    if origin is Annotated:
        base, *extras = get_args(kind)
        marks = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
        bounds = [
            f"{sign} {getattr(extra, name)}"
            for extra in extras
            for name, sign in marks
            if getattr(extra, name, None) is not None
        ]
        for bound in bounds_in(kind):
            ends = (("≥" if bound.may_equal_low else ">", bound.low), ("≤", bound.high))
            bounds += [f"{sign} {end:.15g}" for sign, end in ends if math.isfinite(end)]
        return " ".join([type_words(base), *bounds])
    if origin in {Union, types.UnionType}:
        unset = {msgspec.UnsetType, type(None)}
        words = " or ".join(type_words(option) for option in get_args(kind) if option not in unset)
        return f"{words}, optional" if type(None) in get_args(kind) else words
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(f"`{member.value}`" for member in kind)
    if origin is dict:
        return f"table of {type_words(get_args(kind)[1])}"
    return _WORDS.get(kind, getattr(kind, "__name__", str(kind)))


def desk_meanings(strategy: str) -> dict[str, KeyMeaning]:
    """Return every key of the sections and of a strategy, by its dotted path."""
    keys = [
        *key_meanings(DeskConfig),
        *key_meanings(find_strategy(strategy).config, ("strategies", strategy)),
    ]
    return {dotted(key.path): key for key in keys}


def option_words(
    option: str, value: str, known: Collection[str], others: Sequence[str]
) -> tuple[tuple[str, ...], str]:
    """Return what is typed in the place of an unknown option, and what differs; empty where nothing fits.

    ``known``: Options of the command. ``others``: All other words of the line: a strategy may be named there.
    """
    words = option_meant(option, value, known)
    if words or OVERRIDE not in known:
        return words, ""
    strategy = next(
        (name for name in map(canonical_name, others) if name in strategy_names()), "gamma-scalper"
    )
    schema = Schema(
        DeskConfig, lambda name: find_strategy(name).config, lambda name: find_venue(name).settings, strategy
    )
    meant = schema.key_of_word(option.lstrip("-"), value)
    if meant is None:
        return (), ""
    return tuple(word for setting in meant.settings for word in (OVERRIDE, setting)), meant.why


def field_docs(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Return the meaning of each field: from the class's ``Parameters``, or from the text below the field."""
    found: dict[str, str] = {}
    for kind in reversed(struct.__mro__):
        if kind in {object, msgspec.Struct} or not issubclass(kind, msgspec.Struct):
            continue
        meanings = _parameters(inspect.getdoc(kind) or "") | texts_below_fields(kind)
        # "as in the base class" says less than the base class
        found |= {
            name: text for name, text in meanings.items() if name not in found or not text.startswith("As in")
        }
    return {name: as_markdown(text) for name, text in found.items()}


def _parameters(doc: str) -> dict[str, str]:
    """Read the ``Parameters`` of a numpydoc docstring: names on one line, the text indented below."""
    _, _, body = doc.partition("Parameters\n----------\n")
    found: dict[str, str] = {}
    names: list[str] = []
    for line in body.splitlines():
        if line and set(line) == {"-"}:  # the next section: its title was no name
            for name in names:
                found.pop(name, None)
            break
        if line and not line.startswith(" "):
            names = [name.strip() for name in line.split(":")[0].split(",")]
            found |= dict.fromkeys(names, "")
        elif line.strip():
            for name in names:
                found[name] = f"{found[name]} {line.strip()}".strip()
    return found


def texts_below_fields(struct: type) -> dict[str, str]:
    """Read the text below each field; one that begins with names of fields and a colon is about these."""
    body = ast.parse(dedent(inspect.getsource(struct))).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            text = " ".join(str(below.value.value).split())
            several = re.match(r"((?:``\w+``(?:, )?){2,}): ", text)
            names = re.findall(r"\w+", several[1]) if several else [field.target.id]
            found |= dict.fromkeys(names, text[several.end() :] if several else text)
    return found


def as_markdown(text: str) -> str:
    """Return the words of a docstring with names between single backticks."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text)
    return text.replace("``", "`")
