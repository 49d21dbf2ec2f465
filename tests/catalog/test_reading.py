import csv
import io
import re
import unicodedata
import uuid

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_core.catalog import CatalogRow, RejectedRow, read_catalog, row_seed
from avatar_core.errors import CatalogError

HEADER = b"shape,appearance,motion,id,seed,preset,body,tags,note\n"
SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


def read(data, **options):
    return list(read_catalog(io.BytesIO(data), **options))


def read_one(line, **options):
    (row,) = read(HEADER + line, **options)
    return row


def test_a_full_row_comes_out_as_written():
    row = read_one(b'a tall man,"red shirt, blue jeans",walks,hero.1,42,draft,anny,"crowd; night",from Ann\n')
    assert row == CatalogRow(
        line=2,
        id="hero.1",
        shape="a tall man",
        appearance="red shirt, blue jeans",
        motion="walks",
        seed=42,
        preset="draft",
        body="anny",
        tags=("crowd", "night"),
        extra={"note": "from Ann"},
    )


def test_only_the_prompts_are_needed():
    (row,) = read(b"motion,shape,appearance\nwalks,tall,red\n")
    assert (row.shape, row.appearance, row.motion) == ("tall", "red", "walks")
    assert (row.seed, row.preset, row.body, row.tags, row.extra) == (None, None, None, (), {})


@pytest.mark.parametrize(
    "data",
    [
        b"shape,appearance,motion\ntall,red,walks\n",
        b"\xef\xbb\xbfshape,appearance,motion\ntall,red,walks",
        b"shape,appearance,motion\r\ntall,red,walks\r\n",
        b"shape,appearance,motion\rtall,red,walks\r",
        b"\n\n Shape , APPEARANCE, Motion \n\n  tall ,\tred,  walks  \n\n",
        b'"shape","appearance","motion"\n"tall","red","walks"\n',
        b'shape, "appearance", "motion"\ntall, "red", "walks"\n',
        b"shape;appearance;motion\ntall;red;walks\n",
        b"shape\tappearance\tmotion\ntall\tred\twalks\n",
        b"shape,appearance,motion,,\ntall,red,walks,,,,\n",
        b'shape,appearance,motion\ntall,"red","wal\xef\xbb\xbfks"\n',
    ],
)
def test_the_dialects_of_spreadsheets_are_read_alike(data):
    (row,) = read(data)
    assert isinstance(row, CatalogRow), row
    assert (row.shape, row.appearance, row.motion, row.extra) == ("tall", "red", "walks", {})


def test_quoted_fields_span_lines_and_line_numbers_stay_those_of_the_file():
    rows = read(b'shape,appearance,motion\ntall,"red\r\nshirt\n\nand ""hat""",walks\n\nfat,blue,runs\n,x,y\n')
    assert [(row.line, type(row)) for row in rows] == [(2, CatalogRow), (7, CatalogRow), (8, RejectedRow)]
    assert rows[0].appearance == 'red shirt and "hat"'


def test_a_quote_inside_an_unquoted_field_is_just_a_quote():
    row = read_one(b"a 6' 2\" man,red,walks\n")
    assert row.shape == "a 6' 2\" man"


def test_text_of_any_language_is_kept_in_one_normal_form():
    row = read_one("大きな男,cafe\u0301 brown coat,танцует 💃\n".encode())
    assert (row.shape, row.appearance, row.motion) == ("大きな男", "café brown coat", "танцует 💃")
    assert SAFE_ID.fullmatch(row.id)


def test_columns_without_a_name_and_extra_columns_are_carried_along():
    (row,) = read(b"shape,appearance,motion,Artist Name,\na,b,c,Ann,spare\n")
    assert row.extra == {"Artist Name": "Ann", "column_5": "spare"}


LONG = b"x" * 301
REJECTIONS = [
    (b",red,walks", "shape", "empty"),
    (b"tall,  ,walks", "appearance", "empty"),
    (b"tall,red", "motion", "empty"),
    ("tall,\u200b\u200d,walks".encode(), "appearance", "empty"),
    (b",,,", "shape", "empty"),
    (b"tall," + LONG + b",walks", "appearance", "301 characters"),
    (b'tall,red,walks,,,,,"' + LONG + b'"', "tags", "301 characters"),
    (b"tall,re\x00d,walks", "appearance", "U+0000"),
    (b"tall,red,wal\x1bks", "motion", "U+001B"),
    ("tall,red,walks,,,,,,no\x85te".encode(), "note", "U+0085"),
    (b"tall,r\xe9d,walks", "appearance", "UTF-8"),
    (b"tall,red,walks,,,,,,caf\xe9", "note", "UTF-8"),
    (b"tall,red,walks,a,1.5", "seed", "no integer"),
    (b"tall,red,walks,a,seven", "seed", "no integer"),
    (b"tall,red,walks,a,1e3", "seed", "no integer"),
    ("tall,red,walks,a,٣".encode(), "seed", "no integer"),
    (b"tall,red,walks,a,-1", "seed", "range"),
    (b"tall,red,walks,a,2147483648", "seed", "range"),
    (b"tall,red,walks,a," + b"9" * 5000, "seed", "range"),
    (b"tall,red,walks,../up", "id", "safe"),
    (b"tall,red,walks,a b", "id", "safe"),
    (b"tall,red,walks,.hidden", "id", "safe"),
    (b"tall,red,walks,dot.", "id", "safe"),
    (b"tall,red,walks," + b"i" * 81, "id", "safe"),
    ("tall,red,walks,né".encode(), "id", "safe"),
    (b"tall,red,walks,CON", "id", "Windows"),
    (b"tall,red,walks,com1.glb", "id", "Windows"),
    (b"tall,red,walks,a,1,p,b,t,n,one too many", "row", "10 fields"),
    (b'tall,"red" shirt,walks', "row", "closing quote"),
    (b'tall,"red,walks', "row", "not closed"),
    (b"tall,red,walks,a,1,no/such", "preset", "no name"),
]


@pytest.mark.parametrize(("line", "field", "reason"), REJECTIONS)
def test_a_bad_row_is_rejected_by_line_field_reason_and_remedy_and_the_others_go_on(line, field, reason):
    rows = read(HEADER + b"first,red,walks\n" + line + b"\nlast,red,walks\n")
    assert [row.line for row in rows] == [2, 3, 4]
    assert [row.shape for row in rows if isinstance(row, CatalogRow)] == ["first", "last"]
    rejected = rows[1]
    assert isinstance(rejected, RejectedRow)
    assert rejected.field == field
    assert reason in rejected.reason
    assert rejected.remedy
    assert len(rejected.raw) <= 1000
    assert not re.search("[\x00-\x08\x0b-\x1f\ud800-\udfff]", rejected.raw)


def test_limits_are_inclusive():
    row = read_one(b"x" * 300 + b",red,walks," + b"i" * 80 + b",2147483647\n")
    assert (len(row.shape), len(row.id), row.seed) == (300, 80, 2**31 - 1)


def test_a_rejected_row_keeps_its_id_if_that_is_safe():
    assert read_one(b",red,walks,hero\n").id == "hero"
    assert read_one(b"tall,red,walks,../hero\n").id is None


def test_known_presets_and_bodies_are_checked_and_listed():
    options = {"presets": {"draft", "standard"}, "bodies": ["anny"]}
    assert read_one(b"tall,red,walks,,,draft,anny\n", **options).preset == "draft"
    row = read_one(b"tall,red,walks,,,ultra\n", **options)
    assert (row.field, row.remedy) == ("preset", "leave it empty or use one of: draft, standard")
    unknown = read_one(b"tall,red,walks,,,,smpl\n", **options)
    assert unknown.field == "body"
    assert "avatars models add PATH" in unknown.remedy


def test_a_quote_that_is_never_closed_costs_one_row():
    bad = b'tall,"red,walks\n'
    good = b"".join(b"tall %d,red,walks\n" % index for index in range(200))
    rows = read(HEADER + bad + good)
    assert [row.line for row in rows] == list(range(2, 203))
    assert [row.line for row in rows if isinstance(row, RejectedRow)] == [2]


def test_a_quote_that_closes_in_a_later_row_costs_only_the_rows_at_fault():
    rows = read(HEADER + b'tall,"red,walks\nfat,blue,runs\nslim,"green, gold",sits\n')
    assert [(row.line, isinstance(row, CatalogRow)) for row in rows] == [(2, False), (3, True), (4, True)]


def test_an_endless_line_is_one_rejection_in_bounded_memory():
    rows = read(HEADER + b"a" * 1_000_000 + b"\r\ntall,red,walks\n")
    assert [(row.line, type(row)) for row in rows] == [(2, RejectedRow), (3, CatalogRow)]
    assert "65,536" in rows[0].reason
    assert len(rows[0].raw) == 1000


@pytest.mark.parametrize("length", [65_535, 65_536, 65_537, 65_538])
def test_lines_as_long_as_the_limit_do_not_disturb_the_numbering(length):
    rows = read(HEADER + b"a" * length + b"\r\ntall,red,walks\r\n")
    assert [(row.line, type(row)) for row in rows] == [(2, RejectedRow), (3, CatalogRow)]


@pytest.mark.parametrize("second", ["Hero", "hero", "HERO"])
def test_an_id_used_twice_is_rejected_whatever_its_case(second):
    first, again = read(HEADER + f"tall,red,walks,Hero\nfat,blue,runs,{second}\n".encode())
    assert isinstance(first, CatalogRow)
    assert (again.field, again.id) == ("id", second)
    assert "line 2" in again.reason


def test_a_rejected_row_does_not_reserve_its_id():
    rejected, accepted = read(HEADER + b",red,walks,hero\ntall,red,walks,hero\n")
    assert isinstance(rejected, RejectedRow)
    assert isinstance(accepted, CatalogRow)


def test_a_row_that_repeats_another_is_rejected_and_told_how_to_differ():
    rows = read(HEADER + b"tall,red,walks\ntall, red ,walks\ntall,red,walks,,1\ntall,red,walks,twin\n")
    assert [isinstance(row, CatalogRow) for row in rows] == [True, False, True, True]
    assert "repeats line 2" in rows[1].reason
    assert "seed" in rows[1].remedy
    assert len({row.id for row in rows if isinstance(row, CatalogRow)}) == 3


def test_ids_depend_on_the_prompts_and_the_seed_and_not_on_the_place_in_the_file():
    a, b = read(HEADER + b"tall man,red shirt,walks\nfat man,red shirt,walks\n")
    b_again, a_again = read(HEADER + b"fat man,red shirt,walks\ntall man,red shirt,walks,,,,,night\n")
    assert (a.id, b.id) == (a_again.id, b_again.id)
    assert a.id.startswith("tall-man-red-shirt-walks-")
    assert a.id != b.id


def test_prompts_are_not_confused_across_columns():
    a, b = read(HEADER + b"a b,c,d\na,b c,d\n")
    assert isinstance(b, CatalogRow)
    assert a.id != b.id


def test_a_row_has_one_seed_given_or_from_its_id():
    given_seed, derived, other = read(HEADER + b"a,b,c,x,0\na,b,c,y\na,b,c,z\n")
    assert row_seed(given_seed) == 0
    assert row_seed(derived) == row_seed(derived) != row_seed(other)
    assert 0 <= row_seed(derived) < 2**31


BAD_FILES = {
    "empty": (b"", "empty"),
    "blank": (b"\n \n\r\n", "empty"),
    "only a mark": (b"\xef\xbb\xbf", "empty"),
    "header only": (b"shape,appearance,motion\n", "no rows"),
    "no header": (b"tall man,red shirt,walks\n", "no header"),
    "one column missing": (b"shape,motion\na,b\n", "lacks the column appearance"),
    "two columns missing": (b"shape,look\na,b\n", "lacks the columns appearance, motion"),
    "a column twice": (b"shape,appearance,motion,Shape\na,b,c,d\n", "'shape' twice"),
    "an extra column twice": (b"shape,appearance,motion,note,note\na,b,c,d,e\n", "'note' twice"),
    "UTF-16": ("shape,appearance,motion\na,b,c\n".encode("utf-16"), "UTF-16"),
    "UTF-16 without a mark": ("shape,appearance,motion\na,b,c\n".encode("utf-16-le"), "not a text file"),
    "spreadsheet": (b"PK\x03\x04" + bytes(100), "spreadsheet"),
    "gzip": (b"\x1f\x8b\x08" + bytes(100), "compressed"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "not a text file"),
    "Latin-1 header": ("shape,appearance,motion,größe\n".encode("latin-1"), "not a text file"),
    "JSON": (b'[{"shape": "tall"}]\n', "no header"),
    "broken quotes in the header": (b'shape,"appearance,motion\na,b,c\n', "no header"),
    "one endless line": (b"a" * 200_000, "no header"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_file_that_is_no_catalog_is_one_error_that_names_it_and_the_remedy(tmp_path, kind):
    data, problem = BAD_FILES[kind]
    path = tmp_path / "prompts.csv"
    path.write_bytes(data)
    with pytest.raises(CatalogError) as caught:
        list(read_catalog(path))
    message = str(caught.value)
    assert message.startswith(str(path))
    assert problem in message
    assert ":" in message.removeprefix(str(path))
    assert len(message) < 400


def test_missing_files_and_folders_are_told_apart(tmp_path):
    with pytest.raises(CatalogError, match="does not exist"):
        read_catalog(tmp_path / "absent.csv")
    with pytest.raises(CatalogError, match="is a folder"):
        read_catalog(tmp_path)
    with pytest.raises(CatalogError, match=r"nosuch://.* cannot be opened"):
        read_catalog("nosuch://place/x.csv")


def test_a_header_problem_is_raised_before_the_first_row():
    with pytest.raises(CatalogError, match="The catalog lacks"):
        read_catalog(io.BytesIO(b"shape,motion\na,b\n"))


def test_every_kind_of_source_reads_alike(tmp_path):
    data = "\ufeffshape,appearance,motion\ntall,café,walks\nb,\n".encode()
    path = tmp_path / "c.csv"
    path.write_bytes(data)
    url = f"memory://{uuid.uuid4().hex}/c.csv"
    with fsspec.open(url, "wb") as file:
        file.write(data)
    expected = read(data)
    assert len(expected) == 2
    with open(path, encoding="utf-8") as text, open(path, "rb") as binary:
        for source in (path, str(path), url, path.as_uri(), text, binary, io.StringIO(data.decode())):
            assert list(read_catalog(source)) == expected
        assert not binary.closed


class Pipe(io.RawIOBase):
    """A stream that cannot seek and gives a few bytes at a time, as a pipe does, then perhaps fails."""

    def __init__(self, data, error=None):
        self.data, self.error = data, error

    def readable(self):
        return True

    def readinto(self, buffer):
        if not self.data and self.error:
            raise self.error
        count = min(7, len(buffer), len(self.data))
        buffer[:count], self.data = self.data[:count], self.data[count:]
        return count


def test_a_pipe_is_read_as_it_comes():
    data = HEADER + b"".join(b"tall %d,r\xc3\xa9d,walks\r\n" % index for index in range(500))
    assert [row.shape for row in read_catalog(Pipe(data))] == [f"tall {index}" for index in range(500)]


def test_a_source_that_breaks_off_is_a_catalog_error_after_the_rows_before():
    data = HEADER + b"tall,red,walks\n" * 1000
    rows = read_catalog(Pipe(data, OSError(5, "connection lost")))
    assert next(rows).line == 2
    with pytest.raises(CatalogError, match="connection lost"):
        list(rows)


def test_rows_come_before_the_file_has_ended():
    """An endless catalog gives its first rows at once and holds nothing but the ids."""

    class Endless(io.RawIOBase):
        def __init__(self):
            self.pending, self.count = HEADER, 0

        def readable(self):
            return True

        def readinto(self, buffer):
            while len(self.pending) < len(buffer):
                self.pending += b"tall %d,red,walks\n" % self.count
                self.count += 1
            buffer[:], self.pending = self.pending[: len(buffer)], self.pending[len(buffer) :]
            return len(buffer)

    source = Endless()
    rows = read_catalog(source)
    for _ in range(100):
        assert isinstance(next(rows), CatalogRow)
    assert source.count < 10_000


@given(st.binary(max_size=300))
def test_random_bytes_are_a_catalog_error(data):
    with pytest.raises(CatalogError):
        list(read_catalog(io.BytesIO(data)))


CSV_BYTES = st.lists(st.sampled_from([b'"', b",", b"\n", b"\r", b" ", b"a", b"7", b"\x00", b"\xff", b"\xc3\xa9"]))


@given(st.one_of(CSV_BYTES.map(b"".join), st.binary(max_size=300)))
def test_random_rows_are_accepted_or_rejected_one_by_one(data):
    content = HEADER + b"first,red,walks,first\n" + data
    rows = read(content)
    starts = [row.line for row in rows]
    assert starts == sorted(set(starts))
    assert starts[0] == 2
    assert starts[-1] <= len(content.decode("latin-1").splitlines())
    accepted = [row for row in rows if isinstance(row, CatalogRow)]
    assert len({row.id.lower() for row in accepted}) == len(accepted)
    for row in accepted:
        assert SAFE_ID.fullmatch(row.id)
        for text in (row.shape, row.appearance, row.motion, *row.extra.values()):
            text.encode()
            assert text == text.strip() != ""
    for row in rows:
        if isinstance(row, RejectedRow):
            assert row.field
            assert row.reason
            assert row.remedy
            row.raw.encode()


@given(st.binary(max_size=400))
def test_a_row_after_any_bytes_without_quotes_is_still_read(data):
    data = data.replace(b'"', b"")
    rows = read(HEADER + data + b"\ntall,red,walks,the-last\n")
    assert rows[-1].id == "the-last"


PRINTABLE = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cf", "Zl", "Zp")), min_size=1, max_size=40)
PROMPTS = PRINTABLE.filter(lambda text: any(unicodedata.category(c)[0] in "LNPS" for c in text))


@given(st.lists(st.tuples(PROMPTS, PROMPTS, PROMPTS), min_size=1, max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_whatever_a_csv_writer_writes_is_read_back(rows, end):
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end)
    writer.writerow(["id", "shape", "appearance", "motion"])
    for index, row in enumerate(rows):
        writer.writerow([f"row-{index}", *row])
    read_back = [(row.shape, row.appearance, row.motion) for row in read(text.getvalue().encode())]
    expected = [tuple(" ".join(unicodedata.normalize("NFC", prompt).split()) for prompt in row) for row in rows]
    assert read_back == expected


@given(PROMPTS, PROMPTS, PROMPTS, st.one_of(st.none(), st.integers(0, 2**31 - 1)))
def test_derived_ids_are_safe_names_and_always_the_same(shape, appearance, motion, seed):
    text = io.StringIO()
    csv.writer(text).writerow([shape, appearance, motion, "", "" if seed is None else seed])
    first, second = (read(HEADER + text.getvalue().encode())[0] for _ in range(2))
    assert first.id == second.id
    assert SAFE_ID.fullmatch(first.id)
    assert not first.id.endswith(".")
