"""The module that the 0DTE page starts."""
