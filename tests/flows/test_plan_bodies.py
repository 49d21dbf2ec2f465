"""Which body an avatar is planned on, and what of it is in its keys."""

from pathlib import Path

import pytest
from synthetic_smpl import synthetic_model, write_npz

from avatar_core.bodies.brought import add_models
from avatar_core.catalog import CatalogRow
from avatar_core.errors import ConfigError
from flows.plan import Planner, PlanOptions
from tasks.digests import body_digest, stage_weights
from tasks.models import load_models
from tasks.work import STAGES


@pytest.fixture(scope="module")
def npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_npz(tmp_path_factory.mktemp("smpl") / "SMPL_NEUTRAL.npz")


@pytest.fixture
def root(npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AVATARS_MODELS", str(tmp_path / "models"))
    add_models(npz)
    return tmp_path / "models"


def row(body: str | None = None) -> CatalogRow:
    return CatalogRow(
        id="ada", line=2, shape="a tall man", appearance="a man in red", motion="walking", seed=None, preset=None,
        body=body, tags=(), extra={},
    )  # fmt: skip


def planned(row: CatalogRow, **options: object):
    return Planner(PlanOptions(**{"preset": "tiny", **options})).avatar(row)  # type: ignore[arg-type]


def test_the_row_the_option_and_the_preset_name_the_body_in_this_order(root: Path, tmp_path: Path) -> None:
    preset = tmp_path / "mine.yaml"
    preset.write_text("extends: tiny\nbody: smpl\n")
    assert planned(row()).body == "anny"
    assert planned(row(), body="smpl").body == "smpl"
    assert planned(row("anny"), body="smpl").body == "anny"
    assert planned(row(), preset=str(preset)).body == "smpl"
    assert planned(row(), preset=str(preset), body="anny").body == "anny"
    assert planned(row(), preset=str(preset)).keys == planned(row("smpl")).keys


def test_every_key_goes_by_the_body(root: Path) -> None:
    first, second = planned(row()).keys, planned(row("smpl")).keys
    assert all(first[stage] != second[stage] for stage in STAGES)


def test_keys_go_by_the_models_content_and_not_by_its_place(
    npz: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = planned(row("smpl")).keys
    monkeypatch.setenv("AVATARS_MODELS", str(tmp_path / "elsewhere"))
    renamed = tmp_path / "neutral" / "model.npz"
    renamed.parent.mkdir()
    renamed.write_bytes(npz.read_bytes())
    add_models(renamed)
    assert planned(row("smpl")).keys == first
    add_models(write_npz(tmp_path / "SMPL_NEUTRAL.npz", v_template=synthetic_model()["v_template"] * 1.01))
    assert planned(row("smpl")).keys != first


def test_a_model_that_is_not_here_says_how_to_add_it(root: Path) -> None:
    with pytest.raises(ConfigError, match="avatars models add PATH"):
        planned(row("smplx"))
    with pytest.raises(ConfigError, match="giraffe"):
        planned(row(), body="giraffe")


def test_the_embedded_bodys_codebook_is_in_no_key_of_another_body(root: Path) -> None:
    digests = stage_weights("coarse_shape", config={}, body="smpl", encoder="bodyclip")
    assert digests["body"] == body_digest("smpl")
    assert digests["shape_codebook"].startswith("sampled")


def test_a_replaced_model_is_loaded_anew(root: Path, tmp_path: Path) -> None:
    first = load_models("smpl", "bodyclip", "cpu").body
    assert load_models("smpl", "bodyclip", "cpu").body is first
    add_models(write_npz(tmp_path / "SMPL_NEUTRAL.npz", v_template=synthetic_model()["v_template"] * 1.01))
    assert load_models("smpl", "bodyclip", "cpu").body.digest != first.digest
