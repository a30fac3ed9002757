"""The part of a run's P&L that its hedge's basis moved, which stood with what is not explained."""

import json
from decimal import Decimal

import sqlalchemy as sa
from alembic import op

revision = "r0003"
down_revision = "r0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of runs that ended before it the part is that of their summary."""
    exact = sa.Text().with_variant(sa.Numeric(), "postgresql")
    op.add_column("runs", sa.Column("pnl_basis", exact, nullable=False, server_default="0"))
    if op.get_context().as_sql:  # a script for a new database
        return
    connection = op.get_bind()
    runs = sa.table("runs", *(sa.column(name, exact) for name in ("run_id", "pnl_residual", "pnl_basis")))
    for run_id, residual, summary in connection.execute(
        sa.text("SELECT run_id, pnl_residual, summary FROM runs")
    ).all():
        found = json.loads(summary) if isinstance(summary, str) else summary
        basis = Decimal(found.get("pnl", {}).get("basis", 0))
        if basis:
            amounts = {"pnl_basis": basis, "pnl_residual": Decimal(residual) - basis}
            kind = str if connection.dialect.name == "sqlite" else Decimal
            values = {name: kind(amount) for name, amount in amounts.items()}
            connection.execute(runs.update().where(runs.c.run_id == run_id).values(values))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("runs", "pnl_basis")
