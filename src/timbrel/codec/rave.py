"""The codec of the paper: bands of a filterbank, learned both ways (RAVE; Caillon and Esling,
2021, arXiv 2111.05011), causal and with a latent of fixed variance.

Strided convolutions bring 16 bands from 2.8 kHz to the latent's 43 Hz, and back. The
decoder's bands are a bounded waveform with a gain, and filtered noise. A stride is a
reshape: s frames of C channels become one frame of s C channels, so every layer is a plain
causal convolution and streams by itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timbrel.audio import SILENCE
from timbrel.codec.codec import Codec, CodecStream, check_mono
from timbrel.codec.filterbank import Filterbank
from timbrel.nn.causal import CausalConv1d, Stream

NOISE_FRAMES = 512  # latent frames after which the noise repeats (12 s)
MOMENTUM = 0.05  # of the running estimate of the latent's variance, per step
NOISE_TAPS = 8  # length of a noise filter, band samples
LOUDEST = 4.0  # gain of a band, and of its noise: no latent makes a codec blow up
SETTLED = 32  # frames of silence after which the encoder's layers have forgotten their start
ALIKE = 0.02  # deviations from the latent of silence, in all channels, that count as silence


@dataclass(frozen=True)
class RaveConfig:
    """What is needed to build a RAVE codec."""

    rate: int = 44_100  # Hz
    bands: int = 16  # of the filterbank
    strides: tuple[int, ...] = (4, 4, 4)  # the hop is bands times all strides
    width: int = 48  # channels at the bands' rate; doubled by every stride
    dilations: tuple[int, ...] = (1, 3, 9)  # of the residual layers at each rate
    channels: int = 128  # latent channels

    @property
    def hop(self) -> int:
        """Samples per latent frame."""
        hop = self.bands
        for stride in self.strides:
            hop *= stride
        return hop


def tiny() -> RaveConfig:
    """For tests."""
    return RaveConfig(width=8, dilations=(1, 3), channels=16)


def small() -> RaveConfig:
    """About as many parameters as the small spectral codec."""
    return RaveConfig()


def base() -> RaveConfig:
    """For a GPU."""
    return RaveConfig(width=96)


PRESETS = {"tiny": tiny, "small": small, "base": base}


def fold(x: Tensor, stride: int) -> Tensor:
    """(batch, channels, frames) -> (batch, stride * channels, frames / stride)."""
    batch, channels, frames = x.shape
    folded = x.reshape(batch, channels, frames // stride, stride).transpose(2, 3)
    return folded.reshape(batch, channels * stride, frames // stride)


def unfold(x: Tensor, stride: int) -> Tensor:
    """The inverse of `fold`."""
    batch, channels, frames = x.shape
    unfolded = x.reshape(batch, channels // stride, stride, frames).transpose(2, 3)
    return unfolded.reshape(batch, channels // stride, frames * stride)


class Residual(nn.Module):
    """Dilated convolutions, each on a residual path."""

    def __init__(self, width: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.wide = nn.ModuleList(CausalConv1d(width, width, 3, dilation=d) for d in dilations)
        self.mix = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in dilations)

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, width, frames) -> same shape."""
        for wide, mix in zip(self.wide, self.mix, strict=True):
            x = x + mix(F.leaky_relu(wide(F.leaky_relu(x, 0.2), stream), 0.2))
        return x


class Encoder(nn.Module):
    """Bands -> latent before it is normalised."""

    def __init__(self, config: RaveConfig) -> None:
        super().__init__()
        self.strides, width = config.strides, config.width
        self.enter = CausalConv1d(config.bands, width, 7)
        self.stages, self.down = nn.ModuleList(), nn.ModuleList()
        for stride in config.strides:
            self.stages.append(Residual(width, config.dilations))
            self.down.append(CausalConv1d(stride * width, 2 * width, 2))
            width *= 2
        self.leave = CausalConv1d(width, config.channels, 3)

    def forward(self, bands: Tensor, stream: Stream | None = None) -> Tensor:
        """(batch, bands, frames * all strides) -> (batch, channels, frames)."""
        x = self.enter(bands, stream)
        for stage, down, stride in zip(self.stages, self.down, self.strides, strict=True):
            x = down(fold(F.leaky_relu(stage(x, stream), 0.2), stride), stream)
        return self.leave(F.leaky_relu(x, 0.2), stream)


class NoiseBranch(nn.Module):
    """Features -> noise in every band, shaped by a short filter per block.

    Args:
        width: channels of the features.
        block: band samples that one filter shapes, at least `NOISE_TAPS`.
        config: of the codec.
    """

    table: Tensor

    def __init__(self, width: int, block: int, config: RaveConfig) -> None:
        super().__init__()
        self.bands, self.block = config.bands, block
        self.shape = CausalConv1d(width, config.bands * (NOISE_TAPS // 2 + 1), 3)
        nn.init.constant_(self.shape.bias, -5.0)  # type: ignore[arg-type]
        length = NOISE_FRAMES * config.hop // config.bands
        source = torch.Generator().manual_seed(0)
        self.register_buffer(
            "table", torch.randn(config.bands, length, generator=source), persistent=False
        )

    def forward(self, x: Tensor, first: int, stream: Stream | None = None) -> Tensor:
        """Shaped noise.

        Args:
            x: (batch, width, blocks), one frame per block.
            first: number of the first block: noise is a function of time, not of the call.
            stream: the past.

        Returns:
            (batch, bands, blocks * block).
        """
        batch, _, blocks = x.shape
        gain = F.softplus(self.shape(x, stream).float()).clamp(max=LOUDEST)
        gain = gain.reshape(batch, self.bands, NOISE_TAPS // 2 + 1, blocks).transpose(2, 3)
        response = torch.fft.irfft(gain, NOISE_TAPS).roll(NOISE_TAPS // 2, -1)
        at = torch.arange(blocks * self.block, device=x.device) + first * self.block
        noise = self.table[:, at % self.table.shape[1]].reshape(self.bands, blocks, self.block)
        size = self.block + NOISE_TAPS
        shaped = torch.fft.irfft(torch.fft.rfft(noise, size) * torch.fft.rfft(response, size), size)
        # the end of a block's response falls into the next block
        rest = shaped[..., self.block :].transpose(2, 3).reshape(batch, -1, blocks)
        rest = F.pad(rest, (1, 0)) if stream is None else stream.extend(self, rest, 1)
        rest = rest[..., :-1].reshape(batch, self.bands, NOISE_TAPS, blocks).transpose(2, 3)
        body = shaped[..., : self.block]
        body = body + F.pad(rest, (0, self.block - NOISE_TAPS))
        return body.reshape(batch, self.bands, -1)


class BandDecoder(nn.Module):
    """Latent -> bands: a waveform with a gain, and noise."""

    def __init__(self, config: RaveConfig) -> None:
        super().__init__()
        self.strides = tuple(reversed(config.strides))
        width = config.width * 2 ** len(config.strides)
        self.enter = CausalConv1d(config.channels, width, 7)
        self.up, self.stages = nn.ModuleList(), nn.ModuleList()
        for stride in self.strides:
            self.up.append(CausalConv1d(width, stride * width // 2, 2))
            width //= 2
            self.stages.append(Residual(width, config.dilations))
        self.wave = CausalConv1d(width, config.bands, 7)
        self.gain = CausalConv1d(width, config.bands, 3)
        nn.init.constant_(self.gain.bias, -2.0)  # type: ignore[arg-type]
        self.noise = NoiseBranch(
            config.width * 2 ** (len(config.strides) - 1),
            config.hop // config.bands // self.strides[0],
            config,
        )

    def forward(self, latent: Tensor, first: int = 0, stream: Stream | None = None) -> Tensor:
        """(batch, channels, frames) -> (batch, bands, frames * all strides).

        Args:
            latent: as normalised.
            first: number of the first frame, for the noise.
            stream: the past.
        """
        x = self.enter(latent, stream)
        noise = x.new_zeros(())
        for number, (up, stage, stride) in enumerate(
            zip(self.up, self.stages, self.strides, strict=True)
        ):
            x = stage(unfold(up(F.leaky_relu(x, 0.2), stream), stride), stream)
            if number == 0:
                noise = self.noise(x, first * stride, stream)
        x = F.leaky_relu(x, 0.2)
        wave = torch.tanh(self.wave(x, stream).float())
        return wave * F.softplus(self.gain(x, stream).float()).clamp(max=LOUDEST) + noise


class LatentNorm(nn.Module):
    """Unit variance per channel: of the batch while the encoder learns, then as measured.

    Args:
        channels: of the latent.
    """

    mean: Tensor
    variance: Tensor
    measured: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))
        self.register_buffer("measured", torch.tensor(False))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, frames) -> same shape."""
        mean, variance = self.mean, self.variance
        if self.training and not self.measured:
            # a running estimate serves until the latent is measured
            settled = after_start(x)
            mean, variance = settled.mean((0, 2)), settled.var((0, 2))
            with torch.no_grad():
                self.mean.lerp_(mean, MOMENTUM)
                self.variance.lerp_(variance, MOMENTUM)
        return normalised(x, mean, variance)

    @torch.no_grad()
    def measure(self, latents: list[Tensor]) -> None:
        """Set mean and variance from un-normalised latents, for good."""
        settled = [after_start(z) for z in latents]
        rows = torch.cat([z.transpose(1, 2).reshape(-1, z.shape[1]) for z in settled])
        self.mean.copy_(rows.mean(0))
        self.variance.copy_(rows.var(0))
        self.measured.fill_(True)


def normalised(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """(batch, channels, frames) -> zero mean and unit variance, if these are its own."""
    return (x - mean[:, None]) * torch.rsqrt(variance + 1e-10)[:, None]


def after_start(latent: Tensor) -> Tensor:
    """The second half of excerpts: in the first frames, layers miss their past."""
    return latent[:, :, latent.shape[2] // 2 :]


class RaveCodec(Codec):
    """Filterbank, strided convolutions, and back."""

    def __init__(self, config: RaveConfig) -> None:
        super().__init__()
        self.config = config
        self.rate, self.hop, self.channels = config.rate, config.hop, config.channels
        self.filterbank = Filterbank(config.bands)
        self.delay = self.filterbank.delay
        self.encoder = Encoder(config)
        self.norm = LatentNorm(config.channels)
        self.decoder = BandDecoder(config)

    def encode(self, audio: Tensor) -> Tensor:
        """See `Codec`; a frame sees nothing beyond its end."""
        stream = self.start_encoding(len(audio))
        return torch.cat([stream.push(audio), stream.end()], 2)

    @torch.no_grad()
    def silence(self) -> Tensor:
        """(1, channels, 1): the latent of silence, which is decoded to silence.

        Learned layers with biases come near to it at best.
        """
        nothing = self.filterbank.synthesis.new_zeros(1, self.config.bands, SETTLED)
        folded = nothing.repeat(1, 1, self.hop // self.config.bands)
        return normalised(self.encoder(folded), self.norm.mean, self.norm.variance)[:, :, -1:]

    def waveform(self, bands: Tensor) -> Tensor:
        """Bands of whole frames -> (batch, 1, samples), in time with what was split."""
        blocks = self.delay // self.config.bands
        return self.filterbank.join(F.pad(bands, (0, blocks)))[:, :, self.delay :]

    def start_encoding(self, batch: int) -> CodecStream:
        """See `Codec`."""
        return _Encoding(self, batch)

    def start_stream(self, batch: int) -> CodecStream:
        """See `Codec`."""
        return _Decoding(self, batch)

    def latent_tensors(self) -> Iterator[Tensor]:
        """The encoder and the measured variances."""
        yield from self.encoder.state_dict().values()
        yield from (self.norm.mean, self.norm.variance)


class _Encoding(CodecStream):
    def __init__(self, codec: RaveCodec, batch: int) -> None:
        self.codec, self.layers, self.silence = codec, Stream(), codec.silence()
        self.held = codec.nothing(batch, 1)
        self.quiet: Tensor | None = None  # (batch, 1): whether the frame before is

    def push(self, piece: Tensor) -> Tensor:
        check_mono(piece)
        codec = self.codec
        held = torch.cat([self.held, piece], 2)
        size = held.shape[2] // codec.hop * codec.hop
        self.held = held[:, :, size:]
        if size == 0:
            return held.new_zeros(len(held), codec.channels, 0)
        bands = codec.filterbank.split(held[:, :, :size], self.layers)
        latent = codec.norm(codec.encoder(bands, self.layers))
        return torch.where(self._silent(held[:, 0, :size])[:, None], self.silence, latent)

    def _silent(self, audio: Tensor) -> Tensor:
        """(batch, frames): in which nothing sounds, nor rings from the frame before."""
        quiet = audio.reshape(len(audio), -1, self.codec.hop).abs().amax(2) < SILENCE
        before = quiet.new_ones(len(quiet), 1) if self.quiet is None else self.quiet
        self.quiet = quiet[:, -1:]
        return quiet & torch.cat([before, quiet[:, :-1]], 1)

    def end(self) -> Tensor:
        held = self.held
        return self.push(held.new_zeros(len(held), 1, -held.shape[2] % self.codec.hop))


class _Decoding(CodecStream):
    def __init__(self, codec: RaveCodec, batch: int) -> None:
        self.codec, self.layers, self.batch = codec, Stream(), batch
        self.silence = codec.silence()
        self.frame = 0

    def push(self, piece: Tensor) -> Tensor:
        if piece.shape[2] == 0:  # an encoder's stream gives no frame before one is complete
            return piece.new_zeros(len(piece), 1, 0)
        bands = self.codec.decoder(piece, self.frame, self.layers)
        self.frame += piece.shape[2]
        sounds = ((piece - self.silence).abs() > ALIKE).any(1, keepdim=True)
        bands = bands * sounds.repeat_interleave(self.codec.hop // self.codec.config.bands, 2)
        return self.codec.filterbank.join(bands, self.layers)

    def end(self) -> Tensor:
        bands = self.codec.config.bands
        silence = self.codec.filterbank.synthesis.new_zeros(
            self.batch, bands, self.codec.delay // bands
        )
        return self.codec.filterbank.join(silence, self.layers)
