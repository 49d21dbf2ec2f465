"""The command measures everything it promises, on a tiny scale."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from avatar_core.config import load_preset
from avatar_core.seeds import torch_generator
from avatar_core.stages.texturing import Config
from avatar_core.stages.texturing_views import draw_views

from . import texturing, whole_avatar
from .comparison import SAMPLES
from .figures import Figure, rows
from .machine import clock_of
from .naive_step import NaiveStep
from .projection import (
    BF16,
    FP32,
    GATHER,
    LAUNCH,
    QUERIES,
    SEARCH_SHARE,
    STREAM,
    device_seconds,
    search_seconds,
    step_parts,
)
from .scaling import AXES
from .scores import steps_to
from .stage_counts import count_stages
from .step_counts import Counts, count_step
from .steps import PARTS, middle_steps
from .workbench import Workbench

MEASURED = ("steps", "naive", "scores", "extraction", "scaling")
"""All parts but whole avatars and the projection, which makes one: they take too long for a test."""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `--quick` writes."""
    path: Path = tmp_path_factory.mktemp("benchmark") / "results.json"
    parts = [word for part in MEASURED for word in ("--part", part)]
    assert texturing.main(["--quick", "--time", "cpu", *parts, "--out", str(path)]) == 0
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def bench() -> Workbench:
    preset = load_preset("tiny")
    preset = preset.model_copy(update={"texturing": preset.texturing.model_copy(update={"outfit_search": False})})
    device = torch.device("cpu")
    return Workbench.prepare(preset, "a man", 0, device, clock_of(device), lambda done, total, note: None)


def values(result: dict[str, Any], part: str) -> dict[str, float]:
    """Return the figures of a part by name, the last setting's where there are several."""
    return {figure["name"]: figure["value"] for figure in result["figures"] if figure["part"] == part}


def test_the_machine_and_the_settings_are_told(result: dict[str, Any]) -> None:
    machine = result["machine"]
    assert {"cpu", "cores", "threads", "device", "torch", "date", "commit"} <= set(machine)
    assert (machine["threads"], machine["device"], machine["torch"]) == (1, "cpu", torch.__version__)
    assert result["settings"]["preset"] == "tiny"
    assert result["settings"]["quick"] is True


def test_every_figure_has_a_unit_and_is_a_number(result: dict[str, Any]) -> None:
    assert all(figure["unit"] for figure in result["figures"])
    assert all(figure["value"] == figure["value"] for figure in result["figures"])
    assert {figure["part"] for figure in result["figures"]} == {*MEASURED, "memory"}


def test_the_parts_of_a_step_add_up_to_it(result: dict[str, Any]) -> None:
    steps = values(result, "steps")
    assert set(PARTS) <= set(steps)
    assert sum(steps[part] for part in PARTS) == pytest.approx(steps["total"])
    idle = [part for part in PARTS if steps[part] == 0]
    assert not idle, "these parts took no time: their probes stand about nothing"
    for part in PARTS:
        details = [value for name, value in steps.items() if name.startswith(f"{part}: ")]
        assert sum(details) <= steps[part] + 1e-9


def test_the_image_text_model_is_told_apart_in_both_directions(result: dict[str, Any]) -> None:
    steps = values(result, "steps")
    assert 0 < steps["backward: CLIP"] < steps["backward"]
    assert steps["backward: hash encodings"] > 0


def test_the_naive_step_is_compared_with_and_without_the_image_text_model(result: dict[str, Any]) -> None:
    naive = values(result, "naive")
    assert naive["rays timed of the naive step"] == 32
    assert naive["our step without CLIP"] < naive["our step"]
    assert naive["naive step without CLIP"] < naive["naive step"]
    assert naive["naive / ours"] == pytest.approx(naive["naive step"] / naive["our step"])
    notes = [figure["note"] for figure in result["figures"] if figure["name"] == "naive / ours"]
    assert notes == ["naive: 32 random rays timed, 8 samples each, grown linearly to all rays"]


def test_scores_are_given_from_the_first_step_to_the_last(result: dict[str, Any]) -> None:
    curve = [figure["setting"] for figure in result["figures"] if figure["name"] == "score after so many steps"]
    assert curve == ["0", "3", "6"]


def test_extraction_tells_its_parts_and_triangles(result: dict[str, Any]) -> None:
    extraction = values(result, "extraction")
    parts = [extraction[name] for name in ("distances on the grid", "marching cubes", "decimation", "unwrapping")]
    assert all(value > 0 for value in parts)
    assert sum(parts) < extraction["total"]
    assert extraction["triangles of marching cubes"] > extraction["triangles of the mesh"] > 0


def test_every_setting_is_scaled(result: dict[str, Any]) -> None:
    names = set(values(result, "scaling"))
    assert {f"step by {axis.name.replace('_', ' ')}: ms" for axis in AXES} <= names
    assert "step by avatars at once: ms an avatar" in names


def test_memory_is_given_of_every_part(result: dict[str, Any]) -> None:
    peaks = {figure["setting"]: figure["value"] for figure in result["figures"] if "peak" in figure["name"]}
    assert set(peaks) == set(MEASURED)
    assert min(peaks.values()) > 0


def test_whole_avatars_are_timed_by_stage(bench: Workbench) -> None:
    first_two = ("coarse_shape", "implicit_init")
    figures = {one.name: one.value for one in whole_avatar.measure(("tiny",), bench, lambda *told: None, first_two)}
    assert figures["coarse_shape"] + figures["implicit_init"] == pytest.approx(figures["all stages, on the wall"])
    assert figures["largest peak memory of a stage"] > 0


def test_a_step_is_counted_and_not_taken(bench: Workbench) -> None:
    runs = [bench.texturing() for _ in range(2)]
    before = [parameter.clone() for run in runs for parameter in run.field.parameters()]
    one, two = (count_step(some, 1, bench.clock) for some in (runs[:1], runs))
    after = [parameter for run in runs for parameter in run.field.parameters()]
    assert all(torch.equal(mine, other) for mine, other in zip(before, after))
    assert two.clip_flops == 2 * one.clip_flops > 0
    assert one.kernels < two.kernels < 2 * one.kernels, "some launches are shared"
    pixels = runs[0].config.views_per_step * runs[0].config.resolutions[0] ** 2
    assert 2 * pixels < one.queries < 4 * pixels, "each ray is cast at shell and body; surface points ask once"
    assert min(one.other_flops, one.streamed, one.gathered, one.host) > 0


def test_a_projection_lets_device_and_processor_work_side_by_side() -> None:
    one = Counts(1e12, 1e9, 1e9, 1e8, 1e6, kernels=1000, own_kernels=10, host=0.002)
    two = replace(one, kernels=1600, own_kernels=16)
    device = 1e12 / BF16.value + 1e9 / FP32.value + 1e9 / STREAM.value + 1e8 / GATHER.value + 1e6 / QUERIES.value
    assert device_seconds(one) == pytest.approx(device)
    assert step_parts(one, two, 1, 1e-4) == pytest.approx((device, 1000 * LAUNCH + 10 * 1e-4 + 0.002))
    assert step_parts(one, two, 4, 1e-4) == pytest.approx((device, 700 * LAUNCH + 7 * 1e-4 + 0.002))


def test_counts_add_up() -> None:
    one = Counts(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)
    assert one + one == one * 2.0
    assert one * 3.0 - one == one * 2.0


def test_the_other_stages_are_counted_with_all_steps_of_their_loops(bench: Workbench) -> None:
    tiny = bench.preset
    refine = tiny.export.refine.model_copy(update={"steps": 5000})
    many = {
        "motion": tiny.motion.model_copy(update={"steps": 5000}),
        "export": tiny.export.model_copy(update={"refine": refine}),
    }
    counted = {one.stage: one for one in count_stages(tiny.model_copy(update=many), bench)}
    assert list(counted) == ["coarse_shape", "implicit_init", "candidate_poses", "motion", "export"]
    for stage, one in counted.items():
        assert min(one.counts.streamed, one.counts.kernels) > 0, stage
    planning = 0.2
    assert all(0 <= one.counts.host < one.clock + planning for stage, one in counted.items() if stage not in many)
    assert counted["implicit_init"].counts.host < 0.9 * counted["implicit_init"].clock, "a device would do most of it"
    for stage in many:
        assert counted[stage].counts.kernels > 5000 * 50, stage


def test_a_search_is_projected_from_what_it_asks_of_a_device(bench: Workbench) -> None:
    small = {"size": 16, "starts": SEARCH_SHARE, "kept_starts": 1, "passes": 1, "finalists": 1}
    config = load_preset("tiny").texturing
    config = config.model_copy(update={"outfit_search": True, "search": config.search.model_copy(update=small)})
    seconds, figures = search_seconds(bench, config)
    by_name = {one.name: one.value for one in figures}
    parts = [value for name, value in by_name.items() if name.startswith("projected part of the search")]
    assert seconds == pytest.approx(sum(parts))
    assert min(parts) > 0
    batches = by_name["counted in the search: batches scored, waited for"]
    assert batches >= 20 * SEARCH_SHARE, "every slot is tried"
    assert by_name["counted in the search: launches"] > 10 * batches
    assert search_seconds(bench, config.model_copy(update={"outfit_search": False})) == (0.0, [])


def test_rays_in_chunks_give_the_gradients_of_all_at_once(bench: Workbench) -> None:
    run = bench.texturing()
    views = draw_views(run.subject, run.config.views, 2, 24, 0, torch_generator(0, "views"))
    rays = run.shell.rays(views.cameras, run.field.dressed_sdf)
    chosen = torch.arange(0, len(rays), max(len(rays) // 9, 1))
    gradients = []
    for chunk in (4, len(rays)):
        step = NaiveStep(
            run.subject.body_centre,
            run.subject.body_size,
            bench.context.encoder,
            run.targets,
            samples=6,
            chunk=chunk,
            clay_share=0.5,
            generator=torch_generator(0, "naive"),
            clock=bench.clock,
        )
        step.advance(views, rays, chosen)
        gradients.append([parameter.grad for parameter in step.field.parameters()])
    for parts, whole in zip(*gradients):
        assert (parts - whole).norm() <= 1e-3 * whole.norm()
        assert whole.abs().sum() > 0


def test_steps_to_a_score_are_read_from_the_curve() -> None:
    curve = [(0, 0.1), (10, 0.3), (20, 0.2), (30, 0.5)]
    assert steps_to(curve, 0.05) == 0
    assert steps_to(curve, 0.2) == pytest.approx(5)
    assert steps_to(curve, 0.4) == pytest.approx(20 + 20 / 3)
    assert steps_to(curve, 0.6) is None


def test_steps_are_taken_from_the_middle_of_a_resolution() -> None:
    config = Config(steps=160, resolutions=(64, 96))
    assert middle_steps(config, 64, 20) == range(30, 50)
    assert middle_steps(config, 96, 20) == range(110, 130)


def test_figures_that_differ_in_their_setting_share_a_row() -> None:
    figures = [Figure("steps", "rays", value, "ms", f"{edge} px") for edge, value in ((64, 1.0), (96, 2.0))]
    (row,) = rows(figures)
    assert row.values == (("64 px", 1.0), ("96 px", 2.0))


def test_the_naive_samples_are_avatarclips() -> None:
    assert SAMPLES == 32 + 32


@pytest.mark.parametrize("arguments", [["--device", "cuda", "--time", "cpu"], ["--preset", "drat"], ["--part", "all"]])
def test_what_cannot_be_measured_is_said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        texturing.main(arguments)
    assert stopped.value.code == 2
    assert "error: " in capsys.readouterr().err
