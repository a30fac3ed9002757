"""A strategy folder of protocol v1, trading through the desk. It fills more than one file: a package."""

from scalpdesk_strategies.external.strategy import PLUG

__all__ = ["PLUG"]
