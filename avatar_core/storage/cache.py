"""Local copies of artifacts that live in an object store, within a budget of disk space."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from avatar_core.storage.paths import remove_stale, remove_tree, temp_name

STALE_SECONDS = 24 * 3600.0
IN_USE_SECONDS = 3600.0


class FetchCache:
    """Folders by name; the ones used longest ago go first when the budget is exceeded.

    A folder that was asked for within the last hour is never dropped, since somebody may be reading it, so
    the budget can be exceeded for that long.
    """

    def __init__(self, root: Path, budget_bytes: int) -> None:
        self.root = root
        self.budget_bytes = budget_bytes

    def get(self, name: str) -> Path | None:
        """Return the folder called `name` and note its use, or None if it is not here."""
        folder = self.root / name
        try:
            os.utime(folder)
        except FileNotFoundError:
            return None
        return folder

    def add(self, name: str, fill: Callable[[Path], None]) -> Path:
        """Return the folder called `name`, filled by `fill(temporary folder)`; an existing one wins a
        race.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        remove_stale(self.root, STALE_SECONDS)
        temporary, target = self.root / temp_name(), self.root / name
        temporary.mkdir()
        try:
            fill(temporary)
            try:
                os.replace(temporary, target)
            except OSError:
                if not target.is_dir():
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        os.utime(target)
        self._evict()
        return target

    def drop(self, name: str) -> None:
        """Delete the folder called `name`, if it exists."""
        remove_tree(self.root / name, self.root)

    def _evict(self) -> None:
        folders = [folder for folder in self.root.iterdir() if not folder.name.startswith("_")]
        used = sorted((folder.stat().st_mtime, folder) for folder in folders)
        sizes = {folder: _tree_bytes(folder) for _, folder in used}
        excess = sum(sizes.values()) - self.budget_bytes
        for last_use, folder in used:
            if excess <= 0 or last_use > time.time() - IN_USE_SECONDS:
                return
            remove_tree(folder, self.root)
            excess -= sizes[folder]


def _tree_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
