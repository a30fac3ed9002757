"""``scalpdesk arm`` and ``disarm``: live trading is switched on in two steps, for one account."""

import os
import sys
from pathlib import Path

import click

from scalpdesk.cli.command import desk_command, settings_options
from scalpdesk.cli.output import print_json
from scalpdesk.cli.strategy_choice import strategy_flags
from scalpdesk.core.errors import ConfigError


@desk_command(
    "arm", example=("scalpdesk arm gamma-scalper", "scalpdesk arm gamma-scalper --config live.toml")
)
@click.argument("strategy", required=False)
@click.option("--venue", type=click.Choice(["alpaca"]), default="alpaca", show_default=True, help="Where.")
@click.option("--account", default=None, metavar="ID", help="The account's id, typed back.")
@click.option("--hash", "typed_hash", default=None, metavar="HASH", help="Its first 8 digits, typed back.")
@settings_options
@strategy_flags
def arm(
    *,
    as_json: bool,
    strategy: str,
    venue: str,
    account: str | None,
    typed_hash: str | None,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Arm live trading in two steps: it shows account and configuration and wants both typed back.

    The arming holds for this account and this configuration; a change of either ends it.
    """
    import asyncio

    from scalpdesk.cli.output import console
    from scalpdesk.core.clock import SystemClock
    from scalpdesk.live import arming
    from scalpdesk.live.account_lock import state_dir
    from scalpdesk.live_account import live_account
    from scalpdesk.settings import load_settings
    from scalpdesk.venues.base import LiveToken

    settings = load_settings(
        strategy, config_file=config_file, overrides=overrides, environ=os.environ, cwd=Path()
    )
    facts = asyncio.run(live_account(settings))
    digest = settings.config_hash
    if account is None or typed_hash is None:
        out = console()
        out.print(
            f"account {facts.account_id}  equity {facts.equity} {facts.currency}  status {facts.status}"
        )
        out.print(f"configuration {digest[:8]}  strategy {strategy}")
        if not sys.stdin.isatty():
            raise ConfigError(
                "arming needs both typed back",
                where="arm",
                fix=f"scalpdesk arm {strategy} --account ID --hash HASH, as shown",
            )
        account = click.prompt("type the account's id")
        typed_hash = click.prompt("type the configuration's 8 digits")
    assert account is not None
    assert typed_hash is not None
    token = LiveToken(facts.account_id, digest, SystemClock().now_ns(), _user())
    folder = state_dir(os.environ)
    arming.arm(folder, venue, token, typed_account=account, typed_hash=typed_hash)
    if as_json:
        print_json({"armed": facts.account_id, "config_hash": digest})
    else:
        click.echo(f"armed: {venue} account {facts.account_id}, configuration {digest[:8]}")


@desk_command("disarm", example="scalpdesk disarm")
@click.option("--venue", type=click.Choice(["alpaca"]), default="alpaca", show_default=True, help="Where.")
@click.option("--account", default=None, metavar="ID", help="Only this account.")
def disarm(*, as_json: bool, venue: str, account: str | None) -> None:
    """End the arming of live trading, of all accounts or one; a running desk is not stopped by it."""
    from scalpdesk.live import arming
    from scalpdesk.live.account_lock import state_dir

    gone = arming.disarm(state_dir(os.environ), venue, account)
    if as_json:
        print_json({"disarmed": gone})
    else:
        click.echo(f"disarmed: {', '.join(gone)}" if gone else "nothing was armed")


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
