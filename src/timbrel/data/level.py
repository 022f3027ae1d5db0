"""The level of items in a store: alike, but not equal, so that models take any."""

import math

import numpy as np

from timbrel.audio import Audio

LOUDNESS, LOUDNESS_SPREAD = -23.0, 2.0  # LUFS: mean, standard deviation


def levelled(
    audio: Audio, rng: np.random.Generator, spread: float = LOUDNESS_SPREAD
) -> tuple[np.ndarray, float | None]:
    """Bring mono audio to a level drawn at random, of standard deviation `spread` (dB).

    Returns:
        (samples,) float32, peak at most 0.97, and the loudness in LUFS that was reached (a
        peak limit may have kept it quieter than drawn); None when silent.
    """
    target = LOUDNESS + spread * float(rng.standard_normal())
    out = audio.with_loudness(target)
    # the loudness follows from the gain; measuring again would cost as much as the first time
    before, after = (float(np.abs(a.samples).max(initial=0)) for a in (audio, out))
    gain_db = 20 * math.log10(after / before) if before > 0 else 0.0
    loudness = audio.loudness() + gain_db
    return out.samples[0], round(loudness, 2) if math.isfinite(loudness) else None
