"""What a shard shows on Prefect's pages, read back from a real server."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from small_library import DIVERGED, avatars, finish, plan, row

from flows.outcome import Outcome
from flows.shard import generate_shard
from flows.shard_artifacts import ShardArtifacts, report
from tasks.failures import Failure

MISSING = Failure("export", "DivergenceError", "It needs texturing, which failed.", "", skipped=True)


@pytest.fixture
def session(tmp_path: Path):
    """Two avatars planned, the first of which has all its results in the store."""
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), (0, 200, 0)).save(picture, "PNG")
    found = plan(tmp_path, [row("ada"), row("ben")])
    finish(found, avatars(found)[0], files={"preview.png": picture.getvalue()})
    return found


def published(session, what: str) -> list[Any]:
    """Return the artifacts of the run's first shard, of one kind."""
    key = f"shard-{session.run.run_id}-00000-{what}"
    with get_client(sync_client=True) as client:
        return client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))


@pytest.fixture
def carry_out(session, prefect_server: None) -> Callable[..., None]:
    """Publishes outcomes, one after the other, from a flow run; the last one is the shard's end."""

    def publish(*outcomes: Outcome) -> None:
        @flow
        def shard() -> None:
            artifacts = ShardArtifacts(session.run, 0, avatars(session))
            for outcome in outcomes[:-1]:
                artifacts.update(outcome)
            artifacts.finish(outcomes[-1])

        shard()

    return publish


def test_progress_is_one_artifact_that_moves_on(session, carry_out) -> None:
    carry_out(Outcome(), Outcome(done=1, seconds=12.0), Outcome(done=1, failed=1, seconds=20.0))
    (progress,) = published(session, "progress")
    assert progress.data == 100.0
    assert progress.description == "2 of 2 avatars, 1 failed, 20 s of computing"


def test_the_table_tells_failures_by_reason_and_seconds_by_stage(session, carry_out) -> None:
    outcome = Outcome(done=1)
    outcome.count("texturing", 90.0)
    outcome.fail("ben", [DIVERGED, MISSING])
    carry_out(outcome)
    (table,) = published(session, "report")
    assert "1 of 2 avatars done, 1 failed; 1 results computed." in table.data
    assert "| texturing | 90.0 |" in table.data
    assert "| texturing | DivergenceError | 1 | ben: the loss is not finite |" in table.data
    assert "It needs" not in table.data
    assert session.run.library in table.data


def test_a_shard_leaves_its_progress_its_table_and_a_picture(tmp_path: Path, prefect_server: None, session) -> None:
    ada = plan(tmp_path, [row("ada")])
    (tmp_path / "avatars" / "ada" / "preview.png").unlink()
    assert generate_shard(session.run.library, ada.run.run_id, 0, "cpu")["done"] == 1
    (picture,) = published(ada, "previews")
    sheet = base64.b64decode(picture.data.removeprefix("data:image/jpeg;base64,"))
    assert Image.open(io.BytesIO(sheet)).getpixel((80, 80))[1] > 180
    assert (tmp_path / "runs" / ada.run.run_id / "sheets" / "00000.jpg").read_bytes() == sheet
    assert published(ada, "progress")[0].data == 100.0
    assert "sheets/00000.jpg" in published(ada, "report")[0].data


def test_outside_of_a_flow_run_nothing_is_published(tmp_path: Path, session) -> None:
    artifacts = ShardArtifacts(session.run, 0, avatars(session))
    artifacts.update(Outcome(done=1))
    artifacts.finish(Outcome(done=2))
    assert not (tmp_path / "runs" / session.run.run_id / "sheets").exists()


def test_messages_do_not_break_the_table(session) -> None:
    outcome = Outcome()
    outcome.fail("ben", [Failure("texturing", "OSError", "no | such\n<img src=x>", "")])
    text = report(session.run, 0, 2, outcome, "")
    assert "| texturing | OSError | 1 | ben: no \\| such \\<img src=x\\> |" in text
