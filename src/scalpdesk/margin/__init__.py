"""Margin and buying power: schedules that the simulated broker, the risk gate and the desk ask."""
