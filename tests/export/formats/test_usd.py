"""USD files pass OpenUSD's own checks, and OpenUSD poses them as we do."""

import sys

import numpy as np
import pytest

from avatar_core.errors import ConfigError
from avatar_core.export.formats import usd, usdz

pxr = pytest.importorskip("pxr", reason="usd-core is not installed: the extra usd")
from pxr import Usd, UsdGeom, UsdShade, UsdSkel, UsdValidation  # noqa: E402


@pytest.fixture(scope="module")
def folder(ada, tmp_path_factory):
    folder = tmp_path_factory.mktemp("usd")
    usd.write(ada, folder)
    usdz.write(ada, folder)
    return folder


def complaints(stage) -> list[str]:
    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    return [error.GetName() for error in UsdValidation.ValidationContext(validators).Validate(stage)]


@pytest.mark.parametrize("file", ["avatar.usdc", "avatar.usdz"])
def test_openusd_s_validators_have_nothing_to_say(folder, file):
    assert complaints(Usd.Stage.Open(str(folder / file))) == []


def test_those_validators_would_find_a_broken_file(folder, tmp_path):
    stage = Usd.Stage.Open(str(folder / "avatar.usdc"))
    stage.GetRootLayer().Export(str(tmp_path / "broken.usda"))
    broken = Usd.Stage.Open(str(tmp_path / "broken.usda"))
    broken.ClearDefaultPrim()
    assert complaints(broken)


def test_the_archive_holds_the_stage_first_and_its_pictures_uncompressed(folder):
    import zipfile

    with zipfile.ZipFile(folder / "avatar.usdz") as archive:
        entries = archive.infolist()
    assert entries[0].filename == "avatar.usdc"
    assert {entry.filename.rsplit("/", 1)[-1] for entry in entries} == {"avatar.usdc", "albedo.png", "normals.png"}
    assert all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)


@pytest.mark.parametrize("frame", [0, 17, 59])
def test_openusd_skins_the_mesh_as_we_do(folder, ada, frame):
    stage = Usd.Stage.Open(str(folder / "avatar.usdz"))
    root = UsdSkel.Root(stage.GetDefaultPrim())
    cache = UsdSkel.Cache()
    cache.Populate(root, Usd.PrimDefaultPredicate)
    mesh = UsdGeom.Mesh(stage.GetPrimAtPath("/ada/Body"))
    skinning = cache.GetSkinningQuery(mesh.GetPrim())
    skeleton = cache.GetSkelQuery(UsdSkel.Skeleton(stage.GetPrimAtPath("/ada/Skeleton")))
    assert skeleton.GetAnimQuery()
    points = mesh.GetPointsAttr().Get()
    assert skinning.ComputeSkinnedPoints(skeleton.ComputeSkinningTransforms(frame), points, frame)
    rows = ada.welded[2]
    clip = ada.clips["walking"]
    expected = np.concatenate(list(clip.posed(ada.mesh.vertices, ada.skin)))[frame][rows]
    np.testing.assert_allclose(np.array(points), expected, atol=1e-3)
    assert stage.GetTimeCodesPerSecond() == clip.fps
    assert stage.GetEndTimeCode() == len(clip) - 1


def test_it_is_in_metres_y_up_with_both_clips_and_a_textured_material(folder, ada):
    stage = Usd.Stage.Open(str(folder / "avatar.usdz"))
    assert UsdGeom.GetStageUpAxis(stage) == "Y"
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1
    clips = [prim.GetName() for prim in stage.Traverse() if prim.IsA(UsdSkel.Animation)]
    assert clips == ["Clip_walking", "Clip_idle"]
    joints = UsdSkel.Skeleton(stage.GetPrimAtPath("/ada/Skeleton")).GetJointsAttr().Get()
    assert len(joints) == len(ada.skeleton.names)
    assert joints[0] == "Hips"
    body = stage.GetPrimAtPath("/ada/Body")
    material, _ = UsdShade.MaterialBindingAPI(body).ComputeBoundMaterial()
    surface, _, _ = material.ComputeSurfaceSource()
    assert surface.GetShaderId() == "UsdPreviewSurface"
    assert surface.GetInput("diffuseColor").HasConnectedSource()
    box = UsdGeom.BBoxCache(0, ["default"]).ComputeWorldBound(stage.GetDefaultPrim()).ComputeAlignedRange()
    assert box.GetSize()[1] == pytest.approx(np.ptp(ada.mesh.vertices[:, 1]), abs=0.15)


@pytest.mark.parametrize(
    ("given", "wanted"), [("ada", "ada"), ("7 of 9", "_7_of_9"), ("", "_"), ("a-b.c", "a_b_c"), ("ärger", "_rger")]
)
def test_names_become_ones_that_usd_allows(given, wanted):
    assert usd.prim_name(given) == wanted


def test_without_usd_core_there_is_one_clear_error(ada, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pxr", None)
    with pytest.raises(ConfigError, match="pip install usd-core"):
        usdz.write(ada, tmp_path)
