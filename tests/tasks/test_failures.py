"""What failures say."""

import pytest

from avatar_core.errors import DivergenceError, WeightsError
from tasks.failures import Failure


@pytest.mark.parametrize(
    ("error", "word"),
    [(DivergenceError("not finite"), "seed"), (WeightsError("gone"), "doctor"), (OSError(28, "full"), "disk")],
)
def test_every_failure_says_what_to_do(error: Exception, word: str) -> None:
    failure = Failure.of("texturing", error)
    assert failure.kind == type(error).__name__
    assert word in failure.remedy


def test_an_error_without_words_is_named() -> None:
    assert Failure.of("motion", ValueError()).message == "ValueError"


def test_later_stages_and_other_avatars_say_where_it_comes_from() -> None:
    failure = Failure.of("texturing", DivergenceError("not finite"))
    later = failure.downstream("export")
    assert (later.stage, later.skipped) == ("export", True)
    assert "texturing" in later.message
    shared = failure.shared("ada")
    assert not shared.skipped
    assert "ada" in shared.message
    assert "not finite" in shared.message
