"""Texturing several avatars at once: fields of all are evaluated together, and the image-text model sees all views.

On a GPU, one avatar's few views and points leave most of it idle.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from avatar_core.errors import AvatarError, Interrupted
from avatar_core.fields import FieldConfig
from avatar_core.fields.field_group import FieldGroup
from avatar_core.perception.encoder import Encoder
from avatar_core.stages.base import StageContext
from avatar_core.stages.implicit_init import ImplicitAvatar
from avatar_core.stages.texturing import Shown, TexturingRun
from avatar_core.stages.texturing_config import Config
from avatar_core.stages.texturing_losses import guidance
from avatar_core.stages.texturing_recovery import Diverged, is_out_of_memory
from avatar_core.stages.texturing_result import TexturedAvatar

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One avatar of a batch; see `texturing.run`."""

    avatar: ImplicitAvatar
    prompt: str
    seed: int
    context: StageContext
    """With a checkpoint of its own, and the encoder that all jobs share."""


Result = TexturedAvatar | AvatarError | MemoryError
"""What becomes of a job."""


def run_batch(jobs: Sequence[Job], config: Config) -> list[Result]:
    """Texture several avatars together; return each one's result in the order of the jobs. See `texture_together`."""
    results = dict(texture_together(jobs, config))
    return [results[number] for number in range(len(jobs))]


def texture_together(jobs: Sequence[Job], config: Config) -> Iterator[tuple[int, Result]]:
    """Texture several avatars together; each comes out as `texturing.run` makes it, but for rounding.

    A step takes all avatars one step on: rays are cast and composited one avatar after the other, but what the fields
    have learned is evaluated of all avatars at once, and the encoder sees all views in one call. Where memory is
    wanting, half as many avatars are taken on at once, down to one, and only then are the steps made smaller.
    Checkpoints are those of single runs: a batch that was killed goes on in any other company, or alone.

    Args:
        jobs: the avatars, on one device, guided by one encoder.
        config: of all.
    Yields:
        the number of a job and its result, or the error that ended it, as soon as it is there: the others go on.
    """
    results: dict[int, Result] = {}
    runs: dict[int, TexturingRun] = {}
    for number, job in enumerate(jobs):
        try:
            runs[number] = TexturingRun(job.avatar, job.prompt, config, job.seed, job.context)
            runs[number].start()
        except (AvatarError, MemoryError) as error:
            results[number] = error
            runs.pop(number, None)
    together = len(runs)
    while True:
        yield from results.items()
        results.clear()
        for number in [number for number, run in runs.items() if run.finished]:
            yield number, runs.pop(number).result()
        if not runs:
            return
        numbers = list(runs)
        for first in range(0, len(numbers), together):
            group = numbers[first : first + together]
            if len(group) > 1 and not advance_together(group, runs, results):
                together = max(1, together // 2)
                logger.warning("memory is wanting: %d avatars at once from now on", together)
                break
            if len(group) == 1:
                _attempt(group[0], runs, results)


def advance_together(group: Sequence[int], runs: dict[int, TexturingRun], results: dict[int, Result]) -> bool:
    """Take some runs one step on together; False where memory did not suffice, and nothing was done."""
    running = [runs[number] for number in group]
    try:
        shown = _shown_together(running)
        seen = _seen_together(running[0].guide, shown)
        losses = [run.weigh(one, disagreement) for run, one, disagreement in zip(running, shown, seen)]
        for run in running:
            run.optimizer.zero_grad(set_to_none=True)
        torch.stack(losses).sum().backward()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    asked: Interrupted | None = None
    for number, run in zip(group, running):
        try:
            run.learn()
        except Diverged as error:
            _go_back(number, error, runs, results)
            continue
        try:
            run.look_back()
        except Interrupted as error:  # not before each of them has kept what it has
            asked = error
    if asked is not None:
        raise asked
    return True


def _shown_together(running: Sequence[TexturingRun]) -> list[Shown]:
    """Render each run's views; fields of one configuration are evaluated together."""
    alike: dict[FieldConfig, list[int]] = {}
    for place, run in enumerate(running):
        alike.setdefault(run.field.config, []).append(place)
    shown: dict[int, Shown] = {}
    for places in alike.values():
        # Before the group, which takes the grid levels as each run's step sets them.
        inquiries = [running[place].showing() for place in places]
        group = FieldGroup([running[place].field for place in places])
        shown |= dict(zip(places, group.answer(inquiries)))
    return [shown[place] for place in range(len(running))]


def _seen_together(encoder: Encoder, shown: list[Shown]) -> list[Tensor]:
    """1 - cosine (N,) of each run's images and texts; images of one size go through the encoder in one call."""
    by_edge: dict[int, list[int]] = {}
    for place, one in enumerate(shown):
        by_edge.setdefault(one.images.shape[-1], []).append(place)
    found: dict[int, Tensor] = {}
    for places in by_edge.values():
        images = torch.cat([shown[place].images for place in places])
        texts = torch.cat([shown[place].texts for place in places])
        sizes = [len(shown[place].images) for place in places]
        found |= dict(zip(places, guidance(encoder, images, texts).split(sizes)))
    return [found[place] for place in range(len(shown))]


def _attempt(number: int, runs: dict[int, TexturingRun], results: dict[int, Result]) -> None:
    """Take one run a step on by itself."""
    try:
        setback = runs[number].attempt()
        if setback is not None:
            runs[number].go_back(setback)
    except (AvatarError, MemoryError) as error:
        results[number] = error
        del runs[number]


def _go_back(number: int, error: Diverged, runs: dict[int, TexturingRun], results: dict[int, Result]) -> None:
    try:
        runs[number].go_back(runs[number].setback(error))
    except AvatarError as final:
        results[number] = final
        del runs[number]
