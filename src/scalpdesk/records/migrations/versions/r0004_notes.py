"""Notes and tags of runs, days and trades, which no journal holds."""

import sqlalchemy as sa
from alembic import op

revision = "r0004"
down_revision = "r0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table; it names no row of another, for those are dropped and made again."""
    op.create_table(
        "notes",
        sa.Column("run_id", sa.Text(), primary_key=True, nullable=False),
        sa.Column("kind", sa.Text(), primary_key=True, nullable=False),
        sa.Column("name", sa.Text(), primary_key=True, nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("changed_ns", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    """Drop it, with what was noted."""
    op.drop_table("notes")
