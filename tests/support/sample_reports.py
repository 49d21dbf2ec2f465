"""Reports of avatars as JSON values, with numbers that tests choose."""

import copy
from typing import Any

from avatar_core.licences import registry

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> {{ 7 * 7 }} --> ]]>"
"""A prompt that tries to become markup, a template and the end of a comment."""


def sample_report(**changes: Any) -> dict[str, Any]:
    """Return a whole report; `changes` are values by path, with two underscores between names."""
    models = registry().models
    report: dict[str, Any] = {
        "schema_version": 6,
        "generator": "avatar-foundry",
        "prompts": {"shape": "a tall man", "appearance": "a man in a red shirt", "motion": "walking"},
        "seed": 3,
        "preset": "draft",
        "keys": {"export": "ab" * 16},
        "stage_scores": {"texturing": {"before": 0.1, "after": 0.3}},
        "final_scores": {"body": 0.3, "face": 0.25, "back": 0.28, "motion": 0.2, "motion_best": 0.22},
        "views": [
            {"prompt": "body", "azimuth_degrees": 0.0, "guide": 0.31, "judge": 0.21},
            {"prompt": "back", "azimuth_degrees": 180.0, "guide": 0.28, "judge": 0.2},
        ],
        "judge": {
            "name": "judge",
            "digest": models["judge"].digests[0],
            "licence": "Apache-2.0",
            "scores": {"body": 0.21, "face": 0.2, "back": 0.2, "motion": 0.1, "motion_best": 0.12},
        },
        "timings_s": {"coarse_shape": 0.5, "texturing": 60.0, "export.preview": 4.0, "export.scores": 1.0},
        "costs": {"texturing": {"seconds": 60.0, "peak_mb": 900.0, "device": "NVIDIA H100"}},
        "body": {"height": 0.5},
        "outfit": {"worn": {"top": "red shirt"}},
        "texturing": {"steps": 100, "final_loss": 1.1, "events": [], "curves": "learning.png", "film": "f.mp4"},
        "mesh": {
            "vertices": 18000, "faces": 36000, "components": 1, "watertight": True, "self_intersecting": 36,
            "volume_l": 70.0, "height_m": 1.8, "bounds_m": [[0, 0, 0], [1, 1.8, 1]],
        },
        "texture": {
            "size": 2048, "seam_length_m": 20.0, "seam_difference": 0.004, "normal_map_size": 1024,
            "normal_map_degrees": 4.0, "refinement": None,
        },
        "skin": {"bones": 66, "max_influences": 4, "worst_stretch": 2.0, "stretch_p999": 1.5},
        "motion": {
            "frames": 60, "fps": 30, "authored": False, "translation_scale": 1.0, "foot_skate_mm": 1.0,
            "limb_direction_error_degrees": 0.5, "ground_penetration_m": 0.0, "mean_clearance_m": 0.01,
            "contact_fraction": 0.9, "self_penetration_m": 0.02, "joint_limit_violations": 0.0, "jerk_m_s3": 50.0,
            "seed_diversity_m": 0.05, "frame_scores": [0.2],
        },
        "versions": {"python": "3.11"},
        "weights": {
            "body": {"name": "anny", "digest": models["anny_compact"].digests[0], "licence": "CC0-1.0"},
            "encoder": {"name": "bodyclip", "digest": models["bodyclip"].digests[0], "licence": "Apache-2.0"},
            "motion_vae": {"name": "motion_vae", "digest": models["motion_vae"].digests[0], "licence": "Apache-2.0"},
        },
    }  # fmt: skip
    for path, value in changes.items():
        *names, last = path.split("__")
        inner = report
        for name in names:
            inner = inner[name]
        inner[last] = value
    return copy.deepcopy(report)
