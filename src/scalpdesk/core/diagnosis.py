"""What the doctor finds: one answer about an installation."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One answer of ``scalpdesk doctor``. ``verdict`` is ok, note (works without) or fail."""

    name: str
    verdict: str
    detail: str
    fix: str | None = None
