"""Drums as structure and as timbre, with the default model, on rendered kits."""

from dataclasses import replace

import numpy as np
import pytest

from timbrel.audio import Audio
from timbrel.data.render.synth import Patch, render_kit, render_patch
from timbrel.evaluation.likeness import log_mel_db, onset_strength
from timbrel.model import Timbrel, load
from timbrel.notes import Notes, Track

RATE = 44_100
BEATS = np.arange(0.25, 3.0, 0.5)
KICK, SNARE = 36, 38
GROOVE = Notes.from_rows(
    [(t, t + 0.1, (KICK, SNARE)[k % 2], 110) for k, t in enumerate(BEATS)],
    (Track("drums", 0, True),),
)
MELODY = Notes.from_rows([(t, t + 0.3, 60 + 2 * k, 100) for k, t in enumerate(BEATS)])


@pytest.fixture(scope="module")
def player() -> Timbrel:
    return load("default", "cpu")


@pytest.fixture(scope="module")
def kit() -> Audio:
    """Another groove by a kit."""
    rng = np.random.default_rng(4)
    rows = [(t, t + 0.1, int(rng.choice([36, 38, 42, 46])), 100) for t in np.arange(0, 3.5, 0.2)]
    notes = Notes.from_rows(rows, (Track("drums", 0, True),))
    return Audio(render_kit(Patch.draw(np.random.default_rng(3)), notes, 4.0, RATE), RATE).mono()


@pytest.fixture(scope="module")
def plucked() -> Audio:
    rng = np.random.default_rng(0)
    patch = Patch.draw(rng)
    while patch.kind != "plucked":
        patch = Patch.draw(rng)
    notes = Notes.from_rows([(t, t + 0.4, 55 + 3 * k, 100) for k, t in enumerate((0, 1, 2))])
    return Audio(render_patch(replace(patch, attack=0.005), notes, 3.5, RATE), RATE).mono()


def beats_heard(audio: Audio) -> float:
    """How much louder onsets are on the beats than between them."""
    strength = onset_strength(log_mel_db(audio.samples[0]))
    frames = np.arange(len(strength)) * 1024 / RATE
    away = np.abs(frames[:, None] - BEATS).min(1)
    return float(strength[away < 0.05].max() / max(strength[(away > 0.12) & (away < 0.2)].max(), 1))


def test_a_groove_is_played_by_a_kit_on_its_beats(player: Timbrel, kit: Audio) -> None:
    audio = player.render(GROOVE, kit, steps=4, length=3.5)
    assert beats_heard(audio) > 1.5


def test_a_groove_is_played_by_a_pitched_sound_and_a_melody_by_a_kit(
    player: Timbrel, kit: Audio, plucked: Audio
) -> None:
    for structure, example in ((GROOVE, plucked), (MELODY, kit)):
        audio = player.render(structure, example, steps=4, length=3.5)
        assert np.isfinite(audio.samples).all()
        assert -27 < audio.loudness() < -18  # peaks may forbid more
        assert beats_heard(audio) > 1.2


def test_kits_and_pitched_sounds_are_far_apart_as_timbres(
    player: Timbrel, kit: Audio, plucked: Audio
) -> None:
    first, second = player.timbre(kit).vector, player.timbre(plucked).vector
    halves = [Audio(kit.samples[:, part], RATE) for part in (slice(0, 80_000), slice(80_000, None))]
    a, b = (player.timbre(half).vector for half in halves)
    assert float((a * b).sum()) > float((first * second).sum()) + 0.3
