"""A replica of a run, fed from its journal, and documents that say how it stands."""
