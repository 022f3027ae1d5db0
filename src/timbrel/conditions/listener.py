"""The audio door into structure: what notes sound, and when (a note posteriorgram).

A small network reads a constant-Q spectrum, harmonics stacked as channels so that a
convolution sees a note's whole series at one place (Bittner et al., 2017), and writes
the same three channels that a MIDI roll has. What it heard can be written out as MIDI,
edited, and rendered.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timbrel.notes import Notes
from timbrel.posterior import KEYS, LOWEST, read_notes
from timbrel.spectra import ConstantQ

BINS_PER_SEMITONE = 3
OCTAVES = 8
HARMONICS = (0.5, 1, 2, 3, 4, 5, 6, 7)
ONSET_LEVEL = 0.45  # least probability of an onset: best note F1 on validation renders
BLOCK, MARGIN = 1024, 32  # frames heard at once, and beside them
EARLY_SECONDS = 0.015  # its long analysis windows see onsets early: median there


@dataclass(frozen=True)
class ListenerConfig:
    """Size of the listener."""

    width: int = 16  # channels
    layers: int = 3  # convolutions at the resolution of the spectrum


class Listener(nn.Module):
    """Audio -> roll of note probabilities.

    Args:
        rate: Hz.
        hop: samples per latent frame.
        config: sizes.
    """

    def __init__(self, rate: int, hop: int, config: ListenerConfig) -> None:
        super().__init__()
        # the lowest key is the middle one of its three bins
        lowest_hz = 27.5 * 2 ** (-1 / (12 * BINS_PER_SEMITONE))
        self.cqt = ConstantQ(rate, hop, 12 * BINS_PER_SEMITONE, lowest_hz, OCTAVES)
        steps = 12 * BINS_PER_SEMITONE * np.log2(np.asarray(HARMONICS))
        self.shifts = [round(float(step)) for step in steps]
        channels = [len(HARMONICS)] + [config.width] * config.layers
        self.layers = nn.ModuleList(
            nn.Conv2d(i, o, (5, 5), padding=(2, 2)) for i, o in itertools.pairwise(channels)
        )
        self.gather = nn.Conv2d(config.width, 2 * config.width, (3, 1), stride=(3, 1))
        self.context = nn.Conv2d(
            2 * config.width, 2 * config.width, (13, 5), padding=(6, 2), groups=config.width
        )
        self.leave = nn.Conv2d(2 * config.width, 3, 1)
        # most keys are silent most of the time
        self.leave.bias = nn.Parameter(torch.full((3,), -3.0))

    def features(self, audio: Tensor) -> Tensor:
        """(batch, samples) -> constant-Q spectrum (batch, bins, frames)."""
        return self.cqt(audio)

    def forward(self, cqt: Tensor) -> Tensor:
        """(batch, bins, frames) -> logits (batch, 3, 88, frames): onset, sounding, velocity."""
        level = cqt.amax((1, 2), keepdim=True).clamp_min(1e-3)
        x = cqt / level
        stacked = torch.stack([self._shift(x, shift) for shift in self.shifts], 1)
        for layer in self.layers:
            stacked = F.gelu(layer(stacked))
        keys = F.gelu(self.gather(stacked[:, :, : BINS_PER_SEMITONE * KEYS]))
        logits: Tensor = self.leave(keys + F.gelu(self.context(keys)))
        return logits

    @staticmethod
    def _shift(x: Tensor, bins: int) -> Tensor:
        """Move the spectrum down by `bins`, zeros from outside."""
        if bins >= 0:
            return F.pad(x[:, bins:], (0, 0, 0, bins))
        return F.pad(x[:, :bins], (0, 0, -bins, 0))


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


@torch.inference_mode()
def hear_notes(listener: Listener, samples: Tensor, frame_rate: float) -> Notes:
    """Hear the notes in audio of any length, in pieces of bounded memory.

    Args:
        listener: trained.
        samples: (1, n), about as loud as in training (-23 LUFS).
        frame_rate: of the listener's rolls, in Hz.
    """
    hop = listener.cqt.stft_hop * listener.cqt.frames_per_hop
    frames = -(-samples.shape[1] // hop)
    parts = []
    for start in range(0, frames, BLOCK):
        first, stop = max(0, start - MARGIN), min(start + BLOCK, frames)
        piece = samples[:, first * hop : (start + BLOCK + MARGIN) * hop]
        logits = listener(listener.features(piece))
        parts.append(torch.sigmoid(logits[0, :, :, start - first : stop - first]).cpu())
    onset, sounding, velocity = torch.cat(parts, 2).numpy()
    heard = read_notes(onset, sounding, frame_rate, velocity, ONSET_LEVEL)
    return heard.shift(EARLY_SECONDS)
