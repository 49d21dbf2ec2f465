"""From rows to computations: what is shared, what is not, and what a key goes by."""

from pathlib import Path

import pytest

from avatar_core.catalog import CatalogRow, RejectedRow
from avatar_core.errors import ConfigError
from flows.plan import Plan, PlanOptions, plan_catalog
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


def differing(one: CatalogRow, other: CatalogRow, options: PlanOptions = OPTIONS) -> set[str]:
    """Return the stages whose keys differ between two rows."""
    first, second = plan_catalog([one, other], options).avatars
    return {stage for stage in STAGES if first.keys[stage] != second.keys[stage]}


def test_equal_prompts_share_everything_whatever_their_ids() -> None:
    plan = plan_catalog([row("ada"), row("ben", line=3)], OPTIONS)
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
    plan = plan_catalog([row("ada"), row("ben", motion="running")], OPTIONS)
    seen: set[str] = set()
    for key, work in plan.works.items():
        assert set(work.upstream.values()) <= seen
        seen.add(key)
    export = plan.works[plan.avatars[0].keys["export"]]
    assert {**export.keys, "export": export.key} == plan.avatars[0].keys


def test_a_plan_survives_its_file() -> None:
    plan = plan_catalog([row("ada", tags=("x",), extra={"note": "y"}), row("ben", seed=3)], OPTIONS)
    again = Plan.decode(plan.encode())
    assert again.avatars == plan.avatars
    assert again.works == plan.works


def test_rows_can_be_chosen_and_limited() -> None:
    rejected = RejectedRow(line=3, id="eve", field="seed", reason="no integer", remedy="give one", raw="")
    rows = [row("ada"), rejected, row("ben"), row("cat")]
    assert [avatar.avatar_id for avatar in plan_catalog(rows, OPTIONS, limit=2).avatars] == ["ada", "ben"]
    chosen = plan_catalog(rows, OPTIONS, only=["cat"])
    assert ([avatar.avatar_id for avatar in chosen.avatars], chosen.rejected) == (["cat"], [])
    assert plan_catalog(rows, OPTIONS, only=["eve"]).rejected == [rejected]
    assert plan_catalog(rows, OPTIONS).rejected == [rejected]


def test_an_unknown_preset_is_an_error_of_the_command() -> None:
    with pytest.raises(ConfigError, match="drafd"):
        plan_catalog([row("ada")], PlanOptions(preset="drafd"))


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
