"""three.js, as npm has it, opens an avatar in a real browser, and its clips move the skeleton and the picture."""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsers import chromium, listened
from node_tools import package_folder

pytestmark = pytest.mark.service

PAGE = """<!doctype html><canvas width="200" height="320"></canvas>
<script type="importmap">
{"imports": {"three": "/three/build/three.module.js", "three/addons/": "/three/examples/jsm/"}}
</script>
<script type="module">
import * as THREE from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";

const canvas = document.querySelector("canvas");
const renderer = new THREE.WebGLRenderer({ canvas, preserveDrawingBuffer: true });
const scene = new THREE.Scene();
scene.background = new THREE.Color(0x00ff00);
scene.add(new THREE.HemisphereLight(0xffffff, 0xffffff, 3));
const camera = new THREE.PerspectiveCamera(40, 200 / 320, 0.1, 20);
camera.position.set(0, 1, 3.6);
camera.lookAt(0, 0.9, 0);
const model = await new GLTFLoader().loadAsync("/avatar.glb");
scene.add(model.scene);
const mixer = new THREE.AnimationMixer(model.scene);
const bones = [];
model.scene.traverse((node) => { if (node.isSkinnedMesh) bones.push(...node.skeleton.bones); });

globalThis.clips = model.animations.map((clip) => ({ name: clip.name, seconds: clip.duration }));
globalThis.at = (name, seconds) => {
  mixer.stopAllAction();
  mixer.clipAction(THREE.AnimationClip.findByName(model.animations, name)).play();
  mixer.setTime(seconds);
  renderer.render(scene, camera);
  const gl = renderer.getContext();
  const pixels = new Uint8Array(200 * 320 * 4);
  gl.readPixels(0, 0, 200, 320, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  return { bones: Object.fromEntries(bones.map((bone) => [bone.name, bone.matrixWorld.toArray()])),
           pixels: Array.from(pixels) };
};
globalThis.ready = true;
</script>
"""


@pytest.fixture(scope="module")
def page(tiny_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """ada in three.js, and what the browser complained about."""
    site = tmp_path_factory.mktemp("site")
    (site / "index.html").write_text(PAGE)
    (site / "three").symlink_to(package_folder("three"))
    (site / "avatar.glb").symlink_to(tiny_library / "avatars/ada/avatar.glb")
    handler = functools.partial(_Quiet, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, chromium() as browser:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        opened = browser.new_page()
        opened.complaints = listened(opened)
        opened.goto(f"http://127.0.0.1:{server.server_port}/")
        opened.wait_for_function("globalThis.ready")
        yield opened
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing of single requests."""


def shot(page: Any, clip: str, seconds: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the bones' world matrices, column by column, and the picture (H, W, 3)."""
    seen = page.evaluate("([clip, seconds]) => globalThis.at(clip, seconds)", [clip, seconds])
    bones = {name: np.reshape(values, (4, 4)).T for name, values in seen["bones"].items()}
    return bones, np.reshape(seen["pixels"], (320, 200, 4))[..., :3]


def test_its_loader_has_nothing_to_complain_about(page: Any) -> None:
    expected = ("GPU stall", "404")  # of reading pixels, and of the icon that browsers ask any site for
    assert [text for text in page.complaints if not any(part in text for part in expected)] == []


def test_the_clips_are_the_motion_and_an_idle_loop(page: Any) -> None:
    clips = {clip["name"]: clip["seconds"] for clip in page.evaluate("globalThis.clips")}
    assert set(clips) == {"walking", "idle"}
    assert min(clips.values()) > 1.0


@pytest.mark.parametrize("clip", ["walking", "idle"])
def test_bones_and_picture_change_from_one_time_to_another(page: Any, clip: str) -> None:
    (before, first), (after, second) = shot(page, clip, 0.2), shot(page, clip, 0.7)
    assert len(before) == 66
    moved = {name: np.abs(after[name] - before[name]).max() for name in before}
    assert max(moved.values()) > (0.1 if clip == "walking" else 0.001)
    for matrix in after.values():  # bones turn and go, and are not stretched
        np.testing.assert_allclose(matrix[:3, :3].T @ matrix[:3, :3], np.eye(3), atol=1e-4)
    if clip == "walking":
        assert (np.abs(first.astype(int) - second).max(axis=-1) > 40).mean() > 0.005


def test_a_time_looks_the_same_when_it_comes_again(page: Any) -> None:
    before, first = shot(page, "walking", 0.5)
    shot(page, "idle", 1.0)
    after, second = shot(page, "walking", 0.5)
    for name in before:
        np.testing.assert_allclose(before[name], after[name], atol=1e-6)
    assert (first == second).all()


def test_the_avatar_stands_in_the_picture_in_its_colours(page: Any) -> None:
    _, picture = shot(page, "idle", 0.0)
    figure = (picture != (0, 255, 0)).any(axis=-1)
    assert 0.08 < figure.mean() < 0.5
    red = (picture[..., 0].astype(int) > picture[..., 1] + 60) & (picture[..., 0].astype(int) > picture[..., 2] + 60)
    assert red[figure].mean() > 0.15  # ada wears a long red dress
