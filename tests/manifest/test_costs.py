"""What a library cost follows from what was computed, whatever compaction has run."""

import pytest

from avatar_core.errors import ConfigError
from avatar_core.manifest import compact, cost, read_costs, roll_up


@pytest.fixture
def spent(library, record, write):
    """A library in which two runs computed on two devices; shared and failed work is among it."""
    gpu = {"device": "cuda:0", "catalog": "c.csv"}
    cpu = {"device": "cpu", "catalog": "d.csv"}
    write(
        library,
        record("a", "texturing", key="k1", seconds=3600.0, peak_mb=100.0, bytes=10, **gpu),
        record("b", "texturing", "cached", key="k1", bytes=10, **gpu),
        record("b", "motion", key="k2", seconds=50.0, peak_mb=700.0, bytes=5, **cpu),
        record("c", "motion", "failed", key="k3", seconds=99.0, **cpu),
    )
    compact(library)
    write(
        library,
        record("a", "texturing", key="other-seed", seconds=1800.0, peak_mb=300.0, bytes=7, **gpu),
        record("b", "motion", "cached", key="k2", bytes=5, **cpu),
        record("c", "motion", key="k4", seconds=2.0),
        run="run-2",
    )
    return library


def rows(table, *columns):
    return [tuple(row[name] for name in columns) for row in table.to_pylist()]


@pytest.mark.parametrize("compacted", [False, True])
def test_costs_are_summed_up_by_stage_device_run_and_catalog(spent, compacted):
    if compacted:
        compact(spent)
    costs = read_costs(spent)
    names = ("computations", "seconds", "gpu_seconds", "peak_mb", "bytes")
    assert rows(roll_up(costs), *names) == [(4, 5452.0, 5400.0, 700.0, 22)]
    assert rows(roll_up(costs, ["stage"]), "stage", *names) == [
        ("motion", 2, 52.0, 0.0, 700.0, 5),
        ("texturing", 2, 5400.0, 5400.0, 300.0, 17),
    ]
    assert rows(roll_up(costs, ["device"]), "device", "seconds") == [("cpu", 50.0), ("cuda:0", 5400.0), (None, 2.0)]
    assert rows(roll_up(costs, ["run_id"]), "run_id", "seconds") == [("run-1", 3650.0), ("run-2", 1802.0)]
    assert rows(roll_up(costs, ["catalog", "stage"]), "catalog", "stage", "bytes") == [
        ("c.csv", "texturing", 17),
        ("d.csv", "motion", 5),
        (None, "motion", 0),
    ]


def test_an_empty_library_cost_nothing(library):
    assert rows(roll_up(read_costs(library)), "computations", "seconds", "bytes") == [(0, 0.0, 0)]
    assert roll_up(read_costs(library), ["stage"]).num_rows == 0


def test_hours_have_a_price_of_one_machine_or_by_device(spent):
    costs = read_costs(spent)
    assert cost(roll_up(costs), 2.0)["cost"].to_pylist() == [pytest.approx(5452 / 1800)]
    by_device = cost(roll_up(costs, ["device"]), {"cuda:0": 2.0})
    assert rows(by_device, "device", "cost") == [("cpu", 0.0), ("cuda:0", pytest.approx(3.0)), (None, 0.0)]


def test_what_cannot_be_summed_up_or_priced_is_refused(library):
    costs = read_costs(library)
    with pytest.raises(ConfigError, match=r"by avatar_id: use stage, device"):
        roll_up(costs, ["avatar_id"])
    with pytest.raises(ConfigError, match="0 or more"):
        cost(costs, -1.0)
    with pytest.raises(ConfigError, match="roll up by device"):
        cost(roll_up(costs), {"cpu": 1.0})
