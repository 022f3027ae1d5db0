"""Protocols, and the cases that are drawn by them and from stores."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluations import SMALL
from soundfonts import write_font
from sounds import RATE, pitch_hz
from stores import ITEM, store_of
from timbrel.audio import Audio
from timbrel.data.render.soundfont import SoundFont
from timbrel.data.store import Store
from timbrel.data.writer import StoreWriter
from timbrel.errors import DataError, InputError
from timbrel.evaluation.cases import alike, draw_cases, pool
from timbrel.evaluation.job import Job
from timbrel.evaluation.protocol import Setting, protocol_names, read_protocol
from timbrel.evaluation.run import evaluate
from timbrel.evaluation.systems import TRUTH, model_rows
from timbrel.model import load
from timbrel.notes import Notes

HEAD = "question='?'\nstructure='notes'\ncases=1\nseed=0\nseconds=4.0\n"


@pytest.mark.parametrize("name", protocol_names())
def test_every_protocol_can_be_read_and_asks_something(name: str) -> None:
    protocol = read_protocol(name)
    assert protocol.question.endswith("?")
    for level in protocol.levels:
        assert isinstance(protocol.setting(level), Setting)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("question = ", "not a protocol"),
        ("question = 'x'", "not a protocol"),
        (
            "question='?'\nstructure='notes'\ncases=1\nseed=0\nseconds=4.0\n[levels]\na={wrong=1}",
            "unknown 'wrong'",
        ),
        (HEAD.replace("'?'", "5") + "[levels]\na={}", "question is 5; give a text"),
        (HEAD + "[levels]", "asks nothing"),
        (HEAD + "[levels]\na={pool='old'}", "pool is 'old'"),
        (HEAD + "[levels]\na={sustain='long'}", "sustain is 'long'"),
        (HEAD + "[levels]\na={voices='two'}", "give a number"),
        (HEAD + "[levels]\na={steps=1.5}", "give a whole number"),
        (HEAD + "[levels]\na={genres='other', genre='polka'}", "genre is 'polka'"),
        (HEAD + "[levels]\na={example_part=2.0}", "example"),
        (HEAD + "[levels]\na={example_room=2.0}", "example_room is a share"),
        (HEAD + "[levels]\na={example_ratio=0.5}", "example_ratio is at least 1"),
        (HEAD.replace("4.0", "0.0") + "[levels]\na={}", "cases of 0.0 s"),
        (HEAD.replace("cases=1", "cases='x'") + "[levels]\na={}", "cases is 'x'"),
    ],
)
def test_wrong_protocols_are_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_protocol(str(path))
    with pytest.raises(InputError, match="choose one of"):
        read_protocol("none")


def test_cases_are_the_same_each_time_and_differ_from_each_other() -> None:
    first, again = (draw_cases(SMALL, [], limit=2) for _ in range(2))
    a, b = first[0](), again[0]()
    assert a.truth is not None
    assert b.truth is not None
    assert np.array_equal(a.truth.samples, b.truth.samples)
    assert np.array_equal(a.notes.onset, b.notes.onset)
    assert not np.array_equal(a.notes.onset, first[1]().notes.onset)


def test_no_kit_of_a_font_is_asked_to_become_itself(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_font(tmp_path / f"{name}.sf2")
    fonts = [SoundFont(tmp_path / f"{name}.sf2") for name in "ab"]
    kit = next(timbre for timbre in pool("seen-seen", [], drums=True))
    kits = [
        replace(kit, source=(font, preset), effects=replace(kit.effects, drive=drive))
        for font in fonts
        for preset in font.presets()
        for drive in (0.0, 1.0)
        if preset.drums
    ]
    assert [alike(kits[0], other) for other in kits] == [True, True, False, False]
    assert not alike(kit, kits[0])
    pianos = [replace(kit, group=group) for group in (0, 0, 1)]
    assert [alike(pianos[0], other) for other in pianos] == [True, True, False]


def test_registers_lie_as_far_apart_as_the_protocol_says() -> None:
    protocol = replace(
        read_protocol("range"),
        seconds=4.0,
        levels={"up": {"octave_gap": 1}, "same": {"octave_gap": 0}},
    )
    for case in (make() for make in draw_cases(protocol, [], limit=2)):
        example = np.median(hz_of(case.example))
        notes = np.median([pitch_hz(p) for p in case.notes.pitch])
        octaves = math.log2(notes / example)
        assert abs(octaves - (1 if case.level == "up" else 0)) < 1.2


@pytest.mark.parametrize("gap", [1, -1])
def test_source_and_example_play_in_registers_of_their_own(gap: int) -> None:
    protocol = replace(
        read_protocol("cross-register"),
        seconds=4.0,
        levels={"across": {"pool": "seen-seen", "register_gap": gap}},
    )
    for case in (make() for make in draw_cases(protocol, [], limit=3)):
        assert case.source is not None
        example, source = np.median(hz_of(case.example)), np.median(hz_of(case.source))
        notes = np.median([pitch_hz(p) for p in case.notes.pitch])
        assert gap * math.log2(notes / example) > 0.4  # scores wander around their centres
        assert abs(math.log2(notes / source)) < 1.2


def test_held_notes_die_away_or_last_as_the_level_says() -> None:
    """By the truth's last second before its longest note ends, beside that in which it began."""
    protocol = read_protocol("held")
    levels = {name: protocol.levels[f"{name}, unseen"] for name in ("dies away", "lasts")}
    protocol = replace(protocol, base=replace(protocol.base, voices=1), levels=levels)
    for case in (make() for make in draw_cases(protocol, [], limit=2)):
        lengths = case.notes.offset - case.notes.onset
        longest = int(np.argmax(lengths))
        assert lengths[longest] > 3
        assert case.truth is not None
        end = min(case.notes.offset[longest], protocol.seconds)
        begun, ended = (
            np.square(case.truth.samples[0, round(at * RATE) :][: RATE // 2]).mean()
            for at in (case.notes.onset[longest], end - 0.5)
        )
        faded = 10 * math.log10(ended / begun)
        assert faded < -10 if case.level == "dies away" else faded > -10


def hz_of(audio: Audio) -> list[float]:
    """Frequencies of the lowest strong partial, frame by frame (rough)."""
    frames = audio.samples[0][: len(audio.samples[0]) // 8192 * 8192].reshape(-1, 8192)
    spectra = np.abs(np.fft.rfft(frames * np.hanning(8192), axis=1))
    strong = spectra > 0.3 * spectra.max(1, keepdims=True)
    return [float(row.argmax() * RATE / 8192) for row in strong if row.any()]


def test_sounds_that_are_not_there_are_asked_for_in_words() -> None:
    with pytest.raises(DataError, match="install more sound fonts"):
        draw_cases(replace(SMALL, levels={"x": {"pool": "unseen-seen"}}), [])[0]()
    assert len(pool("unseen-unseen", [])) > 10


def test_a_case_may_fix_how_it_is_sampled(tiny_model: Path) -> None:
    player = load(tiny_model, "cpu")
    asked: list[tuple[int, float | None]] = []
    original = player.render

    def watch(*args: Any, steps: int, **options: Any) -> Audio:
        asked.append((steps, options.get("guidance_timbre")))
        return original(*args, steps=steps, **options)

    player.render = watch  # type: ignore[method-assign]
    protocol = replace(read_protocol("speed"), seconds=4.0)
    first = next(iter(protocol.levels))
    case = draw_cases(replace(protocol, levels={first: protocol.levels[first]}), [], 1)[0]()
    play = list(model_rows(player, "notes", steps=3).values())[-1]
    assert play(case) is not None
    assert play(replace(case, sampling={"guidance_timbre": 2.5})) is not None
    assert asked == [(1, None), (3, 2.5)]
    levels = read_protocol("guidance")
    assert levels.setting("1 and 2").sampling == {"guidance_structure": 1.0, "guidance_timbre": 2.0}


def test_cases_come_from_a_store_too(small_store: Store, tmp_path: Path) -> None:
    job = Job(store=str(small_store.path), limit=2)
    records = evaluate(job, tmp_path / "report")
    truth = [r for r in records if r.system == TRUTH]
    assert len(truth) == 2
    assert np.mean([r.scores["note_f1"] for r in truth]) > 0.3


def test_cases_are_asked_of_no_item_of_a_store_that_is_for_training(tmp_path: Path) -> None:
    items = (replace(ITEM, identity=f"{s}", split=s) for s in ("train", "train", "test", "test"))
    store = store_of(tmp_path / "store", *items)
    asked = [make() for make in Job(store=str(store.path)).cases()]
    assert [case.facts["target"] for case in asked] == ["test", "test"]


def test_items_in_whose_case_no_note_begins_are_not_asked(tmp_path: Path) -> None:
    begins = {"late": 9.0, "before": -1.0, "early": 7.0}
    notes = [Notes.from_rows([(onset, onset + 2, 60, 90)]) for onset in begins.values()]
    length = 10 * ITEM.rate
    items = [replace(ITEM, row=row, length=length) for row in range(3)]
    StoreWriter(tmp_path / "three").write_shard(0, np.zeros((3, length)), notes, items)
    (make,) = Job(store=str(tmp_path / "three")).cases()
    assert make().notes.onset.tolist() == [7.0]
    StoreWriter(tmp_path / "two").write_shard(0, np.zeros((2, length)), notes[:2], items[:2])
    with pytest.raises(DataError, match="begins in the first 8 s"):
        Job(store=str(tmp_path / "two")).cases()
