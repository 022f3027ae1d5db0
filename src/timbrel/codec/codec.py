"""The codec: waveform <-> latent (paper, section 3.1). What every design offers.

Training, generation and the command line use this interface only. Designs: `spectral`
(the default: a fixed basis, a learned decoder, integrated phase and noise), `rave` (bands of a
filterbank, learned both ways), and `external` ones (a user's TorchScript file, EnCodec, DAC).
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timbrel.errors import ShapeError


class CodecStream(ABC):
    """One direction of a codec, fed piece by piece.

    What `push` returned, joined, and then `end` is the same whatever the pieces were.
    """

    @abstractmethod
    def push(self, piece: Tensor) -> Tensor:
        """Take the next piece along the last dimension; give what it completes."""

    @abstractmethod
    def end(self) -> Tensor:
        """What is left when nothing more comes. The stream cannot be used afterwards."""


class Codec(nn.Module, ABC):
    """Waveform <-> latent of unit variance per channel. Mono: see `as_batch` for stereo.

    Attributes:
        rate: sampling rate, Hz.
        hop: samples per latent frame.
        channels: of the latent.
        delay: samples by which `decode_stream` lags `decode`.
        lag: samples by which what is encoded and decoded would come late, had not `decode` made
            up for it.
        config: with which it was built; None if somebody else did.
    """

    config: Any = None
    lag: int = 0
    rate: int
    hop: int
    channels: int
    delay: int

    @property
    def frame_rate(self) -> float:
        """Latent frames per second."""
        return self.rate / self.hop

    @property
    def device(self) -> torch.device:
        """Where the codec computes."""
        return next(self.parameters()).device

    def nothing(self, batch: int, width: int) -> Tensor:
        """(batch, width, 0): what a stream has taken before it takes anything."""
        return torch.zeros(batch, width, 0, device=self.device)

    @abstractmethod
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

    @abstractmethod
    def start_encoding(self, batch: int) -> CodecStream:
        """A stream from audio (batch, 1, any number of samples) to latents.

        Its output, joined, equals `encode` of the whole.
        """

    @abstractmethod
    def start_stream(self, batch: int) -> CodecStream:
        """A stream from latents (batch, channels, any number of frames) to audio.

        Its output, joined, equals `decode` of the whole, `delay` samples later: before the
        sound come `delay` samples, `end` gives the last `delay` samples.
        """

    @abstractmethod
    def latent_tensors(self) -> Iterator[Tensor]:
        """What determines the latent of a sound: codecs that agree in it are interchangeable."""

    @property
    def latent_id(self) -> str:
        """Names the latent: equal ids mean that latents are interchangeable."""
        digest = hashlib.sha256(f"{self.rate} {self.hop}".encode())
        for tensor in self.latent_tensors():
            # half precision, as saved: loading a codec does not change its name
            digest.update(tensor.detach().cpu().half().numpy().tobytes())
        return digest.hexdigest()[:16]

    def decode(self, latent: Tensor) -> Tensor:
        """Latent (batch, channels, frames) -> waveform (batch, 1, frames * hop)."""
        stream = self.start_stream(latent.shape[0])
        return torch.cat([stream.push(latent), stream.end()], 2)[:, :, self.delay :]

    def reconstruct(self, audio: Tensor) -> Tensor:
        """Encode and decode: (batch, 1, samples) -> same shape."""
        # what comes late is still in there when the sound has ended
        latent = self.encode(F.pad(audio, (0, self.lag)))
        return self.decode(latent)[:, :, : audio.shape[2]]

    def encode_stream(self, audio: Tensor, stream: CodecStream) -> Tensor:
        """Encode the next samples: (batch, channels, as many frames as are complete)."""
        return stream.push(audio)

    def decode_stream(self, latent: Tensor, stream: CodecStream) -> Tensor:
        """Decode the next frames: (batch, 1, frames * hop), see `start_stream`."""
        return stream.push(latent)


def check_mono(audio: Tensor) -> None:
    """Refuse what is not (batch, 1, samples).

    Raises:
        ShapeError: says the shape.
    """
    if audio.ndim != 3 or audio.shape[1] != 1:
        raise ShapeError(
            f"audio has shape {tuple(audio.shape)}, the codec takes (batch, 1, samples); "
            "as_batch() turns channels into items"
        )


def as_batch(audio: Tensor) -> Tensor:
    """Channels as items: (batch, channels, samples) -> (batch * channels, 1, samples).

    Left and right are coded alone. Mid and side would need a codec that keeps phase: what is
    panned lives in how the two add up (docs/decisions/0011).
    """
    return audio.reshape(-1, 1, audio.shape[-1])


def from_batch(audio: Tensor, channels: int) -> Tensor:
    """The inverse of `as_batch`: (batch * channels, 1, samples) -> (batch, channels, samples)."""
    return audio.reshape(-1, channels, audio.shape[-1])


class Windowed(CodecStream):
    """A function of frames that see `reach` frames to either side, applied to a stream.

    It keeps those frames of the past and waits for those of the future.

    Args:
        function: (batch, n, frames * taken) -> (batch, m, frames * given).
        taken: input values per frame.
        given: output values per frame.
        reach: frames.
        width: channels of the output (m).
        nothing: (batch, n, 0), where it is to be computed.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        taken: int,
        given: int,
        reach: int,
        width: int,
        nothing: Tensor,
    ) -> None:
        self.function, self.taken, self.given = function, taken, given
        self.reach, self.width = reach, width
        self.held = nothing
        self.before = 0  # frames held that were given already

    def push(self, piece: Tensor) -> Tensor:
        """Input (batch, n, any length) -> output of the frames whose surroundings are known."""
        # the first is what it is: of another shape the function says what is wrong with it
        self.held = torch.cat([self.held, piece], 2) if self.held.shape[2] else piece
        frames = self.held.shape[2] // self.taken - self.before - self.reach
        return self._give(self.held, max(0, frames))

    def end(self) -> Tensor:
        """Output of all frames that are left; a part of a frame counts as one."""
        frames = -(-self.held.shape[2] // self.taken) - self.before
        return self._give(self.held, frames)

    def _give(self, held: Tensor, frames: int) -> Tensor:
        if frames == 0:
            return held.new_zeros(len(held), self.width, 0)
        used = held[:, :, : (self.before + frames + self.reach) * self.taken]
        output = self.function(used)
        output = output[:, :, self.before * self.given :][:, :, : frames * self.given]
        known = self.before + frames
        self.before = min(self.reach, known)
        self.held = held[:, :, (known - self.before) * self.taken :]
        return output


class Late(CodecStream):
    """A stream of audio that gives as much as it takes, by beginning with silence.

    Args:
        stream: gives its output late.
        hop: samples per frame taken.
        delay: samples that it is late.
    """

    def __init__(self, stream: CodecStream, hop: int, delay: int) -> None:
        self.stream, self.hop, self.owed = stream, hop, delay

    def push(self, piece: Tensor) -> Tensor:
        """Frames -> exactly `hop` samples each."""
        output = self.stream.push(piece)
        silent = piece.shape[2] * self.hop - output.shape[2]
        self.owed -= silent
        return F.pad(output, (silent, 0))

    def end(self) -> Tensor:
        """What is still owed."""
        return F.pad(self.stream.end(), (self.owed, 0))
