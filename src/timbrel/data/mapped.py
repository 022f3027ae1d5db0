"""Arrays on disk that are read without being loaded: how many files a process keeps open.

Stores of many files are trained on together, beside others that are held out, and what the
system limits are the files of the whole process.
"""

from pathlib import Path

import numpy as np

FEWEST = 100  # files that are kept open where the system allows as few as 256, or does not say
SHARE = 2  # of the files that a process may open, one in so many

_open: dict[Path, np.ndarray] = {}  # of this process; what was not read for long comes first


def mapped(path: Path) -> np.ndarray:
    """The array of an .npy file, still on disk.

    Raises:
        OSError, ValueError, EOFError: it is missing or damaged.
    """
    array = _open.pop(path, None)
    if array is None:
        array = np.load(path, mmap_mode="r")
        for _ in range(len(_open) + 1 - most_open()):
            del _open[next(iter(_open))]
    _open[path] = array
    return array


def forget() -> None:
    """Close all files: they may be others than when they were opened."""
    _open.clear()


def most_open() -> int:
    """How many files are kept open."""
    try:
        import resource
    except ImportError:  # not on Windows
        return FEWEST
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(FEWEST, allowed // SHARE) if allowed != resource.RLIM_INFINITY else 10 * FEWEST
