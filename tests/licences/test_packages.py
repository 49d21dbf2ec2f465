"""What packages say of their licences."""

import pytest

from avatar_core.licences import ffmpeg_facts, installed_packages
from avatar_core.licences.packages import declared_licence


def test_what_the_project_needs_is_listed_with_what_it_needs_in_turn():
    found = {package.name: package for package in installed_packages()}
    assert found["numpy"].direct
    assert found["numpy"].licence.startswith("BSD-3-Clause")
    assert found["numpy"].commercial == "yes"
    assert not found["anyio"].direct
    assert "pytest" not in found, "extras are left out"
    assert list(found) == sorted(found)
    assert installed_packages("no-such-project") == []


OSI = "License :: OSI Approved :: "


@pytest.mark.parametrize(
    ("expression", "field", "classifiers", "said"),
    [
        ("MIT AND BSD-3-Clause", "whatever", [OSI + "Apache Software License"], "MIT AND BSD-3-Clause"),
        (None, "MIT", [], "MIT"),
        (None, "The MIT License (MIT)\n\nCopyright (c) 2023 X\n\nPermission is hereby …", [], "MIT"),
        (None, "Copyright (c) 2001 X\nAll rights reserved", [OSI + "BSD License"], "BSD"),
        (None, None, [OSI + "Apache Software License", "Topic :: Games"], "Apache-2.0"),
        (None, "dual", [OSI + "MIT License", OSI + "Apache Software License"], "MIT AND Apache-2.0"),
        (None, "Our own terms", [], "Our own terms"),
        (None, "Copyright (c) 2001 X, all rights reserved", [], "unknown"),
        (None, "x" * 500, [], "unknown"),
        (None, "  \n ", [], "unknown"),
        (None, None, [], "unknown"),
    ],
)
def test_nothing_is_guessed(expression, field, classifiers, said):
    assert declared_licence(expression, field, classifiers) == said


def test_the_film_encoder_tells_its_own_licence():
    facts = ffmpeg_facts()
    assert facts is not None
    assert "GPL" in facts.licence
    assert facts.commercial == "conditions"


def test_without_the_program_nothing_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "none"))
    assert ffmpeg_facts() is None
