"""The first tables: runs and, for each run, orders, fills, decisions, marks, positions."""

import sqlalchemy as sa
from alembic import op

revision = "r0001"
down_revision = None
branch_labels = None
depends_on = None


def _run_key() -> sa.Column[str]:
    key = sa.ForeignKey("runs.run_id", ondelete="CASCADE")
    return sa.Column("run_id", sa.Text(), key, primary_key=True, nullable=False)


def upgrade() -> None:
    """Create the tables of runs."""
    exact = sa.Text().with_variant(sa.Numeric(), "postgresql")
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Text(), primary_key=True, nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("venue", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("build", sa.Text(), nullable=False),
        sa.Column("config_hash", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=True),
        sa.Column("started_ns", sa.BigInteger(), nullable=False),
        sa.Column("data_name", sa.Text(), nullable=True),
        sa.Column("data_kind", sa.Text(), nullable=True),
        sa.Column("session", sa.Text(), nullable=True),
        sa.Column("underlying", sa.Text(), nullable=True),
        sa.Column("open", exact, nullable=True),
        sa.Column("high", exact, nullable=True),
        sa.Column("low", exact, nullable=True),
        sa.Column("close", exact, nullable=True),
        sa.Column("first_event_ns", sa.BigInteger(), nullable=True),
        sa.Column("last_event_ns", sa.BigInteger(), nullable=True),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("decisions", sa.BigInteger(), nullable=False),
        sa.Column("orders", sa.BigInteger(), nullable=False),
        sa.Column("fills", sa.BigInteger(), nullable=False),
        sa.Column("hedges", sa.BigInteger(), nullable=False),
        sa.Column("nav_change", exact, nullable=False),
        sa.Column("pnl_delta", exact, nullable=False),
        sa.Column("pnl_gamma", exact, nullable=False),
        sa.Column("pnl_theta", exact, nullable=False),
        sa.Column("pnl_vega", exact, nullable=False),
        sa.Column("pnl_higher_order", exact, nullable=False),
        sa.Column("pnl_carry", exact, nullable=False),
        sa.Column("pnl_spread", exact, nullable=False),
        sa.Column("pnl_fees", exact, nullable=False),
        sa.Column("pnl_slippage", exact, nullable=False),
        sa.Column("pnl_residual", exact, nullable=False),
        sa.Column("end_positions", sa.JSON(), nullable=False),
        sa.Column("decision_hash", sa.Text(), nullable=False),
        sa.Column("sealed", sa.Boolean(), nullable=False),
        sa.Column("recovered", sa.Text(), nullable=True),
        sa.Column("journal_digest", sa.Text(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("summary", sa.JSON(), nullable=False),
    )
    op.create_index("ix_runs_started_ns", "runs", ["started_ns"])
    op.create_table(
        "decisions",
        _run_key(),
        sa.Column("number", sa.BigInteger(), primary_key=True, nullable=False),
        sa.Column("event_number", sa.BigInteger(), nullable=False),
        sa.Column("ts_ns", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("taken", sa.Boolean(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("client_order_ids", sa.JSON(), nullable=False),
    )
    op.create_table(
        "fills",
        _run_key(),
        sa.Column("number", sa.BigInteger(), primary_key=True, nullable=False),
        sa.Column("client_order_id", sa.Text(), nullable=False),
        sa.Column("execution_id", sa.Text(), nullable=False),
        sa.Column("ts_event_ns", sa.BigInteger(), nullable=False),
        sa.Column("ts_recv_ns", sa.BigInteger(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=True),
        sa.Column("side", sa.Text(), nullable=True),
        sa.Column("purpose", sa.Text(), nullable=True),
        sa.Column("quantity", exact, nullable=False),
        sa.Column("price", exact, nullable=False),
        sa.Column("fee", exact, nullable=False),
        sa.Column("busted", sa.Boolean(), nullable=False),
    )
    op.create_index("ix_fills_order", "fills", ["run_id", "client_order_id"])
    op.create_table(
        "marks",
        _run_key(),
        sa.Column("number", sa.BigInteger(), primary_key=True, nullable=False),
        sa.Column("ts_ns", sa.BigInteger(), nullable=False),
        sa.Column("nav", exact, nullable=False),
        sa.Column("nav_change", exact, nullable=False),
        sa.Column("parts", sa.JSON(), nullable=False),
        sa.Column("spot", sa.Double(), nullable=True),
        sa.Column("net_delta_shares", sa.Double(), nullable=True),
        sa.Column("gamma_shares_per_usd", sa.Double(), nullable=True),
        sa.Column("theta_usd_per_day", sa.Double(), nullable=True),
        sa.Column("vega_usd_per_point", sa.Double(), nullable=True),
        sa.Column("implied_vol", sa.Double(), nullable=True),
        sa.Column("gamma_rent", sa.Double(), nullable=True),
        sa.Column("theta_paid", sa.Double(), nullable=True),
    )
    op.create_table(
        "orders",
        _run_key(),
        sa.Column("client_order_id", sa.Text(), primary_key=True, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("updated_ns", sa.BigInteger(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("quantity", exact, nullable=False),
        sa.Column("order_type", sa.Text(), nullable=False),
        sa.Column("limit_price", exact, nullable=True),
        sa.Column("time_in_force", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("venue_order_id", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("filled_quantity", exact, nullable=False),
        sa.Column("average_price", exact, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("history", sa.JSON(), nullable=False),
    )
    op.create_table(
        "positions",
        _run_key(),
        sa.Column("symbol", sa.Text(), primary_key=True, nullable=False),
        sa.Column("instrument", sa.Text(), nullable=False),
        sa.Column("multiplier", sa.BigInteger(), nullable=False),
        sa.Column("quantity", exact, nullable=False),
        sa.Column("average_price", exact, nullable=False),
        sa.Column("realized", exact, nullable=False),
        sa.Column("fees", exact, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("positions", "orders", "marks", "fills", "decisions", "runs"):
        op.drop_table(table)
