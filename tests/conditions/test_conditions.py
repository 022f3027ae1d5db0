import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from sounds import RATE, tone
from timbrel.codec.spectral import SpectralCodec, tiny
from timbrel.conditions.adversary import Adversary, chance_error, guess_error
from timbrel.conditions.listener import (
    KEYS,
    LOWEST,
    Listener,
    ListenerConfig,
    Summary,
    listener_loss,
)
from timbrel.conditions.outline import (
    ENVELOPES,
    LEVEL,
    RATIOS,
    Envelopes,
    Outline,
    partial_lobes,
)
from timbrel.conditions.structure import CqtEncoder, RollEncoder, StructureConfig
from timbrel.conditions.timbre import TimbreConfig, TimbreEncoder, contrastive_loss
from timbrel.notes import Notes
from timbrel.posterior import Reading, read_notes
from timbrel.roll import ONSET, roll
from timbrel.training.listener import begin_from


def rolled(rows: list[tuple[float, float, int, int]], frames: int = 80) -> torch.Tensor:
    return torch.from_numpy(roll(Notes.from_rows(rows), RATE / 1024, frames))[None]


def test_timbre_is_one_bounded_vector_whatever_the_length() -> None:
    encoder = TimbreEncoder(32, TimbreConfig(width=32, blocks=4, dim=8))
    for frames in (1, 2, 43, 300):
        vector = encoder(torch.randn(3, 32, frames))
        assert vector.shape == (3, 8)
        torch.testing.assert_close(vector.norm(dim=1), torch.ones(3))


def test_the_contrastive_loss_rewards_telling_timbres_apart() -> None:
    identity = torch.arange(8)
    right = torch.eye(8)
    assert contrastive_loss(right, right, identity) < 0.01
    same = torch.ones(8, 8) / math.sqrt(8)
    assert contrastive_loss(same, same, identity) == pytest.approx(math.log(8), abs=1e-4)
    # items of one timbre are no negatives of each other
    assert contrastive_loss(same, same, torch.zeros(8)) == pytest.approx(0, abs=1e-5)


def test_the_roll_encoder_sees_no_future_note() -> None:
    encoder = RollEncoder(StructureConfig(dim=16, blocks=2), RATE / 1024)
    drums = torch.tensor([False])
    before = encoder(rolled([(0.1, 0.5, 60, 90)]), drums)
    after = encoder(rolled([(0.1, 0.5, 60, 90), (1.0, 1.5, 72, 90)]), drums)
    frame = int(1.0 * RATE / 1024)
    assert before.levels is not None
    assert after.levels is not None
    for old, new in ((before.code, after.code), (before.levels, after.levels)):
        torch.testing.assert_close(old[..., :frame], new[..., :frame], atol=1e-5, rtol=0)
        assert (old[..., frame + 1 :] - new[..., frame + 1 :]).abs().max() > 1e-3


def test_the_roll_encoder_tells_drums_from_pitches() -> None:
    encoder = RollEncoder(StructureConfig(dim=16, blocks=1), RATE / 1024)
    notes = rolled([(0.1, 0.5, 38, 90)])
    pitched, drums = (encoder(notes, torch.tensor([flag])).code for flag in (False, True))
    assert (pitched - drums).abs().max() > 1e-2


def outlined(rows: list[tuple[float, float, int, int]], outline: Outline) -> torch.Tensor:
    timbre = torch.zeros(1, 8)
    levels = Envelopes(RATE / 1024)(rolled(rows))
    return outline(levels, torch.tensor([False]), timbre)[0].detach()


def test_an_outline_lies_near_the_latent_of_the_note_it_draws() -> None:
    codec = SpectralCodec(tiny())
    clips = np.stack([tone(440 * 2 ** ((p - 69) / 12), 1.0) for p in range(50, 80)])
    codec.basis.fit([torch.from_numpy(clips)])
    outline = Outline(codec.config, 8)
    outline.adopt(codec.basis)
    # as log-spectra: a latent channel counts by its deviation
    scale = codec.basis.deviation
    latent = codec.encode(torch.from_numpy(clips[[10, 17]])[:, None])[:, :, 20] * scale
    drawn = [outlined([(0.0, 2.0, p, 110)], outline)[:, 20] * scale for p in (60, 67)]

    def likeness(a: torch.Tensor, b: torch.Tensor) -> float:
        return float(torch.corrcoef(torch.stack([a, b]))[0, 1])

    for number in range(2):
        right = likeness(drawn[number], latent[number])
        assert right > 0.4
        assert right > likeness(drawn[1 - number], latent[number]) + 0.2


def fitted(clips: torch.Tensor) -> tuple[Outline, torch.Tensor, list[float]]:
    """An outline that learned one timbre from 24 clips, a semitone apart; its timbre; errors."""
    torch.manual_seed(0)
    codec = SpectralCodec(tiny())
    codec.basis.fit([clips])
    outline = Outline(codec.config, 8)
    outline.adopt(codec.basis)
    latent = codec.encode(clips[:, None])[:, :, 4:36]
    rolls = torch.cat([rolled([(0.0, 2.0, 57 + p, 100)], 36) for p in range(24)])
    levels = Envelopes(RATE / 1024)(rolls)[..., 4:]
    timbre = torch.nn.functional.normalize(torch.randn(1, 8), dim=1).expand(24, -1)
    optimiser = torch.optim.Adam(outline.parameters(), 2e-2)
    errors = []
    for _ in range(120):
        guess = outline(levels, torch.zeros(24, dtype=torch.bool), timbre)
        errors.append(float((guess - latent).square().mean().detach()))
        optimiser.zero_grad()
        weight = torch.ones(codec.config.channels)
        outline.loss(guess, outline.deviation(), latent, weight).mean().backward()
        optimiser.step()
    return outline, timbre, errors


@pytest.mark.parametrize("rate", [RATE, 45_056])  # with the latter A4 is a whole number of bins
def test_a_partial_is_in_the_bands_what_the_window_makes_of_a_sine(rate: int) -> None:
    codec = SpectralCodec(replace(tiny(), rate=rate))
    size, bank = codec.config.n_fft, codec.basis.bank
    lobes = partial_lobes(bank, codec.config)
    window, time = torch.hann_window(size, dtype=torch.float64), torch.arange(size)
    for number, pitch in ((0, 0), (0, 69), (3, 41), (39, 50), (len(RATIOS) - 1, 60), (0, 127)):
        place = RATIOS[number] * 440 * 2 ** ((pitch - 69) / 12) * size / rate
        sine = torch.exp(2j * math.pi * place / size * time)
        found = torch.fft.fft(window * sine).abs()[: size // 2 + 1] / window.sum()
        found[(torch.arange(len(found)) - place).abs() >= 2] = 0  # the main lobe alone
        torch.testing.assert_close(
            lobes[number, pitch], LEVEL * found.float() @ bank.T, atol=1e-6, rtol=1e-3
        )
    assert not lobes[39, 127].any()  # above half the rate


def test_an_outline_learns_a_timbre_and_how_far_off_it_stays() -> None:
    clips = torch.from_numpy(np.stack([tone(220 * 2 ** (p / 12), 1.0) for p in range(24)]))
    outline, _, errors = fitted(clips)
    assert errors[-1] < 0.4 * errors[0]
    expected = float(outline.deviation().square().mean().detach())
    assert 0.5 * errors[-1] < expected < 0.5 * errors[0]


def test_an_outline_learns_partials_between_harmonics() -> None:
    f0 = 220 * 2 ** (np.arange(24)[:, None] / 12)
    time = np.arange(RATE) / RATE
    bell = sum(np.sin(2 * np.pi * ratio * f0 * time) for ratio in (1, 2.5, 4.25))
    outline, timbre, errors = fitted(torch.from_numpy((0.1 * bell).astype(np.float32)))
    assert errors[-1] < 0.4 * errors[0]
    chosen = outline.choose(timbre[:1] * outline.scale)[0, : outline.sizes[0]]
    held = dict(zip(RATIOS, chosen.unflatten(0, (ENVELOPES, -1))[0].tolist(), strict=True))
    assert held[2.5] > max(held[2], held[3]) + 0.5
    assert held[4.25] > max(held[4], held[5]) + 0.5


def test_silence_is_outlined_as_silence_and_drums_by_their_own_table() -> None:
    outline = Outline(tiny(), 8)
    outline.projection.normal_()
    nothing = torch.zeros(2, ENVELOPES, 128, 5)
    flags, timbre = torch.tensor([False, True]), torch.zeros(2, 8)
    assert torch.isfinite(outline(nothing, flags, timbre)).all()
    struck = nothing.clone()
    struck[:, :, 38, 2] = 1
    pitched, drums = (outline(struck, flags, timbre) - outline(nothing, flags, timbre)).detach()
    assert (pitched - drums).abs().max() > 0.1
    for change in (pitched, drums):
        assert change[:, 2].abs().max() > 0.1
        assert change[:, [0, 1, 3, 4]].abs().max() < 1e-5


@pytest.mark.parametrize("start", [1, 30, 100, 150])
def test_a_held_note_goes_on_where_it_was_however_it_is_cut(start: int) -> None:
    rate, frames = RATE / 1024, 200
    notes = Notes.from_rows([(0.013, 4.2, 60, 110), (0.4, 4.0, 67, 60), (0.0, 4.6, 72, 127)])
    envelopes = Envelopes(rate)
    whole = envelopes(torch.from_numpy(roll(notes, rate, frames))[None])
    cut = roll(notes, rate, frames - start, start / rate, ages=True)
    part = envelopes(torch.from_numpy(cut)[None])
    torch.testing.assert_close(part, whole[..., start:], atol=1e-5, rtol=1e-4)
    cut[ONSET, :, 0] = 0  # not known: at their full level again, which is what ages are for
    fresh = envelopes(torch.from_numpy(cut)[None])
    assert (fresh - whole[..., start:]).abs().max() > 0.01


def test_ages_are_for_envelopes_alone() -> None:
    encoder = RollEncoder(StructureConfig(dim=16, blocks=1), RATE / 1024)
    notes, pitched = Notes.from_rows([(0.0, 2.0, 60, 90)]), torch.tensor([False])
    rolls = [roll(notes, RATE / 1024, 40, 1.0, ages) for ages in (False, True)]
    codes = [encoder(torch.from_numpy(r)[None], pitched).code for r in rolls]
    assert torch.equal(*codes)


def test_notes_decay_when_they_should() -> None:
    levels = Envelopes(RATE / 1024)(rolled([(0.1, 1.1, 60, 127)]))[0, :, 60]
    begin, during, end = 5, 44, 74
    assert levels[0, during] == pytest.approx(1.0, abs=0.05)  # held
    assert levels[3, during] < 0.1  # plucked
    assert levels[0, end] < 0.01  # released at once
    assert levels[5, end] > 0.1  # rings on
    assert levels[6, begin] < 0.5 < levels[6, during]  # swells


def test_the_paper_s_structure_encoder_is_narrow_and_bounded() -> None:
    encoder = CqtEncoder(288, StructureConfig(source="cqt", dim=4, blocks=2))
    code = encoder(torch.rand(2, 288, 30) * 5).code
    assert code.shape == (2, 4, 30)
    assert code.abs().max() < 1


def test_the_adversary_finds_timbre_that_leaks_and_stays_at_chance_when_none_does() -> None:
    torch.manual_seed(0)
    timbre = torch.nn.functional.normalize(torch.randn(64, 4), dim=1)
    leaking = timbre[:, :, None].expand(-1, -1, 10) + 0.1 * torch.randn(64, 4, 10)
    clean = torch.randn(64, 4, 10)
    errors = []
    for structure in (leaking, clean):
        adversary = Adversary(4, 4, width=32)
        optimiser = torch.optim.Adam(adversary.parameters(), 3e-3)
        for _ in range(150):
            pick = torch.randperm(32)
            optimiser.zero_grad()
            guess_error(adversary, structure[pick], timbre[pick]).backward()
            optimiser.step()
        held_out = guess_error(adversary, structure[32:], timbre[32:])
        errors.append(float(held_out / chance_error(timbre[32:])))
    assert errors[0] < 0.3
    assert errors[1] > 0.8


def test_notes_written_as_probabilities_are_read_back() -> None:
    notes = Notes.from_rows([(0.2, 0.8, 60, 90), (0.2, 0.8, 64, 60), (1.0, 1.4, 60, 120)])
    rate = RATE / 1024
    onset, sounding, velocity = roll(notes, rate, 80)[:, LOWEST : LOWEST + KEYS]
    found = read_notes((onset > 0).astype(float), sounding, rate, velocity)
    assert found.pitch.tolist() == notes.pitch.tolist()
    assert np.abs(found.onset - notes.onset).max() < 0.03
    assert np.abs(found.offset - notes.offset).max() < 0.05
    assert np.abs(found.velocity - notes.velocity).max() <= 1
    assert len(read_notes(0 * onset, 0 * sounding, rate)) == 0


def test_a_note_ends_where_it_is_no_longer_likely_and_short_ones_stay() -> None:
    onset, sounding = np.zeros((KEYS, 40)), np.zeros((KEYS, 40))
    onset[30, 5] = onset[40, 5] = 0.9
    sounding[30, 5:15], sounding[30, 15:25] = 0.9, 0.5  # fades
    sounding[40, 5:8] = 0.5  # never sure
    lengths = []
    for ending in (0.4, 0.8):
        found = read_notes(onset, sounding, 10.0, reading=Reading(ending_level=ending))
        assert found.pitch.tolist() == [LOWEST + 30, LOWEST + 40]
        lengths.append((found.offset * 10).round().tolist())
    assert lengths == [[25, 8], [15, 6]]


def test_what_is_added_to_a_listener_is_silent_at_first() -> None:
    torch.manual_seed(0)
    before = Listener(ListenerConfig(width=8, blocks=2))
    after = Listener(ListenerConfig(width=8, blocks=2, summary=16, after=2))
    begin_from(after, before)
    spectra = before.features(torch.from_numpy(tone(440, 1.0))[None])
    torch.testing.assert_close(after(spectra), before(spectra))
    after(spectra).square().mean().backward()
    assert after.summary is not None
    for layer in (after.summary.to_key, after.summary.to_all, after.after[0].narrow):
        assert layer.weight.grad.abs().max() > 0


def test_a_summary_tells_every_key_of_what_sounds_in_others_for_seconds_around() -> None:
    torch.manual_seed(0)
    summary = Summary(8, 16)
    torch.nn.init.normal_(summary.to_key.weight)
    torch.nn.init.normal_(summary.to_all.weight)
    x = torch.randn(1, 8, KEYS, 100)
    other = x.clone()
    other[:, :, 3, 50] += 1
    with torch.no_grad():
        moved = (summary(other) - summary(x)).abs().amax((0, 1))
    far = moved[60]  # of a key five octaves above
    assert far[50 - 25 : 50 + 25].min() > 0
    assert far[: 50 - 30].max() == far[50 + 31 :].max() == 0


@pytest.mark.parametrize("more", [{}, {"summary": 32, "after": 2}])
def test_a_listener_learns_to_hear_pitch(more: dict[str, int]) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    listener = Listener(ListenerConfig(width=16, blocks=2, **more))
    optimiser = torch.optim.Adam(listener.parameters(), 5e-3)

    def batch(size: int) -> tuple[torch.Tensor, torch.Tensor]:
        audio, rolls = [], []
        for _ in range(size):
            pitch, start = int(rng.integers(50, 80)), float(rng.uniform(0.1, 0.3))
            wave = np.zeros(24 * 1024, np.float32)
            sound = tone(440 * 2 ** ((pitch - 69) / 12), 0.5)
            first = int(start * RATE)
            wave[first:][: len(sound)] += sound[: len(wave) - first]
            audio.append(wave)
            rolls.append(rolled([(start, 0.55, pitch, 100)], 24)[0])
        return torch.from_numpy(np.stack(audio)), torch.stack(rolls)

    with torch.no_grad():
        audio, rolls = batch(48)
        cqt = listener.features(audio)
    for _ in range(60):
        pick = torch.randint(0, 40, (8,))
        optimiser.zero_grad()
        listener_loss(listener(cqt[pick]), rolls[pick]).backward()
        optimiser.step()
    with torch.no_grad():
        sounding = torch.sigmoid(listener(cqt[40:]))[:, 1, :, 14:20].mean(2)
    truth = rolls[40:, 1, LOWEST : LOWEST + KEYS, 14:20].mean(2)
    right = (sounding.argmax(1) == truth.argmax(1)).float().mean()
    assert right >= 0.75
