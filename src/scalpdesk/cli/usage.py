"""What a wrong word on the command line is answered with: the option or key that was meant, and the line."""

import shlex
from collections.abc import Sequence

import click

from scalpdesk.cli.command import WORDS
from scalpdesk.cli.output import FORMER_OPTIONS
from scalpdesk.core.errors import ConfigError, ScalpdeskError, nearest_name

_PLAIN_TYPES = {"a valid integer range": "a whole number", "a valid integer": "a whole number"} | {
    "a valid float range": "a number",
    "a valid float": "a number",
}
"""What click calls a number, and its plain words."""


def usage_refusal(problem: click.ClickException) -> ScalpdeskError:
    """Return click's complaint in the shape of our own refusals, with the nearest valid name."""
    ctx = getattr(problem, "ctx", None)
    path = ctx.command_path if ctx is not None else "scalpdesk"
    fix = f"{path} --help"
    example = next(iter(getattr(getattr(ctx, "command", None), "examples", ())), None)
    if isinstance(problem, click.NoSuchOption):
        known = [o for p in ctx.command.get_params(ctx) for o in p.opts] if ctx is not None else []
        bare = {name.lstrip("-"): name for name in known}  # the dashes are no likeness
        bare |= {name.lstrip("-"): now for name, now in FORMER_OPTIONS.items() if now in known}
        meant = _meant_by_option(ctx, problem.option_name, known)
        if meant is not None:
            name, line, why = meant
            because = f" ({why})" if why else ""
            return ConfigError(
                "unknown option",
                where=path,
                value=problem.option_name,
                nearest=name,
                fix=f"{line}{because}; all options: {fix}",
            )
        nearest = nearest_name(problem.option_name.lstrip("-"), bare, cutoff=0.7)
        return ConfigError(
            "unknown option",
            where=path,
            value=problem.option_name,
            nearest=None if nearest is None else bare[nearest],
            fix=fix if nearest is None else f"write {bare[nearest]}; all options: {fix}",
        )
    if isinstance(problem, click.BadParameter) and not isinstance(problem, click.MissingParameter):
        return _bad_parameter(problem, path, fix)
    return ConfigError(
        problem.format_message().rstrip("."),
        where=path,
        fix=f"{example}; all options: {fix}" if example else fix,
    )


def _meant_by_option(
    ctx: click.Context | None, option: str, known: Sequence[str]
) -> tuple[str, str, str] | None:
    """Return option or key that a trader's word for an option means, the line to paste, and what differs.

    None where the table of words has nothing, or the command takes no setting.
    """
    from scalpdesk.config import meanings

    words: list[str] = [] if ctx is None else ctx.meta.get(WORDS, [])
    place = next((at for at, word in enumerate(words) if word.partition("=")[0] == option), None)
    if ctx is None or place is None:
        return None
    _, has_value, value = words[place].partition("=")
    follows = words[place + 1] if place + 1 < len(words) else "-"
    takes_next = not has_value and (not follows.startswith("-") or follows[1:2].isdigit())
    before, after = words[:place], words[place + 1 + takes_next :]
    new, why = meanings.option_words(option, follows if takes_next else value, known, [*before, *after])
    if not new:
        return None
    is_switch = any(new[0] in param.opts and getattr(param, "is_flag", False) for param in ctx.command.params)
    name = new[1].partition("=")[0] if new[0] == "--set" else new[0]
    return name, shlex.join(["scalpdesk", *before, *(new[:1] if is_switch else new), *after]), why


def _sample(problem: click.BadParameter) -> str:
    """Return an option with a number that it takes, as it is typed."""
    param = problem.param
    if param is None or not param.opts or not param.opts[0].startswith("-"):
        return ""
    is_number = isinstance(param.default, int | float)
    return f": {param.opts[0]} {param.default if is_number else getattr(param.type, 'min', None) or 1}"


def _bad_parameter(problem: click.BadParameter, path: str, fix: str) -> ScalpdeskError:
    hint = problem.param.get_error_hint(problem.ctx) if problem.param is not None else problem.param_hint
    where = f"{path} {hint}".replace("'", "").strip() if hint else path
    value = problem.message.split("'")[1] if problem.message.count("'") >= 2 else None
    nearest = None
    kind = problem.param.type if problem.param is not None else None
    if isinstance(kind, click.Choice) and value is not None:
        nearest = nearest_name(value, [str(choice) for choice in kind.choices])
        fix = f"write {nearest}" if nearest else f"write one of {', '.join(map(str, kind.choices))}"
    elif isinstance(kind, click.IntRange | click.FloatRange) and None not in {kind.min, kind.max}:
        fix = f"write a number from {kind.min} to {kind.max}{_sample(problem)}"
    elif isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
        fix = f"write a number{_sample(problem)}; all options: {fix}"
    what = problem.message.rstrip(".")
    for word, plain in _PLAIN_TYPES.items():
        what = what.replace(word, plain)
    if value is None:
        return ConfigError(what, where=where, nearest=nearest, fix=fix)
    return ConfigError(what, where=where, value=value, nearest=nearest, fix=fix)
