"""Distillation: one evaluation learns to answer for many."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from conftest import Killed
from timbrel.codec.codec import Codec
from timbrel.codec.spectral import SpectralCodec
from timbrel.data.store import Store
from timbrel.diffusion.guidance import Guidance
from timbrel.diffusion.unet import Shortcut
from timbrel.errors import ModelError, TrainingError
from timbrel.generate.windows import guided_velocity
from timbrel.network import Network
from timbrel.network import tiny as tiny_model
from timbrel.serialize import load_network
from timbrel.training.distil import Distillation, Lesson, distil, student_of
from timbrel.training.model import pairs_of
from timbrel.training.objective import Objective
from timbrel.training.run import Budget, generator
from timbrel.training.settings import ModelTraining

CPU = torch.device("cpu")
TRAINING = ModelTraining(batch=8, frames=24, example_frames=24, peak_rate=2e-3)
SCALES = Guidance(2.0, 1.5)


@pytest.fixture(scope="module")
def teacher(tiny_codec: Codec) -> Network:
    """Untrained, but with conditions that matter: its zeros are filled."""
    torch.manual_seed(3)
    network = Network(tiny_model())
    network.adopt(tiny_codec.basis)
    for parameter in network.denoiser.parameters():
        if parameter.abs().sum() == 0:
            torch.nn.init.normal_(parameter, std=0.02)
    return network.eval()


def sampled(network: Network, codec: Codec, store: Store, steps: int) -> Tensor:
    """One guided sample of a fixed item and noise, by `steps` even steps."""
    batch = pairs_of(store, codec, network.config, TRAINING).batch(1, generator(5, 0, 0, 0))
    with torch.no_grad():
        structure = Objective(network, TRAINING, CPU).encode_structure(batch)
        timbre = network.timbre(batch.example, batch.example_roll)
        context = torch.zeros(1, 1, TRAINING.frames)
        velocity = guided_velocity(network, structure, timbre, context, SCALES)
        x = torch.randn(batch.latent.shape, generator=torch.Generator().manual_seed(0))
        for k in range(steps):
            moment, size = torch.tensor([1 - k / steps]), torch.tensor([1 / steps])
            x = x - velocity(x, moment, size) / steps
    return x


@pytest.mark.slow
def test_one_step_of_the_student_comes_near_many_of_its_teacher(
    small_store: Store, tiny_codec: Codec, teacher: Network, tmp_path: Path
) -> None:
    goal = sampled(teacher, tiny_codec, small_store, 16)
    before = (sampled(student_of(teacher), tiny_codec, small_store, 1) - goal).square().mean()
    student = distil(
        small_store, tiny_codec, tmp_path, teacher, TRAINING, Distillation(halvings=2),
        Budget(steps=150), CPU,
    )  # fmt: skip
    after = (sampled(student, tiny_codec, small_store, 1) - goal).square().mean()
    assert after < 0.85 * before
    saved = load_network(tmp_path / "model")
    assert saved.config.denoiser.few_step
    assert saved.config.denoiser.most_steps == 4
    for name, value in teacher.timbre_encoder.state_dict().items():
        torch.testing.assert_close(
            saved.timbre_encoder.state_dict()[name], value, atol=1e-2, rtol=0
        )


def test_a_step_is_taught_as_two_half_steps_and_given_frames_stay(
    small_store: Store, tiny_codec: Codec, teacher: Network
) -> None:
    student = student_of(teacher)
    lesson = Lesson(teacher, student, TRAINING, Distillation(), CPU)
    batch = pairs_of(small_store, tiny_codec, student.config, TRAINING).batch(
        2, generator(5, 0, 0, 0)
    )
    calls: list[tuple[Tensor, float, float]] = []

    class Watch(torch.nn.Module):
        def forward(self, x: Tensor, moment: Tensor, _c: object, _m: object, told) -> Tensor:  # type: ignore[no-untyped-def]
            calls.append((x, float(moment[0]), float(told.size[0])))
            return torch.full_like(x, float(len(calls)))

    student.denoiser = Watch()
    x = batch.latent
    context = torch.zeros(2, 1, TRAINING.frames)
    context[:, :, :5] = 1
    with torch.no_grad():
        conditions = lesson._conditions(*lesson._codes(batch), True, True)
        told = Shortcut(*(torch.full((2,), v) for v in (0.5, 2.0, 2.0)))
        mean = lesson._in_two({}, x, torch.full((2,), 0.75), conditions, context, told)
    assert [(moment, size) for _, moment, size in calls] == [(0.75, 0.25), (0.5, 0.25)]
    torch.testing.assert_close(calls[1][0][:, :, 5:], x[:, :, 5:] - 0.25)
    torch.testing.assert_close(calls[1][0][:, :, :5], x[:, :, :5])
    torch.testing.assert_close(mean, torch.full_like(x, 1.5))


def test_a_killed_distillation_ends_with_the_same_weights(
    small_store: Store, tiny_codec: Codec, teacher: Network, tmp_path: Path, kill_at
) -> None:
    def train(folder: Path, **more: object) -> Network:
        arguments = (small_store, tiny_codec, folder, teacher, TRAINING, Distillation())
        return distil(*arguments, Budget(steps=4), CPU, **more)

    whole = train(tmp_path / "whole").state_dict()
    with pytest.raises(Killed):
        train(tmp_path / "cut", on_step=kill_at(2))
    resumed = train(tmp_path / "cut").state_dict()
    assert all(torch.equal(whole[name], value) for name, value in resumed.items())


def test_what_cannot_be_distilled_is_refused(teacher: Network) -> None:
    with pytest.raises(TrainingError, match="distilled already"):
        student_of(student_of(teacher))
    with pytest.raises(TrainingError, match="'edm'"):
        student_of(Network(replace(tiny_model(), objective="edm")))


def test_students_of_another_teacher_or_codec_are_refused(
    small_store: Store, tiny_codec: Codec, teacher: Network, tmp_path: Path
) -> None:
    def train(teacher: Network, codec: Codec, batch: int = 4) -> None:
        training = replace(TRAINING, batch=batch)
        distil(small_store, codec, tmp_path, teacher, training, Distillation(), Budget(1), CPU)

    train(teacher, tiny_codec)
    torch.manual_seed(4)
    other = Network(tiny_model())
    other.adopt(tiny_codec.basis)  # type: ignore[attr-defined]
    with pytest.raises(TrainingError, match="run with teacher = "):
        train(other, tiny_codec)
    stranger = SpectralCodec(replace(tiny_codec.config, channels=16))  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match="channels = 32, this one has 16"):
        train(teacher, stranger)
    with pytest.raises(TrainingError, match="at least 2"):
        train(teacher, tiny_codec, batch=1)
