import math
from pathlib import Path

import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
import pytest
import torch
import trimesh
from PIL import Image, ImageDraw, ImageFont

from avatar_core.errors import AvatarError
from avatar_core.export.media import MediaConfig, follow, head_points, write_motion, write_preview, write_turntable
from avatar_core.export.mesh import extract_mesh, vertex_normals
from avatar_core.export.sheet import Panel, compose_sheet, fit_text
from avatar_core.export.studio import (
    LightProbes,
    arriving_light,
    backdrop,
    floor_shade,
    framing_distance,
    gathered_light,
    place_probes,
    sphere_directions,
)
from avatar_core.export.video import write_video
from avatar_core.rendering.cameras import orbit_cameras
from avatar_core.rendering.rasterizer import MeshRays
from avatar_core.rigging.retarget import RiggedClip
from avatar_core.rigging.skinning import strongest

SMALL = MediaConfig(
    panel_height=96,
    panel_width=64,
    supersample=1,
    key_frames=3,
    video_height=96,
    video_width=64,
    turntable_frames=4,
    light_samples=16,
    video_light_samples=8,
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def man(capsule_man):
    return extract_mesh(capsule_man, voxel=0.02, faces=2000, texture_size=256)


@pytest.fixture(scope="module")
def walker(man):
    """A skin and a clip in which the whole man is moved one metre to the side, and turned."""
    weights = np.zeros((len(man.vertices), 22))
    weights[:, 0] = 1
    weights[man.vertices[:, 1] > 1.5, 15] = 3
    skin = strongest(weights / weights.sum(1, keepdims=True))
    frames = 6
    transforms = np.tile(np.eye(4, dtype=np.float32), (frames, 22, 1, 1))
    transforms[:, :, 0, 3] = np.linspace(0, 1, frames)[:, None]
    rotations = np.tile(np.array([0, 0, 0, 1], np.float32), (frames, 22, 1))
    root = np.array([0, 0.95, 0], np.float32) + transforms[:, 0, :3, 3]
    return skin, RiggedClip(transforms, rotations, root, 30, 1.0, 0.0)


def red(image: np.ndarray) -> float:
    """Part of the picture that is distinctly red, as only the man's shirt is."""
    image = image.astype(int)
    return float(((image[..., 0] > image[..., 1] + 60) & (image[..., 0] > image[..., 2] + 60)).mean())


def test_the_preview_shows_the_avatar_with_its_prompts(man, walker, tmp_path):
    path = tmp_path / "preview.png"
    write_preview(path, man, *walker, [("shape", "a man"), ("motion", "moving")], SMALL, CPU)
    image = np.asarray(Image.open(path))
    assert image.shape[1] > 5 * 64
    assert image.shape[0] > 2 * 96
    first = image[20 : 20 + 96, 20 : 20 + 64]
    assert 0.03 < red(first) < 0.4
    assert red(image[20:116, 20 + 3 * 72 : 20 + 3 * 72 + 64]) > 0.03
    write_preview(tmp_path / "again.png", man, *walker, [("shape", "a man"), ("motion", "moving")], SMALL, CPU)
    assert path.read_bytes() == (tmp_path / "again.png").read_bytes()


def test_films_have_their_frames_size_and_rate_and_show_the_avatar(man, walker, tmp_path):
    told = []
    write_turntable(tmp_path / "turn.mp4", man, SMALL, CPU, told.append)
    assert told == [1, 2, 3, 4]
    write_motion(tmp_path / "motion.mp4", man, *walker, SMALL, CPU, told.append)
    for name, frames, rate in (("turn.mp4", 4, SMALL.turntable_fps), ("motion.mp4", 6, 30)):
        facts = imageio_ffmpeg.read_frames(str(tmp_path / name))
        meta = next(facts)
        facts.close()
        assert meta["codec"] == "h264"
        assert meta["pix_fmt"].startswith("yuv420p")
        assert meta["size"] == (64, 96)
        assert meta["fps"] == rate
        film = iio.imread(tmp_path / name, plugin="FFMPEG")
        assert film.shape == (frames, 96, 64, 3)
        assert all(red(frame) > 0.02 for frame in film)


def test_every_size_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "reports.md").read_text(encoding="utf-8")
    for name, field in MediaConfig.model_fields.items():
        (row,) = [line for line in page.splitlines() if line.startswith("|") and f"`{name}`" in line.split("|")[1]]
        assert str(field.default) in row.split("|")[2], name


def test_the_motion_is_an_animated_webp_too_no_larger_than_the_film(man, walker, tmp_path):
    for height, shown in ((48, (32, 48)), (200, (64, 96))):
        config = SMALL.model_copy(update={"webp_height": height, "webp_fps": 15})
        write_motion(tmp_path / "motion.mp4", man, *walker, config, CPU, lambda frame: None)
        image = Image.open(tmp_path / "motion.webp")
        assert (image.size, image.n_frames, image.info["loop"]) == (shown, 3, 0)
        assert red(np.asarray(image.convert("RGB"))) > 0.02


def test_the_camera_follows_the_avatar(man, walker, tmp_path):
    write_motion(tmp_path / "motion.mp4", man, *walker, SMALL, CPU, lambda frame: None)
    film = iio.imread(tmp_path / "motion.mp4", plugin="FFMPEG").astype(int)
    centres = [np.argwhere(frame[..., 0] > frame[..., 1] + 60)[:, 1].mean() for frame in film]
    assert max(centres) - min(centres) < 24
    way = follow(walker[1].root, 30)
    assert (way[:, 1] == 0).all()
    assert way[-1, 0] > way[0, 0]


def test_a_still_camera_man_does_not_move():
    root = np.tile(np.array([0.3, 0.9, -0.2]), (20, 1))
    np.testing.assert_allclose(follow(root, 30), np.tile([0.3, 0, -0.2], (20, 1)), atol=1e-6)


def test_the_head_is_found_whatever_else_the_skeleton_has(man):
    """A finger's bone has a higher number than the head's; a skin without a head shows the whole avatar."""
    top = man.vertices[:, 1] > 1.5
    weights = np.zeros((len(man.vertices), 66))
    weights[~top, 65], weights[top, 15] = 1, 1
    found = head_points(man, strongest(weights), CPU)
    np.testing.assert_array_equal(found.numpy(), man.vertices[top])
    weights[:, :65], weights[:, 65] = 0, 1
    assert len(head_points(man, strongest(weights), CPU)) == len(man.vertices)


def test_an_odd_size_cannot_be_encoded(tmp_path):
    with pytest.raises(ValueError, match="2 by 2"):
        write_video(tmp_path / "odd.mp4", [np.zeros((63, 64, 3), np.uint8)], (63, 64), 30)


def test_a_missing_ffmpeg_is_an_error_with_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "none"))
    with pytest.raises(AvatarError, match="IMAGEIO_FFMPEG_EXE"):
        write_video(tmp_path / "x.mp4", [np.zeros((64, 64, 3), np.uint8)], (64, 64), 30)


def test_equal_frames_give_equal_films(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (5, 64, 64, 3), dtype=np.uint8)
    for name in ("a.mp4", "b.mp4"):
        assert write_video(tmp_path / name, frames, (64, 64), 30) == 5
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_the_frame_holds_every_point_and_no_more_room_than_the_margin(man):
    points = torch.from_numpy(man.vertices)
    target = 0.5 * (points.amin(0) + points.amax(0))
    azimuths, fov, size, margin = torch.tensor([0.0, 0.7, math.pi]), 0.5, (120, 80), 0.1
    distance = framing_distance(points, target, azimuths, 0.2, fov, size, margin)
    cameras = orbit_cameras(azimuths, 0.2, distance, target, fov, size)
    pixels, _ = cameras.project(points)
    free = torch.stack([pixels[..., 0] / 80, 1 - pixels[..., 0] / 80, pixels[..., 1] / 120, 1 - pixels[..., 1] / 120])
    assert float(free.min()) == pytest.approx(margin, abs=0.005)


def test_a_free_surface_that_faces_the_camera_shows_its_albedo():
    camera = orbit_cameras(0.4, 0.1, 3.0, [0.0, 1.0, 0.0], 0.5, 32)
    directions = sphere_directions(400, CPU)
    normal = -camera.axes()[:, 2]
    shown = arriving_light((normal @ directions.T).clamp_min(0), directions, camera)
    torch.testing.assert_close(shown[0], torch.ones(1, 1), atol=0.02, rtol=0)
    behind = arriving_light((-normal @ directions.T).clamp_min(0), directions, camera)
    assert float(behind.max()) < 0.75


def test_surfaces_that_hide_each_other_get_less_light():
    walls = [trimesh.creation.box(extents=(0.05, 0.6, 0.6)).subdivide().subdivide() for _ in range(2)]
    walls[1].apply_translation([0.15, 0, 0])
    both = trimesh.util.concatenate(walls)
    vertices = torch.from_numpy(np.asarray(both.vertices, np.float32))
    normals = torch.from_numpy(vertex_normals(both.vertices, both.faces))
    rays = MeshRays(vertices, torch.from_numpy(np.asarray(both.faces)))
    probes = place_probes(vertices, normals, 0.1)
    assert len(probes.index) < len(vertices)
    light = gathered_light(rays, probes, vertices, normals, sphere_directions(64, CPU)).sum(1)
    middle = vertices[:, 1:].abs().amax(1) < 0.2
    outer, inner = middle & (vertices[:, 0] < -0.02), middle & ((vertices[:, 0] - 0.025).abs() < 0.01)
    assert float(light[inner].mean()) < 0.6 * float(light[outer].mean())


def test_a_probe_that_is_buried_does_not_darken_its_neighbours():
    lid = [[-0.15, 0.02, -0.15], [0.15, 0.02, -0.15], [0.15, 0.02, 0.15], [-0.15, 0.02, 0.15]]
    vertices = torch.tensor([[0.0, 0.0, 0.0], [0.3, 0.0, 0.0], [0.2, 0.0, 0.0], *lid])
    rays = MeshRays(vertices, torch.tensor([[3, 5, 4], [3, 6, 5]]))
    normals = torch.tensor([0.0, 1.0, 0.0]).expand(len(vertices), 3)
    nearest, weights = torch.tensor([[0, 1]]).expand(len(vertices), 2), torch.tensor([[0.7, 0.3]])
    probes = LightProbes(torch.tensor([0, 1]), nearest, weights.expand(len(vertices), 2))
    directions = sphere_directions(200, torch.device("cpu"))
    light = gathered_light(rays, probes, vertices, normals, directions)
    open_sky = (normals @ directions.T).clamp_min(0)
    assert light[2].sum() > 0.8 * open_sky[2].sum()


def test_the_floor_is_dark_under_the_avatar_and_free_far_from_it(man):
    vertices = torch.from_numpy(man.vertices)
    rays = MeshRays(vertices, torch.from_numpy(man.faces.astype(np.int64)))
    camera = orbit_cameras(0.0, 0.2, 5.0, [0.0, 0.9, 0.0], 0.5, (60, 40))
    shade = floor_shade(rays, camera, center=torch.zeros(2), level=0.0, half=2.0, cells=40, samples=32)
    assert float(shade.light[19:21, 18:22].mean()) < 0.75 * float(shade.light[:2].mean())
    assert float(shade.light[:2].mean()) > 0.9
    image = backdrop(camera, shade, lines=False)
    assert image.shape == (1, 3, 60, 40)
    assert float(image.min()) > 0
    assert float(image.max()) < 1


def test_long_captions_end_in_an_ellipsis_and_fit():
    draw, font = ImageDraw.Draw(Image.new("RGB", (8, 8))), ImageFont.load_default(size=14)
    assert fit_text(draw, "a  short\nprompt", font, 500) == "a short prompt"
    cut = fit_text(draw, "a very long prompt " * 30, font, 200)
    assert cut.endswith("…")
    assert 120 < draw.textlength(cut, font=font) <= 200


def test_a_sheet_holds_its_pictures_unchanged():
    blue = np.full((40, 30, 3), (0, 0, 255), np.uint8)
    sheet = np.asarray(compose_sheet([[Panel(blue, "one"), Panel(blue, "two")]], [("a", "b")], text_size=12))
    assert int((sheet == (0, 0, 255)).all(-1).sum()) == 2 * 40 * 30
