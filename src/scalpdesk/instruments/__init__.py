"""What is traded: contracts, sessions, fees, scheduled announcements."""
