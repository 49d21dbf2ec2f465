import uuid

import flaky_files

from avatar_core.storage import open_location
from avatar_core.storage.backoff import BackOff
from avatar_core.storage.lease_files import swap_files

AT_ONCE = BackOff(first_seconds=0)


def new_url():
    return f"flaky://{uuid.uuid4().hex}/library"


def test_a_file_is_swapped_only_while_it_is_what_was_seen(library_url):
    files = swap_files(open_location(library_url), 0)
    assert files.read("a/b.json") is None
    assert files.swap("a/b.json", b"one", None)
    seen = files.read("a/b.json")
    assert seen.content == b"one"
    assert not files.swap("a/b.json", b"two", None)
    assert files.swap("a/b.json", b"two", seen)
    assert not files.swap("a/b.json", b"three", seen)
    files.remove("a/b.json", seen)
    assert files.read("a/b.json").content == b"two"
    files.remove("a/b.json", files.read("a/b.json"))
    assert files.read("a/b.json") is None
    assert not files.swap("a/b.json", b"four", seen)
    assert files.read("a/b.json") is None


def test_a_creation_whose_answer_was_lost_is_known_again_when_it_is_repeated(trouble):
    answers = iter([None, ConnectionResetError("the answer was lost")])

    def lose_one_answer(name):
        return next(answers, None) if name == "pipe_file" else None

    trouble(lose_one_answer)
    files = swap_files(open_location(new_url(), AT_ONCE), 0)
    assert files.swap("a.json", b"mine", None)
    assert next(answers, None) is None
    assert not files.swap("a.json", b"another's", None)
    assert files.read("a.json").content == b"mine"


def test_without_exclusive_creation_a_writer_looks_again_after_the_settling_time(monkeypatch):
    """Two write at once; the one whose file was replaced meanwhile must not believe that it won."""
    original = flaky_files.FlakyFileSystem.pipe_file
    monkeypatch.setattr(
        flaky_files.FlakyFileSystem, "pipe_file", lambda self, path, value: original(self, path, value)
    )
    folder = open_location(new_url())
    settled = []

    def overwrite_meanwhile(seconds):
        settled.append(seconds)
        folder.write("a.json", b"another's")

    assert not swap_files(folder, 0.5, overwrite_meanwhile).swap("a.json", b"mine", None)
    assert settled == [0.5]
    assert swap_files(folder, 0.5, settled.append).swap("b.json", b"mine", None)
