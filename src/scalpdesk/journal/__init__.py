"""What happened, once and in order."""
