"""What becomes of noise in a codec: is it as loud, and does it still sound like noise?

    python benchmarks/noise.py [CODEC ...]

White noise, noise in bands of an octave, breath (a tone with noise below it) and a hiss that
dies away, 4 s of each, are coded and decoded. `level` is how much louder the copy is, in dB;
`statistics` how far moments of its bands are from the original's, in nepers (`StatisticsLoss`:
levels, how they spread and change, how peaked the spectrum is). The first row of each sound is
other noise made in the same way: no copy can be expected to come nearer.
"""

import argparse
import sys

import numpy as np
import torch
from torch import Tensor

from timbrel.codec.codec import Codec
from timbrel.codec.losses import StatisticsLoss
from timbrel.errors import TimbrelError
from timbrel.evaluation.tables import number
from timbrel.model import folder_of
from timbrel.serialize import load_codec

RATE, SECONDS = 44_100, 4.0


def sounds(seed: int) -> dict[str, np.ndarray]:
    """Name -> (samples,) float32."""
    rng = np.random.default_rng(seed)
    samples = int(SECONDS * RATE)
    white = 0.1 * rng.standard_normal(samples)
    spectrum, hz = np.fft.rfft(white), np.fft.rfftfreq(samples, 1 / RATE)
    time = np.arange(samples) / RATE
    bands = {
        f"noise, {low} to {2 * low} Hz": np.fft.irfft(
            np.where((hz >= low) & (hz < 2 * low), spectrum, 0), samples
        )
        for low in (500, 2_000, 8_000)
    }
    tone = sum(np.sin(2 * np.pi * 330 * k * time) / k**2 for k in range(1, 12))
    found = {
        "white noise": white,
        **bands,
        "breath": 0.2 * tone + 0.1 * white,
        "hiss that dies away": white * np.exp(-3 * (time % 1.0)),
    }
    return {name: sound.astype(np.float32) for name, sound in found.items()}


def row(name: str, copy: Tensor, original: Tensor, statistics: StatisticsLoss) -> list[str]:
    """One row of the table."""
    louder = 20 * torch.log10(copy.norm() / original.norm())
    apart = statistics(copy, original)
    return [name, number(float(louder), 1), number(float(apart), 3)]


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("codecs", nargs="*", default=["default"])
    codecs: dict[str, Codec] = {
        name: load_codec(folder_of(name)) for name in parser.parse_args().codecs
    }
    statistics = StatisticsLoss(RATE)
    others = sounds(1)
    print("| sound | copied by | level | statistics |\n|---|---|---|---|")
    for name, sound in sounds(0).items():
        original = torch.from_numpy(sound)[None]
        copies = {"other noise": torch.from_numpy(others[name])[None]}
        for source, codec in codecs.items():
            copies[source] = codec.reconstruct(original[:, None])[:, 0]
        for source, copy in copies.items():
            print(f"| {name} | " + " | ".join(row(source, copy, original, statistics)) + " |")


if __name__ == "__main__":
    try:
        main()
    except TimbrelError as error:
        sys.exit(f"error: {error}")
