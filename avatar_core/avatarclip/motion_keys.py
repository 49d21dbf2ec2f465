"""The keys of AvatarAnimate's files, as its code reads them, and what becomes of each."""

from __future__ import annotations

from avatar_core.avatarclip.rules import Entry, Fate, Outcome, Rule, always, ignored, number, whole

POSE_METHODS = {
    "VPoserCodebook": "codebook",
    "PoseOptimizer": "pose_optimizer",
    "VPoserOptimizer": "latent_optimizer",
    "VPoserRealNVP": "realnvp",
}
MOTION_METHODS = {"MotionInterpolation": "interpolation", "MotionOptimizer": "full"}
ANGLE_OF_COMPONENT = 0.15 / 0.07
"""Mean angle between the local rotations of poses per mean absolute difference of axis-angle components."""
_POSE, _MOTION = "pose_generator", "motion_generator"
_WEIGHTS = "this project's priors, or your own weights in their place"
_FIXED = "as the weights of the prior have it"
_ADAM = "steps are Adam's"


def _method(entry: Entry) -> str:
    return entry.other(f"{_POSE}.type").choice(POSE_METHODS)


def _optimiser(setting: str, low: float, high: float) -> Rule:
    """A setting of the two methods that optimise."""

    def rule(entry: Entry) -> Outcome:
        method = _method(entry)
        if not method.endswith("optimizer"):
            return Outcome(Fate.IGNORED, reason=f"the method {method} optimises nothing")
        value = entry.whole(int(low), int(high)) if setting == "steps" else entry.number(low, high)
        return Outcome(Fate.MAPPED, {f"candidate_poses.{method}.{setting}": value})

    return rule


def _pose_type(entry: Entry) -> Outcome:
    return Outcome(Fate.MAPPED, {"candidate_poses.method": entry.choice(POSE_METHODS)})


def _topk(entry: Entry) -> Outcome:
    count, method = entry.whole(1, 1_000), _method(entry)
    settings = {"candidate_poses.count": count}
    if method.endswith("optimizer"):
        settings |= {f"candidate_poses.{method}.{name}": count for name in ("draws", "starts")}
    return Outcome(Fate.MAPPED, settings)


def _threshold(entry: Entry) -> Outcome:
    angle = round(entry.number(0, 3) * ANGLE_OF_COMPONENT, 4)
    reason = "the mean angle that goes with that mean difference of components"
    return Outcome(Fate.MAPPED, {"candidate_poses.least_angle": angle}, reason)


def _draws(entry: Entry) -> Outcome:
    per, times, kept = (entry.other(f"{_POSE}.{name}") for name in ("num_sample", "num_batch", "topk"))
    draws = per.whole(1, 10_000) * times.whole(1, 10_000) * kept.whole(1, 1_000)
    reason = "samples a batch, batches and poses kept, multiplied: all are ranked together"
    return Outcome(Fate.MAPPED, {"candidate_poses.realnvp.draws": min(draws, 100_000)}, reason)


def _motion_type(entry: Entry) -> Outcome:
    method = entry.choice(MOTION_METHODS)
    weights = (entry.other(f"{_MOTION}.{name}").number(0, 1_000) for name in ("clip_coef", "delta_coef"))
    if method == "full" and not any(weights):
        return Outcome(Fate.MAPPED, {"motion.method": "baseline"}, "neither movement nor the prompt has a weight")
    return Outcome(Fate.MAPPED, {"motion.method": method})


def _frames(entry: Entry) -> Outcome:
    return Outcome(Fate.MAPPED, {"motion.frames": entry.whole(30, 1_800)})


def _recon(entry: Entry) -> Outcome:
    weights = entry.value
    if not isinstance(weights, list) or not weights:
        raise entry.wrong("a list of numbers")
    first = Entry(entry.source, entry.key, weights[0], entry.conf).number(0, 1_000)
    falling = [round(1.0 - 0.8 * place / max(1, len(weights) - 1), 6) for place in range(len(weights))]
    same = first > 0 and all(
        isinstance(one, (int, float)) and abs(one / first - share) < 1e-6 for one, share in zip(weights, falling)
    )
    reason = "" if same else "only the first: weights fall evenly from it to a fifth of it, best pose first"
    return Outcome(Fate.MAPPED, {"motion.pose_weight": first}, reason)


def _clip_frames(entry: Entry) -> Outcome:
    frames = entry.other(f"{_MOTION}.num_frame").whole(1, 1_800)
    count = max(1, round(frames / entry.whole(1, 1_800)))
    return Outcome(Fate.MAPPED, {"motion.clip_frames": count}, "one frame of each such stretch")


RULES: dict[str, Rule] = {
    "general.base_exp_dir": lambda entry: Outcome(Fate.MAPPED, reason="its last part names the catalog's row"),
    "general.mode": always("motion", "a motion is made, and the candidate poses are among the artifacts"),
    "general.text": lambda entry: Outcome(Fate.MAPPED, reason="the motion of the catalog's row"),
    f"{_POSE}.type": _pose_type,
    f"{_POSE}.topk": _topk,
    f"{_POSE}.smpl_path": ignored("a body is added once with `avatars models add PATH`, then `--body smpl`"),
    f"{_POSE}.vposer_path": ignored(_WEIGHTS),
    f"{_POSE}.codebook_path": ignored(_WEIGHTS),
    f"{_POSE}.ckpt_path": ignored(_WEIGHTS),
    f"{_POSE}.pre_topk": whole("candidate_poses.codebook.top", high=100_000),
    f"{_POSE}.filter_threshold": _threshold,
    f"{_POSE}.optim_name": always("Adam", _ADAM),
    f"{_POSE}.optim_cfg.lr": _optimiser("learning_rate", 1e-6, 10.0),
    f"{_POSE}.num_iteration": _optimiser("steps", 0, 1_000_000),
    f"{_POSE}.num_sample": _draws,
    f"{_POSE}.num_batch": _draws,
    f"{_POSE}.dim": ignored(_FIXED),
    f"{_POSE}.hdim": ignored(_FIXED),
    f"{_POSE}.num_block": ignored(_FIXED),
    f"{_MOTION}.type": _motion_type,
    f"{_MOTION}.num_frame": _frames,
    f"{_MOTION}.smpl_path": ignored("a body is added once with `avatars models add PATH`, then `--body smpl`"),
    f"{_MOTION}.vposer_path": ignored(_WEIGHTS),
    f"{_MOTION}.ckpt_path": ignored(_WEIGHTS),
    f"{_MOTION}.anchor_position": ignored("the way from pose to pose takes the time that its length calls for"),
    f"{_MOTION}.latent_dim": ignored(_FIXED),
    f"{_MOTION}.num_layers": ignored(_FIXED),
    f"{_MOTION}.num_heads": ignored(_FIXED),
    f"{_MOTION}.optim_name": always("Adam", _ADAM),
    f"{_MOTION}.optim_cfg.lr": number("motion.learning_rate", low=1e-6, high=10.0),
    f"{_MOTION}.num_iteration": whole("motion.steps", low=0),
    f"{_MOTION}.recon_coef": _recon,
    f"{_MOTION}.clip_coef": number("motion.clip_weight"),
    f"{_MOTION}.delta_coef": number("motion.movement_weight"),
    f"{_MOTION}.clip_num_part": _clip_frames,
}

DEFAULTS = {
    f"{_POSE}.topk": 5,
    f"{_POSE}.num_sample": 10,
    f"{_POSE}.num_batch": 50,
    f"{_MOTION}.num_frame": 60,
    f"{_MOTION}.clip_coef": 0.001,
    f"{_MOTION}.delta_coef": 0.01,
}
"""What the reference takes where its file is silent and another key's meaning depends on it."""

ALWAYS_CORRECTED: dict[str, str] = {
    "(resize before CLIP)": "antialiased; AvatarCLIP takes the nearest pixels",
    "(seed)": "every draw follows from the row's seed; AvatarCLIP's poses and motions have none",
}
"""Traps of the reference's code that have no key."""
