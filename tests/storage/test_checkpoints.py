import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from avatar_core.seeds import torch_generator
from avatar_core.storage import ArtifactStore

STAGE, KEY = "texturing", "ab" * 16


@pytest.fixture
def store(library_url):
    return ArtifactStore(library_url)


@pytest.fixture
def checkpoints(store):
    return store.checkpoints(STAGE, KEY)


def saved_files(store):
    folder = store.library.child("store", "_checkpoints", STAGE, KEY)
    return folder, sorted(folder.files())


def test_nothing_was_saved_yet(checkpoints):
    assert checkpoints.load() is None
    checkpoints.clear()


def test_every_kind_of_value_comes_back_as_it_was(checkpoints):
    state = {
        "weights": torch.randn(3, 4, generator=torch_generator(1, "w")),
        "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        "strided": torch.arange(6).reshape(2, 3).T,
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(2.5),
        "flags": torch.tensor([True, False]),
        "array": np.arange(4, dtype=np.float64).reshape(2, 2),
        "loss": 0.1,
        "best": float("inf"),
        "count": 2**40,
        "name": "tëst",
        "on": True,
        "nothing": None,
        "history": [1.0, 2.0],
        "pair": (1, "a"),
    }
    checkpoints.save(state, 12)
    loaded, step = checkpoints.load()
    assert step == 12
    assert list(loaded) == list(state)
    for name, value in state.items():
        assert type(loaded[name]) is type(value), name
        if isinstance(value, torch.Tensor):
            assert loaded[name].dtype == value.dtype
            assert loaded[name].shape == value.shape
            assert torch.equal(loaded[name], value)
        elif isinstance(value, np.ndarray):
            np.testing.assert_array_equal(loaded[name], value)
        else:
            assert loaded[name] == value


def test_training_goes_on_exactly_where_it_stopped(checkpoints):
    def make():
        model = torch.nn.Linear(4, 2)
        with torch.no_grad():
            model.weight.fill_(0.1)
            model.bias.zero_()
        return model, torch.optim.Adam(model.parameters(), lr=0.1), torch_generator(3, "views")

    def train(model, optimizer, generator, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            model(torch.randn(5, 4, generator=generator)).square().sum().backward()
            optimizer.step()

    whole = make()
    train(*whole, 6)

    model, optimizer, generator = make()
    train(model, optimizer, generator, 3)
    checkpoints.save(
        {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rng": generator.get_state()}, 3
    )
    model, optimizer, generator = make()
    state, _ = checkpoints.load()
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    generator.set_state(state["rng"])
    train(model, optimizer, generator, 3)
    assert torch.equal(model.weight, whole[0].weight)


def test_a_saved_state_does_not_follow_later_changes(checkpoints):
    weights = torch.zeros(3)
    shared = {"a": weights, "b": weights, "c": weights.numpy()}
    checkpoints.save(shared, 0)
    weights.fill_(9)
    loaded, _ = checkpoints.load()
    assert loaded["a"].sum() == loaded["b"].sum() == loaded["c"].sum() == 0


def test_the_two_newest_are_kept(store, checkpoints):
    for step in (5, 10, 100, 1000):
        checkpoints.save({"x": torch.full((3,), float(step))}, step)
    _, names = saved_files(store)
    assert [name[:17] for name in names] == ["step-000000000100", "step-000000001000"]
    assert checkpoints.load()[1] == 1000


def test_of_several_states_after_as_many_steps_the_last_saved_is_the_newest(store, checkpoints):
    """A run that goes back to its last checkpoint saves it again with other settings."""
    for number in range(20):
        checkpoints.save({"number": number}, 7)
        assert checkpoints.load() == ({"number": number}, 7)
    folder, names = saved_files(store)
    assert len(names) == 2
    folder.write(names[-1], b"torn")
    assert checkpoints.load() == ({"number": 18}, 7)


def test_clearing_leaves_the_other_results_alone(store, checkpoints):
    other = store.checkpoints(STAGE, "cd" * 16)
    checkpoints.save({"x": 1}, 1)
    other.save({"x": 2}, 2)
    checkpoints.clear()
    assert checkpoints.load() is None
    assert other.load() == ({"x": 2}, 2)


def damage_by_cutting(data):
    return data[: len(data) // 2]


def damage_by_emptying(data):
    return b""


def damage_by_flipping_a_tensor_bit(data):
    return data[:-1] + bytes([data[-1] ^ 1])


def damage_by_altering_a_number(data):
    return data.replace(b"12345", b"12346")


def damage_by_zeroing(data):
    return bytes(len(data))


@pytest.mark.parametrize(
    "damage",
    [
        damage_by_cutting,
        damage_by_emptying,
        damage_by_flipping_a_tensor_bit,
        damage_by_altering_a_number,
        damage_by_zeroing,
    ],
)
def test_a_damaged_newest_gives_way_to_the_one_before(store, checkpoints, caplog, damage):
    for step in (1, 2):
        checkpoints.save({"x": torch.full((100,), float(step)), "count": 12345}, step)
    folder, names = saved_files(store)
    with folder.fs.open(folder.full(names[-1]), "wb") as file:
        file.write(damage(folder.read(names[0])))
    with caplog.at_level(logging.WARNING, "avatar_core"):
        state, step = checkpoints.load()
    assert step == 1
    assert torch.equal(state["x"], torch.ones(100))
    assert names[-1] in caplog.text
    checkpoints.save({"x": 3}, 2)
    assert checkpoints.load() == ({"x": 3}, 2)


def test_all_damaged_is_a_fresh_start(store, checkpoints):
    checkpoints.save({"x": torch.ones(3)}, 1)
    folder, names = saved_files(store)
    with folder.fs.open(folder.full(names[0]), "wb") as file:
        file.write(b"rubbish")
    assert checkpoints.load() is None


def test_a_checkpoint_renamed_to_another_step_is_damage(store, checkpoints):
    checkpoints.save({"x": 1}, 1)
    folder, (name,) = saved_files(store)
    folder.write(name.replace("step-000000000001", "step-000000000009"), folder.read(name))
    assert checkpoints.load() == ({"x": 1}, 1)


@pytest.mark.parametrize("value", [object(), {1.5: 2}, b"bytes", {1, 2}])
def test_values_that_need_pickle_are_refused_by_place(checkpoints, value):
    with pytest.raises(TypeError, match=r"state\['inner'\]\[1\]"):
        checkpoints.save({"inner": [1, value]}, 0)
    assert checkpoints.load() is None


SAVE_FOR_EVER = """
import sys, itertools, torch
from avatar_core.storage import ArtifactStore
checkpoints = ArtifactStore(sys.argv[1]).checkpoints("texturing", "ab" * 16)
for step in itertools.count(1):
    checkpoints.save({"x": torch.full((200_000,), float(step)), "step": step}, step)
    print(step, flush=True)
"""


def test_kill_9_at_any_moment_leaves_a_whole_checkpoint(tmp_path):
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen(
        [sys.executable, "-c", SAVE_FOR_EVER, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=root,
    )
    reported = [int(process.stdout.readline()) for _ in range(7)]
    process.send_signal(signal.SIGKILL)
    reported += [int(line) for line in process.stdout.read().split()]
    process.wait()
    state, step = ArtifactStore(tmp_path).checkpoints(STAGE, KEY).load()
    assert step >= reported[-1]
    assert state["step"] == step
    assert torch.equal(state["x"], torch.full((200_000,), float(step)))
