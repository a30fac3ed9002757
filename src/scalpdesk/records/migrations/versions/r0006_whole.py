"""What a store of an earlier program lacks: columns are added, sessions and trades are made again."""

from decimal import Decimal

import sqlalchemy as sa
from alembic import op

from scalpdesk.records.form import complete, differences
from scalpdesk.records.tables import Base, RunRow

revision = "r0006"
down_revision = "136_options_scalper"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables to the models; of ended runs the part of the basis is that of their summary."""
    if op.get_context().as_sql:  # a script for a new database, which lacks nothing
        return
    connection, tables = op.get_bind(), Base.metadata.tables
    Base.metadata.drop_all(connection, [tables["sessions"], tables["trades"]])
    Base.metadata.create_all(connection)
    found = differences(connection)
    complete(connection, found)
    lacking = [column for each in found for column in each.lacking]
    if not any(column.name == "pnl_basis" for column in lacking):
        return
    ended = connection.execute(sa.select(RunRow.run_id, RunRow.pnl_residual, RunRow.summary)).all()
    for run_id, residual, summary in ended:
        basis = Decimal(summary.get("pnl", {}).get("basis", 0))
        amounts = {"pnl_basis": basis, "pnl_residual": residual - basis}
        connection.execute(sa.update(RunRow).where(RunRow.run_id == run_id).values(amounts))


def downgrade() -> None:
    """Leave them: the tables of before are a part of these."""
