"""From a CSV to animated avatars with the `tiny` preset: the real command, real stages, a real server."""

import hashlib
import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pygltflib
import pytest
import trimesh

from avatar_core.manifest import read_latest
from avatar_core.storage import ArtifactStore

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TIMEOUT = 1800  # seconds; only a hang is that slow
FILES = (
    "avatar.glb",
    "avatar.ply",
    "preview.png",
    "turntable.mp4",
    "motion.mp4",
    "motion.webp",
    "optimisation.mp4",
    "learning.png",
    "features.safetensors",
    "report.json",
    "report.html",
)
STAGES = ("coarse_shape", "implicit_init", "texturing", "candidate_poses", "motion", "export")
CATALOG = """id,shape,appearance,motion,seed
ada,a tall man,a man in a red shirt,walking,
ben,a tall man,a man in a green shirt,walking,5
,,a man without a shape,walking,
ada,a second ada,a man,walking,
eve,a tall woman,a woman,running,not-a-number
../up,a tall woman,a woman,running,
"""
GOOD = ("ada", "ben")
BAD_LINES = {4: "shape", 5: "id", 6: "seed", 7: "id"}

Artifacts = Callable[[Path], dict[str, int]]


@dataclass(frozen=True)
class Made:
    """A library after one run of the catalog."""

    library: Path
    catalog: Path
    result: subprocess.CompletedProcess[str]

    @property
    def arguments(self) -> tuple[object, ...]:
        return ("run", self.catalog, "--library", self.library, "--preset", "tiny", "--device", "cpu")


@pytest.fixture(scope="module")
def made(avatars: Any, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    catalog = folder / "people.csv"
    catalog.write_text(CATALOG)
    unrun = Made(folder / "library", catalog, subprocess.CompletedProcess([], 0))
    return Made(unrun.library, catalog, avatars(*unrun.arguments))


def test_good_rows_become_avatars_and_bad_rows_are_named(made: Made, avatars: Any) -> None:
    assert made.result.returncode == 1, made.result.stdout + made.result.stderr
    assert made.result.stderr == ""
    assert "Traceback" not in made.result.stdout
    for name in GOOD:
        folder = made.library / "avatars" / name
        assert {path.name for path in folder.iterdir()} == set(FILES)
        assert all(path.stat().st_size > 0 for path in folder.iterdir())
    report = avatars.json("status", "--library", made.library)
    assert report["counts"] == {"done": 2, "rejected": 4}
    assert {row["line"]: row["field"] for row in report["rejected"]} == BAD_LINES
    assert all(row["reason"] and row["remedy"] for row in report["rejected"])
    assert report["running"] is None


def test_the_avatar_is_a_rigged_and_animated_model(made: Made) -> None:
    path = made.library / "avatars" / "ada" / "avatar.glb"
    gltf = pygltflib.GLTF2().load(str(path))
    assert len(gltf.skins) == 1
    assert len(gltf.skins[0].joints) >= 22
    assert [animation.name for animation in gltf.animations] == ["walking", "idle"]
    lower, upper = trimesh.load(path, force="scene").bounds
    assert upper[1] - lower[1] == pytest.approx(1.8, abs=0.6)
    assert upper[1] - lower[1] > upper[2] - lower[2]


def test_equal_inputs_are_computed_once(made: Made, stage_artifacts: Artifacts) -> None:
    counts = dict.fromkeys(STAGES, 0)
    for name in stage_artifacts(made.library):
        counts[name.split("/")[0]] += 1
    # ben has a seed of his own, which the searches for shape and poses do not read
    assert counts == {
        "coarse_shape": 1,
        "implicit_init": 1,
        "candidate_poses": 1,
        "motion": 2,
        "texturing": 2,
        "export": 2,
    }


def test_the_manifest_has_one_finished_record_of_each_stage_with_its_cost(made: Made) -> None:
    rows = [row for row in read_latest(made.library).to_pylist() if row["stage"] in STAGES]
    assert sorted((row["avatar_id"], row["stage"]) for row in rows) == sorted((a, s) for a in GOOD for s in STAGES)
    store = ArtifactStore(made.library)
    for row in rows:
        ref = store.find(row["stage"], row["key"])
        assert ref is not None
        assert (ref.uri, ref.sha256, ref.bytes) == (row["uri"], row["sha256"], row["bytes"])
        assert row["status"] == ("cached" if row["seconds"] is None else "done")
    computed = [row for row in rows if row["status"] == "done"]
    assert len(computed) == 9
    assert all(row["seconds"] >= 0 and row["peak_mb"] > 0 for row in computed)


def test_show_tells_everything_about_one_avatar(made: Made, avatars: Any) -> None:
    report = avatars.json("show", "ben", "--library", made.library)
    assert report["state"] == "done"
    assert report["appearance"] == "a man in a green shirt"
    assert set(report["files"]) == set(FILES)
    assert set(report["stages"]) == set(STAGES)
    assert report["stages"]["texturing"]["seed"] == 5
    assert report["report"] == json.loads((made.library / "avatars/ben/report.json").read_text())


def test_the_same_command_again_computes_nothing(
    made: Made,
    avatars: Any,
    stage_artifacts: Artifacts,
) -> None:
    before = stage_artifacts(made.library)
    delivered = {path: path.stat().st_mtime_ns for path in (made.library / "avatars").glob("*/*")}
    again = avatars(*made.arguments)
    assert again.returncode == 1
    assert "nothing to compute" in again.stdout
    assert stage_artifacts(made.library) == before
    assert {path: path.stat().st_mtime_ns for path in (made.library / "avatars").glob("*/*")} == delivered


def test_a_deleted_artifact_is_computed_again_with_what_depends_on_it_and_nothing_else(
    made: Made,
    avatars: Any,
    stage_artifacts: Artifacts,
) -> None:
    stages = avatars.json("show", "ada", "--library", made.library)["stages"]
    model = made.library / "avatars" / "ada" / "avatar.glb"
    before, digest = stage_artifacts(made.library), hashlib.sha256(model.read_bytes()).hexdigest()
    shutil.rmtree(made.library / stages["texturing"]["uri"])
    assert avatars(*made.arguments, "--only", "ada").returncode == 0
    after = stage_artifacts(made.library)
    changed = {name for name in before if after[name] != before[name]}
    assert set(after) == set(before)
    assert changed == {f"texturing/{stages['texturing']['key']}", f"export/{stages['export']['key']}"}
    assert hashlib.sha256(model.read_bytes()).hexdigest() == digest, "the same seed gives the same bytes"


LONG = """extends: tiny
texturing:
  outfit_search: false
  steps: 120
  checkpoint_every: 5
"""


def wait_for_checkpoint(library: Path, step: int, process: subprocess.Popen[str]) -> None:
    limit = time.monotonic() + TIMEOUT
    while time.monotonic() < limit and process.poll() is None:
        names = [path.name for path in (library / "store/_checkpoints/texturing").glob("*/step-*")]
        if any(int(name.split("-")[1]) >= step for name in names):
            return
        time.sleep(0.05)
    raise AssertionError(f"no checkpoint of step {step} appeared; the command ended with {process.poll()}")


def test_runs_that_were_stopped_in_texturing_go_on_from_their_checkpoints(
    made: Made, avatars: Any, tmp_path: Path
) -> None:
    (tmp_path / "long.yaml").write_text(LONG)
    prompts = ("--shape", "a tall man", "--appearance", "a man in blue", "--motion", "walking")
    arguments = ("make", *prompts, "--id", "cat", "--library", made.library, "--preset", tmp_path / "long.yaml")

    interrupted = avatars.start(*arguments)
    wait_for_checkpoint(made.library, 10, interrupted)
    interrupted.send_signal(signal.SIGINT)
    out, err = interrupted.communicate(timeout=TIMEOUT)
    assert interrupted.returncode == 130
    assert "to go on" in err
    assert "Traceback" not in out + err

    killed = avatars.start(*arguments)
    wait_for_checkpoint(made.library, 50, killed)
    killed.kill()
    killed.communicate(timeout=TIMEOUT)
    assert not (made.library / "avatars" / "cat").exists()
    assert avatars.json("status", "--library", made.library)["counts"]["unfinished"] == 1

    last = avatars(*arguments)
    assert last.returncode == 0, last.stdout + last.stderr
    shown = avatars.json("show", "cat", "--library", made.library)
    assert shown["state"] == "done"
    logs = sorted((made.library / "runs").glob("*/run.log"))[-2:]
    starts = [int(re.search(r"texturing continues at step (\d+)", path.read_text())[1]) for path in logs]
    assert starts[0] >= 10
    assert starts[1] >= 50
    textured = made.library / shown["stages"]["texturing"]["uri"] / "textured.json"
    assert len(json.loads(textured.read_text())["history"]) == 120
    assert not list((made.library / "store/_checkpoints/texturing").glob("*/step-*"))
    rows = [(row["avatar_id"], row["stage"]) for row in read_latest(made.library).to_pylist()]
    assert len(rows) == len(set(rows))


def test_the_same_seed_gives_the_same_bytes_in_another_library(
    made: Made,
    avatars: Any,
    tmp_path: Path,
) -> None:
    prompts = ("--shape", "a tall man", "--appearance", "a man in a red shirt", "--motion", "walking")
    arguments = ("make", *prompts, "--id", "twin", "--library", tmp_path, "--preset", "tiny", "--device", "cpu")
    assert avatars(*arguments).returncode == 0
    for name in ("avatar.glb", "avatar.ply", "optimisation.mp4", "learning.png"):
        assert (tmp_path / "avatars/twin" / name).read_bytes() == (made.library / "avatars/ada" / name).read_bytes()


def test_mistakes_in_the_command_end_with_status_2_and_one_message(avatars: Any, tmp_path: Path) -> None:
    picture = tmp_path / "picture.csv"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    for arguments, word in (
        (("run", tmp_path / "none.csv"), "none.csv"),
        (("run", picture), "picture.csv"),
        (("make", "--shape", "", "--appearance", "a man", "--motion", "walking"), "shape"),
        (("show", "ada"), "library"),
    ):
        result = avatars(*arguments, "--library", tmp_path / "library")
        assert result.returncode == 2, result.stdout + result.stderr
        assert word in result.stderr
        assert "Traceback" not in result.stdout + result.stderr
