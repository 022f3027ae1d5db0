"""What travels to a machine without a network."""

import importlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
TRAVEL = ROOT / "recipes/default/travel.py"


@pytest.fixture
def travel(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TRAVEL.parent))
    for name in ("travel", "make", "card"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("travel")


def test_what_training_needs_travels_and_what_is_there_does_not(travel: ModuleType) -> None:
    packages = travel.needed(frozenset({"torch", "numpy", "scipy"}))
    assert {"soundfile", "soxr", "symusic", "safetensors", "tinysoundfont"} <= set(packages)
    # requirements of what is there are there too; those of evaluation and tests stay at home
    assert not {"torch", "numpy", "sympy", "onnxruntime", "pytest", "timbrel"} & set(packages)
    assert "click" not in travel.needed(frozenset({"torch", "numpy", "scipy", "typer"}))


def wheel(folder: Path, name: str) -> None:
    """A package of one empty module."""
    folder.mkdir()
    facts = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", "")
        file.writestr(f"{facts}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(
            f"{facts}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        file.writestr(f"{facts}/RECORD", f"{name}.py,,\n{facts}/METADATA,,\n{facts}/WHEEL,,\n")


def test_it_installs_itself_where_there_is_no_network(travel: ModuleType, tmp_path: Path) -> None:
    wheel(tmp_path / "wheels", "something_that_travelled")
    (tmp_path / "install").write_text(travel.INSTALL)
    there = tmp_path / "there"
    # the Python that runs this, as `python3`, without what it may find in a home or by PYTHONPATH
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": str(tmp_path)}
    for script in (
        f"sh {tmp_path}/install {there}",
        f". {there}/environment && timbrel --help && python3 -c 'import something_that_travelled'",
    ):
        done = subprocess.run(
            ["sh", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert "render" in done.stdout
    assert f"TIMBREL_FONTS={tmp_path}/fonts" in (there / "environment").read_text()


def test_it_says_where_it_can_be_installed(travel: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "install").write_text(travel.INSTALL)
    done = subprocess.run(
        ["sh", tmp_path / "install", tmp_path / "there"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "run it in a checkout" in done.stderr
    done = subprocess.run(["sh", tmp_path / "install"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "say where" in done.stderr
    assert not (tmp_path / "there").exists()


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, TRAVEL, "-o", tmp_path], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "is there already" in done.stderr
