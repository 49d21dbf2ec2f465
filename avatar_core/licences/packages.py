"""The licences of the Python packages that the project runs on, by what they say of themselves."""

from __future__ import annotations

import importlib.metadata
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement

from avatar_core.licences.registry import Commercial, registry

PROJECT = "avatar-foundry"
UNKNOWN = "unknown"
_LONGEST = 80
"""A field of more characters holds a licence's text, not its name."""
_OSI = "License :: OSI Approved :: "
_SECONDS = 20.0


@dataclass(frozen=True)
class PackageFacts:
    """A package, and what it says of its licence."""

    name: str
    version: str
    licence: str
    """An SPDX expression where the package gives one, else its own words; "unknown" where it says nothing."""
    commercial: Commercial
    """Of using the package; what is made with it is not a copy of it."""
    direct: bool
    """Whether the project itself asks for it."""


def installed_packages(root: str = PROJECT) -> list[PackageFacts]:
    """Return the packages that `root` needs, and those that they need, as far as installed, sorted by name.

    Optional extras are left out. Returns nothing where `root` is not installed.
    """
    direct = _required(root)
    found: dict[str, PackageFacts] = {}
    left = list(direct)
    while left:
        name = left.pop()
        if name in found:
            continue
        try:
            metadata = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # of another system, or replaced by another package
        expression, field = ((metadata.get_all(key) or [None])[0] for key in ("License-Expression", "License"))
        licence = declared_licence(expression, field, metadata.get_all("Classifier") or [])
        version = importlib.metadata.version(name)
        found[name] = PackageFacts(name, version, licence, registry().commercial(licence), name in direct)
        left += _required(name)
    return sorted(found.values(), key=lambda package: package.name)


def declared_licence(expression: str | None, field: str | None, classifiers: Iterable[str]) -> str:
    """Return what a package says of its licence, "unknown" where it says nothing that is a name.

    Its SPDX expression comes first, then the old field where its first line names a licence that is known, then its
    classifiers, then the old field as it is.
    """
    if expression:
        return expression
    named = [text.removeprefix(_OSI) for text in classifiers if text.startswith(_OSI)]
    first = (field or "").strip().splitlines()[0].strip() if (field or "").strip() else ""
    if first and registry().identify(first) is not None and len(named) < 2:
        return registry().identify(first) or first
    if named:
        return " AND ".join(registry().identify(name) or name for name in named)
    return first if first and len(first) <= _LONGEST and "copyright" not in first.lower() else UNKNOWN


def _required(name: str) -> list[str]:
    """The normalised names of the packages that an installed package needs here, without extras."""
    try:
        lines = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue  # not what today's installers accept: then it was not installed for it
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found.append(requirement.name.lower().replace("_", "-"))
    return found


def ffmpeg_facts() -> PackageFacts | None:
    """Return the licence of the ffmpeg that films are encoded with, as the program itself prints it; None without one.

    imageio-ffmpeg's own licence does not cover the program that it brings.
    """
    try:
        import imageio_ffmpeg

        program = imageio_ffmpeg.get_ffmpeg_exe()
        said = subprocess.run(
            [program, "-hide_banner", "-L"], capture_output=True, text=True, timeout=_SECONDS, check=True
        ).stdout
        version = str(imageio_ffmpeg.get_ffmpeg_version())
    except (ImportError, RuntimeError, OSError, subprocess.SubprocessError):
        return None
    words = " ".join(said.split())
    lesser = "Lesser " if "Lesser General Public License" in words else ""
    grade = next((number for number in ("3", "2.1", "2") if f"either version {number} of the License" in words), None)
    kind = "LGPL" if lesser else "GPL"
    known = grade is not None and "General Public License" in words
    licence = f"{kind}-{grade if '.' in str(grade) else f'{grade}.0'}-or-later" if known else UNKNOWN
    return PackageFacts("ffmpeg (program)", version, licence, registry().commercial(licence), False)
