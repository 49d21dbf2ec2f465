from pages import ROOT

from avatar_core.config_page import page


def test_the_committed_page_is_what_the_models_say():
    assert (ROOT / "docs/configuration.md").read_text(encoding="utf-8") == page()


def test_every_setting_is_described():
    rows = [line for line in page().splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert [row for row in rows if row.endswith("|  |")] == []
