"""``scalpdesk certify``: asks a venue's paper account whether it does what the desk expects."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.output import console, print_answer
from scalpdesk.core.clock import FollowingClock, SystemClock
from scalpdesk.core.errors import EXIT_FAILED, ConfigError
from scalpdesk.core.version import BUILD
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.sessions import from_ns, to_new_york
from scalpdesk.venues.registry import find_venue, venue_names

if TYPE_CHECKING:
    from scalpdesk.live.certify import StepResult

MARKS = {"ok": "ok", "differs": "DIFFERS", "not asked": "-"}


@desk_command(
    "certify",
    example=("scalpdesk certify --venue alpaca", "scalpdesk certify --venue deribit --symbol BTC-PERPETUAL"),
)
@click.option("--venue", type=click.Choice(venue_names()), required=True, help="Its paper account is asked.")
@click.option("--symbol", help="Underlying [default: that of the gamma scalper].")
@click.option(
    "--days", default=45, show_default=True, help="Longest time to expiry of the options asked for."
)
@click.option("--url", metavar="URL", help="A simulated exchange in the venue's place.")
@click.option("--exchange-time", is_flag=True, help="That exchange has a time of its own.")
@click.option("--out", "folder", metavar="DIR", help="Folder of the report [default: certify-VENUE-TIME].")
@settings_options
def certify(
    *,
    as_json: bool,
    venue: str,
    symbol: str | None,
    days: int,
    url: str | None,
    exchange_time: bool,
    folder: str | None,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> int | None:
    """Ask a venue's paper account each part of the desk's contract; a live account is refused.

    It places orders far from the market and cancels them. The report has what was expected and seen of each
    step, and the bytes that passed, without keys and tokens: it may be attached to an issue.
    """
    from scalpdesk.live.assembly import base36, venue_gateway
    from scalpdesk.live.certify import PaperAccount, TappedLoop, WireTap
    from scalpdesk.live.certify import certify as carry_out
    from scalpdesk.live.options import RunOptions
    from scalpdesk.live.plan import plan_of

    settings = settings_from(config_file, overrides, "gamma-scalper", simulated_account=False)
    if not settings.config.desk.paper:
        raise ConfigError(
            "a certification places orders: it takes a paper account alone",
            where="desk.paper",
            value=False,
            fix="set desk.paper = true (IS_PAPER_TRADING=true) and put in the paper account's keys",
        )
    plan = plan_of(settings, RunOptions(venue=venue, url=url, exchange_time=exchange_time))
    clock = FollowingClock() if plan.follows_venue else SystemClock()
    began_ns = SystemClock().now_ns()
    keys = settings.venue_keys(find_venue(plan.venue).other_keys)
    tap = WireTap([] if keys is None else [key.reveal() for key in keys])
    account = PaperAccount(
        build=lambda instruments: venue_gateway(plan, instruments, clock),
        book=Instruments(),
        clock=clock,
        symbol=symbol or plan.underlyings[0],
        currency=settings.config.desk.currency,
        days=days,
        prefix=f"sdc{base36(began_ns // 10**9)}",
        follows_venue=plan.follows_venue,
    )
    out = console()

    def report(step: "StepResult") -> None:
        if not as_json:
            out.print(f"{MARKS[step.verdict]:>8}  {step.name:<10} {step.seen}", markup=False, highlight=False)

    with asyncio.Runner(loop_factory=lambda: TappedLoop(tap)) as runner:
        steps = runner.run(carry_out(account, tap, report))
    at = to_new_york(began_ns)
    target = Path(folder or f"certify-{venue}-{at:%Y%m%d-%H%M%S}")
    head = {"venue": venue, "at": from_ns(began_ns).isoformat(), "url": url}
    _write_report(target, head, steps)
    differs = [step.name for step in steps if step.verdict == "differs"]
    text = f"report: {target}/report.md; {len(differs)} of {len(steps)} steps differ"
    document = head | {"steps": msgspec.to_builtins(steps), "report": str(target)}
    print_answer(document, text, as_json=as_json)
    return EXIT_FAILED if differs else None


def _write_report(folder: Path, head: dict[str, Any], steps: "list[StepResult]") -> None:
    """Write ``report.json``, ``report.md`` and the bytes of each step below ``wire/``; owner-only."""
    (folder / "wire").mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    document = head | {"version": BUILD, "steps": msgspec.to_builtins(steps)}
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2))
    lines = [f"# {head['venue']}, {head['at']}, scalpdesk {BUILD}", ""]
    lines += ["| step | expected | seen | |", "|---|---|---|---|"]
    for number, step in enumerate(steps, 1):
        seen = step.seen.replace("|", "/").replace("\n", " ")
        lines.append(f"| {step.name} | {step.expected} | {seen} | {step.verdict} |")
        (folder / "wire" / f"{number:02d}-{step.name}.txt").write_text(step.wire, encoding="utf-8")
    (folder / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
