"""Drums by ear: whether a kit plays, and which of its pieces are struck, when and how hard.

A stroke has no pitch, so a note posteriorgram has nothing to say of it. A small network reads
the spectrum in bands, frame by frame, and a little of what follows: a stroke is known by how
it rings. It is a part of the listener, so `timbrel render` needs no flag to tell a drum loop
from a melody.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timbrel.nn.causal import CausalConv1d, ConvNeXtBlock
from timbrel.notes import Notes, Track
from timbrel.spectra import Stft, band_edges, triangular_bands

# General MIDI pieces that training scores strike, those that do the same in a kit together:
# kicks, snares, closed hats, toms, open hat, cymbals.
GROUPS = ((35, 36), (38, 40), (42, 44), (45, 50), (46,), (49, 51))
PIECES = tuple(pitch for group in GROUPS for pitch in group)
N_FFT = 1024
PARTS = 2  # spectra of a latent frame
BANDS, LOWEST_HZ, HIGHEST_HZ, KNEE_HZ = 64, 30.0, 16_000.0, 200.0
FLOOR = 1e-3  # magnitude below which nothing is heard
BLOCKS = 4
LATER = 3  # frames after a stroke that are heard before it is judged
# Least log odds of a kit, mean over frames: kits held out have 3 or more, instruments -1.6 or less,
# whole pieces with drums -3.7 or less.
KIT_LEVEL = 0.5
ONSET_LEVEL = 0.85  # least probability of a stroke: best F1 on validation renders
STROKE_SECONDS = 0.1  # length of the notes that are written
BLOCK, MARGIN = 2048, 64  # frames heard at once, and before them
SILENT = math.log(1 / 300)  # of the loudest frame: nothing plays that could be a kit or not


class DrumListener(nn.Module):
    """Audio -> strokes of every piece, and whether it is a kit that is heard.

    Args:
        rate: Hz.
        hop: samples per latent frame.
        width: channels.
    """

    bank: Tensor

    def __init__(self, rate: int, hop: int, width: int) -> None:
        super().__init__()
        self.hop, self.frame_rate = hop, rate / hop
        self.stft = Stft(N_FFT, hop // PARTS)
        edges = band_edges(BANDS, LOWEST_HZ, HIGHEST_HZ, KNEE_HZ)
        self.register_buffer("bank", triangular_bands(edges, N_FFT, rate), persistent=False)
        self.enter = CausalConv1d(PARTS * BANDS, width, 3)
        self.blocks = nn.ModuleList(ConvNeXtBlock(width) for _ in range(BLOCKS))
        self.leave = nn.Conv1d(width, 3 * len(PIECES) + 1, 1)
        # most pieces are silent most of the time
        self.leave.bias = nn.Parameter(torch.full((3 * len(PIECES) + 1,), -3.0))

    def features(self, audio: Tensor) -> Tensor:
        """(batch, samples) -> log band magnitudes (batch, PARTS * BANDS, frames)."""
        audio = F.pad(audio, (0, -audio.shape[1] % self.hop))
        spectra = torch.log(self.bank @ self.stft(audio).abs() + FLOOR)
        return spectra.unflatten(2, (-1, PARTS)).permute(0, 3, 1, 2).flatten(1, 2)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Hear strokes.

        Args:
            features: (batch, PARTS * BANDS, frames).

        Returns:
            Logits of stroke, position and velocity of every piece, as in a roll:
            (batch, 3, len(PIECES), frames); and of a kit in every frame, (batch, frames).
        """
        x = self.enter(F.pad(features, (0, LATER), value=math.log(FLOOR)))
        for block in self.blocks:
            x = block(x)
        x = self.leave(F.gelu(x))[:, :, LATER:]
        return x[:, :-1].unflatten(1, (3, len(PIECES))), x[:, -1]


def drum_loss(strokes: Tensor, kit: Tensor, roll: Tensor, drums: Tensor) -> Tensor:
    """Cross-entropy of strokes and kit, squared errors of position and velocity where one is.

    Args:
        strokes: (batch, 3, len(PIECES), frames), logits.
        kit: (batch, frames), logits.
        roll: (batch, 3, 128, frames), the written notes.
        drums: (batch,) bool, whether these are drums: strokes are learned of these alone.
    """
    target = roll[:, :, list(PIECES)]
    struck = (target[:, 0] > 0).float()
    # a frame too early or too late is no error worth a full penalty
    soft = torch.maximum(struck, 0.3 * F.max_pool1d(struck.flatten(0, 1), 3, 1, 1).view_as(struck))
    wrong = F.binary_cross_entropy_with_logits(
        strokes[:, 0], soft, weight=1 + 9 * soft, reduction="none"
    )
    mine = drums.float()
    loss = (wrong.mean((1, 2)) * mine).sum() / mine.sum().clamp_min(1)
    error = (torch.sigmoid(strokes[:, 1:]) - target[:, ::2]).square().sum(1)
    known = struck * mine[:, None, None]
    loss = loss + 0.5 * (error * known).sum() / known.sum().clamp_min(1)
    return loss + 0.2 * F.binary_cross_entropy_with_logits(kit.mean(1), mine, reduction="mean")


@torch.inference_mode()
def hear_drums(listener: DrumListener, samples: Tensor) -> Notes | None:
    """Hear the strokes in audio of any length, in pieces of bounded memory.

    Args:
        listener: trained.
        samples: (1, n) at the listener's rate, about as loud as in training (-23 LUFS).

    Returns:
        One drum track; None if it is no kit that plays.
    """
    hop = listener.hop
    frames = -(-samples.shape[1] // hop)
    # out of silence, so that what sounds at the very beginning is seen to begin
    samples = F.pad(samples, (MARGIN * hop, LATER * hop))
    parts, kits, levels = [], [], []
    for start in range(0, frames, BLOCK):
        piece = samples[:, start * hop : (start + BLOCK + MARGIN + LATER) * hop]
        features = listener.features(piece)
        strokes, is_kit = listener(features)
        mine = slice(MARGIN, MARGIN + min(BLOCK, frames - start))
        parts.append(torch.sigmoid(strokes[0, :, :, mine]).cpu())
        kits.append(is_kit[0, mine].cpu())
        levels.append(features[0, :, mine].amax(0).cpu())
    kit, level = torch.cat(kits), torch.cat(levels)
    if kit[level > level.max() + SILENT].mean() <= KIT_LEVEL:
        return None
    onset, position, velocity = torch.cat(parts, 2).numpy()
    return read_strokes(onset, position, velocity, listener.frame_rate)


def read_strokes(
    onset: np.ndarray, position: np.ndarray, velocity: np.ndarray, frame_rate: float
) -> Notes:
    """Find strokes: local peaks of the probability that any piece of a group is struck.

    Pieces of a group do the same in a kit, so the likelier of them is meant.

    Args:
        onset: (len(PIECES), frames) probabilities.
        position: likewise, 1 minus the position of the stroke in its frame.
        velocity: likewise, in [0, 1].
        frame_rate: Hz.
    """
    rows, first = [], 0
    for group in GROUPS:
        part = slice(first, first + len(group))
        first += len(group)
        likely = onset[part].sum(0)
        before, after = np.pad(likely, (1, 0))[:-1], np.pad(likely, (0, 1))[1:]
        for frame in np.nonzero((likely >= ONSET_LEVEL) & (likely >= before) & (likely > after))[0]:
            piece = part.start + int(np.argmax(onset[part, frame]))
            at = (frame + 1 - float(position[piece, frame])) / frame_rate
            loud = int(np.clip(round(127 * float(velocity[piece, frame])), 1, 127))
            rows.append((at, at + STROKE_SECONDS, PIECES[piece], loud))
    return Notes.from_rows(sorted(rows), tracks=(Track("drums", 0, True),))
