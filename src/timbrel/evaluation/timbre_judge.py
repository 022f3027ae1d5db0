"""The judge of timbre: a network that hears the same sound in other notes.

It is fitted apart from any generator (benchmarks/fit_timbre_judge.py): of two passages played
by one sound the embeddings are near, however different the notes, and those of other sounds that
play the same notes are far. No gradient of it reaches a model, and no model's weight reaches it.

Conventions: it hears log-mel spectra, (frames, MELS) in dB, in patches of 3 s. Embeddings are
unit vectors.
"""

from functools import lru_cache

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from timbrel.audio import Audio
from timbrel.evaluation import likeness
from timbrel.evaluation.packaged import whole

WEIGHTS = "timbre_judge.safetensors"
DIM = 64
PATCH = 128  # frames, 3 s
STRIDE = 43  # frames between patches, 1 s
RANGE_DB = 60.0  # below the loudest band of a sound, nothing counts: a codec's noise is there
CHANNELS = (32, 48, 96, 128)  # of the stages, each at half the resolution of the one before
BANDS = likeness.MELS >> len(CHANNELS)  # that are left of the mel bands


def _stage(inner: int, outer: int, kernel: int) -> nn.Sequential:
    """Half the bands and frames."""
    return nn.Sequential(
        nn.Conv2d(inner, outer, kernel, 2, kernel // 2), nn.GroupNorm(8, outer), nn.GELU()
    )


class TimbreJudge(nn.Module):
    """The network.

    Convolutions over bands and time, so that a sound that moves on the mel scale is still
    known, then a summary of the bands at every moment, its mean and its maximum over time.
    """

    def __init__(self) -> None:
        super().__init__()
        inner = (1, *CHANNELS)
        self.stages = nn.ModuleList(
            _stage(inner[k], inner[k + 1], 5 if k == 0 else 3) for k in range(len(CHANNELS))
        )
        self.again = nn.Sequential(
            nn.Conv2d(CHANNELS[2], CHANNELS[2], 3, padding=1), nn.GroupNorm(8, CHANNELS[2])
        )
        self.bands = nn.Linear(CHANNELS[-1] * BANDS, CHANNELS[-1])
        self.out = nn.Linear(2 * CHANNELS[-1], DIM)

    def forward(self, patches: Tensor) -> Tensor:
        """(batch, frames, MELS) of `levelled` -> (batch, DIM) unit vectors."""
        x = patches.transpose(1, 2)[:, None]
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number == 2:
                x = x + nn.functional.gelu(self.again(x))
        x = nn.functional.gelu(self.bands(x.flatten(1, 2).transpose(1, 2)))
        return nn.functional.normalize(self.out(torch.cat([x.mean(1), x.amax(1)], 1)).float())

    @torch.inference_mode()
    def hear(self, mel: np.ndarray) -> np.ndarray:
        """(frames, MELS) of `spectrum` -> (n, DIM), one for each patch of 3 s."""
        vectors: np.ndarray = self(torch.from_numpy(cut(levelled(mel)))).numpy()
        return vectors


def levelled(mel: np.ndarray) -> np.ndarray:
    """(frames, MELS) in dB -> the same, about -1.5 to 1.5: from the floor to the loudest band."""
    half = RANGE_DB / 2
    scaled: np.ndarray = np.maximum((mel - mel.max() + half) / (half / 1.5), -1.5)
    return scaled.astype(np.float32)


def cut(mel: np.ndarray) -> np.ndarray:
    """(frames, MELS) -> (n, PATCH, MELS), one a second; what is shorter is repeated."""
    if len(mel) < PATCH:
        mel = np.pad(mel, ((0, PATCH - len(mel)), (0, 0)), mode="wrap")
    return np.stack([mel[s : s + PATCH] for s in range(0, len(mel) - PATCH + 1, STRIDE)])


def spectrum(audio: Audio) -> np.ndarray:
    """(frames, MELS) in dB of any audio, at the loudness at which everything is heard."""
    level = audio.mono().resample(likeness.RATE).with_loudness(likeness.LOUDNESS)
    return likeness.log_mel_db(level.samples[0])


def embed(audio: Audio) -> np.ndarray:
    """Embed a sound.

    Args:
        audio: any rate and number of channels, not empty.

    Returns:
        (n, DIM) float32 unit vectors, one for each patch of 3 s.

    Raises:
        ModelError: the judge's weights are missing or damaged.
    """
    return _judge().hear(spectrum(audio))


@lru_cache(maxsize=1)
def _judge() -> TimbreJudge:
    judge = TimbreJudge()
    judge.load_state_dict({k: v.float() for k, v in load_file(whole(WEIGHTS)).items()})
    return judge.eval()
