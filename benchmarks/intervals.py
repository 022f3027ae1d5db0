"""How often do intervals of few cases hold the mean, and is nothing found significant?

    python benchmarks/intervals.py

Differences are drawn whose mean is 0, half of the time normal, half of the time skewed
(exponential), and given to `paired_difference` as an evaluation does.
"""

import numpy as np

from timbrel.evaluation.statistics import paired_difference

CASES = (2, 4, 6, 8, 12, 20, 40)
DRAWS = 800


def main() -> None:
    """Print a table."""
    print("| cases | 95 % intervals that hold 0 | p < 0.05 |")
    print("|---|---|---|")
    rng = np.random.default_rng(1)
    for cases in CASES:
        held, found = 0, 0
        for draw in range(DRAWS):
            normal = draw % 2 == 0
            drawn = rng.standard_normal(cases) if normal else rng.exponential(size=cases) - 1
            _, low, high, p = paired_difference(np.zeros(cases), drawn, seed=draw)
            held, found = held + (low <= 0 <= high), found + (p < 0.05)
        print(f"| {cases} | {held / DRAWS:.2f} | {found / DRAWS:.2f} |")


if __name__ == "__main__":
    main()
