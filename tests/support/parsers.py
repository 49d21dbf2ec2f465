"""Everything that reads what comes from outside, each with small valid inputs to damage."""

from __future__ import annotations

import asyncio
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from avatarclip_confs import CONFS
from gallery_library import REPORT, fill
from motion_files import RIGS, bvh_text, known_motion, write_amass
from scipy.sparse import csc_matrix
from synthetic_smpl import _Ch, fake_chumpy

from avatar_core.avatarclip import import_conf
from avatar_core.bodies import load_body
from avatar_core.bodies.smpl_files import ModelFile
from avatar_core.bodies.smpl_format import read_model
from avatar_core.bodies.smpl_pickle import as_array, read_pickle
from avatar_core.catalog import read_catalog
from avatar_core.config import load_preset
from avatar_core.export.finished import parse_finished
from avatar_core.export.glb import build_glb
from avatar_core.export.mesh import TriangleMesh
from avatar_core.export.recorded_motion import avatar_motion, read_motion
from avatar_core.export.skeleton import Skeleton
from avatar_core.export.texels import Charts
from avatar_core.export.texture import Texture
from avatar_core.export.view_features import EncoderFeatures, ViewFeatures
from avatar_core.manifest import read_states
from avatar_core.perception.prompts import (
    appearance_prompts,
    motion_prompt,
    names_clothes_only,
    sex_word,
    shape_prompt,
    split_actions,
)
from avatar_core.perception.transformers_encoder import load_folder
from avatar_core.pictures import PictureError, open_png
from avatar_core.priors.action_scripts import parse_actions
from avatar_core.priors.authored_motion import draw_clip
from avatar_core.priors.captured_motion import make_clips
from avatar_core.priors.checkpoint_tensors import checked, read_checkpoint, state_dict_of
from avatar_core.priors.import_captions import read_captions
from avatar_core.reports.avatar_page import avatar_page
from avatar_core.rigging.clip import Clip
from avatar_core.rigging.skinning import Skin
from avatar_core.stages.coarse_shape import CoarseShape
from avatar_core.stages.color_words import colors_told
from avatar_core.stages.wearable_words import mentions, named_in
from avatar_core.storage import open_location
from avatar_core.storage.checkpoints import CheckpointStore
from avatar_core.storage.refs import Marker
from flows.animating import file_stem
from flows.delivery import delivered_uri
from flows.gallery.access import Access
from flows.gallery.app import create_app
from flows.gallery.facts import read_facts
from flows.outcome import Outcome
from flows.run_plan import read_run, run_folder

Read = Callable[[bytes], Any]


@dataclass(frozen=True)
class Parser:
    """One entrance: what it reads, and how."""

    name: str
    samples: Sequence[bytes]
    read: Read
    share: float = 1.0
    """Of the inputs that another parser gets: slow ones get fewer."""


def parsers(root: Path) -> dict[str, Parser]:
    """Return all of them by name; they write under the folder `root` only."""
    root.mkdir(parents=True, exist_ok=True)
    found = [
        *_texts(root), *_motions(root), *_models(root), *_stored(root), _glb(root), *_encoders(root), *_gallery(root),
    ]  # fmt: skip
    return {one.name: one for one in found}


def _file(path: Path, read: Callable[[Path], Any]) -> Read:
    """Reads bytes by way of a file."""

    def through(content: bytes) -> Any:
        path.write_bytes(content)
        return read(path)

    path.parent.mkdir(parents=True, exist_ok=True)
    return through


def _text(read: Callable[[str], Any]) -> Read:
    return lambda content: read(content.decode("utf-8", "replace"))


CATALOG = (
    b'id,shape,appearance,motion,seed,tags,note\nann,a tall man,"a red shirt, jeans",walking,7,a;b,=1+1\n,x,y,z,,,\n'
)
PRESET = b"extends: draft\nseed: 3\ntexturing:\n  steps: 20\n  plateau: { patience: 5 }\nexport:\n  normal_map: false\n"
ACTIONS = b"""hand waving:
  captions: [waving a hand, greeting somebody]
  cycle: 1.2
  base: { spine: { bend: 2 } }
  keys:
    - { time: 0, left_elbow: { flexion: [40, 60] } }
    - { time: 0.6, ease: linear, lift: 1, right_hand: { from: chest, at: [20, 5, 30], fingers: up, palm: forward } }
"""
CAPTIONS = b"file,label,captions\nwalk_01.bvh,walk,a person walks|somebody strolls\nb.npz,,-1+1\n"


def _texts(root: Path) -> list[Parser]:
    def catalog(content: bytes) -> None:
        for row in read_catalog(io.BytesIO(content)):
            if hasattr(row, "shape"):
                delivered_uri(row.id)

    def words(text: str) -> None:
        for read in (
            appearance_prompts, motion_prompt, names_clothes_only, sex_word, shape_prompt, split_actions, colors_told,
            named_in, mentions, file_stem,
        ):  # fmt: skip
            read(text[:300])  # catalogs refuse longer ones

    def authored(text: str) -> None:
        for action in parse_actions(text, "actions.yaml"):
            draw_clip(action, np.random.default_rng(0))

    def identity(text: str) -> None:
        place = Path("/library", delivered_uri(text))
        assert place.resolve(strict=False).parent == Path("/library/avatars")

    prompts = [
        b"a man in a red shirt without a hat",
        b"a woman, a wide red skirt and black boots",
        b"walking, then waving",
    ]
    urls = [
        b"s3://bucket/people",
        b"library",
        b"~/x",
        b"memory://a/b",
        b"simplecache::memory://x",
        b"zip://a::file:///b",
    ]
    confs = [CONFS[kind].encode() for kind in ("examples_small/gardener", "motion/base")]
    return [
        Parser("catalog", [CATALOG], catalog),
        Parser("preset", [PRESET], _file(root / "preset/mine.yaml", load_preset)),
        Parser("authored actions", [ACTIONS], _text(authored)),
        Parser("AvatarCLIP configuration", confs, _file(root / "avatarclip.conf", import_conf), 0.3),
        Parser("captions", [CAPTIONS], _file(root / "captions.csv", read_captions)),
        Parser("prompts", prompts, _text(words)),
        Parser("avatar ids", [b"red-shirt-walker", b"ann.1", b"..%2fann"], _text(identity)),
        Parser("library URLs", urls, _text(open_location)),
    ]


def _npy(values: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def _zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def _motions(root: Path) -> list[Parser]:
    rotations, pelvis = known_motion(30.0, 1.0)
    bvhs = [bvh_text(RIGS[name], rotations, pelvis, 30.0).encode() for name in ("mixamo-centimetres", "rokoko")]
    amass = write_amass(root / "walk.npz", fps=30)
    with zipfile.ZipFile(amass) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    def motion(path: Path) -> None:
        make_clips(path, read_motion(path), 30, 10)

    read = _file(root / "motion.npz", motion)

    def array(content: bytes) -> None:
        read(_zipped(members | {"poses.npy": content}))

    return [
        Parser("BVH", bvhs, _file(root / "motion.bvh", motion), 0.6),
        Parser("AMASS npz", [amass.read_bytes()], read),
        Parser("array of an npz", [_npy(np.zeros((4, 70))), members["poses.npy"]], array),
    ]


def _models(root: Path) -> list[Parser]:
    arrays = {"a": np.eye(3), "b": csc_matrix(np.eye(3)), "c": np.uint32([4294967295, 0])}
    samples = [pickle.dumps(arrays, protocol=protocol, fix_imports=True) for protocol in range(5)]
    with fake_chumpy():
        samples += [pickle.dumps(arrays | {"d": _Ch(np.eye(2))}, protocol=protocol) for protocol in (0, 2)]

    def pickled(content: bytes) -> None:
        for value in read_pickle(content, "x.pkl").values():
            try:
                as_array(value)
            except ValueError:
                continue  # documented, and what the reader of models turns into its own error

    def model(content: bytes) -> None:
        read_model(content, "x.npz")

    names = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
    small = {f"{name}.npy": _npy(np.ones((24, 3), np.float32)) for name in names}
    whole = io.BytesIO()
    torch.save({"state_dict": {"vp_model.net.weight": torch.eye(3)}, "epoch": np.float64(2)}, whole)

    def prior(content: bytes) -> None:
        found = state_dict_of(read_checkpoint(ModelFile("x.ckpt", lambda: content)))
        checked("x.ckpt", "VPoser", found, {"vp_model.net.weight": (3, 3)})

    return [
        Parser("SMPL pickle", samples, pickled, 2.0),
        Parser("SMPL npz", [_zipped(small)], model),
        Parser("prior checkpoint", [whole.getvalue()], prior, 0.5),
    ]


def _stored(root: Path) -> list[Parser]:
    report = json.dumps(REPORT).encode()
    features = ViewFeatures(("body",), None, {"guide": EncoderFeatures("b", "0" * 64, torch.eye(1, 4))}).to_bytes()
    marker = {"format": 1, "stage": "export", "key": "0" * 16, "sha256": "0" * 64, "prefix": "", "meta": {},
              "files": [{"path": "a/b", "bytes": 3, "sha256": "0" * 64}]}  # fmt: skip
    checkpoints = open_location(root / "checkpoints")
    CheckpointStore(checkpoints).save({"x": torch.eye(2), "steps": [1, (2.0, None)]}, 3)
    (kept,) = checkpoints.files()
    saved = checkpoints.read(kept)
    library = str(root / "run library")
    plan = {"format": 1, "run_id": "run-1", "catalog": "c", "options": {}, "recipes": [], "shards": [1], "counts": {}}

    def checkpoint(content: bytes) -> None:
        checkpoints.write(kept, content)
        CheckpointStore(checkpoints).load()

    def run(content: bytes) -> None:
        run_folder(library, "run-1").write("plan.json", content)
        read_run(library, "run-1")

    def page(content: bytes) -> None:
        text = avatar_page("ann", content, {"report.json": len(content)})
        assert "<script>" not in text

    def shape(path: Path) -> None:
        CoarseShape.load(path.parent)

    folder = root / "shape"
    folder.mkdir()
    CoarseShape(torch.zeros(3), 0.1, 0.0, (1,), (0.1,)).save(folder)
    manifest = root / "manifest library"
    fill(str(manifest), manifest)
    (part,) = (manifest / "manifest").rglob("*.parquet")

    def states(_: Path) -> None:
        read_states(str(manifest)).to_pylist()

    def picture(content: bytes) -> None:
        try:
            open_png(content)
        except PictureError:
            return  # documented; each caller tells it in its own words

    preview = (manifest / "avatars/ada/preview.png").read_bytes()
    return [
        Parser("report facts", [report], read_facts),
        Parser("report page", [report], page, 0.3),
        Parser("view features", [features], ViewFeatures.from_bytes),
        Parser("artifact marker", [json.dumps(marker).encode()], Marker.decode),
        Parser("checkpoint", [saved], checkpoint, 0.5),
        Parser("run plan", [json.dumps(plan).encode()], run, 0.5),
        Parser("shard outcome", [Outcome(done=2).encode()], Outcome.decode),
        *(
            Parser(f"stage {kind}", [whole], _restored(path, whole, shape))
            for kind, path in (("facts", folder / "shape.json"), ("tensors", folder / "shape.safetensors"))
            for whole in [path.read_bytes()]
        ),
        Parser("manifest part", [part.read_bytes()], _file(part, states)),
        Parser("preview", [preview], picture, 0.5),
    ]


def small_glb() -> bytes:
    """A triangle on the bones of the embedded body, which stands for a second."""
    body = load_body()
    skeleton = Skeleton.of(body.rig(body.shape(body.neutral_shape)))
    vertices, faces = np.float32([[0, 0, 0], [1, 0, 0], [0, 1.7, 0]]), np.int32([[0, 1, 2]])
    charts = Charts(np.float32([[0, 0], [1, 0], [0, 1]]), faces, np.arange(3, dtype=np.int32))
    texture = Texture(charts, np.zeros((4, 4, 3), np.uint8))
    mesh = TriangleMesh(vertices, faces, np.float32([[0, 0, 1]] * 3), np.zeros((3, 3), np.float32), texture)
    skin = Skin(np.zeros((3, 4), np.uint8), np.float32([[1, 0, 0, 0]] * 3))
    turns = np.tile(np.float32([0, 0, 0, 1]), (30, len(skeleton.heads), 1))
    root = np.tile(skeleton.heads[:1].astype(np.float32), (30, 1))
    clip = Clip(skeleton.transforms(turns, root).astype(np.float32), turns, root, 30)
    return build_glb(mesh, skin, skeleton, {"standing": clip})


def _glb(root: Path) -> Parser:
    content = small_glb()
    (length,) = struct.unpack("<I", content[12:16])
    document, binary = content[20 : 20 + length], content[20 + length :]

    def read(changed: bytes) -> None:
        padded = changed + b" " * (-len(changed) % 4)
        size = 20 + len(padded) + len(binary)
        head = struct.pack("<4sIII4s", b"glTF", 2, size, len(padded), b"JSON")
        avatar = parse_finished(head + padded + binary, name="ada", source="ada.glb")
        make_clips("ada.glb", avatar_motion(avatar, "ada.glb"), 30, 10)

    return Parser("GLB", [document], read, 0.25)


def _encoders(root: Path) -> list[Parser]:
    from avatar_core.training.bodyclip_export import export_bodyclip
    from avatar_core.training.bodyclip_model import BodyClipConfig, build_bodyclip
    from avatar_core.training.bodyclip_tokenizer import build_tokenizer

    tokenizer = build_tokenizer([chr(code) for code in range(33, 127)], 12)
    config = BodyClipConfig(
        image_size=32, patch_size=16, vision_width=32, vision_layers=1, text_width=32, text_layers=1, context=12,
        projection=16,
    )  # fmt: skip
    folder = root / "encoder"
    model = build_bodyclip(config, torch.zeros(len(tokenizer), 32), seed=0)
    export_bodyclip(model, model.state_dict(), tokenizer, folder)

    def load(path: Path) -> None:
        load_folder(folder, "mine", "cpu", torch.float32)

    made = []
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        whole = (folder / name).read_bytes()
        made.append(Parser(f"encoder {name}", [whole], _restored(folder / name, whole, load), 0.1))
    return made


def _restored(path: Path, whole: bytes, read: Callable[[Path], Any]) -> Read:
    """Reads damaged bytes in the place of a file that others need whole afterwards."""

    def through(content: bytes) -> Any:
        path.write_bytes(content)
        try:
            return read(path)
        finally:
            path.write_bytes(whole)

    return through


def _gallery(root: Path) -> list[Parser]:
    library = root / "shown"
    fill(str(library), library)
    app = create_app(str(library), Access("127.0.0.1", 8765, "a-token-of-some-length"), root / "gallery cache")

    def ask(method: str, path: str, query: bytes, headers: dict[str, bytes], body: bytes = b"") -> None:
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path, "raw_path": path.encode("utf-8", "replace"), "query_string": query, "root_path": "",
            "headers": [(name.encode(), value) for name, value in ({"host": b"127.0.0.1:8765"} | headers).items()],
            "server": ("127.0.0.1", 8765), "client": ("127.0.0.1", 1),
        }  # fmt: skip
        sent: list[dict] = []

        left = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict:
            return left.pop() if left else {"type": "http.disconnect"}

        async def send(message: dict) -> None:
            sent.append(message)

        asyncio.run(app(scope, receive, send))
        status = sent[0]["status"]
        assert status < 500, f"{method} {path} {query!r}: {status}"
        assert b"root:x:0" not in b"".join(message.get("body", b"") for message in sent)

    bearer = {"authorization": b"Bearer a-token-of-some-length"}
    return [
        Parser(
            "gallery paths",
            [b"/avatars/ada", b"/media/ada/preview.png", b"/thumbnails/eve", b"/static/gallery.js", b"/media/../../x"],
            _text(lambda text: ask("GET", "/" + text.lstrip("/"), b"", {})), 0.4,
        ),
        Parser(
            "gallery queries", [b"q=red+%22a+man%22&state=done&least=0.1&most=1&sort=score&page=1", b"token=x&tag=a"],
            lambda content: ask("GET", "/", content, {}), 0.4,
        ),
        Parser(
            "gallery forms", [b"status=approved&key=key-of-ada&next=/avatars/ada", b"token=x&next=//evil.example/"],
            lambda content: (ask("POST", "/avatars/ada/review", b"", bearer, content),
                             ask("POST", "/sign-in", b"", bearer, content)), 0.2,
        ),
        Parser(
            "gallery headers", [b"http://127.0.0.1:8765", b"avatars-gallery-8765=x; a=b", b"bytes=0-4,2-8,-1"],
            lambda content: ask("GET", "/media/ada/turntable.mp4", b"", {
                "origin": content, "cookie": content, "range": content, "host": b"127.0.0.1:8765"}), 0.4,
        ),
    ]  # fmt: skip
