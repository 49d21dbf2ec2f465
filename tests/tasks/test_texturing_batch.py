"""A batch of texturings leaves in the library what each texturing would have left."""

import pytest
import torch
from small_texturing import CONFIG, FIELD, PROMPT, Shape, write_small_clip

from avatar_core.errors import DivergenceError
from avatar_core.manifest import read_latest
from avatar_core.stages import implicit_init, texturing
from avatar_core.stages.base import StageContext
from avatar_core.storage import ArtifactStore
from tasks.failures import Failure
from tasks.models import load_models
from tasks.publishing import manifest_writer
from tasks.reporting import LogReporter, reporter, set_reporter
from tasks.stages import TASKS
from tasks.texturing_batch import execute_texturing_batch
from tasks.work import Avatar, Place, StageWork

SETTINGS = CONFIG.model_copy(update={"outfit_search": False}).model_dump(mode="json")
INIT_KEY = "1" * 32
PROMPTS = (PROMPT, "a face of a man", "the back of a red man")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    write_small_clip(folder)
    return str(folder)


@pytest.fixture(scope="module")
def implicit(encoder):
    torch.set_num_threads(1)
    models = load_models("anny", encoder, "cpu")
    config = implicit_init.Config(field=FIELD, check_points=500, tolerance=0.01)
    context = StageContext(models.body, models.encoder)
    return implicit_init.run(Shape(models.body.neutral_shape), config=config, seed=1, context=context)


@pytest.fixture
def place(tmp_path, implicit):
    place = Place(library=str(tmp_path / "library"), run_id="run")
    ArtifactStore(place.library).publish("implicit_init", INIT_KEY, implicit.save, {"seconds": 1.0})
    with manifest_writer(place.library, place.run_id):
        yield place


@pytest.fixture
def works(encoder):
    return [
        StageWork(
            stage="texturing",
            key=str(number + 2) * 32,
            seed=number,
            prompts={"appearance": prompt},
            upstream={"implicit_init": INIT_KEY},
            config=SETTINGS,
            encoder=encoder,
            keys={"implicit_init": INIT_KEY},
        )
        for number, prompt in enumerate(PROMPTS)
    ]


@pytest.fixture
def owners():
    return [Avatar(f"avatar-{number}", number, "", prompt, "", 0, "draft") for number, prompt in enumerate(PROMPTS)]


@pytest.fixture
def told():
    """What the reporter is told, in order."""

    class Listener(LogReporter):
        def stage_started(self, work, owner):
            said.append(("started", owner.avatar_id))

        def stage_finished(self, work, owner, seconds, computed):
            said.append(("computed" if computed else "found", owner.avatar_id))

        def stage_failed(self, work, owner, error):
            said.append(("failed", owner.avatar_id))

    said: list = []
    before = reporter()
    set_reporter(Listener())
    yield said
    set_reporter(before)


def result(place, work):
    store = ArtifactStore(place.library)
    return texturing.TexturedAvatar.load(store.fetch(store.find("texturing", work.key)))


def rows(place):
    return {row["avatar_id"]: row for row in read_latest(place.library).to_pylist()}


def test_each_avatar_gets_its_artifact_and_its_manifest_row(place, works, owners, told):
    references = execute_texturing_batch(works, place, owners)
    store = ArtifactStore(place.library)
    assert references == [store.find("texturing", work.key).to_json() for work in works]
    recorded = {name: (row["status"], row["key"]) for name, row in rows(place).items()}
    assert recorded == {owner.avatar_id: ("done", work.key) for work, owner in zip(works, owners)}
    for work, owner in zip(works, owners):
        meta = store.read_meta(store.find("texturing", work.key))
        assert meta["score"] == result(place, work).score_after == rows(place)[owner.avatar_id]["score"]
        assert meta["seconds"] > 0
        assert meta["peak_mb"] > 0
        assert store.checkpoints("texturing", work.key).load() is None
    assert [event for event, _ in told] == ["started"] * 3 + ["computed"] * 3


def test_a_batch_leaves_what_single_tasks_leave(place, works, owners, tmp_path, implicit):
    execute_texturing_batch(works[:2], place, owners[:2])
    alone = Place(library=str(tmp_path / "other"), run_id="run")
    ArtifactStore(alone.library).publish("implicit_init", INIT_KEY, implicit.save, {"seconds": 1.0})
    with manifest_writer(alone.library, alone.run_id):
        for work, owner in zip(works[:2], owners[:2]):
            TASKS["texturing"].fn(work, alone, owner)
            together, single = result(place, work), result(alone, work)
            assert len(together.history) == len(single.history) == CONFIG.steps
            for mine, own in zip(together.history, single.history):
                assert mine == pytest.approx(own, abs=3e-3)
    left, other = rows(place), rows(alone)
    for name, row in left.items():
        for column in ("stage", "status", "key", "seed", "appearance"):
            assert row[column] == other[name][column]


def test_time_and_memory_are_shared_out(place, works, owners, monkeypatch):
    moments = iter(range(0, 1000, 10))
    monkeypatch.setattr("tasks.texturing_batch.monotonic", lambda: float(next(moments)))
    monkeypatch.setattr("tasks.texturing_batch.peak_memory_mb", lambda: 600.0)
    execute_texturing_batch(works, place, owners)
    store = ArtifactStore(place.library)
    metas = [store.read_meta(store.find("texturing", work.key)) for work in works]
    # Ten seconds pass until the first is finished, and ten each until the next: a third, a half and all of them.
    assert [meta["seconds"] for meta in metas] == pytest.approx([10 / 3, 10 / 3 + 5, 10 / 3 + 5 + 10], abs=1e-3)
    assert [meta["peak_mb"] for meta in metas] == [200.0] * 3


def test_what_the_library_has_is_not_computed_again(place, works, owners, told):
    first = execute_texturing_batch(works[:1], place, owners[:1])
    told.clear()
    again = execute_texturing_batch(works[:2], place, owners[:2])
    assert again[0] == first[0]
    assert told == [("found", "avatar-0"), ("started", "avatar-1"), ("computed", "avatar-1")]
    assert rows(place)["avatar-0"]["status"] == "cached"
    told.clear()
    assert execute_texturing_batch(works[:2], place, owners[:2]) == again
    assert told == [("found", "avatar-0"), ("found", "avatar-1")]


def test_an_avatar_without_its_input_fails_alone(place, works, owners, told):
    orphan = StageWork(**{**works[1].to_json(), "upstream": {"implicit_init": "9" * 32}})
    first, failure, third = execute_texturing_batch([works[0], orphan, works[2]], place, owners)
    assert isinstance(failure, Failure)
    assert (failure.stage, failure.kind) == ("texturing", "ArtifactError")
    assert "9" * 32 in failure.message
    assert first["key"] == works[0].key
    assert third["key"] == works[2].key
    assert ("failed", "avatar-1") in told
    assert set(rows(place)) == {"avatar-0", "avatar-2"}


def test_an_avatar_that_diverges_fails_alone(place, works, owners, monkeypatch):
    real, doomed = texturing.total_loss, []

    def faulty(rendered, disagreement, field, *rest):
        loss, parts = real(rendered, disagreement, field, *rest)
        doomed[:] = doomed or [field]
        return (loss * float("nan") if field is doomed[0] else loss), parts

    monkeypatch.setattr(texturing, "total_loss", faulty)
    failure, *others = execute_texturing_batch(works, place, owners)
    assert isinstance(failure, Failure)
    assert failure.kind == DivergenceError.__name__
    assert "seed" in failure.remedy
    assert [one["key"] for one in others] == [work.key for work in works[1:]]


def test_results_are_published_before_the_batch_is_over(place, works, owners, told, monkeypatch):
    """A defect ends the batch while it makes the second result; the first is in the library and in the manifest."""
    real, finished = texturing.TexturingRun.result, []

    def broken(run):
        finished.append(run)
        if len(finished) == 2:
            raise RuntimeError("a defect")
        return real(run)

    monkeypatch.setattr(texturing.TexturingRun, "result", broken)
    with pytest.raises(RuntimeError, match="a defect"):
        execute_texturing_batch(works, place, owners)
    assert set(rows(place)) == {"avatar-0"}
    assert result(place, works[0]).history
    assert told[-3:] == [("computed", "avatar-0"), ("failed", "avatar-1"), ("failed", "avatar-2")]


def test_a_result_that_cannot_be_stored_fails_alone(place, works, owners, monkeypatch):
    real, saved = texturing.TexturedAvatar.save, []

    def save(avatar, folder):
        saved.append(folder)
        if len(saved) == 2:
            raise OSError(28, "No space left on device")
        real(avatar, folder)

    monkeypatch.setattr(texturing.TexturedAvatar, "save", save)
    first, failure, third = execute_texturing_batch(works, place, owners)
    assert isinstance(failure, Failure)
    assert "disk space" in failure.remedy
    assert (first["key"], third["key"]) == (works[0].key, works[2].key)
    assert set(rows(place)) == {"avatar-0", "avatar-2"}


def test_works_that_do_not_belong_together_are_refused(place, works, owners):
    other = StageWork(**{**works[1].to_json(), "config": {**SETTINGS, "steps": 9}})
    with pytest.raises(ValueError, match="equal settings"):
        execute_texturing_batch([works[0], other], place, owners[:2])
    with pytest.raises(ValueError, match="one key"):
        execute_texturing_batch([works[0], works[0]], place, owners[:2])
    with pytest.raises(ValueError, match="owners"):
        execute_texturing_batch(works, place, owners[:2])
    assert execute_texturing_batch([], place, []) == []
