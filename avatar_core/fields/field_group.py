"""The learned parts of several avatars' fields, evaluated together: one large launch on a GPU and not many small ones.

The tables are joined behind one another and read by one launch, with the rows' offset in each avatar's levels; the
small heads are stacked and applied by batched matrix products.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from avatar_core.fields.avatar_field import AvatarField, bounded_change
from avatar_core.fields.field_inquiry import Asked, Inquiry, Learned, Result
from avatar_core.fields.hash_encoding import Grids, HashEncoding, encode
from avatar_core.fields.hash_layout import HashLayout
from avatar_core.fields.hash_network import HashNetwork


class FieldGroup:
    """K fields of one configuration as they are now, over any bodies; values and gradients are those of each alone.

    Gradients reach the fields' own parameters. What they learn later, a group made later knows.

    Args:
        fields: at least one.
    Raises:
        ValueError: their configurations differ.
    """

    def __init__(self, fields: Sequence[AvatarField]) -> None:
        if any(field.config != fields[0].config for field in fields):
            raise ValueError("fields of different configurations cannot be evaluated together")
        self._fields = fields
        networks = [field.network for field in fields if isinstance(field.network, HashNetwork)]
        self._joined = len(networks) == len(fields)
        if self._joined:
            geometry = [(network.geometry_encoding, network.geometry_head) for network in networks]
            color = [(network.color_encoding, network.color_head) for network in networks]
            self._geometry = _Network(geometry, fields[0].bounded_residual)
            self._color = _Network(color, bounded_change)

    def learned(self, asked: Sequence[Asked]) -> list[Learned]:
        """Return what each field has learned where it is asked for; see `AvatarField.learned`."""
        if not self._joined:  # large networks fill a GPU by themselves
            return [field.learned(one) for field, one in zip(self._fields, asked)]
        nowhere = self._fields[0].base.logits.new_zeros(0, 3)
        residuals = self._geometry([nowhere if one.residual is None else one.residual for one in asked])
        changes = self._color([nowhere if one.color is None else one.color for one in asked])
        return [Learned(residual.squeeze(1), change) for residual, change in zip(residuals, changes)]

    def answer(self, inquiries: Sequence[Inquiry[Result]]) -> list[Result]:
        """Carry out K computations of one kind, one of each field, side by side; see `AvatarField.answer`."""
        asked = [next(inquiry) for inquiry in inquiries]
        results: list[Result] = []
        while not results:
            learned, asked = self.learned(asked), []
            for inquiry, answer in zip(inquiries, learned):
                try:
                    asked.append(inquiry.send(answer))
                except StopIteration as end:
                    results.append(end.value)
        return results


@lru_cache(maxsize=64)
def _grids(layouts: tuple[HashLayout, ...], device: torch.device) -> Grids:
    """Sent to the device once, although groups are made for every step."""
    return Grids.of(layouts, device)


class _Network:
    """K hash encodings, the two-layer heads on them, and what bounds the heads' outputs, as one."""

    def __init__(
        self, parts: Sequence[tuple[HashEncoding, nn.Sequential]], bounded: Callable[[Tensor], Tensor]
    ) -> None:
        self._bounded = bounded
        encodings, heads = zip(*parts)
        self._width = encodings[0].width
        self._grids = _grids(tuple(encoding.layout for encoding in encodings), encodings[0].table.device)
        self._table = torch.cat([encoding.table for encoding in encodings])
        self._level_weights = torch.cat([encoding.level_weights for encoding in encodings])
        self._first = _Layers([head[0] for head in heads])
        self._last = _Layers([head[2] for head in heads])

    def __call__(self, points: Sequence[Tensor]) -> list[Tensor]:
        """Return the heads' bounded outputs (N_k, C) at points (N_k, 3) of each part."""
        most = max(len(one) for one in points)
        # Filled up to equally many: what is filled in gets no gradient, for which the kernel does nothing.
        filling = points[0].new_zeros(most, 3)
        pieces = [piece for one in points for piece in (one, filling[len(one) :])]
        features = encode(torch.cat(pieces), self._table, self._level_weights, self._grids)
        outputs = self._bounded(self._last(torch.relu(self._first(features.view(len(points), most, self._width)))))
        return list(outputs.flatten(0, 1).split([len(piece) for piece in pieces])[::2])


class _Layers:
    """K linear layers of equal shape."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        self._weight = torch.stack([layer.weight for layer in layers]).mT
        self._bias = torch.stack([layer.bias for layer in layers])[:, None]

    def __call__(self, values: Tensor) -> Tensor:
        """Return (K, P, outputs) of values (K, P, inputs)."""
        return torch.baddbmm(self._bias, values, self._weight)
