"""What encoders see in an avatar's views, as a file beside it."""

import json

import pytest
import safetensors.torch
import torch

from avatar_core.errors import ArtifactError
from avatar_core.export.view_features import MAX_BYTES, EncoderFeatures, ViewFeatures

VIEWS = torch.nn.functional.normalize(torch.randn(3, 8, generator=torch.Generator().manual_seed(0)), dim=1)
FEATURES = ViewFeatures(
    ("body", "back", "face"),
    "woman",
    {"guide": EncoderFeatures("bodyclip", "a" * 64, VIEWS), "judge": EncoderFeatures("judge", "b" * 64, -VIEWS)},
)


def test_they_are_read_as_they_were_written():
    read = ViewFeatures.from_bytes(FEATURES.to_bytes())
    assert (read.kinds, read.sex) == (FEATURES.kinds, "woman")
    assert {role: (one.name, one.digest) for role, one in read.encoders.items()} == {
        "guide": ("bodyclip", "a" * 64),
        "judge": ("judge", "b" * 64),
    }
    torch.testing.assert_close(read.encoders["judge"].views, -VIEWS, atol=1e-3, rtol=0)
    assert FEATURES.to_bytes() == FEATURES.to_bytes()
    assert len(FEATURES.to_bytes()) < 1000


def hostile(views: torch.Tensor = VIEWS, **facts: object) -> bytes:
    said = {"kinds": ["body", "back", "face"], "sex": None, "encoders": {"guide": {"name": "x", "digest": "0"}}} | facts
    return safetensors.torch.save({"guide": views}, metadata={"facts": json.dumps(said)})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no safetensors at all",
        FEATURES.to_bytes()[:-40],
        b"\x00" * (MAX_BYTES + 1),
        safetensors.torch.save({"guide": VIEWS}),
        hostile(kinds=["body"]),
        hostile(kinds=7),
        hostile(sex="neither"),
        hostile(sex=["man"]),
        hostile(encoders=["guide"]),
        hostile(encoders={"judge": {"name": "x", "digest": "0"}}),
        hostile(torch.full((3, 8), torch.nan)),
        hostile(torch.zeros(3)),
        b"\x10\x00\x00\x00\x00\x00\x00\x00" + b"[" * 16,
    ],
)
def test_anything_else_is_refused(content):
    with pytest.raises(ArtifactError, match="run export again"):
        ViewFeatures.from_bytes(content)
