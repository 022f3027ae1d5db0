import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from soundfonts import write_font
from timbrel.cli.main import app
from timbrel.data.render import inspection, soundfont
from timbrel.data.render.inspection import Findings, inspect, usable
from timbrel.data.render.renditions import render_store
from timbrel.data.render.shares import Shares
from timbrel.data.render.soundfont import SoundFont, find_fonts
from timbrel.data.store import Store
from timbrel.errors import DataError
from timbrel.notes import Notes

FONTS = Shares(synthesised=0.0)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def font(folder: Path, gain: float = 1.0, cents: int = 0) -> SoundFont:
    write_font(folder / "FluidR3_x.sf2", gain=gain, cents=cents)
    return SoundFont(folder / "FluidR3_x.sf2")


@pytest.mark.parametrize("cents", [0, 15, -20])
def test_a_preset_in_tune_or_nearly_is_kept(tmp_path: Path, cents: int) -> None:
    assert inspect(font(tmp_path, cents=cents)).faults == {}


@pytest.mark.parametrize("cents", [40, -60, 100, 500])
def test_a_mistuned_preset_is_excluded_and_the_reason_says_by_how_much(
    tmp_path: Path, cents: int
) -> None:
    found = inspect(font(tmp_path, cents=cents)).faults
    assert set(found) == {(0, 0), (0, 1)}  # a kit has no tuning
    for why in found.values():
        assert why.startswith("mistuned by")
        assert int(why.split()[2]) == pytest.approx(cents, abs=6)


def heard_hz(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples[0] * np.hanning(samples.shape[1])))
    return float(np.argmax(spectrum)) * 44_100 / samples.shape[1]


@pytest.mark.parametrize("octaves", [-1, 0, 1, 2])
def test_a_preset_that_sounds_octaves_off_is_played_at_its_written_pitch(
    tmp_path: Path, octaves: int
) -> None:
    off = font(tmp_path, cents=1200 * octaves)
    found = inspect(off)
    assert found.faults == {}  # a kit has no octave
    assert found.octaves == ({(0, 0): octaves, (0, 1): octaves} if octaves else {})
    preset = usable(off).presets()[0]
    # keys are what is heard, so nothing is asked of the font that it has no sample for
    assert (preset.low, preset.high) == (30 + 12 * octaves, 100 + 12 * octaves)
    notes = Notes.from_rows([(0.0, 1.0, 69, 100)])
    heard = heard_hz(usable(off).render(preset, notes, 1.0))
    assert heard == pytest.approx(440, rel=0.005)


def test_an_organ_of_two_octaves_stays_where_it_is(tmp_path: Path) -> None:
    low = font(tmp_path)
    notes = Notes.from_rows([(0.0, 1.0, 69, 100)])
    stop = low.render(low.presets()[0], notes, 1.0)[0]
    for octave in (-12, 12):
        other = low.render(low.presets()[0], notes.transpose(octave), 1.0)[0]
        assert inspection._octaves([stop + 0.1 * other], [69]) == 0
        assert inspection._octaves([other], [69]) == octave // 12


def test_a_silent_preset_is_excluded(tmp_path: Path) -> None:
    found = inspect(font(tmp_path, gain=0.0)).faults
    assert set(found) == {(0, 0), (0, 1), (128, 0)}
    assert found[0, 0].startswith("silent at 30, ")


@pytest.mark.parametrize("gain", [1.12, 2.0])  # by 1 and 6 dB
def test_a_clipped_preset_is_excluded(tmp_path: Path, gain: float) -> None:
    assert "clipped" in inspect(font(tmp_path, gain=gain)).faults[0, 0]


def test_noises_that_nobody_plays_are_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = font(tmp_path, gain=0.0)
    monkeypatch.setattr(silent, "_presets", [replace(silent.presets()[0], program=120)])
    assert inspect(silent) == Findings({}, 0.0)


def test_a_font_is_listened_to_once_and_again_when_it_is_another(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = inspect(font(tmp_path, cents=60))
    monkeypatch.setattr(inspection, "_listen", None)
    assert inspect(SoundFont(tmp_path / "FluidR3_x.sf2")) == first
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    assert inspect(font(tmp_path)).faults == {}


def test_a_damaged_or_unwritable_cache_is_no_matter(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mistuned = font(tmp_path, cents=60)
    first = inspect(mistuned)
    (file,) = (cache / "timbrel").iterdir()
    file.write_text("{")
    assert inspect(mistuned) == first
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert inspect(mistuned) == first


def test_a_constant_latency_is_measured_and_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = font(tmp_path)
    notes = Notes.from_rows([(0.0, 0.3, 60, 100), (0.5, 0.8, 64, 100)])
    on_time = late.render(late.presets()[0], notes, 1.0)
    render = SoundFont.render

    def delayed(self: SoundFont, *arguments: object) -> np.ndarray:
        return np.pad(render(self, *arguments)[:, :-265], ((0, 0), (265, 0)))  # by 6 ms

    monkeypatch.setattr(SoundFont, "render", delayed)
    assert inspect(late).latency == pytest.approx(0.006, abs=1e-4)
    monkeypatch.undo()
    mended = SoundFont(late.path, latency=0.006)
    samples = mended.render(mended.presets()[0], notes, 1.0)
    assert samples.shape == on_time.shape
    np.testing.assert_array_equal(samples[:, :-265], on_time[:, 265:])


def test_faulty_presets_are_never_rendered(tmp_path: Path) -> None:
    mistuned = font(tmp_path, cents=60)
    assert [p.bank for p in usable(mistuned).presets()] == [128]
    render_store(tmp_path / "store", 1, 12, "train", [mistuned], FONTS, 1.5)
    store = Store.open(tmp_path / "store")
    assert not any(item.instrument.startswith("sine") for item in store.items)
    plan = json.loads((tmp_path / "store" / "plan.json").read_text())
    assert plan["excluded"] == {"FluidR3_x.sf2": ["0-0", "0-1"]}
    render_store(tmp_path / "store", 1, 12, "train", [mistuned], FONTS, 1.5)  # the same plan


def test_a_store_is_not_continued_with_sounds_in_another_octave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    high = font(tmp_path, cents=1200)
    render_store(tmp_path / "store", 1, 4, "train", [high], FONTS, 1.5)
    plan = json.loads((tmp_path / "store" / "plan.json").read_text())
    assert plan["octaves"] == {"FluidR3_x.sf2": {"0-0": 1, "0-1": 1}}
    monkeypatch.setattr(inspection, "_octaves", lambda sounds, keys: 0)
    monkeypatch.setattr(inspection, "VERSION", 0)
    with pytest.raises(DataError, match="octaves"):
        render_store(tmp_path / "store", 1, 8, "train", [high], FONTS, 1.5)


def test_the_command_line_lists_faulty_presets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mistuned = font(tmp_path, cents=60)
    monkeypatch.setenv("TIMBREL_FONTS", str(mistuned.path))
    monkeypatch.setattr(soundfont, "FOLDERS", ())
    out = CliRunner().invoke(app, ["fonts", "--check"]).output
    assert "FluidR3_x.sf2: 2 of 3 presets are not used" in out
    assert "bank 0, program 1, sine two: mistuned by +60 cents" in out


def test_the_command_line_lists_presets_in_another_octave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIMBREL_FONTS", str(font(tmp_path, cents=-1200).path))
    monkeypatch.setattr(soundfont, "FOLDERS", ())
    out = CliRunner().invoke(app, ["fonts", "--check"]).output
    assert "bank 0, program 1, sine two: sounds 1 octave low, so it is played higher" in out


@pytest.mark.skipif(
    not any("TimGM6mb" in path.name for path in find_fonts()), reason="TimGM6mb is not installed"
)
@pytest.mark.skipif(os.environ.get("TIMBREL_FONTS") is not None, reason="other fonts are set")
def test_of_a_real_font_the_whistle_nine_semitones_flat_is_found() -> None:
    (path,) = [path for path in find_fonts() if "TimGM6mb" in path.name]
    real = SoundFont(path)
    found = inspect(real)
    assert found.faults[0, 78].startswith("mistuned by +29")  # modulo an octave
    assert len(found.faults) <= 4
    assert found.octaves == {(0, 14): 1}  # its tubular bells
    assert found.latency < 0.001
