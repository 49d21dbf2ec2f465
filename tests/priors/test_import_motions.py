import csv
import io
import os
import re
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from motion_files import REST, RIGS, Rig, bvh_text, known_motion, write_amass, write_bvh

from avatar_core.bodies.rotations import axis_angle_to_matrix
from avatar_core.bodies.skeleton import PARENTS
from avatar_core.priors import amass
from avatar_core.priors.import_captions import label_from_name
from avatar_core.priors.import_motions import import_motions, main
from avatar_core.priors.kinematics import face_forward, forward_kinematics, heading_angle
from avatar_core.priors.motion_data import MotionData, MotionDataError, load_motion_folder


def places(data: MotionData) -> torch.Tensor:
    rotations = axis_angle_to_matrix(torch.from_numpy(data.poses).double())
    return forward_kinematics(rotations, torch.from_numpy(data.trans).double(), torch.from_numpy(REST))


def truth() -> torch.Tensor:
    return forward_kinematics(*face_forward(*known_motion(30)), torch.from_numpy(REST))


def angles(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Degrees (T, 21) between the directions of the same bones in two sequences of joints (T, 22, 3)."""
    bones = [torch.nn.functional.normalize(p[:, 1:] - p[:, list(PARENTS[1:])], dim=-1) for p in (first, second)]
    return (bones[0] * bones[1]).sum(-1).clamp(-1, 1).acos().rad2deg()


def bends(joints: torch.Tensor) -> torch.Tensor:
    """Degrees (T, 4) by which knees and elbows are bent."""
    chains = torch.tensor([(1, 4, 7), (2, 5, 8), (16, 18, 20), (17, 19, 21)])
    bones = torch.nn.functional.normalize(joints[:, chains[:, 1:]] - joints[:, chains[:, :-1]], dim=-1)
    return (bones[:, :, 0] * bones[:, :, 1]).sum(-1).clamp(-1, 1).acos().rad2deg()


def assert_in_place(data: MotionData) -> None:
    """Every clip starts at x = z = 0 facing +Z, and the lowest joints are a sole's height over the ground."""
    heights = places(data)[..., 1].min(-1).values
    assert abs(heights.quantile(0.02) - 0.018) < 0.005
    for clip in data.clips:
        assert np.abs(data.trans[clip.start, [0, 2]]).max() < 1e-6
        assert heading_angle(axis_angle_to_matrix(torch.from_numpy(data.poses[clip.start, 0]))).abs() < 2e-3


def reasons(out: Path) -> dict[str, str]:
    with (out / "skipped.csv").open(newline="", encoding="utf-8") as file:
        return {row["file"]: row["reason"] for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", RIGS)
def test_bones_point_where_the_sources_bones_do(tmp_path, name):
    write_bvh(tmp_path / "in" / "take.bvh", rig=RIGS[name])
    import_motions(tmp_path / "in", tmp_path / "out")
    data = load_motion_folder(tmp_path / "out")
    assert len(data.poses) == 61
    assert angles(places(data), truth()).max() < 1.0
    walked, known = data.trans - data.trans[0], (truth()[:, 0] - truth()[0, 0]).numpy()
    np.testing.assert_allclose(walked, known, atol=0.01)
    assert_in_place(data)


def test_a_skeleton_without_a_standing_zero_pose_is_matched_at_its_most_upright_frame(tmp_path):
    rotations, pelvis = (part[4:] for part in known_motion(30))
    (tmp_path / "in").mkdir()
    text = bvh_text(RIGS["bones-along-x"], rotations, pelvis, 30)
    (tmp_path / "in" / "take.bvh").write_text(text, encoding="utf-8")
    import_motions(tmp_path / "in", tmp_path / "out")
    data = load_motion_folder(tmp_path / "out")
    known = forward_kinematics(rotations, pelvis, torch.from_numpy(REST))
    assert (bends(places(data)) - bends(known)).abs().max() < 1.0
    assert_in_place(data)


@pytest.mark.parametrize("rate", ["mocap_framerate", "mocap_frame_rate"])
@pytest.mark.parametrize("width", [66, 72, 156, 165])
def test_amass_is_turned_upright_and_keeps_its_rotations(tmp_path, width, rate):
    write_amass(tmp_path / "in" / "take_poses.npz", width=width, rate=rate)
    import_motions(tmp_path / "in", tmp_path / "out")
    data = load_motion_folder(tmp_path / "out")
    assert len(data.poses) == 61
    assert angles(places(data), truth()).max() < 0.2
    np.testing.assert_allclose(data.trans - data.trans[0], (truth()[:, 0] - truth()[0, 0]).numpy(), atol=1e-4)
    assert_in_place(data)


@pytest.mark.parametrize("fps", [24, 50, 60, 100, 119.88, 120])
def test_other_rates_become_thirty_frames_a_second(tmp_path, fps):
    write_bvh(tmp_path / "in" / "take.bvh", fps=fps)
    import_motions(tmp_path / "in", tmp_path / "out")
    data = load_motion_folder(tmp_path / "out")
    count = min(len(data.poses), 61)
    assert count in (60, 61)
    assert angles(places(data)[:count], truth()[:count]).max() < (1.0 if fps >= 50 else 2.0)


def test_long_files_are_cut_into_clips_of_ten_seconds_at_most(tmp_path):
    write_bvh(tmp_path / "in" / "walks" / "stroll.bvh", seconds=21)
    write_bvh(tmp_path / "in" / "step.bvh", seconds=1)
    summary = import_motions(tmp_path / "in", tmp_path / "out")
    data = load_motion_folder(tmp_path / "out")
    assert [clip.id for clip in data.clips] == ["step", "walks/stroll#0", "walks/stroll#1", "walks/stroll#2"]
    assert {clip.source_file for clip in data.clips[1:]} == {"walks/stroll.bvh"}
    assert [clip.length for clip in data.clips] == [31, 210, 211, 210]
    assert (summary.files, summary.used, summary.clips, summary.frames) == (2, 2, 4, 662)
    assert not (tmp_path / "out" / "skipped.csv").exists()
    for clip in data.clips:
        assert np.abs(data.trans[clip.start, [0, 2]]).max() < 1e-6


def test_a_first_frame_that_is_only_the_zero_pose_is_left_out(tmp_path):
    text = bvh_text(RIGS["cmu-inches"], *(part[15:] for part in known_motion(30)), 30)
    head, frames = text.split("Frame Time: 0.033333\n")
    zero = " ".join(["0"] * len(frames.splitlines()[0].split()))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.bvh").write_text(
        head.replace("Frames: 46", "Frames: 47") + f"Frame Time: 0.033333\n{zero}\n{frames}", encoding="utf-8"
    )
    assert import_motions(tmp_path / "in", tmp_path / "out").frames == 46


def test_another_rate_is_written_with_a_warning_that_the_priors_refuse_it(tmp_path, caplog):
    write_amass(tmp_path / "in" / "a.npz")
    assert main([str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--fps", "60"]) == 0
    assert "refuse a folder of 60" in caplog.text
    with pytest.raises(MotionDataError, match="resample the clips to 30"):
        load_motion_folder(tmp_path / "out")
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--fps", "0"])


def test_the_same_folder_gives_the_same_bytes(tmp_path):
    write_bvh(tmp_path / "in" / "b.bvh")
    write_amass(tmp_path / "in" / "a.npz")
    for out in ("one", "two"):
        import_motions(tmp_path / "in", tmp_path / out)
    for file in ("clips.npz", "clips.csv"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_kind_reads_only_its_files(tmp_path):
    write_bvh(tmp_path / "in" / "take.BVH")
    write_amass(tmp_path / "in" / "take.npz")
    import_motions(tmp_path / "in", tmp_path / "both")
    assert [clip.id for clip in load_motion_folder(tmp_path / "both").clips] == ["take.BVH", "take.npz"]
    import_motions(tmp_path / "in", tmp_path / "bvh", kind="bvh")
    assert [clip.source_file for clip in load_motion_folder(tmp_path / "bvh").clips] == ["take.BVH"]
    import_motions(tmp_path / "in", tmp_path / "amass", kind="amass")
    assert [clip.source_file for clip in load_motion_folder(tmp_path / "amass").clips] == ["take.npz"]


def test_the_table_says_where_clips_are_from_and_under_what_terms(tmp_path):
    write_bvh(tmp_path / "in" / "b.bvh", seconds=1)
    write_amass(tmp_path / "in" / "a.npz")
    for licence, terms in (("", ["AMASS licence: non-commercial research only", ""]), ("CC0-1.0", ["CC0-1.0"] * 2)):
        import_motions(tmp_path / "in", tmp_path / "out", licence=licence)
        with (tmp_path / "out" / "clips.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [row["source"] for row in rows] == ["AMASS", "BVH"]
        assert [row["licence"] for row in rows] == terms


def test_captions_come_from_a_csv_and_else_from_the_name(tmp_path, caplog):
    for name in ("kick_01", "sub/HighPunch-2", "sub/03"):
        write_bvh(tmp_path / "in" / f"{name}.bvh", seconds=1)
    table = tmp_path / "captions.csv"
    table.write_text(
        "file,label,captions\nsub/03.bvh,waving,a person waves|someone is waving\ngone,x,y\n", encoding="utf-8-sig"
    )
    import_motions(tmp_path / "in", tmp_path / "out", captions=table)
    clips = load_motion_folder(tmp_path / "out").clips
    assert [(clip.label, clip.captions) for clip in clips] == [
        ("kick", ("kick",)),
        ("waving", ("a person waves", "someone is waving")),
        ("high punch", ("high punch",)),
    ]
    assert "no motion file is called gone" in caplog.text


def test_captions_come_from_a_folder_of_texts(tmp_path):
    write_bvh(tmp_path / "in" / "000007.bvh", seconds=1)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "000007.txt").write_text(
        "a man kicks.#a/DET man/NOUN kick/VERB#0.0#0.0\nhe turns.#he/PRON turn/VERB#1.0#2.5\n"
        "someone is kicking.#x#nan#nan\n",
        encoding="utf-8",
    )
    import_motions(tmp_path / "in", tmp_path / "out", captions=tmp_path / "texts")
    (clip,) = load_motion_folder(tmp_path / "out").clips
    assert clip.captions == ("a man kicks.", "someone is kicking.")


def test_humanml3ds_index_says_which_amass_file_a_text_is_of(tmp_path, caplog):
    for name in ("KIT/3/kick_high_left02_poses", "CMU/80/80_63_poses"):
        write_amass(tmp_path / "amass" / f"{name}.npz")
    humanml = tmp_path / "HumanML3D"
    texts = humanml / "HumanML3D" / "texts"
    texts.mkdir(parents=True)
    for number in range(3):
        (texts / f"00000{number}.txt").write_text(f"a man kicks {number}.#a/DET man/NOUN#0.0#0.0\n", encoding="utf-8")
    rows = [
        "source_path,start_frame,end_frame,new_name",
        "./pose_data/KIT/3/kick_high_left02_poses.npy,0,117,000000.npy",
        "./pose_data/KIT/3/kick_high_left02_poses.npy,117,200,000001.npy",
        *[f"./pose_data/KIT/4/lost_{number}_poses.npy,0,9,000002.npy" for number in range(30)],
    ]
    (humanml / "index.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    import_motions(tmp_path / "amass", tmp_path / "out", captions=humanml)
    clips = {clip.source_file: clip for clip in load_motion_folder(tmp_path / "out").clips}
    kick = clips["KIT/3/kick_high_left02_poses.npz"]
    assert (kick.label, kick.captions) == ("kick high left", ("a man kicks 0.", "a man kicks 1."))
    assert clips["CMU/80/80_63_poses.npz"].captions == ("motion",)
    assert "motion files for 10 other descriptions" in caplog.text


def test_an_index_without_its_columns_is_refused(tmp_path, caplog):
    write_amass(tmp_path / "amass" / "a_poses.npz")
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "000000.txt").write_text("a man kicks.\n", encoding="utf-8")
    (texts / "index.csv").write_text("source_path,start_frame\n./pose_data/a_poses.npy,0\n", encoding="utf-8")
    assert main([str(tmp_path / "amass"), "--out", str(tmp_path / "out"), "--captions", str(texts)]) == 2
    assert "lacks new_name" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [("file,label\na,b\n", "lacks captions"), ("", "lacks rows"), ("file,label,captions\n,b,c\n", "line 2: no file")],
)
def test_a_captions_file_that_cannot_be_used_stops_the_import(tmp_path, text, message):
    write_bvh(tmp_path / "in" / "a.bvh", seconds=1)
    (tmp_path / "captions.csv").write_text(text, encoding="utf-8")
    with pytest.raises(MotionDataError, match=message):
        import_motions(tmp_path / "in", tmp_path / "out", captions=tmp_path / "captions.csv")
    assert not (tmp_path / "out").exists()


def test_labels_are_the_words_of_a_name():
    assert label_from_name("a/0005_Walking001_poses.npz") == "walking"
    assert label_from_name("RunForward_stageii.npz") == "run forward"
    assert label_from_name("13_29.bvh") == "motion"


def spoil_bvh(path: Path, old: str, new: str) -> None:
    text = write_bvh(path, seconds=1).read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def cut_bvh(path: Path, share: float) -> None:
    text = write_bvh(path, seconds=1).read_text(encoding="utf-8")
    path.write_text(text[: int(len(text) * share)], encoding="utf-8")


def nan_bvh(path: Path) -> None:
    text = write_bvh(path, seconds=1).read_text(encoding="utf-8")
    path.write_text(text.rstrip().rsplit(" ", 1)[0] + " nan\n", encoding="utf-8")


def nan_poses() -> np.ndarray:
    poses = np.zeros((100, 156))
    poses[7, 3] = np.nan
    return poses


def swap_bytes(path: Path, old: bytes, new: bytes) -> None:
    write_amass(path)
    path.write_bytes(path.read_bytes().replace(old, new, 1))


def lying_header(path: Path) -> None:
    """An array whose header promises a terabyte."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_amass(path)
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(huge, {"descr": "<f8", "fortran_order": False, "shape": (1 << 30, 128)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("poses.npy", huge.getvalue())
        for name, value in (("trans", np.zeros((1, 3))), ("mocap_framerate", np.array(30.0))):
            data = io.BytesIO()
            np.save(data, value)
            archive.writestr(f"{name}.npy", data.getvalue())


def changed(part: str, name: str | None) -> Rig:
    """A rig whose joints that begin with `part` have another name."""
    rig = RIGS["rokoko"]
    return replace(rig, names={joint: name if joint.startswith(part) else old for joint, old in rig.names.items()})


NO_SHIN = {"pelvis": 1.0, "left_knee": 1e-9}
BAD = {
    "unknown skeleton": ("a.bvh", lambda p: spoil_bvh(p, "UpLeg", "Bone"), r"no left thigh, right thigh among .*Bone"),
    "no neck": ("a.bvh", lambda p: write_bvh(p, rig=changed("neck", None)), "no neck between pelvis and head"),
    "no spine": ("a.bvh", lambda p: write_bvh(p, rig=changed("spine", None)), "no spine between pelvis and head"),
    "truncated motion": ("a.bvh", lambda p: cut_bvh(p, 0.9), "not a readable BVH file .* truncated"),
    "truncated skeleton": ("a.bvh", lambda p: cut_bvh(p, 0.02), "it ends before its motion"),
    "not a number": ("a.bvh", nan_bvh, "1 of 31 frames hold values that are not finite, the first is frame 30"),
    "words": ("a.bvh", lambda p: spoil_bvh(p, "Frame Time: 0.033333\n", "Frame Time: soon\n"), "not a readable BVH"),
    "no rate": ("a.bvh", lambda p: spoil_bvh(p, "Time: 0.033333", "Time: 1e-9"), "no capture rate"),
    "huge": ("a.bvh", lambda p: spoil_bvh(p, "Frames: 31", "Frames: 99999999"), "99999999 frames .* cut the file"),
    "short": ("a.bvh", lambda p: write_bvh(p, seconds=0.5), "16 frames at 30 a second, fewer than 20"),
    "empty": ("a.bvh", lambda p: p.write_bytes(b""), "ends before its motion"),
    "binary": ("a.bvh", lambda p: p.write_bytes(bytes(range(256)) * 999), "ends before its motion"),
    "no shin": ("a.bvh", lambda p: write_bvh(p, rig=replace(RIGS["rokoko"], stretch=NO_SHIN)), "leg bone has no"),
    "lying": ("a.bvh", lambda p: write_bvh(p, rig=RIGS["bones-along-x"], pitch=-90), "nor any frame stands upright"),
    "pickle": ("a.npz", lambda p: write_amass(p, poses=np.array([{"evil": 1}], object)), "poses is a pickle"),
    "narrow": ("a.npz", lambda p: write_amass(p, poses=np.zeros((241, 63))), r"poses \(241, 63\).* are not AMASS's"),
    "uneven": ("a.npz", lambda p: write_amass(p, trans=np.zeros((9, 3))), r"trans \(9, 3\)"),
    "text": ("a.npz", lambda p: write_amass(p, poses=np.full((241, 66), "x")), "poses holds <U1, not numbers"),
    "shape file": ("a.npz", lambda p: write_amass(p, poses=None, mocap_framerate=None), "lacks poses, mocap_frame"),
    "nan poses": ("a.npz", lambda p: write_amass(p, poses=nan_poses(), trans=np.zeros((100, 3))), "first is frame 7"),
    "junk": ("a.npz", lambda p: p.write_bytes(b"PK\x03\x04 nothing"), "not a readable .npz file"),
    "far away": ("a.npz", lambda p: write_amass(p, trans=np.full((241, 3), 1e30)), "a kilometre away"),
    "torn header": ("a.npz", lambda p: swap_bytes(p, b"'fortran_order'", b"'fortran_order("), "not a readable array"),
    "lying header": ("a.npz", lying_header, "takes more than 512 MiB"),
    "brief": ("a.npz", lambda p: write_amass(p, poses=np.zeros((40, 66)), trans=np.zeros((40, 3))), "10 frames at 30"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_is_skipped_with_its_reason_and_the_others_are_used(tmp_path, what, caplog):
    name, write, reason = BAD[what]
    write_amass(tmp_path / "in" / "good.npz")
    (tmp_path / "in" / "bad").mkdir()
    write(tmp_path / "in" / "bad" / name)
    assert main([str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    assert [clip.id for clip in load_motion_folder(tmp_path / "out").clips] == ["good"]
    skipped = reasons(tmp_path / "out")
    assert list(skipped) == [f"bad/{name}"]
    assert re.search(reason, skipped[f"bad/{name}"]), skipped


def test_links_out_of_the_folder_and_links_to_folders_are_not_followed(tmp_path):
    write_amass(tmp_path / "in" / "good.npz")
    write_amass(tmp_path / "elsewhere" / "private.npz")
    (tmp_path / "in" / "link.npz").symlink_to(tmp_path / "elsewhere" / "private.npz")
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "in" / "pipe.bvh")
    summary = import_motions(tmp_path / "in", tmp_path / "out")
    assert [clip.id for clip in load_motion_folder(tmp_path / "out").clips] == ["good"]
    assert [name for name, _ in summary.skipped] == ["link.npz", "pipe.bvh"]
    assert "leads out of the folder" in summary.skipped[0][1]


def test_an_earlier_import_inside_the_folder_is_not_read(tmp_path):
    write_amass(tmp_path / "take.npz")
    for _ in range(2):
        assert import_motions(tmp_path, tmp_path / "motions").files == 1


@pytest.mark.parametrize("spoiled", [False, True])
def test_nothing_usable_is_an_error_and_nothing_is_written(tmp_path, spoiled, caplog):
    (tmp_path / "in").mkdir()
    if spoiled:
        (tmp_path / "in" / "a.npz").write_bytes(b"junk")
    assert main([str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 2
    assert ("none of its 1 motion files can be used; the first, a.npz" if spoiled else "holds no") in caplog.text
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_there_is_an_error(tmp_path, caplog):
    assert main([str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]) == 2
    assert "no such folder" in caplog.text


def test_without_a_bvh_reader_the_error_says_how_to_install_it(tmp_path, monkeypatch, caplog):
    write_bvh(tmp_path / "in" / "a.bvh", seconds=1)
    monkeypatch.setitem(sys.modules, "pybvh", None)
    assert main([str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 2
    assert "pip install pybvh" in caplog.text


def test_pickles_in_arrays_that_are_not_read_do_no_harm(tmp_path):
    write_amass(tmp_path / "in" / "a.npz", labels=np.array([{"evil": 1}], object))
    assert import_motions(tmp_path / "in", tmp_path / "out").used == 1


def test_an_array_larger_than_the_bound_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(amass, "MAX_BYTES", 1000)
    with pytest.raises(MotionDataError, match=r"poses takes more than .* cut the file"):
        amass.read_amass(write_amass(tmp_path / "a.npz"))
