"""Modelled instruments: in tune, alive, with bodies that stay, and nothing where none is asked."""

import hashlib
import itertools
import json
import pickle
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy import signal
from typer.testing import CliRunner

from sounds import RATE, estimate_hz, pitch_hz
from timbrel.cli.main import app
from timbrel.data.render import renditions
from timbrel.data.render.bodies import HIGHEST_HZ, LOWEST_HZ, Body, impulse_response
from timbrel.data.render.excitations import EXCITATIONS, Stroke
from timbrel.data.render.expression import CONTROL_HZ
from timbrel.data.render.inspection import HELD, SECONDS, _mistuning, _octaves
from timbrel.data.render.instruments import KINDS, RANGES, Instrument
from timbrel.data.render.modelled import render_instrument
from timbrel.data.render.renditions import render_store
from timbrel.data.render.shares import Shares
from timbrel.data.render.synth import PEAK, REGIONS
from timbrel.data.render.timbres import SPLITS, Timbre, draw_timbres
from timbrel.data.store import Store
from timbrel.errors import DataError
from timbrel.notes import Notes

EACH = 20  # instruments of each kind


@cache
def drawn(kind: str) -> tuple[Instrument, ...]:
    """Some of a kind, without vibrato."""
    rng = np.random.default_rng(0)
    found = (Instrument.draw(rng) for _ in range(2_000))
    some = tuple(itertools.islice((i for i in found if i.kind == kind), EACH))
    return tuple(replace(own, vibrato_cents=0.0) for own in some)


def note(own: Instrument, pitch: int, velocity: int = 100, held: float = 0.8) -> np.ndarray:
    rows = [(0.0, held, pitch, velocity)]
    return render_instrument(own, Notes.from_rows(rows), held + 0.2, RATE)[0]


def centroid(samples: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(samples)) ** 2
    return float((power * np.fft.rfftfreq(len(samples), 1 / RATE)).sum() / power.sum())


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_what_sounds(kind: str) -> None:
    """The strongest partial within 10 cents of its place, at three pitches of each instrument."""
    for number, own in enumerate(drawn(kind)):
        for pitch in (43 + number % 5, 58 + number % 7, 76 + number % 3):
            samples = note(own, pitch)[: round(0.7 * RATE)]
            assert np.abs(samples).max() > 0.02
            hz = pitch_hz(pitch)
            # stiff strings are in tune at their low partials; of a bar, the first is its pitch
            highest = 1.4 if kind == "struck" else 6.5
            found = estimate_hz(samples, 0.7 * hz, highest * hz)
            order = max(1, round(found / hz))
            assert abs(1_200 * np.log2(found / order / hz)) < 10, (own, pitch)
            power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
            below = power[: int(0.8 * hz * len(samples) / RATE)].sum()
            assert below < 0.1 * power.sum(), (own, pitch)


@pytest.mark.parametrize("kind", KINDS)
def test_no_instrument_has_the_faults_that_presets_are_left_out_for(kind: str) -> None:
    for own in drawn(kind)[:8]:
        sounds = []
        for pitch in (48, 60, 72):
            rows = [(0.0, HELD, pitch, 110)]
            sounds.append(render_instrument(own, Notes.from_rows(rows), SECONDS, RATE)[0])
        assert _mistuning(sounds, [48, 60, 72]) == 0
        assert _octaves(sounds, [48, 60, 72]) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_velocity_makes_louder_and_brighter(kind: str) -> None:
    brighter = []
    for own in drawn(kind):
        soft, loud = (note(own, 57, velocity) for velocity in (40, 115))
        assert np.abs(loud).mean() > 2 * np.abs(soft).mean()
        brighter.append(centroid(loud) / centroid(soft))
    assert np.median(brighter) > 1.04
    assert np.mean(np.array(brighter) > 0.95) > 0.7


def test_rendering_is_deterministic_finite_and_unclipped() -> None:
    chord = Notes.from_rows([(0.1 * k, 0.9, p, 127) for k, p in enumerate((28, 52, 59, 64, 108))])
    for kind in KINDS:
        for own in drawn(kind)[:4]:
            first = render_instrument(own, chord, 1.2, RATE)
            np.testing.assert_array_equal(
                first, render_instrument(pickle.loads(pickle.dumps(own)), chord, 1.2, RATE)
            )
            assert first.shape == (2, round(1.2 * RATE))
            assert first.dtype == np.float32
            assert np.isfinite(first).all()
            assert np.abs(first).max() <= PEAK + 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_every_pitch_sounds_at_any_rate(kind: str) -> None:
    for rate, pitch in itertools.product((22_050, 48_000), (21, 127)):
        rows = [(0.05, 0.3, pitch, 100)]
        samples = render_instrument(drawn(kind)[0], Notes.from_rows(rows), 0.5, rate)[0]
        assert np.abs(samples[: round(0.05 * rate)]).max() < 1e-6
        assert np.abs(samples).max() > 1e-3


def test_silence_and_what_begins_too_late() -> None:
    own = drawn("blown")[0]
    for rows in ([], [(2.0, 3.0, 60, 100)]):
        assert np.abs(render_instrument(own, Notes.from_rows(rows), 1.0, RATE)).max() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_no_two_notes_are_alike(kind: str) -> None:
    notes = Notes.from_rows([(0.0, 0.4, 60, 90), (3.0, 3.4, 60, 90)])
    for own in drawn(kind)[:4]:
        samples = render_instrument(own, notes, 3.5, RATE)[0]
        first, second = (samples[k * RATE : k * RATE + RATE // 2] for k in (0, 3))
        assert np.abs(first - second).max() > 0.01 * np.abs(first).max()


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "struck"])
def test_bends_are_followed(kind: str) -> None:
    cents = np.concatenate([np.zeros(500), np.full(1_001, 150.0)])
    assert CONTROL_HZ == 1_000
    for own in drawn(kind)[:6]:
        assert own.bendable
        long = replace(own, decay=3.0, damping=0.1)
        rows = [(0.0, 1.2, 60, 100)]
        samples = render_instrument(long, Notes.from_rows(rows), 1.5, RATE, cents)[0]
        before, after = samples[: RATE // 2], samples[round(0.55 * RATE) : round(1.15 * RATE)]
        hz = [estimate_hz(part, 230, 320) for part in (before, after)]
        assert 1_200 * np.log2(hz[1] / hz[0]) == pytest.approx(150, abs=15)


def test_partials_of_a_bar_keep_their_levels_where_others_are_too_high_to_be_played() -> None:
    for own in drawn("struck"):
        bare = replace(own, body=Body((), (0.0,), 1.0, 1e9))
        heard = []
        for pitch in (48, 100):
            order, hz = bare.partials(pitch, RATE)
            stroke = Stroke(hz, order, np.array([[1e-5]]), 1e9, np.random.default_rng(0))
            levels = np.abs(EXCITATIONS["struck"](bare, stroke))[0]
            heard.append(dict(zip(order.tolist(), levels / levels[0], strict=True)))
        low, high = heard
        assert len(high) < len(low)
        for order, level in high.items():
            assert level == pytest.approx(low[order], rel=0.1)


def test_formants_of_a_body_stay_when_the_pitch_moves() -> None:
    """A strong resonance lifts the partials near it, whatever the note."""
    flat = replace(
        drawn("analogue")[0],
        tilt=0.0,
        cutoff_hz=16_000.0,
        resonance=0.7,
        sweep=0.0,
        shimmer_db=0.0,
        body=Body((), (0.0,), 20.0, 16_000.0),
    )
    peaked = replace(flat, body=Body(((1_800.0, 24.0, 6.0),), (0.0,), 20.0, 16_000.0))
    bands = (500.0, 900.0, 1_450.0, 2_200.0, 3_300.0, 5_000.0)
    for pitch in (45, 50, 57):
        lifted = []
        for low, high in itertools.pairwise(bands):
            sos = signal.butter(4, (low, high), "band", fs=RATE, output="sos")
            powers = [
                np.square(signal.sosfilt(sos, note(own, pitch))).sum() for own in (flat, peaked)
            ]
            lifted.append(10 * np.log10(powers[1] / powers[0]))
        assert np.argmax(lifted) == 2
        assert max(lifted) - np.median(lifted) > 10


def test_a_body_rings_after_but_never_before() -> None:
    body = Body.draw(np.random.default_rng(1), 0.4)
    response = impulse_response(body, RATE)
    hz = np.geomspace(LOWEST_HZ * 2, HIGHEST_HZ, 50)
    got = np.abs(signal.freqz(response, worN=hz, fs=RATE)[1])
    np.testing.assert_allclose(got, body.gain(hz), rtol=0.15)
    energy = np.cumsum(np.square(response, dtype=np.float64))
    assert energy[RATE // 50] > 0.8 * energy[-1]


def test_instruments_are_many_kinds_and_colours() -> None:
    rng = np.random.default_rng(5)
    some = [Instrument.draw(rng) for _ in range(60)]
    assert {own.kind for own in some} == set(KINDS)
    assert len({own.name for own in some}) == 60
    centroids = [centroid(note(own, 60, held=0.3)) for own in some]
    assert np.percentile(centroids, 90) > 3 * np.percentile(centroids, 10)


def test_splits_draw_from_disjoint_regions() -> None:
    for split, (low, high) in REGIONS.items():
        characters = [Instrument.draw(np.random.default_rng(s), split).character for s in range(60)]
        assert low <= min(characters) <= max(characters) <= high


def _told(timbres: list[Timbre]) -> str:
    """What the draws of timbres were, as a digest."""
    told = [
        (
            t.identity,
            t.effects.seed,
            t.low,
            t.high,
            t.voices,
            t.manner.seed,
            t.recording and t.recording.seed,
            t.hybrid and t.hybrid.semitones,
            t.hybrid and t.hybrid.layer and t.hybrid.layer.name,
        )
        for t in timbres
    ]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("split", "digest"), [("train", "7adeb242e6a6138a"), ("test", "a41d27a07ff6d3d5")]
)
def test_without_a_share_timbres_are_what_they_were_before_there_were_any(
    split: str, digest: str
) -> None:
    shares = Shares(recorded=0.5, expressive=0.5, hybrids=0.5)
    assert _told(draw_timbres(7, 60, split, [], shares)) == digest


def test_a_share_leaves_the_other_timbres_as_they_were() -> None:
    plain, some, all_of_them = (
        draw_timbres(1, 80, "train", [], Shares(recorded=0.5, expressive=0.5, modelled=share))
        for share in (0.0, 0.5, 1.0)
    )
    for before, after in zip(plain, some, strict=True):
        assert after.effects == before.effects
        assert after.recording == before.recording
        if not isinstance(after.source, Instrument):
            assert after == before
    chosen = sum(isinstance(t.source, Instrument) for t in some)
    assert 25 < chosen < 55
    assert all(isinstance(t.source, Instrument) != t.drums for t in all_of_them)


def test_modelled_timbres_have_ranges_families_and_layers() -> None:
    for split in SPLITS:
        timbres = draw_timbres(2, 120, split, [], Shares(hybrids=0.5, modelled=1.0))
        for timbre in timbres:
            if timbre.drums:
                continue
            assert isinstance(timbre.source, Instrument)
            lowest, highest, voices = RANGES[timbre.source.kind]
            moved = timbre.hybrid.semitones if timbre.hybrid else 0
            assert max(21, lowest + moved) <= timbre.low
            assert timbre.low + 20 <= timbre.high <= highest + moved
            assert timbre.voices in voices
            assert timbre.family == f"modelled-{split}"
            assert timbre.licence == "own"
            assert timbre.instrument == f"modelled {timbre.source.kind}"
        layers = [t.hybrid.layer for t in timbres if t.hybrid and t.hybrid.layer and not t.drums]
        assert layers
        assert all(isinstance(layer, Instrument) for layer in layers)
        assert all(REGIONS[split][0] <= x.character <= REGIONS[split][1] for x in layers)


def test_a_store_of_modelled_instruments_is_rendered_and_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, shares = (tmp_path, 1, 5, "train", []), Shares(mixes=0.2, modelled=1.0)
    render_store(*arguments, shares, 1.5)
    store = Store.open(tmp_path)
    assert all(item.family == "modelled-train" or item.drums for item in store.items[:4])
    assert json.loads((tmp_path / "plan.json").read_text())["modelled"] == 1.0
    monkeypatch.setattr(renditions, "play", None)  # nothing is left to be played
    render_store(*arguments, shares, 1.5)
    with pytest.raises(DataError, match="another modelled"):
        render_store(*arguments, replace(shares, modelled=0.0), 1.5)


def test_the_command_takes_the_share(tmp_path: Path) -> None:
    arguments = ["prepare", "render", "-o", str(tmp_path), "--count", "2", "--synth-share", "1"]
    done = CliRunner().invoke(app, [*arguments, "--modelled", "1"])
    assert done.exit_code == 0, done.output
    assert {item.family for item in Store.open(tmp_path).items} == {"modelled-train"}
    assert CliRunner().invoke(app, [*arguments, "--modelled", "2"]).exit_code == 2
