"""Importers of recorded data: LEAN folders, CSV and Parquet files."""
