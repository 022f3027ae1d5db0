from pathlib import Path

import numpy as np
import pytest

from soundfonts import write_font
from sounds import RATE, estimate_hz, pitch_hz
from timbrel.data.render.soundfont import SoundFont, find_fonts
from timbrel.errors import DataError
from timbrel.notes import Notes


@pytest.fixture
def font(tmp_path: Path) -> SoundFont:
    write_font(tmp_path / "tiny.sf2")
    return SoundFont(tmp_path / "tiny.sf2")


def test_presets_and_key_ranges_are_read(font: SoundFont) -> None:
    found = [(p.bank, p.program, p.name, p.low, p.high) for p in font.presets()]
    assert found == [(0, 0, "sine", 30, 100), (0, 1, "sine two", 30, 100), (128, 0, "kit", 30, 100)]
    assert font.presets()[2].drums


def test_notes_sound_in_tune_and_on_time(font: SoundFont) -> None:
    notes = Notes.from_rows([(0.25, 0.9, 60, 110)])
    samples = font.render(font.presets()[0], notes, 1.0)[0]
    first = int(np.argmax(np.abs(samples) > 0.01 * np.abs(samples).max())) / RATE
    assert first == pytest.approx(0.25, abs=0.001)
    found = estimate_hz(samples, 200, 330)
    assert 1200 * abs(np.log2(found / pitch_hz(60))) < 5


def test_nothing_leaks_from_one_stem_into_the_next(font: SoundFont) -> None:
    preset = font.presets()[0]
    loud = Notes.from_rows([(0.0, 5.0, p, 127) for p in (50, 60, 70)])
    font.render(preset, loud, 0.5)
    quiet = font.render(preset, Notes.from_rows([(0.5, 0.9, 60, 100)]), 1.0)
    assert np.abs(quiet[:, : RATE // 2 - 8]).max() == 0


def test_the_same_stem_twice_is_the_same(font: SoundFont) -> None:
    preset, notes = font.presets()[1], Notes.from_rows([(0.1, 0.4, 64, 90)])
    first, second = (font.render(preset, notes, 0.6) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_file_that_is_no_font_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.sf2").write_bytes(b"RIFFxxxxWAVE")
    with pytest.raises(DataError, match="not a sound font"):
        SoundFont(tmp_path / "x.sf2").presets()


def test_fonts_are_found_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_font(tmp_path / "mine.sf2")
    monkeypatch.setenv("TIMBREL_FONTS", str(tmp_path))
    assert (tmp_path / "mine.sf2").resolve() in find_fonts()
