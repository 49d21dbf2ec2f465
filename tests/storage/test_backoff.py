import logging
import random
import uuid

import botocore.exceptions
import flaky_files
import numpy as np
import pytest
import s3fs.errors

from avatar_core.errors import ArtifactError, StorageError
from avatar_core.storage import ArtifactStore
from avatar_core.storage.backoff import BackOff
from avatar_core.storage.failures import is_lost_race, is_transient, storage_error

STAGE, KEY = "texturing", "ab" * 16
AT_ONCE = BackOff(attempts=12, first_seconds=0)


def new_url():
    return f"flaky://{uuid.uuid4().hex}/library"


def service_error(code, status):
    """An error of the S3 client as s3fs passes it on."""
    answer = {"Error": {"Code": code, "Message": f"told {code}"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return s3fs.errors.translate_boto_error(botocore.exceptions.ClientError(answer, "PutObject"))


PASSING = [
    service_error("SlowDown", 503),
    service_error("InternalError", 500),
    service_error("RequestTimeout", 408),
    service_error("ConditionalRequestConflict", 409),
    botocore.exceptions.EndpointConnectionError(endpoint_url="http://nowhere"),
    botocore.exceptions.ReadTimeoutError(endpoint_url="http://nowhere"),
    ConnectionResetError("reset by peer"),
    TimeoutError(),
]
FINAL = [
    service_error("AccessDenied", 403),
    service_error("InvalidAccessKeyId", 403),
    service_error("SignatureDoesNotMatch", 403),
    service_error("RequestTimeTooSkewed", 403),
    service_error("NoSuchBucket", 404),
    service_error("NoSuchKey", 404),
    service_error("PreconditionFailed", 412),
    service_error("NotImplemented", 501),
    botocore.exceptions.NoCredentialsError(),
    FileExistsError("exists"),
    ValueError("a mistake of ours"),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_passing_trouble_is_waited_out_and_logged(error, caplog):
    errors = [error, error]
    waits = []

    def operation():
        if errors:
            raise errors.pop()
        return "done"

    with caplog.at_level(logging.WARNING, "avatar_core"):
        assert BackOff(sleep=waits.append).call("put at s3://bucket", operation) == "done"
    assert len(waits) == len(caplog.messages) == 2
    assert "put at s3://bucket" in caplog.text


@pytest.mark.parametrize("error", FINAL, ids=repr)
def test_what_does_not_pass_is_not_repeated(error):
    calls = []

    def operation():
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        BackOff(sleep=lambda seconds: pytest.fail("waited")).call("put", operation)
    assert len(calls) == 1
    assert not is_transient(error)


def test_pauses_grow_to_a_bound_and_differ_between_workers():
    def pauses(seed):
        waits = []
        backoff = BackOff(
            attempts=9, first_seconds=1, longest_seconds=20, generator=random.Random(seed), sleep=waits.append
        )
        with pytest.raises(TimeoutError):
            backoff.call("get", raise_timeout)
        return waits

    def raise_timeout():
        raise TimeoutError

    longest = [1, 2, 4, 8, 16, 20, 20, 20]
    first = pauses(1)
    assert len(first) == 8
    assert all(bound / 2 <= wait <= bound for wait, bound in zip(first, longest, strict=True))
    assert first == pauses(1)
    assert first != pauses(2)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (service_error("NoSuchBucket", 404), ["does not exist", "create it"]),
        (service_error("InvalidAccessKeyId", 403), ["refuses access", "AWS_ACCESS_KEY_ID"]),
        (service_error("RequestTimeTooSkewed", 403), ["clock", "set the clock"]),
        (service_error("SlowDown", 503), ["keeps failing", "run again"]),
        (botocore.exceptions.NoCredentialsError(), ["refuses access", "AWS_ACCESS_KEY_ID"]),
    ],
    ids=repr,
)
def test_an_error_of_the_place_names_the_url_and_the_remedy(error, words):
    explained = storage_error(error, "s3://bucket/library")
    assert isinstance(explained, ArtifactError)
    for word in ["s3://bucket/library", *words]:
        assert word in str(explained)


@pytest.mark.parametrize("error", [service_error("NoSuchKey", 404), FileNotFoundError("x"), ValueError("x")], ids=repr)
def test_other_errors_are_not_the_places(error):
    assert storage_error(error, "s3://bucket/library") is None


def test_only_conditions_that_do_not_hold_are_lost_races():
    assert is_lost_race(service_error("PreconditionFailed", 412))
    assert is_lost_race(FileExistsError())
    assert not is_lost_race(service_error("InvalidArgument", 400))


def test_artifacts_and_checkpoints_survive_a_fifth_of_all_moments_failing(trouble, tmp_path):
    failing = trouble(flaky_files.SeededTrouble(0.2, 7, lambda: ConnectionResetError("reset")))
    store = ArtifactStore(new_url(), cache_folder=tmp_path, backoff=AT_ONCE)
    refs = []
    for number in range(10):

        def write(folder, number=number):
            (folder / "mesh.bin").write_bytes(bytes([number]) * 1000)

        refs.append(store.publish(STAGE, f"{number:032x}", write))
    checkpoints = store.checkpoints(STAGE, KEY)
    for step in range(5):
        checkpoints.save({"x": np.full(4, step)}, step)
    for number, ref in enumerate(refs):
        assert store.find(STAGE, ref.key) == ref
        assert (store.fetch(ref) / "mesh.bin").read_bytes() == bytes([number]) * 1000
    assert checkpoints.load()[1] == 4
    checkpoints.clear()
    store.delete(refs[0])
    assert checkpoints.load() is None
    assert store.find(STAGE, refs[0].key) is None
    assert failing.raised > 50


def test_a_place_that_never_answers_is_tried_a_few_times_and_then_named(trouble, tmp_path):
    failing = trouble(flaky_files.SeededTrouble(1.0, 7, lambda: ConnectionRefusedError("refused")))
    url = new_url()
    waits = []
    store = ArtifactStore(url, cache_folder=tmp_path, backoff=BackOff(attempts=3, sleep=waits.append))
    with pytest.raises(StorageError, match=r"library.*cannot be reached.*run again") as caught:
        store.find(STAGE, KEY)
    assert url in str(caught.value)
    assert failing.raised == 3
    assert len(waits) == 2


def test_a_publication_that_failed_for_good_leaves_no_artifact_and_goes_well_afterwards(trouble, tmp_path):
    def refuse(name):
        return PermissionError("no") if name == "put_file" else None

    def write(folder):
        (folder / "mesh.bin").write_bytes(b"mesh")

    trouble(refuse)
    store = ArtifactStore(new_url(), cache_folder=tmp_path)
    with pytest.raises(StorageError, match="refuses access"):
        store.publish(STAGE, KEY, write)
    assert store.find(STAGE, KEY) is None
    trouble(lambda name: None)
    assert store.fetch(store.publish(STAGE, KEY, write)).joinpath("mesh.bin").read_bytes() == b"mesh"
