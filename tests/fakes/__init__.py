"""What the tests of this repository need beyond the published kit: venues, wires, other processes."""
