"""A year for the accountant: lots, wash sales, section 1256 and the tables of the forms; no advice."""
