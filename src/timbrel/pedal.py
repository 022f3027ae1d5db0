"""The sustain pedal of a MIDI file: it belongs to a channel, whatever tracks write to it.

symusic hides channels and keeps a pedal only in the track where it is lifted, so presses are read
from the bytes.
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np

PEDAL_DOWN = 64  # least value of CC64 that sustains
SUSTAIN = 64  # number of the sustain controller
NOTE_ON, CONTROL, PROGRAM, PRESSURE = 0x90, 0xB0, 0xC0, 0xD0

Event = tuple[int, int, int, int, int]  # tick, kind, channel, two bytes of data
Intervals = list[tuple[int, int]]  # ticks (down, up), sorted, apart


class Pedals:
    """When the pedal of each channel is down.

    Args:
        data: a standard MIDI file that symusic accepts.
    """

    def __init__(self, data: bytes) -> None:
        events = sorted(_events(data), key=lambda event: event[0])
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


def _events(data: bytes) -> Iterator[Event]:
    """What is sent to channels, track by track."""
    position = 8 + int.from_bytes(data[4:8], "big")
    while position + 8 <= len(data):
        size = int.from_bytes(data[position + 4 : position + 8], "big")
        if data[position : position + 4] == b"MTrk":
            yield from _track(data[position + 8 : position + 8 + size])
        position += 8 + size


def _track(data: bytes) -> Iterator[Event]:
    """Of one track; what is cut short ends it."""
    position, tick, status = 0, 0, 0
    try:
        while position < len(data):
            delta, position = _number(data, position)
            tick += delta
            if data[position] >= 0x80:
                status, position = data[position], position + 1
            if status in (0xFF, 0xF0, 0xF7):  # meta and system events
                length, position = _number(data, position + (status == 0xFF))
                position += length
                continue
            kind, channel = status & 0xF0, status & 0x0F
            count = 1 if kind in (PROGRAM, PRESSURE) else 2
            first, second = data[position], data[position + 1] if count == 2 else 0
            yield tick, kind, channel, first, second
            position += count
    except IndexError:
        return


def _number(data: bytes, position: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    value = 0
    while True:
        byte = data[position]
        value, position = value << 7 | byte & 0x7F, position + 1
        if byte < 0x80:
            return value, position
