"""Models that stages share: loaded once a process."""

import functools
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.digests import body_digest

if TYPE_CHECKING:
    import torch

    from avatar_core.bodies import BodyModel
    from avatar_core.perception.encoder import Encoder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Models:
    """A body model and an encoder on one device."""

    body: "BodyModel"
    encoder: "Encoder"
    device: "torch.device"


def load_models(body: str, encoder: str, device: str) -> Models:
    """Return the models called `body` and `encoder` on `device`; the same objects for the same names.

    A body that was replaced by another of its name since is loaded anew. Raises ConfigError for unknown names,
    WeightsError for missing or damaged weights.
    """
    return _load(body, body_digest(body), encoder, device)


@functools.lru_cache(maxsize=4)
def _load(body: str, digest: str, encoder: str, device: str) -> Models:
    """Load the models; `digest` is that of the body."""
    import torch

    from avatar_core.bodies import load_body
    from avatar_core.perception.encoder import load_encoder

    started = time.monotonic()
    place = torch.device(device)
    models = Models(load_body(body, place), load_encoder(encoder, place), place)
    logger.info("Loaded body %s and encoder %s in %.1f s", body, encoder, time.monotonic() - started)
    return models
