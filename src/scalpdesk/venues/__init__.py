"""Venues: one package each, with messages read and written without I/O and a gateway that connects."""
