from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soundfonts import write_font
from timbrel.data.render.shares import Shares
from timbrel.data.render.soundfont import Preset, SoundFont
from timbrel.data.render.timbres import (
    DRUM_SHARE,
    HELD_OUT,
    KIT_PIECES,
    SPLITS,
    draw_timbres,
    in_split,
    natural_range,
)
from timbrel.errors import DataError
from timbrel.notes import Notes

FILES = (
    "MuseScore_General_Lite.sf2",
    "FluidR3_GM.sf2",
    "TimGM6mb.sf2",
    "sf_GMbank.sf2",
    "OPL-3_FM_128M.sf2",
    "mine.sf2",
)
FONTS = Shares(synthesised=0.0)


@pytest.fixture
def fonts(tmp_path: Path) -> list[SoundFont]:
    for name in FILES:
        write_font(tmp_path / name)
    return [SoundFont(tmp_path / name) for name in FILES]


def test_no_recording_is_in_two_splits(fonts: list[SoundFont]) -> None:
    # fonts of one family share recordings, so the recording is (family, bank, program)
    owners: dict[tuple[str, int, int], set[str]] = {}
    for font in fonts:
        for bank in (0, 8, 128):
            for program in range(128):
                preset = Preset(bank, program, "", 0, 127)
                splits = {s for s in SPLITS if in_split(font, preset, s)}
                owners.setdefault((font.family, bank, program), set()).update(splits)
    assert max(len(splits) for splits in owners.values()) == 1
    trained = {family for (family, _, _), splits in owners.items() if "train" in splits}
    assert trained == {"fluid"}


def test_drawn_identities_of_splits_are_disjoint(fonts: list[SoundFont]) -> None:
    half = Shares(synthesised=0.5)
    families = {s: {t.family for t in draw_timbres(0, 200, s, fonts, half)} for s in SPLITS}
    assert families["train"] == {"fluid", "synth-train"}
    assert families["valid"] == {"timgm", "synth-valid"}
    assert not families["train"] & families["valid"]
    # only held-out programs of the training family are tested, and this font has none
    assert "fluid" not in families["test"]


def test_held_out_programs_are_never_trained_on(tmp_path: Path) -> None:
    write_font(tmp_path / "MuseScore_General.sf2")
    font = SoundFont(tmp_path / "MuseScore_General.sf2")
    for program in range(112):
        preset = replace(font.presets()[0], program=program)
        assert in_split(font, preset, "train") == (program not in HELD_OUT)
        assert in_split(font, preset, "test") == (program in HELD_OUT)


def test_noises_are_in_no_split_and_synth_effects_in_training_only(
    fonts: list[SoundFont],
) -> None:
    for font in fonts:
        for program in range(119, 128):
            preset = Preset(0, program, "", 0, 127)
            assert not any(in_split(font, preset, split) for split in SPLITS)
        for program in range(112, 119):
            preset = Preset(0, program, "", 0, 127)
            assert [s for s in SPLITS if in_split(font, preset, s)] in ([], ["train"])
        for program in range(96, 104):
            preset = Preset(0, program, "", 0, 127)
            assert not in_split(font, preset, "valid")
            assert not in_split(font, preset, "test")


def test_a_font_of_unknown_licence_is_never_trained_on(fonts: list[SoundFont]) -> None:
    for font in fonts:
        trained = {t.licence for t in draw_timbres(0, 100, "train", [font], FONTS)}
        assert trained <= {"MIT", "own"}


def test_the_same_seed_draws_the_same_timbres_and_more_of_them_continue_it(
    fonts: list[SoundFont],
) -> None:
    first, longer = (draw_timbres(5, n, "train", fonts) for n in (20, 40))
    assert [(t.identity, t.effects) for t in first] == [
        (t.identity, t.effects) for t in longer[:20]
    ]
    assert [t.identity for t in draw_timbres(6, 20, "train", fonts)] != [t.identity for t in first]


def test_kits_without_the_pieces_of_drum_scores_are_left_out(tmp_path: Path) -> None:
    write_font(tmp_path / "FluidR3_marching.sf2", low=60, high=100)
    font = SoundFont(tmp_path / "FluidR3_marching.sf2")
    kits = [t for t in draw_timbres(0, 200, "train", [font], FONTS) if t.drums]
    assert kits
    assert {t.family for t in kits} == {"synth-train"}
    assert max(KIT_PIECES) < 60


def test_drums_are_a_small_share_and_synths_the_share_asked_for(fonts: list[SoundFont]) -> None:
    timbres = draw_timbres(0, 2_000, "train", fonts, Shares(synthesised=0.4))
    assert np.mean([t.drums for t in timbres]) == pytest.approx(DRUM_SHARE, abs=0.02)
    assert np.mean([t.licence == "own" for t in timbres]) == pytest.approx(0.4, abs=0.04)


def test_ranges_lie_on_the_keyboard_and_in_the_font(fonts: list[SoundFont]) -> None:
    for timbre in draw_timbres(0, 300, "train", fonts, Shares(synthesised=0.3)):
        assert 21 <= timbre.low < timbre.high <= 108
        assert timbre.playable[0] <= timbre.low
        assert timbre.high <= timbre.playable[1]
    for program in range(128):
        low, high, voices = natural_range(program)
        assert 21 <= low < high <= 108
        assert voices >= 1


def test_a_timbre_never_clips(fonts: list[SoundFont]) -> None:
    loud = Notes.from_rows([(0.0, 0.5, p, 127) for p in range(40, 90, 2)])
    for timbre in draw_timbres(0, 8, "train", fonts, Shares(synthesised=0.5, expressive=0.0)):
        samples = timbre.render(loud, 0.6)
        assert samples.shape == (2, 26_460)
        assert np.abs(samples).max() <= 1


def test_an_unknown_split_is_named() -> None:
    with pytest.raises(DataError, match="no split 'dev'"):
        draw_timbres(0, 3, "dev", [])
