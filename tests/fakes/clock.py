"""The clock for tests: it stands still until it is moved."""

from scalpdesk.core.clock import ManualClock

__all__ = ["ManualClock"]
