"""Fixtures of data sets."""

from collections.abc import Callable
from pathlib import Path

import pytest

from miniatures import LAYOUTS


@pytest.fixture
def layout(tmp_path: Path) -> Callable[[str], Path]:
    """Writes the miniature of a source into a folder of its name."""

    def make(name: str) -> Path:
        LAYOUTS[name](tmp_path / name)
        return tmp_path / name

    return make
