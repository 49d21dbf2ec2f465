import functools
import uuid

import numpy as np
import pytest
import s3fs
from moto import settings

from avatar_core.errors import ArtifactError, StorageError
from avatar_core.storage import ArtifactStore, open_location
from avatar_core.storage.backoff import BackOff
from avatar_core.storage.garbage import collect_garbage
from avatar_core.storage.leases import LeaseStore

STAGE, KEY = "texturing", "ab" * 16
ONCE = BackOff(attempts=1)
PART_BYTES = 5 * 2**20
"""The smallest part that S3 takes in a multipart upload."""


def write_mesh(folder):
    (folder / "mesh.bin").write_bytes(b"\x00\x01" * 500)


@pytest.fixture
def requests(s3_library, monkeypatch):
    """The names of the requests that the S3 client makes from now on."""
    made = []
    original = s3fs.S3FileSystem._call_s3

    async def note(self, method, *arguments, **options):
        made.append(method)
        return await original(self, method, *arguments, **options)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", note)
    return made


def test_nothing_is_renamed_or_copied_on_an_object_store(s3_library, requests, tmp_path):
    store = ArtifactStore(s3_library, cache_folder=tmp_path)
    ref = store.publish(STAGE, KEY, write_mesh)
    store.checkpoints(STAGE, KEY).save({"x": np.zeros(3)}, 1)
    with LeaseStore(s3_library, owner="x") as leases:
        leases.acquire(f"{STAGE}/{KEY}")
        leases.renew()
    store.delete(ref)
    assert "put_object" in requests
    assert not {"copy_object", "upload_part_copy"} & set(requests)


@pytest.fixture
def small_parts(s3_library, monkeypatch):
    """Files of ten MiB and more go up in parts of five."""
    library = open_location(s3_library, ONCE)
    for name in ("put_file", "pipe_file"):
        monkeypatch.setattr(
            library.fs, name, functools.partial(getattr(library.fs, name), chunksize=PART_BYTES), raising=False
        )
    return library


def test_a_large_file_goes_up_in_parts_and_comes_back(small_parts, requests, tmp_path):
    content = np.random.default_rng(1).bytes(2 * PART_BYTES + 12345)
    (tmp_path / "turntable.mp4").write_bytes(content)
    small_parts.upload(tmp_path / "turntable.mp4", "avatars/one/turntable.mp4")
    assert requests.count("upload_part") == 3
    assert small_parts.size("avatars/one/turntable.mp4") == len(content)
    small_parts.download("avatars/one/turntable.mp4", tmp_path / "back.mp4")
    assert (tmp_path / "back.mp4").read_bytes() == content


def test_a_large_upload_that_breaks_shows_nothing_and_is_taken_back(small_parts, requests, monkeypatch, tmp_path):
    (tmp_path / "big.bin").write_bytes(bytes(2 * PART_BYTES))
    noted = s3fs.S3FileSystem._call_s3

    async def break_the_last_part(self, method, *arguments, **options):
        if method == "upload_part" and options["PartNumber"] == 2:
            raise PermissionError("the key was withdrawn")
        return await noted(self, method, *arguments, **options)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", break_the_last_part)
    with pytest.raises(StorageError, match="refuses access"):
        small_parts.upload(tmp_path / "big.bin", "big.bin")
    assert small_parts.size("big.bin") is None
    assert "abort_multipart_upload" in requests


def test_a_bucket_that_does_not_exist_is_named_and_never_created(s3_environment, tmp_path):
    bucket = f"misspelt-{uuid.uuid4().hex}"
    url = f"s3://{bucket}/library"
    store = ArtifactStore(url, cache_folder=tmp_path)
    actions = [
        lambda: store.find(STAGE, KEY),
        lambda: store.publish(STAGE, KEY, lambda folder: pytest.fail("computed for nowhere")),
        lambda: store.library.write("x", b""),
        lambda: store.library.files(),
        lambda: store.checkpoints(STAGE, KEY).load(),
    ]
    for action in actions:
        with pytest.raises(StorageError, match=f"{url}.*create it"):
            action()
    with pytest.raises(ArtifactError, match=f"{url}.*create it"):
        LeaseStore(url, owner="x").acquire("a")
    assert not s3fs.S3FileSystem().exists(bucket)


def test_wrong_credentials_are_told_and_right_ones_go_on(s3_library, fresh_s3_client, monkeypatch, tmp_path):
    store = ArtifactStore(s3_library, cache_folder=tmp_path)
    ref = store.publish(STAGE, KEY, write_mesh)
    with monkeypatch.context() as strict:
        strict.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)  # the service checks keys from now on
        for action in (
            lambda: store.find(STAGE, KEY),
            lambda: store.publish(STAGE, "cd" * 16, write_mesh),
            lambda: store.delete(ref),
            lambda: store.library.upload(tmp_path / "x", "x") if (tmp_path / "x").write_bytes(b"x") else None,
        ):
            with pytest.raises(StorageError, match=rf"{s3_library}.*refuses access.*AWS_ACCESS_KEY_ID"):
                action()
    assert store.find(STAGE, KEY) == ref


def test_no_credentials_are_told(s3_library, fresh_s3_client, monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StorageError, match="credentials"):
        ArtifactStore(s3_library, cache_folder=tmp_path).find(STAGE, KEY)


def test_a_service_that_cannot_be_reached_is_told_with_the_url(fresh_s3_client, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # of botocore's own repetitions
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    waits = []
    store = ArtifactStore(
        "s3://bucket/library", cache_folder=tmp_path, backoff=BackOff(attempts=3, sleep=waits.append)
    )
    with pytest.raises(StorageError, match=r"s3://bucket/library.*cannot be reached.*AWS_ENDPOINT_URL"):
        store.find(STAGE, KEY)
    assert len(waits) == 2


def test_garbage_goes_from_an_object_store_and_what_is_referenced_or_leased_stays(s3_library, tmp_path):
    store = ArtifactStore(s3_library, cache_folder=tmp_path)
    wanted, unwanted, leased = (store.publish(STAGE, key * 16, write_mesh) for key in ("aa", "bb", "cc"))
    with LeaseStore(s3_library, owner="worker") as leases, leases.acquire(f"{STAGE}/{leased.key}"):
        garbage = collect_garbage(s3_library, referenced=[(STAGE, wanted.key)], grace_seconds=0, dry_run=False)
    assert garbage.uris == (unwanted.uri,)
    assert store.library.tree(unwanted.uri) == {}
    assert store.find(STAGE, wanted.key) == wanted
    assert store.find(STAGE, leased.key) == leased
