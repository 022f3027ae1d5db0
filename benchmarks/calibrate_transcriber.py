"""By how much does the transcriber hear onsets late? Checks ONSET_LATENCY on ground truths.

    python benchmarks/calibrate_transcriber.py [--cases 20]

Prints the median and the middle 90 % of (heard - written) onsets over rendered ground truths,
after the correction in timbrel.evaluation.transcriber: a median near 0 means it is right.
"""

import argparse

import numpy as np
from mir_eval.transcription import match_notes

from timbrel.data.render.soundfont import SoundFont, find_fonts
from timbrel.evaluation.cases import draw_cases
from timbrel.evaluation.protocol import read_protocol
from timbrel.evaluation.transcriber import ONSET_LATENCY, transcribe
from timbrel.notes import Notes

WIDE = 0.12  # seconds: a note may be this far off and still be the same


def offsets(written: Notes, heard: Notes) -> list[float]:
    """Heard minus written onsets of the notes that both have."""
    if len(heard) == 0:
        return []
    times, hz = (
        [np.stack([n.onset, n.offset], 1) for n in (written, heard)],
        [440 * 2 ** ((n.pitch - 69.0) / 12) for n in (written, heard)],
    )
    pairs = match_notes(times[0], hz[0], times[1], hz[1], onset_tolerance=WIDE, offset_ratio=None)
    return [float(heard.onset[b] - written.onset[a]) for a, b in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20, help="per level")
    options = parser.parse_args()
    fonts = [SoundFont(path) for path in find_fonts()]
    found: list[float] = []
    for make in draw_cases(read_protocol("midi-to-audio"), fonts, options.cases):
        case = make()
        assert case.truth is not None
        found += offsets(case.notes, transcribe(case.truth.samples[0], case.truth.rate))
    low, middle, high = 1000 * np.percentile(found, [5, 50, 95])
    print(
        f"{len(found)} notes: heard {middle:+.1f} ms late (5 to 95 %: {low:+.1f} to {high:+.1f}) "
        f"after the correction of {1000 * ONSET_LATENCY:.0f} ms"
    )


if __name__ == "__main__":
    main()
