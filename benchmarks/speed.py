"""How fast, on this machine: prints the table of docs/results.md.

    python benchmarks/speed.py [--model DIR]

Times are medians of three runs; the machine's load shows in them.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

import timbrel
from timbrel.audio import Audio
from timbrel.notes import Notes

RATE = 44_100


def median_seconds(work: Callable[[], object], runs: int = 3) -> float:
    """Median wall time."""
    took = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def piece(seconds: float) -> Notes:
    """Four voices, two notes a second each."""
    rng = np.random.default_rng(0)
    rows = [
        (t + 0.03 * v, t + 0.45, int(48 + 7 * v + rng.integers(7)), 80)
        for t in np.arange(0, seconds - 1, 0.5)
        for v in range(4)
    ]
    return Notes.from_rows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="default")
    options = parser.parse_args()
    time_axis = np.arange(6 * RATE) / RATE
    example = Audio((0.2 * np.sin(2 * np.pi * 330 * time_axis))[None].astype(np.float32), RATE)
    began = time.perf_counter()
    player = timbrel.load(options.model)
    loading = time.perf_counter() - began
    codec = player.codec
    noise = torch.randn(1, 1, 60 * RATE) * 0.05
    print(
        f"{torch.get_num_threads()} threads\n\n| what | seconds | times real time |\n|---|---|---|"
    )
    command = [sys.executable, "-m", "timbrel.cli", "--help"]
    helping = median_seconds(lambda: subprocess.run(command, capture_output=True, check=True))
    print(f"| `timbrel --help` | {helping:.2f} | |")
    print(f"| load the model (torch imported) | {loading:.2f} | |")
    rendering = median_seconds(lambda: player.render(piece(60), example, length=60))
    print(f"| render 60 s of MIDI, four voices | {rendering:.1f} | {60 / rendering:.0f} |")
    short = median_seconds(lambda: player.render(piece(12), example, length=12))
    print(f"| render 12 s, the example heard first | {short:.2f} | {12 / short:.0f} |")
    with torch.inference_mode():
        latent = codec.encode(noise)
        encoding = median_seconds(lambda: codec.encode(noise))
        decoding = median_seconds(lambda: codec.decode(latent))
    print(f"| encode 60 s | {encoding:.2f} | {60 / encoding:.0f} |")
    print(f"| decode 60 s | {decoding:.2f} | {60 / decoding:.0f} |")
    if player.listener is not None:
        music = player.render(piece(60), example, length=60)  # noise would be taken for drums
        hearing = median_seconds(lambda: player.listen(music))
        print(f"| hear the notes of 60 s of audio | {hearing:.1f} | {60 / hearing:.0f} |")
    began = time.perf_counter()
    player.render(piece(600), example, length=600)
    long = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"| render 10 minutes | {long:.0f} | {600 / long:.0f} |")
    print(f"\nPeak memory of this process, the 10 minutes included: {peak:.2f} GiB")


if __name__ == "__main__":
    main()
