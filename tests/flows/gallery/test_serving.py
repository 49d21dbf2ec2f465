"""The gallery's files are all in the package, three.js comes with trimesh, and a taken port is named."""

import socket
import tomllib
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

import flows.gallery
from avatar_core.errors import ConfigError
from flows.cli.app import app
from flows.gallery.access import Access
from flows.gallery.rendering import THREE, load_static
from flows.gallery.serving import address, listen
from flows.gallery.three import extract_three, three_source

FOLDER = Path(flows.gallery.__file__).parent
PROJECT = Path(__file__).parents[3]


def test_templates_and_static_files_are_package_data() -> None:
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["flows"]
    source, installed = PROJECT / "flows", FOLDER.parent
    packed = {path.relative_to(source) for pattern in settings for path in source.glob(pattern)}
    files = (path for path in FOLDER.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))
    needed = {path.relative_to(installed) for path in files}
    assert packed == needed
    assert {path.suffix for path in needed} == {".html", ".css", ".js", ".svg"}


def test_three_is_whole_and_does_nothing_by_itself() -> None:
    source = three_source()
    assert source is not None
    text = source.decode()
    assert "Three.js Authors" in text or "threejs.org/license" in text
    assert "THREE.GLTFLoader" in text
    assert "<" + "/script" not in text
    assert "$B64GLTF" not in text
    assert "document.body" not in text
    assert load_static()[THREE].content == source


@pytest.mark.parametrize("page", ["<html></html>", "<script>THREE</script>", "var camera, <script>"])
def test_an_archive_without_three_has_none(tmp_path: Path, page: str) -> None:
    with zipfile.ZipFile(tmp_path / "viewer.zip", "w") as file:
        file.writestr("viewer.html.template", page)
    assert extract_three(tmp_path / "viewer.zip") is None
    (tmp_path / "viewer.zip").write_bytes(b"damaged")
    assert extract_three(tmp_path / "viewer.zip") is None
    assert extract_three(tmp_path / "missing.zip") is None


def test_a_page_without_three_says_so(browser, monkeypatch) -> None:
    renderer = browser.app._app.state.gallery.renderer
    monkeypatch.setitem(renderer._environment.globals, "has_three", False)
    page = browser.get("/avatars/ada").text
    assert "has none" in page
    assert "three.js?v=" not in page


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}.*another --port"):
            listen("127.0.0.1", port)


def test_a_host_that_is_not_this_machines_is_named() -> None:
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1"):
        listen("192.0.2.1", 0)


def test_the_printed_address_can_be_opened() -> None:
    assert address(Access("127.0.0.1", 8765)) == "http://127.0.0.1:8765/"
    assert address(Access("::1", 80)) == "http://[::1]:80/"
    token = "correct horse & battery"
    assert address(Access("10.0.0.1", 80, token)) == "http://10.0.0.1:80/?token=correct%20horse%20%26%20battery"
    assert address(Access("0.0.0.0", 80)).startswith("http://")
    assert "0.0.0.0" not in address(Access("0.0.0.0", 80))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--library", "no-such-library"], "There is no library"),
        (["--token", "short"], "--token"),
        (["--listen", "192.0.2.1", "--port", "0"], "192.0.2.1"),
    ],
)
def test_mistakes_in_the_command_are_named_first(tmp_path: Path, arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["gallery", "--library", str(tmp_path), *arguments])
    assert result.exit_code == 2
    assert said in result.stderr
