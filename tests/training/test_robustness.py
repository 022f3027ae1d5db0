"""What a training run does when something is wrong, or missing."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from command_line import ENVIRONMENT, TWO_PROCESSES
from timbrel.codec.spectral import SpectralCodec
from timbrel.codec.spectral import tiny as tiny_codec_config
from timbrel.conditions.refinement import RefinementConfig
from timbrel.conditions.structure import StructureConfig
from timbrel.data.batch import Drawn
from timbrel.data.pairs import Corruption, Pairs
from timbrel.data.store import Store
from timbrel.errors import DataError, InputError, TrainingError
from timbrel.network import Network, tiny
from timbrel.serialize import save_codec
from timbrel.training.checks import MOST_IDLE, check_start
from timbrel.training.course import Course, Descent, Ema
from timbrel.training.distil import student_of
from timbrel.training.draws import Draw, Draws
from timbrel.training.latents import attach_latents
from timbrel.training.model import train_model
from timbrel.training.probe import ProbeSet, probe
from timbrel.training.run import Budget, Run, checkpoints_of, settings_of
from timbrel.training.settings import ModelTraining

CPU = torch.device("cpu")
QUICK = ModelTraining(batch=2, frames=24, example_frames=24)
CLOSER = RefinementConfig(layers=1, width=48, blocks=1, heads=2)


def train(
    store: Store,
    codec: SpectralCodec,
    folder: Path,
    steps: int = 4,
    start_from: Network | None = None,
    **changes: object,
) -> Network:
    training = replace(QUICK, **changes)
    budget = Budget(steps=steps)
    return train_model(store, None, codec, folder, tiny(), training, budget, CPU, start_from)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_batch_and_the_checkpoint(
    small_store: Store,
    tiny_codec: SpectralCodec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Run, "due", lambda self: True)
    draw = Pairs.draw
    drawn = 0

    def damaged(self: Pairs, size: int, rng: np.random.Generator) -> Drawn:
        nonlocal drawn
        drawn += 1
        batch = draw(self, size, rng)
        return batch._replace(latent=batch.latent * np.nan) if drawn == 4 else batch

    monkeypatch.setattr(Pairs, "draw", damaged)
    with pytest.raises(TrainingError, match=r"loss is not finite at step 3.*bad-batch"):
        train(small_store, tiny_codec, tmp_path, steps=8)
    kept = np.load(tmp_path / "bad-batch.npz")
    assert np.isnan(kept["latent"]).all()
    assert {"roll", "example", "identity", "drums"} <= set(kept.files)
    last = sorted((tmp_path / "checkpoints").iterdir())[-1]
    state = torch.load(last, weights_only=True)
    assert state["step"] == 3
    assert all(torch.isfinite(v).all() for v in state["network"].values())
    monkeypatch.undo()
    train(small_store, tiny_codec, tmp_path, steps=8)  # goes on from there


def test_a_loss_that_is_not_finite_at_once_names_no_checkpoint(
    small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = Pairs.draw

    def damaged(self: Pairs, size: int, rng: np.random.Generator) -> Drawn:
        batch = draw(self, size, rng)
        return batch._replace(latent=batch.latent * np.nan)

    monkeypatch.setattr(Pairs, "draw", damaged)
    with pytest.raises(TrainingError, match="no checkpoint had been written"):
        train(small_store, tiny_codec, tmp_path, steps=8)


def test_a_training_that_is_stopped_says_how_far_it_came(
    small_store: Store,
    tiny_codec: SpectralCodec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Run, "due", lambda self: self._stop(15, None))
    train(small_store, tiny_codec, tmp_path, steps=8)
    assert "stopped after 12% of its budget; the same command goes on" in capsys.readouterr().out


def test_nothing_is_kept_of_a_last_step_that_is_not_finite(
    small_store: Store,
    tiny_codec: SpectralCodec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    move = Descent.move

    def spoiled(self: Descent, course: Course, learning: nn.Module | None = None) -> Tensor:
        norm = move(self, course, learning)
        return norm * np.nan if course.step == 3 else norm

    monkeypatch.setattr(Descent, "move", spoiled)
    with pytest.raises(TrainingError, match="gradient is not finite at step 3"):
        train(small_store, tiny_codec, tmp_path, steps=4)
    assert not list((tmp_path / "checkpoints").iterdir())
    assert not (tmp_path / "model").exists()


def test_parts_of_a_step_are_averaged_so_equal_parts_count_as_one(
    small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = Pairs(small_store, tiny_codec.frame_rate, 24, 24, 0, Corruption())
    same = pairs.draw(2, np.random.default_rng(0))
    monkeypatch.setattr(Pairs, "draw", lambda *_: same)
    monkeypatch.setattr(Draw, "source", lambda _, device: torch.Generator(device).manual_seed(1))
    found = {}
    for parts in (1, 3):
        folder = tmp_path / str(parts)
        train(small_store, tiny_codec, folder, steps=1, accumulate=parts, equalise=0.0)
        row = json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])
        found[parts] = row["gradient"], row["flow"]
    assert found[3] == pytest.approx(found[1], rel=1e-4)


def test_accumulation_draws_new_items_for_each_part(
    small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []
    draw = Pairs.draw

    def noted(self: Pairs, size: int, rng: np.random.Generator) -> Drawn:
        batch = draw(self, size, rng)
        seen.append(batch.latent.numpy().tobytes())
        return batch

    monkeypatch.setattr(Pairs, "draw", noted)
    train(small_store, tiny_codec, tmp_path, steps=3, accumulate=2)
    assert len(seen) == len(set(seen)) == 6


def test_a_run_with_another_size_is_refused_by_the_name_of_the_setting(
    small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path
) -> None:
    train(small_store, tiny_codec, tmp_path, steps=1)
    with pytest.raises(TrainingError, match=r"training\.drop_timbre = 0\.1, not 0\.2"):
        train(small_store, tiny_codec, tmp_path, steps=1, drop_timbre=0.2)


@pytest.mark.parametrize(("part", "later"), [("training", "reentry"), ("model", "deviation")])
def test_a_run_of_an_older_version_is_resumed(
    small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path, part: str, later: str
) -> None:
    train(small_store, tiny_codec, tmp_path, steps=1)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    del config[part][later]
    path.write_text(json.dumps(config))
    train(small_store, tiny_codec, tmp_path, steps=2)


def test_weights_of_another_size_or_codec_are_refused_by_what_differs(
    tiny_codec: SpectralCodec,
) -> None:
    network = Network(tiny())
    network.adopt(tiny_codec.basis)
    wide = replace(tiny(), timbre=replace(tiny().timbre, dim=24))
    with pytest.raises(TrainingError, match=r"timbre\.dim = 24, not 16"):
        check_start(network, Network(wide))
    other = Network(tiny())
    other.channel_weight.mul_(torch.rand(len(other.channel_weight)) + 0.5)
    with pytest.raises(TrainingError, match="another codec"):
        check_start(network, other)
    check_start(network, network)
    certain = Network(replace(tiny(), recall=replace(tiny().recall, uncertainty=False)))
    certain.adopt(tiny_codec.basis)
    check_start(network, certain)
    with pytest.raises(TrainingError, match=r"recall\.uncertainty = True, not False"):
        check_start(certain, network)
    older = Network(replace(tiny(), denoiser=replace(tiny().denoiser, standardised=False)))
    older.adopt(tiny_codec.basis)
    check_start(network, older)
    with pytest.raises(TrainingError, match=r"denoiser\.standardised = True, not False"):
        check_start(older, network)
    sizes = replace(tiny().denoiser, detail=96, detail_blocks=2)
    detailed = Network(replace(tiny(), denoiser=sizes))
    detailed.adopt(tiny_codec.basis)
    check_start(detailed, network)
    with pytest.raises(TrainingError, match=r"denoiser\.detail = 96, not 0"):
        check_start(network, detailed)
    refined = Network(replace(tiny(), refinement=CLOSER))
    refined.adopt(tiny_codec.basis)
    check_start(refined, network)
    with pytest.raises(TrainingError, match=r"refinement\.blocks = 1, not 4"):
        check_start(network, refined)


def test_fine_tuning_begins_with_the_weights_it_was_given(
    small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path
) -> None:
    first = train(small_store, tiny_codec, tmp_path / "first", steps=2)
    second = train_model(
        small_store, None, tiny_codec, tmp_path / "second", tiny(),
        replace(QUICK, peak_rate=1e-12), Budget(steps=1), CPU, first,
    )  # fmt: skip
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_one_part_alone_can_learn(
    small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path
) -> None:
    first = train(small_store, tiny_codec, tmp_path / "first", steps=2)
    grown = replace(tiny(), denoiser=replace(tiny().denoiser, detail=40, detail_blocks=1))
    training = replace(QUICK, only="denoiser.detail", freeze_timbre=True)
    second = train_model(
        small_store, None, tiny_codec, tmp_path / "second", grown, training, Budget(steps=2),
        CPU, first,
    )  # fmt: skip
    begun = first.state_dict()
    for name, weight in second.state_dict().items():
        if not name.startswith("denoiser.detail."):
            torch.testing.assert_close(weight, begun[name], rtol=0, atol=0)
    assert second.denoiser.detail is not None
    assert second.denoiser.detail.leave.weight.abs().max() > 0
    with pytest.raises(
        TrainingError, match=r"only is 'detail'.* it has timbre_encoder, .*denoiser"
    ):
        train(small_store, tiny_codec, tmp_path / "third", start_from=first, only="detail")
    with pytest.raises(TrainingError, match=r"'outline' alone is to learn, .* give --from"):
        train(small_store, tiny_codec, tmp_path / "fourth", only="outline")
    # a run that was begun goes on without being told again what it was begun from
    train(small_store, tiny_codec, tmp_path / "fifth", 1, first, only="outline")
    train(small_store, tiny_codec, tmp_path / "fifth", 2, only="outline")


def test_a_closer_look_learns_without_the_denoiser_and_brings_the_guess_nearer(
    small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path
) -> None:
    first = train(small_store, tiny_codec, tmp_path / "first", steps=2)
    training = replace(
        QUICK, only="refinement", freeze_timbre=True, flow=0.0, drop_structure=0.0,
        drop_timbre=0.0, structure_noise=0.0, validate_every=20,
    )  # fmt: skip
    second = train_model(
        small_store, small_store, tiny_codec, tmp_path / "second",
        replace(tiny(), refinement=CLOSER), training, Budget(steps=60), CPU, first,
    )  # fmt: skip
    begun = first.state_dict()
    for name, weight in second.state_dict().items():
        if not name.startswith("refinement."):
            torch.testing.assert_close(weight, begun[name], rtol=0, atol=0)
    rows = [
        json.loads(line) for line in (tmp_path / "second" / "metrics.jsonl").read_text().split("\n")
        if line
    ]  # fmt: skip
    guess = [row["valid/guess"] for row in rows if "valid/guess" in row]
    assert guess[-1] < guess[0] - 0.04
    # the denoiser does not run, but what the guess does to it is looked at
    assert not any("flow" in row for row in rows)
    assert any("valid/both" in row for row in rows)


def test_latents_of_another_codec_are_refused(small_store: Store, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="made by codec"):
        train(small_store, SpectralCodec(tiny_codec_config()), tmp_path)


def test_one_instrument_alone_can_be_trained_on_and_is_not_probed_for_leaks(
    small_store: Store,
    tiny_codec: SpectralCodec,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    identity = next(i.identity for i in small_store.items if not i.drums)
    alone = small_store.subset(small_store.by_identity[identity])
    network = train(alone, tiny_codec, tmp_path, steps=2)
    found = probe(network, ProbeSet(alone, tiny_codec.frame_rate, 24), CPU)
    assert "timbre/spread" in found
    said = capsys.readouterr().out
    assert "all targets are of one timbre" in said
    assert "instruments are not looked for in codes" in said
    assert "without --valid nothing shows" in said
    assert "timbre/instrument" not in found
    assert "chance/instrument" not in found


def test_a_store_of_single_passages_trains_and_says_what_it_lacks(
    small_store: Store,
    tiny_codec: SpectralCodec,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    single = small_store.subset([items[0] for items in small_store.by_identity.values()])
    train(single, tiny_codec, tmp_path, steps=2)
    said = capsys.readouterr().out
    assert "no second passage of their timbre" in said
    assert "codes are not probed: no pitched timbre has 4 items" in said
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert "timbre/spread" not in line


def test_pace_and_remaining_time_are_shown(
    small_store: Store,
    tiny_codec: SpectralCodec,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train(small_store, tiny_codec, tmp_path, steps=3)
    line = capsys.readouterr().out.splitlines()[-1]
    assert "steps/s" in line
    assert "0:00 left" in line


def test_the_probe_measures_a_network_that_hears_and_one_that_reads(
    small_store: Store, tiny_codec: SpectralCodec
) -> None:
    from timbrel.conditions.listener import Listener, ListenerConfig
    from timbrel.training.recipe import read_recipe

    passages = ProbeSet(small_store, tiny_codec.frame_rate, 24)
    assert passages.labels > 8
    for config in (tiny(), read_recipe("paper", tiny()).model):
        network = Network(config)
        network.adopt(tiny_codec.basis)
        listener = Listener(ListenerConfig(width=4, blocks=1))
        found = probe(network.eval(), passages, CPU, listener)
        assert 0 <= found["structure/instrument"] <= 1
        assert {"sound/instrument", "notes/instrument", "noise/instrument"} <= found.keys()
        assert found["structure/between_renditions"] >= 0
        assert ("structure/audio_from_notes" in found) == (config.structure.source == "notes")
        # an untrained denoiser is a Gaussian about its guess: noise matters
        assert found["output/spread_over_seeds"] > 0.01


@pytest.mark.slow
def test_a_run_of_two_processes_goes_on_with_one(
    small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path
) -> None:
    from timbrel.serialize import save_codec

    attach_latents(small_store, tiny_codec, CPU)
    save_codec(tiny_codec, tmp_path / "codec")
    arguments = [
        "-m", "timbrel.cli", "train", "model", "--data", small_store.path, "--codec",
        tmp_path / "codec", "-o", tmp_path / "run", "--preset", "tiny", "--batch", "2",
        "--device", "cpu",
    ]  # fmt: skip
    for start, steps in ((TWO_PROCESSES, 3), ([sys.executable], 6)):
        command = [*start, *map(str, arguments), "--steps", str(steps)]
        done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
        assert done.returncode == 0, done.stderr[-2000:]
        saved = tmp_path / "run" / "model" / "network.safetensors"
        assert saved.exists()
        saved.unlink()  # the next one is to write it again
    state = torch.load(sorted((tmp_path / "run" / "checkpoints").iterdir())[-1], weights_only=True)
    assert state["step"] == 6


TOGETHER = """
import os, sys
from dataclasses import replace
from pathlib import Path

import torch

from timbrel.data.pairs import Pairs
from timbrel.data.store import Store
from timbrel.network import tiny
from timbrel.serialize import load_codec
from timbrel.training.model import train_model
from timbrel.training.run import Budget
from timbrel.training.settings import ModelTraining

store, codec, folder = map(Path, sys.argv[1:])
drawn, draw = [], Pairs.draw


def watched(self, size, rng):
    items = draw(self, size, rng)
    drawn.append(items.latent.clone())
    return items


Pairs.draw = watched
quick = ModelTraining(batch=2, frames=24, example_frames=24, {optimiser})
network = train_model(
    Store.open(store), None, load_codec(codec), folder / "run", tiny(), quick, Budget(3),
    torch.device("cpu"),
)
torch.save((network.state_dict(), drawn), folder / f"rank-{{os.environ['RANK']}}.pt")
"""


@pytest.mark.parametrize("optimiser", ["optimiser='adamw'", "optimiser='muon'"])
def test_two_processes_learn_from_different_items_and_end_with_one_network(
    small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path, optimiser: str
) -> None:
    attach_latents(small_store, tiny_codec, CPU)
    save_codec(tiny_codec, tmp_path / "codec")
    (tmp_path / "together.py").write_text(TOGETHER.format(optimiser=optimiser))
    words = [tmp_path / "together.py", small_store.path, tmp_path / "codec", tmp_path]
    command = [*TWO_PROCESSES, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr[-2000:]
    (first, items), (second, others) = (
        torch.load(tmp_path / f"rank-{rank}.pt", weights_only=True) for rank in (0, 1)
    )
    # without the average of gradients these would part
    assert all(torch.equal(second[name], weights) for name, weights in first.items())
    assert len(items) == len(others) == 3
    assert not any(torch.equal(a, b) for a, b in zip(items, others, strict=True))


def test_a_few_step_model_is_not_trained_on_data(tiny_codec: SpectralCodec) -> None:
    network = Network(tiny())
    network.adopt(tiny_codec.basis)
    with pytest.raises(TrainingError, match="distilled from"):
        check_start(network, student_of(network))


def test_without_tensorboard_numbers_go_to_the_log_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with Run(tmp_path, {}) as run:
        run.log(1, {"loss": 2.0}, show=False)
        run.log(2, {"loss": 1.0}, show=False)
        run.log_audio(2, "sound", np.zeros(8), 8_000)
    assert capsys.readouterr().out.count("pip install 'timbrel[train]'") == 1
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_latents_that_were_made_anew_do_not_end_a_run(
    small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(small_store, tiny_codec, tmp_path, steps=1)
    monkeypatch.setattr("timbrel.training.model.latent_deviation", lambda *_: 7.0)
    longer = train(small_store, tiny_codec, tmp_path, steps=2)
    assert longer.config.deviation == first.config.deviation != 7


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ({"steps": 0}, "--steps is 0"),
        ({"minutes": float("nan")}, "--minutes is nan"),
        ({"minutes": -1.0}, "--minutes is -1"),
    ],
)
def test_budgets_of_nothing_are_refused(budget: dict[str, float], words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        Budget(**budget)  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [-1e-3, 0.0, float("nan")])
def test_learning_rates_that_unlearn_are_refused(
    rate: float, small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="learning rate is"):
        train(small_store, tiny_codec, tmp_path, steps=1, peak_rate=rate)


def test_a_run_that_is_made_longer_does_not_go_back_to_stage_one(
    small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path
) -> None:
    train(small_store, tiny_codec, tmp_path, steps=4, stage_one=0.5)
    train(small_store, tiny_codec, tmp_path, steps=60, stage_one=0.5)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["stage"] for row in rows if "stage" in row] == [2, 2, 2]


def test_a_run_that_never_saved_takes_other_settings(
    small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(self: Pairs, size: int, rng: np.random.Generator) -> Drawn:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Pairs, "draw", short)
    with pytest.raises(torch.OutOfMemoryError):
        train(small_store, tiny_codec, tmp_path, batch=4, drop_timbre=0.2)
    monkeypatch.undo()
    monkeypatch.setattr("timbrel.training.model.latent_deviation", lambda *_: 7.0)
    network = train(small_store, tiny_codec, tmp_path, steps=1)
    assert network.config.deviation == 7  # measured anew: nothing of the first attempt is left
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["training"]["batch"], config["training"]["drop_timbre"]) == (2, 0.1)


def test_the_number_of_items_may_change_in_a_run_and_nothing_else(
    small_store: Store,
    tiny_codec: SpectralCodec,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train(small_store, tiny_codec, tmp_path, steps=1)
    with pytest.raises(TrainingError, match=r"training\.drop_timbre = 0\.1, not 0\.2"):
        train(small_store, tiny_codec, tmp_path, steps=2, batch=1, drop_timbre=0.2)
    assert "training.batch" not in capsys.readouterr().out
    train(small_store, tiny_codec, tmp_path, steps=2, batch=1, accumulate=2)
    said = capsys.readouterr().out
    assert "training.batch was 2, and is 1 from here on" in said
    assert "training.accumulate was 1, and is 2 from here on" in said
    train(small_store, tiny_codec, tmp_path, steps=3, batch=1, accumulate=2)
    assert "from here on" not in capsys.readouterr().out
    assert latest(tmp_path)["step"] == 3


def test_a_run_of_fewer_draws_a_step_sees_none_again(
    small_store: Store,
    tiny_codec: SpectralCodec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[int] = []
    since = Draws.since

    def noted(self: Draws, number: int, *args: Any, **options: Any) -> Iterator[Draw]:
        begun.append(number)
        return since(self, number, *args, **options)

    monkeypatch.setattr(Draws, "since", noted)
    for steps, parts in ((2, 3), (3, 1), (4, 2), (5, 1)):
        train(small_store, tiny_codec, tmp_path, steps=steps, accumulate=parts)
    assert begun == [0, 6, 7, 9]


def latest(folder: Path) -> dict[str, Any]:
    """The newest checkpoint of a run."""
    newest = sorted((folder / "checkpoints").iterdir())[-1]
    state: dict[str, Any] = torch.load(newest, weights_only=True)
    return state


def test_settings_by_which_a_part_would_never_learn_are_refused(
    small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path
) -> None:
    for words, changes in (
        ("frozen after stage 1, and there is no", {"freeze_timbre": True, "stage_one": 0.0}),
        ("this model reads notes", {"adversary": 0.5}),
    ):
        with pytest.raises(TrainingError, match=words):
            train(small_store, tiny_codec, tmp_path, steps=1, **changes)
    assert not list(tmp_path.iterdir())
    begun = train(small_store, tiny_codec, tmp_path / "first", steps=1)
    options = replace(QUICK, freeze_timbre=True)  # what begins from a model has an encoder
    train_model(
        small_store, None, tiny_codec, tmp_path / "on", tiny(), options, Budget(steps=1), CPU, begun
    )


def test_a_structure_code_of_one_value_says_nothing() -> None:
    for levels in (1, -2):
        with pytest.raises(InputError, match=f"levels is {levels}"):
            StructureConfig(levels=levels)


def test_the_average_of_weights_follows_them_slowly() -> None:
    module = nn.BatchNorm1d(1)  # a weight, and a whole number: of batches
    ema, expected = Ema(module, 0.5), 1.0
    for step in range(30):
        with torch.no_grad():
            module.weight.fill_(step)
            module.num_batches_tracked.fill_(step)
        ema.update(module, step)
        kept = min(0.5, (1 + step) / (10 + step))  # early steps forget faster
        expected = kept * expected + (1 - kept) * step
        assert float(ema.shadow["weight"]) == pytest.approx(expected, rel=1e-5)
        assert int(ema.shadow["num_batches_tracked"]) == step
    assert expected == pytest.approx(28, abs=0.01)  # a mean of steps, the last counting half


def test_what_a_run_leaves_is_the_average_of_its_weights(
    small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path
) -> None:
    left = train(small_store, tiny_codec, tmp_path, steps=3)
    state = latest(tmp_path)
    name, trained = next((k, v) for k, v in state["network"].items() if v.ndim > 2)
    assert not torch.equal(state["ema"][name], trained)
    torch.testing.assert_close(left.state_dict()[name], state["ema"][name])


def test_a_checkpoint_that_cannot_be_read_is_not_called_the_last_good_one(tmp_path: Path) -> None:
    with Run(tmp_path, {"kind": "test"}) as run:
        for step in (1, 2):
            run.save(step, {"step": step})
        assert run.kept().endswith("step-000000002.pt")
    os.truncate(tmp_path / "checkpoints/step-000000002.pt", 100)
    with Run(tmp_path, {"kind": "test"}) as run:
        state = run.latest()
        assert state is not None
        assert state["step"] == 1
        assert run.kept().endswith("step-000000001.pt")
        run.save(2, {"step": 2})
        assert run.kept().endswith("step-000000002.pt")
        for step in (3, 4):
            run.save(step, {"step": step})
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


# what writers raise on a full disk
FULL_TORCH = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")
FULL_SYSTEM = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("error", [FULL_TORCH, FULL_SYSTEM])
def test_a_checkpoint_that_finds_no_room_leaves_the_last_one_and_says_so(
    error: Exception,
    small_store: Store,
    tiny_codec: SpectralCodec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Run, "due", lambda self: True)
    write = torch.save

    def full(state: dict[str, object], path: Path) -> None:
        write(state, path)
        if state["step"] == 3:
            os.truncate(path, 1000)
            raise error

    monkeypatch.setattr(torch, "save", full)
    words = r"3\.pt could not be written \(.*\); the last good checkpoint is kept: .*2\.pt; free"
    with pytest.raises(TrainingError, match=words):
        train(small_store, tiny_codec, tmp_path, steps=8)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-000000001.pt", "step-000000002.pt"]
    monkeypatch.undo()
    train(small_store, tiny_codec, tmp_path, steps=4)
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingError, match="no checkpoint had been written"):
        Run(tmp_path / "another", {}).save(3, {"step": 3})


def test_a_model_that_finds_no_room_is_said_alike(
    small_store: Store,
    tiny_codec: SpectralCodec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(network: Network, folder: Path) -> None:
        folder.mkdir()
        (folder / "network.safetensors").write_bytes(b"half")
        raise FULL_SYSTEM

    monkeypatch.setattr("timbrel.training.model.save_network", full)
    words = r"could not be written \(.*\); the last good checkpoint is kept: .*1\.pt; free space"
    with pytest.raises(TrainingError, match=words):
        train(small_store, tiny_codec, tmp_path, steps=1)
    monkeypatch.undo()
    train(small_store, tiny_codec, tmp_path, steps=1)
    with pytest.raises(FileNotFoundError), Run(tmp_path / "a", {}):  # that is no full disk
        (tmp_path / "nothing").read_text()


def test_a_part_that_no_loss_reaches_is_named(
    small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path
) -> None:
    first = train(small_store, tiny_codec, tmp_path / "first", steps=1)
    with pytest.raises(TrainingError, match="'denoiser', which alone should, has no part"):
        train(
            small_store, tiny_codec, tmp_path / "second", MOST_IDLE, first, only="denoiser",
            flow=0.0,
        )  # fmt: skip


def test_a_draw_that_drops_what_alone_learns_does_not_end_a_training(
    small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path
) -> None:
    first = train(small_store, tiny_codec, tmp_path / "first", steps=1)
    training = replace(
        QUICK, batch=1, only="refinement", freeze_timbre=True, flow=0.0, drop_timbre=0.5
    )
    second = train_model(
        small_store, None, tiny_codec, tmp_path / "second",
        replace(tiny(), refinement=CLOSER), training, Budget(steps=20), CPU, first,
    )  # fmt: skip
    assert settings_of(tmp_path / "second") is not None
    assert all(torch.isfinite(weight).all() for weight in second.state_dict().values())


def test_a_run_is_neither_put_into_a_model_nor_trained_by_two(
    small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path
) -> None:
    save_codec(tiny_codec, tmp_path / "codec")
    before = (tmp_path / "codec" / "config.json").read_bytes()
    with pytest.raises(TrainingError, match="holds a model"):
        train(small_store, tiny_codec, tmp_path / "codec", steps=1)
    assert (tmp_path / "codec" / "config.json").read_bytes() == before
    with (
        Run(tmp_path / "run", {"rate": 1}) as run,
        pytest.raises(DataError, match="another process is writing"),
        Run(tmp_path / "run", {"rate": 2}),
    ):
        pass
    run.save(1, {"step": 1})
    with Run(tmp_path / "run", {"rate": 1}):  # the other one has left nothing
        pass
    refused = pytest.raises(TrainingError, match="a run with rate = 1, not 2")
    with refused, Run(tmp_path / "run", {"rate": 2}):
        pass
    with Run(tmp_path / "run", {"rate": 1}):  # nor does it hold the folder
        pass


def test_damaged_checkpoints_do_not_push_out_good_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Run(tmp_path, {}) as run:
        run.save(1, {"step": 1})
        run.save(9, {"step": 9})
    (tmp_path / "checkpoints/step-000000009.pt").write_bytes(b"no checkpoint")
    with Run(tmp_path, {}) as run:
        state = run.latest()
        assert state is not None
        assert state["step"] == 1
        for step in (2, 3):
            run.save(step, {"step": step})
        # what cannot be read now may be readable another time
        assert [path.stem[-1] for path in checkpoints_of(tmp_path)] == ["2", "3", "9"]
    said = capsys.readouterr().out
    assert "step-000000009.pt cannot be read (it is damaged): it is left aside" in said
    assert "weights_only" not in said  # no advice to load it unsafely
