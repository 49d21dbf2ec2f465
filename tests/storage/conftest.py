"""Places for the tests of storage: an S3 service (moto's, over real HTTP on this machine), and one that fails."""

import uuid

import flaky_files
import pytest
import s3fs
from moto.server import ThreadedMotoServer


@pytest.fixture(scope="session")
def s3_endpoint():
    """The address of a running service."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_environment(s3_endpoint, monkeypatch, tmp_path_factory):
    """The usual variables point to the service; the user's own files are out of reach."""
    nowhere = tmp_path_factory.getbasetemp() / "nowhere"
    for name, value in {
        "AWS_ACCESS_KEY_ID": "tester",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_CONFIG_FILE": str(nowhere),
        "AWS_SHARED_CREDENTIALS_FILE": str(nowhere),
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)


@pytest.fixture
def fresh_s3_client(s3_environment):
    """No client is shared with the tests before and after, so that other variables take effect."""
    s3fs.S3FileSystem.clear_instance_cache()
    yield
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def s3_library(s3_environment):
    """The URL of an empty library in a bucket of its own."""
    bucket = f"library-{uuid.uuid4().hex}"
    s3fs.S3FileSystem().mkdir(bucket)
    return f"s3://{bucket}/avatars"


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
