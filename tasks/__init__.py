"""Prefect tasks: thin wrappers over avatar_core.stages, with their caching, retries and publishing."""
