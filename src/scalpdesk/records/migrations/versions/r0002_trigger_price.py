"""The price that a stop waits for, of each order."""

import sqlalchemy as sa
from alembic import op

revision = "r0002"
down_revision = "136_options_scalper"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of orders that were recorded before it is NULL, for none of them was a stop."""
    exact = sa.Text().with_variant(sa.Numeric(), "postgresql")
    op.add_column("orders", sa.Column("trigger_price", exact, nullable=True))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("orders", "trigger_price")
