"""From rows to computations: what is shared, what is not, and what a key goes by."""

from pathlib import Path

import pytest

from avatar_core.catalog import CatalogRow
from avatar_core.errors import ConfigError
from flows.plan import Plan, Planner, PlanOptions
from tasks.digests import OPTIONAL, READS, stage_weights
from tasks.work import STAGES

OPTIONS = PlanOptions(preset="tiny")


def row(name: str, **changes: object) -> CatalogRow:
    values = {
        "line": 2,
        "shape": "a tall man",
        "appearance": "a man in red",
        "motion": "walking",
        "seed": None,
        "preset": None,
        "body": None,
        "tags": (),
        "extra": {},
    }
    return CatalogRow(id=name, **{**values, **changes})  # type: ignore[arg-type]


def plan_of(rows: list[CatalogRow], options: PlanOptions = OPTIONS) -> Plan:
    planner = Planner(options)
    return Plan.of([planner.avatar(one) for one in rows], planner.cooks)


def differing(one: CatalogRow, other: CatalogRow, options: PlanOptions = OPTIONS) -> set[str]:
    """Return the stages whose keys differ between two rows."""
    first, second = plan_of([one, other], options).avatars
    return {stage for stage in STAGES if first.keys[stage] != second.keys[stage]}


def test_equal_prompts_share_everything_whatever_their_ids() -> None:
    plan = plan_of([row("ada"), row("ben", line=3)])
    assert plan.avatars[0].keys == plan.avatars[1].keys
    assert len(plan.works) == len(STAGES)


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ({"appearance": "a man in blue"}, {"texturing", "export"}),
        ({"motion": "running"}, {"candidate_poses", "motion", "export"}),
        ({"shape": "a fat man"}, {"coarse_shape", "implicit_init", "texturing", "export"}),
        ({"seed": 7}, {"texturing", "motion", "export"}),
        ({"seed": 0}, set()),
        ({"preset": "draft"}, set(STAGES) - {"coarse_shape", "candidate_poses"}),
        ({"tags": ("a",), "extra": {"note": "x"}}, set()),
    ],
)
def test_a_difference_reaches_the_stages_that_depend_on_it(changes: dict, stages: set[str]) -> None:
    assert differing(row("ada"), row("ben", **changes)) == stages


def test_works_come_after_what_they_read_and_say_what_they_were_made_from() -> None:
    plan = plan_of([row("ada"), row("ben", motion="running")])
    seen: set[str] = set()
    for key, work in plan.works.items():
        assert set(work.upstream.values()) <= seen
        seen.add(key)
    export = plan.works[plan.avatars[0].keys["export"]]
    assert {**export.keys, "export": export.key} == plan.avatars[0].keys


def test_an_unknown_preset_is_an_error_of_the_command() -> None:
    with pytest.raises(ConfigError, match="drafd"):
        Planner(PlanOptions(preset="drafd"))


def test_keys_go_by_the_weights_that_a_stage_reads() -> None:
    for stage in STAGES:
        digests = stage_weights(stage, config={}, body="anny", encoder="bodyclip")
        assert set(READS[stage]) - OPTIONAL <= set(digests) <= set(READS[stage])
        assert all(len(digest) == 64 for digest in digests.values())
    assert stage_weights("motion", config={}, body="anny", encoder="bodyclip")["encoder"] == digests["encoder"]


def test_the_flows_weights_are_in_the_key_of_the_method_that_draws_from_it_alone() -> None:
    reads = {
        method: set(stage_weights("candidate_poses", config={"method": method}, body="anny", encoder="bodyclip"))
        for method in ("codebook", "pose_optimizer", "latent_optimizer", "realnvp")
    }
    assert reads["realnvp"] - reads["codebook"] == {"real_nvp"}
    assert reads["pose_optimizer"] == reads["latent_optimizer"] == reads["codebook"]


def test_methods_that_draw_poses_go_by_the_seed(tmp_path: Path) -> None:
    file = tmp_path / "drawn.yaml"
    file.write_text("extends: tiny\ncandidate_poses: {method: realnvp}\n", encoding="utf-8")
    drawn = PlanOptions(preset=str(file))
    assert "candidate_poses" in differing(row("ada"), row("ben", seed=7), drawn)
    assert "candidate_poses" not in differing(row("ada"), row("ben", seed=7))
