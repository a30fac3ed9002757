# ruff: noqa: INP001, T201 - a script beside the pages it writes, not a package
"""Write the pages of ``reference/`` that the code states; refresh outputs shown in others.

    .venv/bin/python docs/generate.py

Only the product's own strategies are listed, not those of other packages that happen to be installed.
"""

import inspect
import json
import types
from collections.abc import Iterable, Iterator
from enum import Enum
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import click
import msgspec
from shown_outputs import refresh_shown_outputs

import scalpdesk.hedging.bands
import scalpdesk.strategies
from scalpdesk.cli.main import COMMANDS, root
from scalpdesk.cli.new import STARTER, project_files
from scalpdesk.config.meanings import as_markdown, field_docs, key_meanings, texts_below_fields
from scalpdesk.config.settings import DeskConfig
from scalpdesk.core import intents
from scalpdesk.core.sockets import STRATEGIES, VENUES
from scalpdesk.instruments.classes import OptionClass
from scalpdesk.marketdata import triggers
from scalpdesk.protocol.validation import SCHEMAS
from scalpdesk.strategies import contract
from scalpdesk.venues.registry import find_venue

HERE = Path(__file__).resolve().parent
WIDTH = 100
CLI_HEAD = """# Commands

Every command has `--help` with an example, and `--json` for one JSON document on stdout. Messages go to
stderr. Exit codes and the form of errors: [errors-and-exit-codes.md](errors-and-exit-codes.md).

| command | does |
|---|---|
"""
CONFIGURATION_HEAD = """# Configuration keys

Sources, their order and how mistakes are shown: [how to configure](../howto/configuration.md). A key `a.b` is
`b` in section `[a]` of `scalpdesk.toml`, `SCALPDESK_A__B` in the environment, and `--set a.b=…` on the
command line. `—` as a default means: not set.
"""

PROTOCOL_HEAD = """# Protocol v1: JSON Schema

What the messages mean and how folders are run: [protocol.md](../strategies/protocol.md). `NaN`, infinities,
numbers beyond 64 bits or a double, and one name twice in an object are refused when a line is read. Fields
that a schema does not name are not looked at.
"""

# commands ------------------------------------------------------------------------------------------


def cli_page() -> str:
    """Return the page of all commands, each with its help as the terminal shows it."""
    rows = "".join(f"| `{name}` | {line} |\n" for name, (_, line) in COMMANDS.items())
    parts = [CLI_HEAD + rows]
    for path, text in _helps(root, "scalpdesk", None):
        parts += [f"## {path}\n", f"```text\n{text}\n```\n"]
    return "\n".join(parts)


def _helps(command: click.Command, name: str, parent: click.Context | None) -> Iterator[tuple[str, str]]:
    ctx = click.Context(
        command,
        info_name=name,
        parent=parent,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
    )
    lines = command.get_help(ctx).rstrip().splitlines()
    yield ctx.command_path, "\n".join(line.rstrip() for line in lines)
    if isinstance(command, click.Group):
        for child in command.list_commands(ctx):
            found = command.get_command(ctx, child)
            if found is not None:
                yield from _helps(found, child, ctx)


# configuration -------------------------------------------------------------------------------------


def configuration_page() -> str:
    """Return the page of all keys: type, default, meaning."""
    parts = [CONFIGURATION_HEAD]
    for field in msgspec.structs.fields(DeskConfig):
        if field.name in {"strategies", "venues", "classes"}:
            continue
        parts += _section(field.name, field.type, (), "##")
    parts += _section("classes.ROOT", OptionClass, (), "##")
    for name in sorted(VENUES.own_names()):
        if msgspec.structs.fields(find_venue(name).settings):
            parts += _section(f"venues.{name}", find_venue(name).settings, (), "##")
    for name in sorted(STRATEGIES.own_names()):
        plug = STRATEGIES.find(name)
        parts += _section(f"strategies.{plug.name}", plug.config, (), "##")
        parts.append(
            f"After `--set`, a key of the strategy needs no prefix: `--set {_first_leaf(plug.config)}=…`.\n"
        )
    parts.append("## Bands\n")
    parts.append("`hedge.band` chooses one; its own settings go into `hedge.band_settings`.\n")
    for module in _modules(scalpdesk.hedging.bands.__path__):
        plug = import_module(f"scalpdesk.hedging.bands.{module}").PLUG
        parts += _section(f"band {plug.name}", plug.Config, (), "###")
    return "\n".join(parts)


def _modules(path: Iterable[str]) -> list[str]:
    return sorted(module.name for module in iter_modules(path) if module.name != "base")


def _section(title: str, struct: type[msgspec.Struct], prefix: tuple[str, ...], level: str) -> list[str]:
    lines = [f"{level} {title}\n"]
    about = (inspect.getdoc(struct) or "").partition("\n")[0]
    if about:
        lines.append(f"{as_markdown(about)}\n")
    lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
    lines += list(_rows(struct, prefix))
    lines.append("")
    return lines


def _rows(struct: type[msgspec.Struct], prefix: tuple[str, ...]) -> Iterator[str]:
    for key in key_meanings(struct, prefix):
        cells = (f"`{'.'.join(key.path)}`", key.takes, key.default, key.means)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _first_leaf(struct: type[msgspec.Struct]) -> str:
    """A nested key as an example."""
    for field in msgspec.structs.fields(struct):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            return f"{field.name}.{msgspec.structs.fields(field.type)[0].name}"
    return msgspec.structs.fields(struct)[0].name


# protocol --------------------------------------------------------------------------------------------


def protocol_page() -> str:
    """Return the page of the messages of protocol v1 as JSON Schema."""
    parts = [PROTOCOL_HEAD]
    for schema in SCHEMAS:
        parts += [f"## {schema['title']}\n", f"```json\n{json.dumps(schema, indent=2)}\n```\n"]
    return "\n".join(parts)


# what a strategy sees ----------------------------------------------------------------------------------

STRATEGY_HEAD = """# What a strategy sees, and what it returns

Read from the typed contract, `src/scalpdesk/strategies/contract.py`: every type
that can be reached from it. A strategy reads a `DeskView` and changes only itself; times are UTC nanoseconds
(`to_new_york` of `scalpdesk.instruments.sessions` turns them into a clock), amounts `Decimal`, estimates
`float`. How to write one: [write a strategy](../developing/write_a_strategy.md).
"""
STRATEGY_PARTS: dict[str, tuple[type, ...]] = {
    "The strategy": (contract.Strategy, contract.StrategySpec, contract.OnSizeCut, contract.ReportsPhase),
    "When it is called": (triggers.Wake, triggers.Trigger, triggers.PriceMove, triggers.EveryQuote),
    "What it may return": (contract.Proposal, intents.SetTimer),
    "What it reads": (contract.DeskView,),
}


def strategy_page() -> str:
    """Return the page of the types that a strategy meets, from the contract on."""
    parts, shown = [STRATEGY_HEAD], set[type]()
    later: list[type] = []
    for title, kinds in STRATEGY_PARTS.items():
        parts.append(f"## {title}\n")
        for kind in kinds:
            parts += _type_section(kind, shown, later)
    parts.append("## Types named above\n")
    while later:
        kind = min(later, key=lambda each: each.__name__)
        later.remove(kind)
        parts += _type_section(kind, shown, later)
    return "\n".join(parts)


def _type_section(kind: type, shown: set[type], later: list[type]) -> list[str]:
    """Return heading, first line and members of a type; put the types that it names into ``later``."""
    shown.add(kind)
    if kind in later:
        later.remove(kind)
    about = (inspect.getdoc(kind) or "").partition("\n")[0]
    lines = [f"### {kind.__name__}\n", f"`{kind.__module__}`. {as_markdown(about)}\n"]
    if getattr(kind.__init__, "__module__", "") == kind.__module__:  # no protocol's and no struct's
        lines.append(f"Made with `{kind.__name__}({', '.join(inspect.signature(kind).parameters)})`.\n")
    if issubclass(kind, Enum):
        return [*lines, ", ".join(f"`{item.name}`" for item in kind) + "\n"]
    rows = []
    for name, types_, signature, meaning in _members(kind):
        rows.append(f"| `{name}{signature}` | {meaning} |".replace("\\", ""))
        for found in _named_types(types_):
            if found not in shown and found not in later:
                later.append(found)
    if rows:
        lines += ["| member | meaning |", "|---|---|", *rows, ""]
    return lines


def _members(kind: type) -> Iterator[tuple[str, list[Any], str, str]]:
    """Yield the public fields, properties and methods of a type: name, types, signature, first line."""
    documented = field_docs(kind) if issubclass(kind, msgspec.Struct) else texts_below_fields(kind)
    for name, hint in get_type_hints(kind).items():
        if not name.startswith("_"):
            yield name, [hint], f": {_type_text(hint)}", documented.get(name, "")
    for name, member in inspect.getmembers(kind):
        function = member.fget if isinstance(member, property) else member
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        if not function.__module__.startswith("scalpdesk"):
            continue
        about = as_markdown((inspect.getdoc(function) or "").partition("\n")[0])
        hints = get_type_hints(function)
        back = _type_text(hints.get("return"))
        if isinstance(member, property):
            yield name, list(hints.values()), f": {back}", about
        else:
            words = [word for word in inspect.signature(function).parameters if word != "self"]
            yield name, list(hints.values()), f"({', '.join(words)}) -> {back}", about


def _named_types(hints: Iterable[Any]) -> Iterator[type]:
    """Yield the product's own classes in type hints."""
    for hint in hints:
        if isinstance(hint, type) and hint.__module__.startswith("scalpdesk") and not get_args(hint):
            yield hint
        yield from _named_types(get_args(hint))


def _type_text(hint: Any) -> str:
    """Return a type as code has it, without its modules."""
    if hint is type(None) or hint is None:
        return "None"
    if isinstance(hint, list):  # the arguments of a callable
        return ", ".join(map(_type_text, hint))
    if get_origin(hint) is Annotated:
        return _type_text(get_args(hint)[0])
    if get_origin(hint) in {Union, types.UnionType}:
        return " or ".join(_type_text(part) for part in get_args(hint))
    if get_args(hint) and get_origin(hint) is not None:
        inner = ", ".join(_type_text(part) for part in get_args(hint) if part is not Ellipsis)
        return f"{getattr(get_origin(hint), '__name__', hint)}[{inner}]"
    return str(getattr(hint, "__name__", hint)).replace("typing.", "")


# writing ---------------------------------------------------------------------------------------------


def new_strategy() -> str:
    """Return the page of a strategy of one's own with the files that ``scalpdesk new strategy`` writes."""
    text = (HERE / "developing" / "write_a_strategy.md").read_text("utf-8")
    for path, content in project_files(STARTER).items():
        before, mark, after = text.partition(f"`{path}`\n\n```")
        if mark:
            language, _, rest = after.partition("\n")
            text = f"{before}{mark}{language}\n{content}{rest[rest.index('```') :]}"
    return text


def pages() -> dict[Path, str]:
    """Return every page that is generated, or of which a part is, by its path."""
    folder = HERE / "reference"
    return {
        folder / "cli.md": cli_page(),
        folder / "configuration.md": configuration_page(),
        folder / "protocol.md": protocol_page(),
        folder / "strategy.md": strategy_page(),
        HERE / "developing" / "write_a_strategy.md": new_strategy(),
    }


if __name__ == "__main__":
    for made, content in pages().items():
        made.write_text(content, encoding="utf-8")
        print(f"written: {made.relative_to(HERE.parent)}")
    refresh_shown_outputs()
