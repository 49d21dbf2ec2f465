"""The layout of a multi-resolution grid: the cells of each level and where its features lie in the table."""

import math
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from avatar_core.errors import ConfigError

FEATURES = 2
"""Features a level and corner hold; fixed, so that kernels read a corner as one 2-vector."""


class HashConfig(BaseModel):
    """Resolution of a multi-resolution grid, in metres of the bind pose."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    levels: int = Field(8, ge=1, le=16)
    """Number of grids, from the coarsest to the finest."""
    coarsest_cell: float = Field(0.16, gt=0)
    """Cell edge of the first level, metres."""
    finest_cell: float = Field(0.01, gt=0)
    """Cell edge of the last level, metres."""
    log2_table_size: int = Field(16, ge=4, le=22)
    """A level with more corners than 2 to this power is hashed into so many slots; a smaller one is dense."""


@dataclass(frozen=True)
class HashLayout:
    """Where each level's features lie: cell edge, corner counts, table offset, table size and kind."""

    lower: tuple[float, float, float]
    upper: tuple[float, float, float]
    cells: tuple[float, ...]
    dims: tuple[tuple[int, int, int], ...]
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    dense: tuple[bool, ...]

    @property
    def levels(self) -> int:
        """Number of levels."""
        return len(self.cells)

    @property
    def rows(self) -> int:
        """Rows of the table that holds every level."""
        return self.offsets[-1] + self.sizes[-1]


def hash_layout(
    config: HashConfig, lower: tuple[float, float, float], upper: tuple[float, float, float]
) -> HashLayout:
    """Lay out the levels of `config` over the axis-aligned box from `lower` to `upper` (metres).

    Raises ConfigError when the box is empty or the finest cell is coarser than the coarsest.
    """
    if any(high <= low for low, high in zip(lower, upper)):
        raise ConfigError(
            f"the encoding's box is empty: {lower} to {upper}; give an upper corner above the lower"
        )
    if config.finest_cell > config.coarsest_cell:
        raise ConfigError(
            f"finest_cell {config.finest_cell} is larger than coarsest_cell {config.coarsest_cell}; swap them"
        )
    steps = max(config.levels - 1, 1)
    shrink = (config.finest_cell / config.coarsest_cell) ** (1.0 / steps)
    cells = tuple(config.coarsest_cell * shrink**level for level in range(config.levels))
    slots = 1 << config.log2_table_size
    dims, offsets, sizes, dense = [], [], [], []
    offset = 0
    for cell in cells:
        corners = tuple(math.ceil((high - low) / cell - 1e-6) + 1 for low, high in zip(lower, upper))
        count = math.prod(corners)
        fits = count <= slots
        dims.append(corners)
        offsets.append(offset)
        sizes.append(count if fits else slots)
        dense.append(fits)
        offset += sizes[-1]
    return HashLayout(
        lower,
        upper,
        cells,
        tuple(dims),
        tuple(offsets),
        tuple(sizes),
        tuple(dense),
    )
