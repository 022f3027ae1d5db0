"""How long does rendering take while other programs keep cores busy, by how long threads spin?

    python benchmarks/busy.py --threads 2 --spins 300000 --spins 10000

Renders `examples/melody.mid` in fresh processes, with none and with one other process that computes
all the time; medians of three, in turn. Torch's OpenMP (libgomp) spins 300000 times by itself.
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"
TURNS = 3
RENDER = """
import sys, time
import timbrel
player = timbrel.load()
begun = time.monotonic()
player.render(sys.argv[1], timbre=sys.argv[2])
print(time.monotonic() - begun)
"""


def seconds(spins: int, threads: int) -> float:
    """Of one rendering, the start of Python and the loading of the model not counted."""
    settings = {"OMP_NUM_THREADS": str(threads), "GOMP_SPINCOUNT": str(spins)}
    done = subprocess.run(
        [sys.executable, "-c", RENDER, EXAMPLES / "melody.mid", EXAMPLES / "clarinet.flac"],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--spins", type=int, action="append", required=True)
    options = parser.parse_args()
    print("| spins | alone | beside a busy process |\n|---|---|---|")
    found: dict[tuple[int, int], list[float]] = {}
    for others in (0, 1):
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(others)]
        try:
            for _ in range(TURNS):
                for spins in options.spins:
                    found.setdefault((spins, others), []).append(seconds(spins, options.threads))
        finally:
            for process in busy:
                process.kill()
    for spins in options.spins:
        alone, beside = (statistics.median(found[spins, others]) for others in (0, 1))
        print(f"| {spins} | {alone:.1f} s | {beside:.1f} s |")


if __name__ == "__main__":
    main()
