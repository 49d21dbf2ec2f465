"""Measure what texturing costs here: a step by part, against a naive NeuS, and what it all comes to.

Every figure is measured on the product's own code, with probes put about its functions from outside. One table goes to
the screen, progress to the error stream, and everything with units and facts of the machine to a JSON file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from avatar_core.config import load_preset, preset_names
from avatar_core.errors import AvatarError
from flows.cli.display import progress_bars

from .figures import table
from .machine import CLOCKS
from .session import PARTS, QUICK, Effort, Request, measure
from .workbench import Say

PROMPT = "a man in a red shirt and blue trousers"
EXAMPLES = """examples:
  everything, about half an hour on two cores:
      python -m tests.benchmarks.texturing --out results.json
  whether the command works, in a minute, with figures that mean nothing:
      python -m tests.benchmarks.texturing --quick
  where a step's time goes, and how it grows, by the settings of another preset:
      python -m tests.benchmarks.texturing --preset standard --part steps --part scaling
  one step of the naive NeuS on all of its rays, to check that time grows linearly with them (minutes a step):
      python -m tests.benchmarks.texturing --part naive --naive-rays 0 --repeats 1 --warmup 0
  on a machine that is busy with other work:
      OMP_NUM_THREADS=1 python -m tests.benchmarks.texturing --time cpu

The parts:
  steps       milliseconds of a step by part, at each resolution of the preset
  naive       the same views and rays through a NeuS in plain torch: large networks, 64 samples a ray
  scores      the score of the fixed views after so many steps
  extraction  seconds and triangles from the field to a textured mesh, by the size of its cells
  scaling     milliseconds of a step by resolution, samples a ray and views
  avatar      seconds of whole avatars by stage, presets tiny and draft
  projection  what an H200 would make of the preset standard: counted here and divided by assumed rates, not measured
Peak memory is measured of each part.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no CUDA device here; leave the option out to measure the CPU")
    if device.type == "cuda" and options.time == "cpu":
        parser.error("--time cpu does not see what a GPU does; leave the option out")
    try:
        with progress_bars(Console(stderr=True)) as progress:
            figures, result = measure(_request(options, device), lambda name: _bar(progress, name))
    except AvatarError as error:
        parser.error(str(error))
    Console(width=None if sys.stdout.isatty() else 160).print(table(figures, _title(result)))
    if options.out is not None:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


def _request(options: argparse.Namespace, device: torch.device) -> Request:
    preset = load_preset(options.preset or ("tiny" if options.quick else "draft"))
    if options.quick:
        unsearched = preset.texturing.model_copy(update={"outfit_search": False})
        preset = preset.model_copy(update={"texturing": unsearched})
    given = {
        "repeats": options.repeats,
        "naive_repeats": options.repeats,
        "scaling_repeats": options.repeats,
        "warmup": options.warmup,
        "naive_rays": options.naive_rays,
        "target_score": options.target_score,
    }
    usual = QUICK if options.quick else Effort()
    effort = replace(usual, **{name: value for name, value in given.items() if value is not None})
    parts = list(dict.fromkeys(options.part or PARTS))
    return Request(preset, options.prompt, options.seed, device, options.time, effort, parts, options.quick)


def _title(result: dict[str, Any]) -> str:
    machine, settings = result["machine"], result["settings"]
    kind = "seconds that pass" if settings["time"] == "wall" else "processor seconds of this process"
    quick = "quick: these figures mean nothing. " if settings["quick"] else ""
    return (
        f"{quick}{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads, "
        f"{machine['gpu'] or machine['device']}, torch {machine['torch']}; preset {settings['preset']}; "
        f"times are {kind}"
    )


@contextmanager
def _bar(progress: Progress, name: str) -> Iterator[Say]:
    """Give a part a bar of its own, full when the part is over; where nobody sees bars, a line when it begins."""
    bar = progress.add_task(name, total=None, note="")
    if not progress.console.is_terminal:
        progress.console.print(f"{name} begins")

    def say(done: int, total: int, note: str) -> None:
        progress.update(bar, completed=done, total=total, note=note)

    yield say
    total = progress.tasks[bar].total
    progress.update(bar, completed=total, note="")
    progress.stop_task(bar)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: give a whole number of at least 1")
    return value


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text}: give a whole number of at least 0")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.texturing",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--out", type=Path, help="JSON file to write")
    add("--part", action="append", choices=list(PARTS), help="measure this part alone; may be repeated")
    add("--quick", action="store_true", help="preset tiny, no outfit, hardly any repeats: for trying the command out")
    add("--preset", help=f"whose settings are measured: {', '.join(preset_names())} or a YAML; default: draft")
    add("--prompt", default=PROMPT, help="appearance of the avatar (default: %(default)s)")
    add("--seed", type=_natural, default=0, help="of everything that is drawn (default: %(default)s)")
    add("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    add("--time", choices=list(CLOCKS), default="wall", help="wall: seconds that pass; cpu: processor seconds of this "
        "process, which other work on the machine disturbs less (for one thread)")  # fmt: skip
    add("--repeats", type=_positive, help="steps that count, a setting (default: 20, naive 5, scaling 8)")
    add("--warmup", type=_natural, help="steps before those (default: 3)")
    add("--naive-rays", type=_natural, help="rays that the naive step times, drawn at random; its time is grown "
        "linearly to all (default: 512; 0: all)")  # fmt: skip
    add("--target-score", type=float, help="a score, as a cosine, to tell the steps to")
    return parser


if __name__ == "__main__":
    sys.exit(main())
