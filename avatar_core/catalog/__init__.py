"""Catalogs: CSV files of prompts, read as a stream of accepted and rejected rows."""

from avatar_core.catalog.reader import read_catalog
from avatar_core.catalog.rows import CatalogRow, RejectedRow, row_seed

__all__ = ["CatalogRow", "RejectedRow", "read_catalog", "row_seed"]
