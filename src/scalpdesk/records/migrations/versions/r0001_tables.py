"""The tables of runs as the models describe them, but for those of options scalps."""

from alembic import op

from scalpdesk.records.tables import Base, OptionsScalpRecord, ScalpOutcomeRow

revision = "r0001"
down_revision = None
branch_labels = None
depends_on = None

SCALPS = (OptionsScalpRecord.__tablename__, ScalpOutcomeRow.__tablename__)
TABLES = [table for table in Base.metadata.sorted_tables if table.name not in SCALPS]


def upgrade() -> None:
    """Create the tables of runs."""
    for table in TABLES:
        op.get_context().impl.create_table(table)


def downgrade() -> None:
    """Drop them."""
    for table in reversed(TABLES):
        op.drop_table(table.name)
