"""The audio door into structure: what notes sound, and when (a note posteriorgram).

A small network reads constant-Q spectra, harmonics stacked as channels so that every key
sees its note's whole series at one place (Bittner et al., 2017), and writes the same three
channels that a MIDI roll has. What it heard can be written out as MIDI, edited, and rendered.
Drums, which have no pitch, are heard by a part of their own (`drums`).
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timbrel.conditions.drums import DrumListener, hear_drums
from timbrel.notes import Notes
from timbrel.posterior import KEYS, LOWEST, read_notes
from timbrel.spectra import ConstantQ

BINS_PER_SEMITONE = 3
OCTAVES = 8
HARMONICS = (0.5, 1, 2, 3, 4, 5, 6, 7)
# Samples of analysis: long windows tell semitones apart, short ones see onsets.
WINDOWS = (8_192, 2_048)
ONSET_LEVEL = 0.65  # least probability of an onset: best note F1 on validation renders
BLOCK, MARGIN = 1024, 32  # frames heard at once, and beside them
# Keys and frames that a block sees: one key's course, or two octaves around it.
NEAR, FAR = (1, 9), (25, 3)


@dataclass(frozen=True)
class ListenerConfig:
    """Size of the listener."""

    width: int = 40  # channels of every key
    blocks: int = 5  # alternately of near and far sight
    drums: int = 0  # channels of the part that hears drums; 0: there is none


def small(drums: bool = True) -> ListenerConfig:
    """The default model's; `drums` says whether there are any to learn from."""
    return ListenerConfig(drums=96 if drums else 0)


class KeyBlock(nn.Module):
    """Depthwise convolution over keys and frames, then a pointwise network, on a residual path.

    Args:
        width: channels.
        sight: keys and frames that are seen.
    """

    def __init__(self, width: int, sight: tuple[int, int]) -> None:
        super().__init__()
        padding = (sight[0] // 2, sight[1] // 2)
        self.mix = nn.Conv2d(width, width, sight, padding=padding, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, keys, frames) -> same shape."""
        h = self.norm(self.mix(x).permute(0, 2, 3, 1))
        h = self.narrow(F.gelu(self.widen(h)))
        return x + h.permute(0, 3, 1, 2)


class Listener(nn.Module):
    """Audio -> roll of note probabilities.

    Args:
        rate: Hz.
        hop: samples per latent frame.
        config: sizes.
    """

    def __init__(self, rate: int, hop: int, config: ListenerConfig) -> None:
        super().__init__()
        self.hop = hop
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
            KeyBlock(config.width, FAR if k % 2 else NEAR) for k in range(config.blocks)
        )
        self.leave = nn.Conv2d(config.width, 3, 1)
        # most keys are silent most of the time
        self.leave.bias = nn.Parameter(torch.full((3,), -3.0))
        self.drums = DrumListener(rate, hop, config.drums) if config.drums else None

    def features(self, audio: Tensor) -> Tensor:
        """(batch, samples) -> constant-Q spectra (batch, windows, bins, frames)."""
        return torch.stack([spectrum(audio) for spectrum in self.spectra], 1)

    def forward(self, spectra: Tensor) -> Tensor:
        """(batch, windows, bins, frames) -> logits (batch, 3, 88, frames).

        They are of onset, sounding and velocity.
        """
        level = spectra.amax((1, 2, 3), keepdim=True).clamp_min(1e-3)
        stacked = torch.cat([self._keys(spectra / level, shift) for shift in self.shifts], 1)
        x = self.enter(stacked)
        for block in self.blocks:
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


def hear(listener: Listener, samples: Tensor, frame_rate: float) -> Notes:
    """Hear notes, or the strokes if it is a drum kit that plays; arguments as of `hear_notes`."""
    if listener.drums is not None:
        strokes = hear_drums(listener.drums, samples, frame_rate)
        if strokes is not None and len(strokes):
            return strokes
    return hear_notes(listener, samples, frame_rate)


@torch.inference_mode()
def hear_notes(listener: Listener, samples: Tensor, frame_rate: float) -> Notes:
    """Hear the notes in audio of any length, in pieces of bounded memory.

    Args:
        listener: trained.
        samples: (1, n), about as loud as in training (-23 LUFS).
        frame_rate: of the listener's rolls, in Hz.
    """
    hop = listener.hop
    frames = -(-samples.shape[1] // hop)
    # out of silence, so that what sounds at the very beginning is seen to begin
    samples = F.pad(samples, (MARGIN * hop, 0))
    parts = []
    for start in range(0, frames, BLOCK):
        piece = samples[:, start * hop : (start + BLOCK + 2 * MARGIN) * hop]
        heard = listener(listener.features(piece))[0, :, :, MARGIN:]
        parts.append(torch.sigmoid(heard[:, :, : min(BLOCK, frames - start)]).cpu())
    onset, sounding, velocity = torch.cat(parts, 2).numpy()
    return read_notes(onset, sounding, frame_rate, velocity, ONSET_LEVEL)
