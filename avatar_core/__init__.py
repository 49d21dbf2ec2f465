"""The library behind avatar-foundry: bodies, perception, rendering, fields, priors, stages, storage."""

__version__ = "0.1.0"
