"""The keys of AvatarGen/AppearanceGen's files, as its code reads them, and what becomes of each."""

from __future__ import annotations

import math

from avatar_core.avatarclip.rules import Entry, Fate, Outcome, Rule, always, ignored, number, whole

REFERENCE_STOP = 30_010
"""Iteration at which the reference's loop ends, whatever its file says."""
FACE_SHARE = 0.25
"""The reference's every fourth view."""
LONGEST_EDGE = 256
"""Of the reference's views, pixels."""

_RATES = [f"texturing.rates.{name}" for name in ("color_table", "geometry_table", "heads", "palette", "sharpness")]
_PROMPT = "part of the catalog's row; the words around it are added here"
_LOG = "the report, its learning curves and film show how texturing went (texturing.film)"
_FROM_BODY = "the body's own distance is exact from the start; no view of it is learned"

GENERAL: dict[str, Rule] = {
    "general.base_exp_dir": lambda entry: Outcome(Fate.MAPPED, reason="its last part names the catalog's row"),
    "general.recording": ignored("a result's lineage holds versions and digests instead of copied sources"),
    "general.smpl_model_path": ignored("a body is added once with `avatars models add PATH`, then `--body smpl`"),
    "general.pose_type": ignored("texturing takes place in the body's own rest pose"),
    "dataset.data_dir": ignored(_FROM_BODY),
    "dataset.template_obj": ignored("the body comes from the row's shape prompt, or is brought with --body"),
    "train.seed": whole("seed", low=0, high=2**31 - 1),
}
"""Keys of every such file."""


def _end_iter(entry: Entry) -> Outcome:
    steps = entry.whole(1, 10_000_000)
    if steps <= REFERENCE_STOP:
        return Outcome(Fate.MAPPED, {"texturing.steps": steps})
    reason = (
        f"taken at its word; AvatarCLIP stops at {REFERENCE_STOP:,} without saying so: for its published results set "
        "texturing.steps to 30000"
    )
    return Outcome(Fate.CORRECTED, {"texturing.steps": steps}, reason)


def _clip_weight(entry: Entry) -> Outcome:
    weight = entry.number(0, 1_000)
    clay = weight if entry.other("train.add_no_texture").switch() else 0.0
    return Outcome(Fate.MAPPED, {"texturing.losses.lit": weight, "texturing.losses.clay": clay})


def _no_texture(entry: Entry) -> Outcome:
    seen = entry.switch()
    settings = {} if seen else {"texturing.losses.clay": 0.0}
    return Outcome(Fate.MAPPED, settings, "texture-less views count as much as lit ones" if seen else "")


def _face_prompt(entry: Entry) -> Outcome:
    return Outcome(Fate.MAPPED, {"texturing.views.face_share": FACE_SHARE if entry.switch() else 0.0})


def _rays(entry: Entry) -> Outcome:
    edge = min(LONGEST_EDGE, max(16, round(math.sqrt(3 * entry.whole(1, 1_000_000)))))
    reason = "the edge of a view of which the avatar takes a third"
    return Outcome(Fate.MAPPED, {"texturing.resolutions": [edge]}, reason)


TRAIN: dict[str, Rule] = {
    "train.learning_rate": number(*_RATES, high=1.0),
    "train.learning_rate_alpha": number("texturing.final_rate", high=1.0),
    "train.warm_up_end": lambda entry: Outcome(
        Fate.MAPPED, {"texturing.warmup_steps": max(1, entry.whole(0, 10_000_000))}
    ),
    "train.end_iter": _end_iter,
    "train.batch_size": ignored("a step renders whole views, as the reference's does under CLIP"),
    "train.max_ray_num": _rays,
    "train.validate_resolution_level": ignored(_LOG),
    "train.val_freq": ignored(_LOG),
    "train.val_mesh_freq": ignored(_LOG),
    "train.report_freq": ignored(_LOG),
    "train.save_freq": whole("texturing.checkpoint_every"),
    "train.anneal_end": always(0, "opacities come from the distances at the ends of each sample, without annealing"),
    "train.use_white_bkgd": ignored("the reference's loop under CLIP never reads it; backgrounds vary"),
    "train.igr_weight": number("texturing.losses.eikonal"),
    "train.mask_weight": number(
        "texturing.losses.mask",
        fate=Fate.CORRECTED,
        reason="counts holes in the body alone; AvatarCLIP's cross-entropy with the template's mask also punishes "
        "hats, hair and capes",
    ),
    "train.clip_weight": _clip_weight,
    "train.pretrain": ignored(_FROM_BODY),
    "train.add_no_texture": _no_texture,
    "train.texture_cast_light": always(True, "textured views are always lit"),
    "train.use_face_prompt": _face_prompt,
    "train.use_back_prompt": always(True, "views from behind are always compared with the prompt of the back"),
    "train.use_bg_aug": always(True, "backgrounds are white, noise, a blurred chessboard or black, a quarter each"),
    "train.use_silhouettes": always(True, "rays are cast in a shell about the body alone"),
    "train.head_height": ignored("the head is found on the body itself"),
}
"""Keys of files that have prompts."""

TRAIN_DEFAULTS = {
    "train.clip_weight": 1.0,
    "train.add_no_texture": False,
    "train.texture_cast_light": False,
    "train.use_face_prompt": False,
    "train.use_back_prompt": False,
    "train.use_bg_aug": True,
}
"""What the reference takes where its file is silent (and a weight where it would fail)."""

PROMPTS: dict[str, Rule] = {
    "clip.prompt": lambda entry: Outcome(Fate.MAPPED, reason=_PROMPT),
    "clip.face_prompt": lambda entry: Outcome(Fate.IGNORED, reason="made of the row's appearance here"),
    "clip.back_prompt": lambda entry: Outcome(Fate.IGNORED, reason="made of the row's appearance here"),
}

BASE_MODEL = ignored("rendering the body to learn it, 300,000 iterations, is not needed: " + _FROM_BODY)
"""Of every key under `train` in a file without prompts."""

ALWAYS_CORRECTED: dict[str, str] = {
    "(resume)": "random state is kept: AvatarCLIP goes on with other numbers than a run that was not interrupted",
}
"""Traps of the reference's code that have no key."""
