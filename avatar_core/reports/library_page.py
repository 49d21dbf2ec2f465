"""The report of a library as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from markupsafe import Markup

from avatar_core.licences import strictest
from avatar_core.reports.avatar_page import ROLES, models_from
from avatar_core.reports.charts import Histogram, histogram_svg
from avatar_core.reports.columns import Columns
from avatar_core.reports.library import LibraryReport
from avatar_core.reports.measures import (
    GROUP_TITLES,
    MEASURES,
    STAGE_TITLES,
    Measure,
    of_group,
)
from avatar_core.reports.pages import render

_CHARTS = (
    "mesh.self_intersecting", "texture.seam_difference", "skin.worst_stretch", "skin.stretch_p999",
    "motion.foot_skate", "motion.self_penetration", "motion.ground_penetration", "motion.joint_limits",
    "motion.jerk",
)  # fmt: skip
"""Measures whose spread is drawn."""
_STATES = {
    "done": "finished",
    "failed": "failed",
    "running": "being made",
    "unfinished": "unfinished",
    "accepted": "not begun",
    "rejected": "rejected rows",
}


@dataclass(frozen=True)
class Portrait:
    """How an avatar is shown on the page."""

    picture: str = ""
    """A data URI; empty where it has none."""
    link: str = ""
    """To its own page; empty where there is none that a browser could open."""
    prompts: Mapping[str, str] = field(default_factory=dict)
    """Its texts by column."""


def library_page(report: LibraryReport, portraits: Mapping[str, Portrait]) -> str:
    """Return the page.

    portraits: of the worst avatars and of those that R-precision missed, by id, as far as there are any.
    """
    columns = report.columns
    models, data, counts = report.terms()
    terms = [one for _, one in models]
    varied = [measure for measure in MEASURES if measure.name in _CHARTS and _varies(columns, measure)]
    return render(
        "library.html",
        report=report,
        states=[(_STATES.get(state, state), count) for state, count in report.counts.items() if count],
        columns=columns,
        fits=[
            (f"By the guiding encoder: {name}", _charts(columns, "fit", guide))
            for guide, name in enumerate(columns.encoders)
            if _charts(columns, "fit", guide)
        ],
        judged=_charts(columns, "judge"),
        ranked=report.ranked,
        drawn=[chart for measure in varied if (chart := _chart(columns, measure))],
        tables=_tables(columns),
        times=[spread for measure in of_group("time") if (spread := columns.spread(measure))],
        stage_titles=STAGE_TITLES,
        portraits={bad.avatar_id: portraits.get(bad.avatar_id, Portrait()) for bad in report.worst},
        missed=[] if report.ranked.result is None else _missed(report, portraits),
        weights=[(_parts(role), one) for role, one in models],
        data=[(models_from(one.name, terms), one) for one in data],
        allowed=strictest([*terms, *data]),
        counts=counts,
    )


def _charts(columns: Columns, group: str, guide: int | None = None) -> list[tuple[str, Markup, str]]:
    measures = of_group("fit" if group == "fit" else "judge")
    return [chart for measure in measures if (chart := _chart(columns, measure, guide))]


def _varies(columns: Columns, measure: Measure) -> bool:
    """Whether the values differ by more than nobody would notice, so that there is something to draw."""
    spread = columns.spread(measure)
    return spread is not None and (spread.p95 - spread.p05 >= measure.least or spread.beyond > 0)


def _chart(columns: Columns, measure: Measure, guide: int | None = None) -> tuple[str, Markup, str] | None:
    """A measure's name, its histogram, and what it says in words; None where no avatar has it."""
    spread = columns.spread(measure, guide)
    if spread is None:
        return None
    histogram = Histogram.of(columns.known(measure, guide), measure.least / 4)
    marks = [(spread.median, "middle-line")]
    if measure.limit is not None and histogram.edges[0] <= measure.limit <= histogram.edges[-1]:
        marks.append((measure.limit, "limit"))
    kind = {"fit": "guide", "judge": "judge"}.get(measure.group, "plain")
    ends = measure.shown(float(histogram.edges[0])), measure.shown(float(histogram.edges[-1]))
    title = f"{measure.label}: {spread.avatars} avatars, middle {measure.shown(spread.median)}"
    said = f"middle {measure.shown(spread.median)}, 90\N{NO-BREAK SPACE}% in {measure.shown(spread.p05)} to "
    said += measure.shown(spread.p95)
    if spread.beyond:
        said += f"; {spread.beyond:,} worth a look"
    return measure.label, histogram_svg(histogram, title=title, kind=kind, marks=marks, labels=ends), said


def _tables(columns: Columns) -> list[tuple[str, list[tuple[Measure, list[str], int, bool]]]]:
    """By group: measures with what their spread is in words, how many are beyond the limit, and whether there is one.

    Of a measure that is yes or no, the share of yes stands for all.
    """
    found = []
    for group in ("mesh", "texture", "skin", "motion"):
        rows = []
        for measure in of_group(group):  # type: ignore[arg-type]
            spread = columns.spread(measure)
            if spread is None:
                continue
            numbers = [measure.shown(getattr(spread, name)) for name in ("lowest", "p05", "median", "p95", "highest")]
            if measure.flag:
                share = float(columns.known(measure).mean())
                numbers = ["", "", f"{100 * share:.4g}\N{NO-BREAK SPACE}% yes", "", ""]
            rows.append((measure, numbers, spread.beyond, measure.limit is not None))
        if rows:
            found.append((GROUP_TITLES[group], rows))  # type: ignore[index]
    return found


def _missed(report: LibraryReport, portraits: Mapping[str, Portrait]) -> list[tuple[str, Portrait]]:
    result = report.ranked.result
    return [] if result is None else [(one, portraits.get(one, Portrait())) for one in result.missed]


def _parts(roles: str) -> str:
    return ", ".join(ROLES.get(role, role) for role in roles.split(", "))
