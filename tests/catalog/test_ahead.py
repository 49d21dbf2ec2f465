import os
import subprocess
import sys

import pytest

from avatar_core.catalog import CatalogRow, RejectedRow, ahead, read_catalog
from avatar_core.catalog.reader import read_rows
from avatar_core.errors import CatalogError

HEADER = "id,shape,appearance,motion,seed,tags,note\n"


@pytest.fixture(autouse=True)
def small_files_are_worth_it(monkeypatch):
    monkeypatch.setattr(ahead, "MIN_BYTES", 1)
    monkeypatch.setattr(ahead.os, "sched_getaffinity", lambda pid: {0, 1})


@pytest.fixture
def catalog(tmp_path):
    path = tmp_path / "crowd.csv"
    rows = [f'a{number},tall,"red, blüe",walks,{number},"x;y",{"n" * (number % 3)}\n' for number in range(2500)]
    rows[7] = "a7,,red,walks,1,,\n"  # no shape
    rows[1999] = 'a1999,tall,"red,walks,1,,\n'  # never closed
    rows[2100] = "a2100,tall,red\x01,walks,1,,\n"
    path.write_text(HEADER + "".join(rows), encoding="utf-8")
    return path


def children():
    return subprocess.run(["pgrep", "-P", str(os.getpid())], capture_output=True, text=True).stdout.split()


def test_a_process_reads_what_this_one_would(catalog):
    rows = list(read_catalog(catalog))
    assert rows == list(read_rows(catalog))
    assert sum(isinstance(row, CatalogRow) for row in rows) == 2497
    assert [row.line for row in rows if isinstance(row, RejectedRow)] == [9, 2001, 2102]


def test_known_presets_and_bodies_reach_the_process(catalog):
    catalog.write_text("shape,appearance,motion,preset,body\ntall,red,walks,draft,anny\ntall,red,walks,other,\n")
    options = {"presets": {"draft": 1}, "bodies": ("anny",)}
    rows = list(read_catalog(catalog, **options))
    assert rows == list(read_rows(catalog, **options))
    assert [type(row) for row in rows] == [CatalogRow, RejectedRow]


def test_what_is_no_catalog_is_told_at_once(catalog):
    catalog.write_text("name,colour\nann,red\n")
    with pytest.raises(CatalogError, match="has no header"):
        read_catalog(catalog)


def test_an_error_on_the_way_comes_after_the_rows_before(catalog, monkeypatch):
    lines = "import sys\nfrom avatar_core.catalog import ahead, reader\n"
    breaking = (
        "class Breaks(reader.RowValidator):\n"
        "    def check(self, record):\n"
        "        if record.line > 1500: raise OSError(5, 'Input/output error')\n"
        "        return super().check(record)\n"
        "reader.RowValidator = Breaks\nahead.main()\n"
    )
    monkeypatch.setattr(ahead, "_CODE", lines + breaking)
    rows = read_catalog(catalog)
    read = [next(rows) for _ in range(1499)]
    assert read[-1].line == 1500
    with pytest.raises(CatalogError, match="after 1500 rows: Input/output error"):
        next(rows)


def test_a_process_that_dies_is_an_error_and_not_an_end(catalog, monkeypatch):
    dies = "import os\nfrom avatar_core.catalog import ahead\n"
    dies += "ahead._send = lambda content, out: (print('No memory.', file=__import__('sys').stderr), os._exit(9))\n"
    monkeypatch.setattr(ahead, "_CODE", dies + "ahead.main()\n")
    with pytest.raises(CatalogError, match=r"status 9\): No memory"):
        list(read_catalog(catalog))


def test_nothing_is_left_running_when_no_more_rows_are_wanted(catalog):
    before = set(children())
    rows = read_catalog(catalog)
    assert next(rows).id == "a0"
    assert len(set(children()) - before) == 1
    rows.close()
    assert not set(children()) - before


def test_a_folder_without_the_product_makes_no_difference(catalog, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('a file of the working folder was imported')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder])
    assert len(list(read_catalog(catalog))) == 2500


def test_one_processor_reads_by_itself(catalog, monkeypatch):
    monkeypatch.setattr(ahead.os, "sched_getaffinity", lambda pid: {0})
    assert not ahead.worth_it(str(catalog))
