import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soundfonts import write_font
from timbrel.audio import Audio
from timbrel.data.engine import Local
from timbrel.data.render import renditions
from timbrel.data.render.plan import Plan, draw_plan, timbres_needed
from timbrel.data.render.renditions import play, render_store
from timbrel.data.render.shares import Shares
from timbrel.data.render.soundfont import SoundFont
from timbrel.data.render.styles import STYLES
from timbrel.data.render.synth import Patch
from timbrel.data.render.timbres import SPLITS, draw_timbres
from timbrel.data.store import Store
from timbrel.errors import DataError


class Killed(BaseException):
    """What a test raises in place of a kill: nothing catches it."""


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix != ".tmp"}


@pytest.mark.parametrize("count", [12, 48, 100, 601, 4_800])
def test_every_score_has_two_timbres_and_every_timbre_three_scores(count: int) -> None:
    plan = Plan(1, count, tuple(draw_timbres(1, timbres_needed(count), "train", [])), 12.0)
    scores: dict[int, set[str]] = {}
    timbres: dict[str, set[int]] = {}
    for index in range(count):
        scores.setdefault(plan.score_number(index), set()).add(plan.timbre(index).identity)
        timbres.setdefault(plan.timbre(index).identity, set()).add(plan.score_number(index))
    kinds = [t.drums for t in plan.timbres]
    if kinds.count(True) != 1:
        assert min(len(players) for players in scores.values()) >= 2
    assert min(len(played) for played in timbres.values()) >= 3


def test_one_left_alone_in_the_last_turn_joins_an_earlier_score() -> None:
    timbres = tuple(t for t in draw_timbres(0, 9, "train", []) if not t.drums)[:5]
    plan = Plan(0, 26, timbres, 12.0)
    partners = [k for k in range(25) if plan.score_number(k) == plan.score_number(25)]
    assert partners
    assert plan.timbre(25).identity not in {plan.timbre(k).identity for k in partners}
    np.testing.assert_array_equal(plan.notes(25).onset, plan.notes(partners[0]).onset)


def test_splits_of_one_seed_share_no_score() -> None:
    timbres = tuple(draw_timbres(0, 10, "train", []))
    heard = {}
    for split in SPLITS:
        plan = Plan(0, 60, timbres, 4.0, split)
        scores = [plan.notes(index) for index in range(60)]
        heard[split] = {(tuple(n.onset), tuple(n.pitch)) for n in scores}
    assert not heard["train"] & heard["valid"]
    assert not heard["train"] & heard["test"]
    assert not heard["valid"] & heard["test"]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """10 renditions of 3 s, the last 4 of them mixes."""
    path = tmp_path_factory.mktemp("mixed") / "store"
    render_store(path, 2, 10, "train", [], Shares(mixes=0.4), 3.0)
    return Store.open(path)


@pytest.mark.parametrize("mixes", [4, 12, 30, 100, 601])
def test_every_piece_has_two_ensembles_and_every_ensemble_several_pieces(mixes: int) -> None:
    plan = draw_plan(1, 700, "train", [], Shares(mixes=mixes / 700))
    pieces: dict[int, set[str]] = {}
    ensembles: dict[str, set[int]] = {}
    for index in range(700 - mixes, 700):
        pieces.setdefault(plan.score_number(index), set()).add(plan.player(index).identity)
        ensembles.setdefault(plan.player(index).identity, set()).add(plan.score_number(index))
    assert min(len(players) for players in pieces.values()) >= 2
    assert min(len(played) for played in ensembles.values()) >= 2
    assert not pieces.keys() & {plan.score_number(index) for index in range(700 - mixes)}
    numbers = {plan.player(k).identity: plan.player_number(k) for k in range(700)}
    assert len(set(numbers.values())) == len(numbers)


def test_genres_cross_but_kits_meet_pieces_with_drums() -> None:
    plan = draw_plan(1, 200, "train", [], Shares(mixes=1.0))
    met = set()
    for index in range(200):
        ensemble, piece = plan.ensemble(index), plan.piece(index)
        assert ensemble.has_kit == ("drums" in piece.parts)
        met.add((ensemble.style, piece.style))
    assert len({style for style, _ in met}) == len({style for _, style in met}) == len(STYLES)
    assert sum(own != played for own, played in met) > 10


def test_mixes_change_nothing_about_the_renditions_before_them() -> None:
    plain, mixed = (
        draw_plan(1, count, "train", [], Shares(mixes=m / count))
        for count, m in ((60, 0), (70, 10))
    )
    for index in range(60):
        assert plain.player(index).identity == mixed.player(index).identity
        assert plain.score_number(index) == mixed.score_number(index)
        np.testing.assert_array_equal(plain.notes(index).onset, mixed.notes(index).onset)


def test_a_mix_in_a_store_has_the_pitched_notes_of_its_piece(mixed: Store) -> None:
    plan = draw_plan(2, 10, "train", [], Shares(mixes=0.4), 3.0)
    for index in range(6, 10):
        item, notes = mixed.items[index], mixed.notes(index)
        expected = plan.piece(index).notes.pitched()
        np.testing.assert_array_equal(notes.pitch, expected.pitch)
        assert not item.drums
        assert item.instrument.endswith("ensemble")
        assert item.loudness is not None
        assert item.loudness == pytest.approx(-23, abs=8)
    for items in mixed.by_score.values():
        assert len({mixed.items[i].identity for i in items}) >= 2


def test_drums_share_scores_with_drums_only() -> None:
    plan = Plan(0, 600, tuple(draw_timbres(0, 100, "train", [])), 12.0)
    kinds: dict[int, set[bool]] = {}
    for index in range(600):
        kinds.setdefault(plan.score_number(index), set()).add(plan.timbre(index).drums)
    assert {frozenset(k) for k in kinds.values()} == {frozenset({True}), frozenset({False})}


def test_renditions_of_one_score_have_the_same_notes(small_store: Store) -> None:
    for items in small_store.by_score.values():
        onsets = [small_store.notes(i).onset for i in items]
        for other in onsets[1:]:
            np.testing.assert_array_equal(onsets[0], other)


def test_a_rendition_is_a_pure_function_of_its_index() -> None:
    timbres = tuple(draw_timbres(0, timbres_needed(12), "train", []))
    plan = Plan(0, 12, timbres, 2.0)
    first, second = play(plan, 5), play(plan, 5)
    np.testing.assert_array_equal(first[0], second[0])


def test_a_timbre_plays_at_different_registers(small_store: Store) -> None:
    spreads = []
    for items in small_store.by_identity.values():
        centres = [np.median(small_store.notes(i).pitch) for i in items]
        spreads.append(np.ptp(centres))
    assert np.median(spreads) > 7


def test_no_note_lies_where_its_timbre_is_silent(tmp_path: Path) -> None:
    write_font(tmp_path / "FluidR3_tiny.sf2", low=55, high=80)
    font = SoundFont(tmp_path / "FluidR3_tiny.sf2")
    timbres = draw_timbres(0, 20, "train", [font], Shares(synthesised=0.5))
    plan = Plan(0, 120, tuple(timbres), 4.0)
    bounded = [k for k in range(120) if plan.timbre(k).family == "fluid"]
    assert len(bounded) > 30
    for index in bounded:
        pitch = plan.notes(index).pitch
        if len(pitch) and not plan.timbre(index).drums:
            assert pitch.min() >= 55
            assert pitch.max() <= 80


def test_notes_that_a_timbre_lacks_within_its_range_are_left_out(tmp_path: Path) -> None:
    write_font(tmp_path / "FluidR3_tiny.sf2")
    font = SoundFont(tmp_path / "FluidR3_tiny.sf2")
    keys = frozenset(range(30, 101, 3))
    holes = font, replace(font.presets()[0], keys=keys)
    drawn = draw_timbres(0, 20, "train", [font], Shares(synthesised=0.5, hybrids=0.5))
    whole = Plan(0, 80, tuple(drawn), 4.0)
    timbres = [t if isinstance(t.source, Patch) else replace(t, source=holes) for t in drawn]
    plan = Plan(0, 80, tuple(timbres), 4.0)
    left_out = 0
    for index in range(80):
        timbre, notes = plan.timbre(index), plan.notes(index)
        if timbre.drums:
            continue
        assert all(timbre.sounding(notes.pitch))
        if not isinstance(timbre.source, Patch):
            moved = timbre.hybrid.semitones if timbre.hybrid else 0
            assert {int(pitch) - moved for pitch in notes.pitch} <= keys
        left_out += len(whole.notes(index)) - len(notes)
    assert left_out > 100


def test_loudness_is_near_its_target_and_the_manifest_tells_it(small_store: Store) -> None:
    for index in range(0, 48, 5):
        item = small_store.items[index]
        assert item.loudness is not None
        assert -33 < item.loudness < -15
        heard = Audio(small_store.audio(index)[None], item.rate).loudness()
        assert heard == pytest.approx(item.loudness, abs=0.1)
        assert np.abs(small_store.audio(index)).max() < 0.98


def test_a_kill_at_any_moment_is_continued_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renditions, "PER_SHARD", 2)
    arguments = (1, 5, "train", [], Shares(), 1.5)
    render_store(tmp_path / "whole", *arguments)
    whole, replace, last = contents(tmp_path / "whole"), os.replace, -1
    assert len(whole) == 1 + 1 + 3 * 2
    for deadly in range(100):
        left = deadly

        def dying(source: Path, target: Path) -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            replace(source, target)

        folder = tmp_path / f"killed-{deadly}"
        monkeypatch.setattr(os, "replace", dying)
        try:
            render_store(folder, *arguments)
        except Killed:
            last = deadly
        monkeypatch.setattr(os, "replace", replace)
        if last < deadly:
            break
        if (folder / "manifest.jsonl").exists():
            partial = Store.open(folder)
            assert [len(partial.audio(i)) for i in range(len(partial))] == [66_150] * len(partial)
        render_store(folder, *arguments)
        assert contents(folder) == whole
        shutil.rmtree(folder)
    assert last == 1 + 3 * 3 - 1  # the plan, and three files a shard: each was the last once


def test_several_processes_make_the_same_bytes_as_one(tmp_path: Path) -> None:
    for workers in (1, 2):
        render_store(tmp_path / str(workers), 1, 6, "train", [], seconds=1.5, engine=Local(workers))
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_finished_shards_are_not_rendered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render_store(tmp_path, 1, 4, "train", [], seconds=1.5)
    monkeypatch.setattr(renditions, "play", None)
    render_store(tmp_path, 1, 4, "train", [], seconds=1.5)


@pytest.mark.parametrize(("change", "name"), [({"seed": 2}, "seed"), ({"count": 9}, "count")])
def test_other_options_never_mix_into_a_store(
    tmp_path: Path, change: dict[str, int], name: str
) -> None:
    options = {"seed": 1, "count": 4}
    render_store(tmp_path, split="train", fonts=[], seconds=1.5, **options)
    with pytest.raises(DataError, match=f"another {name}"):
        render_store(tmp_path, split="train", fonts=[], seconds=1.5, **{**options, **change})


def test_nothing_to_render_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least one"):
        render_store(tmp_path, 1, 0, "train", [])
    with pytest.raises(DataError, match="more than 1 s"):
        render_store(tmp_path, 1, 4, "train", [], seconds=0.5)
    with pytest.raises(DataError, match="no split 'training'"):
        render_store(tmp_path, 1, 4, "training", [])


def test_a_share_of_the_scores_is_held_and_the_others_stay_as_they_were() -> None:
    none, some = (draw_plan(3, 80, "train", [], Shares(held=held)) for held in (0.0, 0.5))
    longest: dict[bool, list[float]] = {True: [], False: []}
    for index in range(80):
        before, after = none.notes(index), some.notes(index)
        same = len(before) == len(after) and np.array_equal(before.onset, after.onset)
        if not some.timbre(index).drums:
            longest[same].append(float((after.offset - after.onset).max(initial=0)))
        else:
            assert same
    assert 20 < len(longest[False]) < 60
    assert np.median(longest[False]) > 4 > 2 > np.median(longest[True])
    assert all(
        np.array_equal(some.notes(index).pitch, some.notes(other).pitch)
        for index in range(80)
        for other in range(index)
        if some.score_number(index) == some.score_number(other)
    )
