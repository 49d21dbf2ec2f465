"""The one buffer of a GLB, and the views and accessors into it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pygltflib as gltf
from numpy.typing import NDArray

COMPONENTS = {
    "uint8": gltf.UNSIGNED_BYTE,
    "uint16": gltf.UNSIGNED_SHORT,
    "uint32": gltf.UNSIGNED_INT,
    "float32": gltf.FLOAT,
}
"""glTF's numbers of types, by numpy's names."""
SHAPES = {(): gltf.SCALAR, (2,): gltf.VEC2, (3,): gltf.VEC3, (4,): gltf.VEC4, (4, 4): gltf.MAT4}
"""glTF's names of an element's shapes."""


@dataclass
class GlbBuffer:
    """What grows while a GLB is put together."""

    data: bytearray = field(default_factory=bytearray)
    views: list[gltf.BufferView] = field(default_factory=list)
    accessors: list[gltf.Accessor] = field(default_factory=list)

    def add(self, array: NDArray, *, target: int | None = None, bounds: bool = False, normalized: bool = False) -> int:
        """Append an array (N, ...) as an accessor of its own view; returns the accessor's index."""
        array = np.ascontiguousarray(array)
        self.data.extend(b"\0" * (-len(self.data) % 4))
        self.views.append(gltf.BufferView(buffer=0, byteOffset=len(self.data), byteLength=array.nbytes, target=target))
        flat = array.reshape(len(array), -1)
        self.accessors.append(
            gltf.Accessor(
                bufferView=len(self.views) - 1,
                componentType=COMPONENTS[array.dtype.name],
                normalized=normalized,
                count=len(array),
                type=SHAPES[array.shape[1:]],
                min=[float(v) for v in flat.min(axis=0)] if bounds else None,
                max=[float(v) for v in flat.max(axis=0)] if bounds else None,
            )
        )
        self.data.extend(array.tobytes())
        return len(self.accessors) - 1

    def add_file(self, content: bytes) -> int:
        """Append a file as a view of its own; returns the view's index."""
        self.data.extend(b"\0" * (-len(self.data) % 4))
        self.views.append(gltf.BufferView(buffer=0, byteOffset=len(self.data), byteLength=len(content)))
        self.data.extend(content)
        return len(self.views) - 1
