"""Every command of the pages is known to the real command line, or stands in NOT_CHECKED with the reason.

`avatars …` is parsed by the command itself, options and their types included; `python -m …` has to be a module that
exists, and its options have to be in what the module says of itself. DONE_BY names what carries
them out.
"""

import contextlib
import functools
import importlib.util
import json
import subprocess
import sys

import pytest
import typer.main
from pages import PAGES, ROOT, commands

from flows.cli.app import app

UsageError = typer.BadParameter.__base__

NOT_CHECKED = {
    "pip": "installs packages; .ci/run runs the README's test line in a fresh environment",
    "pytest": "is what runs this; .ci/run",
    "ruff": "is run by .ci/run",
    "mypy": "is run by .ci/run",
    "prefect": "starts servers and workers; tests/e2e/test_fleet.py has them",
    "docker": "needs a container engine",
    "kubectl": "needs a cluster",
    "export": "sets a variable of the shell",
    "cd": "changes the folder of the shell",
}
DONE_BY = {
    "README.md": "e2e/test_end_to_end.py",  # other prompts, `tiny`; the fleet's lines: e2e/test_fleet.py
    "configuration.md": "e2e/test_recipes.py",  # the same with another preset
    "fleet.md": "e2e/test_fleet.py",  # process workers; nothing runs docker or kubectl, for want of an engine
    "paper.md": "e2e/test_paper.py",  # its networks in small; the encoder named there has to be fetched
    "priors.md": "e2e/test_brought_priors.py",  # files with the published layout; the downloads need a registration
    "recipes.md": "e2e/test_recipes.py",  # these very lines
    "reports.md": "flows/test_library_report.py",  # licences: flows/test_library_licences.py
    "security.md": "hostile/test_fuzz.py",  # itself, with fewer inputs
    "smpl.md": "e2e/test_smpl.py",  # a synthetic model; the downloads need a registration
    "speed.md": "benchmarks/test_texturing.py",  # and test_manifest, test_gallery beside it, e2e/test_kills.py
    "training.md": "priors/test_own_priors.py",  # encoders: training/test_bodyclip_training.py
}
"""The tests that carry out, in small, what a page's commands do, by page."""
COMMANDS = [(page, words) for page in PAGES for words in commands(page)]


def of(program):
    chosen = [(page, words) for page, words in COMMANDS if words[0] == program]
    return pytest.mark.parametrize(("page", "words"), chosen, ids=[f"{p.name}: {' '.join(w)}"[:90] for p, w in chosen])


def test_every_command_is_checked_or_has_a_reason_why_not():
    assert {words[0] for _, words in COMMANDS} <= {"avatars", "python", *NOT_CHECKED}


def test_every_page_with_commands_has_tests_that_carry_them_out():
    assert {page.name for page, _ in COMMANDS} == set(DONE_BY)
    assert [name for name in DONE_BY.values() if not (ROOT / "tests" / name).is_file()] == []


@of("avatars")
def test_the_command_line_knows_it(page, words):
    parse(words)


def test_the_command_line_refuses_what_it_does_not_know():
    with pytest.raises(UsageError):
        parse(["avatars", "ruin", "people.csv"])
    with pytest.raises(UsageError):
        parse(["avatars", "run", "people.csv", "--libary", "library"])


@of("python")
def test_the_module_exists_and_knows_the_options(page, words):
    if words[1] == "-m":
        assert importlib.util.find_spec(words[2]) is not None
    else:
        assert (ROOT / words[1]).is_file()
    told = helps()[program(words)]
    assert {option for option in options(words) if option not in told} == set()


ASK = """
import contextlib, io, json, runpy, sys
told = {}
for name in sys.argv[1:]:
    sys.argv = [name, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
        run = runpy.run_path if name.endswith(".py") else runpy.run_module
        run(name, run_name="__main__")
    told[name] = said.getvalue()
print(json.dumps(told))
"""


@functools.cache
def helps():
    """Return what the pages' programs say of themselves, by module or path; one process asks them all."""
    names = sorted({program(words) for _, words in COMMANDS if words[0] == "python"})
    done = subprocess.run([sys.executable, "-c", ASK, *names], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def program(words):
    """Return the module or path that a `python` command runs."""
    return words[2] if words[1] == "-m" else words[1]


def options(words):
    return {word.split("=")[0] for word in words[2:] if word.startswith("--")} - {"--help"}


def parse(words):
    """Parse a command as the real command line does, without carrying it out."""
    command, arguments = typer.main.get_command(app), words[1:]
    context = None
    while True:
        with contextlib.suppress(typer.Exit):
            context = command.make_context(words[0], list(arguments), parent=context)
        if not hasattr(command, "resolve_command"):
            return
        rest = [*context._protected_args, *context.args] if hasattr(context, "_protected_args") else context.args
        _, command, arguments = command.resolve_command(context, rest)
