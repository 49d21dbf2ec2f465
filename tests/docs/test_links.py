from urllib.parse import urlsplit

import pytest
from pages import PAGES, ROOT, anchors, links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    broken = []
    for link in links(page):
        parts = urlsplit(link)
        if parts.scheme:
            good = parts.scheme in ("https", "http") and "." in parts.netloc and " " not in link
        else:
            target = (page.parent / parts.path).resolve() if parts.path else page
            good = target.exists() and target.is_relative_to(ROOT)
            good = good and (not parts.fragment or parts.fragment in anchors(target))
        if not good:
            broken.append(link)
    assert broken == []


def test_every_page_is_linked_from_the_readme_or_from_a_page_that_is():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        found = [(page.parent / link.split("#")[0]).resolve() for link in links(page) if "://" not in link]
        waiting += [one for one in found if one.suffix == ".md" and one.is_file()]
    assert set(PAGES) <= reached
