"""Helpers of the manifest's tests, as fixtures that give functions."""

import uuid

import pytest

from avatar_core.manifest import ManifestRecord, ManifestWriter
from avatar_core.manifest.layout import open_manifest


@pytest.fixture(params=["local", "memory"])
def library(request, tmp_path):
    return str(tmp_path / "library") if request.param == "local" else f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def record():
    """Makes a record of a finished stage, where nothing else is said."""
    return lambda avatar_id="a", stage="texturing", status="done", **others: ManifestRecord(
        avatar_id, stage, status, **others
    )


@pytest.fixture
def write():
    """Writes records as one run."""

    def write_records(library, *records, run="run-1"):
        with ManifestWriter(library, run) as writer:
            writer.append(records)

    return write_records


@pytest.fixture
def found():
    """Lists rows of a table as sorted tuples of some columns."""
    return lambda table, *columns: sorted(zip(*(table[name].to_pylist() for name in columns)))


@pytest.fixture
def files():
    """Lists the files of a library's manifest."""
    return lambda library: sorted(open_manifest(library).files())
