"""Plug-ins by name: the product's own and those of installed packages, checked when they are loaded.

A :class:`Socket` is one kind of plug-in; :mod:`scalpdesk.core.sockets` lists all of them.
"""

import sys
from abc import ABC
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from functools import cache, lru_cache, update_wrapper
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from inspect import Parameter, get_annotations, getattr_static, iscoroutinefunction, signature
from pathlib import Path
from pkgutil import iter_modules
from types import FunctionType, UnionType
from typing import Any, NamedTuple, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from scalpdesk.core.errors import ArgumentError, ConfigError, nearest_name
from scalpdesk.core.installing import install_line

Spec = TypeVar("Spec")
OWN = "scalpdesk"
"""Distribution of the product's own plug-ins."""


@dataclass(frozen=True)
class OwnModules:
    """The product's own plug-ins of a socket: a module of one package each, found by its name."""

    package: str
    attribute: str = "PLUG"
    """Attribute of the module; ``{Name}`` stands for the module's name, capitalised."""
    module: str = ""
    """Module of a package that holds it; empty where the plug-in is a module of :attr:`package` itself."""
    besides: frozenset[str] = frozenset()
    """Modules that are no plug-ins."""
    joiner: str = "_"
    """Character in names for the underscore of a module's name."""

    def references(self) -> dict[str, str]:
        """Return ``module:attribute`` by name; no plug-in is imported."""
        return _references(self)


@cache
def _references(modules: OwnModules) -> dict[str, str]:
    folder = Path(__file__).parents[1].joinpath(*modules.package.split(".")[1:])
    found = {}
    for each in iter_modules([str(folder)]):
        if each.name in modules.besides or (modules.module and not each.ispkg):
            continue
        path = ".".join(filter(None, (modules.package, each.name, modules.module)))
        attribute = modules.attribute.format(Name=each.name.capitalize())
        found[each.name.replace("_", modules.joiner)] = f"{path}:{attribute}"
    return found


class PlugIn(NamedTuple):
    """A plug-in of a socket, as :meth:`Socket.members` lists it."""

    name: str
    distribution: str
    """Distribution that brings it, with its version."""
    reference: str
    """Where it is: ``module:attribute``."""
    problem: ConfigError | None = None
    """Why it is not taken; None for a plug-in that can be used."""


@dataclass(frozen=True)
class Socket:
    """A kind of plug-in, and its plug-ins by name: the product's own and those of installed packages."""

    kind: str
    """Kind of plug-in, for messages: ``hedge band``."""
    where: str
    """Key or option that names one, for refusals."""
    group: str
    """Entry point group of installed packages."""
    contract: str = ""
    """``module:attribute`` of the type of its specs, or of the protocol that its plug-ins keep."""
    page: str = ""
    """Page of docs/developing that says how to write one."""
    own: Mapping[str, str] | OwnModules | str = field(default_factory=dict)
    """The product's own: ``module:attribute`` by name, the modules of a package, or the
    ``module:attribute`` of a table, whose values are references or the plug-ins themselves.
    """
    is_spec: bool = True
    """Whether a plug-in is an instance of the contract, and not a class or function that keeps it."""
    adapter: str = ""
    """``module:attribute`` of a function that turns a plug-in of an earlier form into one of the contract."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """What to install by plug-in name: those of the project's other packages."""

    def names(self) -> tuple[str, ...]:
        """Return all names, sorted."""
        return tuple(sorted({*self.own_names(), *(point.name for point in self._points())}))

    def own_names(self) -> tuple[str, ...]:
        """Return the names of the product's own."""
        return tuple(self._own())

    def is_own(self, name: str) -> bool:
        """Return whether a name is one of the product's own."""
        return name in self._own()

    def find(self, name: str, where: str = "") -> Any:
        """Return the plug-in of a name, checked where a package brings it.

        ``where`` is its key path in the place of the socket's.

        Raises ConfigError when the name is unknown (names the nearest), or an installed plug-in cannot be
        loaded or does not keep the contract.
        """
        own = self._own()
        if name in own:
            found = own[name]
            return resolved(found) if isinstance(found, str) else found
        points = self._points(name)
        if points:
            return self._taken(points)
        if name in self.parts:
            raise ConfigError(
                f"the {self.kind} {name} comes with a package that is not installed",
                where=where or self.where,
                value=name,
                fix=install_line(self.parts[name]),
            )
        known = self.names()
        ways = [f"use one of {', '.join(known)}"] if known else []
        raise ConfigError(
            f"there is no {self.kind} of this name",
            where=where or self.where,
            value=name,
            nearest=nearest_name(name, known, 0.7),
            fix=", or ".join([*ways, "install the package that brings it"]),
        )

    def find_argument(self, name: str) -> Any:
        """Return the plug-in that an argument of a public function names.

        Raises ArgumentError as :meth:`find` does.
        """
        try:
            return self.find(name)
        except ConfigError as refusal:
            raise ArgumentError(
                refusal.what,
                where=refusal.where,
                value=refusal.value,
                nearest=refusal.nearest,
                fix=refusal.fix,
            ) from refusal

    def find_spec(self, kind: type[Spec], name: str) -> Spec:
        """Return the spec of a name, as :meth:`find` does; ``kind`` is the socket's contract."""
        found = self.find(name)
        assert isinstance(found, kind)
        return found

    def members(self) -> Iterator[PlugIn]:
        """Yield every plug-in, loaded and checked; a faulty one brings its refusal, and the others follow."""
        own = self._own()
        for name, found in sorted(own.items()):
            reference = found if isinstance(found, str) else f"{self.own}[{name}]"
            yield PlugIn(name, OWN, reference)
        points = self._points()
        for point in sorted(points, key=lambda each: (each.name, each.value)):
            problem = None
            if point.name in own:
                problem = ConfigError(
                    f"the product has a {self.kind} of this name, which comes first",
                    where=_place_of(point),
                    value=point.value,
                    fix="give the entry point another name",
                )
            else:
                try:
                    self._taken([each for each in points if each.name == point.name])
                except ConfigError as refusal:
                    problem = refusal
            yield PlugIn(point.name, _distribution_of(point), point.value, problem)

    def kept_contract(self) -> Any:
        """Return the contract: a type of specs or a protocol."""
        return resolved(self.contract)

    def check(self, plug: Any, name: str, where: str) -> None:
        """Refuse a plug-in that does not keep the contract: it would end a run in the middle.

        Raises ConfigError that names each member that is missing or is called with other arguments.
        """
        contract = self.kept_contract()
        if not self.is_spec:
            faults = list(lacking(plug, contract))
        elif not isinstance(plug, contract):
            raise ConfigError(
                f"the entry point is not of the type {contract.__name__}",
                where=where,
                value=plug.__qualname__ if isinstance(plug, type) else type(plug).__qualname__,
                fix=self._fix(f'{contract.__name__}(name="{name}", …)'),
            )
        else:
            faults = list(_faults_of_spec(plug, contract))
        known_as = getattr(plug, "name", None)
        if isinstance(known_as, str) and _plain(known_as) != _plain(name):
            faults.append(f"its name is {known_as}")
        self._refuse(faults, plug, contract, name, where)

    def _refuse(self, faults: list[str], plug: Any, contract: type, name: str, where: str) -> None:
        if faults:
            raise ConfigError(
                f"the {self.kind} {name} does not keep its contract: {'; '.join(faults)}",
                where=where,
                value=getattr(plug, "__qualname__", type(plug).__qualname__),
                fix=self._fix(f"write it as {contract.__name__}"),
            )

    def _own(self) -> Mapping[str, Any]:
        if isinstance(self.own, OwnModules):
            return self.own.references()
        if isinstance(self.own, str):
            table: Mapping[str, Any] = resolved(self.own)
            return table
        return self.own

    def _points(self, name: str | None = None) -> list[EntryPoint]:
        points = _installed().get(self.group, ())
        return [point for point in points if name in (None, point.name)]

    def _taken(self, points: list[EntryPoint]) -> Any:
        """Return the plug-in of a name's entry points; two packages may not bring the same name."""
        if len(points) > 1:
            names = ", ".join(sorted(_distribution_of(each) for each in points))
            raise ConfigError(
                f"several packages bring a {self.kind} of this name: {names}",
                where=_place_of(points[0]),
                value=points[0].name,
                fix="uninstall all but one of them",
            )
        name, plug, where = points[0].name, loaded(points[0]), _place_of(points[0])
        known, taken = _TAKEN.get((self.group, name), (None, None))
        if known is plug:
            return taken
        taken = resolved(self.adapter)(plug) if self.adapter else plug
        self.check(taken, name, where)
        if self.is_spec:
            taken = self._checking(taken, name, where)
        _TAKEN[self.group, name] = plug, taken
        return taken

    def _checking(self, spec: Any, name: str, where: str) -> Any:
        """Return a spec whose makers check what they made: some attributes are set only then."""
        wrapped = {}
        for field_name, _, result in _callables_of(self.kept_contract()):
            make = getattr(spec, field_name)
            if callable(make) and _is_contract(result) and not _shows_all(make, result):
                wrapped[field_name] = self._checked_maker(make, result, name, where)
        if not wrapped:
            return spec
        changed: Callable[..., Any] = replace if is_dataclass(spec) else msgspec.structs.replace
        return changed(spec, **wrapped)

    def _checked_maker(
        self, make: Callable[..., Any], contract: type, name: str, where: str
    ) -> Callable[..., Any]:
        sound: set[type] = set()

        def checked(*given: Any, **named: Any) -> Any:
            made = make(*given, **named)
            if type(made) not in sound:
                self._refuse(list(lacking(made, contract)), made, contract, name, where)
                sound.add(type(made))
            return made

        return checked if isinstance(make, type) else update_wrapper(checked, make)

    def _fix(self, form: str) -> str:
        return f"{form}, as in docs/developing/{self.page}" if self.page else form


_TAKEN: dict[tuple[str, str], tuple[Any, Any]] = {}
"""What an entry point named when it was checked, and what was taken for it, by group and name."""


def _installed() -> Mapping[str, Sequence[EntryPoint]]:
    """Return the entry points of installed packages by group, read anew when a folder of the path changes."""
    return _entry_points(tuple((folder, _changed_ns(folder)) for folder in dict.fromkeys(sys.path)))


def _changed_ns(folder: str) -> int:
    try:
        return Path(folder).stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=1)
def _entry_points(_path: tuple[tuple[str, int], ...]) -> Mapping[str, Sequence[EntryPoint]]:
    found = entry_points()
    return {group: tuple(found.select(group=group)) for group in found.groups}


def resolved(reference: str) -> Any:
    """Return the attribute of a ``module:attribute``."""
    module, _, attribute = reference.partition(":")
    return getattr(import_module(module), attribute)


def _distribution_of(point: EntryPoint) -> str:
    """Return the name and version of the distribution that brings an entry point."""
    dist = getattr(point, "dist", None)
    return "a package" if dist is None else f"{dist.name} {dist.version}"


def _place_of(point: EntryPoint) -> str:
    """Return where an entry point stands, for refusals."""
    brought = "" if getattr(point, "dist", None) is None else f" ({_distribution_of(point)})"
    return f"entry point {point.name} of {point.group}{brought}"


def loaded(point: EntryPoint) -> Any:
    """Return what an entry point names.

    Raises ConfigError when its module cannot be imported or has no such name.
    """
    try:
        return point.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a package may raise anything when it is imported
        problem = error
    raise ConfigError(
        f"what the package brings cannot be loaded: {type(problem).__name__}: {problem}",
        where=_place_of(point),
        value=point.value,
        fix=f"install {problem.name} beside it"
        if isinstance(problem, ModuleNotFoundError) and not _is_part(problem.name, point.module)
        else "correct the module or its line in the package's pyproject.toml, and install it again",
    ) from problem


def _is_part(module: str | None, of: str) -> bool:
    """Return whether a module is the one of an entry point, or of its package."""
    return module is None or module.partition(".")[0] == of.partition(".")[0]


# contracts ------------------------------------------------------------------------------------


def lacking(plug: Any, contract: type) -> Iterator[str]:
    """Yield, in words, each member of a contract that a plug-in lacks or that takes other arguments.

    Attributes that a class sets when it is made are looked for on the object alone.
    """
    for name, wanted in _members_of(contract).items():
        is_method = isinstance(wanted, FunctionType)
        own = getattr_static(plug, name, None)
        if own is None and not hasattr(plug, name):
            if is_method or isinstance(wanted, classmethod | staticmethod) or not isinstance(plug, type):
                yield f"it has no {name}"
        elif getattr(own, "__isabstractmethod__", False) or (
            is_method and own is wanted and _is_protocol(contract)
        ):
            yield f"it has no {name} of its own"
        elif is_method:
            yield from _misfits(plug, name, wanted)


def _members_of(contract: type) -> dict[str, Any]:
    """Return the public members of a protocol or an abstract class: functions, properties, and the rest."""
    found: dict[str, Any] = {}
    for base in reversed(contract.__mro__):
        if base in (object, Protocol, ABC) or base.__module__ == "typing":
            continue
        names = {**get_annotations(base), **base.__dict__}
        found |= {name: base.__dict__.get(name) for name in names if not name.startswith("_")}
    call = contract.__dict__.get("__call__")
    return {"__call__": call} if call is not None and not found else found


def _misfits(plug: Any, name: str, wanted: FunctionType) -> Iterator[str]:
    called = plug if name == "__call__" else getattr(plug, name)
    if not callable(called):
        yield f"{name} is {type(called).__name__} and is called"
        return
    if iscoroutinefunction(called) and not iscoroutinefunction(wanted):
        yield f"{name} is a coroutine, and its result is not awaited"
    elif iscoroutinefunction(wanted) and isinstance(called, FunctionType) and not iscoroutinefunction(called):
        yield f"{name} is no coroutine (async def), and its result is awaited"
    is_unbound = called is not plug and isinstance(plug, type)
    lead = ("self",) if is_unbound and isinstance(getattr_static(plug, name), FunctionType) else ()
    given = list(signature(wanted).parameters.values())[1:]
    needed = [each for each in given if each.default is Parameter.empty]
    yield from _refused_calls(called, name, lead, (given, needed))


def _refused_calls(
    called: Callable[..., Any], name: str, lead: tuple[str, ...], calls: Iterable[list[Parameter]]
) -> Iterator[str]:
    """Yield the first call that a function does not take."""
    try:
        taken = signature(called, follow_wrapped=False)  # a wrapper is what is called
    except (TypeError, ValueError):  # compiled code has no signature
        return
    for call in calls:
        words = [each.name for each in call if each.kind is not Parameter.KEYWORD_ONLY]
        named = {each.name: None for each in call if each.kind is Parameter.KEYWORD_ONLY}
        try:
            taken.bind(*lead, *words, **named)
        except TypeError as problem:
            shown = ", ".join([*words, *(f"{each}=…" for each in named)])
            yield f"{name}{taken} is called with ({shown}): {problem}"
            return


def _callables_of(contract: type) -> Iterator[tuple[str, list[Any], Any]]:
    """Yield name, argument types and result of each field of a type of specs that is called."""
    try:
        hints = get_type_hints(contract)
    except NameError:  # a library's type, whose annotations are not there at run time
        return
    for name, hint in hints.items():
        kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        for kind in kinds:
            if get_origin(kind) is Callable and isinstance(get_args(kind)[0], list):
                yield name, *get_args(kind)


def _faults_of_spec(spec: Any, contract: type) -> Iterator[str]:
    for name, kinds, result in _callables_of(contract):
        value = getattr(spec, name)
        if value is None or isinstance(value, bool):
            continue
        if not callable(value):
            yield f"{name} is {type(value).__name__} and is called"
            continue
        names = [f"{getattr(kind, '__name__', 'value').lower()}" for kind in kinds]
        call = [Parameter(each, Parameter.POSITIONAL_ONLY) for each in names]
        yield from _refused_calls(value, name, (), (call,))
        if isinstance(value, type) and _is_contract(result):
            yield from (f"{value.__qualname__}: {fault}" for fault in lacking(value, result))
    if getattr(spec, "params", None) and getattr(spec, "callback", None):  # a command line's
        shown = [each.name for each in spec.params if each.expose_value]
        call = [Parameter(each, Parameter.KEYWORD_ONLY) for each in shown]
        yield from _refused_calls(spec.callback, "its function", (), (call,))


def _is_contract(kind: Any) -> bool:
    return isinstance(kind, type) and (_is_protocol(kind) or ABC in kind.__mro__)


def _shows_all(make: Any, contract: type) -> bool:
    """Return whether a class shows every attribute of a contract, so that its objects need no check."""
    return isinstance(make, type) and all(hasattr(make, name) for name in _members_of(contract))


def _is_protocol(kind: type) -> bool:
    return bool(getattr(kind, "_is_protocol", False))


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def configured(
    plug: Any,
    settings: Mapping[str, object],
    *,
    kind: str,
    name: str,
    where: str,
) -> Any:
    """Make a plug with its ``Config`` from keys and values; the rest keep their defaults.

    ``plug``: A class with a ``Config`` (a ``msgspec.Struct``), made from one.
    ``settings``: Keys and values of its ``Config``.
    ``kind``, ``name``: What it is and what it is called, for messages: ``band``, ``fixed``.
    ``where``: Key path of the settings, for messages.
    Raises ConfigError when a key is unknown, a value is of the wrong kind or out of range, or there is no
    ``Config``.
    """
    if not hasattr(plug, "Config"):
        raise ConfigError(
            f"the {kind} {name} does not keep its contract: it has no Config",
            where=where,
            value=getattr(plug, "__qualname__", type(plug).__qualname__),
            fix="add a msgspec.Struct of its settings as Config, empty without any",
        )
    given, fields = dict(settings), plug.Config.__struct_fields__
    for key in given:
        if key not in fields:
            raise ConfigError(
                f"the {kind} {name} has no setting of this name",
                where=where,
                value=key,
                nearest=nearest_name(key, fields),
                fix=f"use one of {', '.join(fields)}" if fields else "leave it out",
            )
    try:
        # settings of plugs are read as numbers and text: 4.0 is the 4 of a whole number
        config = msgspec.convert(given, type=plug.Config, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"a setting of the {kind} {name} is wrong: {error}", where=where, value=given
        ) from error
    except ConfigError as error:
        raise ConfigError(
            error.what, where=f"{where}.{error.where}", value=error.value, fix=error.fix
        ) from error
    return plug(config)
