"""What the doctor says of strategy folders on this machine."""

from collections.abc import Mapping
from typing import Any

from scalpdesk.core.diagnosis import Diagnosis
from scalpdesk_strategies.isolation.confinement import lacking


def diagnose(settings: Mapping[str, Any]) -> Diagnosis:
    """Say what keeps the process of a strategy folder from the desk."""
    open_doors = lacking(tuple(settings.get("connect_ports", ())))
    if not open_doors:
        return Diagnosis("strategy folders", "ok", "confined by Landlock and seccomp")
    fix = "take Linux 5.13 or later with both; strategies.external.must_be_confined refuses to run without"
    verdict = "fail" if settings.get("must_be_confined") else "note"
    return Diagnosis("strategy folders", verdict, "; ".join(open_doors), fix)
