"""The codec: waveform <-> latent (paper, section 3.1), causal and streaming.

Encoding is a fixed basis (`basis`), decoding a learned log-spectrum (`decoder`), a phase
integrator (`phase`) and an inverse STFT.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from timbrel.codec.basis import SpectralBasis
from timbrel.codec.decoder import Decoder, DecoderConfig
from timbrel.codec.phase import PhaseIntegrator, PhaseState
from timbrel.errors import ShapeError
from timbrel.nn.causal import Stream
from timbrel.spectra import overlap_add

LOUDEST = 1.5  # log-magnitude that no bin passes; a full-scale sine has 0


@dataclass(frozen=True)
class CodecConfig:
    """What is needed to build a codec."""

    rate: int = 44_100  # Hz
    hop: int = 1_024  # samples per latent frame
    n_fft: int = 2_048  # STFT window, samples
    stack: int = 2  # STFT frames per latent frame
    bands: int = 256  # frequency bands of the basis
    channels: int = 128  # latent channels
    floor: float = 2e-4  # added to magnitudes before the logarithm
    decoder: DecoderConfig = field(default_factory=DecoderConfig)


def tiny() -> CodecConfig:
    """For tests: learns on two cores in a minute."""
    decoder = DecoderConfig(width=64, blocks=1, fine_width=48, fine_blocks=1)
    return CodecConfig(bands=96, channels=32, decoder=decoder)


def small() -> CodecConfig:
    """The default: 7 M parameters, far faster than real time on two cores."""
    return CodecConfig()


def base() -> CodecConfig:
    """For a GPU."""
    return CodecConfig(decoder=DecoderConfig(width=640, blocks=8, fine_width=384, fine_blocks=4))


PRESETS = {"tiny": tiny, "small": small, "base": base}


class DecoderStream:
    """State of a decoder that is fed piece by piece: see `Codec.decode_stream`."""

    def __init__(self, phase: PhaseState, tail: Tensor) -> None:
        self.layers = Stream()
        self.phase = phase
        self.tail = tail


class Codec(nn.Module):
    """Waveform <-> latent of unit variance per channel."""

    sign: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.rate, self.hop, self.channels = config.rate, config.hop, config.channels
        self.frame_rate = config.rate / config.hop
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
        self.decoder = Decoder(config.channels, self.stft.bins, config.stack, config.decoder)
        self.phase = PhaseIntegrator(config.n_fft, self.stft.hop)
        # A phase is relative to its frame's centre, an FFT's to the frame's start.
        sign = 1 - 2 * (torch.arange(self.stft.bins) % 2)
        self.register_buffer("sign", sign.float()[:, None], persistent=False)
        self.gain = float(self.stft.window.sum() / 2)

    def encode(self, audio: Tensor) -> Tensor:
        """Compress a waveform.

        Args:
            audio: (batch, 1, samples) at `rate`, in [-1, 1].

        Returns:
            (batch, channels, frames), unit variance per channel;
            frames = ceil(samples / hop).

        Raises:
            ShapeError: if the audio is not mono.
        """
        if audio.ndim != 3 or audio.shape[1] != 1:
            raise ShapeError(
                f"audio has shape {tuple(audio.shape)}, the codec takes (batch, 1, samples)"
            )
        return self.basis.encode(audio[:, 0])

    def log_magnitude(self, latent: Tensor, layers: Stream | None = None) -> Tensor:
        """(batch, channels, frames) -> log(magnitude + floor), (batch, bins, frames * stack)."""
        estimate = self.basis.log_magnitude(latent) + self.decoder(latent, layers)
        return estimate.clamp(max=LOUDEST)

    def decode(self, latent: Tensor) -> Tensor:
        """Latent -> waveform (batch, 1, frames * hop)."""
        stream = self.start_stream(latent.shape[0])
        pieces = self._pieces(latent, stream)
        half = self.config.n_fft // 2
        audio = self._overlap(pieces, stream)
        rest = stream.tail[:, :half]
        return torch.cat([audio, rest], 1)[:, half:][:, None]

    def start_stream(self, batch: int) -> DecoderStream:
        """State before the first latent frame."""
        overlap = self.config.n_fft - self.stft.hop
        tail = self.stft.window.new_zeros(batch, overlap)
        return DecoderStream(self.phase.initial_state(batch), tail)

    def decode_stream(self, latent: Tensor, stream: DecoderStream) -> Tensor:
        """Decode the next frames of a stream.

        The concatenated outputs equal `decode` of the concatenated latents, delayed by
        `n_fft / 2` samples.

        Args:
            latent: (batch, channels, frames), any number of frames.
            stream: state; updated.

        Returns:
            (batch, 1, frames * hop).
        """
        return self._overlap(self._pieces(latent, stream), stream)[:, None]

    def _pieces(self, latent: Tensor, stream: DecoderStream) -> Tensor:
        """Windowed frames of audio, (batch, frames * stack, n_fft)."""
        log_magnitude = self.log_magnitude(latent, stream.layers)
        phase, stream.phase = self.phase(log_magnitude.detach(), stream.phase)
        return self.frames_of_audio(log_magnitude, phase)

    def frames_of_audio(self, log_magnitude: Tensor, phase: Tensor) -> Tensor:
        """Log-magnitudes and phases (batch, bins, n) -> windowed frames (batch, n, n_fft)."""
        magnitude = (log_magnitude.exp() - self.config.floor).clamp_min(0) * self.gain
        spectrum = torch.polar(magnitude, phase) * self.sign
        pieces = torch.fft.irfft(spectrum.transpose(1, 2), self.config.n_fft)
        return pieces * self.stft.window / self.stft.overlap_gain()

    def _overlap(self, pieces: Tensor, stream: DecoderStream) -> Tensor:
        """Overlap-add with the stream's tail; gives `frames * hop` finished samples."""
        total = overlap_add(pieces, self.stft.hop)
        overlap = stream.tail.shape[1]
        total = torch.cat([total[:, :overlap] + stream.tail, total[:, overlap:]], 1)
        finished = pieces.shape[1] * self.stft.hop
        stream.tail = total[:, finished:]
        return total[:, :finished]
