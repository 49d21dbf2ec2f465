"""three.js for the browser, from the copy that trimesh carries in its own viewer: nothing to download or to build."""

import importlib.util
import zipfile
from functools import lru_cache
from pathlib import Path

_ARCHIVE, _PAGE = "resources/templates/viewer.zip", "viewer.html.template"
_BEGIN, _END = "<script>", "var camera,"
"""The page's script is three.js with its GLTF loader, then what trimesh does with it, from _END on."""
_NEEDED = ("GLTFLoader", "AnimationMixer", "WebGLRenderer")


@lru_cache(maxsize=1)
def three_source() -> bytes | None:
    """Return a script that defines THREE with THREE.GLTFLoader, licence included; None where trimesh has none.

    trimesh (MIT) is not imported, its page is only read.
    """
    spec = importlib.util.find_spec("trimesh")
    if spec is None or spec.origin is None:
        return None
    return extract_three(Path(spec.origin).parent / _ARCHIVE)


def extract_three(archive: Path) -> bytes | None:
    """Return what `three_source` returns, from trimesh's archive."""
    try:
        with zipfile.ZipFile(archive) as pages:
            page = pages.read(_PAGE).decode()
    except (OSError, KeyError, zipfile.BadZipFile, UnicodeDecodeError):
        return None
    begin, end = page.find(_BEGIN), page.rfind(_END)
    script = page[begin + len(_BEGIN) : end]
    if begin < 0 or end < begin or not all(name in script for name in _NEEDED):
        return None
    return script.encode()
