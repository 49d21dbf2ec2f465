"""Kill -9 at random moments: `avatars run`, its private server and a compaction, in turn.

The long form, which kills workers and a shared server, too, is the benchmark `kills`.
"""

from pathlib import Path

import pytest

from tests.benchmarks.kills import ALLOWED_SECONDS, Trial

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

KILLS = 5


def test_a_catalog_survives_kills_at_random_moments(tmp_path: Path) -> None:
    report = Trial(tmp_path, rows=3, seed=4, pool=False).run(KILLS)
    assert report.problems == []
    assert report.catalogs >= 1
    assert report.avatars == 3 * report.catalogs
    assert report.doubled == 0
    assert len(report.kills) == KILLS
    assert {kill.victim for kill in report.kills} == {"command", "server", "compaction"}
    assert any(kill.stage for kill in report.kills), "no kill interrupted any work"
    assert max(kill.lost_seconds for kill in report.kills) <= ALLOWED_SECONDS
