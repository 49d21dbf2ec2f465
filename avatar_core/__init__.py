"""The library behind avatar-foundry: bodies, perception, rendering, fields, priors, stages, storage."""

__version__ = "0.1.0"
GENERATOR = f"avatar-foundry {__version__}"
"""How files name what made them."""
