"""Blender opens the GLB and the FBX, and plays the clip as we do."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from avatar_core.errors import ConfigError
from avatar_core.export.formats import fbx

pytestmark = pytest.mark.service

LOOK = """
import json, sys
import bpy
import numpy as np

first = sys.argv.index("--") + 1
source, clip, target = sys.argv[first:first + 3]
bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
scene.render.fps = 30
if source.endswith(".glb"):
    bpy.ops.import_scene.gltf(filepath=source)
else:
    bpy.ops.import_scene.fbx(filepath=source, use_anim=True)
armature = next(item for item in bpy.data.objects if item.type == "ARMATURE")
mesh = next(item for item in bpy.data.objects if item.type == "MESH" and item.find_armature() == armature)
actions = [action.name for action in bpy.data.actions]
seen = {
    "bones": [bone.name for bone in armature.data.bones],
    "groups": [group.name for group in mesh.vertex_groups],
    "weights": max(abs(sum(g.weight for g in v.groups) - 1) for v in mesh.data.vertices),
    "influences": max(len([g for g in v.groups if g.weight > 0]) for v in mesh.data.vertices),
    "faces": len(mesh.data.polygons),
    "uv": len(mesh.data.uv_layers),
    "images": {node.image.name: list(node.image.size) for material in mesh.data.materials
               for node in material.node_tree.nodes if node.type == "TEX_IMAGE"},
    "actions": actions,
}
action = next(action for action in bpy.data.actions if clip in action.name)
armature.animation_data_create()
for track in armature.animation_data.nla_tracks:
    track.mute = True
armature.animation_data.action = action
seen["range"] = list(action.frame_range)
start = action.frame_range[0]
frames = []
for frame in (0, 17, 40):
    scene.frame_set(round(start) + frame)
    shown = mesh.evaluated_get(bpy.context.evaluated_depsgraph_get())
    points = np.empty(3 * len(shown.data.vertices))
    shown.data.vertices.foreach_get("co", points)
    world = np.array(shown.matrix_world)
    frames.append(points.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3])
np.savez(target + ".npz", frames=np.array(frames))
open(target, "w").write(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def look(tmp_path_factory):
    """Return a function: (file, clip) -> what Blender sees in it, and the vertices in three frames, Y up."""
    program = shutil.which("blender")
    if program is None:
        pytest.skip("blender is not installed")

    def run(source: Path, clip: str) -> tuple[dict, np.ndarray]:
        folder = tmp_path_factory.mktemp("look")
        script, target = folder / "look.py", folder / "seen.json"
        script.write_text(LOOK)
        done = subprocess.run(
            [program, "--background", "--factory-startup", "--python-exit-code", "1", "--python", script,
             "--", source, clip, target],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        with np.load(f"{target}.npz") as arrays:
            z_up = arrays["frames"]
        return json.loads(target.read_text()), z_up[..., [0, 2, 1]] * [1, 1, -1]

    return run


def distances(seen: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Of each expected vertex (T, V, 3) from the nearest one that was seen: importers may weld, split and reorder."""
    from scipy.spatial import cKDTree

    return np.stack([cKDTree(points).query(wanted)[0] for points, wanted in zip(seen, expected)])


@pytest.mark.parametrize("clip", ["walking", "idle"])
def test_blender_imports_the_glb_and_plays_the_clip_as_we_do(look, ada, tiny_library, clip):
    seen, frames = look(tiny_library / "avatars/ada/avatar.glb", clip)
    assert len(seen["bones"]) == len(ada.skeleton.names)
    assert {"Hips", "LeftArm", "RightHandPinky3"} <= set(seen["bones"])
    assert set(seen["groups"]) <= set(seen["bones"])
    assert seen["weights"] < 1e-3
    assert seen["influences"] <= 4
    assert (seen["faces"], seen["uv"]) == (len(ada.mesh.faces), 1)
    assert sorted(seen["images"].values()) == [list(ada.mesh.texture.image.shape[1::-1])] * 2
    expected = np.concatenate(list(ada.clips[clip].posed(ada.mesh.vertices, ada.skin)))[[0, 17, 40]]
    assert distances(frames, expected).max() < 1e-3
    moved = np.abs(frames[1] - frames[0]).max()
    assert moved > (0.1 if clip == "walking" else 0.001)


def test_an_fbx_comes_back_with_its_bones_its_texture_and_its_motion(look, ada, tmp_path):
    fbx.write(ada, tmp_path)
    seen, frames = look(tmp_path / fbx.FILE, "walking")
    assert len(seen["bones"]) == len(ada.skeleton.names)
    assert seen["weights"] < 1e-3
    assert seen["faces"] == len(ada.mesh.faces)
    assert seen["images"]
    assert {name for name in ("walking", "idle") if any(name in action for action in seen["actions"])} == {
        "walking", "idle",
    }  # fmt: skip
    assert seen["range"][1] - seen["range"][0] == pytest.approx(len(ada.clips["walking"]) - 1, abs=1)
    expected = np.concatenate(list(ada.clips["walking"].posed(ada.mesh.vertices, ada.skin)))[[0, 17, 40]]
    assert distances(frames, expected).max() < 0.01


def test_without_blender_there_is_one_clear_error(ada, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(fbx.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install bpy"):
        fbx.write(ada, tmp_path)
