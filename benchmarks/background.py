"""What is left of an example's sound when noise is added to it, and taken out again?

    python benchmarks/background.py runs/report/midi-to-audio

Takes the examples of an evaluation, adds white noise so many decibels below each, and asks the
judge of timbre, and the distance of log-mel spectra, how far what is heard is from the clean one.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from timbrel.audio import Audio
from timbrel.conditions.background import without_background
from timbrel.errors import TimbrelError
from timbrel.evaluation import likeness, timbre_judge
from timbrel.evaluation.run import audio_path, read_records

LEVELS = (None, 40, 30, 20, 10)  # dB by which the noise is below the example
CLEAN = "example"  # how the sound of a case that is to be followed is called


def embedded(audio: Audio) -> np.ndarray:
    """The judge's mean over an example, of length 1."""
    mean = np.atleast_2d(timbre_judge.embed(audio)).mean(0)
    return np.asarray(mean / np.linalg.norm(mean))


def distance(first: Audio, second: Audio) -> float:
    """Of log-mel spectra, in dB."""
    spectra = [likeness.log_mel_db(samples) for samples in likeness.pair(first, second)]
    return likeness.log_mel_distance(*spectra)


def main() -> None:
    """Read the examples, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of an evaluation")
    folder: Path = parser.parse_args().folder
    cases = dict.fromkeys(record.case for record in read_records(folder))
    paths = [path for case in cases if (path := audio_path(folder, case, CLEAN)).is_file()]
    if not paths:
        sys.exit(f"{folder} holds no examples; give the folder of an evaluation")
    examples = [Audio.read(path).mono() for path in paths]
    print("| noise below the example, dB | examples changed | like the clean one | dB off it |")
    print("|---|---|---|---|")
    rng = np.random.default_rng(0)
    for level in LEVELS:
        rows = []
        for clean in examples:
            samples = clean.samples[0]
            gain = 0.0 if level is None else samples.std() * 10 ** (-level / 20)
            noisy = samples + (gain * rng.standard_normal(len(samples))).astype(np.float32)
            cleaned = without_background(noisy, clean.rate)
            heard = [Audio(wave[None], clean.rate) for wave in (noisy, cleaned)]
            likes = [float(embedded(audio) @ embedded(clean)) for audio in heard]
            rows.append([cleaned is not noisy, *likes, *(distance(a, clean) for a in heard)])
        changed, noisy_like, like, noisy_off, off = np.mean(rows, 0)
        print(
            f"| {'none' if level is None else level} | {changed:.0%} | {noisy_like:.2f} -> "
            f"{like:.2f} | {noisy_off:.1f} -> {off:.1f} |"
        )


if __name__ == "__main__":
    try:
        main()
    except TimbrelError as error:
        sys.exit(f"{error}")
