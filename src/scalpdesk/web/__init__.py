"""The dashboard: a process of its own that reads records and the journal's tail, and its API."""
