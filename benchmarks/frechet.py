"""What keeps outputs from the ground truth, as Fréchet distances see it?

    python benchmarks/frechet.py runs/report/midi-to-audio [MORE ...]

Takes something from each ground truth into the output of its case, its loudness for instance, and
asks how far outputs are then. What shrinks the distance most is what outputs lack. Spectra are of
2048 samples every 512; a band is a third of an octave. Cases of several evaluations of one model
are taken together.
"""

import argparse
import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import ShortTimeFFT

from timbrel.audio import Audio
from timbrel.errors import TimbrelError
from timbrel.evaluation.embeddings import embedder
from timbrel.evaluation.frechet import frechet_distance
from timbrel.evaluation.run import audio_path, read_records
from timbrel.evaluation.systems import CODEC, REFERENCES, TRUTH

N_FFT, HOP = 2048, 512
LOWEST, BANDS = 100.0, 24  # Hz; all below is one band more
SECOND, TENTH = 86, 9  # frames
FLOOR = 1e-12  # power that nothing is raised from

Pair = tuple[np.ndarray, np.ndarray]  # spectra (frequencies, frames) of an output and of its truth


def third_octaves(rate: int) -> np.ndarray:
    """(bands, frequencies): 1 where a frequency is in a band."""
    frequencies = np.fft.rfftfreq(N_FFT, 1 / rate)
    edges = LOWEST * 2 ** (np.arange(BANDS) / 3)
    return np.eye(BANDS + 1)[np.searchsorted(edges, frequencies, side="right")].T


def levelled(pair: Pair, bands: np.ndarray, frames: int | None) -> np.ndarray:
    """The output with the truth's power in every band, as a mean over so many frames, or all."""

    def power(spectrum: np.ndarray) -> np.ndarray:
        found = bands @ np.abs(spectrum) ** 2
        if frames is None:
            return found.mean(1, keepdims=True)
        return uniform_filter1d(found, frames, axis=1)

    mine, right = (power(spectrum) + FLOOR for spectrum in pair)
    return pair[0] * (bands.T @ np.sqrt(right / mine))


def exchanges(rate: int) -> dict[str, Callable[[Pair], np.ndarray]]:
    """What is taken from the truth -> how."""
    bands = third_octaves(rate)
    one, each = np.ones((1, bands.shape[1])), np.eye(bands.shape[1])
    return {
        "nothing": lambda pair: pair[0],
        "loudness of each frame": lambda pair: levelled(pair, one, 1),
        "levels of bands, of all the case": lambda pair: levelled(pair, bands, None),
        "levels of bands, over a second": lambda pair: levelled(pair, bands, SECOND),
        "levels of bands, over a tenth of a second": lambda pair: levelled(pair, bands, TENTH),
        "levels of bands, of each frame": lambda pair: levelled(pair, bands, 1),
        "phases": lambda pair: np.abs(pair[0]) * np.exp(1j * np.angle(pair[1])),
        "levels of all frequencies, of each frame": lambda pair: levelled(pair, each, 1),
    }


def cases_of(folder: Path) -> list[tuple[Path, str, str]]:
    """Folder, case and the system that is judged, for every case of an evaluation."""
    records = [r for r in read_records(folder) if not r.failure]
    systems = {r.system for r in records} - set(REFERENCES)
    if len(systems) != 1:
        sys.exit(f"{folder} holds outputs of {len(systems)} systems; give an evaluation of one")
    [system] = systems
    cases = dict.fromkeys(r.case for r in records if r.system == system)
    return [(folder, case, system) for case in cases]


def main() -> None:
    """Read evaluations' sounds, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, help="of evaluations of one model")
    cases = list(itertools.chain(*map(cases_of, parser.parse_args().folders)))
    if len(systems := {system for _, _, system in cases}) != 1:
        sys.exit(f"these are evaluations of {len(systems)} systems: {', '.join(sorted(systems))}")
    embed = embedder("musicnn")
    found: dict[str, list[np.ndarray]] = {}
    for folder, case, system in cases:
        truth, codec, own = (
            Audio.read(audio_path(folder, case, name)).mono() for name in (TRUTH, CODEC, system)
        )
        length = min(truth.samples.shape[1], own.samples.shape[1])
        transform = ShortTimeFFT(np.hanning(N_FFT), HOP, truth.rate, scale_to="magnitude")
        pair = tuple(transform.stft(a.samples[0, :length].astype(np.float64)) for a in (own, truth))
        sounds = {TRUTH: truth.samples[0], CODEC: codec.samples[0]}
        for name, exchange in exchanges(truth.rate).items():
            sounds[name] = transform.istft(exchange(pair), k1=length)
        for name, samples in sounds.items():
            audio = Audio(samples[None].astype(np.float32), truth.rate)
            found.setdefault(name, []).append(embed(audio))
    right = np.concatenate(found.pop(TRUTH))
    print("| taken from the truth | Fréchet distance |\n|---|---|")
    for name, parts in found.items():
        print(f"| {name} | {frechet_distance(np.concatenate(parts), right):.1f} |")


if __name__ == "__main__":
    try:
        main()
    except TimbrelError as error:
        sys.exit(f"{error}")
