"""Backgrounds: the four kinds look as named, from the generator alone."""

import pytest
import torch

from avatar_core.rendering.backgrounds import KINDS, make_backgrounds, random_backgrounds


def test_kinds_look_as_named() -> None:
    white, noise, _, black = make_backgrounds(KINDS, 64, 48, torch.Generator().manual_seed(0))
    assert white.shape == (3, 64, 48)
    assert (white == 1).all()
    assert (black == 0).all()
    assert noise.mean() == pytest.approx(0.5, abs=0.02)
    assert 0.2 < noise.std() < 0.27
    assert (noise[:, :, 1:] - noise[:, :, :-1]).abs().mean() > 0.2


def test_a_chessboard_alternates_smoothly_between_two_colours() -> None:
    for seed in range(12):
        (board,) = make_backgrounds(["chessboard"], 96, 96, torch.Generator().manual_seed(seed))
        assert board.min() >= 0
        assert board.max() <= 1
        spread = board.amax((1, 2)) - board.amin((1, 2))
        channel = board[spread.argmax()]
        steps = torch.cat([channel.diff(dim=0).flatten(), channel.diff(dim=1).flatten()]).abs()
        assert spread.max() > 0.02
        assert steps.max() < 0.85 * spread.max()
        level = channel > (channel.amax() + channel.amin()) / 2
        assert 0.2 < level.float().mean() < 0.8
        assert level.diff(dim=1).any()
        assert level.diff(dim=0).any()


def test_random_backgrounds_use_every_kind_about_equally() -> None:
    images = random_backgrounds(torch.Generator().manual_seed(0), 400, 12, 12)
    white = (images == 1).flatten(1).all(1).float().mean()
    black = (images == 0).flatten(1).all(1).float().mean()
    assert 0.18 < white < 0.32
    assert 0.18 < black < 0.32
    assert images.min() >= 0
    assert images.max() <= 1


def test_backgrounds_come_from_the_generator_alone() -> None:
    first, second, other = (
        random_backgrounds(torch.Generator().manual_seed(s), 9, 16, 16) for s in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ValueError, match="plaid"):
        make_backgrounds(["white", "plaid"], 8, 8, torch.Generator())
