"""``scalpdesk today``: the morning of this folder's desk, and what to type next."""

import asyncio
from typing import TYPE_CHECKING, Any

import click

from scalpdesk.cli.command import desk_command, settings_from, settings_options
from scalpdesk.cli.operate import desk_finder
from scalpdesk.cli.output import print_answer, print_table, table_of
from scalpdesk.cli.waiting import progress_bar
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.errors import ScalpdeskError

if TYPE_CHECKING:
    from scalpdesk.live.account_look import AccountLook
    from scalpdesk.monitor.follower import RunFollower
    from scalpdesk.web.today import LastDesk


@desk_command("today", example=("scalpdesk today", "scalpdesk today --json"))
@click.option("--no-account", is_flag=True, help="Do not ask the venue for the account.")
@settings_options
def today(*, as_json: bool, no_account: bool, config_file: str | None, overrides: tuple[str, ...]) -> None:
    """Show the morning: is the account as it was left, what came since the close, what expires, what is on.

    It is of the desk of this folder: its run, and its venue's account where no desk runs on it. Nothing is
    sent but questions.
    """
    from scalpdesk.journal.reader import peek_header
    from scalpdesk.monitor.held_book import followed_to
    from scalpdesk.web.today import LastDesk, last_desk, no_desk_yet, today_page

    finder = desk_finder(None, config_file, overrides)
    running = finder.running()
    now_ns = SystemClock().now_ns()
    desk = LastDesk(running[-1], peek_header(running[-1])) if running else last_desk(finder.folder)
    if desk is None:
        empty: Any = no_desk_yet(now_ns, "scalpdesk run gamma-scalper")
        print_answer(empty, lambda: _print_empty(empty), as_json=as_json)
        return
    with progress_bar(as_json=as_json) as report:
        follower = followed_to(desk.run_dir, now_ns if desk.is_of_venue else 2**62, report)
    look, why = None, "The account was not asked." if desk.is_of_venue else ""
    if desk.is_of_venue and not (running or no_account):
        look, why = _look(desk, follower, config_file, overrides)
    document: Any = today_page(
        desk,
        follower,
        now_ns,
        is_running=bool(running),
        look=look,
        why_no_look=why,
        given=_given(desk, config_file, overrides),
    )
    print_answer(document, lambda: _print(document), as_json=as_json)


def _given(desk: "LastDesk", config_file: str | None, overrides: tuple[str, ...]) -> dict[str, Any]:
    """Return what this folder sets of the strategy that was traded; nothing where it cannot be read."""
    from scalpdesk.config.settings import changed_settings

    try:
        settings = settings_from(config_file, overrides, desk.header.strategy, simulated_account=False)
    except ScalpdeskError:
        return {}
    return changed_settings(desk.header.strategy, settings.effective())


def _look(
    desk: "LastDesk", follower: "RunFollower", config_file: str | None, overrides: tuple[str, ...]
) -> "tuple[AccountLook | None, str]":
    """Return the account as its venue shows it, or why it does not."""
    from scalpdesk.core.clock import FollowingClock
    from scalpdesk.live.account_look import look_at_account
    from scalpdesk.live.options import RunOptions
    from scalpdesk.live.plan import plan_of

    header = desk.header
    assert follower.engine is not None
    try:
        settings = settings_from(config_file, overrides, header.strategy, simulated_account=False)
        url = header.data.get("url")
        options = RunOptions(
            venue=header.venue, live=header.mode == "live", url=url, exchange_time=url is not None or None
        )
        plan = plan_of(settings, options)
        clock = FollowingClock() if plan.follows_venue else SystemClock()
        return asyncio.run(look_at_account(plan, follower.engine, clock)), ""
    except ScalpdeskError as error:
        fix = f": {error.fix}" if error.fix else ""
        return None, f"Whether the account is as it was left is not known: {error.what}{fix}."


def _print_empty(page: dict[str, Any]) -> None:
    click.echo(page["empty"])
    _print_events(page)
    click.echo(f"next: {page['next_line']}")


def _print_events(page: dict[str, Any]) -> None:
    for each in page["events"] or ["nothing is scheduled"]:
        click.echo(f"  {each}")


def _print(page: dict[str, Any]) -> None:
    click.echo(f"{page['day']}, open {page['opens']}: {page['run_id']} at {page['venue']}, {page['state']}")
    click.echo(f"{page['account_text']} Net worth {page['nav']} {page['currency']}.")
    for each in page["differences"]:
        click.echo(f"  {each}")
    click.echo(f"It holds {page['holds']}." if page["holds"] else "It holds nothing.")
    for words in page["structures"]:
        click.echo(f"  {words}")
    click.echo(f"since {page['since']}:")
    for each in page["happened"]:
        cash = f", {each['cash']} {page['currency']}" if each["cash"] else ""
        click.echo(f"  {each['at']} {each['kind'].replace('_', ' ')}: {each['text']}{cash}")
    if not page["happened"]:
        click.echo("  nothing")
    if page["not_told"]:
        click.echo(f"  {page['not_told']}")
    if page["expires"]:
        click.echo("expires within a week:")
        columns = (
            "option={label}|held={quantity}|expires={expires}|last order={last_order}|what it takes={takes}"
        )
        print_table(table_of(page["expires"], columns, {}))
    else:
        click.echo("nothing that is held expires within a week")
    click.echo("today:")
    _print_events(page)
    click.echo(f"volatility: {page['cheap']}. {page['volatility']}")
    left = "; ".join(f"{each['name']} {each['left']} of {each['limit']}" for each in page["limits"])
    click.echo(f"left, {page['currency']}: {left}")
    click.echo(f"next: {page['next_line']}")
