"""The recipe of the default model: from nothing to a model that plays, stopped on the way."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
import typer

from timbrel.cli.main import app
from timbrel.model import load

ROOT = Path(__file__).parents[2]
MAKE = ROOT / "recipes/default/make.py"
TINY = """
[render]
train = 12
valid = 12
synth_share = 1.0
recorded = 0.3
workers = 1
[codec]
preset = "tiny"
steps = 2
batch = 2
[listener]
steps = 1
[model]
preset = "tiny"
steps = 2
batch = 2
[distil]
steps = 2
batch = 2
[sampling]
steps = 2
guidance_structure = 2.0
guidance_timbre = 2.0
[evaluate]
protocols = []
"""


def make(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the recipe, on a machine without sound fonts."""
    environment = {**os.environ, "TIMBREL_FONTS": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(MAKE), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)


@pytest.mark.slow
def test_a_recipe_that_was_stopped_goes_on_and_makes_a_model_that_plays(tmp_path: Path) -> None:
    config, out = tmp_path / "tiny.toml", tmp_path / "out"
    config.write_text(TINY)
    stopped = make(config, "-o", out, "--minutes", 0.05)
    assert stopped.returncode == 0, stopped.stderr
    assert "stopped in stage '" in stopped.stdout
    finished = make(config, "-o", out)
    assert finished.returncode == 0, finished.stderr
    assert "all done" in finished.stdout
    player = load(out / "timbrel-small", "cpu")
    assert player.network.config.denoiser.few_step
    sampling = {"steps": 2, "sampler": "euler", "structure": 2.0, "timbre": 2.0}
    assert player.about["sampling"] == sampling
    assert make(config, "-o", out).stdout.count("$ timbrel") == 0
    card = (out / "timbrel-small/card.md").read_text()
    assert "* **train**: 12 renditions" in card
    assert "| model | 2 |" in card
    assert "timbrel train distil" in card
    assert "Not evaluated" in card


@pytest.mark.parametrize("name", ["two-cores", "gpu"])
def test_every_stage_is_a_command_that_exists(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.util.spec_from_file_location("make", MAKE)
    assert module is not None
    recipe = importlib.util.module_from_spec(module)
    monkeypatch.syspath_prepend(str(MAKE.parent))
    module.loader.exec_module(recipe)  # type: ignore[union-attr]
    config = recipe.read_config(MAKE.parent / f"{name}.toml")
    (tmp_path / "placeholder").touch()
    count = 0
    for _, commands in recipe.stages(config, tmp_path):
        for words in commands:
            command, rest = typer.main.get_command(app), list(words)
            while isinstance(command, click.Group) or hasattr(command, "commands"):
                command = command.commands[rest.pop(0)]
            command.make_context("timbrel", rest)  # refuses options that do not exist
            count += 1
    assert count > 15


def test_a_wrong_configuration_is_named(tmp_path: Path) -> None:
    for text, words in (("[render", "cannot be read"), ("[render]\n", "lacks the section [codec]")):
        (tmp_path / "bad.toml").write_text(text)
        answer = make(tmp_path / "bad.toml", "-o", tmp_path / "out")
        assert answer.returncode != 0
        assert words in answer.stderr
        assert "Traceback" not in answer.stderr
