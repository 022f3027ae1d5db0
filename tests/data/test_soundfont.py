import struct
import sys
from pathlib import Path

import numpy as np
import pytest

import soundfonts
from soundfonts import chunk, generators, write_font
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


def test_a_long_release_does_not_ring_into_the_next_stem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ringing(*pairs: tuple[int, int]) -> list[bytes]:
        release = ((38, 4_000),) if (54, 1) in pairs else ()  # 10 s
        return generators(*pairs[:1], *release, *pairs[1:])

    monkeypatch.setattr(soundfonts, "generators", ringing)
    soundfonts.write_font(tmp_path / "ringing.sf2")
    font = SoundFont(tmp_path / "ringing.sf2")
    preset = font.presets()[0]
    tail = font.render(preset, Notes.from_rows([(0.0, 0.2, 60, 127)]), 1.0)[:, -1_000:]
    assert np.abs(tail).max() > 1e-3  # it does ring
    assert not font.render(preset, Notes.empty(), 0.5).any()


def test_the_same_stem_twice_is_the_same(font: SoundFont) -> None:
    preset, notes = font.presets()[1], Notes.from_rows([(0.1, 0.4, 64, 90)])
    first, second = (font.render(preset, notes, 0.6) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def write_zones(path: Path, preset_zones: list[bytes], instrument_zones: list[bytes]) -> None:
    """A font without samples: one preset and one instrument of the given zones."""

    def bags(zones: list[bytes]) -> bytes:
        starts = np.cumsum([0] + [len(z) // 4 for z in zones])
        return b"".join(struct.pack("<HH", start, 0) for start in starts)

    phdr = struct.pack("<20sHHHIII", b"p", 7, 0, 0, 0, 0, 0)
    phdr += struct.pack("<20sHHHIII", b"EOP", 0, 0, len(preset_zones), 0, 0, 0)
    inst = struct.pack("<20sH", b"i", 0) + struct.pack("<20sH", b"EOI", len(instrument_zones))
    parts = {
        b"phdr": phdr,
        b"pbag": bags(preset_zones),
        b"pgen": b"".join(preset_zones) + bytes(4),
        b"inst": inst,
        b"ibag": bags(instrument_zones),
        b"igen": b"".join(instrument_zones) + bytes(4),
    }
    pdta = b"pdta" + b"".join(chunk(name, data) for name, data in parts.items())
    path.write_bytes(chunk(b"RIFF", b"sfbk" + chunk(b"LIST", pdta)))


def zone(*pairs: tuple[int, int]) -> bytes:
    return b"".join(generators(*pairs))


def keys(low: int, high: int) -> tuple[int, int]:
    return 43, low | high << 8


def test_a_global_zone_sounds_on_no_key_of_its_own(tmp_path: Path) -> None:
    write_zones(
        tmp_path / "x.sf2",
        [zone((41, 0))],
        [zone((34, 5)), zone(keys(40, 50), (53, 0)), zone(keys(60, 70), (53, 0))],
    )
    (preset,) = SoundFont(tmp_path / "x.sf2").presets()
    assert (preset.low, preset.high) == (40, 70)
    assert preset.keys == {*range(40, 51), *range(60, 71)}


def test_zones_without_keys_take_those_of_the_global_zone(tmp_path: Path) -> None:
    write_zones(tmp_path / "x.sf2", [zone(keys(45, 90)), zone((41, 0))], [zone((53, 0))])
    (preset,) = SoundFont(tmp_path / "x.sf2").presets()
    assert (preset.low, preset.high) == (45, 90)


def test_a_preset_sounds_where_its_zones_and_its_instrument_agree(tmp_path: Path) -> None:
    write_zones(tmp_path / "x.sf2", [zone(keys(20, 60), (41, 0))], [zone(keys(50, 99), (53, 0))])
    (preset,) = SoundFont(tmp_path / "x.sf2").presets()
    assert (preset.low, preset.high) == (50, 60)


def test_a_preset_that_never_sounds_is_left_out(tmp_path: Path) -> None:
    write_zones(tmp_path / "x.sf2", [zone(keys(20, 40), (41, 0))], [zone(keys(50, 99), (53, 0))])
    assert SoundFont(tmp_path / "x.sf2").presets() == []


def test_keys_read_from_the_file_are_those_that_sound(font: SoundFont) -> None:
    preset = font.presets()[0]
    for pitch in (29, 30, 100, 101):
        loud = font.render(preset, Notes.from_rows([(0.0, 0.2, pitch, 100)]), 0.2)
        assert (np.abs(loud).max() > 1e-3) == (pitch in preset.keys)


def test_a_font_that_points_outside_itself_is_refused(tmp_path: Path) -> None:
    write_zones(tmp_path / "x.sf2", [zone((41, 9))], [zone((53, 0))])
    with pytest.raises(DataError, match="damaged"):
        SoundFont(tmp_path / "x.sf2").presets()


def test_a_font_cut_short_anywhere_is_refused_or_read(tmp_path: Path) -> None:
    write_font(tmp_path / "whole.sf2")
    data = (tmp_path / "whole.sf2").read_bytes()
    for length in (0, 4, 11, 40, len(data) // 2, len(data) - 300, len(data) - 150):
        (tmp_path / "cut.sf2").write_bytes(data[:length])
        with pytest.raises(DataError, match=r"cut\.sf2"):
            SoundFont(tmp_path / "cut.sf2").presets()


def test_without_the_renderer_the_cure_is_told(
    font: SoundFont, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tinysoundfont", None)
    with pytest.raises(DataError, match="pip install --no-deps tinysoundfont"):
        font.render(font.presets()[0], Notes.empty(), 0.1)


def test_dozens_of_loud_voices_are_not_clipped(font: SoundFont) -> None:
    rows = [(0.0, 1.0, pitch, 127) for pitch in range(40, 90, 2)]
    samples = font.render(font.presets()[0], Notes.from_rows(rows), 0.5)
    one = font.render(font.presets()[0], Notes.from_rows(rows[:1]), 0.5)
    # a clipped sum has flat tops: many samples at its very peak
    assert np.abs(samples).max() > 3 * np.abs(one).max()
    assert np.mean(np.abs(samples) > 0.999 * np.abs(samples).max()) < 1e-3


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
