"""Warp kernel of the shell's rays, one source for CPU and CUDA: a thread a pixel, and nothing between them.

A ray is cast at the shell's wall and at the body, and then followed through the grid of distances before anything
learned, to the stretch of it where the surface can be. See `shell_reference` for the same in plain torch.
"""

# mypy: disable-error-code="valid-type,index,operator"
# Annotations of Warp kernels are values that Warp reads, not Python types.
# ruff: noqa: UP018, RUF046 - int(-1) declares a variable that a loop changes; a literal would be a constant to Warp.

import warp as wp

PROBES = wp.constant(24)
"""Places along a ray where the distance before anything learned is looked up, to find the stretch to sample."""
DEEP = wp.constant(0.03)
"""Distance below the surface, before anything learned, at which a ray has gone far enough, metres."""
AHEAD = wp.constant(1.0e-3)
"""A stretch begins so far before the body, and is at least so long, metres."""
FARTHEST = wp.constant(1.0e6)
"""Hits farther away are misses, metres."""


@wp.func
def grid_distance(values: wp.array3d(dtype=float), lower: wp.vec3, cell: float, point: wp.vec3) -> float:
    """Interpolate trilinearly in (Z, Y, X) corners; beyond them, the border's value."""
    x = wp.clamp((point[0] - lower[0]) / cell, 0.0, float(values.shape[2] - 1))
    y = wp.clamp((point[1] - lower[1]) / cell, 0.0, float(values.shape[1] - 1))
    z = wp.clamp((point[2] - lower[2]) / cell, 0.0, float(values.shape[0] - 1))
    i = wp.min(int(x), values.shape[2] - 2)
    j = wp.min(int(y), values.shape[1] - 2)
    k = wp.min(int(z), values.shape[0] - 2)
    u = x - float(i)
    v = y - float(j)
    w = z - float(k)
    near = wp.lerp(
        wp.lerp(values[k, j, i], values[k, j, i + 1], u), wp.lerp(values[k, j + 1, i], values[k, j + 1, i + 1], u), v
    )
    far = wp.lerp(
        wp.lerp(values[k + 1, j, i], values[k + 1, j, i + 1], u),
        wp.lerp(values[k + 1, j + 1, i], values[k + 1, j + 1, i + 1], u),
        v,
    )
    return wp.lerp(near, far, w)


@wp.func
def pixel_direction(
    eye: wp.vec3, target: wp.vec3, up: wp.vec3, fov_y: float, width: int, height: int, column: float, row: float
) -> wp.vec3:
    """Unit direction through a place of the image, in pixels; what `Cameras.rays` gives at the pixels' centres."""
    forward = wp.normalize(target - eye)
    right = wp.normalize(wp.cross(forward, up))
    pixel = 2.0 * wp.tan(0.5 * fov_y) / float(height)
    across = pixel * (column - 0.5 * float(width))
    down = pixel * (row - 0.5 * float(height))
    return wp.normalize(forward + across * right - down * wp.cross(right, forward))


@wp.kernel(enable_backward=False)
def look(
    wall: wp.uint64,
    body: wp.uint64,
    eyes: wp.array(dtype=wp.vec3),
    targets: wp.array(dtype=wp.vec3),
    ups: wp.array(dtype=wp.vec3),
    fovs: wp.array(dtype=float),
    shifts: wp.array(dtype=wp.vec2),
    width: int,
    height: int,
    first_ray: int,
    values: wp.array3d(dtype=float),
    lower: wp.vec3,
    cell: float,
    inward: float,
    reach: float,
    longest: float,
    directions: wp.array(dtype=wp.vec3),
    kept: wp.array(dtype=wp.bool),
    on_body: wp.array(dtype=wp.bool),
    body_depth: wp.array(dtype=float),
    near: wp.array(dtype=float),
    far: wp.array(dtype=float),
):
    i = wp.tid()
    ray = first_ray + i
    view = ray // (width * height)
    pixel = ray - view * width * height
    row = pixel // width
    column = float(pixel - row * width) + 0.5 + shifts[view][0]
    eye = eyes[view]
    way = pixel_direction(
        eye, targets[view], ups[view], fovs[view], width, height, column, float(row) + 0.5 + shifts[view][1]
    )
    directions[i] = way
    entry = wp.mesh_query_ray(wall, eye, way, FARTHEST)
    hit = wp.mesh_query_ray(body, eye, way, FARTHEST)
    kept[i] = False
    on_body[i] = hit.result
    body_depth[i] = wp.where(hit.result, hit.t, 0.0)
    # Where offset sheets cross one another the body can come first: then it is the entry.
    if entry.result or hit.result:
        start = wp.where(entry.result, entry.t, hit.t)
        end = start + longest
        if hit.result:
            start = wp.max(wp.min(start, hit.t - AHEAD), hit.t - longest)
            end = hit.t + 3.0 * inward
        end = wp.min(wp.max(end, start + AHEAD), start + longest + 3.0 * inward)
        step = (end - start) / float(PROBES)
        first = int(PROBES)
        last = int(-1)
        for probe in range(PROBES):
            point = eye + (start + (float(probe) + 0.5) * step) * way
            distance = grid_distance(values, lower, cell, point)
            if distance < reach:
                first = wp.min(first, probe)
                last = probe
            # What lies deep inside is never seen: under a skirt, rays end long before they reach the legs.
            if distance < -DEEP:
                break
        if last >= 0:
            near[i] = start + wp.max(float(first) - 0.5, 0.0) * step
            far[i] = start + wp.min(float(last) + 1.5, float(PROBES)) * step
            kept[i] = True
        else:
            near[i] = start
            far[i] = end
            kept[i] = hit.result
