"""A listener between two: its ends are the two, whatever blocks one of them has more."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from timbrel.conditions.listener import Listener, ListenerConfig
from timbrel.serialize import load_listener, save_listener

SCRIPT = Path(__file__).parents[2] / "recipes/default/between.py"
SMALL = ListenerConfig(width=4, blocks=1, summary=8, after=1)


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """A listener, and one with a block more that adds something."""
    torch.manual_seed(0)
    for name, after in (("old", 1), ("new", 2)):
        listener = Listener(replace(SMALL, after=after))
        for block in listener.after:
            torch.nn.init.normal_(block.narrow.weight, std=0.3)
        save_listener(listener, tmp_path / name)
    return [str(tmp_path / name) for name in ("old", "new", "out")]


def run(first: str, second: str, out: str, share: float) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(SCRIPT), first, second, "-o", out, "--share", str(share)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("share", "end"), [(0.0, 0), (1.0, 1)])
def test_its_ends_hear_what_the_two_hear(folders: list[str], share: float, end: int) -> None:
    done = run(*folders, share)
    assert done.returncode == 0, done.stderr
    audio = torch.randn(1, 20 * 1024, generator=torch.Generator().manual_seed(1))
    heard = [load_listener(Path(folder)).eval() for folder in folders]
    with torch.inference_mode():
        old, new, between = (listener(listener.features(audio)) for listener in heard)
    torch.testing.assert_close(between, (old, new)[end], atol=1e-3, rtol=1e-3)
    assert not torch.allclose(old, new, atol=1e-2)


def test_what_cannot_be_is_said_in_a_sentence(folders: list[str]) -> None:
    old, new, out = folders
    for words, why in (
        ((new, old, out, 0.5), "which"),
        ((old, new, out, 1.5), "from 0 to 1"),
        ((old, f"{new}x", out, 0.5), "newx"),
    ):
        done = run(*words)
        assert done.returncode
        assert why in done.stderr
        assert "Traceback" not in done.stderr
        assert not Path(out).exists()
