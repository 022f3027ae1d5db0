"""Codecs that somebody else trained: TorchScript exports of RAVE and AFTER, EnCodec, DAC.

What such a codec is (hop, latent size, whether it keeps a state, how late its sound comes) is
found out by running it. Its latent is brought to about zero mean and unit variance with
statistics of a fixed synthetic sound, so that a denoiser finds it in order and nothing has to
be stored.
"""

import hashlib
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from timbrel.codec.codec import Codec, CodecStream, Late, Windowed, check_mono
from timbrel.codec.lag import bursts, lag_of
from timbrel.errors import ModelError

DEFAULT_RATE = 44_100  # of a TorchScript file that names none
PROBE_SAMPLES = 2**17
REACH_SECONDS = 0.5  # to either side of a frame, that blockwise coding of a long file sees


class ExternalCodec(Codec):
    """A codec given as two functions.

    Args:
        source: file or folder, or a name on the Hugging Face hub.
        rate: Hz.
        audio_channels: that the functions take; mono sound is given to all of them.
        digest: of the weights.
    """

    center: Tensor
    spread: Tensor

    def __init__(self, source: str, rate: int, audio_channels: int, digest: str) -> None:
        super().__init__()
        self.source, self.rate, self.audio_channels = source, rate, audio_channels
        self.digest = digest
        self.register_buffer("center", torch.zeros(1, 1), persistent=False)
        self.register_buffer("spread", torch.ones(1, 1), persistent=False)

    @abstractmethod
    def raw_encode(self, audio: Tensor) -> Tensor:
        """(batch, audio_channels, samples) -> (batch, channels, frames), as the codec has it."""

    @abstractmethod
    def raw_decode(self, latent: Tensor) -> Tensor:
        """(batch, channels, frames) -> (batch, audio_channels, samples)."""

    @torch.no_grad()
    def discover(self) -> None:
        """Find hop, latent size and lag by running the codec.

        Raises:
            ModelError: it does not behave as a codec.
        """
        audio = probe(PROBE_SAMPLES, self.rate).expand(1, self.audio_channels, -1)
        latent = self._attempt(self.raw_encode, audio, "encode")
        if latent.ndim != 3 or not 1 <= latent.shape[2] <= PROBE_SAMPLES // 2:
            raise ModelError(
                f"{self.source} is not a codec: encode() gives the shape {tuple(latent.shape)}, "
                "not (batch, channels, frames)"
            )
        decoded = self._attempt(self.raw_decode, latent, "decode")
        if decoded.ndim != 3 or decoded.shape[2] < PROBE_SAMPLES // 2:
            raise ModelError(
                f"{self.source} is not a codec: decode() gives the shape {tuple(decoded.shape)}, "
                f"not (batch, {self.audio_channels}, about {PROBE_SAMPLES})"
            )
        if not (latent.isfinite().all() and decoded.isfinite().all()):
            raise ModelError(
                f"{self.source} is not a codec that works: what it gives is not finite (NaN)"
            )
        # the ends may lose or gain a few samples, the hop is a whole number
        self.hop = round(decoded.shape[2] / latent.shape[2])
        self.channels = latent.shape[1]
        self.lag = self._lag()
        self.delay = max(self.reach * self.hop, self.lag)
        self.center = latent.mean((0, 2))[:, None]
        self.spread = latent.std((0, 2)).clamp_min(1e-4)[:, None]

    def _lag(self) -> int:
        """Samples by which what is encoded and decoded comes late."""
        self.forget()
        sound = bursts(PROBE_SAMPLES, self.rate)
        latent = self.raw_encode(sound.expand(1, self.audio_channels, -1))
        return lag_of(sound[0, 0], self.raw_decode(latent).mean((0, 1)), self.rate, REACH_SECONDS)

    def forget(self) -> None:
        """Clear what it remembers, if it does."""

    def _attempt(self, function: Callable[[Tensor], Tensor], x: Tensor, name: str) -> Tensor:
        try:
            result: Any = function(x)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            last = str(error).strip().splitlines()[-1]
            raise ModelError(
                f"{self.source} is not a codec: its {name}() fails ({last})"
            ) from error
        if not isinstance(result, Tensor):
            raise ModelError(f"{self.source} is not a codec: its {name}() gives no tensor")
        return result

    @property
    def device(self) -> torch.device:
        """Where the codec computes."""
        return self.center.device

    @property
    def reach(self) -> int:
        """Frames to either side that are computed along with a block."""
        return math.ceil(REACH_SECONDS * self.frame_rate)

    def encode(self, audio: Tensor) -> Tensor:
        """See `Codec`; with what looking ahead the codec has."""
        check_mono(audio)
        frames = -(-audio.shape[2] // self.hop)
        padded = F.pad(audio, (0, frames * self.hop - audio.shape[2]))
        latent = self.raw_encode(padded.expand(-1, self.audio_channels, -1))
        latent = F.pad(latent, (0, max(0, frames - latent.shape[2])), mode="replicate")
        return (latent[:, :, :frames] - self.center) / self.spread

    def decode(self, latent: Tensor) -> Tensor:
        """See `Codec`."""
        samples = latent.shape[2] * self.hop
        if self.lag and samples:
            latent = F.pad(latent, (0, -(-self.lag // self.hop)), mode="replicate")
        audio = self.late(latent)[:, :, self.lag :]
        return F.pad(audio, (0, max(0, samples - audio.shape[2])))[:, :, :samples]

    def late(self, latent: Tensor) -> Tensor:
        """Latent (batch, channels, frames) -> waveform (batch, 1, samples), late by `lag`."""
        return self.raw_decode(latent * self.spread + self.center).mean(1, keepdim=True)

    def start_encoding(self, batch: int) -> CodecStream:
        """Blocks with `REACH_SECONDS` on either side: equal to `encode` up to what lies beyond."""
        nothing = self.nothing(batch, 1)
        return Windowed(self.encode, self.hop, 1, self.reach, self.channels, nothing)

    def start_stream(self, batch: int) -> CodecStream:
        """Likewise."""
        nothing = self.nothing(batch, self.channels)
        stream = Windowed(self.decode, 1, self.hop, self.reach, 1, nothing)
        return Late(stream, self.hop, self.delay)

    def latent_tensors(self) -> Iterator[Tensor]:
        """The digest."""
        yield torch.tensor(list(bytes.fromhex(self.digest)))


class TorchScriptCodec(ExternalCodec):
    """An exported RAVE or AFTER codec, or anything with `encode` and `decode`.

    TorchScript is code: a file from a stranger can do whatever this program can.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        module = load_script(path)
        parameters = getattr(module, "encode_params", None)  # of the nn~ protocol
        channels = 1
        if isinstance(parameters, Tensor) and parameters.numel() == 4:
            channels = int(parameters[0])
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        super().__init__(str(path), script_rate(module), channels, digest)
        self.path, self.module = path, module
        self.stateful = self._keeps_state()
        self.discover()
        self.forget()

    def __reduce__(self) -> tuple[type["TorchScriptCodec"], tuple[Path]]:
        """For another process, which loads it: what was loaded here cannot be sent."""
        return TorchScriptCodec, (self.path.resolve(),)

    @property
    def reach(self) -> int:
        """No surroundings are needed where the codec itself remembers."""
        return 0 if self.stateful else super().reach

    @torch.no_grad()
    def _keeps_state(self) -> bool:
        """Whether what was encoded before changes what comes now, as in streaming exports."""
        audio = probe(2**15, self.rate).expand(1, self.audio_channels, -1)
        latents = []
        for _ in range(2):
            torch.manual_seed(0)  # of the noise that a variational encoder draws
            latents.append(self._attempt(self.raw_encode, audio, "encode"))
        self.module = load_script(self.path)
        return not torch.allclose(latents[0], latents[1], atol=1e-4, rtol=1e-3)

    def forget(self) -> None:
        """Loading is the only way to clear the state of a streaming export."""
        if self.stateful:
            self.module = load_script(self.path).to(self.device)

    def raw_encode(self, audio: Tensor) -> Tensor:
        """See `ExternalCodec`."""
        return self.module.encode(audio)

    def raw_decode(self, latent: Tensor) -> Tensor:
        """See `ExternalCodec`."""
        return self.module.decode(latent)

    def encode(self, audio: Tensor) -> Tensor:
        """See `Codec`."""
        self.forget()
        return super().encode(audio)

    def decode(self, latent: Tensor) -> Tensor:
        """See `Codec`."""
        self.forget()
        return super().decode(latent)

    def start_encoding(self, batch: int) -> CodecStream:
        """See `Codec`; a streaming export remembers by itself, so every stream has its own."""
        if not self.stateful:
            return super().start_encoding(batch)
        own = TorchScriptCodec(self.path).to(self.device)
        encode = partial(ExternalCodec.encode, own)
        return Windowed(encode, self.hop, 1, 0, self.channels, self.nothing(batch, 1))

    def start_stream(self, batch: int) -> CodecStream:
        """Likewise."""
        if not self.stateful:
            return super().start_stream(batch)
        return Remembering(TorchScriptCodec(self.path).to(self.device), batch)


class Remembering(CodecStream):
    """A stream of latents through a codec that remembers what it decoded.

    Args:
        codec: that nothing else uses.
        batch: items.
    """

    def __init__(self, codec: TorchScriptCodec, batch: int) -> None:
        self.codec, self.batch = codec, batch
        self.last: Tensor | None = None  # latent frame

    def push(self, piece: Tensor) -> Tensor:
        """Frames -> exactly `hop` samples each, late by `lag`."""
        if piece.shape[2] == 0:
            return piece.new_zeros(len(piece), 1, 0)
        self.last = piece[:, :, -1:]
        samples = piece.shape[2] * self.codec.hop
        audio = self.codec.late(piece)
        return F.pad(audio, (0, max(0, samples - audio.shape[2])))[:, :, :samples]

    def end(self) -> Tensor:
        """What is late."""
        lag, hop = self.codec.lag, self.codec.hop
        if self.last is None or lag == 0:
            return self.codec.nothing(self.batch, 1)
        return self.push(self.last.expand(-1, -1, -(-lag // hop)))[:, :, :lag]


def load_script(path: Path) -> Any:
    """A TorchScript module with `encode` and `decode`.

    Raises:
        ModelError: not TorchScript, or not a codec.
    """
    try:
        module = torch.jit.load(str(path), map_location="cpu").eval()
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(f"{path} is not a TorchScript file that torch can load") from error
    missing = [name for name in ("encode", "decode") if not hasattr(module, name)]
    if missing:
        raise ModelError(
            f"{path} is TorchScript, but not a codec: it has no {missing[0]}(); export the codec "
            "(RAVE, or AFTER's autoencoder), not the model"
        )
    return module


def script_rate(module: Any) -> int:
    """Sampling rate as exports say it, else `DEFAULT_RATE`."""
    for name in ("get_sample_rate", "sampling_rate", "sample_rate", "sr"):
        value = getattr(module, name, None)
        if value is not None:
            try:
                rate = int(value() if callable(value) else value)
            except (RuntimeError, TypeError, ValueError):  # something else of that name
                continue
            if 4_000 <= rate <= 384_000:
                return rate
    return DEFAULT_RATE


class HuggingFaceCodec(ExternalCodec):
    """EnCodec or DAC, before their quantiser, through transformers.

    Args:
        source: folder of `save_pretrained`, or a name on the hub.
    """

    def __init__(self, source: str) -> None:
        try:
            from transformers import AutoConfig, AutoModel
        except ImportError as error:
            raise ModelError(
                "EnCodec and DAC need transformers: pip install 'timbrel[hub]'"
            ) from error
        try:
            config = AutoConfig.from_pretrained(source)
            if config.model_type not in HUGGING_FACE:
                raise ModelError(
                    f"{source} is a model of the kind '{config.model_type}', not one of the "
                    f"codecs {' and '.join(HUGGING_FACE)}"
                )
            model = AutoModel.from_pretrained(source, use_safetensors=True).eval()
        except (OSError, ValueError) as error:
            raise ModelError(f"{source} cannot be loaded: {str(error).splitlines()[0]}") from error
        digest = hashlib.sha256()
        for tensor in model.encoder.state_dict().values():
            digest.update(tensor.numpy().tobytes())
        channels = getattr(config, "audio_channels", 1)
        super().__init__(source, config.sampling_rate, channels, digest.hexdigest())
        self.encoder, self.decoder = model.encoder, model.decoder
        self.discover()

    def __reduce__(self) -> tuple[type["HuggingFaceCodec"], tuple[str]]:
        """For another process, which loads it: some layers' weights cannot be sent."""
        folder = Path(self.source)
        return HuggingFaceCodec, (str(folder.resolve()) if folder.exists() else self.source,)

    def raw_encode(self, audio: Tensor) -> Tensor:
        """See `ExternalCodec`."""
        return self.encoder(audio)

    def raw_decode(self, latent: Tensor) -> Tensor:
        """See `ExternalCodec`."""
        return self.decoder(latent)


HUGGING_FACE = ("encodec", "dac")


def probe(samples: int, rate: int) -> Tensor:
    """(1, 1, samples): decaying harmonic notes over five octaves, some noise; the same always."""
    source = torch.Generator().manual_seed(0)
    time = torch.arange(samples) / rate
    audio = 0.003 * torch.randn(samples, generator=source)
    for start in torch.arange(0, float(time[-1]), 0.25).tolist():
        hz = 55 * 2 ** (5 * float(torch.rand((), generator=source)))
        slope = 0.5 + float(torch.rand((), generator=source))
        age = (time - start).clamp_min(0)
        for harmonic in range(1, 9):
            if harmonic * hz < 0.45 * rate:
                wave = torch.sin(2 * math.pi * harmonic * hz * age) * torch.exp(-4 * age)
                audio += 0.15 * wave / harmonic**slope
    return audio.clamp(-1, 1)[None, None]
