"""The options scalper's table (PRD-136), and what its performance is grouped by."""

from alembic import op

from scalpdesk.records.tables import Base

revision = "136_options_scalper"
down_revision = "r0001"
branch_labels = None
depends_on = None

TABLES = [Base.metadata.tables[name] for name in ("options_scalps", "scalp_outcomes")]


def upgrade() -> None:
    """Create the tables of options scalps and of what came of them."""
    for table in TABLES:
        op.get_context().impl.create_table(table)


def downgrade() -> None:
    """Drop both tables."""
    for table in reversed(TABLES):
        op.drop_table(table.name)
