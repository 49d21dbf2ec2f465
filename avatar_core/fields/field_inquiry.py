"""How a computation asks for what a field has learned, so that the questions of several can be answered together."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Asked:
    """Where learned parts of a field are asked for; None where they are not."""

    residual: Tensor | None = None
    """(N, 3) metres, bind pose."""
    color: Tensor | None = None
    """(M, 3) metres, bind pose."""


@dataclass(frozen=True, eq=False)
class Learned:
    """Learned parts of a field where they were asked for; empty where they were not."""

    residual: Tensor
    """(N,) offsets of the distance, metres."""
    color: Tensor
    """(M, 3) changes of the albedo's logits."""


Result = TypeVar("Result")
Inquiry = Generator[Asked, Learned, Result]
"""A computation that asks, goes on with the answer, and returns a result: `AvatarField.answer` or `FieldGroup.answer`
carries it out."""
