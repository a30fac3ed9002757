"""Positions, cash, Greeks and P&L explain of an account."""
