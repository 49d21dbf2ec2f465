"""What the models, data and packages behind an avatar or a library allow, by the reports of the avatars."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from avatar_core.errors import CatalogError
from avatar_core.licences import (
    Commercial,
    PackageFacts,
    Terms,
    ffmpeg_facts,
    installed_packages,
    strictest,
    terms_of_data,
)
from avatar_core.reports.weights import Weights, count_weights, weigh
from avatar_core.storage import Location
from flows.finished import finished_ids
from flows.reading_reports import read_one, read_reports

OnStep = Callable[[str, int, int], object]


@dataclass(frozen=True)
class LibraryLicences:
    """What may be done with avatars."""

    library: str
    avatar_id: str | None
    """The only avatar that was asked about; None for all."""
    avatars: int
    unreadable: int
    """Avatars that were left out because their report cannot be read."""
    models: Sequence[tuple[str, Terms]]
    """Roles, and the models that played them."""
    counts: Mapping[str, int]
    """How many avatars use a model, by its digest."""
    data: Sequence[Terms]
    """What these models come from."""
    packages: Sequence[PackageFacts]
    """What is installed here: avatars hold nothing of them."""
    program: PackageFacts | None
    """The ffmpeg that films are encoded with here."""

    @property
    def commercial(self) -> Commercial:
        """Whether models and data together allow commercial use."""
        return strictest([*(one for _, one in self.models), *self.data])


def licences_of(
    library: Location, avatar_id: str | None = None, on_step: OnStep = lambda what, done, total: None
) -> LibraryLicences:
    """Return the licences behind one avatar, or all of a library.

    Raises CatalogError where there is no such avatar, no avatar at all, or where the only one's report cannot be read.
    """
    weights: Counter[Weights] = Counter()
    avatars = unreadable = 0
    if avatar_id is not None:
        if avatar_id in ("", ".", "..") or set(avatar_id) & set("/\\\0"):
            raise CatalogError(f"{avatar_id!r} is no id of an avatar; `avatars status` lists those of the library.")
        reads = iter([read_one(library, avatar_id)])
        total = 1
    else:
        ids = finished_ids(library)
        if not ids:
            raise CatalogError(f"{library.url} holds no finished avatars; `avatars run` makes some.")
        reads, total = read_reports(library, ids), len(ids)
    for number, read in enumerate(reads, 1):
        on_step("reading reports", number, total)
        if read.report is None:
            if avatar_id is not None:
                raise CatalogError(f"{avatar_id} in {library.url}: {read.reason}. `avatars status` says what there is.")
            unreadable += 1
            continue
        avatars += 1
        count_weights(read.report, weights)
    models, counts = weigh(weights)
    return LibraryLicences(
        library=library.url,
        avatar_id=avatar_id,
        avatars=avatars,
        unreadable=unreadable,
        models=models,
        counts=counts,
        data=terms_of_data(name for _, one in models for name in one.data),
        packages=installed_packages(),
        program=ffmpeg_facts(),
    )
