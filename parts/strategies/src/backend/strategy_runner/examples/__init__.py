"""The folders of examples that the 0DTE page names; they lie in ``examples``."""
