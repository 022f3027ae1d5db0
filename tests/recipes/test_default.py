"""The recipe of the default model: from nothing to a model that plays, stopped on the way."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import click
import pytest
import torch
import typer

from timbrel.cli.main import app
from timbrel.evaluation.compare import Comparison, Verdict
from timbrel.model import load
from timbrel.serialize import load_codec

Make = Callable[..., subprocess.CompletedProcess[str]]
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
[decoder]
played = 4
steps = 2
batch = 2
waveform_from = 0.0
[sampling]
steps = 2
guidance_structure = 2.0
guidance_timbre = 2.0
[evaluate]
protocols = []
"""


BRIEF = """
question = "Is anything heard?"
structure = "notes"
cases = 1
seed = 1
seconds = 3.0
base = { pool = "seen-seen" }
[levels]
"any" = {}
"""
# runs at the start of every process: sound fonts of this machine are out of sight
WITHOUT_FONTS = "import timbrel.data.render.soundfont as soundfont\nsoundfont.FOLDERS = ()\n"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """That of a machine without sound fonts."""
    folder = tmp_path_factory.mktemp("start")
    (folder / "sitecustomize.py").write_text(WITHOUT_FONTS)
    changes = {"PYTHONPATH": str(folder), "TIMBREL_FONTS": "", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **changes}


@pytest.fixture(scope="module")
def make(environment: dict[str, str]) -> Make:
    """Runs the recipe, on a machine without sound fonts."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(MAKE), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)

    return run


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The recipe as a module."""
    spec = importlib.util.spec_from_file_location("make", MAKE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.syspath_prepend(str(MAKE.parent))
    monkeypatch.setitem(sys.modules, "make", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def go(recipe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Goes through the recipe in `tmp_path / "out"`; trainings do `share` of their steps."""
    monkeypatch.setattr(recipe, "write_card", lambda *_: tmp_path / "card.md")
    (tmp_path / "changes.toml").write_text("[training]\nframes = 32\n")

    def run(text: str, share: float = 1.0) -> None:
        (tmp_path / "tiny.toml").write_text(text)
        monkeypatch.setattr(
            sys, "argv", ["make.py", f"{tmp_path}/tiny.toml", "-o", f"{tmp_path}/out"]
        )

        def train(command: list[str], until: float) -> bool:
            if "--steps" in command and command[1] in recipe.RUNS:
                step = int(command[command.index("--steps") + 1]) * share
                folder = Path(command[command.index("-o") + 1])
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "metrics.jsonl").write_text(json.dumps({"step": step, "seconds": 9.0}))
            return True

        monkeypatch.setattr(recipe, "run", train)
        recipe.main()

    return run


@pytest.mark.slow
def test_a_recipe_that_was_stopped_goes_on_and_makes_a_model_that_plays(
    make: Make, tmp_path: Path
) -> None:
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
    assert "| decoder | 2 |" in card
    before, after = (load_codec(out / name) for name in ("codec/codec", "timbrel-small"))
    assert before.latent_id == after.latent_id
    changed = zip(before.decoder.parameters(), after.decoder.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in changed)
    assert "timbrel train distil" in card
    assert "Not evaluated" in card
    # what is not done yet may be asked later
    (tmp_path / "brief.toml").write_text(BRIEF)
    config.write_text(TINY.replace("protocols = []", 'protocols = ["unseen", "brief.toml"]'))
    judged = make(config, "-o", out)
    assert judged.returncode == 0, judged.stderr
    assert "MuseScore General was not found" in judged.stdout
    assert "protocol 'unseen' is not asked: it needs sounds of kinds" in judged.stdout
    assert "$ timbrel compare" in judged.stdout
    card = (out / "timbrel-small/card.md").read_text()
    assert "* Protocol 'unseen' is not asked" in card
    assert "| brief | timbrel-small, from notes |" in card
    assert "Against the shipped model, `brief`" in card
    assert "* Structure is notes" in card


def test_a_training_that_was_stopped_alone_is_not_taken_for_done(
    go: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = tmp_path / "out/done"
    go(TINY, share=0.5)
    assert "stopped in stage 'codec'" in capsys.readouterr().out
    assert {path.name for path in done.iterdir()} == {"render-train", "render-valid"}
    go(TINY)
    assert "all done" in capsys.readouterr().out
    kept = json.loads((done / "codec").read_text())
    assert kept["commands"][0][:2] == ["train", "codec"]
    assert kept["settings"]["codec"]["steps"] == 2


def test_another_configuration_of_what_is_done_is_refused_by_name(
    go: Callable[..., None], tmp_path: Path
) -> None:
    text = TINY.replace("[model]", '[model]\nrecipe = "changes.toml"')
    go(text)
    for old, new, words in (
        ("train = 12", "train = 24", r"'render-train' .* render\.train = 12, not 24"),
        (
            "[listener]\nsteps = 1",
            "[listener]\nsteps = 3",
            r"'listener' .* listener\.steps = 1, not 3",
        ),
        ("structure = 2.0", "structure = 1.0", r"'first' .* sampling\.guidance_structure = 2.0"),
        ("[distil]", "[no_distil]", r"'first' .* distil = True, not False"),
    ):
        with pytest.raises(SystemExit, match=f"make.py: stage {words}"):
            go(text.replace(old, new))
    go(text.replace("workers = 1", "workers = 2"))  # makes the same
    (tmp_path / "changes.toml").write_text("[training]\nframes = 64\n")
    with pytest.raises(
        SystemExit, match=r"'model' .* model\.recipe\.training\.frames = 32, not 64"
    ):
        go(text)


def test_a_protocol_without_its_sounds_is_named_and_a_wrong_one_refused(
    recipe: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "find_fonts", list)
    (reason,) = recipe.unasked(["midi-to-audio", "unseen", "cover"]).values()
    assert "'unseen' is not asked: it needs sounds of kinds" in reason
    assert "(unseen-seen, seen-unseen; see" in reason
    with pytest.raises(SystemExit, match=r"there is no protocol 'unheard'"):
        recipe.unasked(["unheard"])


def test_a_recipe_that_is_told_to_end_tells_its_stage(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "tiny.toml").write_text(TINY.replace("train = 12", "train = 12000"))
    command = [sys.executable, str(MAKE), str(tmp_path / "tiny.toml"), "-o", str(tmp_path / "out")]
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        while not (tmp_path / "out/train").exists():
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130
        with pytest.raises(ProcessLookupError):  # nobody of its group is left
            os.killpg(process.pid, 0)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_a_stage_that_was_killed_is_named(
    recipe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies = tmp_path / "dies"
    dies.write_text("#!/bin/sh\nkill -KILL $$\n")
    dies.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(dies))
    with pytest.raises(SystemExit, match=r"`timbrel train` was ended by SIGKILL .is memory short"):
        recipe.run(["train", "codec"], time.monotonic() + 60)


def test_what_speaks_against_a_model_is_said(
    recipe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = {
        "unseen": Verdict("new", "old", better=("note F1",), worse=()),
        "brief": Verdict(
            "new", "old", better=("note F1",), worse=("dB off truth", "octave errors")
        ),
    }

    def found(folders: list[Path]) -> Comparison:
        assert [folder.parent.name for folder in folders] == ["shipped", "report"]
        return Comparison("", (verdicts[folders[0].name],))

    monkeypatch.setattr(recipe, "comparison", found)
    (sentence,) = recipe.worse(["unseen", "folder/brief.toml"], tmp_path)
    assert sentence.endswith(
        "brief it is worse than the shipped model in dB off truth, octave errors"
    )


@pytest.mark.parametrize("name", ["two-cores", "gpu"])
def test_every_stage_is_a_command_that_exists(
    name: str, recipe: ModuleType, tmp_path: Path
) -> None:
    config = recipe.read_config(MAKE.parent / f"{name}.toml")
    (tmp_path / "placeholder").touch()
    count = 0
    asked = recipe.questions(config["evaluate"]["protocols"], tmp_path)
    for stage in (*recipe.stages(config, tmp_path), *asked):
        for words in stage.commands:
            command, rest = typer.main.get_command(app), list(words)
            while isinstance(command, click.Group) or hasattr(command, "commands"):
                command = command.commands[rest.pop(0)]
            command.make_context("timbrel", rest)  # refuses options that do not exist
            count += 1
    assert count > 15


def test_a_wrong_configuration_is_named(
    make: Make, recipe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = [str(tmp_path / "bad.toml"), "-o", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["make.py", *bad])
    for text, words in (
        ("[render]\ntrain = 1\nvalid = 1\nsynth_share = 1\n", "lacks the section [codec]"),
        (TINY.replace("valid = ", "held_out = "), "[render] of"),
        (TINY.replace("protocols = ", "protocol = "), "lacks protocols"),
    ):
        (tmp_path / "bad.toml").write_text(text)
        with pytest.raises(SystemExit) as end:  # it is printed, and the exit code is 1
            recipe.main()
        assert words in str(end.value.code)
    for text, out, words in (
        ("[render", "out", "cannot be read"),
        (TINY, "bad.toml/out", "Not a directory"),
    ):
        (tmp_path / "bad.toml").write_text(text)
        answer = make(tmp_path / "bad.toml", "-o", tmp_path / out)
        assert answer.returncode != 0
        assert words in answer.stderr
        assert "Traceback" not in answer.stderr
    (tmp_path / "good.toml").write_text(TINY)
    answer = make(tmp_path / "good.toml", "-o", tmp_path / "out", "--minutes", "nan")
    assert answer.returncode != 0
    assert "--minutes is nan; give a number above 0" in answer.stderr
    assert not (tmp_path / "out").exists()


def test_a_damaged_note_of_what_is_done_is_named(recipe: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "codec").write_text('{"name": "codec", "comm')
    stage = recipe.Stage("codec", [], {})
    with pytest.raises(SystemExit, match=r"codec is damaged .* remove it"):
        recipe.kept(stage, tmp_path)
