"""The version of this program; the package metadata and the journals carry it."""

VERSION = "0.2.0"
