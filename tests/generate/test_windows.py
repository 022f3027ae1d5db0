"""Windows: what is played in them, and by which noise."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from timbrel.conditions.timbre import Timbre
from timbrel.diffusion.noise import SPAN
from timbrel.diffusion.samplers import SAMPLERS
from timbrel.generate.windows import Sampling, generate, structure_of_notes, windows
from timbrel.network import Network, tiny
from timbrel.notes import Notes, Track

FRAME_RATE = 40.0


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return Network(tiny()).eval()


@pytest.mark.parametrize(("start", "stop"), [(0, 60), (30, 41), (40, 50), (39, 41)])
def test_a_note_begins_in_the_frame_of_its_onset_whatever_the_window(
    network: Network, start: int, stop: int
) -> None:
    notes = Notes.from_rows([(40.5 / FRAME_RATE, 45.5 / FRAME_RATE, 60, 100)])
    with torch.inference_mode():
        levels = structure_of_notes(network, notes, FRAME_RATE)(start, stop).levels
    assert levels is not None
    assert levels.shape[-1] == stop - start
    sounds = levels[0, :, 60].amax(0) > 0
    assert not sounds[: 40 - start].any()
    assert sounds[40 - start : 46 - start].all()


@torch.inference_mode()
def test_structure_of_a_window_is_that_of_the_whole_piece_with_notes_that_ring(
    network: Network,
) -> None:
    rows = [(0.0, 2.0, 60, 100), (1.0, 1.2, 64, 50), (1.99, 4.0, 64, 80), (5.0, 5.1, 127, 1)]
    between = structure_of_notes(network, Notes.from_rows(rows), FRAME_RATE)
    whole = between(0, 240)
    for start, stop in ((0, 1), (0, 60), (44, 108), (76, 140), (199, 203), (230, 240)):
        part, same = between(start, stop), whole.between(start, stop)
        torch.testing.assert_close(part.code, same.code)
        # of what rang 3 s before, less than a hundredth is left
        torch.testing.assert_close(part.levels, same.levels, atol=0.005, rtol=0)


@torch.inference_mode()
def test_drums_are_told_to_the_encoder_unless_there_is_something_else(network: Network) -> None:
    kit = Notes.from_rows([(0, 0.1, 36, 90, 0)], (Track(drums=True), Track()))
    both = Notes.from_rows([(0, 0.1, 36, 90, 0), (0, 0.1, 60, 90, 1)], kit.tracks)
    for notes, drums in ((kit, True), (both, False), (both.pitched(), False)):
        told = structure_of_notes(network, notes, FRAME_RATE)(0, 4).drums
        assert told is not None
        assert told.tolist() == [drums]


@pytest.mark.parametrize("channels", [32, 20])  # draws are of 16 numbers at once
@pytest.mark.parametrize(("window", "context"), [(64, 16), (41, SPAN - 3), (23, 0)])
def test_a_frame_gets_the_same_noise_however_the_windows_fall(
    window: int, context: int, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []

    def sampled(velocity: Any, noise: torch.Tensor, *rest: Any) -> torch.Tensor:
        seen.append(noise)
        return noise

    monkeypatch.setitem(SAMPLERS, "euler", sampled)
    monkeypatch.setattr("timbrel.generate.windows.guided_velocity", lambda *_: None)
    codec = replace(tiny().codec, channels=channels)
    sampling = Sampling(temperature=0.7, texture=1.5)
    timbre = Timbre(torch.zeros(1, tiny().timbre.dim))

    def noises(window: int, context: int) -> list[torch.Tensor]:
        seen.clear()
        network = Network(replace(tiny(), codec=codec, window=window, context=context))
        between = structure_of_notes(network, Notes.from_rows([]), FRAME_RATE)
        list(generate(network, between, 130, timbre, sampling))
        return list(seen)

    (whole,) = noises(130, 0)
    assert float(whole.std()) > 0.5
    parts = noises(window, context)
    places = windows(130, window, context)
    for part, (start, _, stop) in zip(parts, places, strict=True):
        torch.testing.assert_close(part, whole[:, :, start:stop])
