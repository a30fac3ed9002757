"""``scalpdesk research``: studies of a desk's own runs and of its market."""

import click

from scalpdesk.cli.command import LazyGroup

COMMANDS: dict[str, tuple[str, str]] = {
    "lookahead": (
        "scalpdesk.cli.lookahead:lookahead",
        "Change the future of a market: do earlier decisions change?",
    ),
    "stress": (
        "scalpdesk.cli.stress:stress",
        "Disturb quotes of held options: is the day traded as before?",
    ),
    "hedges": ("scalpdesk.cli.hedges:hedges", "Instruments to hedge with, compared on the same sessions."),
    "basis": ("scalpdesk.cli.hedges:basis", "The basis of a hedge against its underlying, from quotes."),
}


OWN_STUDIES = {name: place for name, (place, _) in COMMANDS.items()}
"""The studies of this distribution: ``module:attribute`` by name."""


@click.group(cls=LazyGroup, table=COMMANDS, socket="STUDIES")
def research() -> None:
    """Studies of runs and markets: look-ahead, disturbed quotes, instruments to hedge with."""
