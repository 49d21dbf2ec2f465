"""`avatars doctor`: what this machine has, what is active, what is missing and how to get it."""

import importlib.metadata
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from avatar_core.errors import WeightsError
from avatar_core.storage import cache_root, open_location
from flows.cli.errors import EXIT_FAILED, friendly
from flows.orchestrator import configured_api_url
from tasks.digests import folder_digest, weights_root

GIB = 2**30
NEEDED_MEMORY_GIB = 4.0
NEEDED_DISK_GIB = 2.0
EMBEDDED = {
    "anny_compact": "body model Anny (phenotypes, skeleton, skinning)",
    "bodyclip": "vision-language model BodyCLIP",
    "judge": "second encoder, which judges and never guides",
    "shape_codebook": "body-shape codebook",
    "pose_vae": "pose prior and codebook",
    "motion_vae": "motion prior",
    "view_readers": "readers of grey views for BodyCLIP",
    "real_nvp": "pose flow for BodyCLIP, which the pose method realnvp draws from",
}
NOT_NEEDED = {"real_nvp": "python -m avatar_core.priors.train_real_nvp --out FOLDER, or leave the pose method as it is"}
"""Weights that only a method reads which is not the default, and how to get them."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: str
    """ok, optional (not there, and not needed) or missing."""
    detail: str
    remedy: str = ""


@friendly
def doctor(
    library: Annotated[str, typer.Option("--library", "-l", help="Library whose disk is looked at.")] = "library",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for scripts, and nothing else.")
    ] = False,
) -> None:
    """Say what this machine has, which defaults and drop-ins are active, and how to get what is missing.

    Exit status: 0 when avatars can be made here, 1 when something needed is missing.

    Example:

        avatars doctor
    """
    findings = examine(library)
    ready = all(finding.state != "missing" for finding in findings)
    if as_json:
        typer.echo(json.dumps({"ready": ready, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        _print(findings, ready)
    if not ready:
        raise typer.Exit(EXIT_FAILED)


def examine(library: str) -> list[Finding]:
    """Return everything that was looked at."""
    checks: tuple[Callable[[], list[Finding]], ...] = (
        _machine,
        lambda: [_disk(library)],
        _torch,
        _warp,
        lambda: [_weights(name, what) for name, what in EMBEDDED.items()],
        lambda: [_ffmpeg(), _prefect()],
        _drop_ins,
    )
    return [finding for check in checks for finding in check()]


def _machine() -> list[Finding]:
    version = platform.python_version()
    python_ok = sys.version_info >= (3, 11)
    findings = [
        Finding(
            "python",
            "ok" if python_ok else "missing",
            f"{version} on {platform.system()} {platform.machine()}",
            "" if python_ok else "Install Python 3.11 or newer.",
        ),
        Finding("cores", "ok", str(_usable_cores())),
    ]
    total = _memory_gib()
    if total is not None:
        enough = total >= NEEDED_MEMORY_GIB
        remedy = "" if enough else f"Making avatars takes up to {NEEDED_MEMORY_GIB:.0f} GiB; close other programs."
        findings.append(Finding("memory", "ok" if enough else "missing", f"{total:.1f} GiB available", remedy))
    return findings


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory_gib() -> float | None:
    path = Path("/proc/meminfo")
    if not path.exists():
        return None
    facts = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    return int(facts["MemAvailable"].split()[0]) * 1024 / GIB


def _disk(library: str) -> Finding:
    location = open_location(library)
    if not location.is_local:
        return Finding("disk", "ok", f"{location.url} is behind {type(location.fs).__name__}")
    folder = location.path()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / GIB
    if not os.access(folder, os.W_OK):
        return Finding("disk", "missing", f"{folder} cannot be written", "Give a --library in a folder of your own.")
    enough = free >= NEEDED_DISK_GIB
    remedy = "" if enough else f"Free at least {NEEDED_DISK_GIB:.0f} GiB, or give a --library on another disk."
    return Finding("disk", "ok" if enough else "missing", f"{free:.1f} GiB free at {folder}", remedy)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _torch() -> list[Finding]:
    if _version("torch") is None:
        return [Finding("torch", "missing", "not installed", "pip install . in the project's folder installs it.")]
    import torch

    findings = [Finding("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")]
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
        findings.append(Finding("cuda", "ok", f"{names} (CUDA {torch.version.cuda})"))
    else:
        findings.append(
            Finding(
                "cuda", "optional", "no usable GPU; everything runs on the CPU", "A CUDA build of torch uses a GPU."
            )
        )
    return findings


def _warp() -> list[Finding]:
    if _version("warp-lang") is None:
        return [Finding("warp", "missing", "not installed", "pip install warp-lang")]
    import warp

    from avatar_core.rendering import warp_runtime  # noqa: F401 - starts Warp without its greeting

    devices = ", ".join(str(device) for device in warp.get_devices())
    return [Finding("warp", "ok", f"{warp.__version__}, devices: {devices}")]


def _weights(name: str, what: str) -> Finding:
    folder = weights_root() / name
    if not folder.is_dir() and name in NOT_NEEDED:
        return Finding(name, "optional", f"{what}: not in the package", NOT_NEEDED[name])
    if not folder.is_dir():
        return Finding(name, "missing", f"{what}: not in the package", "Install avatar-foundry again.")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Finding(name, "ok", f"{what}: {size / 1e6:.1f} MB, sha256 {folder_digest(folder)[:12]}")


def _ffmpeg() -> Finding:
    try:
        import imageio_ffmpeg

        return Finding("ffmpeg", "ok", f"{imageio_ffmpeg.get_ffmpeg_version()} at {imageio_ffmpeg.get_ffmpeg_exe()}")
    except (ImportError, RuntimeError) as error:
        return Finding("ffmpeg", "missing", str(error), "pip install imageio-ffmpeg, or install ffmpeg on the PATH.")


def _prefect() -> Finding:
    version, fastapi = _version("prefect"), _version("fastapi")
    if version is None:
        return Finding("prefect", "missing", "not installed", 'pip install "prefect>=3.8.8,<3.9" "fastapi<0.151"')
    if fastapi is not None and tuple(int(part) for part in fastapi.split(".")[:2]) >= (0, 151):
        return Finding(
            "prefect", "missing", f"{version} cannot serve with fastapi {fastapi}", 'pip install "fastapi<0.151"'
        )
    url = configured_api_url()
    return Finding("prefect", "ok", f"{version}, server: {url or 'a private one for each run'}")


def _drop_ins() -> list[Finding]:
    anny = _version("anny")
    return [
        Finding("encoder", "ok", "bodyclip (embedded); --encoder takes CLIP and SigLIP folders, hub names, clip:NAME"),
        Finding(
            "anny",
            "ok" if anny else "optional",
            f"{anny}: the full shape space" if anny else "not installed; the embedded compact body is used",
            "" if anny else 'pip install "avatar-foundry[anny]"',
        ),
        _models(),
        _priors(),
        Finding("cache", "ok", str(cache_root()), ""),
    ]


def _models() -> Finding:
    from avatar_core.bodies.brought import ADD, list_models

    try:
        names = ", ".join(record.name for record in list_models())
    except WeightsError as error:
        return Finding("SMPL", "optional", str(error), ADD)
    return Finding("SMPL", "ok" if names else "optional", names or "no model was added", "" if names else ADD)


def _priors() -> Finding:
    from avatar_core.priors.brought import list_priors
    from avatar_core.storage.model_folder import ADD

    try:
        names = ", ".join(record.name for record in list_priors())
    except WeightsError as error:
        return Finding("priors", "optional", str(error), ADD)
    return Finding("priors", "ok" if names else "optional", names or "the embedded ones", "" if names else ADD)


def _print(findings: list[Finding], ready: bool) -> None:
    console = Console(soft_wrap=True)
    table = Table("what", "state", "detail", "how to get it")
    styles = {"ok": "green", "optional": "yellow", "missing": "bold red"}
    for finding in findings:
        table.add_row(finding.name, f"[{styles[finding.state]}]{finding.state}[/]", finding.detail, finding.remedy)
    console.print(table)
    console.print("Avatars can be made here." if ready else "Something that is needed is missing: see above.")
