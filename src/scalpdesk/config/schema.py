"""Where a key belongs and what may stand there: the sections' types as a tree of named keys."""

import math
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, time
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Struct

from scalpdesk.config.sources import OVERRIDE, Entry, KeyPath, dotted
from scalpdesk.config.traders_words import Meaning, choice_meant, key_meant
from scalpdesk.core import readings
from scalpdesk.core.bounds import bounds_in
from scalpdesk.core.errors import ConfigError, ScalpdeskError, nearest_name

_MASK = "***"
STRATEGIES, VENUES = "strategies", "venues"
"""Sections whose tables are named after a plug-in and checked against its settings."""
_NONE_WORDS = {"", "none", "null"}
_MINUTES = re.compile(r"\d?\d:\d\d")
_LIKELY, _SURELY = 0.7, 0.85
"""How like a known name of the same section, or of any, an unknown one is to be named in its place."""
_PERCENT = re.compile(r" *(-?\d+\.?\d*) *% *")
_T = TypeVar("_T", bound=Struct)


class ManyConfigError(ConfigError):
    """Several keys are wrong; all of them are shown at once."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        self.errors = tuple(errors)
        super().__init__(f"{len(errors)} keys of the configuration are wrong")

    def render(self) -> str:
        """Return all refusals, one below the other."""
        return "\n".join([self.what, *(error.render() for error in self.errors)])

    def as_dict(self) -> dict[str, object]:
        """Return the facts of all refusals for ``--json``."""
        return super().as_dict() | {"errors": [error.as_dict() for error in self.errors]}


def raise_all(errors: Sequence[ConfigError]) -> None:
    """Raise the errors, several as a single error; return if the list is empty."""
    if errors:
        raise errors[0] if len(errors) == 1 else ManyConfigError(errors)


class Secret:
    """A key that no listing, log or file of the desk shows.

    Only :meth:`reveal` gives its text back.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the key in clear, for the call that sends it to its venue."""
        return self._text

    def __repr__(self) -> str:
        return _MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a Secret is not written anywhere")


def plain(value: Any) -> Any:
    """Return ``value`` as JSON-able data: structs as dicts, exact amounts as text, secrets masked."""
    return msgspec.to_builtins(value, enc_hook=_encode, str_keys=True)


def _encode(value: Any) -> Any:
    if isinstance(value, Secret):
        return _MASK
    raise NotImplementedError(f"{type(value).__name__} has no plain form")


def _decode(kind: type, value: Any) -> Any:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise TypeError(f"Expected `{kind.__name__}`")


class _UnknownKeyError(Exception):
    """No key of a section has this name."""

    def __init__(self, found: KeyPath, word: str, children: Mapping[str, Any]) -> None:
        self.found, self.word, self.children = found, word, children
        super().__init__(word)


class Schema:
    """The keys that exist, section by section, strategies included.

    ``root``: Struct of the whole configuration; its fields ``strategies`` and ``venues`` are filled by name.
    ``strategy_config``, ``venue_settings``: Return the settings' type of a strategy and of a venue by name;
    ConfigError with the nearest.
    ``strategy``: Strategy to which the keys of ``--set`` belong first.
    """

    def __init__(
        self,
        root: type[Struct],
        strategy_config: Callable[[str], type[Struct]],
        venue_settings: Callable[[str], type[Struct]],
        strategy: str | None,
    ) -> None:
        self._root = root
        self._strategy_config = strategy_config
        self._plugs = {STRATEGIES: strategy_config, VENUES: venue_settings}
        self._strategy = strategy
        if strategy is not None:
            strategy_config(strategy)

    def place(self, entry: Entry) -> Entry | None:
        """Return the entry at the full path of its key, its value checked; None for an empty section.

        Raises ConfigError when there is no such key or the value does not fit it.
        """
        path = entry.path
        if entry.source == OVERRIDE and self._strategy is not None:
            own = (STRATEGIES, self._strategy, *path)
            if path[0] not in _struct_fields(self._root) or self.knows(replace(entry, path=own)):
                path = own
        entry = replace(entry, path=path)
        try:
            path, kind = self._resolve(entry)
        except _UnknownKeyError as unknown:
            raise self._unknown(unknown.found, unknown.word, unknown.children, entry) from None
        if _struct_types(kind):
            if entry.value == {}:
                return None
            meant = self._meant(path[:-1], replace(entry, path=path))
            raise ConfigError(
                "this key is a section, not a value",
                where=_where(path, entry.source),
                value=_shown(path, kind, entry.value),
                fix=f"set one of its keys, as {dotted(path)}.{next(iter(_children(kind)), 'KEY')}"
                if meant is None
                else f"use {_to_paste(self._short(meant.key, entry), meant, entry)}",
            )
        return replace(entry, path=path, value=_fit(path, kind, entry))

    def knows(self, entry: Entry) -> bool:
        """Return whether there is a key of this full path."""
        try:
            self._resolve(entry)
        except (ConfigError, _UnknownKeyError):
            return False
        return True

    def _resolve(self, entry: Entry) -> tuple[KeyPath, Any]:
        """Walk down from the root; names from the environment match in any case, ``_`` for ``-``."""
        found: KeyPath = ()
        kind: Any = self._root
        for at, word in enumerate(entry.path):
            if len(found) == 1 and found[0] in self._plugs:
                plug = self._plug_name(found[0], word, entry)
                found, kind = (*found, plug), self._plugs[found[0]](plug)
                continue
            value_kind = _mapping_value(kind)
            if value_kind is not None:
                if not _struct_types(value_kind) and _mapping_value(value_kind) is None:
                    return (*found, dotted(entry.path[at:])), value_kind  # a name may hold dots, as BRK.B
                found, kind = (*found, word), value_kind
                continue
            children = _children(kind)
            name = word if word in children else _folded(children).get(_fold(word)) if _loose(entry) else None
            if name is None:
                raise _UnknownKeyError(found, word, children)
            found, kind = (*found, name), children[name]
        return found, kind

    def _plug_name(self, section: str, word: str, entry: Entry) -> str:
        name = (word.lower() if _loose(entry) else word).replace("_", "-")
        try:
            self._plugs[section](name)
        except ConfigError as error:
            raise ConfigError(
                error.what,
                where=_where((section, word), entry.places.get((section, word), entry.source)),
                value=word,
                nearest=error.nearest,
                fix=error.fix,
            ) from error
        return name

    def _unknown(self, found: KeyPath, word: str, children: Mapping[str, Any], entry: Entry) -> ConfigError:
        """Return the refusal of a key, with what a trader's word means, or the nearest of its section."""
        at = (*found, word)
        is_last = len(at) == len(entry.path)
        meant = self._meant(found, entry)
        near = _likest(word, children)
        nearest = dotted((*found, near)) if near is not None else None
        if nearest is not None and not is_last:
            path = (*tuple(nearest.split(".")), *entry.path[len(at) :])
            value = self.value_meant(path, entry.value)
            if value is not None:
                own = Meaning(self._short(dotted(path), entry), value, (), "")
                return self._refusal(at, word, entry, children, self._short(nearest, entry), own)
        is_same = near is not None and _words_of(near) == _words_of(word)  # in another order
        if meant is not None and not is_same:
            return self._refusal(at, word, entry, children, self._short(meant.key, entry), meant)
        if nearest is None and found in {(), (STRATEGIES, self._strategy)}:  # no known section was named
            nearest = self._in_any_section(word, alone=is_last)
        if nearest is not None:
            path = tuple(nearest.split("."))
            nearest = self._short(nearest, entry)
            if is_last and self.knows(replace(entry, path=path)):
                value = self.value_meant(path, entry.value)
                return self._refusal(
                    at,
                    word,
                    entry,
                    children,
                    nearest,
                    None if value is None else Meaning(nearest, value, (), ""),
                )
        return self._refusal(at, word, entry, children, nearest, None)

    def _short(self, key: str, entry: Entry) -> str:
        """Return a key as the command line takes it, of an override: the strategy's without its name."""
        is_short = entry.source == OVERRIDE and self._strategy is not None
        return key.removeprefix(f"{STRATEGIES}.{self._strategy}.") if is_short else key

    def _meant(self, found: KeyPath, entry: Entry) -> Meaning | None:
        """Return what the table of traders' words has for a key, its value as the key takes it."""
        own: KeyPath = () if self._strategy is None else (STRATEGIES, self._strategy)
        if found[:1] == (STRATEGIES,) and len(found) > 1:
            own = found[:2]
        elif found[:1] in {(STRATEGIES,), (VENUES,)}:
            return None

        def full(key: str) -> KeyPath | None:
            path: KeyPath = tuple(key.split("."))
            places = [(*own, *path), path] if own else [path]
            return next((each for each in places if self.knows(replace(entry, path=each))), None)

        words = entry.path[len(own) :] if own and entry.path[: len(own)] == own else entry.path
        section = words[0] if len(found) > (len(own) if found[: len(own)] == own else 0) else None
        meant = key_meant(words, entry.value, lambda key: full(key) is not None, section)
        if meant is None:
            return None
        path = full(meant.key)
        assert path is not None
        value = self.value_meant(path, meant.value)
        more = tuple(self._short(dotted(full(each.partition("=")[0]) or ()), entry) for each in meant.more)
        return Meaning(
            dotted(path),
            meant.value if value is None else value,
            tuple(f"{key}={each.partition('=')[2]}" for key, each in zip(more, meant.more, strict=True)),
            meant.why,
        )

    def value_meant(self, path: KeyPath, value: object) -> str | None:
        """Return what a value may mean for a key, as it is typed; None where nothing of it fits."""
        try:
            _, kind = self._resolve(Entry(path, value, OVERRIDE))
        except (ConfigError, _UnknownKeyError):
            return None
        return value_meant(kind, value)

    def key_of_word(self, word: str, value: str) -> Meaning | None:
        """Return what a word of a trader, typed as an option, means as a key; the strategy's first."""
        entry = Entry((word.replace("-", "_"),), value, OVERRIDE, is_text=True)
        meant = self._meant((), entry)
        if meant is not None:
            return meant._replace(key=self._short(meant.key, entry))
        name = word.replace("-", "_")
        for path in self.all_paths():
            if path[-1] == name:
                found = self.value_meant(path, value)
                return None if found is None else Meaning(self._short(dotted(path), entry), found, (), "")
        return None

    def _refusal(
        self,
        at: KeyPath,
        word: str,
        entry: Entry,
        children: Mapping[str, Any],
        nearest: str | None,
        meant: Meaning | None,
    ) -> ConfigError:
        known = ", ".join(children)
        fix = f"use {nearest}" if nearest is not None else f"known here: {known}" if known else "remove it"
        if nearest == word:  # right, but in another section
            fix = f"{word} stands by itself, not below {dotted(at[:-1]) or 'another section'}: [{word}]"
        if meant is not None and nearest is not None:
            fix = f"{fix}: {_to_paste(self._short(meant.key, entry), meant, entry)}" + (
                f" ({meant.why})" if meant.why else ""
            )
        return ConfigError(
            "unknown configuration key",
            where=_where(at, entry.places.get(at, entry.source)),
            value=word,
            nearest=nearest,
            fix=fix,
        )

    def _in_any_section(self, word: str, *, alone: bool) -> str | None:
        """Return the section of (nearly) this name, or of a key that stands alone, the key."""
        by_name: dict[str, str] = {}
        if alone:
            for path in self.all_paths():
                by_name.setdefault(path[-1], dotted(path))
        else:
            by_name = {name: name for name in _struct_fields(self._root)}
        near = nearest_name(word, by_name, _SURELY)
        return by_name[near] if near is not None else None

    def all_paths(self) -> Iterator[KeyPath]:
        """Yield the path of every key: the chosen strategy's first, then the sections'."""
        if self._strategy is not None:
            yield from _paths(self._strategy_config(self._strategy), (STRATEGIES, self._strategy))
        yield from _paths(self._root, ())

    def convert(self, kind: type[_T], tree: Any, prefix: KeyPath, values: Mapping[KeyPath, Entry]) -> _T:
        """Return the tree of placed values as ``kind``.

        Raises ConfigError when values that fit one by one do not fit together, or a key without default is
        missing.
        """
        try:
            return msgspec.convert(tree, kind, dec_hook=_decode)
        except (msgspec.ValidationError, ScalpdeskError) as problem:
            cause = problem.__cause__ if isinstance(problem, msgspec.ValidationError) else problem
            what, _, at = str(problem).partition(" - at `$.")
            path = (*prefix, *at.rstrip("`").split(".")) if at else prefix
            source = values[path].source if path in values else ""
            if isinstance(cause, ManyConfigError):
                found = [located(each, tuple(str(each.where).split(".")), values) for each in cause.errors]
                raise ManyConfigError(found) from problem
            if isinstance(cause, ScalpdeskError):
                inner = tuple(cause.where.split(".")) if cause.where else path
                inner = inner if inner[: len(prefix)] == prefix else (*prefix, *inner)
                raise located(cause, inner, values, source) from problem
            raise ConfigError(what, where=_where(path, source), fix="scalpdesk config show") from problem


def located(
    cause: ScalpdeskError, path: KeyPath, values: Mapping[KeyPath, Entry], otherwise: str = ""
) -> ConfigError:
    """Return the refusal of the value at ``path`` with where that value was set."""
    source = values[path].source if path in values else otherwise
    meant = choice_meant(dotted(path), cause.value)
    return ConfigError(
        cause.what,
        where=_where(path, source),
        value=cause.value,
        nearest=meant or cause.nearest,
        fix=cause.fix if meant is None else f"set {dotted(path)}={meant}; {cause.fix}",
    )


def _to_paste(key: str, meant: Meaning, entry: Entry) -> str:
    """Return settings as they are written where the unknown key stood: after ``--set``, or in the file."""
    settings = [
        (key, meant.value),
        *((each.partition("=")[0], each.partition("=")[2]) for each in meant.more),
    ]
    if "environment" in entry.source or entry.source.startswith(".env"):
        return " ".join(f"SCALPDESK_{name.upper().replace('.', '__')}={text}" for name, text in settings)
    if entry.source == OVERRIDE:
        return " ".join(f"{OVERRIDE} {name}={text}" for name, text in settings)
    section = key.rpartition(".")[0]
    lines = "; ".join(f"{name.rpartition('.')[2]} = {_as_toml(text)}" for name, text in settings)
    return f"{lines} below [{section}]" if section else lines


def _as_toml(text: str) -> str:
    is_plain = text in {"true", "false"} or re.fullmatch(r"-?\d+(\.\d+)?", text) is not None
    return text if is_plain else f'"{text}"'


def value_meant(kind: Any, value: object) -> str | None:
    """Return what a value may mean for a key of this type, as it is typed; None where nothing of it fits."""
    bounds = [*bounds_in(kind)]
    text = str(value).lower() if isinstance(value, bool) else str(value).strip()

    def fits(number: Any) -> bool:
        try:
            msgspec.convert(str(number), kind, strict=False, dec_hook=_decode)
        except (msgspec.ValidationError, ScalpdeskError, TypeError):
            return False
        is_number = isinstance(number, Decimal)
        return not is_number or all(bound.admits(number) for bound in bounds)

    options = _alternatives(kind)
    if "%" in text and float not in options:  # 5 % of what is no amount
        return None
    if not {int, float, Decimal}.isdisjoint(options):
        found = readings.number_meant(text, fits)
        if found is not None or str not in options:
            return found
    if time in options:
        return readings.time_meant(text)
    choices = [str(choice) for option in options for choice in _choices(option)]
    if choices:
        return text if text in choices else nearest_name(text, choices)
    return text if text and fits(text) else None


def _words_of(key: str) -> set[str]:
    return set(_fold(key).split("_"))


def _likest(word: str, known: Mapping[str, Any]) -> str | None:
    """Return the key that is meant: the nearest by letters, or the first that has all words of ``word``.

    One that is near by letters and has a word that is near to none of the key's is another: a
    ``min_edge_stderrs`` is no ``min_edge_usd``.
    """
    near = nearest_name(word, known, _LIKELY)
    parts = _fold(word).split("_")
    if near is not None and len(parts) > 1 and nearest_name(word, [near], _SURELY) is None:
        own = _fold(near).split("_")
        if any(nearest_name(part, own, _LIKELY) is None for part in parts):
            near = None
    return near or next((name for name in known if _words_of(word) <= _words_of(name)), None)


def _struct_types(kind: Any) -> tuple[type[Struct], ...]:
    """Return the struct types among which a value of ``kind`` may be; empty for a plain value."""
    return tuple(k for k in _alternatives(kind) if isinstance(k, type) and issubclass(k, Struct))


def _struct_fields(kind: type[Struct]) -> dict[str, Any]:
    """Return the keys of a struct as they are written, with their types."""
    return {f.encode_name: f.type for f in msgspec.structs.fields(kind)}


def _mapping_value(kind: Any) -> Any:
    """Return the type of the values of a mapping type; None for anything else."""
    for option in _alternatives(kind):
        if option is dict or get_origin(option) in {dict, Mapping}:
            return (get_args(option) or (str, Any))[1]
    return None


def _children(kind: Any) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for struct in _struct_types(kind):
        tag_field = struct.__struct_config__.tag_field
        if tag_field is not None:
            merged.setdefault(tag_field, str)
        for name, field_kind in _struct_fields(struct).items():
            merged.setdefault(name, field_kind)
    return merged


def _paths(kind: Any, prefix: KeyPath) -> Iterator[KeyPath]:
    for name, child in _children(kind).items():
        path = (*prefix, name)
        yield from _paths(child, path) if _struct_types(child) else (path,)


def _alternatives(kind: Any) -> tuple[Any, ...]:
    if get_origin(kind) is Annotated:
        return _alternatives(get_args(kind)[0])
    if get_origin(kind) in {Union, types.UnionType}:
        return tuple(a for option in get_args(kind) for a in _alternatives(option))
    return (kind,)


def _fit(path: KeyPath, kind: Any, entry: Entry) -> Any:
    """Return the value as plain data that ``kind`` accepts."""
    options = _alternatives(kind)
    value = entry.value
    # TOML has no word for nothing: there, too, a key that takes no text may be switched off by one
    may_be_none = type(None) in options and isinstance(value, str) and (entry.is_text or str not in options)
    if may_be_none and value.strip().lower() in _NONE_WORDS:
        return None
    if entry.is_text:
        others = tuple(option for option in options if option is not str)
        if str in options and len(others) < len(options) and others:  # what reads as a number is one
            try:
                return plain(msgspec.convert(value, Union[others], strict=False, dec_hook=_decode))  # noqa: UP007
            except msgspec.ValidationError:
                return value
        if str not in options and any((get_origin(o) or o) in {list, tuple, set, frozenset} for o in options):
            value = [word.strip() for word in value.split(",") if word.strip()]
    if time in options and isinstance(value, str) and _MINUTES.fullmatch(value.strip()):
        value = f"{value.strip():0>5}:00"
    try:
        fitted = msgspec.convert(value, kind, strict=not entry.is_text, dec_hook=_decode)
    except msgspec.ValidationError as problem:
        raise _misfit(path, kind, entry, problem) from problem
    if isinstance(fitted, float | Decimal) and not math.isfinite(fitted):
        raise ConfigError(
            "this key takes a finite number",
            where=_where(path, entry.source),
            value=entry.value,
            fix=f"set {dotted(path)} to a number",
        )
    return value if Secret in options else plain(fitted)


def _misfit(path: KeyPath, kind: Any, entry: Entry, problem: msgspec.ValidationError) -> ConfigError:
    options = _alternatives(kind)
    item, length = _item_kind(kind)
    choices = [str(c) for option in (*options, *_alternatives(item)) for c in _choices(option)]
    expected = _expected(options, item, length, choices)
    limit = str(problem).partition(" - at ")[0].partition("` ")[2]
    has_bound = limit[:1] in {"<", ">", "m", "o"} and not limit.startswith("or ") and item is None
    bound = f" {limit}" if has_bound else ""
    secret = Secret in options
    # YAML takes 15:45 without quotes for the number 945
    quoted = ', in "quotes"' if str in options and isinstance(entry.value, int) else ""
    key, wanted = dotted(path), f"{expected}{bound}{quoted}"
    least = _least_above_part(kind, entry.value)
    if float in options and (percent := _PERCENT.fullmatch(str(entry.value))):
        wanted = f"{float(percent[1]) / 100:g}, a fraction"
    elif item is not None:
        sample = choices[:2] or [_SAMPLES.get(_alternatives(item)[0], "A")] * (length or 2)
        wanted = ",".join(sample) if entry.is_text else str(sample).replace("'", '"')
        wanted = f"{expected}, such as {wanted}"
    elif least is not None:
        expected = f"{expected}, {least} or more"
        wanted = f"{least}, the least: {OVERRIDE} {key}={least}"
    elif (value_kind := _mapping_value(kind)) is not None:
        deep = _mapping_value(value_kind) is not None
        key, wanted = f"{key}.NAME{'.KEY' if deep else ''}", "a value" if deep else _words(value_kind)
    wrong = _wrong_item(item, entry.value)
    fix = f"set {key} to {wanted}"
    meant = None
    if item is None and not secret:
        meant = choice_meant(key, entry.value) or value_meant(kind, entry.value)
    if meant is not None and meant != str(entry.value).strip() and least is None:
        fix = f"set {key}={meant}"
    return ConfigError(
        f"this key takes {expected}{bound}",
        where=_where(path, entry.source),
        value=_shown(path, kind, wrong),
        nearest=nearest_name(str(wrong), choices) if choices and not secret else None,
        fix=fix,
    )


def _least_above_part(kind: Any, value: Any) -> int | None:
    """Return the least whole number that a key takes, where a part of one was asked for."""
    bound = next(bounds_in(kind), None)
    if bound is None or int not in _alternatives(kind) or not math.isfinite(bound.low):
        return None
    least = math.ceil(bound.low) if bound.may_equal_low else math.floor(bound.low) + 1
    try:
        return least if 0.0 < float(value) < least else None
    except (TypeError, ValueError):
        return None


def _expected(options: tuple[Any, ...], item: Any, length: int | None, choices: Sequence[str]) -> str:
    """Return in words what a key takes: of a list, which items."""
    if item is None:
        return f"one of {', '.join(choices)}" if choices else _words(options)
    items = f"of {', '.join(choices)}" if choices else f"values, each {_words(item)}"
    return f"a list of {length} {items}" if length else f"one or more {items}, as a list"


def _item_kind(kind: Any) -> tuple[Any, int | None]:
    """Return the type of a list's items and how many it must have; None for anything else than a list."""
    for option in _alternatives(kind):
        if (get_origin(option) or option) in {list, tuple, set, frozenset}:
            items = get_args(option) or (str,)
            fixed = get_origin(option) is tuple and Ellipsis not in items
            return items[0], len(items) if fixed else None
    return None, None


def _wrong_item(item: Any, value: Any) -> Any:
    """Return the first item of a list that does not fit, or the value."""
    if item is None:
        return value
    items = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    for each in (word.strip() if isinstance(word, str) else word for word in items):
        try:
            msgspec.convert(each, item, strict=not isinstance(value, str), dec_hook=_decode)
        except msgspec.ValidationError:
            return each
    return value


def _shown(path: KeyPath, kind: Any, value: Any) -> Any:
    return _MASK if Secret in _alternatives(kind) or path[:1] == ("credentials",) else value


def _choices(option: Any) -> tuple[Any, ...]:
    if get_origin(option) is Literal:
        return get_args(option)
    members = getattr(option, "__members__", None)
    return tuple(member.value for member in members.values()) if isinstance(members, Mapping) else ()


_SAMPLES: dict[Any, str] = {int: "1", float: "0.5", time: "10:00", date: "2026-03-20"}
_WORDS: dict[Any, str] = {
    Any: "a value",
    date: "a date, YYYY-MM-DD",
    time: "a time, HH:MM",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    Decimal: "an exact amount, such as 100000.50",
    type(None): '"none"',
    Secret: "text",
}


def _words(kind: Any) -> str:
    """Return the types among which a value may be, in words."""
    options = kind if isinstance(kind, tuple) else _alternatives(kind)
    choices = [str(choice) for option in options for choice in _choices(option)]
    if choices:
        return f"one of {', '.join(choices)}"
    return " or ".join(_word(option) for option in options if option is not msgspec.UnsetType)


def _word(option: Any) -> str:
    if option in _WORDS:
        return _WORDS[option]
    origin = get_origin(option) or option
    return "a table of keys" if origin in {dict, Mapping} else str(getattr(origin, "__name__", origin))


def _where(path: KeyPath, source: str) -> str:
    return f"{dotted(path)} ({source})" if source else dotted(path)


def _loose(entry: Entry) -> bool:
    return "environment" in entry.source or entry.source.startswith(".env")


def _fold(word: str) -> str:
    return word.lower().replace("-", "_")


def _folded(names: Mapping[str, Any]) -> dict[str, str]:
    return {_fold(name): name for name in names}
