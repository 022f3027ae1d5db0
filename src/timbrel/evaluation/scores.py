"""All numbers of one output.

A score that cannot be had (no ground truth, no source) is NaN; `WHY` has the reasons.
"""

from dataclasses import dataclass, fields

import numpy as np

from timbrel.audio import Audio
from timbrel.evaluation import likeness
from timbrel.evaluation.beats import LEAST_SECONDS, beat_f1, beats_any_level
from timbrel.evaluation.cases import Case
from timbrel.evaluation.drums import drum_onset_f1, hits
from timbrel.evaluation.hearing import Hearing, Memory
from timbrel.evaluation.notes_metrics import note_scores, velocity_f1
from timbrel.evaluation.packaged import check_judges
from timbrel.evaluation.signal import facts
from timbrel.evaluation.timbre_embedding import Heard, similarity
from timbrel.evaluation.velocity import velocity_correlation
from timbrel.notes import Notes

NAN = float("nan")
DRIFT_SECONDS = 20.0  # a shorter piece has no time to drift
SILENCE = "silence has none"
NO_SOURCE = "the case has no source, or all is silent"
NO_TRUTH = "the case has no ground truth, or all is silent"
NO_FAULTS = "the notes are given without faults"
SHORT_PIECE = f"the piece, or what is heard of it, is shorter than {DRIFT_SECONDS:g} s"
NO_BEATS = f"no beats are known, or the piece is shorter than {LEAST_SECONDS:g} s"
NO_DRUMS = f"nobody plays drums, or the piece is shorter than {LEAST_SECONDS:g} s"
WHY = {
    "given_f1": NO_FAULTS,
    "velocity_correlation": "fewer than four notes, or all equally strong",
    "beat_f1": NO_BEATS,
    "beats_any_level": NO_BEATS,
    "drum_onset_f1": NO_DRUMS,
    "note_drift": SHORT_PIECE,
    "timbre_drift": SHORT_PIECE,
    **dict.fromkeys(("loudness", "like_example", "musicnn_example"), SILENCE),
    **dict.fromkeys(("like_source", "nearer", "musicnn_source", "musicnn_nearer"), NO_SOURCE),
    **dict.fromkeys(("like_truth", "chroma", "cqt", "onset_correlation"), NO_TRUTH),
    "log_mel_distance": NO_TRUTH,
    "level_distance": "the case has no ground truth, or lasts less than two seconds",
    "structure_apart": "it is of rows that hear notes in the case's source",
}
ALL_FAILED = "there is no output"
NEARER = ("nearer", "musicnn_nearer")
LIKENESSES = (
    *("like_example", "like_source", "like_truth", "musicnn_example", "musicnn_source"),
    *NEARER,
    "timbre_drift",
)
# An output that does not exist has none of its notes, beats and hits, and is like nothing.
LOST = frozenset(
    {
        "note_f1",
        "note_precision",
        "note_recall",
        "pitch_class_f1",
        "onset_f1",
        "offset_f1",
        "velocity_f1",
        "given_f1",
        "beat_f1",
        "beats_any_level",
        "drum_onset_f1",
        *NEARER,
    }
)


@dataclass(frozen=True)
class Scores:
    """Of one output; shares in [0, 1], similarities and correlations in [-1, 1].

    Notes heard by the transcriber, against those intended: `note_f1` and the others of
    `notes_metrics`; `given_f1` against the notes as given, faults included;
    `velocity_correlation` of `velocity`. Pieces: the metrics of `beats`, and
    `drum_onset_f1`. Drift: last third of a piece less its first third, in note F1 and in
    likeness to the example. Timbre: likeness to example, source and truth by the
    judge ("like") and by musicnn ("musicnn"); `nearer` is 1 if the output is more
    like the example than the source. Silence is like nothing: it has no likeness, and is not
    nearer. Against the ground truth: the metrics of `likeness`.
    The signal itself: `signal`. Of a model that hears notes in the source: `structure_apart`, see
    `structure`; the output does not show it.
    """

    note_f1: float
    note_precision: float
    note_recall: float
    pitch_class_f1: float
    onset_f1: float
    offset_f1: float
    velocity_f1: float
    velocity_correlation: float
    octave_errors: float
    given_f1: float
    beat_f1: float
    beats_any_level: float
    drum_onset_f1: float
    note_drift: float
    timbre_drift: float
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
    level_distance: float
    loudness: float
    bandwidth: float
    silent_share: float
    clipped_share: float
    structure_apart: float = NAN


SCORE_NAMES = tuple(f.name for f in fields(Scores))


@dataclass(frozen=True)
class Ears:
    """What an output and its case sound like; shared by all systems of a case.

    Attributes:
        memory: of all sounds.
        name: of the example in it.
    """

    memory: Memory
    name: str
    example: Heard
    source: Heard | None
    truth: Heard | None


def listen_to(case: Case, memory: Memory) -> Ears:
    """Listen to a case's sounds.

    Raises:
        ModelError: a judge's weights are missing or damaged.
    """
    check_judges()  # met while scoring, it would be recorded as a fault of every output

    def heard(audio: Audio | None) -> Heard | None:
        return None if audio is None else memory.listen(audio)[1].timbre

    name, example = memory.listen(case.example)
    return Ears(memory, name, example.timbre, heard(case.source), heard(case.truth))


def score(audio: Audio, case: Case, ears: Ears) -> tuple[Scores, str]:
    """Judge an output.

    Args:
        audio: any rate and channels.
        case: what was asked.
        ears: from `listen_to(case, memory)`.

    Returns:
        Scores, and the name under which the memory knows what was heard.
    """
    mono = audio.mono()
    name, heard = ears.memory.listen(audio)
    signal = facts(mono.samples[0], mono.rate)
    values = {
        **_notes(mono, heard, case),
        **_piece(heard, case, ears, audio.seconds),
        **_timbre(heard.timbre, ears, silent=not np.isfinite(signal.loudness)),
        **_paired(mono, case.truth),
        "loudness": signal.loudness,
        "bandwidth": signal.bandwidth,
        "silent_share": signal.silent_share,
        "clipped_share": signal.clipped_share,
    }
    return Scores(**values | dict.fromkeys(lacking(case), NAN)), name


def failed(case: Case) -> dict[str, float]:
    """Scores of an output that does not exist: 0 where the case has something to be found."""
    lost = LOST - lacking(case)
    return {name: 0.0 if name in lost else NAN for name in SCORE_NAMES}


def lacking(case: Case) -> set[str]:
    """Scores that no output can have: the case lacks what they need.

    An output that is shorter than its case does not lose them: what it leaves out, it misses.
    """
    short = case.seconds < LEAST_SECONDS
    lacks = {
        NO_FAULTS: case.given is case.notes,
        NO_SOURCE: case.source is None,
        NO_TRUTH: case.truth is None,
        NO_BEATS: short or case.beats is None,
        NO_DRUMS: short or len(case.notes.drums()) == 0,
        SHORT_PIECE: case.seconds < DRIFT_SECONDS,
    }
    return {name for name, why in WHY.items() if lacks.get(why, False)}


def pitched(notes: Notes) -> Notes:
    """The pitched notes, or all if there are only drums."""
    return notes.pitched() if len(notes.pitched()) else notes


def _notes(mono: Audio, heard: Hearing, case: Case) -> dict[str, float]:
    intended = pitched(case.notes)
    found = given = note_scores(intended, heard.notes)
    if case.given is not case.notes:
        given = note_scores(pitched(case.given), heard.notes)
    spectrum = likeness.constant_q(mono.resample(likeness.RATE).samples[0])
    return {
        "note_f1": found.f1,
        "note_precision": found.precision,
        "note_recall": found.recall,
        "pitch_class_f1": found.pitch_class_f1,
        "onset_f1": found.onset_f1,
        "offset_f1": found.offset_f1,
        "velocity_f1": velocity_f1(intended, heard.notes),
        "velocity_correlation": velocity_correlation(intended, spectrum),
        "octave_errors": found.octave_error_rate,
        "given_f1": given.f1,
    }


def _piece(heard: Hearing, case: Case, ears: Ears, seconds: float) -> dict[str, float]:
    """What only a whole piece has."""
    long = seconds >= DRIFT_SECONDS  # thirds of a part are not those of the piece
    values = {
        "beat_f1": NAN,
        "beats_any_level": NAN,
        "drum_onset_f1": drum_onset_f1(hits(case.notes), heard.hits),
        "note_drift": note_drift(heard.notes, case.notes, case.seconds),
        "timbre_drift": timbre_drift(heard.timbre, ears.example) if long else NAN,
    }
    if case.beats is not None:
        values["beat_f1"] = beat_f1(case.beats, heard.beats)
        values["beats_any_level"] = beats_any_level(case.beats, heard.beats)
    return values


def note_drift(heard: Notes, notes: Notes, seconds: float) -> float:
    """Note F1 of the last third of a piece less that of its first; `seconds` are the piece's."""
    third = seconds / 3
    before, after = (
        note_scores(_begun(pitched(notes), a, b), _begun(heard, a, b)).f1
        for a, b in ((0, third), (2 * third, seconds))
    )
    return after - before


def timbre_drift(heard: Heard, example: Heard) -> float:
    """Likeness to the example of the last third of an output less that of its first."""
    parts = np.array_split(heard.judged, 3)
    first, last = (similarity(part.mean(0), example.judge) for part in (parts[0], parts[-1]))
    return last - first


def _begun(notes: Notes, start: float, end: float) -> Notes:
    """Those that begin in [start, end)."""
    return notes.where((notes.onset >= start) & (notes.onset < end))


def _timbre(heard: Heard, ears: Ears, silent: bool) -> dict[str, float]:
    """Likenesses. Judges find silence like something, so they are not asked about it."""
    if silent:
        none = dict.fromkeys(LIKENESSES, NAN)
        return none | ({} if ears.source is None else dict.fromkeys(NEARER, 0.0))
    own, raw = heard.judge, heard.musicnn
    example = similarity(own, ears.example.judge)
    raw_example = similarity(raw, ears.example.musicnn)
    source = raw_source = truth = nearer = raw_nearer = NAN
    if ears.source is not None:
        source = similarity(own, ears.source.judge)
        raw_source = similarity(raw, ears.source.musicnn)
        nearer, raw_nearer = float(example > source), float(raw_example > raw_source)
    if ears.truth is not None:
        truth = similarity(own, ears.truth.judge)
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
    names = ("chroma", "cqt", "onset_correlation", "log_mel_distance", "level_distance")
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
    levels = likeness.levels_db(first), likeness.levels_db(second)
    finite = (*(float(np.nan_to_num(v)) for v in values), likeness.level_distance(*levels))
    return dict(zip(names, finite, strict=True))
