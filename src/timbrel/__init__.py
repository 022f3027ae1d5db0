"""Timbrel plays these notes with that sound.

>>> import timbrel
>>> t = timbrel.load()
>>> t.render("melody.mid", timbre="flute.wav").write("out.wav")
"""

from typing import TYPE_CHECKING, Any

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
