"""``selftest --seeds`` and ``--seed``: trials of the live desk, and how they are shown."""

import time
from typing import Any

import click

from scalpdesk.cli.data import progress_bar
from scalpdesk.cli.output import print_json
from scalpdesk.core.errors import EXIT_FAILED, EXIT_OK, ConfigError

MOST_SHOWN = 20
TEXT_COLUMNS = 220


def run_seeds(text: str, *, workers: int | None, as_json: bool) -> int:
    """Run the seeds ``A:B`` and show what they gave.

    Raises
    ------
    ConfigError
        When the text is not a range.
    """
    from scalpdesk.drills.campaign import run_campaign

    first, last = _range(text)
    began = time.perf_counter()
    with progress_bar(as_json=as_json) as report:
        found = run_campaign(
            first, last, workers=workers, progress=lambda done, of: report(done, of, "trials")
        )
    wall = time.perf_counter() - began
    document: dict[str, Any] = {
        "seeds": found.seeds,
        "violations": [one.as_dict() for one in found.violations],
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
        f"{document['seeds']} seeds, each twice, in {document['wall_seconds']:.1f} s:"
        f" {document['events']} events, {document['orders']} orders, {document['faults_injected']} faults,"
        f" {document['lives'] - document['seeds']} restarts"
    )
    met = len(hits["fault_states"])
    click.echo(
        f"edges of the order machine met: {len(hits['edges'])},"
        f" never: {', '.join(hits['unhit_edges']) or 'none'}"
    )
    click.echo(f"pairs of fault and order state met: {met}, never: {len(hits['unhit_fault_states'])}")
    violations = document["violations"]
    for one in violations[:MOST_SHOWN]:
        click.echo(
            f"VIOLATED {one['invariant']} in seed {one['seed']} at step {one['step']}: {one['detail']}"
        )
    seeds = sorted({one["seed"] for one in violations})
    if seeds:
        click.echo(f"{len(violations)} violations; tell one in full: scalpdesk selftest --seed {seeds[0]}")
    else:
        # the rule of three: with no failure in n independent draws
        click.echo(
            f"no violation: at 95 % confidence fewer than {3 / document['seeds']:.2%} of such days have one"
        )


def show_seed(seed: int, *, as_json: bool) -> int:
    """Run one seed and tell everything that happened."""
    from scalpdesk.drills.schedule import draw_schedule
    from scalpdesk.drills.trial import run_trial

    schedule = draw_schedule(seed)
    outcome = run_trial(schedule, verbose=True)
    document = {
        "seed": seed,
        "digest": outcome.digest,
        "session": schedule.day.isoformat(),
        "heal_at_seconds": schedule.heal_at,
        "faults": {
            "rules": [f"{one.name} p={one.probability:g} x{one.times}" for one in schedule.rules],
            "moments": [f"{one.kind} at {one.at:g} s" for one in schedule.moments],
            "crashes": [f"{one.how} write {one.write}" for one in schedule.crashes],
        },
        "violations": [one.as_dict() for one in outcome.violations],
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
        for name, listed in document["faults"].items():  # type: ignore[attr-defined]
            click.echo(f"{name}: {'; '.join(listed) or 'none'}")
        for at, kind, text in outcome.says:
            click.echo(f"{at:9.3f} {kind:<8} {text[:TEXT_COLUMNS]}")
        for one in outcome.violations:
            click.echo(f"VIOLATED {one.invariant} at step {one.step}: {one.detail}")
        click.echo(f"digest {outcome.digest}, {outcome.orders} orders, {outcome.faults} faults")
    return EXIT_FAILED if outcome.violations else EXIT_OK
