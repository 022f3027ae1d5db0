import numpy as np
import pytest
import torch

from elsewhere import Elsewhere, move
from sounds import RATE, estimate_hz, tone
from timbrel.codec.codec import as_batch, from_batch
from timbrel.codec.discriminator import Discriminator, discriminator_loss, generator_losses
from timbrel.codec.losses import (
    ComplexStftLoss,
    LogMagnitudeLoss,
    MelLoss,
    MultiResolutionStftLoss,
    StatisticsLoss,
    k_weight,
)
from timbrel.codec.phase import PhaseIntegrator
from timbrel.codec.spectral import SpectralCodec, Spectrum, tiny
from timbrel.errors import ShapeError
from timbrel.model import DEFAULT
from timbrel.serialize import load_codec
from timbrel.spectra import ConstantQ, Stft, band_edges, frame_count, triangular_bands


@pytest.fixture(scope="module")
def codec() -> SpectralCodec:
    """A tiny codec whose basis was fitted on tones and noise; its decoder is random."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    codec = SpectralCodec(tiny())
    clips = [tone(float(hz), 1.0) for hz in rng.uniform(100, 2000, 40)]
    clips += [(0.05 * rng.standard_normal(RATE)).astype(np.float32) for _ in range(4)]
    codec.basis.fit([torch.from_numpy(np.stack(clips))])
    for parameter in codec.decoder.leave.parameters():
        torch.nn.init.normal_(parameter, std=0.01)
    return codec.eval()


@pytest.mark.parametrize("hop", [256, 512, 1024])
def test_the_inverse_stft_gives_the_audio_back(hop: int) -> None:
    stft, audio = Stft(4 * hop, hop), torch.randn(2, 9_000)
    back = stft.inverse(stft(audio))
    assert back.shape[1] == frame_count(9_000, hop) * hop
    middle = slice(4 * hop, 9_000 - 4 * hop)
    torch.testing.assert_close(back[:, middle], audio[:, middle], atol=1e-4, rtol=0)


def test_bands_cover_every_bin_and_sum_to_one() -> None:
    bank = triangular_bands(band_edges(256, 20, 21_000, 700), 2048, RATE)
    torch.testing.assert_close(bank.sum(1), torch.ones(256))
    assert (bank.sum(0)[2:970] > 0).all()


@pytest.mark.parametrize("samples", [1, 1023, 1024, 1025, 44_100])
def test_frames_are_samples_over_hop_rounded_up(codec: SpectralCodec, samples: int) -> None:
    latent = codec.encode(torch.zeros(1, 1, samples))
    assert latent.shape == (1, codec.channels, -(-samples // 1024))
    assert codec.decode(latent).shape == (1, 1, latent.shape[2] * 1024)


def test_latents_have_unit_variance_on_what_the_basis_was_fitted_on(codec: SpectralCodec) -> None:
    rng = np.random.default_rng(1)
    audio = torch.from_numpy(np.stack([tone(float(h), 1.0) for h in rng.uniform(100, 2000, 60)]))
    spread = codec.encode(audio[:, None]).std((0, 2))
    assert spread.median() == pytest.approx(1, abs=0.35)


def test_a_basis_is_fitted_where_the_audio_is_and_comes_out_the_same() -> None:
    audio = torch.from_numpy(np.stack([tone(220.0, 0.5), tone(330.0, 0.5)]))
    here, there = (SpectralCodec(tiny()).basis for _ in range(2))
    move(there)
    assert there.fit([Elsewhere(audio)]) == here.fit([audio])
    for name in ("mean", "components", "deviation"):
        found = there.get_buffer(name)
        assert isinstance(found, Elsewhere)
        assert torch.equal(found.near, here.get_buffer(name))


def test_decoding_sees_no_future_frame(codec: SpectralCodec) -> None:
    first = torch.randn(1, codec.channels, 20)
    second = first.clone()
    second[:, :, 12:] = torch.randn(1, codec.channels, 8)
    with torch.inference_mode():
        a, b = codec.decode(first), codec.decode(second)
    # frame 12's window begins half a window before its centre
    torch.testing.assert_close(a[:, :, : 11 * 1024], b[:, :, : 11 * 1024], atol=1e-6, rtol=0)


def test_a_steady_tone_keeps_its_pitch_without_any_training() -> None:
    codec = SpectralCodec(tiny())
    audio = torch.from_numpy(np.stack([tone(h, 2.0) for h in (220.0, 440.0, 987.8, 1318.5)]))
    codec.basis.fit([audio])
    with torch.inference_mode():
        heard = codec.decode(codec.encode(audio[:, None]))[:, 0].numpy()
    for row, hz in zip(heard, (220.0, 440.0, 987.8, 1318.5), strict=True):
        found = estimate_hz(row[RATE // 2 :], hz * 0.9, hz * 1.1)
        assert 1200 * abs(np.log2(found / hz)) < 30


def test_integrated_phases_of_a_true_magnitude_rebuild_the_tone() -> None:
    stft = Stft(2048, 512)
    audio = torch.from_numpy(tone(441.3, 2.0))[None]
    magnitude = stft(audio).abs()
    integrator = PhaseIntegrator(2048, 512)
    phase, _ = integrator((magnitude + 1e-5).log(), integrator.initial_state(1))
    sign = (1 - 2 * (torch.arange(1025) % 2))[:, None]
    again = stft(stft.inverse(torch.polar(magnitude, phase) * sign)).abs()
    middle = slice(20, magnitude.shape[2] - 20)
    error = (again - magnitude)[..., middle].norm() / magnitude[..., middle].norm()
    random = stft(stft.inverse(torch.polar(magnitude, 6.28 * torch.rand_like(magnitude)))).abs()
    chance = (random - magnitude)[..., middle].norm() / magnitude[..., middle].norm()
    assert error < 0.05
    assert chance > 0.3


@pytest.mark.parametrize("hz", [82.4, 117.3, 233.1, 466.2, 1003.0])
def test_integrated_phases_of_a_true_magnitude_keep_pitch_to_a_cent(hz: float) -> None:
    stft = Stft(2048, 512)
    magnitude = stft(torch.from_numpy(tone(hz, 3.0))[None]).abs()
    integrator = PhaseIntegrator(2048, 512)
    phase, _ = integrator((magnitude + 1e-5).log(), integrator.initial_state(1))
    sign = (1 - 2 * (torch.arange(1025) % 2))[:, None]
    again = stft.inverse(torch.polar(magnitude, phase) * sign)[0].numpy()
    found = estimate_hz(again[RATE // 2 :], hz * 0.98, hz * 1.02)
    assert 1200 * abs(np.log2(found / hz)) < 1


@pytest.mark.parametrize("part", ["level", "noise"])
def test_gradients_through_the_waveform_are_those_of_finite_differences(
    codec: SpectralCodec, part: str
) -> None:
    # with the same phases, along the gradient and with weights that no direction favours
    codec, first = SpectralCodec(codec.config).double(), torch.tensor([3])
    level = (0.05 * torch.rand(1, codec.stft.bins, 12)).log().double()
    spectrum = Spectrum(level, 1.5 * torch.rand_like(level))
    phase = 6.28 * torch.rand_like(level)
    weight = torch.randn_like(codec.frames_of_audio(spectrum, phase, first))

    def height(x: torch.Tensor) -> torch.Tensor:
        return (codec.frames_of_audio(spectrum._replace(**{part: x}), phase, first) * weight).sum()

    x = getattr(spectrum, part)
    (slope,) = torch.autograd.grad(height(x.requires_grad_()), x)
    step = 1e-4 * slope / slope.norm()
    with torch.no_grad():
        risen = (height(x + step) - height(x - step)) / 2e-4
    assert float(risen) == pytest.approx(float(slope.norm()), rel=1e-3)


def test_silence_stays_silent_and_extremes_stay_finite(codec: SpectralCodec) -> None:
    with torch.inference_mode():
        quiet = codec.basis.log_magnitude(codec.encode(torch.zeros(1, 1, 20_000)))
        assert (quiet.exp() - codec.config.floor).clamp_min(0).max() < 0.01
        square = torch.sign(torch.sin(torch.arange(44_100) * 0.05))[None, None]
        assert torch.isfinite(codec.decode(codec.encode(square))).all()
        assert torch.isfinite(codec.decode(100 * torch.randn(1, codec.channels, 10))).all()


def test_the_packaged_codec_is_silent_from_the_first_sample_of_silence() -> None:
    codec = load_codec(DEFAULT)
    with torch.inference_mode():
        heard = codec.decode(codec.encode(torch.zeros(1, 1, 20 * 1024)))
    level = heard.reshape(20, 1024).square().mean(1).sqrt()
    assert 20 * torch.log10(level.max()) < -90


def test_stereo_becomes_items_and_back() -> None:
    audio = torch.randn(3, 2, 100)
    assert as_batch(audio).shape == (6, 1, 100)
    assert torch.equal(from_batch(as_batch(audio), 2), audio)


def test_stereo_is_refused_with_its_shape(codec: SpectralCodec) -> None:
    with pytest.raises(ShapeError, match=r"\(1, 2, 100\)"):
        codec.encode(torch.zeros(1, 2, 100))


LOSSES = [
    MultiResolutionStftLoss((1024, 256)),
    MelLoss(RATE, ((1024, 64),)),
    ComplexStftLoss((1024, 256)),
    StatisticsLoss(RATE, ((1024, 48),)),
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_losses_are_zero_for_equal_signals_and_grow_with_damage(loss: torch.nn.Module) -> None:
    audio = torch.randn(2, 16_384) * 0.1
    assert loss(audio, audio) == pytest.approx(0, abs=1e-5)
    slight, strong = loss(audio * 1.1, audio), loss(audio * 2, audio)
    assert 0 < slight < strong
    silence = torch.zeros(2, 16_384, requires_grad=True)
    loss(silence, audio).backward()
    assert silence.grad is not None
    assert torch.isfinite(silence.grad).all()


def test_only_the_complex_loss_hears_a_turned_phase() -> None:
    audio = torch.from_numpy(tone(440.0, 0.5))[None]
    for loss in LOSSES:
        turned = float(loss(-audio, audio))
        assert (turned > 0.01) == isinstance(loss, ComplexStftLoss)


def test_statistics_need_no_alignment_and_hear_what_is_too_smooth() -> None:
    loss = StatisticsLoss(RATE, ((1024, 48),))
    noise = torch.randn(2, 2 * RATE) * 0.1
    same = loss(noise, torch.randn(2, 2 * RATE) * 0.1)
    time = torch.arange(2 * RATE) / RATE
    hum = sum(torch.sin(2 * torch.pi * hz * time + hz) for hz in torch.linspace(50, 20_000, 500))
    hum = (hum * (0.1 / hum.std())).expand(2, -1)  # as loud, everywhere, and never changes
    assert same < 0.25 * loss(hum, noise)
    assert same < 0.25 * loss(noise * 2, noise)


def test_log_magnitudes_weigh_more_where_pitch_is_heard() -> None:
    spectrum = torch.randn(1, 1025, 4)
    weighted = LogMagnitudeLoss(1025, RATE)
    low, high = torch.zeros_like(spectrum), torch.zeros_like(spectrum)
    low[:, :100], high[:, -100:] = 1, 1
    assert weighted(spectrum + low, spectrum) > weighted(spectrum + high, spectrum)


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_k_weighting_is_that_of_the_loudness_meter(rate: int) -> None:
    from scipy.signal import freqz

    # coefficients of ITU-R BS.1770-4 for 48 kHz
    hz = np.array([20.0, 60.0, 100.0, 1000.0, 3000.0, 10_000.0])
    shelf = freqz(
        [1.53512485958697, -2.69169618940638, 1.19839281085285],
        [1, -1.69065929318241, 0.73248077421585], hz, fs=48_000,
    )[1]  # fmt: skip
    low_cut = freqz([1, -2, 1], [1, -1.99004745483398, 0.99007225036621], hz, fs=48_000)[1]
    wanted = 20 * np.log10(np.abs(shelf * low_cut))
    gain = k_weight(rate, rate // 2 + 1)[hz.astype(int)]
    np.testing.assert_allclose(20 * np.log10(gain), wanted, atol=0.15)


def test_the_adversary_learns_and_its_gradient_reaches_the_generator() -> None:
    torch.manual_seed(0)
    judge = Discriminator((512, 256), (2, 3), width=4)
    optimiser = torch.optim.Adam(judge.parameters(), 5e-3)
    time = torch.arange(4096) / RATE
    real = torch.sin(2 * torch.pi * 440 * time).repeat(4, 1) * torch.rand(4, 1)
    fake = (0.1 * torch.randn(4, 4096)).requires_grad_()
    first, _ = discriminator_loss(judge, fake, real)
    for _ in range(30):
        optimiser.zero_grad()
        loss, _ = discriminator_loss(judge, fake, real)
        loss.backward()
        optimiser.step()
    assert loss < 0.5 * first
    assert fake.grad is None
    adversarial, matching = generator_losses(judge, fake, real)
    mixed = torch.cat([real[:2], fake[2:]])
    assert generator_losses(judge, mixed, real, 2)[1] == 0  # of the others nothing is compared
    (adversarial + matching).backward()
    assert fake.grad is not None
    assert fake.grad.abs().sum() > 0


def test_the_constant_q_spectrum_peaks_at_the_note_and_averages_over_time() -> None:
    cqt = ConstantQ(RATE, 1024)
    audio = torch.from_numpy(tone(440.0, 1.0, partials=1))[None]
    spectrum = cqt(audio)
    assert spectrum.shape == (1, cqt.bins, 44)
    assert int(spectrum[0, :, 20].argmax()) == 4 * 36
    # a click between two sampled frames is not lost
    click = torch.zeros(1, 44_100)
    energies = []
    for offset in (20 * 1024, 20 * 1024 + 256, 20 * 1024 + 512):
        click.zero_()
        click[0, offset] = 1
        energies.append(float(cqt(click)[:, 200:].expm1().square().sum()))
    assert max(energies) / min(energies) < 2
