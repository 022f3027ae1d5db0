"""Note metrics, on top of mir_eval.

Conventions: a reference and an estimate are `Notes`; an onset may be 50 ms off, a pitch
50 cents. Rates are in [0, 1]; of nothing they are 0, unless both sides are empty (1).

Metrics:
    f1, precision, recall: onset and pitch.
    pitch_class_f1: the same with octaves folded; above f1 when the register is wrong.
    onset_f1: onsets alone.
    offset_f1: onset, pitch, and an offset within 20 % of the duration (at least 50 ms).
    octave_error_rate: share of reference notes found only in another octave: what matches with
        octaves folded among the notes of both sides that no exact match took.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from timbrel.notes import Notes

ONSET_SECONDS = 0.05
PITCH_CENTS = 50.0


@dataclass(frozen=True)
class NoteScores:
    """See the module's list."""

    precision: float
    recall: float
    f1: float
    pitch_class_f1: float
    onset_f1: float
    offset_f1: float
    octave_error_rate: float


def note_scores(reference: Notes, estimate: Notes) -> NoteScores:
    """All note metrics of an estimate against a reference."""
    if len(reference) == 0 and len(estimate) == 0:
        return NoteScores(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0)
    exact = _matched(reference, estimate, reference.pitch, estimate.pitch)
    folded = _matched(reference, estimate, reference.pitch % 12, estimate.pitch % 12)
    alone = _matched(reference, estimate, 0 * reference.pitch, 0 * estimate.pitch)
    ended = _matched(reference, estimate, reference.pitch, estimate.pitch, offsets=True)
    elsewhere = _in_another_octave(reference, estimate, exact)
    precision, recall = _share(len(exact), len(estimate)), _share(len(exact), len(reference))
    return NoteScores(
        precision=precision,
        recall=recall,
        f1=_f1(precision, recall),
        pitch_class_f1=_f1(_share(len(folded), len(estimate)), _share(len(folded), len(reference))),
        onset_f1=_f1(_share(len(alone), len(estimate)), _share(len(alone), len(reference))),
        offset_f1=_f1(_share(len(ended), len(estimate)), _share(len(ended), len(reference))),
        octave_error_rate=_share(elsewhere, len(reference)),
    )


def velocity_f1(reference: Notes, estimate: Notes) -> float:
    """F1 of onset, pitch and velocity (within 10 % of the range, after the best linear fit).

    Only for estimates that carry velocities: most transcribers give none.
    """
    if len(reference) == 0 or len(estimate) == 0:
        return float(len(reference) == len(estimate))
    from mir_eval.transcription_velocity import precision_recall_f1_overlap

    first, second = (
        (times, 440 * 2 ** ((notes.pitch - 69.0) / 12), notes.velocity.astype(float))
        for times, notes in zip(_times(reference, estimate), (reference, estimate), strict=True)
    )
    return float(precision_recall_f1_overlap(*first, *second, offset_ratio=None)[2])


def _matched(
    reference: Notes,
    estimate: Notes,
    true_pitch: np.ndarray,
    found_pitch: np.ndarray,
    offsets: bool = False,
) -> list[tuple[int, int]]:
    """A largest one-to-one matching: pairs of a reference and an estimated note."""
    if len(reference) == 0 or len(estimate) == 0:
        return []
    from mir_eval.transcription import match_notes

    true_times, found_times = _times(reference, estimate)
    pairs: list[tuple[int, int]] = match_notes(
        true_times,
        440 * 2 ** ((true_pitch - 69.0) / 12),
        found_times,
        440 * 2 ** ((found_pitch - 69.0) / 12),
        onset_tolerance=ONSET_SECONDS,
        pitch_tolerance=PITCH_CENTS,
        offset_ratio=0.2 if offsets else None,
    )
    return pairs


def _in_another_octave(reference: Notes, estimate: Notes, exact: Sequence[tuple[int, int]]) -> int:
    """How many reference notes match with octaves folded, of those that no exact match took."""
    missed, unasked = (
        notes.where(~np.isin(np.arange(len(notes)), [pair[side] for pair in exact]))
        for side, notes in enumerate((reference, estimate))
    )
    return len(_matched(missed, unasked, missed.pitch % 12, unasked.pitch % 12))


def _times(reference: Notes, estimate: Notes) -> tuple[np.ndarray, np.ndarray]:
    """(n, 2) onset and offset of each side, none before 0.

    mir_eval refuses times before 0; where 0 lies does not matter.
    """
    begin = min(0.0, float(reference.onset.min()), float(estimate.onset.min()))
    true, found = (np.stack([n.onset, n.offset], 1) - begin for n in (reference, estimate))
    return true, found


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
