"""The heart: one event in, decisions and commands out."""
