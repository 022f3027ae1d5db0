"""Training of the codec's decoder: spectra first, then the waveform, then an adversary.

The basis is fitted first and never changes. Phase 1 compares log-magnitudes (cheap:
no phase, no inverse transform); phase 2 adds the multi-resolution loss on the waveform;
phase 3 (optional) adds discriminators. The encoder is fixed throughout, so the latents
of a store stay valid while this runs.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from timbrel.codec.codec import Codec, CodecConfig
from timbrel.codec.discriminator import Discriminator, discriminator_loss, generator_losses
from timbrel.codec.losses import LogMagnitudeLoss, MultiResolutionStftLoss
from timbrel.data.store import Store
from timbrel.errors import DataError, TrainingError
from timbrel.serialize import save_codec
from timbrel.spectra import overlap_add
from timbrel.training.run import Budget, Ema, Run, generator, learning_rate, torch_generator


@dataclass(frozen=True)
class CodecTraining:
    """How to train a codec."""

    batch: int = 16  # excerpts per step and process
    frames: int = 32  # latent frames of an excerpt
    peak_rate: float = 1e-3  # learning rate after warm-up
    seed: int = 0
    latent_noise: float = 0.15  # largest std of noise on the latent: it will read a denoiser's
    waveform_from: float = 0.75  # share of the budget after which the waveform is compared
    waveform_weight: float = 0.5  # of the multi-resolution loss, against 1 for log-magnitudes
    adversarial_from: float = 1.0  # share after which the discriminators join; 1 = never
    adversarial_weight: float = 0.1  # small: the spectra already fix what to play
    matching_weight: float = 2.0  # feature matching steadies the adversary
    basis_minutes: float = 8.0  # audio from which the basis is computed


BASIS_RANK = 65_535  # draws for the basis differ from any process's


class Excerpts:
    """Random excerpts of a store, a pure function of (seed, step, rank).

    Args:
        store: audio.
        samples: length of an excerpt.
        seed: of all draws.
    """

    def __init__(self, store: Store, samples: int, seed: int) -> None:
        self.store, self.samples, self.seed = store, samples, seed
        self.items = [i for i, item in enumerate(store.items) if item.length >= samples]
        if not self.items:
            raise DataError(
                f"{store.path} has no item of at least {samples} samples; render longer items"
            )

    def batch(self, size: int, step: int, rank: int) -> Tensor:
        """(size, samples) float32; gains vary by -12 to +6 dB."""
        rng = generator(self.seed, step, rank, purpose=1)
        rows: list[np.ndarray] = []
        while len(rows) < size:
            index = self.items[int(rng.integers(len(self.items)))]
            start = int(rng.integers(self.store.items[index].length - self.samples + 1))
            audio = self.store.audio(index, start, self.samples)
            gain = 10 ** (rng.uniform(-12, 6) / 20)
            # mostly silent excerpts teach little
            if np.abs(audio).mean() > 1e-4 or rng.random() < 0.05:
                rows.append(np.clip(audio * gain, -1, 1))
        return torch.from_numpy(np.stack(rows).astype(np.float32))

    def sweep(self, minutes: float) -> Iterator[Tensor]:
        """Excerpts for the basis: `minutes` of audio in all."""
        per_batch = 16 * self.samples / self.store.items[0].rate
        for step in range(max(1, round(60 * minutes / per_batch))):
            yield self.batch(16, step, rank=BASIS_RANK)


def decoder_losses(
    codec: Codec, audio: Tensor, noise: Tensor, log_loss: LogMagnitudeLoss
) -> tuple[Tensor, Tensor]:
    """Log-magnitude loss of a batch (batch, samples), and the estimate it was computed on."""
    magnitude = codec.basis.magnitude(audio)
    latent = codec.basis.project(codec.basis.log_bands(magnitude))
    estimate = codec.log_magnitude(latent + noise)
    target = torch.log(magnitude + codec.config.floor)
    # causal layers have no past in the first frames of an excerpt
    warm = codec.config.decoder.kernel * codec.config.stack
    return log_loss(estimate[..., warm:], target[..., warm:]), estimate


def waveform(codec: Codec, estimate: Tensor) -> Tensor:
    """Log-magnitudes -> (batch, samples); gradients flow through the magnitudes."""
    state = codec.phase.initial_state(len(estimate))
    phase, _ = codec.phase(estimate.detach(), state)
    pieces = codec.frames_of_audio(estimate, phase)
    half = codec.config.n_fft // 2
    return overlap_add(pieces, codec.stft.hop)[:, half:]


def train_codec(
    store: Store,
    folder: Path,
    config: CodecConfig,
    training: CodecTraining,
    budget: Budget,
    device: torch.device,
    start_from: Codec | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> Codec:
    """Train a codec; resumes the run in `folder` if there is one.

    Args:
        store: audio at the codec's rate.
        folder: of the run.
        config: of the codec.
        training: hyper-parameters.
        budget: steps or minutes.
        device: where to compute.
        start_from: weights (and basis) to start a new run from.
        on_step: called after each step with the step and the share of the budget used.

    Returns:
        The codec with its averaged weights, also saved in `folder/codec`.

    Raises:
        TrainingError: the loss is not finite (the last good checkpoint is kept).
    """
    torch.manual_seed(training.seed)
    codec = Codec(config).to(device)
    excerpts = Excerpts(store, training.frames * config.hop, training.seed)
    settings = {"kind": "codec", "codec": asdict(config), "training": asdict(training)}
    with Run(folder, settings) as run:
        discriminator = Discriminator().to(device)
        optimiser = torch.optim.AdamW(codec.decoder.parameters(), betas=(0.8, 0.99))
        judge = torch.optim.AdamW(discriminator.parameters(), lr=2e-4, betas=(0.8, 0.99))
        step, seconds = 0, 0.0
        state = run.latest()
        if state is not None:
            codec.load_state_dict(state["codec"])
            optimiser.load_state_dict(state["optimiser"])
            discriminator.load_state_dict(state["discriminator"])
            judge.load_state_dict(state["judge"])
            step, seconds = state["step"], state["seconds"]
        elif start_from is not None:
            codec.load_state_dict(start_from.state_dict())
        else:
            kept = codec.basis.fit(x.to(device) for x in excerpts.sweep(training.basis_minutes))
            run.log(0, {"basis/variance_kept": kept})
        ema = Ema(codec.decoder, 0.999)
        if state is not None:
            ema.shadow = {k: v.to(device) for k, v in state["ema"].items()}
        log_loss = LogMagnitudeLoss(codec.stft.bins, config.rate).to(device)
        wave_loss = MultiResolutionStftLoss().to(device)

        def snapshot() -> dict[str, object]:
            return {
                "codec": codec.state_dict(),
                "ema": ema.shadow,
                "optimiser": optimiser.state_dict(),
                "discriminator": discriminator.state_dict(),
                "judge": judge.state_dict(),
                "step": step,
                "seconds": seconds,
            }

        # ---- the loop -------------------------------------------------------------------
        clock = time.monotonic()
        progress = run.ranks.shared(budget.progress(step, seconds))
        while progress < 1 and not run.ranks.agree(run.stopping):
            # draw
            rng = generator(training.seed, step, run.ranks.rank, purpose=2)
            audio = excerpts.batch(training.batch, step, run.ranks.rank).to(device)
            source = torch_generator(rng, device)
            shape = (len(audio), config.channels, training.frames)
            level = torch.rand(len(audio), 1, 1, generator=source, device=device)
            noise = torch.randn(shape, generator=source, device=device)
            noise = noise * level * training.latent_noise
            # forward
            spectral, estimate = decoder_losses(codec, audio, noise, log_loss)
            loss, values = spectral, {"loss/log_magnitude": spectral}
            if progress >= training.waveform_from:
                cut = config.decoder.kernel * config.hop
                fake, real = waveform(codec, estimate)[:, cut : audio.shape[1]], audio[:, cut:]
                values["loss/waveform"] = wave_loss(fake, real)
                loss = loss + training.waveform_weight * values["loss/waveform"]
                if progress >= training.adversarial_from:
                    values["loss/discriminator"] = discriminator_loss(discriminator, fake, real)
                    judge.zero_grad()
                    values["loss/discriminator"].backward()
                    run.ranks.average_gradients(discriminator)
                    judge.step()
                    adversarial, matching = generator_losses(discriminator, fake, real)
                    values |= {"loss/adversarial": adversarial, "loss/matching": matching}
                    loss = loss + training.adversarial_weight * adversarial
                    loss = loss + training.matching_weight * matching
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"the codec's loss is not finite at step {step}; the last good checkpoint is "
                    f"in {run.checkpoints}; lower the learning rate or look for damaged audio"
                )
            # step
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, progress, training.peak_rate)
            optimiser.zero_grad()
            loss.backward()
            run.ranks.average_gradients(codec.decoder)
            values["gradient"] = nn.utils.clip_grad_norm_(codec.decoder.parameters(), 1.0)
            optimiser.step()
            ema.update(codec.decoder, step)
            step += 1
            now = time.monotonic()
            seconds, clock = seconds + now - clock, now
            progress = run.ranks.shared(budget.progress(step, seconds))
            # log, checkpoint
            if step % 50 == 0:
                numbers = {name: float(value.detach()) for name, value in values.items()}
                run.log(step, {**numbers, "progress": progress, "seconds": seconds})
            if on_step is not None:
                on_step(step, progress)
            if run.due():
                run.save(step, snapshot())
                save_codec(averaged(codec, ema), folder / "codec")
        run.save(step, snapshot())
        result = averaged(codec, ema)
        if run.ranks.first:
            save_codec(result, folder / "codec")
            with torch.no_grad():
                sample = excerpts.batch(4, 0, 0).to(device)
                heard = torch.cat([sample, result.decode(result.encode(sample[:, None]))[:, 0]], 1)
            run.log_audio(step, "original_then_decoded", heard.flatten().cpu().numpy(), config.rate)
        return result


def averaged(codec: Codec, ema: Ema) -> Codec:
    """A copy of the codec with the averaged decoder."""
    copy = Codec(codec.config).to(next(codec.parameters()).device)
    copy.load_state_dict(codec.state_dict())
    copy.decoder.load_state_dict(ema.shadow)
    return copy.eval()
