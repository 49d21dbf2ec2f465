"""Flows, which wire tasks together, and the `avatars` command."""
