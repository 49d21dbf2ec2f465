"""Configuration files of the kinds that AvatarCLIP has, written here from the keys that its code reads."""

NETWORKS = {
    "full": {"width": 256, "sdf": 4, "color": 2},
    "small": {"width": 128, "sdf": 3, "color": 1},
}


def section(name: str, **values: object) -> str:
    """One section of a file."""
    return "\n".join([f"{name} {{", *(f"    {key} = {value}" for key, value in values.items()), "}", ""])


def model(size: str, *, texture: bool) -> str:
    """The networks and the sampling, with the texture's head or without."""
    networks = NETWORKS[size]
    head = {"extra_color": True} if texture else {}
    sdf = {
        "d_out": networks["width"] + 1, "d_in": 3, "d_hidden": networks["width"], "n_layers": networks["sdf"],
        "skip_in": [networks["sdf"]], "multires": 6, "bias": 0.5, "scale": 1.0, "geometric_init": True,
        "weight_norm": True,
    }  # fmt: skip
    color = {
        "d_feature": networks["width"], "mode": "no_view_dir", "d_in": 6, "d_out": 3, "d_hidden": networks["width"],
        "n_layers": networks["color"], "weight_norm": True, "multires_view": 0, "squeeze_out": True, **head,
    }  # fmt: skip
    renderer = {
        "n_samples": 32, "n_importance": 32, "n_outside": 0, "up_sample_steps": "4     # 1: once from coarse to fine",
        "perturb": 1.0, **head,
    }  # fmt: skip
    parts = [
        section("nerf", D="4,", d_in="4,", multires="10,", skips="[4],", use_viewdirs=True),
        section("sdf_network", **sdf),
        section("variance_network", init_val=0.3),
        section("rendering_network", **color),
        section("neus_renderer", **renderer),
    ]
    return f"model {{\n{''.join(parts)}}}\n"


def general(name: str) -> str:
    """Folders of an experiment."""
    folders = "[\n        ./,\n        ./models\n    ]"
    return section("general", base_exp_dir=f"./exp/smpl/{name}", recording=folders)


def base_model(size: str) -> str:
    """A file that learns the body's own field."""
    train = {
        "learning_rate": "5e-4", "learning_rate_alpha": 0.05, "end_iter": 300000, "batch_size": 5120,
        "warm_up_end": 5000, "save_freq": 10000, "val_freq": 250, "igr_weight": 0.1, "mask_weight": 0.5,
    }  # fmt: skip
    return "\n".join(
        [
            general(f"base_model/strong_{size}"),
            section("dataset", data_dir="./data/strong_render"),
            section("train", **train),
            model(size, texture=False),
        ]
    )


def appearance(size: str, name: str = "gardener", **train: object) -> str:
    """A file that textures a body; `train` adds to that section or replaces what is in it."""
    schedule = {
        "learning_rate": "5e-4", "learning_rate_alpha": 0.05, "end_iter": 100000, "batch_size": 512,
        "validate_resolution_level": 1, "warm_up_end": 500, "anneal_end": 0, "use_white_bkgd": False,
        "save_freq": 1000, "val_freq": 100, "val_mesh_freq": 500, "report_freq": 100, "igr_weight": 0.1,
        "mask_weight": 1.0, "clip_weight": 1.0, "pretrain": "./pretrained_models/stand_pose.pth",
        "add_no_texture": True, "texture_cast_light": True, "use_face_prompt": True, "use_back_prompt": True,
        "use_silhouettes": True,
    }  # fmt: skip
    who = {
        "prompt": "a 3D rendering of a gardener in unreal engine",
        "face_prompt": "a 3D rendering of the face of gardener in unreal engine",
        "back_prompt": "a 3D rendering of the back of gardener in unreal engine",
    }
    return "\n".join(
        [
            general(name),
            section("dataset", data_dir="./data/pose_render", template_obj="./data/template.obj"),
            section("train", **schedule | train),
            section("clip", **who),
            model(size, texture=True),
        ]
    )


def animation(mode: str, pose: str, motion: str | None = None, **weights: object) -> str:
    """A file that poses or moves a body."""
    parts = [
        section("general", base_exp_dir=f"./exp/{mode}/wave", mode=mode, text="a rendered 3d man is waving"),
        section("pose_generator", type=pose),
    ]
    return "\n".join(parts + ([] if motion is None else [section("motion_generator", type=motion, **weights)]))


CONFS = {
    "base_models/strong": base_model("full"),
    "base_models/strong_small": base_model("small"),
    "examples/gardener": appearance("full"),
    "examples_small/gardener": appearance("small", end_iter=30000, max_ray_num=7000, head_height=0.7),
    "ablation/gardener_0": appearance(
        "full", "ablation/gardener_0", mask_weight=0.5, add_no_texture=False, texture_cast_light=False,
        use_face_prompt=False, use_back_prompt=False, use_bg_aug=False, seed=0,
    ),
    "ablation/gardener_4": appearance("full", "ablation/gardener_4", mask_weight=0.5, use_bg_aug=True, seed=3),
    "motion/base": animation("motion", "VPoserCodebook", "MotionOptimizer"),
    "motion_ablation/baseline": animation(
        "motion", "VPoserCodebook", "MotionOptimizer", recon_coef="[\n 1.0,\n 1.0,\n 1.0,\n 1.0, \n 1.0\n ]",
        clip_coef=0.0, delta_coef=0.0,
    ),
    "motion_ablation/interpolation": animation("motion", "VPoserCodebook", "MotionInterpolation"),
    "pose_ablation/pose_optimizer": animation("pose", "PoseOptimizer"),
    "pose_ablation/vposer_codebook": animation("pose", "VPoserCodebook"),
    "pose_ablation/vposer_optimizer": animation("pose", "VPoserOptimizer"),
    "pose_ablation/vposer_realnvp": animation("pose", "VPoserRealNVP"),
}  # fmt: skip
"""A file of every kind, by the folder that AvatarCLIP has such in."""
