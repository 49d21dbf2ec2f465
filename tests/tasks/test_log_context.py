"""Log records say what they are about."""

import json
import logging
import threading
from pathlib import Path

import pytest

from avatar_core.errors import DivergenceError
from flows.cli.logs import LOG_VARIABLE, log_to_file
from tasks.log_context import working_on


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Returns a function that gives the run's log file once it was written to."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    path = tmp_path / "runs" / "run.log"

    def start(style: str) -> Path:
        monkeypatch.setenv(LOG_VARIABLE, style)
        log_to_file(path)
        return path

    yield start
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level = handlers, level
    logging.captureWarnings(False)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_json_lines_say_which_run_avatar_stage_and_key_they_are_about(log) -> None:
    path = log("json")
    logger = logging.getLogger("avatar_core.stages.texturing")
    with working_on(run_id="run-1"):
        logger.info("planned %d avatars", 2)
        with working_on(avatar_id="ada", stage="texturing", key="ab" * 16):
            logger.warning("the loss rises:\n%s", "🙂")
    logger.info("nothing in particular")
    planned, rising, nothing = lines(path)
    assert planned["message"] == "planned 2 avatars"
    assert planned["run_id"] == "run-1"
    assert "avatar_id" not in planned
    assert rising == {
        "time": rising["time"],
        "level": "WARNING",
        "logger": "avatar_core.stages.texturing",
        "message": "the loss rises:\n🙂",
        "run_id": "run-1",
        "avatar_id": "ada",
        "stage": "texturing",
        "key": "ab" * 16,
    }
    assert rising["time"].endswith("+00:00")
    assert nothing.keys() == {"time", "level", "logger", "message"}


def test_an_error_keeps_its_traceback_on_its_one_line(log) -> None:
    path = log("json")
    try:
        raise DivergenceError("not finite")
    except DivergenceError as error:
        logging.getLogger("tasks").error("failed", exc_info=error)
    (line,) = lines(path)
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("DivergenceError: not finite")


def test_what_one_thread_works_on_is_not_said_of_another(log) -> None:
    path = log("json")
    other = threading.Thread(target=lambda: logging.getLogger("tasks").info("elsewhere"))
    with working_on(avatar_id="ada"):
        other.start()
        other.join()
    assert "avatar_id" not in lines(path)[0]


def test_plain_text_is_the_default_format(log) -> None:
    path = log("text")
    with working_on(avatar_id="ada"):
        logging.getLogger("tasks").info("hello")
    assert path.read_text().endswith("INFO    tasks: hello\n")


def test_facts_that_records_do_not_have_are_a_mistake() -> None:
    with pytest.raises(TypeError, match="avatr_id"), working_on(avatr_id="ada"):
        pass
