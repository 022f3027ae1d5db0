"""The sustain pedal of a MIDI file: it belongs to a channel, whatever tracks write to it.

symusic hides channels and keeps a pedal only in the track where it is lifted, so presses are read
from the bytes.
"""

from collections import Counter

import numpy as np

from timbrel.midi_events import CONTROL, NOTE_ON, Event

PEDAL_DOWN = 64  # least value of CC64 that sustains
SUSTAIN = 64  # number of the sustain controller

Intervals = list[tuple[int, int]]  # ticks (down, up), sorted, apart


class Pedals:
    """When the pedal of each channel is down.

    Args:
        tracks: of a standard MIDI file, see `midi_events.read_tracks`.
    """

    def __init__(self, tracks: list[list[Event]]) -> None:
        events = sorted((event for track in tracks for event in track), key=lambda e: e[0])
        self._down: dict[int, Intervals] = {}
        if not any(kind == CONTROL and first == SUSTAIN for _, kind, _, first, _ in events):
            return
        self._channels: dict[tuple[int, int, int], int] = {}  # of (tick, pitch, velocity)
        last: dict[int, int] = {}
        pressed: dict[int, int] = {}
        for tick, kind, channel, first, second in events:
            last[channel] = tick
            if kind == NOTE_ON and second > 0:
                self._channels.setdefault((tick, first, second), channel)
            if kind == CONTROL and first == SUSTAIN:
                if second >= PEDAL_DOWN:
                    pressed.setdefault(channel, tick)
                elif channel in pressed:
                    self._down.setdefault(channel, []).append((pressed.pop(channel), tick))
        for channel, tick in pressed.items():  # never lifted
            self._down.setdefault(channel, []).append((tick, last[channel]))

    def of(self, begin: np.ndarray, pitch: np.ndarray, velocity: np.ndarray) -> Intervals:
        """While the pedal is down on the channel that plays some notes.

        Args:
            begin: (n,) ticks.
            pitch: (n,).
            velocity: (n,).
        """
        if not self._down:
            return []
        keys = zip(begin.tolist(), pitch.tolist(), velocity.tolist(), strict=True)
        found = Counter(self._channels[key] for key in keys if key in self._channels)
        return self._down.get(found.most_common(1)[0][0], []) if found else []
