"""Mini-batch k-means (Sculley 2010) whose centres are then replaced by the nearest samples."""

import torch
from torch import Tensor

from avatar_core.seeds import torch_generator


def medoids(samples: Tensor, count: int, seed: int, rounds: int = 60, batch: int = 8192) -> Tensor:
    """Return the indices (count,) of samples that stand for clusters of `samples` (n, d), sorted, all different.

    Raises ValueError when there are fewer samples than clusters.
    """
    if len(samples) < count:
        raise ValueError(f"{len(samples)} samples cannot make {count} clusters")
    generator = torch_generator(seed, "medoids")
    centres = _scattered(samples, count, generator)
    seen = torch.zeros(count)
    for _ in range(rounds):
        chosen = samples[torch.randint(len(samples), (min(batch, len(samples)),), generator=generator)]
        nearest = _nearest(chosen, centres)[1]
        sums = torch.zeros_like(centres).index_add_(0, nearest, chosen)
        counts = torch.zeros(count).index_add_(0, nearest, torch.ones(len(chosen)))
        seen += counts
        hit = counts > 0
        centres[hit] += (sums[hit] - counts[hit, None] * centres[hit]) / seen[hit, None]
    return _distinct_nearest(samples, centres)


def _scattered(samples: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """First centres (count, d): each drawn by its squared distance to those before (k-means++, Arthur 2007)."""
    first = int(torch.randint(len(samples), (1,), generator=generator))
    centres = [samples[first]]
    squared = (samples - centres[0]).square().sum(1)
    for _ in range(count - 1):
        total = squared.double().cumsum(0)
        drawn = torch.rand(1, generator=generator, dtype=torch.float64) * total[-1]
        chosen = samples[int(torch.searchsorted(total, drawn).clamp(max=len(samples) - 1))]
        centres.append(chosen)
        squared = torch.minimum(squared, (samples - chosen).square().sum(1))
    return torch.stack(centres)


def _nearest(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Distance (n,) and index (n,) of the centre nearest to each point."""
    distance, index = zip(*(torch.cdist(chunk, centres).min(1) for chunk in points.split(4096)))
    return torch.cat(distance), torch.cat(index)


def _distinct_nearest(samples: Tensor, centres: Tensor) -> Tensor:
    """The nearest sample to each centre; a centre whose sample is taken gets the sample farthest from all taken."""
    nearest = torch.unique(_nearest(centres, samples)[1])
    while len(nearest) < len(centres):
        distance = _nearest(samples, samples[nearest])[0]
        far = distance.topk(max(1, (len(centres) - len(nearest)) // 4)).indices
        nearest = torch.unique(torch.cat([nearest, far]))
    return nearest
