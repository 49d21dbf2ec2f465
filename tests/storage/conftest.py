"""Places for the tests of storage, and one that fails."""

import uuid

import flaky_files
import pytest
import s3fs


@pytest.fixture
def fresh_s3_client(s3_environment):
    """No client is shared with the tests before and after, so that other variables take effect."""
    s3fs.S3FileSystem.clear_instance_cache()
    yield
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(params=["local", "memory", "s3"])
def library_url(request, tmp_path):
    """The URL of an empty library on every kind of place."""
    if request.param == "local":
        return str(tmp_path / "library")
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}/library"
    return request.getfixturevalue("s3_library")


@pytest.fixture
def trouble(monkeypatch):
    """Sets the trouble of the flaky file system until the test ends."""

    def set_trouble(trouble):
        monkeypatch.setattr(flaky_files.FlakyFileSystem, "trouble", staticmethod(trouble))
        return trouble

    return set_trouble
