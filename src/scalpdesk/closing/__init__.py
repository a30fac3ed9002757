"""Closing positions: prices of an exit, the life of a leg, the driver, and the last resort of a desk."""
