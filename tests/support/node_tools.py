"""Node and npm packages for tests of files that other programs read."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

VALIDATE = """
const validator = require('gltf-validator');
validator.validateBytes(new Uint8Array(require('fs').readFileSync(process.argv[1])))
  .then(report => console.log(JSON.stringify(report.issues)));
"""


def require_packages(*names: str) -> None:
    """Skip the test unless node finds these npm packages, in a folder named by GLTF_VALIDATOR or where it looks."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    for name in names:
        if _run(f"require.resolve('{name}')").returncode:
            pytest.skip(f"npm's {name} is not installed; set GLTF_VALIDATOR to the folder where it is")


def package_folder(name: str) -> Path:
    """Return the folder of an npm package; skips the test where there is none."""
    require_packages(name)
    entry = Path(run_node(f"console.log(require.resolve('{name}'))").strip())
    return next(folder for folder in entry.parents if (folder / "package.json").is_file())


def run_node(script: str, *arguments: object) -> str:
    """Run a script with arguments (process.argv[1] and on) and return what it prints; fails where it fails."""
    done = _run(script, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def glb_issues(path: Path) -> dict[str, Any]:
    """Return what Khronos's validator says of a GLB; needs npm's gltf-validator."""
    return json.loads(run_node(VALIDATE, path))


def _run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    places = [Path(os.environ["GLTF_VALIDATOR"]) / "node_modules"] if "GLTF_VALIDATOR" in os.environ else []
    environment = os.environ | {"NODE_PATH": os.pathsep.join([*map(str, places), os.environ.get("NODE_PATH", "")])}
    return subprocess.run(
        ["node", "-e", script, *map(str, arguments)], env=environment, capture_output=True, check=False, text=True
    )
