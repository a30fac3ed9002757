"""Alerts: conditions of a followed desk, and their way to people and back."""
