"""What each session and each trade of a run earned: the rows that the calendar of P&L is read from."""

import sqlalchemy as sa
from alembic import op

revision = "r0005"
down_revision = "r0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create both tables; rows of runs on record are made from their journals when they are asked for."""
    exact = sa.Text().with_variant(sa.Numeric(), "postgresql")

    def run_id() -> "sa.Column[str]":
        key = sa.ForeignKey("runs.run_id", ondelete="CASCADE")
        return sa.Column("run_id", sa.Text(), key, primary_key=True, nullable=False)

    op.create_table(
        "sessions",
        run_id(),
        sa.Column("session", sa.Text(), primary_key=True, nullable=False),
        sa.Column("pnl", exact, nullable=False),
        sa.Column("parts", sa.JSON(), nullable=False),
        sa.Column("hours", sa.JSON(), nullable=False),
        sa.Column("largest_net_delta_shares", sa.Double(), nullable=False),
    )
    floats = ("implied_vol", "forecast_vol", "implied_level", "realised_vol", "exit_vol")
    worth = ("edge_usd", "edge_stderr_usd", "worth_after_1", "worth_after_5", "worth_after_30")
    op.create_table(
        "trades",
        run_id(),
        sa.Column("number", sa.BigInteger(), primary_key=True, nullable=False, autoincrement=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("structure", sa.Text(), nullable=True),
        sa.Column("opened_ns", sa.BigInteger(), nullable=False),
        sa.Column("closed_ns", sa.BigInteger(), nullable=True),
        sa.Column("days_to_expiry", sa.BigInteger(), nullable=False),
        sa.Column("legs", sa.JSON(), nullable=False),
        *(sa.Column(name, exact, nullable=False) for name in ("paid", "received", "pnl", "costs")),
        sa.Column("parts", sa.JSON(), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("hedges", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Double(), nullable=True) for name in (*floats, *worth)),
        sa.Column("worth_note", sa.Text(), nullable=True),
    )


def downgrade() -> None:
    """Drop both."""
    op.drop_table("trades")
    op.drop_table("sessions")
