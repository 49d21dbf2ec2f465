"""Why avatars failed, as status and reports tell it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """Why some avatars failed."""

    stage: str
    kind: str
    """Class name of the error."""
    avatars: int
    example: str
    """Id of one of them."""
    message: str
    """Its error."""
    remedy: str
