import json
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from command_line import ENVIRONMENT, TWO_PROCESSES
from conftest import Killed
from sounds import RATE, pitch_hz
from timbrel.codec import rave
from timbrel.codec.codec import Codec
from timbrel.codec.rave import after_start
from timbrel.codec.spectral import SpectralCodec, tiny
from timbrel.conditions.listener import Listener, ListenerConfig
from timbrel.data.pairs import Corruption, Pairs
from timbrel.data.render.endless import Endless
from timbrel.data.store import Store
from timbrel.diffusion.guidance import Guidance
from timbrel.errors import DataError, TrainingError
from timbrel.generate.windows import Sampling, generate, structure_of_rolls
from timbrel.network import Network
from timbrel.network import tiny as tiny_model
from timbrel.notes import Notes
from timbrel.roll import roll
from timbrel.serialize import load_codec, load_listener
from timbrel.training.codec import train_codec
from timbrel.training.codec_objective import (
    CodecTraining,
    Sounds,
    SpectralObjective,
    rave_training,
)
from timbrel.training.course import learning_rate
from timbrel.training.excerpts import StoreExcerpts
from timbrel.training.listener import ListenerTraining, train_listener
from timbrel.training.model import train_model
from timbrel.training.objective import Objective
from timbrel.training.recipe import read_recipe
from timbrel.training.run import Budget, Run, torch_generator
from timbrel.training.settings import ModelTraining
from timbrel.training.validation import Validation

CPU = torch.device("cpu")
QUICK_CODEC = CodecTraining(
    batch=2, frames=24, basis_minutes=0.2, waveform_from=0.3, adversarial_from=0.6
)
QUICK_MODEL = ModelTraining(batch=2, frames=32, example_frames=32, stage_one=0.4, validate_every=3)


def losses(folder: Path, name: str) -> list[float]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row[name] for row in rows if name in row]


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.slow
@pytest.mark.parametrize("rendered", [False, True])
def test_a_killed_codec_run_ends_with_the_same_weights(
    small_store: Store, tmp_path: Path, kill_at, rendered: bool
) -> None:
    sounds = Endless(seconds=2.0) if rendered else small_store

    def train(folder: Path, **more: object) -> SpectralCodec:
        budget = Budget(steps=9)
        return train_codec(sounds, folder, tiny(), QUICK_CODEC, budget, CPU, **more)

    whole = train(tmp_path / "whole")
    # both after the waveform joined and after the adversary did
    for last in (5, 7):
        with pytest.raises(Killed):
            train(tmp_path / f"cut-{last}", on_step=kill_at(last))
        assert same(train(tmp_path / f"cut-{last}"), whole)


def test_a_killed_rave_run_ends_with_the_same_weights_and_a_measured_latent(
    small_store: Store, tmp_path: Path, kill_at
) -> None:
    training = replace(rave_training(), batch=1, frames=24, basis_minutes=0.2, adversarial_from=0.5)

    def train(folder: Path, **more: object) -> Codec:
        budget = Budget(steps=5)
        return train_codec(small_store, folder, rave.tiny(), training, budget, CPU, **more)

    whole = train(tmp_path / "whole")
    for last in (1, 4):  # in either phase
        with pytest.raises(Killed):
            train(tmp_path / f"cut-{last}", on_step=kill_at(last))
        assert same(train(tmp_path / f"cut-{last}"), whole)
    sweep = StoreExcerpts(small_store, 24 * 1024, training.seed).sweep(training.basis_minutes)
    with torch.no_grad():
        settled = torch.cat([after_start(whole.encode(audio[:, None])) for audio in sweep])
    torch.testing.assert_close(settled.std((0, 2)), torch.ones(whole.channels), atol=0.02, rtol=0)
    torch.testing.assert_close(settled.mean((0, 2)), torch.zeros(whole.channels), atol=0.02, rtol=0)


def test_the_encoder_of_rave_is_frozen_when_the_adversary_joins(
    small_store: Store, tmp_path: Path, kill_at
) -> None:
    training = replace(rave_training(), batch=2, frames=16, basis_minutes=0.1, adversarial_from=0.5)
    folder = tmp_path / "run"

    def weights_at(step: int) -> dict[str, torch.Tensor]:
        arguments = (small_store, folder, rave.tiny(), training, Budget(steps=8), CPU)
        with pytest.raises(Killed):
            train_codec(*arguments, on_step=kill_at(step))
        newest = sorted((folder / "checkpoints").iterdir())[-1]
        return torch.load(newest, weights_only=True)["codec"]

    early, before, after = weights_at(3), weights_at(6), weights_at(8)
    names = [name for name in early if name.startswith("encoder.") and "weight" in name]
    assert not any(torch.equal(early[name], before[name]) for name in names)
    assert all(torch.equal(before[name], after[name]) for name in names)
    assert not torch.equal(before["decoder.enter.weight"], after["decoder.enter.weight"])


def test_a_rave_codec_learns_to_be_as_loud_as_its_target(
    small_store: Store, tmp_path: Path
) -> None:
    training = replace(
        rave_training(), batch=4, frames=12, basis_minutes=0.1, adversarial_from=1.0, peak_rate=3e-3
    )
    train_codec(small_store, tmp_path, rave.tiny(), training, Budget(steps=100), CPU)
    course = losses(tmp_path, "loss/stft")
    assert course[-1] < 0.9 * course[0]


def test_another_design_cannot_be_started_from(
    small_store: Store, tiny_codec: Codec, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="another design or size"):
        train_codec(
            small_store, tmp_path, rave.tiny(), rave_training(), Budget(steps=1), CPU, tiny_codec
        )


def test_processes_train_one_codec_together(small_store: Store, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import sys; sys.argv[1:] = ['train', 'codec', '--data', sys.argv[1], '-o', sys.argv[2], "
        "'--preset', 'tiny', '--steps', '2', '--batch', '1', '--precision', 'bf16']\n"
        "from timbrel.cli.main import main; main()\n"
    )
    command = [*TWO_PROCESSES, str(script), str(small_store.path), str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert load_codec(tmp_path / "run" / "codec").channels == tiny().channels


@pytest.mark.slow
def test_a_killed_model_run_ends_with_the_same_weights(
    small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path, kill_at
) -> None:
    def train(folder: Path, **more: object) -> Network:
        arguments = (small_store, small_store, tiny_codec, folder, tiny_model(), QUICK_MODEL)
        return train_model(*arguments, Budget(steps=8), CPU, **more)

    whole = train(tmp_path / "whole")
    for last in (2, 6):  # in stage 1 and in stage 2
        with pytest.raises(Killed):
            train(tmp_path / f"cut-{last}", on_step=kill_at(last))
        assert same(train(tmp_path / f"cut-{last}"), whole)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    small_store: Store, tmp_path: Path, kill_at, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(folder: Path, **more: object) -> SpectralCodec:
        return train_codec(small_store, folder, tiny(), QUICK_CODEC, Budget(steps=6), CPU, **more)

    whole = train(tmp_path / "whole")
    with pytest.raises(Killed):
        train(tmp_path / "cut", on_step=kill_at(5))
    before, newest = sorted((tmp_path / "cut" / "checkpoints").iterdir())
    good = before.read_bytes()
    for path in (before, newest):
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"no checkpoint in .* can be read"):
        train(tmp_path / "cut")  # it would begin anew without a word
    before.write_bytes(good)
    capsys.readouterr()
    assert same(train(tmp_path / "cut"), whole)
    said = capsys.readouterr().out
    assert f"{newest} cannot be read" in said
    assert f"goes on from step {int(before.stem.removeprefix('step-'))}" in said


def test_a_run_with_other_settings_is_refused_by_name(small_store: Store, tmp_path: Path) -> None:
    train_codec(small_store, tmp_path, tiny(), QUICK_CODEC, Budget(steps=1), CPU)
    other = CodecTraining(batch=3, frames=24)
    with pytest.raises(TrainingError, match="training"):
        train_codec(small_store, tmp_path, tiny(), other, Budget(steps=1), CPU)


def test_a_budget_is_needed_and_counts_what_comes_first() -> None:
    with pytest.raises(TrainingError, match="budget"):
        Budget()
    assert Budget(steps=10, minutes=1).progress(5, 45) == pytest.approx(0.75)
    assert Budget(steps=10).progress(20, 0) == 1


def test_the_learning_rate_warms_up_and_ends_low() -> None:
    assert learning_rate(0, 0, 1.0) < 0.01
    assert learning_rate(500, 0.5, 1.0) == 1
    assert learning_rate(500, 1.0, 1.0) == pytest.approx(0.02)


def test_training_improves_the_decoder_on_the_same_audio(
    small_store: Store, tiny_codec: SpectralCodec
) -> None:
    audio = StoreExcerpts(small_store, 24 * 1024, seed=9).batch(8, 0, 0)
    untrained = SpectralCodec(tiny_codec.config)  # its decoder corrects nothing
    untrained.basis.load_state_dict(tiny_codec.basis.state_dict())
    sounds = Sounds(audio, torch.zeros(len(audio), 1, 1))
    with torch.no_grad():
        before, after = (
            SpectralObjective(c, CodecTraining(), CPU).decoder_loss(sounds)[0]
            for c in (untrained, tiny_codec)
        )
    assert after < 0.95 * before


def test_items_pair_a_target_with_the_same_timbre_playing_something_else(
    small_store: Store, tiny_codec: SpectralCodec, rng: np.random.Generator
) -> None:
    pairs = Pairs(small_store, tiny_codec.frame_rate, 32, 24, 0, Corruption(share=0), True)
    batch = pairs.batch(6, rng)
    assert batch.latent.shape == (6, tiny_codec.channels, 32)
    assert batch.example.shape == (6, tiny_codec.channels, 24)
    assert batch.roll.shape == (6, 3, 128, 72)
    assert batch.source_audio is not None
    assert batch.source_audio.shape == (6, 32 * 1024)
    again = pairs.batch(6, np.random.default_rng(0))
    np.testing.assert_array_equal(batch.latent, again.latent)


def test_latents_of_another_codec_are_refused(
    small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path
) -> None:
    other = SpectralCodec(tiny())
    with pytest.raises(DataError, match="made by codec"):
        train_model(
            small_store, None, other, tmp_path, tiny_model(), QUICK_MODEL, Budget(steps=1), CPU
        )


def test_conditions_are_dropped_independently_all_through_stage_two(
    small_store: Store, tiny_codec: SpectralCodec
) -> None:
    training = ModelTraining(
        batch=1, frames=16, example_frames=16, drop_structure=0.3, drop_timbre=0.4
    )
    objective = Objective(Network(tiny_model()), training, CPU)
    pairs = Pairs(small_store, tiny_codec.frame_rate, 16, 16, 0, Corruption())
    batch = pairs.batch(1, np.random.default_rng(0))
    seen: dict[str, int] = {}
    with torch.no_grad():
        for step in range(300):
            source = torch_generator(np.random.default_rng(step), CPU)
            for name, value in objective.losses(batch, source, stage=2).items():
                seen[name] = seen.get(name, 0) + bool(torch.isfinite(value).all())
    shares = {"neither": 0.12, "timbre": 0.18, "structure": 0.28, "both": 0.42}
    for name, share in shares.items():
        assert seen[f"branch/{name}"] / 300 == pytest.approx(share, abs=0.09)


def test_the_time_at_which_samplers_begin_is_trained_in_its_share(
    small_store: Store, tiny_codec: SpectralCodec
) -> None:
    network, times = Network(tiny_model()), []
    network.denoiser.register_forward_pre_hook(lambda _, inputs: times.append(inputs[1]))
    pairs = Pairs(small_store, tiny_codec.frame_rate, 16, 16, 0, Corruption())
    batch = pairs.batch(40, np.random.default_rng(0))
    for share in (0.0, 0.25):
        training = ModelTraining(batch=40, frames=16, example_frames=16, pure_noise=share)
        times.clear()
        with torch.no_grad():
            for step in range(8):
                source = torch_generator(np.random.default_rng(step), CPU)
                Objective(network, training, CPU).losses(batch, source, stage=2)
        assert float((torch.cat(times) == 1).float().mean()) == pytest.approx(share, abs=0.08)


def test_stage_one_ignores_structure_and_stage_two_freezes_timbre(
    small_store: Store, tiny_codec: SpectralCodec
) -> None:
    network = Network(tiny_model())
    network.adopt(tiny_codec.basis)
    training = ModelTraining(batch=4, frames=32, example_frames=32, freeze_timbre=True)
    objective = Objective(network, training, CPU)
    pairs = Pairs(small_store, tiny_codec.frame_rate, 32, 32, 0, Corruption())
    batch = pairs.batch(4, np.random.default_rng(0))
    torch.nn.init.normal_(network.denoiser.leave.weight, std=0.1)
    for stage, moved, still in (
        (1, "timbre_encoder", "structure_encoder"),
        (2, "structure_encoder", "timbre_encoder"),
    ):
        network.zero_grad()
        values = objective.losses(batch, torch_generator(np.random.default_rng(1), CPU), stage)
        (values["flow"] + values.get("contrastive", torch.zeros(()))).backward()

        def touched(part: str) -> bool:
            parameters = getattr(network, part).parameters()
            return any(p.grad is not None and p.grad.abs().sum() > 0 for p in parameters)

        assert touched(moved)
        assert not touched(still)


def test_half_precision_computes_nearly_the_same_losses(
    small_store: Store, tiny_codec: SpectralCodec
) -> None:
    torch.manual_seed(0)
    network = Network(tiny_model())
    network.adopt(tiny_codec.basis)
    torch.nn.init.normal_(network.denoiser.leave.weight, std=0.1)
    pairs = Pairs(small_store, tiny_codec.frame_rate, 32, 32, 0, Corruption())
    batch = pairs.batch(4, np.random.default_rng(0))
    found = {}
    for precision in ("fp32", "bf16"):
        training = ModelTraining(frames=32, example_frames=32, precision=precision)
        source = torch_generator(np.random.default_rng(1), CPU)
        found[precision] = Objective(network, training, CPU).losses(batch, source, stage=2)
        assert found[precision]["flow"].dtype == torch.float32
    for name in ("flow", "outline"):
        full, half = (float(found[p][name].detach()) for p in ("fp32", "bf16"))
        assert half == pytest.approx(full, rel=0.03)
        assert half != full


def test_the_paper_s_way_trains_with_its_adversary(
    small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path
) -> None:
    recipe = read_recipe("paper", tiny_model())
    training = replace(recipe.training, batch=2, frames=24, example_frames=24)
    train_model(
        small_store, None, tiny_codec, tmp_path, recipe.model, training, Budget(steps=50), CPU
    )
    assert losses(tmp_path, "adversary/error_over_chance")
    assert losses(tmp_path, "confusion")


def test_a_killed_listener_run_ends_with_the_same_weights(
    small_store: Store, tmp_path: Path, kill_at
) -> None:
    size = ListenerConfig(width=4, blocks=1, summary=8, after=1)
    training = ListenerTraining(batch=2, frames=24)

    def train(folder: Path, **more: object) -> Listener:
        arguments = (small_store, folder, size, training, Budget(steps=4), CPU)
        return train_listener(*arguments, **more)

    whole = train(tmp_path / "whole")
    with pytest.raises(Killed):
        train(tmp_path / "cut", on_step=kill_at(2))
    assert same(train(tmp_path / "cut"), whole)
    assert same(train(tmp_path / "ahead", workers=1), whole)  # whoever draws the lessons
    saved = load_listener(tmp_path / "cut" / "listener")  # in half precision
    for one, other in zip(saved.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_what_is_done_between_steps_is_of_the_minutes_too(
    small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, steps = [0.0], []

    def wait(seconds: float) -> None:
        now[0] += seconds

    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("timbrel.training.course.time", clock)
    monkeypatch.setattr(Validation, "look", lambda *_: wait(10.0))

    def on_step(step: int, progress: float) -> None:
        steps.append((step, progress))
        wait(1.0)

    training = replace(QUICK_MODEL, validate_every=10)
    arguments = (small_store, None, tiny_codec, tmp_path, tiny_model(), training)
    train_model(*arguments, Budget(minutes=1), CPU, on_step=on_step)
    # a look takes as long as ten steps: the learning rate has fallen all the same when time is over
    assert 15 <= len(steps) <= 30
    assert steps[-1][1] >= 0.8
    assert now[0] <= 70


def test_the_pace_and_the_time_that_is_left_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Run(tmp_path, {}) as run:
        run.gather({"loss": torch.tensor(1.0)})
        run.gather({"loss": torch.tensor(3.0)})
        run.log_gathered(50, 1, seconds=100.0, progress=0.25)
        run.log_gathered(100, 1, seconds=125.0, progress=0.5)
    first, second = capsys.readouterr().out.splitlines()
    assert "loss 2 " in first
    assert "0.50 steps/s  5:00 left" in first
    assert "2.00 steps/s  2:05 left" in second


@pytest.mark.slow
def test_a_tiny_model_learns_to_follow_pitch_and_timbre(
    small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path
) -> None:
    training = ModelTraining(batch=4, frames=48, example_frames=48, peak_rate=2e-3)
    config = tiny_model()
    network = train_model(
        small_store, None, tiny_codec, tmp_path, config, training, Budget(steps=250), CPU
    )
    course = losses(tmp_path, "flow")
    assert np.mean(course[-2:]) < 0.8 * course[0]
    pitched = [i for i, item in enumerate(small_store.items) if not item.drums][:4]
    right = []
    for index in pitched:
        example = torch.from_numpy(small_store.audio(index))[None, None]
        with torch.no_grad():
            timbre = network.timbre(tiny_codec.encode(example))
        for pitch, other in ((60, 66), (67, 61), (72, 78)):
            notes = Notes.from_rows([(0.1, 1.2, pitch, 100)])

            def between(start: int, stop: int, notes: Notes = notes) -> torch.Tensor:
                rate = tiny_codec.frame_rate
                return torch.from_numpy(roll(notes, rate, stop - start, start / rate))

            sampling = Sampling(steps=4, guidance=Guidance(1.0, 1.0))
            played = structure_of_rolls(network, between)
            latent = torch.cat(list(generate(network, played, 48, timbre, sampling)), 2)
            level = tiny_codec.basis.log_magnitude(latent).exp()[0, :, 20:60].mean(1)

            def energy(p: int, level: torch.Tensor = level) -> float:
                bins = [round(k * pitch_hz(p) * 2048 / RATE) for k in (1, 2, 3)]
                return float(sum(level[b - 1 : b + 2].sum() for b in bins))

            right.append(energy(pitch) > energy(other))
    assert np.mean(right) >= 0.8


def test_discriminators_that_join_early_bring_the_waveform_with_them() -> None:
    codec = SpectralCodec(tiny())
    training = replace(QUICK_CODEC, waveform_from=0.75, adversarial_from=0.2)
    objective = SpectralObjective(codec, training, CPU)
    sounds = Sounds(0.1 * torch.randn(2, 24 * codec.hop), torch.zeros(2, codec.channels, 24))
    source = torch.Generator().manual_seed(0)
    assert objective.step(sounds, source, 0.19).output is None
    assert objective.step(sounds, source, 0.2).output is not None


def test_discriminators_that_never_join_do_not_join_a_run_that_is_made_longer(
    small_store: Store, tmp_path: Path
) -> None:
    training = replace(QUICK_CODEC, adversarial_from=1.0)
    for steps in (3, 6):
        train_codec(small_store, tmp_path, tiny(), training, Budget(steps=steps), CPU)
    assert len(losses(tmp_path, "loss/waveform")) == 2
    assert not losses(tmp_path, "loss/adversarial")


def test_what_discriminators_do_is_logged_whichever_steps_they_learn_in(
    small_store: Store, tmp_path: Path
) -> None:
    training = replace(
        rave_training(), batch=1, frames=12, basis_minutes=0.1, adversarial_from=0.2, judge_every=2
    )
    train_codec(small_store, tmp_path, rave.tiny(), training, Budget(steps=4), CPU)
    assert losses(tmp_path, "loss/discriminator")  # the last step, 3, is none of them
    assert losses(tmp_path, "discriminator/score")


@pytest.mark.parametrize("wrong", [{"waveform_from": 75.0}, {"adversarial_from": -1.0}])
def test_a_percentage_is_not_taken_for_a_share(wrong: dict[str, float]) -> None:
    with pytest.raises(TrainingError, match=f"{next(iter(wrong))} is .*from 0 to 1"):
        replace(QUICK_CODEC, **wrong)
