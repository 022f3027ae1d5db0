"""The events of a MIDI file as its bytes have them: what symusic hides, or leaves out."""

from collections.abc import Iterator

NOTE_OFF, NOTE_ON, CONTROL, PROGRAM, PRESSURE = 0x80, 0x90, 0xB0, 0xC0, 0xD0
SILENCE = (120, 123)  # controllers: all sound off, all notes off
META, END_OF_TRACK = 0xFF, 0x2F
DRUMS, NO_CHANNEL = 9, -1

Event = tuple[int, int, int, int, int]  # tick, kind, channel, two bytes of data


def read_tracks(data: bytes) -> list[list[Event]]:
    """What is sent to channels by each track, and where it ends.

    Args:
        data: a standard MIDI file that symusic accepts.
    """
    position, tracks = 8 + int.from_bytes(data[4:8], "big"), []
    while position + 8 <= len(data):
        size = int.from_bytes(data[position + 4 : position + 8], "big")
        if data[position : position + 4] == b"MTrk":
            tracks.append(list(_track(data[position + 8 : position + 8 + size])))
        position += 8 + size
    return tracks


def unended(track: list[Event]) -> Iterator[tuple[int, int, int, int, int, int]]:
    """Notes that no note-off of their own ends: (begin, end, channel, program, pitch, velocity).

    They end at the next note-off of their pitch, which of two notes is that of the one that
    began first; at "all sound off" or "all notes off"; else where the track ends.
    """
    sounding: dict[tuple[int, int], list[list[int]]] = {}  # [begin, end, program, velocity]
    programs: dict[int, int] = {}
    last = max((event[0] for event in track), default=0)
    for tick, kind, channel, first, second in track:
        if kind == NOTE_ON and second > 0:
            note = [tick, last, programs.get(channel, 0), second]
            sounding.setdefault((channel, first), []).append(note)
        elif kind in (NOTE_ON, NOTE_OFF) and sounding.get((channel, first)):
            sounding[channel, first].pop(0)
            for note in sounding[channel, first]:
                note[1] = min(note[1], tick)
        elif kind == PROGRAM:
            programs[channel] = first
        elif kind == CONTROL and first in SILENCE:
            for (other, _), held in sounding.items():
                for note in held if other == channel else ():
                    note[1] = min(note[1], tick)
    for (channel, pitch), held in sounding.items():
        for begin, end, program, velocity in held:
            if end > begin:
                yield begin, end, channel, program, pitch, velocity


def _track(data: bytes) -> Iterator[Event]:
    """Of one track; what is cut short ends it."""
    position, tick, status = 0, 0, 0
    try:
        while position < len(data):
            delta, position = _number(data, position)
            tick += delta
            if data[position] in (META, 0xF0, 0xF7):  # of no channel; what runs on is one's
                begin, position = data[position], position + 1
                if begin == META and data[position] == END_OF_TRACK:
                    yield tick, META, NO_CHANNEL, END_OF_TRACK, 0
                    return
                length, position = _number(data, position + (begin == META))
                position += length
                continue
            if data[position] >= 0x80:
                status, position = data[position], position + 1
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
