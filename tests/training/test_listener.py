"""What a listener learns from: audio, and the rolls of what it plays."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stores import FRAMES, HOP, ITEM, RATE
from timbrel.conditions.drums import PIECES, drum_loss
from timbrel.conditions.listener import Listener, ListenerConfig
from timbrel.data.store import Store
from timbrel.data.writer import StoreWriter
from timbrel.errors import DataError
from timbrel.notes import Notes
from timbrel.roll import ONSET, SOUNDING
from timbrel.training.listener import Lesson, Lessons, ListenerTraining, Passages, lesson_loss

BEGINS = 30  # frame in which each item begins to sound
CLEAN = ListenerTraining(batch=64, frames=40, mixture=0.0, noise=0.0, beside=0.0)
CPU = torch.device("cpu")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two pitched items and two of drums, each silent but for a constant from its note on."""
    items = [replace(ITEM, row=row, identity=str(row), drums=row > 1) for row in range(4)]
    onset = (BEGINS + 0.5) * HOP / RATE
    notes = [Notes.from_rows([(onset, 9.0, pitch, 100)]) for pitch in (50, 70, 36, 38)]
    audio = np.zeros((4, FRAMES * HOP))
    audio[:, round(onset * RATE) :] = 0.1
    StoreWriter(tmp_path).write_shard(0, audio, notes, items)
    return Store.open(tmp_path)


def test_rolls_lie_where_the_sound_does(store: Store) -> None:
    audio, entries = Passages(store, HOP, CLEAN).batch(np.random.default_rng(0))
    rolls = entries.to(CPU)
    later = 0
    for heard, written in zip(audio, rolls, strict=True):
        sounds = heard.abs() > 1e-4
        begins = int(sounds.float().argmax()) // HOP
        assert bool(sounds.any()) == bool(written[SOUNDING].any())
        if sounds.any() and not sounds[0]:
            assert [int(frame) for frame in written[ONSET].amax(0).nonzero()] == [begins]
            later += 1
    assert later > 20


def test_of_two_renditions_that_are_added_all_notes_are_told(store: Store) -> None:
    mixed = replace(CLEAN, mixture=1.0, batch=200)
    rolls = Passages(store, HOP, mixed).batch(np.random.default_rng(0))[1].to(CPU)
    pitches = [set(written[SOUNDING].amax(1).nonzero()[:, 0].tolist()) for written in rolls]
    assert {50, 70} in pitches
    assert all(found <= {50, 70} for found in pitches)


def test_an_item_as_long_as_an_excerpt_is_heard_whole(store: Store) -> None:
    whole = replace(CLEAN, frames=FRAMES, batch=2)
    audio, _ = Passages(store, HOP, whole, drums=True).batch(np.random.default_rng(0))
    assert audio.shape == (2, FRAMES * HOP)
    with pytest.raises(DataError, match="no pitched item of 81 frames"):
        Passages(store, HOP, replace(CLEAN, frames=FRAMES + 1))


def test_a_melody_with_drums_is_heard_as_no_kit(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = replace(CLEAN, batch=3)
    pitched, kits = (Passages(store, HOP, training, drums=kit) for kit in (False, True))
    lesson: Lesson = Lessons(pitched, kits, 0).draw(0)
    assert lesson.struck is not None
    assert lesson.louder is not None
    listener = Listener(ListenerConfig(width=8, blocks=1, drums=8))
    assert listener.drums is not None
    features, seen = listener.drums.features, []
    monkeypatch.setattr(listener.drums, "features", lambda x: seen.append(x) or features(x))
    told = []
    monkeypatch.setattr(
        "timbrel.training.listener.drum_loss", lambda *a: told.append(a) or drum_loss(*a)
    )
    lesson_loss(listener, lesson, training, CPU)
    alone, struck, both = seen[0].chunk(3)
    assert torch.equal(alone, lesson.audio)
    assert torch.equal(struck, lesson.struck)
    torch.testing.assert_close(both, lesson.louder * lesson.audio + lesson.struck)
    _, _, rolls, drums = told[0]
    assert drums.tolist() == 3 * [False] + 3 * [True] + 3 * [False]
    # of both together strokes are told, which nobody is asked about
    assert torch.equal(rolls[3:6], rolls[6:])
    assert set(rolls[3:6, SOUNDING].amax((0, 2)).nonzero()[:, 0].tolist()) <= set(PIECES)
