"""Warp kernels of NeuS compositing, one source for CPU and CUDA: a thread a ray, no atomic additions.

`odds` are exp(-s d) at every distance d, s the sharpness: sigmoid(s d) = 1 / (1 + odds). Vectorised by the caller.
"""

# mypy: disable-error-code="valid-type,index"
# Annotations of Warp kernels are values that Warp reads, not Python types.
# ruff: noqa: UP018 - float(0.0) declares a variable that a loop changes; a literal would be a constant to Warp.

import warp as wp

CLEAR = wp.constant(1.0e-7)
"""Keeps what lies behind an opaque interval differentiable."""
SEEN = wp.constant(1.0e-4)
"""Rays less opaque than this have no depth of their own."""
STEEP = wp.constant(1.0e-6)
"""Least fall of the distance over an interval, metres, for finding where it crosses zero."""


@wp.func
def share_of_crossing(near: float, far: float) -> float:
    return wp.clamp(near / wp.max(near - far, STEEP), 0.0, 1.0)


@wp.kernel(enable_backward=False)
def composite_forward(
    distances: wp.array2d(dtype=float),
    odds: wp.array2d(dtype=float),
    depths: wp.array2d(dtype=float),
    weights: wp.array2d(dtype=float),
    opacity: wp.array(dtype=float),
    depth: wp.array(dtype=float),
):
    ray = wp.tid()
    clear = float(1.0)
    total = float(0.0)
    moment = float(0.0)
    before = odds[ray, 0]
    for i in range(weights.shape[1]):
        near = distances[ray, i]
        far = distances[ray, i + 1]
        after = odds[ray, i + 1]
        alpha = wp.clamp(1.0 - (1.0 + before) / (1.0 + after), 0.0, 1.0)
        before = after
        weight = alpha * clear
        clear = clear * (1.0 - alpha + CLEAR)
        step = depths[ray, i + 1] - depths[ray, i]
        weights[ray, i] = weight
        total += weight
        moment += weight * (depths[ray, i] + share_of_crossing(near, far) * step)
    opacity[ray] = total
    depth[ray] = wp.where(total > SEEN, moment / wp.max(total, SEEN), depths[ray, 0])


@wp.kernel(enable_backward=False)
def composite_backward(
    distances: wp.array2d(dtype=float),
    odds: wp.array2d(dtype=float),
    depths: wp.array2d(dtype=float),
    sharpness: wp.array(dtype=float),
    weights: wp.array2d(dtype=float),
    opacity: wp.array(dtype=float),
    depth: wp.array(dtype=float),
    grad_weights: wp.array2d(dtype=float),
    grad_opacity: wp.array(dtype=float),
    grad_depth: wp.array(dtype=float),
    grad_distances: wp.array2d(dtype=float),
    grad_sharpness: wp.array(dtype=float),
):
    ray = wp.tid()
    s = sharpness[0]
    last = weights.shape[1] - 1
    total = opacity[ray]
    pull = wp.where(total > SEEN, grad_depth[ray] / wp.max(total, SEEN), 0.0)
    # How much light reaches each interval waits where its gradient will go.
    clear = float(1.0)
    before = odds[ray, 0]
    for i in range(last + 1):
        grad_distances[ray, i] = clear
        after = odds[ray, i + 1]
        clear = clear * (1.0 - wp.clamp(1.0 - (1.0 + before) / (1.0 + after), 0.0, 1.0) + CLEAR)
        before = after
    # From the last interval to the first: what lies behind an interval is known when its turn comes.
    behind = float(0.0)
    by_sharpness = float(0.0)
    grad_distances[ray, last + 1] = 0.0
    after = before
    for reverse in range(last + 1):
        i = last - reverse
        near = distances[ray, i]
        far = distances[ray, i + 1]
        step = depths[ray, i + 1] - depths[ray, i]
        share = share_of_crossing(near, far)
        crossing = depths[ray, i] + share * step
        before = odds[ray, i]
        ratio = (1.0 + before) / (1.0 + after)
        alpha = wp.clamp(1.0 - ratio, 0.0, 1.0)
        weight = weights[ray, i]
        by_weight = grad_weights[ray, i] + grad_opacity[ray] + pull * (crossing - depth[ray])
        clear = grad_distances[ray, i]
        by_alpha = clear * by_weight - behind / (1.0 - alpha + CLEAR)
        behind += weight * by_weight
        by_near = float(0.0)
        by_far = float(0.0)
        if ratio <= 1.0:
            by_near = by_alpha * ratio * before / (1.0 + before)
            by_far = -by_alpha * ratio * after / (1.0 + after)
        after = before
        by_sharpness += by_near * near + by_far * far
        fall = near - far
        slip_near = float(0.0)
        slip_far = float(0.0)
        if fall > STEEP and near / fall >= 0.0 and near / fall <= 1.0:
            by_share = pull * weight * step
            slip_near = -by_share * far / (fall * fall)
            slip_far = by_share * near / (fall * fall)
        grad_distances[ray, i + 1] = grad_distances[ray, i + 1] + s * by_far + slip_far
        grad_distances[ray, i] = s * by_near + slip_near
    grad_sharpness[ray] = by_sharpness
