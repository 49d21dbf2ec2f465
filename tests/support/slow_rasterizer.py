"""The rasteriser of `neural_renderer`, in slow torch: its arguments, conventions and results, for any device.

It stands in where the package, which builds with CUDA only, is not installed. Gradients reach textures alone.
"""

import torch


def rasterize_rgbad(
    faces, textures, image_size, anti_aliasing, near, far, eps, background_color, return_rgb=True, return_alpha=True,
    return_depth=True,
):  # fmt: skip
    """Colours (B, 3, S, S) and covers (B, S, S) of faces (B, F, 3, 3), right and up from -1 to 1, depth positive.

    textures: (B, F, N, N, N, 3), read trilinearly at a point's weights. A face that runs clockwise is not drawn.
    """
    assert not anti_aliasing
    assert not return_depth
    centres = (2 * torch.arange(image_size) + 1) / image_size - 1
    points = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), -1).flip(0)  # the first row is the top
    pictures = [
        _draw(corners, texture, points, near, far, eps, background_color) for corners, texture in zip(faces, textures)
    ]
    rgb, alpha = (torch.stack(parts) for parts in zip(*pictures))
    return {"rgb": rgb.permute(0, 3, 1, 2), "alpha": alpha, "depth": None}


def _draw(corners, textures, points, near, far, eps, background):
    a, b, c = (corners[:, k, :2].detach() for k in range(3))
    area = _cross(b - a, c - a)
    at = points[None]  # (1, S, S, 2)
    parts = [_cross(q - p, at - p[:, None, None]) for p, q in ((b, c), (c, a), (a, b))]
    weights = torch.stack(parts, -1) / area[:, None, None, None]
    depth = 1 / (weights / corners[:, None, None, :, 2].detach()).sum(-1)  # perspective-correct
    seen = (weights >= 0).all(-1) & (area > 0)[:, None, None] & (depth > near) & (depth < far)
    depth = torch.where(seen, depth, torch.inf)
    nearest, face = depth.min(0)
    hit = nearest < torch.inf
    chosen = face[hit]
    rows, columns = torch.nonzero(hit, as_tuple=True)
    at = weights[chosen, rows, columns] * nearest[hit][:, None] / corners[chosen, :, 2].detach()
    size = textures.shape[1]
    place = (at * (size - 1)).clamp(0, size - 1 - eps)
    low = place.long()
    color = 0
    for bits in torch.cartesian_prod(*[torch.arange(2)] * 3):
        share = torch.where(bits.bool(), place - low, 1 - (place - low)).prod(-1, keepdim=True)
        i, j, k = (low + bits).unbind(-1)
        color = color + share * textures[chosen, i, j, k]
    image = torch.tensor(background).expand(*hit.shape, 3).index_put((rows, columns), color)
    return image, hit.float()


def _cross(first, second):
    if first.ndim < second.ndim:
        first = first[:, None, None]
    return first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
