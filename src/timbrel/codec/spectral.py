"""The spectral codec, the default: a fixed latent, and a decoder that need not know phase.

Encoding is a fixed basis (`basis`), in a codec that asks for it with a learned `residual`;
decoding is a learned log-spectrum (`decoder`), of tones whose phases are integrated (`phase`) and
of noise (`noise`), and an inverse STFT.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from timbrel.codec.basis import SpectralBasis
from timbrel.codec.codec import Codec, CodecStream, Windowed, check_mono
from timbrel.codec.decoder import Decoder, DecoderConfig
from timbrel.codec.noise import Noise
from timbrel.codec.phase import PhaseIntegrator, PhaseState
from timbrel.codec.residual import Residual
from timbrel.nn.causal import Stream
from timbrel.spectra import overlap_add

RUN_IN = 48  # latent frames of silence before a stream, more than the layers' past
NOISE_BANDS = 64  # in which a new decoder says how much is noise
LOUDEST = 1.5  # log-magnitude that no bin passes; a full-scale sine has 0


@dataclass(frozen=True)
class SpectralConfig:
    """What is needed to build a spectral codec."""

    rate: int = 44_100  # Hz
    hop: int = 1_024  # samples per latent frame
    n_fft: int = 2_048  # STFT window, samples
    stack: int = 2  # STFT frames per latent frame
    bands: int = 256  # frequency bands of the basis
    channels: int = 128  # latent channels
    floor: float = 2e-4  # added to magnitudes before the logarithm
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    residual: int = 0  # channels of the network that adds to the basis; 0: the basis alone


def tiny() -> SpectralConfig:
    """For tests: learns on two cores in a minute."""
    decoder = DecoderConfig(width=64, blocks=1, fine_width=48, fine_blocks=1)
    return with_noise(SpectralConfig(bands=96, channels=32, decoder=decoder))


def small() -> SpectralConfig:
    """The default: 7 M parameters, far faster than real time on two cores."""
    return with_noise(SpectralConfig())


def base() -> SpectralConfig:
    """For a GPU."""
    decoder = DecoderConfig(width=640, blocks=8, fine_width=384, fine_blocks=4)
    return with_noise(SpectralConfig(decoder=decoder, residual=256))


def with_noise(config: SpectralConfig, bands: int = NOISE_BANDS) -> SpectralConfig:
    """The same with a decoder that says in so many bands how much is noise; 0: nothing is."""
    return replace(config, decoder=replace(config.decoder, noise_bands=bands))


PRESETS = {"tiny": tiny, "small": small, "base": base}


class Spectrum(NamedTuple):
    """What the decoder says of a sound, both (batch, bins, STFT frames).

    Attributes:
        level: log(magnitude + floor).
        noise: how much of it is noise, as `Noise.angle` says; None: nothing.
    """

    level: Tensor
    noise: Tensor | None


class SpectralCodec(Codec):
    """A fixed spectral basis and its learned inverse."""

    sign: Tensor

    def __init__(self, config: SpectralConfig) -> None:
        super().__init__()
        self.config = config
        self.rate, self.hop, self.channels = config.rate, config.hop, config.channels
        self.delay = config.n_fft // 2
        self.basis = SpectralBasis(
            config.rate,
            config.hop,
            config.n_fft,
            config.stack,
            config.bands,
            config.channels,
            config.floor,
        )
        self.stft = self.basis.stft
        self.residual: Residual | None = None
        if config.residual:
            self.residual = Residual(self.stft.bins, config.stack, config.channels, config.residual)
        self.decoder = Decoder(config.channels, self.stft.bins, config.stack, config.decoder)
        self.phase = PhaseIntegrator(config.n_fft, self.stft.hop)
        self.noise: Noise | None = None
        if config.decoder.noise_bands:
            self.noise = Noise(self.stft, config.rate, config.decoder.noise_bands)
        # A phase is relative to its frame's centre, an FFT's to the frame's start.
        sign = 1 - 2 * (torch.arange(self.stft.bins) % 2)
        self.register_buffer("sign", sign.float()[:, None], persistent=False)
        self.gain = float(self.stft.window.sum() / 2)

    def encode(self, audio: Tensor) -> Tensor:
        """See `Codec`; a frame sees half a hop (12 ms) beyond its end."""
        check_mono(audio)
        return self.project(self.basis.magnitude(audio[:, 0]))

    def project(self, magnitude: Tensor, layers: Stream | None = None) -> Tensor:
        """Magnitudes (batch, bins, frames * stack) -> latent (batch, channels, frames)."""
        latent = self.basis.project(self.basis.log_bands(magnitude))
        if self.residual is None:
            return latent
        return latent + self.residual(self.dropped(magnitude, latent), layers)

    def dropped(self, magnitude: Tensor, latent: Tensor) -> Tensor:
        """What the basis's guess from its latent lacks: (batch, bins, frames * stack)."""
        return torch.log(magnitude + self.config.floor) - self.basis.log_magnitude(latent)

    def start_encoding(self, batch: int) -> CodecStream:
        """See `Codec`; frames come one hop late, when their windows are full."""
        return EncoderStream(self, batch)

    def start_stream(self, batch: int) -> CodecStream:
        """See `Codec`."""
        return DecoderStream(self, batch)

    def latent_tensors(self) -> Iterator[Tensor]:
        """The basis, and what adds to it; a decoder may be trained further."""
        yield from (self.basis.mean, self.basis.components, self.basis.deviation)
        if self.residual is not None:
            yield from self.residual.state_dict().values()

    def spectrum(self, latent: Tensor, layers: Stream | None = None) -> Spectrum:
        """(batch, channels, frames) -> what is heard in each of frames * stack STFT frames."""
        correction, said = self.decoder(latent, layers)
        return self.corrected(latent, correction, said)

    def corrected(self, latent: Tensor, correction: Tensor, said: Tensor | None) -> Spectrum:
        """The basis's first guess with what the decoder says of it."""
        level = (self.basis.log_magnitude(latent) + correction).clamp(max=LOUDEST)
        if self.noise is None or said is None:
            return Spectrum(level, None)
        return Spectrum(level, self.noise.angle(level, said))

    def frames_of_audio(self, spectrum: Spectrum, phase: Tensor, first: Tensor) -> Tensor:
        """Windowed frames (batch, n, n_fft).

        Args:
            spectrum: of n frames.
            phase: (batch, bins, n), of what is no noise.
            first: (batch,) number of the first frame, for the noise.
        """
        magnitude = (spectrum.level.exp() - self.config.floor).clamp_min(0)
        tones = magnitude
        if spectrum.noise is not None:
            tones = magnitude * spectrum.noise.cos()
        # the gradient of `polar` is that of magnitudes, so the sign comes after it
        total = torch.polar(tones, phase) * self.sign
        if spectrum.noise is not None:
            assert self.noise is not None
            noise = self.noise.frames(first, phase.shape[2])
            total = total + magnitude * spectrum.noise.sin() * noise
        pieces = torch.fft.irfft(total.transpose(1, 2), self.config.n_fft)
        return pieces * (self.stft.window * (self.gain / self.stft.overlap_gain()))


class EncoderStream(CodecStream):
    """Audio -> latents: the samples that a window still needs, and the residual's past."""

    def __init__(self, codec: SpectralCodec, batch: int) -> None:
        self.codec, self.layers = codec, Stream()
        width = codec.stft.bins * codec.config.stack
        self.spectra = Windowed(self._folded, codec.hop, 1, 1, width, codec.nothing(batch, 1))

    def push(self, piece: Tensor) -> Tensor:
        """(batch, 1, any length) -> latents of the frames that are complete."""
        return self._latent(self.spectra.push(piece))

    def end(self) -> Tensor:
        """Latents of what is left."""
        return self._latent(self.spectra.end())

    def _folded(self, audio: Tensor) -> Tensor:
        """Magnitudes of whole latent frames: (batch, bins * stack, frames)."""
        check_mono(audio)
        magnitude = self.codec.basis.magnitude(audio[:, 0])
        batch, bins, frames = magnitude.shape
        stack = self.codec.config.stack
        folded = magnitude.reshape(batch, bins, frames // stack, stack).transpose(2, 3)
        return folded.reshape(batch, bins * stack, frames // stack)

    def _latent(self, folded: Tensor) -> Tensor:
        batch, _, frames = folded.shape
        if frames == 0:
            return folded.new_zeros(batch, self.codec.channels, 0)
        stack, bins = self.codec.config.stack, self.codec.stft.bins
        magnitude = folded.reshape(batch, bins, stack, frames).transpose(2, 3)
        return self.codec.project(magnitude.reshape(batch, bins, -1), self.layers)


class DecoderStream(CodecStream):
    """Latents -> audio: what the network, the phase and the overlap of windows remember.

    All items of a batch have the same noise: what is alike left and right stays so.
    """

    def __init__(self, codec: SpectralCodec, batch: int) -> None:
        self.codec = codec
        self.layers = Stream()
        self.phase: PhaseState = codec.phase.initial_state(batch)
        window, basis = codec.stft.window, codec.basis
        self.frame = torch.zeros(batch, dtype=torch.int64, device=window.device)
        self.tail = window.new_zeros(batch, codec.config.n_fft - codec.stft.hop)
        # Before the sound there was silence: zeros, the layers' own padding, say something else.
        quiet = window.new_full((batch, len(basis.mean), RUN_IN), math.log(basis.floor))
        with torch.no_grad():
            codec.decoder(basis.project(quiet), self.layers)

    def push(self, piece: Tensor) -> Tensor:
        """(batch, channels, frames) -> (batch, 1, frames * hop)."""
        codec = self.codec
        if piece.shape[2] == 0:  # an encoder's stream gives no frame before one is complete
            return piece.new_zeros(len(piece), 1, 0)
        spectrum = codec.spectrum(piece, self.layers)
        phase, self.phase = codec.phase(spectrum.level.detach(), self.phase)
        pieces = codec.frames_of_audio(spectrum, phase, self.frame)
        self.frame = self.frame + pieces.shape[1]
        total = overlap_add(pieces, codec.stft.hop)
        overlap = self.tail.shape[1]
        total = torch.cat([total[:, :overlap] + self.tail, total[:, overlap:]], 1)
        finished = pieces.shape[1] * codec.stft.hop
        self.tail = total[:, finished:]
        return total[:, None, :finished]

    def end(self) -> Tensor:
        """The half window that was begun."""
        return self.tail[:, None, : self.codec.delay]
