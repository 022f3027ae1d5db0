"""The audio door into structure: what notes sound, and when (a note posteriorgram).

A small network reads constant-Q spectra, harmonics stacked as channels so that every key
sees its note's whole series at one place (Bittner et al., 2017), and writes the same three
channels that a MIDI roll has. What it heard can be written out as MIDI, edited, and rendered.
Drums, which have no pitch, are heard by a part of their own (`drums`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timbrel.conditions.drums import DrumListener, hear_drums
from timbrel.nn.causal import ConvNeXtBlock, Norm
from timbrel.notes import Notes
from timbrel.posterior import KEYS, LOWEST, Reading, read_notes
from timbrel.spectra import ConstantQ

BINS_PER_SEMITONE = 3
OCTAVES = 8
HARMONICS = (0.5, 1, 2, 3, 4, 5, 6, 7)
# Samples of analysis: long windows tell semitones apart, short ones see onsets.
WINDOWS = (8_192, 2_048)
# Best note F1, and with offsets, on renders of the validation sounds (docs/decisions/0027).
READING = Reading(onset_level=0.65, ending_level=0.8)
BLOCK, MARGIN = 1024, 72  # frames heard at once, and beside them
FAINTEST = 1 / 30  # of a recording's peak: what stays below is not heard as if it were loud

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Sight:
    """Keys and frames that a block sees, so many of each, and how far these lie apart."""

    keys: int
    frames: int
    between_keys: int = 1
    between_frames: int = 1


NEAR, AROUND = Sight(1, 9), Sight(25, 3)  # one key's course, or two octaves around it
OCTAVES_APART, LONG = Sight(5, 3, between_keys=12), Sight(1, 5, between_frames=3)
SUMMARY = 6  # channels of a key that its frame's summary takes in and gives back
SUMMARY_BLOCKS, SUMMARY_FRAMES = 3, 21  # frames that one of its blocks sees


@dataclass(frozen=True)
class ListenerConfig:
    """Size of the listener."""

    width: int = 40  # channels of every key
    blocks: int = 5  # alternately of a key's course and of the keys around it
    summary: int = 0  # channels of a frame's summary of all keys; 0: there is none
    after: int = 0  # blocks that know it, alternately of octaves and of a longer course
    drums: int = 0  # channels of the part that hears drums; 0: there is none
    rate: int = 44_100  # Hz, of the audio that it hears
    hop: int = 1_024  # samples per frame of what it hears


def small(drums: bool = True) -> ListenerConfig:
    """The default model's; `drums` says whether there are any to learn from."""
    return ListenerConfig(summary=128, after=10, drums=96 if drums else 0)


class KeyBlock(nn.Module):
    """Depthwise convolution over keys and frames, then a pointwise network, on a residual path.

    Args:
        width: channels.
        sight: keys and frames that are seen.
        silent: begin as nothing, so that a trained listener can be given more of them.
    """

    def __init__(self, width: int, sight: Sight, silent: bool = False) -> None:
        super().__init__()
        apart = (sight.between_keys, sight.between_frames)
        padding = (sight.keys // 2 * apart[0], sight.frames // 2 * apart[1])
        kernel = (sight.keys, sight.frames)
        self.mix = nn.Conv2d(width, width, kernel, padding=padding, dilation=apart, groups=width)
        self.norm = Norm(width)
        self.widen = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)
        if silent:
            nothing(self.narrow)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, keys, frames) -> same shape."""
        # in bf16 products gain, but processors lose as much in the convolution's gradient
        with torch.autocast(x.device.type, enabled=False):
            h = self.mix(x)
        h = self.norm(h.permute(0, 2, 3, 1))
        h = self.narrow(F.gelu(self.widen(h)))
        return x + h.permute(0, 3, 1, 2)


class Summary(nn.Module):
    """What plays: all keys of a frame and of 0.7 s on either side of it, told to every key.

    Which partials an instrument has is seen of all its notes, not of one key: where an octave is
    doubtful, that decides. It begins as nothing.

    Args:
        width: channels of every key.
        channels: of the summary.
    """

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.gather = nn.Conv2d(width, SUMMARY, 1)
        self.enter = nn.Conv1d(SUMMARY * KEYS, channels, 1)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(channels, SUMMARY_FRAMES) for _ in range(SUMMARY_BLOCKS)
        )
        self.leave = nn.Conv1d(channels, SUMMARY * KEYS, 1)
        self.to_key, self.to_all = nn.Conv2d(SUMMARY, width, 1), nn.Conv1d(channels, width, 1)
        nothing(self.to_key)
        nothing(self.to_all)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, keys, frames) -> same shape."""
        # blocks see the past: moved by half of what they see, as much of the future
        later = SUMMARY_BLOCKS * (SUMMARY_FRAMES // 2)
        h = self.enter(F.pad(self.gather(x).flatten(1, 2), (0, later)))
        for block in self.blocks:
            h = block(h)
        h = F.gelu(h[:, :, later:])
        told = self.to_key(F.gelu(self.leave(h).unflatten(1, (SUMMARY, KEYS))))
        return x + told + self.to_all(h)[:, :, None]


def nothing(layer: nn.Linear | nn.Conv1d | nn.Conv2d) -> None:
    """Let a layer begin with zeros."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


# parts that a listener may be given later: until they have learned, it hears the same notes
ADDED = ("summary.", "after.", "drums.")


class Listener(nn.Module):
    """Audio -> roll of note probabilities.

    Args:
        config: sizes.
    """

    def __init__(self, config: ListenerConfig) -> None:
        super().__init__()
        self.config = config
        rate, hop = config.rate, config.hop
        # the lowest key is the middle one of its three bins
        lowest_hz = 27.5 * 2 ** (-1 / (12 * BINS_PER_SEMITONE))
        per_octave = 12 * BINS_PER_SEMITONE
        self.spectra = nn.ModuleList(
            ConstantQ(rate, hop, per_octave, lowest_hz, OCTAVES, window) for window in WINDOWS
        )
        self.shifts = [round(float(step)) for step in per_octave * np.log2(HARMONICS)]
        seen = len(WINDOWS) * len(HARMONICS) * BINS_PER_SEMITONE
        self.enter = nn.Conv2d(seen, config.width, (1, 3), padding=(0, 1))
        self.blocks = nn.ModuleList(
            KeyBlock(config.width, AROUND if k % 2 else NEAR) for k in range(config.blocks)
        )
        self.summary = Summary(config.width, config.summary) if config.summary else None
        self.after = nn.ModuleList(
            KeyBlock(config.width, LONG if k % 2 else OCTAVES_APART, silent=True)
            for k in range(config.after)
        )
        self.leave = nn.Conv2d(config.width, 3, 1)
        # most keys are silent most of the time
        self.leave.bias = nn.Parameter(torch.full((3,), -3.0))
        self.drums = DrumListener(rate, hop, config.drums) if config.drums else None

    @property
    def frame_rate(self) -> float:
        """Frames of what it hears per second."""
        return self.config.rate / self.config.hop

    def features(self, audio: Tensor) -> Tensor:
        """(batch, samples) -> constant-Q spectra (batch, windows, bins, frames)."""
        return torch.stack([spectrum(audio) for spectrum in self.spectra], 1)

    def forward(self, spectra: Tensor, fainter: float = 1.0) -> Tensor:
        """Hear what notes sound, by how they stand out from what is loudest.

        Args:
            spectra: (batch, windows, bins, frames).
            fainter: how many times fainter these are than what they should be heard against.

        Returns:
            Logits (batch, 3, 88, frames) of onset, sounding and velocity.
        """
        level = fainter * spectra.amax((1, 2, 3), keepdim=True).clamp_min(1e-3)
        stacked = torch.cat([self._keys(spectra / level, shift) for shift in self.shifts], 1)
        x = self.enter(stacked).float()
        x = x.contiguous(memory_format=torch.channels_last)  # a block's network is of channels
        for block in self.blocks:
            x = block(x)
        if self.summary is not None:
            x = self.summary(x)
        for block in self.after:
            x = block(x)
        logits: Tensor = self.leave(F.gelu(x))
        return logits

    @staticmethod
    def _keys(x: Tensor, shift: int) -> Tensor:
        """Bins `shift` above every key: (batch, windows * BINS_PER_SEMITONE, KEYS, frames)."""
        wanted = BINS_PER_SEMITONE * KEYS
        x = F.pad(x, (0, 0, max(0, -shift), max(0, shift + wanted - x.shape[2])))
        x = x[:, :, max(0, shift) :][:, :, :wanted]
        return x.unflatten(2, (KEYS, BINS_PER_SEMITONE)).transpose(2, 3).flatten(1, 2)


def listener_loss(logits: Tensor, roll: Tensor) -> Tensor:
    """Cross-entropy of onset and sounding, squared error of velocity where notes sound.

    Args:
        logits: (batch, 3, 88, frames).
        roll: (batch, 3, 128, frames), the written notes.
    """
    target = roll[:, :, LOWEST : LOWEST + KEYS]
    onset = (target[:, 0] > 0).float()
    # half a frame late is no error worth a full penalty: neighbours count as half an onset
    soft = torch.maximum(onset, 0.5 * F.max_pool1d(onset.flatten(0, 1), 3, 1, 1).view_as(onset))
    weight = 1 + 9 * soft
    losses = F.binary_cross_entropy_with_logits(logits[:, 0], soft, weight=weight)
    sounding = target[:, 1]
    losses = losses + F.binary_cross_entropy_with_logits(
        logits[:, 1], sounding, weight=1 + 4 * sounding
    )
    error = (torch.sigmoid(logits[:, 2]) - target[:, 2]).square() * sounding
    return losses + 0.5 * error.sum() / sounding.sum().clamp_min(1)


def hear(listener: Listener, samples: Tensor, progress: Progress | None = None) -> Notes:
    """Hear notes, or the strokes if it is a drum kit that plays; arguments as of `hear_notes`."""
    if samples.shape[1] == 0:
        return Notes.from_rows([])
    if listener.drums is not None:
        strokes = hear_drums(listener.drums, samples)
        if strokes is not None and len(strokes):
            return strokes
    return hear_notes(listener, samples, progress)


def hear_notes(listener: Listener, samples: Tensor, progress: Progress | None = None) -> Notes:
    """Hear the notes in audio of any length.

    Args:
        listener: trained.
        samples: (1, n) at the listener's rate, about as loud as in training (-23 LUFS).
        progress: called with the share that is heard.
    """
    onset, sounding, velocity = probabilities(listener, samples, progress)
    return read_notes(onset, sounding, listener.frame_rate, velocity, READING)


@torch.inference_mode()
def probabilities(
    listener: Listener, samples: Tensor, progress: Progress | None = None
) -> np.ndarray:
    """(3, 88, frames) of onset, sounding, velocity, heard in pieces of bounded memory.

    Args:
        listener: trained.
        samples: (1, n) at the listener's rate, about as loud as in training (-23 LUFS).
        progress: called with the share that is heard.
    """
    hop = listener.config.hop
    frames = -(-samples.shape[1] // hop)
    least = FAINTEST * samples.abs().max()
    # out of silence, so that what sounds at the very beginning is seen to begin
    samples = F.pad(samples, (MARGIN * hop, 0))
    parts = []
    for start in range(0, frames, BLOCK):
        piece = samples[:, start * hop : (start + BLOCK + 2 * MARGIN) * hop]
        fainter = max(1.0, float(least / piece.abs().max().clamp_min(1e-9)))
        heard = listener(listener.features(piece), fainter)[0, :, :, MARGIN:]
        parts.append(torch.sigmoid(heard[:, :, : min(BLOCK, frames - start)]).cpu())
        if progress is not None:
            progress(min(1.0, (start + BLOCK) / frames))
    found: np.ndarray = torch.cat(parts, 2).numpy()
    return found
