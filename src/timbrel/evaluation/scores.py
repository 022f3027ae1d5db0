"""All numbers of one output.

A score that cannot be had (no ground truth, no source) is NaN, with the reason in `WHY`.
"""

from dataclasses import dataclass, fields

import numpy as np

from timbrel.audio import Audio
from timbrel.evaluation import likeness
from timbrel.evaluation.cases import Case
from timbrel.evaluation.notes_metrics import note_scores
from timbrel.evaluation.signal import facts
from timbrel.evaluation.timbre_embedding import Heard, hear, similarity
from timbrel.evaluation.transcriber import transcribe
from timbrel.notes import Notes

NAN = float("nan")
WHY = {
    "source": "the case has no source",
    "truth": "the case has no ground truth",
    "given": "the notes are given without faults",
}


@dataclass(frozen=True)
class Scores:
    """Of one output; shares in [0, 1], similarities in [-1, 1].

    Notes heard by the transcriber, against those intended: `note_f1` and the others of
    `notes_metrics`; `given_f1` against the notes as given, faults included. Timbre:
    likeness to example, source and truth by the discriminant ("like") and by musicnn
    ("musicnn"); `nearer` is 1 if the output is more like the example than the source.
    Against the ground truth: the metrics of `likeness`. The signal itself: `signal`.
    """

    note_f1: float
    note_precision: float
    note_recall: float
    pitch_class_f1: float
    onset_f1: float
    offset_f1: float
    octave_errors: float
    given_f1: float
    like_example: float
    like_source: float
    like_truth: float
    nearer: float
    musicnn_example: float
    musicnn_source: float
    musicnn_nearer: float
    chroma: float
    cqt: float
    onset_correlation: float
    log_mel_distance: float
    loudness: float
    bandwidth: float
    silent_share: float
    clipped_share: float


SCORE_NAMES = tuple(f.name for f in fields(Scores))


@dataclass(frozen=True)
class Ears:
    """What an output and its case sound like; shared by all systems of a case."""

    example: Heard
    source: Heard | None
    truth: Heard | None


def listen_to(case: Case) -> Ears:
    """Embed a case's sounds."""

    def heard(audio: Audio | None) -> Heard | None:
        return None if audio is None else hear(audio.mono().samples[0], audio.rate)

    example = heard(case.example)
    assert example is not None
    return Ears(example, heard(case.source), heard(case.truth))


def score(audio: Audio, case: Case, ears: Ears) -> tuple[Scores, Heard, Notes]:
    """Judge an output.

    Args:
        audio: any rate and channels.
        case: what was asked.
        ears: from `listen_to(case)`.

    Returns:
        Scores, what musicnn heard (for distances between sets), and the notes heard.
    """
    mono = audio.mono()
    notes = transcribe(mono.samples[0], mono.rate)
    heard = hear(mono.samples[0], mono.rate)
    found = note_scores(case.notes, notes)
    given = NAN if case.given is case.notes else note_scores(case.given, notes).f1
    signal = facts(mono.samples[0], mono.rate)
    scores = Scores(
        note_f1=found.f1,
        note_precision=found.precision,
        note_recall=found.recall,
        pitch_class_f1=found.pitch_class_f1,
        onset_f1=found.onset_f1,
        offset_f1=found.offset_f1,
        octave_errors=found.octave_error_rate,
        given_f1=given,
        **_timbre(heard, ears),
        **_paired(mono, case.truth),
        loudness=signal.loudness,
        bandwidth=signal.bandwidth,
        silent_share=signal.silent_share,
        clipped_share=signal.clipped_share,
    )
    return scores, heard, notes


def _timbre(heard: Heard, ears: Ears) -> dict[str, float]:
    own, raw = heard.discriminant, heard.musicnn
    example = similarity(own, ears.example.discriminant)
    raw_example = similarity(raw, ears.example.musicnn)
    source = raw_source = truth = nearer = raw_nearer = NAN
    if ears.source is not None:
        source = similarity(own, ears.source.discriminant)
        raw_source = similarity(raw, ears.source.musicnn)
        nearer, raw_nearer = float(example > source), float(raw_example > raw_source)
    if ears.truth is not None:
        truth = similarity(own, ears.truth.discriminant)
    return {
        "like_example": example,
        "like_source": source,
        "like_truth": truth,
        "nearer": nearer,
        "musicnn_example": raw_example,
        "musicnn_source": raw_source,
        "musicnn_nearer": raw_nearer,
    }


def _paired(audio: Audio, truth: Audio | None) -> dict[str, float]:
    names = ("chroma", "cqt", "onset_correlation", "log_mel_distance")
    if truth is None:
        return dict.fromkeys(names, NAN)
    first, second = likeness.pair(audio, truth)
    spectra = likeness.constant_q(first), likeness.constant_q(second)
    mels = likeness.log_mel_db(first), likeness.log_mel_db(second)
    strengths = likeness.onset_strength(mels[0]), likeness.onset_strength(mels[1])
    values = (
        likeness.chroma_similarity(*spectra),
        likeness.cqt_similarity(*spectra),
        likeness.onset_correlation(*strengths),
        likeness.log_mel_distance(*mels),
    )
    return dict(zip(names, (float(np.nan_to_num(v)) for v in values), strict=True))
