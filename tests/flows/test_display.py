"""What a run shows, on a terminal and elsewhere."""

import io

import pytest
from rich.console import Console

from flows.cli.display import Display
from tasks.work import Avatar, StageWork

WORK = StageWork("texturing", "0" * 32, 0, {}, {}, {})
ADA = Avatar("ada", 2, "tall", "red", "walking", 0, "draft")


def shown(terminal: bool, act: object) -> str:
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=120, color_system=None)
    with Display(console, {WORK.stage: 1}, total=1) as display:
        act(display)  # type: ignore[operator]
    return file.getvalue()


def whole_stage(display: Display) -> None:
    display.stage_started(WORK, ADA)
    display.stage_progress(WORK, 5, 10, "loss 0.5")
    display.stage_finished(WORK, ADA, 12.34, computed=True)


def test_without_a_terminal_there_is_a_line_for_each_beginning_and_end() -> None:
    lines = shown(False, whole_stage).splitlines()
    assert lines == ["[1/1] ada: texturing begins", "[1/1] ada: texturing done in 12.3 s"]


def test_long_stages_report_their_steps_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.cli.display.LINE_SECONDS", 0.0)
    text = shown(False, whole_stage)
    assert "texturing 5/10, loss 0.5" in text
    assert "left" in text


def test_a_terminal_gets_bars_with_steps_and_the_time_left() -> None:
    text = shown(True, whole_stage)
    for part in ("ada: texturing", "5/10", "loss 0.5", "left", "all stages", "0/1"):
        assert part in text


def test_waiting_is_said_once_for_each_thing_awaited() -> None:
    def wait(display: Display) -> None:
        display.preparing("loading models")
        for seconds in (0.5, 1.0, 1.5):
            display.preparing("starting Prefect's server", seconds)

    assert shown(False, wait).splitlines() == ["loading models …", "starting Prefect's server …"]


def test_a_failure_shows_its_first_line() -> None:
    error = ValueError("the loss is not finite\nand more")
    text = shown(False, lambda display: display.stage_failed(WORK, ADA, error))
    assert text == "[1/1] ada: texturing failed: the loss is not finite\n"


def test_names_with_brackets_are_shown_as_they_are() -> None:
    avatar = Avatar("a[red]b", 2, "tall", "red", "walking", 0, "draft")
    assert "a[red]b" in shown(False, lambda display: display.stage_started(WORK, avatar))
