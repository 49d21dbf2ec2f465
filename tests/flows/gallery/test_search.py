"""Searches find what a plain loop over all avatars finds, in the order asked for."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_core.errors import ConfigError
from avatar_core.manifest.states import STATES_SCHEMA
from flows.gallery.search import COLUMNS, Index, Query

SCHEMA = pa.schema([STATES_SCHEMA.field(name) for name in COLUMNS])
BEGIN = datetime(2026, 1, 2, tzinfo=UTC)


def index(*avatars: dict) -> Index:
    rows = [{"state": "done", "stage": "export", "updated_at": BEGIN, "tags": [], **one} for one in avatars]
    return Index(pa.Table.from_pylist(rows, schema=SCHEMA))


def ids(found: Index, **query: object) -> list[str]:
    return [row["avatar_id"] for row in found.read(found.find(Query(**query)))]


def test_all_words_must_occur_anywhere_in_any_case() -> None:
    people = index(
        {"avatar_id": "Ada-1", "shape": "a TALL woman", "appearance": "a red dress", "motion": "walking"},
        {"avatar_id": "ben-2", "shape": "a tall man", "appearance": "a blue shirt", "tags": ["Tall crowd"]},
        {"avatar_id": "cid-3", "appearance": "Ünïcode 💃"},
    )
    assert ids(people, q="tall") == ["Ada-1", "ben-2"]
    assert ids(people, q="  tall RED ") == ["Ada-1"]
    assert ids(people, q="ada") == ["Ada-1"]
    assert ids(people, q="crowd") == ["ben-2"]
    assert ids(people, q='"red dress"') == ["Ada-1"]
    assert ids(people, q='"dress red"') == []
    assert ids(people, q="ÜNÏCODE") == ["cid-3"]
    assert ids(people, q=".*") == []
    assert ids(people, q="") == ["Ada-1", "ben-2", "cid-3"]


def test_words_do_not_run_from_one_field_into_the_next() -> None:
    assert ids(index({"avatar_id": "a", "shape": "thin", "appearance": "king"}), q="thinking") == []


def test_failed_avatars_are_found_at_the_stage_that_failed() -> None:
    people = index(
        {"avatar_id": "a", "state": "failed", "stage": "export", "error_stage": "texturing"},
        {"avatar_id": "b", "state": "running", "stage": "texturing"},
        {"avatar_id": "c"},
    )
    assert ids(people, stage="texturing") == ["a", "b"]
    assert ids(people, stage="export") == ["c"]
    assert ids(people, stage="texturing", state="running") == ["b"]


def test_orders() -> None:
    people = index(
        {"avatar_id": "b", "score": 0.1, "updated_at": BEGIN + timedelta(hours=1)},
        {"avatar_id": "a", "score": None, "updated_at": BEGIN + timedelta(hours=2)},
        {"avatar_id": "d", "score": 0.3},
        {"avatar_id": "c", "score": 0.3},
    )
    assert ids(people) == ["a", "b", "c", "d"]
    assert ids(people, sort="newest") == ["a", "b", "c", "d"]
    assert ids(people, sort="score") == ["c", "d", "b", "a"]
    assert ids(people, sort="worst") == ["b", "c", "d", "a"]


AVATARS = st.lists(
    st.fixed_dictionaries(
        {
            "state": st.sampled_from(["done", "failed", "running"]),
            "score": st.sampled_from([None, -0.5, 0.25, 0.5]),
            "appearance": st.sampled_from([None, "red", "Red hat", "hat"]),
            "tags": st.sampled_from([None, [], ["x"], ["x", "y"], ["xy"]]),
            "review": st.sampled_from([None, "approved", "requested"]),
        }
    ),
    max_size=12,
)
QUERIES = st.fixed_dictionaries(
    {
        "q": st.sampled_from(["", "red", "hat red", "xy"]),
        "state": st.sampled_from(["", "done"]),
        "tag": st.sampled_from(["", "x", "z"]),
        "review": st.sampled_from(["", "none", "approved"]),
        "least": st.sampled_from([None, 0.25]),
        "most": st.sampled_from([None, 0.25]),
    }
)


def matches(avatar: dict, query: dict) -> bool:
    text = " ".join([avatar["avatar_id"], avatar["appearance"] or "", *(avatar["tags"] or [])]).lower()
    score = avatar["score"]
    return (
        all(word in text for word in query["q"].split())
        and query["state"] in ("", avatar["state"])
        and (not query["tag"] or query["tag"] in (avatar["tags"] or []))
        and query["review"] in ("", avatar["review"] or "none")
        and (query["least"] is None or (score is not None and score >= query["least"]))
        and (query["most"] is None or (score is not None and score <= query["most"]))
    )


@settings(deadline=None)
@given(AVATARS, QUERIES)
def test_filters_find_what_a_plain_loop_finds(avatars: list[dict], query: dict) -> None:
    named = [{"avatar_id": f"a{number:02d}", **one} for number, one in enumerate(avatars)]
    people = index(*named)
    assert ids(people, **query) == [one["avatar_id"] for one in named if matches(one, query)]


def test_counts_rows_and_tags() -> None:
    people = index(
        {"avatar_id": "a", "tags": ["x", "y"], "review": "approved"},
        {"avatar_id": "b", "tags": ["y"], "state": "failed"},
        {"avatar_id": "c", "tags": None},
    )
    assert people.counts("state") == {"done": 2, "failed": 1}
    assert people.counts("review") == {"approved": 1}
    assert people.tags == [("y", 2), ("x", 1)]
    assert (people.row_of("b"), people.row_of("z"), len(people)) == (1, None, 3)


def test_an_empty_library_answers_every_question() -> None:
    nobody = index()
    assert ids(nobody, q="red", tag="x", least=0.5, sort="score") == []
    assert (nobody.tags, nobody.counts("state"), nobody.row_of("a")) == ([], {}, None)


def test_a_query_survives_its_way_through_an_address() -> None:
    from urllib.parse import parse_qsl

    query = Query(q='red & "blue hat" #1', tag="a=b", least=-0.5, review="none", sort="worst")
    assert Query.parse(dict(parse_qsl(query.link()))) == query
    assert Query().link() == ""
    assert query.link(q="", tag="", least=None, review="", sort="id") == ""


@pytest.mark.parametrize(
    "values",
    [{"state": "x"}, {"stage": "catalog"}, {"review": "x"}, {"sort": "best"}, {"least": "x"}, {"most": "nan"}],
)
def test_what_cannot_be_meant_is_named(values: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        Query.parse(values)


def test_more_words_than_anybody_types_are_cut() -> None:
    assert len(Query(q="a " * 1000).words) == 16
