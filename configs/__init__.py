"""Presets and example catalogs, read as package data."""
