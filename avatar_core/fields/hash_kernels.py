"""Warp kernels of the multi-resolution hash encoding, one source for CPU and CUDA.

A launch encodes the points of one or more grids (of K avatars), each grid's after the other's, `share` points a grid.
What is known of a level lies in flat arrays, grid after grid; `offsets` count from the start of the one table of all.

On the CPU Warp runs threads one after another, and levels have tables of their own, so that the backward pass adds into
each in a fixed order and is bit-reproducible; on CUDA the order of its atomic additions varies.

`first` is the number of the first point of a launch that takes a part of them (see `warp_runtime.launch`).
"""

# mypy: disable-error-code="valid-type,index,operator"
# Annotations of Warp kernels are values that Warp reads, not Python types.

import warp as wp

PRIME_Y = wp.constant(wp.uint32(2_654_435_761))
PRIME_Z = wp.constant(wp.uint32(805_459_861))


@wp.func
def corner_slot(x: int, y: int, z: int, dims: wp.vec3i, size: int, dense: int) -> int:
    if dense == 1:
        return x + dims[0] * (y + dims[1] * z)
    mixed = wp.uint32(x) ^ (wp.uint32(y) * PRIME_Y) ^ (wp.uint32(z) * PRIME_Z)
    return int(mixed & wp.uint32(size - 1))


@wp.func
def clamp_point(point: wp.vec3, lower: wp.vec3, upper: wp.vec3) -> wp.vec3:
    return wp.max(wp.min(point, upper), lower)


@wp.func
def cell_base(position: wp.vec3, dims: wp.vec3i) -> wp.vec3i:
    return wp.vec3i(
        wp.min(int(position[0]), dims[0] - 2),
        wp.min(int(position[1]), dims[1] - 2),
        wp.min(int(position[2]), dims[2] - 2),
    )


@wp.kernel(enable_backward=False)
def encode_forward(
    points: wp.array(dtype=wp.vec3),
    table: wp.array(dtype=wp.vec2),
    level_weights: wp.array(dtype=float),
    cells: wp.array(dtype=float),
    dims: wp.array(dtype=wp.vec3i),
    offsets: wp.array(dtype=int),
    sizes: wp.array(dtype=int),
    dense: wp.array(dtype=int),
    lower: wp.array(dtype=wp.vec3),
    upper: wp.array(dtype=wp.vec3),
    share: int,
    first: int,
    features: wp.array2d(dtype=wp.vec2),
):
    i = wp.tid()
    grid = (first + i) // share
    levels = cells.shape[0] // lower.shape[0]
    point = clamp_point(points[i], lower[grid], upper[grid]) - lower[grid]
    for own in range(levels):
        level = grid * levels + own
        total = wp.vec2(0.0, 0.0)
        if level_weights[level] != 0.0:
            position = point / cells[level]
            size = dims[level]
            base = cell_base(position, size)
            fx = position[0] - float(base[0])
            fy = position[1] - float(base[1])
            fz = position[2] - float(base[2])
            for corner in range(8):
                sx = corner & 1
                sy = (corner >> 1) & 1
                sz = (corner >> 2) & 1
                weight = (
                    wp.where(sx == 1, fx, 1.0 - fx)
                    * wp.where(sy == 1, fy, 1.0 - fy)
                    * wp.where(sz == 1, fz, 1.0 - fz)
                )
                slot = corner_slot(base[0] + sx, base[1] + sy, base[2] + sz, size, sizes[level], dense[level])
                total += weight * table[offsets[level] + slot]
        features[i, own] = total * level_weights[level]


@wp.kernel(enable_backward=False)
def encode_backward_table(
    points: wp.array(dtype=wp.vec3),
    level_weights: wp.array(dtype=float),
    cells: wp.array(dtype=float),
    dims: wp.array(dtype=wp.vec3i),
    offsets: wp.array(dtype=int),
    sizes: wp.array(dtype=int),
    dense: wp.array(dtype=int),
    lower: wp.array(dtype=wp.vec3),
    upper: wp.array(dtype=wp.vec3),
    share: int,
    first_level: int,
    last_level: int,
    grad_features: wp.array2d(dtype=wp.vec2),
    grad_table: wp.array(dtype=wp.vec2),
):
    i = wp.tid()
    grid = i // share
    levels = cells.shape[0] // lower.shape[0]
    point = clamp_point(points[i], lower[grid], upper[grid]) - lower[grid]
    for own in range(first_level, last_level):
        level = grid * levels + own
        grad = grad_features[i, own] * level_weights[level]
        # Points that nothing depends on (unseen samples, padding) would only queue up for the same rows.
        if grad[0] != 0.0 or grad[1] != 0.0:
            position = point / cells[level]
            size = dims[level]
            base = cell_base(position, size)
            fx = position[0] - float(base[0])
            fy = position[1] - float(base[1])
            fz = position[2] - float(base[2])
            for corner in range(8):
                sx = corner & 1
                sy = (corner >> 1) & 1
                sz = (corner >> 2) & 1
                weight = (
                    wp.where(sx == 1, fx, 1.0 - fx)
                    * wp.where(sy == 1, fy, 1.0 - fy)
                    * wp.where(sz == 1, fz, 1.0 - fz)
                )
                slot = corner_slot(base[0] + sx, base[1] + sy, base[2] + sz, size, sizes[level], dense[level])
                wp.atomic_add(grad_table, offsets[level] + slot, weight * grad)


@wp.kernel(enable_backward=False)
def encode_backward_points(
    points: wp.array(dtype=wp.vec3),
    table: wp.array(dtype=wp.vec2),
    level_weights: wp.array(dtype=float),
    cells: wp.array(dtype=float),
    dims: wp.array(dtype=wp.vec3i),
    offsets: wp.array(dtype=int),
    sizes: wp.array(dtype=int),
    dense: wp.array(dtype=int),
    lower: wp.array(dtype=wp.vec3),
    upper: wp.array(dtype=wp.vec3),
    share: int,
    first: int,
    grad_features: wp.array2d(dtype=wp.vec2),
    grad_points: wp.array(dtype=wp.vec3),
):
    i = wp.tid()
    grid = (first + i) // share
    levels = cells.shape[0] // lower.shape[0]
    original = points[i]
    inside = clamp_point(original, lower[grid], upper[grid])
    point = inside - lower[grid]
    total = wp.vec3(0.0, 0.0, 0.0)
    for own in range(levels):
        level = grid * levels + own
        if level_weights[level] != 0.0:
            position = point / cells[level]
            size = dims[level]
            base = cell_base(position, size)
            fx = position[0] - float(base[0])
            fy = position[1] - float(base[1])
            fz = position[2] - float(base[2])
            grad = grad_features[i, own] * (level_weights[level] / cells[level])
            for corner in range(8):
                sx = corner & 1
                sy = (corner >> 1) & 1
                sz = (corner >> 2) & 1
                wx = wp.where(sx == 1, fx, 1.0 - fx)
                wy = wp.where(sy == 1, fy, 1.0 - fy)
                wz = wp.where(sz == 1, fz, 1.0 - fz)
                dx = wp.where(sx == 1, 1.0, -1.0)
                dy = wp.where(sy == 1, 1.0, -1.0)
                dz = wp.where(sz == 1, 1.0, -1.0)
                slot = corner_slot(base[0] + sx, base[1] + sy, base[2] + sz, size, sizes[level], dense[level])
                value = wp.dot(grad, table[offsets[level] + slot])
                total += value * wp.vec3(dx * wy * wz, wx * dy * wz, wx * wy * dz)
    for axis in range(3):
        if inside[axis] != original[axis]:
            total[axis] = 0.0
    grad_points[i] = total
