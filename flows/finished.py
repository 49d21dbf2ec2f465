"""The finished avatars of a library, and where files made from them go."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from avatar_core.errors import CatalogError
from avatar_core.storage import Location, open_location
from flows.delivery import FOLDER, delivered_uri

MODEL, REPORT = "avatar.glb", "report.json"


def finished_ids(library: Location) -> list[str]:
    """Return the ids of all avatars that have a folder in the library, sorted."""
    return [name for name in library.folders(FOLDER) if not name.startswith(("_", "."))]


def avatar_ids(library: str) -> list[str]:
    """Return the ids of all avatars that have a folder in the library, sorted; raises CatalogError where none has."""
    ids = finished_ids(open_location(library))
    if not ids:
        raise CatalogError(f"{library} holds no finished avatars; `avatars make` or `avatars run` makes some.")
    return ids


@dataclass(frozen=True)
class FinishedFolder:
    """One finished avatar's folder, and the folder that receives what is made from it."""

    avatar_id: str
    source: Location
    target: Location

    @contextlib.contextmanager
    def local(self, *names: str) -> Iterator[Path]:
        """Yield a local folder that has these files of the avatar; raises CatalogError where one is missing."""
        missing = [name for name in names if self.source.size(name) is None]
        if missing:
            raise CatalogError(
                f"{self.source.url} has no {' and no '.join(missing)}, so that {self.avatar_id} is not finished; "
                "`avatars status` lists what is, and the command that made it goes on with the rest"
            )
        if self.source.is_local:
            yield self.source.path()
            return
        with tempfile.TemporaryDirectory(prefix="avatar-") as scratch:
            for name in names:
                self.source.download(name, Path(scratch) / name)
            yield Path(scratch)


def finished_folder(library: str, avatar_id: str, out: str | None = None) -> FinishedFolder:
    """Return the folders of an avatar; `out` receives a folder of the avatar's name instead of the library.

    Raises CatalogError for an id that could not be one.
    """
    source = open_location(library).child(delivered_uri(avatar_id))
    return FinishedFolder(avatar_id, source, source if out is None else open_location(out).child(avatar_id))
