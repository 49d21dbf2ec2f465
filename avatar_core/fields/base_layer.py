"""What is worn, as the base of an avatar: one colour and one thickness a region, with clean borders."""

import torch
from torch import Tensor, nn

from avatar_core.errors import BodyError
from avatar_core.fields.body_surface import BodySurface, Closest
from avatar_core.fields.garment_volume import PARAMETERS, check_volumes, cloth_share

NEUTRAL = (0.66, 0.55, 0.48)
"""Albedo before anything is learned: between grey and skin, so that no prompt starts far away."""
LOGIT_LIMIT = 0.015
"""Palette colours stay this far from 0 and 1, where a logit has no slope."""


class BaseLayer(nn.Module):
    """Region colours as trainable logits, and region thicknesses, spread by per-vertex memberships.

    Memberships are interpolated at a query's closest body point and sharpened, so that a border is a smooth
    line through triangles instead of a staircase along them.
    """

    membership: Tensor
    thickness: Tensor
    volumes: Tensor
    anchor: Tensor
    freedom: Tensor

    def __init__(self, vertices: int) -> None:
        """One region that covers all `vertices`, in the neutral tone and without thickness."""
        super().__init__()
        self.register_buffer("membership", torch.ones(vertices, 1))
        self.register_buffer("thickness", torch.zeros(1))
        self.register_buffer("volumes", torch.zeros(0, len(PARAMETERS)))
        self.logits = nn.Parameter(torch.logit(torch.tensor([NEUTRAL])))
        self.register_buffer("anchor", self.logits.detach().clone())
        self.register_buffer("freedom", torch.ones(1, 2))
        self._forget()

    def _forget(self) -> None:
        """Let `worn` and `_volume_regions` be found anew: asked at every step, they would make a GPU wait."""
        self._worn: bool | None = None
        self._one_region: Tensor | None = None

    def resize(self, regions: int, volumes: int) -> None:
        """Make room for a state of `regions` regions and `volumes` volumes; the colours restart neutral."""
        device = self.logits.device
        self.membership = torch.ones(len(self.membership), regions, device=device) / regions
        self.thickness = torch.zeros(regions, device=device)
        self.volumes = torch.zeros(volumes, len(PARAMETERS), device=device)
        self.logits = nn.Parameter(torch.logit(torch.tensor([NEUTRAL] * regions, device=device)))
        self.anchor = self.logits.detach().clone()
        self.freedom = torch.ones(regions, 2, device=device)
        self._forget()

    def set_regions(
        self,
        membership: Tensor,
        colors: Tensor,
        thickness: Tensor,
        volumes: Tensor | None = None,
        freedom: Tensor | None = None,
    ) -> None:
        """Divide the body into R regions.

        membership: (V, R) shares that a vertex has in the regions, rows sum to one; colors: (R, 3) in [0, 1];
        thickness: (R,) how far each stands off the body, metres; volumes: (M, 12) what stands away from the body (see
        `garment_volume`); freedom: (R, 2) in [0, 1], how much of what is learned each region's colour takes, of
        lightness and of hue (all of it where not given).
        Raises BodyError when the sizes do not fit the body.
        """
        regions = membership.shape[1]
        if len(membership) != len(self.membership) or not regions == len(colors) == len(thickness):
            raise BodyError(
                f"{tuple(membership.shape)} memberships, {len(colors)} colours and {len(thickness)} thicknesses "
                f"do not fit a body of {len(self.membership)} vertices; give a row a vertex and a column a colour"
            )
        volumes = torch.zeros(0, len(PARAMETERS)) if volumes is None else volumes
        check_volumes(volumes, len(colors))
        self.resize(len(colors), len(volumes))
        with torch.no_grad():
            # Half precision is what the artifact holds: a loaded field is the same field.
            self.membership.copy_(membership.half().float())
            self.thickness.copy_(thickness)
            self.volumes.copy_(volumes)
            self.logits.copy_(torch.logit(colors.to(self.logits.device), eps=LOGIT_LIMIT))
            self.anchor.copy_(self.logits)
            if freedom is not None:
                self.freedom.copy_(freedom)

    @property
    def worn(self) -> bool:
        """Whether anything stands off the body."""
        if self._worn is None:
            self._worn = bool(self.thickness.any()) or len(self.volumes) > 0
        return self._worn

    @property
    def _volume_regions(self) -> Tensor:
        """(M, R) 1 for the region whose colour each volume has."""
        if self._one_region is None:
            regions = self.volumes[:, -1].long()
            self._one_region = torch.nn.functional.one_hot(regions, len(self.logits)).to(self.volumes)
        return self._one_region

    def drift(self) -> Tensor:
        """Mean squared change (scalar) of the region colours' logits since they were set."""
        return (self.logits - self.anchor).square().mean()

    @property
    def colors(self) -> Tensor:
        """Region colours (R, 3) in [0, 1]."""
        return torch.sigmoid(self.region_logits())

    def region_logits(self) -> Tensor:
        """Logits (R, 3) of the region colours: as they were set, and what each region takes of what it learned."""
        return self.anchor + taken(self.logits - self.anchor, self.freedom)

    def shares(self, surface: BodySurface, closest: Closest) -> Tensor:
        """Return (N, R) sharpened shares of the regions at closest points; rows sum to one."""
        return sharpened(surface.interpolate(closest, self.membership))

    def offset(self, surface: BodySurface, closest: Closest) -> Tensor:
        """Return how far (N,) the regions stand off the body at closest points, metres; soft at borders."""
        return surface.interpolate(closest, (self.membership @ self.thickness)[:, None]).squeeze(1)

    def weights(self, shares: Tensor, closest: Closest, points: Tensor) -> Tensor:
        """Return how much (N, R) each region makes the colour of `points` (N, 3), of whose closest points the regions
        have `shares` (N, R); rows sum to one."""
        if not len(self.volumes):
            return shares
        cloth = cloth_share(points, closest.distance, self.volumes)
        for index, only in enumerate(self._volume_regions):
            shares = torch.lerp(shares, only.expand_as(shares), cloth[:, index : index + 1])
        return shares

    def painted(self, weights: Tensor, change: Tensor) -> Tensor:
        """Return albedo logits (N, 3) of points made by regions with `weights` (N, R), whose learned change is `change`
        (N, 3); differentiable in the region colours and the change."""
        return weights @ self.region_logits() + taken(change, weights @ self.freedom)


def taken(change: Tensor, freedom: Tensor) -> Tensor:
    """Return the part of a change of logits (N, 3) that is taken, by freedoms (N, 2) of lightness and of hue."""
    lightness = change.mean(1, keepdim=True)
    return freedom[:, :1] * lightness + freedom[:, 1:] * (change - lightness)


def sharpened(shares: Tensor) -> Tensor:
    """Return interpolated shares (N, R) with their borders narrowed; rows sum to one.

    Their twelfth power: borders become a few millimetres wide, wherever the mesh's edges run.
    """
    shares = shares.clamp_min(1e-6)
    shares = shares / shares.amax(1, keepdim=True)
    fourth = shares.square().square()
    shares = fourth.square() * fourth
    return shares / shares.sum(1, keepdim=True)
