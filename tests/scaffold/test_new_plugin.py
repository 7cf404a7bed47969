"""`agentdistill plugins new`: what it writes installs, is found, and passes its own tests."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from agentdistill.cli import main
from agentdistill.errors import PluginError
from agentdistill.plugins import PluginRegistry
from agentdistill.plugins.scaffolding import SUMMARIES, TEMPLATES, new_plugin

ROOT = Path(__file__).resolve().parents[2]
KINDS = ["env", "teacher", "reward", "loss", "step-weight", "curriculum"]


def new(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["plugins", "new", *arguments])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out + captured.err


def pytest_in(folder: Path, *paths: Path) -> subprocess.CompletedProcess[str]:
    places = os.pathsep.join(map(str, paths))
    environment = {**os.environ, "PYTHONPATH": places, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_generated_whole(kind: str, capsys, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out = new(capsys, kind, "lamp-post")
    assert code == 0 and "pip install -e '.[test]'" in out
    written = {str(path.relative_to("lamp-post")) for path in Path("lamp-post").rglob("*") if path.is_file()}
    stem = kind.replace("-", "_")
    expected = {
        "pyproject.toml",
        "README.md",
        "lamp_post/__init__.py",
        f"lamp_post/{stem}.py",
        "tests/test_lamp_post.py",
    }
    assert written == expected
    project = tomllib.loads(Path("lamp-post/pyproject.toml").read_text())["project"]
    assert project["name"] == "lamp-post"
    assert project["entry-points"] == {"agentdistill": {"lamp_post": "lamp_post"}}
    for path in Path("lamp-post").rglob("*"):
        if path.is_file():
            assert "{{" not in path.read_text() and "{%" not in path.read_text(), path
        if path.suffix == ".py":
            ast.parse(path.read_text())
            assert max(map(len, path.read_text().splitlines())) <= 120, path


def test_what_is_written_is_formatted_and_typed(capsys, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind in KINDS:
        assert new(capsys, kind, f"my-{kind}")[0] == 0
    for command in (["check"], ["format", "--check"]):
        arguments = [sys.executable, "-m", "ruff", *command, "--config", str(ROOT / "pyproject.toml"), "."]
        # The rules of this repository, but for what only its own layout makes true.
        ignore = ["--ignore", "D,I001,RUF012"] if command == ["check"] else []
        done = subprocess.run([*arguments, *ignore], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_generated_environment_installs_is_found_and_passes_its_tests(capsys, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert new(capsys, "env", "lamp-corridor")[0] == 0
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    done = subprocess.run([*pip, "--target", str(site), "./lamp-corridor"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # From another folder than the source: what is tested is what was installed.
    away = tmp_path / "away"
    (tmp_path / "lamp-corridor" / "tests").rename(away)
    done = pytest_in(away, site, ROOT, ROOT / "plugins", ROOT / "envs")
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout and "skipped" not in done.stdout
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    command = [sys.executable, "-m", "agentdistill", "play", "lamp-corridor", "--agent", "expert"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "won after" in done.stdout, done.stderr


@pytest.mark.slow
def test_the_other_kinds_pass_their_tests(capsys, tmp_path: Path, monkeypatch):
    """All in one session, found as an installed plugin is, by metadata."""
    monkeypatch.chdir(tmp_path)
    tests = tmp_path / "tests"
    tests.mkdir()
    site = tmp_path / "site"
    for kind in KINDS[1:]:
        name = f"own-{kind}"
        module = name.replace("-", "_")
        assert new(capsys, kind, name)[0] == 0
        metadata = site / f"{module}-0.1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
        (metadata / "entry_points.txt").write_text(f"[agentdistill]\n{module} = {module}\n")
        (tmp_path / name / module).rename(site / module)
        (tmp_path / name / "tests" / f"test_{module}.py").rename(tests / f"test_{module}.py")
    done = pytest_in(tests, site, ROOT, ROOT / "plugins", ROOT / "envs")
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("env", "Lamp Post", "cannot be named `Lamp Post`"),
        ("env", "-lamp", "No such option"),
        ("env", "class", "cannot be named `class`"),
        ("env", "lamp--post", "cannot be named"),
        ("step-weight", "sod", "There is a step-weight named `sod` already"),
        ("env", "json", "would hide another module"),
        ("engine", "lamp", "is not one of"),
    ],
)
def test_names_that_cannot_be_used_are_refused(kind: str, name: str, message: str, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out = new(capsys, kind, name)
    assert code == 2 and message in out and not list(tmp_path.iterdir()), out


def test_nothing_is_overwritten(capsys, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert new(capsys, "loss", "lamp-loss", "--output", "there")[0] == 0
    before = Path("there/README.md").read_text()
    code, out = new(capsys, "reward", "lamp-reward", "--output", "there")
    assert code == 2 and "exists" in out and Path("there/README.md").read_text() == before


def test_every_kind_has_its_templates_and_every_template_is_used():
    folders = {path.name for path in TEMPLATES.iterdir()} - {"common"}
    assert folders == {kind.replace("-", "_") for kind in SUMMARIES}
    for kind in SUMMARIES:
        files = new_plugin(kind, "lamp-post", PluginRegistry())
        own = list((TEMPLATES / kind.replace("-", "_")).iterdir())
        assert len(files) == len(own) + 1  # and the shared pyproject.toml
    with pytest.raises(PluginError, match="cannot be named"):
        new_plugin("loss", "", PluginRegistry())
