import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from timbrel.ablation.study import Setting, read_study, run_study
from timbrel.ablation.table import against_first, table
from timbrel.data.lock import locked
from timbrel.data.store import Store
from timbrel.errors import DataError, InputError, ModelError, TrainingError
from timbrel.evaluation.run import Record
from timbrel.serialize import load_codec
from timbrel.training.latents import attach_latents
from timbrel.training.recipe import Recipe
from timbrel.training.run import Budget, Run, last_line

CPU = torch.device("cpu")
PROTOCOL = """
question = "Is it heard?"
structure = "audio"
cases = 1
seed = 1
seconds = 4.0
[levels]
"one" = { pool = "seen-seen" }
"""


@pytest.fixture
def setting(tiny_model: Path, small_store: Store, tmp_path: Path) -> Setting:
    data, valid = tmp_path / "store", tmp_path / "valid"
    shutil.copytree(small_store.path, data)
    attach_latents(Store.open(data), load_codec(tiny_model), CPU)
    shutil.copytree(data, valid)
    return Setting((data,), valid, str(tiny_model), "tiny", Budget(steps=3), batch=2)


def write_study(folder: Path, *recipes: str) -> str:
    (folder / "protocol.toml").write_text(PROTOCOL)
    (folder / "study.toml").write_text(
        f'question = "Which?"\nprotocol = "{folder}/protocol.toml"\ncases = 1\n'
        f"recipes = {json.dumps(recipes)}\n[training]\nframes = 32\nexample_frames = 32\n"
    )
    return str(folder / "study.toml")


@pytest.mark.slow
def test_a_study_trains_judges_goes_on_and_prints_one_table(
    setting: Setting, tmp_path: Path
) -> None:
    (tmp_path / "huge.toml").write_text("[data]\nhours = 1000.0\n")
    study = read_study(write_study(tmp_path, "ours", "paper", str(tmp_path / "huge.toml")))
    said: list[str] = []
    run_study(study, setting, tmp_path / "out", CPU, said.append)
    text = table(study, setting, tmp_path / "out")
    for row in ("ours | notes", "ours | audio", "paper | audio", "ground truth"):
        assert f"| {row} |" in text
    assert "paper | notes" not in text  # it cannot read them
    losses = [
        json.loads((tmp_path / f"out/{n}/losses.json").read_text()) for n in ("ours", "paper")
    ]
    assert all(0 < one["valid/both"] < 10 for one in losses)
    assert f"{losses[0]['valid/both']:.3f} | {losses[0]['valid/guess']:.3f}" in text
    assert f"{losses[1]['valid/both']:.3f} | - |" in text  # the paper's model has no guess
    assert "fewer than 1000 h" in text
    for control in ("the sound itself", "the written notes", "noise, at most"):
        assert f"| probe of {control} | | | |" in text.replace("  ", " ")
    assert "Recipe less `ours`" in text
    found = json.loads((tmp_path / "out" / "paper" / "probe.json").read_text())
    assert "structure/instrument" in found
    leaks = [f"{found[f'{what}/error_over_chance']:.2f}" for what in ("structure", "sound")]
    assert f"| {found['structure/instrument']:.2f} | {leaks[0]} | {leaks[1]} |" in text
    weights = tmp_path / "out" / "ours" / "model" / "network.safetensors"
    before = weights.stat().st_mtime_ns
    run_study(study, setting, tmp_path / "out", CPU, said.append)
    assert weights.stat().st_mtime_ns == before
    assert table(study, setting, tmp_path / "out") == text
    # a study that was measured before there was a fresh adversary
    older = {k: v for k, v in found.items() if "error_over_chance" not in k}
    (tmp_path / "out" / "paper" / "probe.json").write_text(json.dumps(older))
    again = table(study, setting, tmp_path / "out")
    assert f"| {found['structure/instrument']:.2f} | - | - |" in again


@pytest.mark.parametrize("error", [ModelError("no"), torch.OutOfMemoryError("no")])
def test_what_a_recipe_fails_of_is_noted_and_the_others_go_on(
    error: Exception, setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def fail(recipe: Recipe, *_: object) -> None:
        tried.append(recipe.name)
        raise error

    monkeypatch.setattr("timbrel.ablation.study.train_recipe", fail)
    run_study(read_study(write_study(tmp_path, "ours", "paper")), setting, tmp_path / "out", CPU)
    assert tried == ["ours", "paper"]
    assert (tmp_path / "out/ours/failure.txt").read_text() == "no\n"


def test_a_recipe_that_was_stopped_is_not_taken_for_done(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = read_study(write_study(tmp_path, "ours"))
    enter = Run.__enter__

    def stopped(self: Run) -> Run:
        self.stopping = True
        return enter(self)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "__enter__", stopped)
        with pytest.raises(KeyboardInterrupt):
            run_study(study, setting, tmp_path / "out", CPU)
    assert not (tmp_path / "out" / "ours" / "model").exists()
    other = Setting(**{**vars(setting), "budget": Budget(steps=4)})
    with pytest.raises(InputError, match="steps = 3, not 4"):
        run_study(study, other, tmp_path / "out", CPU)
    log = tmp_path / "out/ours/run/metrics.jsonl"
    log.write_text('{"progress": 0.5}\n{"prog')  # as a kill may leave it
    assert last_line(tmp_path / "out/ours/run", "progress") == {"progress": 0.5}


def test_recipes_are_compared_with_the_first_case_by_case() -> None:
    def record(case: int, system: str, f1: float, like: float) -> Record:
        scores = {"note_f1": f1, "like_example": like, "log_mel_distance": math.nan}
        return Record(f"case {case}", "one", system, scores, "", 1.0, 1.0, {})

    luck = [0.1, 0.9, 0.4, 0.6, 0.2, 0.8, 0.3]  # of each case, far larger than what is to be found
    records = [record(k, "ours, from audio", x, x) for k, x in enumerate(luck)]
    records += [
        record(k, "theirs, from audio", x - 0.05 - k / 500, x + 0.02 + 0.1 * (-1) ** k)
        for k, x in enumerate(luck[:6])
    ]
    records.append(record(0, "theirs, from notes", 0.5, 0.5))  # ours was not judged by this door
    _, _, _, _, *rows, _ = against_first(records, ["ours", "theirs", "nobody's"])
    (row,) = rows
    name, door, notes, likeness, distance, cases = row.strip("| ").split(" | ")
    assert (name, door, distance, cases) == ("theirs", "audio", "-", "6")
    assert notes.startswith("**-0.055** (-0.05")
    assert likeness.startswith("+0.020 (-0.")
    assert against_first(records, ["ours", "nobody's"]) == []


def test_a_folder_asks_one_question(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = read_study(write_study(tmp_path, "ours"))
    home = tmp_path / "out"
    (home / "ours/model").mkdir(parents=True)
    (home / "ours/model/config.json").touch()
    for name in ("data", "valid", "base"):
        (home / "study.json").write_text(json.dumps({name: "elsewhere"}))
        with pytest.raises(InputError, match=f"a study with {name} = elsewhere"):
            run_study(study, setting, home, CPU)
    # null is an answer: that all hours were asked for
    (home / "study.json").write_text(json.dumps({"hours": None}))
    with pytest.raises(InputError, match=r"a study with hours = None, not 4\.0"):
        run_study(study, replace(setting, hours=4.0), home, CPU)
    (home / "study.json").unlink()
    (home / "ours/recipe.json").write_text('{"training": {"frames": 33}}')
    with pytest.raises(InputError, match=r"a recipe with training\.frames = 33, not 32"):
        run_study(study, setting, home, CPU)
    monkeypatch.setattr("timbrel.ablation.study.find_fonts", lambda: [tmp_path / "new.sf2"])
    with pytest.raises(InputError, match=r"a study with fonts = \[.*\], not \['new\.sf2'\]"):
        run_study(study, setting, home, CPU)


def test_a_study_learns_from_all_stores_that_it_is_given(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(setting.data[0], tmp_path / "more")
    one = Store.open(setting.data[0]).hours
    found: list[float] = []

    def train(store: Store, *_: object) -> None:
        found.append(store.hours)
        raise TrainingError("not here")

    monkeypatch.setattr("timbrel.ablation.study.train_model", train)
    both = replace(setting, data=(setting.data[0], tmp_path / "more"))
    study = read_study(write_study(tmp_path, "ours"))
    run_study(study, both, tmp_path / "out", CPU, lambda _: None)
    assert found == [pytest.approx(2 * one)]
    with pytest.raises(InputError, match=r"a study with data = .*store\+.*more, not "):
        run_study(study, setting, tmp_path / "out", CPU)


def test_two_processes_do_not_judge_in_one_folder(setting: Setting, tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path, "ours"))
    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out"), pytest.raises(DataError, match="another process is writing"):
        run_study(study, setting, tmp_path / "out", CPU)
    assert not any((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("recipes = []", "it has no recipes"),
        ('recipes = "ours"', "recipes is 'ours', no list"),
        ("recipes = ['ours', 5]", "5 among its recipes is no text"),
        ('cases = "4"', "cases is '4', no int"),
        ("cases = 0", "or no cases"),
        ("training = 3", "training is 3, no dict"),
        ("", "it does not say"),
    ],
)
def test_a_file_that_is_no_study_is_refused_with_the_reason(
    line: str, sentence: str, tmp_path: Path
) -> None:
    lines = {"recipes": 'recipes = ["ours"]', "cases": "cases = 1", "question": 'question = "?"'}
    lines[line.split(" ")[0]] = line
    if not line:
        del lines["cases"]
    path = tmp_path / "mine.toml"
    path.write_text("\n".join([*lines.values(), 'protocol = "unseen"']))
    with pytest.raises(InputError, match=f"mine.toml is not a study: .*{sentence}"):
        read_study(str(path))


def test_stores_that_cannot_be_used_are_refused_before_anything_is_made(
    setting: Setting, tmp_path: Path
) -> None:
    study = read_study(write_study(tmp_path, "ours"))
    for changed in ({"data": (tmp_path / "none",)}, {"valid": tmp_path / "none"}):
        with pytest.raises(DataError, match="none is not a store"):
            run_study(study, replace(setting, **changed), tmp_path / "out", CPU)
    with pytest.raises(DataError, match="nothing of it is held out"):
        run_study(study, replace(setting, valid=setting.data[0]), tmp_path / "out", CPU)
    (setting.data[0] / "latents.json").unlink()
    with pytest.raises(DataError, match="has no latents"):
        run_study(study, setting, tmp_path / "out", CPU)
    assert not (tmp_path / "out").exists()
