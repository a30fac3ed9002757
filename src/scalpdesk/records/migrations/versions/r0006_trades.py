"""A trade tells cash, volatility and words of both ends: its rows are dropped and made again."""

from importlib import import_module

import sqlalchemy as sa
from alembic import op

revision = "r0006"
down_revision = "r0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table anew; rows of runs on record are made from their journals when they are asked for."""
    exact = sa.Text().with_variant(sa.Numeric(), "postgresql")
    texts = ("strategy", "structure", "entry", "exit", "worth_note", "why")
    numbers = ("opened_ns", "closed_ns", "days_to_expiry", "hedges")
    vols = ("vol_in", "vol_out", "realised_vol", "forecast_vol", "implied_level")
    worth = ("edge_usd", "edge_stderr_usd", "worth_after_1", "worth_after_5", "worth_after_30")
    optional = ("structure", "exit", "worth_note", "why", "closed_ns")
    op.drop_table("trades")
    op.create_table(
        "trades",
        sa.Column(
            "run_id",
            sa.Text(),
            sa.ForeignKey("runs.run_id", ondelete="CASCADE"),
            primary_key=True,
            nullable=False,
        ),
        sa.Column("number", sa.BigInteger(), primary_key=True, nullable=False, autoincrement=False),
        *(sa.Column(name, sa.Text(), nullable=name in optional) for name in texts),
        *(sa.Column(name, sa.BigInteger(), nullable=name in optional) for name in numbers),
        *(sa.Column(name, exact, nullable=False) for name in ("cash_in", "cash_out", "costs", "pnl")),
        *(sa.Column(name, sa.Double(), nullable=True) for name in (*vols, *worth)),
        *(sa.Column(name, sa.JSON(), nullable=name == "outlook") for name in ("legs", "outlook", "parts")),
    )
    op.execute(sa.delete(sa.table("sessions")))


def downgrade() -> None:
    """Drop both tables of a report's rows, and make those of the revision before."""
    op.drop_table("trades")
    op.drop_table("sessions")
    import_module("scalpdesk.records.migrations.versions.r0005_sessions_and_trades").upgrade()
