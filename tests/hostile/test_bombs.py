"""Files that are small and would cost the reader dearly are refused before they do."""

import csv
import io
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from parsers import small_glb
from PIL import Image

from avatar_core.bodies.smpl_files import model_files
from avatar_core.bodies.smpl_pickle import as_array, read_pickle
from avatar_core.config import load_preset
from avatar_core.documents import DocumentError, read_json, read_yaml
from avatar_core.errors import ArtifactError, CatalogError, ConfigError, WeightsError
from avatar_core.export.finished import parse_finished
from avatar_core.perception.checkpoint_folder import check_config, check_pickle, weight_files
from avatar_core.pictures import PictureError, open_png
from avatar_core.priors.action_scripts import ActionScriptError, parse_actions
from avatar_core.priors.import_captions import read_captions
from avatar_core.priors.import_motions import _csv
from avatar_core.storage import open_location
from avatar_core.storage.npz import ArrayRefused, read_numbers
from avatar_core.tables import plain_cell
from flows.delivery import delivered_uri
from flows.gallery.access import same_origin
from flows.gallery.answers import _own_address
from flows.reading_reports import read_one
from flows.run_plan import run_folder

LAUGHS = "a: &a [x, x]\n" + "".join(f"{two}: &{two} [*{one}, *{one}]\n" for one, two in zip("abcdefgh", "bcdefghi"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [(LAUGHS, "by an alias"), ("- " * 40 + "x", "levels"), ("[" * 5000, "levels|not valid"),
     ("a: " + "9" * 5000, "characters"),
     ("a: " + "1:" * 900 + "1\nb: " + "1:" * 1900 + "1", "characters"),
     ("!!python/object/apply:os.system [id]", "tag"),
     ("!!int ''", "not valid"), ("!!timestamp x", "not valid"), ("a: x\n" * 60_000, "values"), ("a" * 2**21, "KiB")],
)  # fmt: skip
def test_yaml_that_grows_when_it_is_read_is_refused(text: str, problem: str) -> None:
    with pytest.raises(DocumentError, match=problem):
        read_yaml(text)


def test_json_of_any_depth_is_an_ordinary_error() -> None:
    with pytest.raises(ValueError, match="nested"):
        read_json("[" * 200_000)


def test_a_preset_that_has_a_huge_number_or_endless_parents_says_so(tmp_path) -> None:
    (tmp_path / "huge.yaml").write_text("seed: 0x" + "f" * 1500)
    with pytest.raises(ConfigError, match=r"huge.yaml: seed"):
        load_preset(tmp_path / "huge.yaml")
    for number in range(20):
        (tmp_path / f"p{number}.yaml").write_text(f"extends: p{number + 1}.yaml\n")
    with pytest.raises(ConfigError, match="join some"):
        load_preset(tmp_path / "p0.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_preset("/dev/zero/x.yaml")


def test_actions_that_would_go_round_for_ever_are_refused() -> None:
    keys = "captions: [waving, greeting], keys: [{time: 0, left_elbow: {flexion: 3}}]"
    with pytest.raises(ActionScriptError, match="seconds apart"):
        parse_actions(f"waving: {{cycle: 0.0000001, {keys}}}", "a.yaml")
    with pytest.raises(ActionScriptError, match="write a number"):
        parse_actions(f"waving: {{cycle: 1{'0' * 400}, {keys}}}", "a.yaml")
    with pytest.raises(ActionScriptError, match="begin with a letter"):
        parse_actions(f"'=cmd': {{{keys}}}", "a.yaml")


NONE_POP = b"N0"
SELECT = b"cchumpy.reordering\nSelect\n)\x81}("
BOMBS = {
    "operations": (b"\x80\x02" + NONE_POP * 1_000_000 + b"}.", "operations"),
    "copies": (
        b"\x80\x02c_codecs\nencode\nq\x000(X" + struct.pack("<I", 2**20) + b"a" * 2**20
        + b"X\x06\x00\x00\x00latin1tq\x010"
        + b"h\x00h\x01R0" * 5000 + b"}.", "calls that are given",
    ),
    "keys": (b"\x80\x02}" + b"K\x01\x85" + b"2\x86" * 60 + b"Ns.", "keys"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_pickle_that_wastes_time_is_stopped(name: str) -> None:
    content, problem = BOMBS[name]
    with pytest.raises(WeightsError, match=problem):
        read_pickle(content, "bomb.pkl")


def test_sets_in_a_pickle_are_lists_that_nobody_hashes() -> None:
    assert read_pickle(pickle.dumps({"a": {1}, "b": frozenset([2])}, protocol=4), "x.pkl") == {"a": [1], "b": [2]}


def test_choices_of_choices_do_not_double_each_time() -> None:
    program = b"\x80\x02" + SELECT + b"X\x01\x00\x00\x00aK\x01X\x04\x00\x00\x00idxsK\x01ub"
    for number in range(60):
        program += b"q" + bytes([number]) + b"0" + SELECT
        program += b"X\x01\x00\x00\x00ah" + bytes([number]) + b"X\x04\x00\x00\x00idxsh" + bytes([number]) + b"ub"
    content = b"\x80\x02}X\x01\x00\x00\x00v" + program[2:] + b"s."
    with pytest.raises(ValueError, match=r"in each other|no stored array"):
        as_array(read_pickle(content, "x.pkl")["v"])


def test_files_of_an_archive_that_lie_over_each_other_are_refused(tmp_path) -> None:
    path = tmp_path / "models.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.pkl", bytes(5000))
        first = archive.infolist()[0]
        for number in range(50):
            twin = zipfile.ZipInfo(f"{number}.pkl")
            twin.compress_size, twin.file_size, twin.CRC = first.compress_size, first.file_size, first.CRC
            twin.header_offset = first.header_offset
            archive.filelist.append(twin)
            archive.NameToInfo[twin.filename] = twin
    with pytest.raises(WeightsError, match="over each other"):
        list(model_files(path))


def test_an_array_that_is_shorter_than_it_says_takes_no_memory(tmp_path) -> None:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (2**24,)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", file.getvalue())
    with zipfile.ZipFile(tmp_path / "x.npz") as archive, pytest.raises(ArrayRefused, match="shorter"):
        read_numbers(archive, "a", 2**30)
    with zipfile.ZipFile(tmp_path / "x.npz") as archive, pytest.raises(ArrayRefused, match="not a readable"):
        read_numbers(archive, "b", 2**30)


def test_a_picture_of_too_many_pixels_is_not_unpacked() -> None:
    sink = io.BytesIO()
    Image.new("1", (9000, 9000)).save(sink, "PNG")
    with pytest.raises(PictureError, match="9000 x 9000"):
        open_png(sink.getvalue())
    sink = io.BytesIO()
    Image.new("RGB", (4, 4)).save(sink, "BMP")
    with pytest.raises(PictureError, match="no PNG"):
        open_png(sink.getvalue())


@pytest.mark.parametrize(
    "settings",
    ['{"auto_map": {"AutoModel": "evil--x"}}', '{"attn_implementation": "evil/kernel"}', '{"quantization_config": {}}',
     '{"text_config": {"_attn_implementation": "evil/kernel"}}', '{"num_hidden_layers": 100000}',
     '{"vision_config": {"hidden_size": 1e12}}', '{"hidden_size": NaN}', "[1]", '{"a":' * 2000],
)  # fmt: skip
def test_a_configuration_that_asks_for_code_or_for_a_giant_is_refused(tmp_path, settings: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(settings)
    with pytest.raises(WeightsError, match="no configuration that is used"):
        check_config(path)


def test_shards_outside_of_a_checkpoints_folder_are_refused(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "secret.safetensors").write_bytes(b"x")
    (tmp_path / "a/model.safetensors.index.json").write_text('{"weight_map": {"x": "../secret.safetensors"}}')
    with pytest.raises(WeightsError, match="outside of the folder"):
        weight_files(tmp_path / "a")


def test_pickled_weights_that_unpack_to_more_than_they_are_are_refused(tmp_path) -> None:
    torch.save({"a": torch.zeros(100_000)}, tmp_path / "plain.bin")
    with (
        zipfile.ZipFile(tmp_path / "plain.bin") as plain,
        zipfile.ZipFile(tmp_path / "bomb.bin", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in plain.namelist():
            bomb.writestr(name, plain.read(name))
    check_pickle(tmp_path / "plain.bin")
    with pytest.raises(WeightsError, match="more than its own size"):
        check_pickle(tmp_path / "bomb.bin")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_tables_hold_no_formulas(tmp_path, text: str) -> None:
    assert plain_cell(text) == f"'{text.strip()}"
    assert plain_cell("a plain text") == "a plain text"
    (row,) = csv.reader(io.StringIO(_csv([(text, 3)]).decode(), newline=""))
    assert row == [f"'{text.strip()}", "3"]
    assert plain_cell(f"it is\r{text}").startswith("it is ")
    with (tmp_path / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "label", "captions"), ("a.bvh", f"{text} walk", f"{text} walks|x")])
    found = read_captions(tmp_path / "captions.csv")["a.bvh"]
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in (found.label, *found.captions))


@pytest.mark.parametrize("name", ["..", ".", "", "../x", "a/b", "a\\b", "a\0b", "x" * 300])
def test_no_id_leads_out_of_a_library(tmp_path, name: str) -> None:
    library = open_location(tmp_path)
    with pytest.raises(CatalogError, match="no id of an avatar"):
        delivered_uri(name)
    with pytest.raises(CatalogError, match="no id of an avatar"):
        read_one(library, name)
    with pytest.raises(ConfigError, match="no id of a run"):
        run_folder(str(tmp_path), name)


@pytest.mark.parametrize("url", ["a\0b", "~nobody-at-all/x", "nosuchscheme://x"])
def test_a_location_that_cannot_be_is_a_config_error(url: str) -> None:
    with pytest.raises(ConfigError, match="fsspec URL"):
        open_location(url)


@pytest.mark.parametrize("address", ["//[", "http://[::1", "http://[evil]/"])
def test_an_address_that_is_none_leads_home(address: str) -> None:
    assert _own_address(address).startswith("/")
    assert not same_origin({"origin": address, "host": "127.0.0.1"})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"fps":30', b'"fps":0'),
        (b'"fps":30', b'"fps":9000'),
        (b'"fps":30', b'"fps":1e99'),
        (b'"count":30', b'"count":-1'),
    ],
)
def test_a_clip_that_no_body_could_make_is_refused(old: bytes, new: bytes) -> None:
    content = small_glb()
    assert parse_finished(content, name="a", source="a.glb").clips
    (length,) = struct.unpack("<I", content[12:16])
    changed = content[20 : 20 + length].replace(old, new).replace(old.replace(b":", b": "), new)
    assert changed != content[20 : 20 + length]
    padded = changed + b" " * (-len(changed) % 4)
    head = struct.pack("<4sIII4s", b"glTF", 2, len(content) - length + len(padded), len(padded), b"JSON")
    with pytest.raises(ArtifactError, match="not an avatar"):
        parse_finished(head + padded + content[20 + length :], name="a", source="a.glb")
