"""What the two designs of codec learn from, step by step.

An objective knows its codec's phases: which part learns, which losses apply, and what is
done once at the beginning or between phases.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from timbrel.codec.codec import Codec
from timbrel.codec.losses import (
    ComplexStftLoss,
    KWeighting,
    LogMagnitudeLoss,
    MelLoss,
    MultiResolutionStftLoss,
    StatisticsLoss,
)
from timbrel.codec.noise import FRAMES
from timbrel.codec.rave import RaveCodec
from timbrel.codec.spectral import SpectralCodec, Spectrum
from timbrel.errors import TrainingError
from timbrel.spectra import overlap_add
from timbrel.training.excerpts import Excerpts


@dataclass(frozen=True)
class CodecTraining:
    """How to train a codec. Weights are relative to each other within a design."""

    batch: int = 16  # excerpts per step and process
    frames: int = 32  # latent frames of an excerpt
    peak_rate: float = 1e-3  # learning rate after warm-up
    optimiser: str = "muon"  # of matrices, with AdamW for the rest; "adamw": of all
    seed: int = 0
    latent_noise: float = 0.25  # largest std of noise on the latent: it will read a denoiser's
    precision: str = "fp32"  # of convolutions and products: "fp32" or "bf16"
    adversarial_from: float = 1.0  # share of the budget after which discriminators join; 1: never
    adversarial_weight: float = 0.1  # small: the spectra already fix what to play
    matching_weight: float = 2.0  # relative distance of features: steadies the adversary
    judge_every: int = 1  # steps between two of the discriminators'
    basis_minutes: float = 8.0  # audio from which the basis, or the latent's variance, is computed
    # spectral design
    waveform_from: float = 0.75  # share of the budget after which the waveform is compared
    waveform_weight: float = 0.5  # of the multi-resolution loss, against 1 for log-magnitudes
    played: float = 0.0  # share of a batch that a model played: the decoder will read its latents
    statistics_weight: float = 1.0  # of played sounds; of the codec's own half as much
    # rave design; at the start of a run each weighted term is between 1 and 5
    stft_weight: float = 1.0  # linear and log: peaks and quiet parts at every resolution
    mel_weight: float = 5.0  # in log10, so units are small: pitch and timbre as heard
    complex_weight: float = 10.0  # phase: without it tones of a small codec warble

    def __post_init__(self) -> None:
        for name in ("adversarial_from", "waveform_from", "played"):
            if not 0 <= getattr(self, name) <= 1:
                raise TrainingError(f"{name} is {getattr(self, name)}; give a share from 0 to 1")
        for name in ("batch", "frames", "judge_every"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} is {getattr(self, name)}; give 1 or more")
        if self.played and not 0 < self.theirs < self.batch:
            raise TrainingError(
                f"of a batch of {self.batch} a share of {self.played} is {self.theirs}, and both "
                "what a model played and the codec's own sounds must be in it; give a larger batch"
            )

    @property
    def theirs(self) -> int:
        """Excerpts of a batch that a model played."""
        return round(self.played * self.batch)

    def judged(self, progress: float) -> bool:
        """Whether discriminators have joined, at a share of the budget."""
        return self.adversarial_from < 1 and progress >= self.adversarial_from


RESIDUAL_PULL = 0.01  # weight of the square of what a residual adds: latents stay near the basis
RAMP = 0.05  # share of the budget over which what joins a loss rises to its weight


def risen(progress: float, begin: float) -> float:
    """How much of its weight a loss that joined at `begin` has, in [0, 1].

    Adam's steps are large while its second moment does not know a new, larger gradient.
    """
    return min(1.0, (progress - begin) / RAMP)


def rave_training() -> CodecTraining:
    """Defaults for the `rave` design.

    Its layers run at up to 2.8 kHz, so batches are smaller; its encoder learns too, which a
    lower rate keeps steady; the adversary is part of the method.
    """
    return CodecTraining(
        batch=8,
        peak_rate=6e-4,
        optimiser="adamw",  # RAVE's own; Muon was not tried on waveforms
        adversarial_from=0.7,
        adversarial_weight=1.0,
        judge_every=2,
    )


@dataclass(frozen=True, eq=False)
class Sounds:
    """One batch: sounds that the codec encodes, and after them those that a model has played.

    Attributes:
        audio: (batch, samples), whole frames.
        noise: (own, channels, frames) to add to the latent of the first `own` sounds.
        played: (batch - own, channels, frames): latents in which a model plays the others.
    """

    audio: Tensor
    noise: Tensor
    played: Tensor | None = None

    @property
    def own(self) -> int:
        """How many the codec encodes."""
        return len(self.noise)


@dataclass
class Step:
    """Losses of one batch.

    Attributes:
        loss: to be minimised, without the adversary's part.
        values: to be logged.
        latent: of the batch, without noise.
        output, target: (batch, samples) to be compared by discriminators; None as long as
            no waveform is made.
    """

    loss: Tensor
    values: dict[str, Tensor]
    latent: Tensor
    output: Tensor | None = None
    target: Tensor | None = None


class CodecObjective(ABC):
    """Losses of a codec, and what of it learns."""

    codec: Codec
    periods: tuple[int, ...] = ()  # of the discriminators

    def __init__(self, training: CodecTraining, device: torch.device) -> None:
        self.training, self.device = training, device

    @abstractmethod
    def begin(self, excerpts: Excerpts) -> dict[str, float]:
        """What a new run does first. Returns numbers to log."""

    @abstractmethod
    def learning(self, progress: float) -> nn.Module:
        """The part of the codec that learns."""

    @abstractmethod
    def step(self, sounds: Sounds, source: torch.Generator, progress: float) -> Step:
        """Losses of one batch.

        Args:
            sounds: the batch.
            source: of more draws.
            progress: share of the budget that is used.
        """

    def freezes(self, progress: float) -> bool:
        """Whether it is time to call `freeze`."""
        return False

    @abstractmethod
    def freeze(self, excerpts: Excerpts) -> None:
        """Between phases: from now on the latent is fixed."""

    def fast(self) -> torch.autocast:
        """Within it, networks compute in the precision of training; losses stay outside."""
        low = self.training.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=low)


class SpectralObjective(CodecObjective):
    """Log-magnitudes first (cheap: no phase, no inverse transform), then the waveform too."""

    def __init__(self, codec: SpectralCodec, training: CodecTraining, device: torch.device) -> None:
        super().__init__(training, device)
        self.codec: SpectralCodec = codec
        self.log_loss = LogMagnitudeLoss(codec.stft.bins, codec.rate).to(device)
        self.wave_loss = MultiResolutionStftLoss().to(device)
        self.statistics = StatisticsLoss(codec.rate).to(device)

    def begin(self, excerpts: Excerpts) -> dict[str, float]:
        """Fit the basis."""
        sweep = excerpts.sweep(self.training.basis_minutes)
        return {"basis/variance_kept": self.codec.basis.fit(x.to(self.device) for x in sweep)}

    def learning(self, progress: float) -> nn.Module:
        """The decoder; until the latent is fixed, the residual too (the basis learns nothing)."""
        return self.codec if self.moves() else self.codec.decoder

    def freezes(self, progress: float) -> bool:
        """Once, if there is a residual: when the adversary joins, or in the last three tenths."""
        return self.moves() and progress >= min(self.training.adversarial_from, 0.7)

    def freeze(self, excerpts: Excerpts) -> None:
        """The residual stays as it is from now on."""
        assert self.codec.residual is not None
        self.codec.residual.fixed.fill_(True)

    def moves(self) -> bool:
        """Whether the latent may still change."""
        return self.codec.residual is not None and not bool(self.codec.residual.fixed)

    def step(self, sounds: Sounds, source: torch.Generator, progress: float) -> Step:
        """See `CodecObjective`."""
        codec, training, audio, own = self.codec, self.training, sounds.audio, sounds.own
        spectral, latent, estimate = self.decoder_loss(sounds)
        found = Step(spectral, {"loss/log_magnitude": spectral}, latent.detach())
        # discriminators hear waveforms
        begin = min(training.waveform_from, training.adversarial_from)
        if progress >= begin:
            cut = codec.config.decoder.kernel * codec.hop
            phase, _ = codec.phase(estimate.level.detach(), codec.phase.initial_state(len(audio)))
            part = slice(cut, audio.shape[1])
            found.output = self.waveform(estimate, phase, source)[:, part]
            found.target = audio[:, part]
            mine, again = found.output[:own], None
            if estimate.noise is not None:
                # noise would hide any error of a tone's level, so this loss says nothing of where
                # noise is
                fixed = Spectrum(estimate.level[:own], estimate.noise[:own].detach())
                mine, again = (self.waveform(fixed, phase[:own], source)[:, part] for _ in range(2))
            compared = self.wave_loss(mine, found.target[:own], again)
            found.values["loss/waveform"] = compared
            compared = training.waveform_weight * compared
            if sounds.played is not None or estimate.noise is not None:
                compared = compared + training.statistics_weight * self._statistics(found, own)
            found.loss = found.loss + risen(progress, begin) * compared
        return found

    def _statistics(self, found: Step, own: int) -> Tensor:
        """What says where noise is; and of what a model played, which is not the target's twin,
        nothing else can be asked.
        """
        assert found.output is not None
        assert found.target is not None
        loss = self.statistics(found.output[:own], found.target[:own])
        found.values["loss/statistics"] = loss
        loss = 0.5 * loss
        if own < len(found.output):
            theirs = self.statistics(found.output[own:], found.target[own:])
            found.values["loss/statistics_played"] = theirs
            loss = loss + theirs
        return loss

    def decoder_loss(self, sounds: Sounds) -> tuple[Tensor, Tensor, Spectrum]:
        """Log-magnitude loss of a batch, its latent, and the estimate.

        Only sounds that the codec encodes itself have a loss and a latent.
        """
        codec, own = self.codec, sounds.own
        magnitude = codec.basis.magnitude(sounds.audio[:own])
        target = torch.log(magnitude + codec.config.floor)
        latent = codec.basis.project(codec.basis.log_bands(magnitude))
        pull = latent.new_zeros(())
        if codec.residual is not None:
            with torch.set_grad_enabled(self.moves()), self.fast():
                moved = codec.residual(target - codec.basis.log_magnitude(latent)).float()
            latent, pull = latent + moved, RESIDUAL_PULL * moved.square().mean()
        read = latent + sounds.noise
        if sounds.played is not None:
            read = torch.cat([read, sounds.played])
        with self.fast():
            correction, said = codec.decoder(read)
        said = None if said is None else said.float()
        estimate = codec.corrected(read, correction.float(), said)
        # causal layers have no past in the first frames of an excerpt
        warm = codec.config.decoder.kernel * codec.config.stack
        loss = self.log_loss(estimate.level[:own, :, warm:], target[..., warm:])
        return loss + pull, latent, estimate

    def waveform(self, estimate: Spectrum, phase: Tensor, source: torch.Generator) -> Tensor:
        """(batch, samples), with new noise; gradients flow through levels and angles of noise."""
        codec = self.codec
        first = torch.randint(FRAMES, (len(phase),), generator=source, device=self.device)
        pieces = codec.frames_of_audio(estimate, phase, first)
        return overlap_add(pieces, codec.stft.hop)[:, codec.delay :]


class RaveObjective(CodecObjective):
    """RAVE's two phases: representation, then the decoder alone with its adversary."""

    periods = (2, 3, 5, 7, 11)

    def __init__(self, codec: RaveCodec, training: CodecTraining, device: torch.device) -> None:
        super().__init__(training, device)
        self.codec: RaveCodec = codec
        self.weighting = KWeighting(codec.rate)
        self.stft, self.mel = MultiResolutionStftLoss().to(device), MelLoss(codec.rate).to(device)
        self.complex = ComplexStftLoss().to(device)

    def begin(self, excerpts: Excerpts) -> dict[str, float]:
        """Nothing: the encoder is learned."""
        return {}

    def learning(self, progress: float) -> nn.Module:
        """All, until the latent is fixed."""
        return self.codec.decoder if self.codec.norm.measured else self.codec

    def freezes(self, progress: float) -> bool:
        """Once, when the adversary joins or the last tenth of the budget begins."""
        late = min(self.training.adversarial_from, 0.9)
        return progress >= late and not bool(self.codec.norm.measured)

    def freeze(self, excerpts: Excerpts) -> None:
        """Measure the latent's variance; the encoder stays as it is from now on."""
        codec = self.codec
        with torch.no_grad():
            codec.norm.measure(
                [
                    codec.encoder(codec.filterbank.split(x.to(self.device)[:, None]))
                    for x in excerpts.sweep(self.training.basis_minutes)
                ]
            )

    def step(self, sounds: Sounds, source: torch.Generator, progress: float) -> Step:
        """See `CodecObjective`; its latent moves, so nothing can be played in it beforehand."""
        codec, training, audio = self.codec, self.training, sounds.audio
        split = codec.filterbank.split(audio[:, None])
        with torch.set_grad_enabled(not codec.norm.measured):
            with self.fast():
                encoded = codec.encoder(split).float()
            latent = codec.norm(encoded)
        first = int(torch.randint(2**16, (), generator=source, device=self.device))
        with self.fast():
            bands = codec.decoder(latent + sounds.noise, first)
        output = codec.waveform(bands)[:, 0]
        heard, right = self.weighting(output), self.weighting(audio)
        values = {
            "loss/stft": self.stft(heard, right),
            "loss/mel": self.mel(heard, right),
            # not weighted: the ear's weights are blind to a constant
            "loss/complex": self.complex(output, audio),
        }
        loss = training.stft_weight * values["loss/stft"]
        loss = loss + training.mel_weight * values["loss/mel"]
        loss = loss + training.complex_weight * values["loss/complex"]
        return Step(loss, values, latent.detach(), output, audio)


def objective_of(codec: Codec, training: CodecTraining, device: torch.device) -> CodecObjective:
    """The objective that fits a codec's design.

    Raises:
        TypeError: the codec cannot be trained.
    """
    if isinstance(codec, RaveCodec):
        return RaveObjective(codec, training, device)
    if isinstance(codec, SpectralCodec):
        return SpectralObjective(codec, training, device)
    raise TypeError(f"{type(codec).__name__} cannot be trained")
