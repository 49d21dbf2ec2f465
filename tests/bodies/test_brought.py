"""Downloads of models become safe files with a record; what is not safe to read is refused."""

import json
import os
import stat
import zipfile

import numpy as np
import pytest
from synthetic_smpl import pickled, synthetic_model, write_npz

from avatar_core.bodies import smpl_files
from avatar_core.bodies.brought import add_models, brought_names, find_model, list_models, load_model, remove_model
from avatar_core.bodies.smpl_files import gender_of, model_files
from avatar_core.errors import ConfigError, WeightsError


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("AVATARS_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    return write_npz(tmp_path_factory.mktemp("smpl") / "SMPL_FEMALE.npz")


def zipped(path, entries, link=False):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            if link:
                entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(entry, content)
    return path


def test_a_model_is_recorded_with_its_licence_and_loads_again(npz, root):
    (record,) = add_models(npz).records
    assert (record.name, record.kind, record.gender, record.source) == ("smpl-female", "smpl", "female", npz.name)
    assert "non-commercial" in record.licence
    assert brought_names() == ("smpl-female",)
    again, arrays = load_model("smpl-female")
    assert again == record
    assert arrays.digest == record.digest
    assert sorted(path.name for path in root.iterdir()) == [record.file, "smpl-female.json"]
    assert str(npz.parent) not in (root / "smpl-female.json").read_text()
    with np.load(root / record.file, allow_pickle=False) as kept:
        assert kept["template"].dtype == np.float32


def test_a_zip_of_pickles_is_read_as_it_is(tmp_path):
    path = zipped(
        tmp_path / "SMPL.zip",
        {
            "smpl/models/basicmodel_m_lbs_10_207_0_v1.1.0.pkl": pickled(),
            "smpl/__MACOSX/._x.pkl": b"junk",
            "LICENSE.txt": b"",
        },
    )
    assert [record.name for record in add_models(path).records] == ["smpl-male"]


def test_a_folder_gives_all_its_models_and_says_what_it_left_out(npz, tmp_path):
    folder = tmp_path / "downloads"
    folder.mkdir()
    (folder / "SMPL_FEMALE.npz").write_bytes(npz.read_bytes())
    (folder / "SMPL_FEMALE.pkl").write_bytes(pickled())
    np.savez(folder / "walk.npz", poses=np.zeros((3, 72)))
    added = add_models(folder)
    assert [record.name for record in added.records] == ["smpl-female"]
    assert set(added.skipped) == {"downloads/SMPL_FEMALE.pkl", "downloads/walk.npz"}
    assert "lacks v_template" in added.skipped["downloads/walk.npz"]


def test_the_same_again_changes_nothing_and_another_of_the_name_replaces_it(npz, tmp_path, root):
    first = add_models(npz)
    again = add_models(npz)
    assert (again.records, again.replaced) == (first.records, ())
    other = write_npz(tmp_path / "female" / "model.npz", v_template=synthetic_model()["v_template"] + 1e-3)
    replaced = add_models(other)
    assert replaced.replaced == ("smpl-female",)
    assert load_model("smpl-female")[0].digest == replaced.records[0].digest != first.records[0].digest
    assert len(list(root.glob("*.npz"))) == 1


def test_a_removed_model_is_gone_and_says_how_to_get_it(npz, root):
    add_models(npz)
    remove_model("smpl-female")
    assert list(root.iterdir()) == []
    with pytest.raises(ConfigError, match="avatars models add PATH"):
        find_model("smpl-female")


def test_names_that_lead_elsewhere_are_no_models():
    with pytest.raises(ConfigError, match="no model that can be added"):
        remove_model("../../etc/passwd")


@pytest.mark.parametrize(
    ("path", "gender"),
    [
        ("basicmodel_m_lbs_10_207_0_v1.1.0.pkl", "male"),
        ("basicModel_f_lbs_10_207_0_v1.0.0.pkl", "female"),
        ("models/smplx/SMPLX_NEUTRAL.npz", "neutral"),
        ("smplh/male/model.npz", "male"),
        ("female/SMPLH_male.pkl", "male"),
        ("model.npz", None),
        ("m/model.npz", None),
    ],
)
def test_names_tell_the_gender(path, gender):
    assert gender_of(path) == gender


def test_a_name_without_a_gender_needs_one(npz, tmp_path):
    path = tmp_path / "model.npz"
    path.write_bytes(npz.read_bytes())
    with pytest.raises(ConfigError, match="--gender"):
        add_models(path)
    assert add_models(path, "neutral").records[0].name == "smpl"


def test_an_altered_model_does_not_load(npz, root):
    (record,) = add_models(npz).records
    content = bytearray((root / record.file).read_bytes())
    content[len(content) // 2] ^= 1
    (root / record.file).write_bytes(content)
    with pytest.raises(WeightsError, match="add the model again"):
        load_model("smpl-female")


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "smpl"}'])
def test_a_damaged_record_is_named(npz, root, text):
    add_models(npz)
    (root / "smpl-female.json").write_text(text)
    with pytest.raises(WeightsError, match=r"smpl-female\.json is damaged"):
        list_models()


def test_a_record_that_points_elsewhere_is_refused(npz, root):
    add_models(npz)
    facts = json.loads((root / "smpl-female.json").read_text()) | {"file": "../elsewhere.npz"}
    (root / "smpl-female.json").write_text(json.dumps(facts))
    with pytest.raises(WeightsError, match="record of something else"):
        load_model("smpl-female")


@pytest.mark.parametrize("name", ["/etc/SMPL_M.npz", "../SMPL_M.npz", "a/../../SMPL_M.npz", "C:\\SMPL_M.npz"])
def test_paths_that_lead_out_of_an_archive_are_refused(tmp_path, name):
    path = zipped(tmp_path / "a.zip", {name: b"x"})
    with pytest.raises(WeightsError, match="leads out of the archive"):
        add_models(path)


def test_links_in_archives_and_folders_are_refused(npz, tmp_path):
    with pytest.raises(WeightsError, match="is a link"):
        add_models(zipped(tmp_path / "a.zip", {"SMPL_MALE.npz": b"/etc/passwd"}, link=True))
    folder = tmp_path / "links"
    folder.mkdir()
    os.symlink(npz, folder / "SMPL_MALE.npz")
    with pytest.raises(WeightsError, match="is a link"):
        add_models(folder)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = zipped(tmp_path / "a.zip", {"SMPL_MALE.npz": bytes(20 << 20)})
    with pytest.raises(WeightsError, match="from next to nothing"):
        add_models(path)


def test_files_that_are_too_large_are_refused(npz, tmp_path, monkeypatch):
    monkeypatch.setattr(smpl_files, "FILE_BYTES", 1 << 20)
    with pytest.raises(WeightsError, match="more than 1 MiB"):
        add_models(npz)
    with pytest.raises(WeightsError, match="more than 1 MiB"):
        list(model_files(zipped(tmp_path / "a.zip", {"SMPL_MALE.npz": np.random.default_rng(0).bytes(2 << 20)})))


@pytest.mark.parametrize("name", ["nothing.zip", "notes.txt"])
def test_what_is_no_download_is_said(tmp_path, name):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(WeightsError, match="give the download of a model"):
        add_models(tmp_path / name)


def test_a_torn_zip_is_said(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(WeightsError, match="not a readable zip"):
        add_models(tmp_path / "a.zip")


def test_a_download_without_a_model_says_why(tmp_path):
    np.savez(tmp_path / "walk.npz", poses=np.zeros(3))
    with pytest.raises(WeightsError, match="lacks v_template"):
        add_models(tmp_path / "walk.npz")
