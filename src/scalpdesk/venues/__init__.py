"""The wire: one package a venue, each with a pure ``wire`` and an asynchronous ``client``."""
