"""Instruments: contracts and symbols, sessions, venue deadlines, fees, scheduled announcements."""
