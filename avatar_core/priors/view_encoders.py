"""How pictures of plain grey bodies get into an encoder's text space, so that codebooks can be searched with words.

Any encoder's own image tower does it (`EncoderViews`). For an encoder that saw few plain bodies in its training, a
small reader fitted on nothing else does it better (`ThumbnailReader`); it belongs to one encoder, by its digest.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize

from avatar_core.bodies import BodyModel, ShapedBody
from avatar_core.errors import ConfigError, WeightsError
from avatar_core.perception.prompts import NEUTRAL_SHAPE_PROMPT
from avatar_core.priors.scoring import away_from_neutral, centred_scores, direction_scores
from avatar_core.priors.views import GreyViews
from avatar_core.priors.weights import file_digest, weights_folder
from avatar_core.rendering.backends import DEFAULT_RENDERER, RendererName

if TYPE_CHECKING:
    from avatar_core.perception.encoder import Encoder

KINDS = ("shape", "pose", "motion")
POSE_AZIMUTHS: tuple[float, ...] = (0.45, -0.75)
"""Where posed bodies are seen from, radians; 0 is in front."""
THUMBNAIL = 24
"""Edge in pixels of what a reader looks at."""


class ViewEncoder(Protocol):
    """Encodes the fixed views of one kind of codebook."""

    digest: str  # what the features depend on besides body and codebook
    image_size: int  # edge in pixels of the views
    azimuths: tuple[float, ...]  # of posed bodies
    free_azimuth: bool  # whether bodies may be seen from anywhere instead
    certainty: tuple[float, float]  # best scores at which a prompt says nothing, and enough, about a shape

    def encode(self, images: Tensor) -> Tensor:
        """Return unit features (n, D) of views (n, V, 3, H, W); differentiable."""
        ...

    def compare(self, features: Tensor, target: Tensor) -> Tensor:
        """Return how well (...) features (..., D) fit a unit text feature (D,), -1 to 1."""
        ...

    def search(self, features: Tensor, target: Tensor) -> Tensor:
        """Return the scores (...) by which a codebook's features (..., D) are ranked for a text feature (D,)."""
        ...


class EncoderViews:
    """An encoder's own image tower, averaged over the views."""

    free_azimuth = True
    certainty = (-1.0, -1.0)  # differs from encoder to encoder, so that every prompt is believed

    def __init__(
        self, kind: str, encoder: "Encoder", body: BodyModel, renderer: RendererName = DEFAULT_RENDERER
    ) -> None:
        self.digest, self.image_size = encoder.digest, encoder.image_size
        self.azimuths: tuple[float, ...] = POSE_AZIMUTHS[:1] if kind == "motion" else POSE_AZIMUTHS
        self._kind, self._encoder, self._body, self._renderer = kind, encoder, body, renderer

    def encode(self, images: Tensor) -> Tensor:
        """Mean over the views of what the encoder makes of each."""
        flat = self._encoder.encode_images(images.flatten(0, 1).to(self._encoder.device)).float()
        return normalize(flat.unflatten(0, images.shape[:2]).mean(1), dim=-1)

    def compare(self, features: Tensor, target: Tensor) -> Tensor:
        """The cosine."""
        return features @ target

    def search(self, features: Tensor, target: Tensor) -> Tensor:
        """AvatarCLIP's direction score for shapes; for poses the cosine after taking out what all share."""
        if self._kind != "shape":
            return centred_scores(features, target)
        views = GreyViews(self._body, self.image_size, renderer=self._renderer)
        with torch.no_grad():
            neutral = self.encode(shape_views(views, self._body.shape(self._body.neutral_shape))[None])[0]
        neutral_target = self._encoder.encode_texts([NEUTRAL_SHAPE_PROMPT])[0]
        return direction_scores(features, neutral.to(features), target, neutral_target.to(features))


@dataclass(frozen=True, eq=False)
class ReaderWeights:
    """What a reader learned; P = views x thumbnail pixels, C components, R random features, D the text space."""

    mean: Tensor  # (P,) of the thumbnails
    components: Tensor  # (P, C) principal components, scaled to the spread of all
    frequencies: Tensor  # (C, R) of the random features; (C, 0) where the reader is linear
    phases: Tensor  # (R,)
    readout: Tensor  # (R or C, D)
    text_means: Tensor  # (K, D) mean text feature of each kind of prompt


class ThumbnailReader:
    """Ridge regression from small pictures to directions of text features (random features of Rahimi, Recht 2007)."""

    free_azimuth = False
    certainty = (0.31, 0.5)  # words for builds and their kinds reach 0.45 to 0.97; "a person" reaches 0.3
    image_size: int = 2 * THUMBNAIL
    azimuths: tuple[float, ...] = POSE_AZIMUTHS

    def __init__(self, weights: ReaderWeights, digest: str, device: torch.device | str = "cpu") -> None:
        self.digest = digest
        self._weights = ReaderWeights(**{name: value.float().to(device) for name, value in vars(weights).items()})

    @classmethod
    def load(cls, path: Path, device: torch.device | str = "cpu") -> "ThumbnailReader":
        """Read a fitted reader; raises WeightsError when it cannot be read."""
        try:
            return cls(ReaderWeights(**load_file(path)), file_digest(path), device)
        except (OSError, SafetensorError, TypeError) as error:
            raise WeightsError(
                f"{path}: no view reader ({error}); run python -m avatar_core.priors.fit_view_readers"
            ) from error

    def encode(self, images: Tensor) -> Tensor:
        """What the reader makes of the views' thumbnails."""
        return self.read(thumbnails(images.to(self._weights.mean.device)))

    def read(self, pixels: Tensor) -> Tensor:
        """Return directions (n, D) in the text space of `thumbnails` (n, P); neutral is no direction."""
        weights = self._weights
        hidden = (pixels - weights.mean) @ weights.components
        if weights.frequencies.shape[1]:
            hidden = random_features(hidden, weights.frequencies, weights.phases)
        return normalize(hidden @ weights.readout, dim=-1)

    def compare(self, features: Tensor, target: Tensor) -> Tensor:
        """The cosine with the text's direction away from the mean of prompts of its form."""
        return features @ away_from_neutral(target, self._weights.text_means)

    def search(self, features: Tensor, target: Tensor) -> Tensor:
        """The same."""
        return self.compare(features, target)


def thumbnails(images: Tensor) -> Tensor:
    """Return darkness (n, V * 24 * 24) of views (n, V, 3, H, W) in [0, 1], whose edge is a multiple of 24."""
    grey = 1 - images.mean(2)
    return avg_pool2d(grey, images.shape[-1] // THUMBNAIL).flatten(1)


def random_features(hidden: Tensor, frequencies: Tensor, phases: Tensor) -> Tensor:
    """Return (n, R) cosines whose products approximate a Gaussian kernel of hidden (n, C)."""
    return torch.cos(hidden @ frequencies + phases) * (2 / len(phases)) ** 0.5


def shape_views(views: GreyViews, shaped: ShapedBody) -> Tensor:
    """Views (2, 3, H, W) of a bind-pose body: at one distance for all, for its size; and filling the frame."""
    return torch.cat([views.standard(shaped.vertices, (0.0,)), views.framed(shaped.vertices, (0.6,))])


def reader_name(kind: str, encoder_digest: str) -> str:
    """File name of the reader of "shape", or of "pose" and "motion", for an encoder."""
    return f"reader-{'shape' if kind == 'shape' else 'pose'}-{encoder_digest[:12]}.safetensors"


def load_view_encoder(
    kind: str, encoder: "Encoder", body: BodyModel, renderer: RendererName = DEFAULT_RENDERER
) -> ViewEncoder:
    """Return the reader that was fitted for this encoder, or else the encoder's own image tower.

    kind: "shape", "pose" or "motion"; renderer: who draws the neutral body, to which the tower compares shapes.
    Raises ConfigError for another kind, WeightsError for a damaged reader.
    """
    if kind not in KINDS:
        raise ConfigError(f"{kind!r} is no codebook; there are shape, pose and motion")
    path = weights_folder("view_readers") / reader_name(kind, encoder.digest)
    if path.is_file():
        return ThumbnailReader.load(path, encoder.device)
    return EncoderViews(kind, encoder, body, renderer)
