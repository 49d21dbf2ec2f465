"""Every moment is counted once, and wrapped callables come back."""

from types import SimpleNamespace

import pytest

from .part_timer import OTHER, PartTimer, Probe


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def product(clock: Clock) -> SimpleNamespace:
    """Functions that take time: `render` takes 2 s and calls `cast`, which takes 1 s."""
    product = SimpleNamespace()

    def cast() -> str:
        clock.now += 1
        return "hits"

    def render() -> str:
        clock.now += 2
        return product.cast()

    product.cast, product.render = cast, render
    return product


def test_parts_and_details_add_up_to_the_whole(clock: Clock, product: SimpleNamespace) -> None:
    timer = PartTimer(clock)
    with timer.probing(Probe(product, "render", "rays"), Probe(product, "cast", detail="casts")), timer.span(OTHER):
        clock.now += 4
        product.render()
    assert timer.take() == {(OTHER, ""): 4, ("rays", ""): 2, ("rays", "casts"): 1}
    assert timer.take() == {}


def test_an_inner_part_is_taken_out_of_the_outer(clock: Clock, product: SimpleNamespace) -> None:
    timer = PartTimer(clock)
    with timer.probing(Probe(product, "render", "rays"), Probe(product, "cast", "casts")):
        product.render()
    assert timer.take() == {("rays", ""): 2, ("casts", ""): 1}


def test_calls_can_be_looked_at(clock: Clock, product: SimpleNamespace) -> None:
    results = []
    with PartTimer(clock).probing(Probe(product, "render", seen=lambda arguments, result: results.append(result))):
        product.render()
    assert results == ["hits"]


def test_callables_come_back_after_errors_too(clock: Clock, product: SimpleNamespace) -> None:
    own = product.render
    with pytest.raises(KeyError), PartTimer(clock).probing(Probe(product, "render", "rays")):
        raise KeyError
    assert product.render is own


def test_a_class_keeps_what_it_inherits(clock: Clock) -> None:
    class Base:
        def cast(self) -> int:
            return 1

    class Child(Base):
        pass

    with PartTimer(clock).probing(Probe(Child, "cast", "rays")):
        assert Child().cast() == 1
    assert "cast" not in vars(Child)


def test_a_callable_that_is_gone_is_an_error(clock: Clock, product: SimpleNamespace) -> None:
    with pytest.raises(AttributeError, match="paint"), PartTimer(clock).probing(Probe(product, "paint")):
        pass
