"""How the score grows with the steps: the mean cosine of the fixed scoring views with their prompts."""

from __future__ import annotations

from collections.abc import Sequence

from .figures import Figure
from .workbench import Say, Workbench

PARTS_OF_GAIN = (0.5, 0.9, 0.99)
"""Parts of the whole gain over the dressed body, for which the steps are told."""


def measure(bench: Workbench, every: int, target: float | None, say: Say) -> list[Figure]:
    """Return the curve of score against step over a whole run, and the steps to some scores.

    every: steps between scores; target: a score to tell the steps to, or None.
    """
    run = bench.texturing()
    total = run.config.steps
    curve = [(0, run.score())]
    seconds = 0.0
    while run.step < total:
        say(run.step, total, f"score {curve[-1][1]:.3f}")
        began = bench.clock()
        run.advance()
        seconds += bench.clock() - began
        if run.step % every == 0 or run.step == total:
            curve.append((run.step, run.score()))
    first, best = curve[0][1], max(score for _, score in curve)
    figures = [Figure("scores", "score of the bare body", run.score_before, "cosine")]
    figures += [Figure("scores", "score after so many steps", score, "cosine", str(step)) for step, score in curve]
    figures.append(Figure("scores", "time of all steps", seconds, "s"))
    wanted = [(f"{part:.0%} of the gain", first + part * (best - first)) for part in PARTS_OF_GAIN]
    if target is not None:
        wanted.append((f"the target of {target:.3f}", target))
    for name, score in wanted:
        steps = steps_to(curve, score)
        if steps is None:
            figures.append(Figure("scores", f"best score; never {name}", best, "cosine"))
        else:
            figures.append(Figure("scores", "steps to a score", steps, "steps", f"{score:.3f} ({name})"))
    return figures


def steps_to(curve: Sequence[tuple[int, float]], score: float) -> float | None:
    """Return at how many steps a curve of (step, score) first reaches `score`, between its points linearly."""
    last_step, last = curve[0]
    if last >= score:
        return float(last_step)
    for step, value in curve[1:]:
        if value >= score:
            return last_step + (score - last) / (value - last) * (step - last_step)
        last_step, last = step, value
    return None
