"""How hard notes were struck, by how strong their partials are when they begin.

The transcriber gives no velocity. Most instruments' amplitude grows with the square of the
MIDI velocity, so velocity goes with the fourth root of energy; the scale that is left over
does not matter, `notes_metrics.velocity_f1` fits it.
"""

from dataclasses import replace

import numpy as np

from timbrel.evaluation.likeness import HOP, RATE
from timbrel.notes import Notes

LOWEST, BINS = 21, 3  # pitch of the first bin of `likeness.constant_q`, and bins a semitone
PARTIALS = (0, 12, 19)  # semitones above the note
FRAMES = 5  # from the onset on, 0.12 s
BINS_ABOVE = BINS * max(PARTIALS) + 2  # of silence above the spectrum
LEAST_NOTES = 4  # for a correlation


def with_velocities(notes: Notes, spectrum: np.ndarray) -> Notes:
    """The same notes, with velocities from 1 to 127 for the strongest.

    Args:
        notes: as transcribed.
        spectrum: (288, frames) of `likeness.constant_q`.
    """
    energy = onset_energy(notes, spectrum)
    scale = (energy / max(float(energy.max(initial=0)), 1e-12)) ** 0.25
    return replace(notes, velocity=np.clip(np.round(127 * scale), 1, 127).astype(np.int16))


def onset_energy(notes: Notes, spectrum: np.ndarray) -> np.ndarray:
    """(n,) energy of each note's lowest partials, where it begins."""
    bins, frames = spectrum.shape
    if frames == 0:
        return np.zeros(len(notes))
    starts = np.clip((notes.onset * RATE / HOP).round().astype(int), 0, frames - 1)
    when = np.minimum(starts[:, None] + np.arange(FRAMES), frames - 1)
    power = np.pad(spectrum**2, ((0, BINS_ABOVE), (0, 0)))
    where = np.clip(BINS * (notes.pitch.astype(int) - LOWEST), 1, bins)
    energy = np.zeros(len(notes))
    for partial in PARTIALS:
        for near in (-1, 0, 1):
            energy += power[(where + BINS * partial + near)[:, None], when].max(1)
    return energy


def velocity_correlation(notes: Notes, spectrum: np.ndarray) -> float:
    """Rank correlation of written velocities with what is heard where the notes begin.

    NaN with fewer than `LEAST_NOTES` notes or if all velocities are the same.
    """
    from scipy.stats import spearmanr

    energy = onset_energy(notes, spectrum)
    if len(notes) < LEAST_NOTES or notes.velocity.std() == 0:
        return float("nan")
    return float(spearmanr(notes.velocity, energy).statistic) if energy.std() > 0 else 0.0
