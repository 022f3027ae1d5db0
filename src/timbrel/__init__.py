"""Timbrel plays these notes with that sound.

>>> import timbrel
>>> t = timbrel.load()
>>> t.render("melody.mid", timbre="flute.wav").write("out.wav")
"""

import os
from typing import TYPE_CHECKING, Any

# Read when torch is loaded. Its threads wait for each other at every layer, and turn round 300000
# times before they sleep; where another program needs a core, that takes from the very thread that
# is waited for, and rendering is many times slower (docs/decisions/0036).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

__version__ = "0.1.0"
__all__ = ["Audio", "Notes", "Timbrel", "__version__", "load"]

if TYPE_CHECKING:
    from timbrel.audio import Audio
    from timbrel.model import Timbrel, load
    from timbrel.notes import Notes

_HOMES = {"Audio": "audio", "Notes": "notes", "Timbrel": "model", "load": "model"}


def __getattr__(name: str) -> Any:
    """Import on first use: `import timbrel` must not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'timbrel' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"timbrel.{_HOMES[name]}"), name)
