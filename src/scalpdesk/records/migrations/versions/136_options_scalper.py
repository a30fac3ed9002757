"""The options scalper's table (PRD-136), and what its performance is grouped by."""

import sqlalchemy as sa
from alembic import op

revision = "136_options_scalper"
down_revision = "r0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of options scalps and of what came of them."""
    op.create_table(
        "options_scalps",
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("signal_id", sa.String(50), nullable=True),
        sa.Column("ticker", sa.String(10), nullable=False),
        sa.Column("option_symbol", sa.String(30), nullable=False),
        sa.Column("option_type", sa.String(4), nullable=False),
        sa.Column("strike", sa.Float(), nullable=False),
        sa.Column("expiry", sa.Date(), nullable=False),
        sa.Column("dte", sa.Integer(), nullable=False),
        sa.Column("direction", sa.String(20), nullable=False),
        sa.Column("contracts", sa.Integer(), nullable=False),
        sa.Column("entry_premium", sa.Float(), nullable=False),
        sa.Column("exit_premium", sa.Float(), nullable=True),
        sa.Column("entry_delta", sa.Float(), nullable=True),
        sa.Column("entry_theta", sa.Float(), nullable=True),
        sa.Column("entry_iv", sa.Float(), nullable=True),
        sa.Column("status", sa.String(20), nullable=True, server_default="open"),
        sa.Column("exit_reason", sa.String(50), nullable=True),
        sa.Column("pnl", sa.Float(), nullable=True),
        sa.Column("pnl_pct", sa.Float(), nullable=True),
        sa.Column("broker", sa.String(20), nullable=True),
        sa.Column("order_id", sa.String(100), nullable=True),
        sa.Column("entry_time", sa.DateTime(), nullable=False),
        sa.Column("exit_time", sa.DateTime(), nullable=True),
        sa.Column("metadata_json", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=True, server_default=sa.func.now()),
    )
    op.create_index("ix_options_scalps_ticker_status", "options_scalps", ["ticker", "status"])
    op.create_index("ix_options_scalps_signal_id", "options_scalps", ["signal_id"])
    op.create_index("ix_options_scalps_expiry", "options_scalps", ["expiry"])
    scalp = sa.ForeignKey("options_scalps.id", ondelete="CASCADE")
    op.create_table(
        "scalp_outcomes",
        sa.Column("scalp_id", sa.Integer(), scalp, primary_key=True, nullable=False),
        sa.Column("run_id", sa.Text(), sa.ForeignKey("runs.run_id", ondelete="CASCADE"), nullable=False),
        sa.Column("ticker", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("entry_hour", sa.BigInteger(), nullable=False),
        sa.Column("conviction", sa.BigInteger(), nullable=True),
        sa.Column("hold_seconds", sa.Double(), nullable=True),
        sa.Column("pnl", sa.Double(), nullable=True),
    )
    op.create_index("ix_scalp_outcomes_run_id", "scalp_outcomes", ["run_id"])
    op.create_index("ix_scalp_outcomes_pnl", "scalp_outcomes", ["pnl"])
    for group in ("session", "ticker", "entry_hour", "conviction"):
        op.create_index(f"ix_scalp_outcomes_{group}", "scalp_outcomes", [group, "pnl", "hold_seconds"])


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("scalp_outcomes")
    op.drop_table("options_scalps")
