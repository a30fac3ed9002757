"""``scalpdesk selftest``: worked cases, and seeded trials of the whole live desk."""

import json
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from scalpdesk.cli.waiting import progress_bar
from scalpdesk.core.enums import Quality
from scalpdesk.core.errors import EXIT_FAILED, EXIT_OK, ConfigError, DataError, ScalpdeskError, nearest_name
from scalpdesk.plugins import desk_command, print_json

_QUALITY: Quality = "clean"
"""Quotes of the small markets that trials play."""
_NEEDED = ("id", "area", "function", "inputs", "expected")


@desk_command(
    "selftest",
    example=(
        "scalpdesk selftest --cases worked_cases.json",
        "scalpdesk selftest --seeds 0:1000",
        "scalpdesk selftest --seeds 0:1000 --protocol deribit",
        "scalpdesk selftest --seed 217",
        "scalpdesk selftest --questions account --protocol alpaca",
        "scalpdesk selftest --questions all --sample 60 --sockets",
    ),
)
@click.option("--cases", "cases_file", metavar="FILE", default=None, help="JSON list of worked cases.")
@click.option("--seeds", metavar="A:B", default=None, help="Seeded trials from A to B (not included).")
@click.option("--seed", type=click.IntRange(min=0), default=None, help="One seeded trial, in full.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=None,
    help="Processes for --seeds [default: one a core].",
)
@click.option(
    "--protocol",
    type=click.Choice(["alpaca", "deribit", "tws"]),
    default=None,
    help="Venue whose protocol lies between desk and exchange [default: alpaca; for questions all].",
)
@click.option(
    "--questions", metavar="NAME", default=None, help="Leave while this question is answered badly, or all."
)
@click.option("--cell", "named", metavar="NAME", multiple=True, help="One cell of --questions, by its name.")
@click.option("--sample", type=click.IntRange(min=1), default=None, help="Only so many cells, drawn by name.")
@click.option("--sockets", is_flag=True, help="Cells with real commands over sockets, in real time.")
def selftest(
    *,
    as_json: bool,
    cases_file: str | None,
    seeds: str | None,
    seed: int | None,
    workers: int | None,
    protocol: str | None,
    questions: str | None,
    named: tuple[str, ...],
    sample: int | None,
    sockets: bool,
) -> int:
    """Compute worked cases, or try the live desk with faults; exit 1 when anything fails.

    A case has id, area, function, inputs and expected. Numbers agree within 1e-9 (relative), or
    within what the case's own arithmetic carries. A function that nothing answers is reported as
    unbound, by name.

    A trial runs the whole desk against the simulated exchange in virtual time while things go wrong:
    line, venue, data, process, people. Its small market has clean quotes. At every event its invariants
    must hold. Every tenth seed runs again in another process and must give the same there.

    Of questions a cell is one (account, positions, open_orders, order_by_id, executions, contracts, clock,
    quotes), its answer (refused, silent, empty, 20 s late, wrong, old), a time (running, starting, after a
    cut) and a road (nothing, flatten, flatten --now, watchdog, kill -9 before each). It holds when the
    account is flat within the road's bound, or the desk says why it does not trade, and nothing is sold
    twice.
    """
    asked = [given for given in (cases_file, seeds, seed, questions, named or None) if given is not None]
    if len(asked) != 1:
        raise ConfigError(
            "say what to test: cases, seeds, one seed, questions or cells",
            where="scalpdesk selftest",
            fix="scalpdesk selftest --cases FILE, or --seeds 0:1000, or --seed N, or --questions all",
        )
    if questions is not None or named:
        from scalpdesk_testing.question_matrix import run_questions

        return run_questions(
            named,
            questions,
            protocol=protocol,
            sample=sample,
            is_over_sockets=sockets,
            workers=workers,
            as_json=as_json,
        )
    protocol = protocol or "alpaca"
    if seeds is not None:
        return _run_seeds(seeds, workers=workers, as_json=as_json, protocol=protocol)
    if seed is not None:
        return _show_seed(seed, as_json=as_json, protocol=protocol)
    assert cases_file is not None
    results = [judge(case) for case in _read_cases(Path(cases_file))]
    counts = Counter(result["verdict"] for result in results)
    if as_json:
        print_json({**{v: counts[v] for v in ("passed", "failed", "unbound")}, "cases": results})
    else:
        _print_summary(results, counts)
    return EXIT_FAILED if counts["failed"] else EXIT_OK


def _read_cases(path: Path) -> list[dict[str, Any]]:
    """Return the cases of a file.

    Raises DataError when the file is not there, is not JSON, or a case lacks a field: with the case's
    position.
    """
    if not path.is_file():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(
            "there is no such file",
            where="--cases",
            value=str(path),
            nearest=nearest_name(path.name, beside),
            fix="give the path of a JSON file of cases",
        )
    try:
        cases = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as problem:
        line = getattr(problem, "lineno", 1)
        raise DataError(
            f"the file is not JSON: {getattr(problem, 'msg', problem)}",
            where=f"{path.name}:{line}",
            fix="correct the file or fetch it again",
        ) from problem
    if not isinstance(cases, list):
        raise DataError("the file must hold a list of cases", where=path.name, fix="wrap the cases in [ ]")
    for number, case in enumerate(cases):
        missing = [key for key in _NEEDED if not isinstance(case, dict) or key not in case]
        if missing:
            raise DataError(
                f"a case lacks {', '.join(missing)}",
                where=f"{path.name}: case {number}",
                fix=f"a case has {', '.join(_NEEDED)}",
            )
    return cases


def judge(case: dict[str, Any]) -> dict[str, Any]:
    """Return a case's verdict with what was got and what was expected."""
    from scalpdesk_testing.worked_cases import RELATIVE, RELATIVE_OF, agrees, evaluate

    function, expected = case["function"], case["expected"]
    try:
        got = evaluate(function, case["inputs"])
    except ScalpdeskError as refusal:
        verdict, shown = "failed", refusal.render()
    else:
        shown = _plain(got)
        stated = case.get("tolerance") or {}
        within = (stated.get("rel", RELATIVE_OF.get(function, RELATIVE)), stated.get("abs", 1e-12))
        verdict = "unbound" if got is None else "passed" if agrees(got, expected, *within) else "failed"
    return {
        "id": case["id"],
        "area": case["area"],
        "function": function,
        "verdict": verdict,
        "got": shown,
        "expected": expected,
    }


def _plain(value: Any) -> Any:
    """Return an answer as JSON holds it: exact amounts as numbers, what is no number as null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float) and value - value != 0.0:
        return str(value) if value == value else None  # noqa: PLR0124 - NaN alone differs from itself
    return value


def _print_summary(results: list[dict[str, Any]], counts: Counter[str]) -> None:
    areas: dict[str, Counter[str]] = {}
    for result in results:
        areas.setdefault(result["area"], Counter())[result["verdict"]] += 1
    for area, tally in sorted(areas.items()):
        verdicts = ", ".join(
            f"{tally[verdict]} {verdict}" for verdict in ("passed", "failed", "unbound") if tally[verdict]
        )
        click.echo(f"area {area}: {verdicts}")
    for result in results:
        if result["verdict"] == "failed":
            click.echo(
                f"FAILED {result['id']}\n  got:      {result['got']}\n  expected: {result['expected']}"
            )
    unbound = sorted({result["function"] for result in results if result["verdict"] == "unbound"})
    if unbound:
        click.echo(f"not yet bound: {', '.join(unbound)}")
    click.echo(f"{counts['passed']} passed, {counts['failed']} failed, {counts['unbound']} unbound")


_MOST_SHOWN = 20
_TEXT_COLUMNS = 220


def _run_seeds(text: str, *, workers: int | None, as_json: bool, protocol: str) -> int:
    """Run the seeds ``A:B`` and show what they gave. Raises ConfigError when the text is not a range."""
    from scalpdesk_testing.campaign import IMPOSSIBLE_EDGES, impossible_pairs, run_campaign

    first, last = _range(text)
    began = time.perf_counter()
    with progress_bar(as_json=as_json) as report:
        found = run_campaign(
            first,
            last,
            workers=workers,
            progress=lambda done, of: report(done, of, "trials"),
            protocol=protocol,
        )
    wall = time.perf_counter() - began
    document: dict[str, Any] = {
        "quality": _QUALITY,
        "seeds": found.seeds,
        "seeds_repeated": found.repeated,
        "violations": [violation.as_dict() for violation in found.violations],
        "faults_injected": found.faults_injected,
        "orders": found.orders,
        "wall_seconds": round(wall, 3),
        "events": found.events,
        "lives": found.lives,
        "path_hits": {
            "edges": dict(sorted(found.edges.items())),
            "fault_states": dict(sorted(found.pairs.items())),
            "unhit_edges": found.unhit_edges(),
            "unhit_fault_states": found.unhit_pairs(),
            "impossible_edges": IMPOSSIBLE_EDGES,
            "impossible_fault_states": impossible_pairs(),
        },
    }
    if as_json:
        print_json(document)
    else:
        _print_campaign(document)
    return EXIT_FAILED if found.violations else EXIT_OK


def _range(text: str) -> tuple[int, int]:
    first, _, last = text.partition(":")
    if not (first.isdigit() and last.isdigit() and int(first) < int(last)):
        raise ConfigError("not a range of seeds", where="--seeds", value=text, fix="write 0:1000")
    return int(first), int(last)


def _print_campaign(document: dict[str, Any]) -> None:
    hits = document["path_hits"]
    click.echo(
        f"{document['seeds']} seeds, {document['seeds_repeated']} of them twice,"
        f" quotes {document['quality']},"
        f" in {document['wall_seconds']:.1f} s:"
        f" {document['events']} events, {document['orders']} orders, {document['faults_injected']} faults,"
        f" {document['lives'] - document['seeds']} restarts"
    )
    met, never = len(hits["fault_states"]), hits["unhit_fault_states"]
    click.echo(
        f"edges of the order machine met: {len(hits['edges'])},"
        f" never: {', '.join(hits['unhit_edges']) or 'none'};"
        f" {len(hits['impossible_edges'])} are impossible (--json says why)"
    )
    click.echo(
        f"pairs of fault and order state met: {met}, never: {', '.join(never[:_MOST_SHOWN]) or 'none'}"
        f"{f' and {len(never) - _MOST_SHOWN} more' if len(never) > _MOST_SHOWN else ''};"
        f" {len(hits['impossible_fault_states'])} are impossible"
    )
    violations = document["violations"]
    for violation in violations[:_MOST_SHOWN]:
        click.echo(
            f"VIOLATED {violation['invariant']} in seed {violation['seed']} at step {violation['step']}:"
            f" {violation['detail']}"
        )
    seeds = sorted({violation["seed"] for violation in violations})
    if seeds:
        click.echo(f"{len(violations)} violations; tell one in full: scalpdesk selftest --seed {seeds[0]}")
    else:
        # the rule of three: with no failure in n independent draws
        click.echo(
            f"no violation: at 95 % confidence fewer than {3 / document['seeds']:.2%} of such days have one"
        )


def _show_seed(seed: int, *, as_json: bool, protocol: str) -> int:
    """Run one seed and tell everything that happened."""
    from scalpdesk_testing.campaign import run_trial, trial_of

    make = trial_of(protocol)
    schedule = make.draw(seed)
    outcome = run_trial(schedule, verbose=True, make=make)
    faults = {
        "rules": [f"{rule.name} p={rule.probability:g} x{rule.times}" for rule in schedule.rules],
        "moments": [f"{moment.kind} at {moment.at:g} s" for moment in schedule.moments],
        "crashes": [f"{crash.how} write {crash.write}" for crash in schedule.crashes],
    }
    document = {
        "quality": _QUALITY,
        "seed": seed,
        "digest": outcome.digest,
        "session": schedule.day.isoformat(),
        "heal_at_seconds": schedule.heal_at,
        "faults": faults,
        "violations": [violation.as_dict() for violation in outcome.violations],
        "faults_injected": outcome.faults,
        "orders": outcome.orders,
        "events": outcome.events,
        "lives": outcome.lives,
    }
    if as_json:
        document["told"] = [{"at_seconds": at, "what": kind, "text": text} for at, kind, text in outcome.says]
        print_json(document)
    else:
        click.echo(f"seed {seed}, session {schedule.day}, healed at {schedule.heal_at:g} s")
        for name, listed in faults.items():
            click.echo(f"{name}: {'; '.join(listed) or 'none'}")
        for at, kind, text in outcome.says:
            click.echo(f"{at:9.3f} {kind:<8} {text[:_TEXT_COLUMNS]}")
        for violation in outcome.violations:
            click.echo(f"VIOLATED {violation.invariant} at step {violation.step}: {violation.detail}")
        click.echo(f"digest {outcome.digest}, {outcome.orders} orders, {outcome.faults} faults")
    return EXIT_FAILED if outcome.violations else EXIT_OK
