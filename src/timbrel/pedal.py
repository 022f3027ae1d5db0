"""The sustain pedal of a MIDI file: it belongs to a channel, whatever tracks write to it.

symusic hides channels and keeps a pedal only in the track where it is lifted, so presses are read
from the bytes.
"""

from collections import Counter

import numpy as np

from timbrel.midi_events import CONTROL, NOTE_ON, Event

PEDAL_DOWN = 64  # least value of CC64 that sustains
SUSTAIN = 64  # number of the sustain controller
RESETS = (120, 121)  # all sound off, reset all controllers: no pedal after them

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
        # of (tick, pitch, velocity), in the order of tracks
        self._channels: dict[tuple[int, int, int], list[int]] = {}
        pressed: dict[int, int] = {}
        for tick, kind, channel, first, second in events:
            if kind == NOTE_ON and second > 0:
                self._channels.setdefault((tick, first, second), []).append(channel)
            if kind == CONTROL and first in (SUSTAIN, *RESETS):
                if first == SUSTAIN and second >= PEDAL_DOWN:
                    pressed.setdefault(channel, tick)
                elif channel in pressed:
                    self._down.setdefault(channel, []).append((pressed.pop(channel), tick))
        for channel, tick in pressed.items():  # never lifted
            self._down.setdefault(channel, []).append((tick, events[-1][0]))

    def take(self, begin: np.ndarray, pitch: np.ndarray, velocity: np.ndarray) -> Intervals:
        """While the pedal is down on the channel that plays the notes of the next track.

        Where two channels double each other, each is taken once.

        Args:
            begin: (n,) ticks.
            pitch: (n,).
            velocity: (n,).
        """
        if not self._down:
            return []
        keys = zip(begin.tolist(), pitch.tolist(), velocity.tolist(), strict=True)
        known = [self._channels[key] for key in keys if self._channels.get(key)]
        found = Counter(channel for channels in known for channel in channels)
        if not found:
            return []
        [(channel, _)] = found.most_common(1)
        for channels in known:
            if channel in channels:
                channels.remove(channel)
        return self._down.get(channel, [])
