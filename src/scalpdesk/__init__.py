"""scalpdesk: a desk for gamma scalping and short-dated option scalping."""

__version__ = "0.1.0"
