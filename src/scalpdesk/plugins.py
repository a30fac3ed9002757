"""What authors of all plug-ins need that are neither a strategy, a venue nor a served protocol."""

from scalpdesk.core.doors import door

__getattr__, __dir__ = door(__name__, __file__)
