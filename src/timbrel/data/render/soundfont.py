"""Sound fonts: what presets they hold, and rendering notes with one.

Rendering is by tinysoundfont (MIT, reads .sf2 and .sf3), split at every event, so times
are exact to the sample. Between two stems all voices are stopped and the fade is thrown
away: nothing leaks from one stem into the next.

Fonts differ in what they add of their own: the OPL3 font sounds about 5 ms late and 10
cents flat throughout, and most have sounds that are an octave off. `inspection.usable` measures
the first and the last; they are made good when rendering.
"""

import itertools
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from timbrel.data.render.expression import CONTROL_HZ
from timbrel.errors import DataError
from timbrel.notes import Notes

FOLDERS = (
    "/usr/share/sounds/sf2",
    "/usr/share/sounds/sf3",
    "/usr/share/soundfonts",
    "/usr/local/share/soundfonts",
    "~/.local/share/soundfonts",
    "~/Library/Audio/Sounds/Banks",
)
# (part of the file name, recording family, licence): fonts of one family share recordings.
KNOWN = (
    ("musescore_general", "fluid", "MIT"),
    ("fluidr3", "fluid", "MIT"),
    ("timgm", "timgm", "GPL-2"),
    ("sf_gmbank", "timgm", "unclear"),
    ("opl-3", "opl3", "CC-BY-SA-4.0"),
)
SETTLE = 4_096  # samples thrown away after all voices were stopped
HEADROOM_DB = -9.0  # gain of the synthesiser: dozens of loud voices stay below full scale
DRUM_BANK = 128
OFF, WHEEL, ON = range(3)  # kinds of events, in the order in which they happen at one time
WHEEL_REST = 8_192
WHEEL_CENTS = 300  # reach of the pitch wheel
WHEEL_SECONDS = 0.003
INSTRUMENT, KEY_RANGE, SAMPLE = 41, 43, 53  # generators of the SoundFont 2 specification
ALL_KEYS = frozenset(range(128))


@dataclass(frozen=True)
class Preset:
    """One sound of a font; its keys are the pitches that are heard."""

    bank: int
    program: int
    name: str
    low: int  # lowest key with a sample
    high: int  # highest key with a sample
    keys: frozenset[int] = ALL_KEYS  # those with a sample
    octaves: int = 0  # by which the font has it sound higher than its own keys

    @property
    def drums(self) -> bool:
        """Whether its keys are pieces of a kit."""
        return self.bank == DRUM_BANK

    def sounding(self, octaves: int) -> "Preset":
        """The same sound, known to be so many octaves higher than the font's keys say."""
        keys = frozenset(heard for key in self.keys if (heard := key + 12 * octaves) in ALL_KEYS)
        return replace(self, low=min(keys), high=max(keys), keys=keys, octaves=octaves)


def find_fonts() -> list[Path]:
    """Font files in the usual folders and those named in $TIMBREL_FONTS (files or folders)."""
    places = [Path(p).expanduser() for p in FOLDERS]
    places += [Path(p) for p in os.environ.get("TIMBREL_FONTS", "").split(os.pathsep) if p]
    found: dict[Path, None] = {}
    for place in places:
        files = [place] if place.is_file() else sorted(place.glob("*")) if place.is_dir() else []
        for file in files:
            if file.suffix.lower() in (".sf2", ".sf3"):
                found.setdefault(file.resolve())
    return list(found)


class SoundFont:
    """A font file; loaded on first use, once per process.

    Args:
        path: .sf2 or .sf3.
        excluded: (bank, program) of presets that are not to be used.
        latency: seconds by which all its sounds are late; cut off when rendering.
        octaves: by how many octaves some presets (bank, program) sound above their keys; they are
            played so much lower.

    Raises:
        DataError: not a sound font.
    """

    def __init__(
        self,
        path: Path,
        excluded: frozenset[tuple[int, int]] = frozenset(),
        latency: float = 0.0,
        octaves: Mapping[tuple[int, int], int] | None = None,
    ) -> None:
        self.path, self.excluded, self.latency = Path(path), excluded, latency
        self.octaves = dict(octaves or {})
        known = [entry for entry in KNOWN if entry[0] in self.path.name.lower()]
        self.family = known[0][1] if known else f"other:{self.path.stem}"
        self.licence = known[0][2] if known else "unknown"
        self._presets: list[Preset] | None = None
        self._synth: dict[int, Any] = {}

    @property
    def free(self) -> bool:
        """Whether a model trained on it may be given away under MIT."""
        return self.licence in ("MIT", "CC0")

    def presets(self) -> list[Preset]:
        """All presets that are not excluded, by bank and program."""
        if self._presets is None:
            found = [(p, (p.bank, p.program)) for p in _read_presets(self.path)]
            self._presets = [
                p.sounding(self.octaves[place]) if place in self.octaves else p
                for p, place in found
                if place not in self.excluded
            ]
        return self._presets

    def render(
        self,
        preset: Preset,
        notes: Notes,
        seconds: float,
        rate: int = 44_100,
        cents: np.ndarray | None = None,
    ) -> np.ndarray:
        """Play notes with a preset, dry.

        Args:
            preset: of this font.
            notes: any polyphony; those outside [0, seconds) are left out.
            seconds: length of the result.
            rate: Hz.
            cents: deviation from the written pitches, at `CONTROL_HZ` points per second; the
                pitch wheel follows it in steps of `WHEEL_SECONDS`.

        Returns:
            (2, samples) float32, not clipped.
        """
        synth, font = self._load(rate)
        notes = notes.transpose(-12 * preset.octaves) if preset.octaves else notes
        synth.sounds_off(0)
        synth.generate(SETTLE)
        synth.program_select(0, font, preset.bank, preset.program, preset.drums)
        synth.pitchbend_range(0, WHEEL_CENTS / 100)
        synth.pitchbend(0, WHEEL_REST)
        total = round(seconds * rate)
        events = [
            (min(round(float(t) * rate), total), kind, int(value), int(v))
            for times, kind in ((notes.offset, OFF), (notes.onset, ON))
            for t, value, v in zip(times, notes.pitch, notes.velocity, strict=True)
        ]
        if cents is not None:
            events += _wheel(cents, seconds, rate)
        pieces, now = [], 0
        for at, kind, value, velocity in sorted(events):  # note-offs first at equal times
            if at > now:
                pieces.append(_samples(synth.generate(at - now)))
                now = at
            if kind == OFF:
                synth.noteoff(0, value)
            elif kind == WHEEL:
                synth.pitchbend(0, value)
            elif 0 <= at < total:
                synth.noteon(0, value, velocity)
        late = round(self.latency * rate)
        if total + late > now:
            pieces.append(_samples(synth.generate(total + late - now)))
        out = np.concatenate(pieces, 1) if pieces else np.zeros((2, 0), np.float32)
        return np.ascontiguousarray(out[:, late : late + total])

    def _load(self, rate: int) -> tuple[Any, int]:
        if rate not in self._synth:
            try:
                import tinysoundfont
            except ImportError as error:
                raise DataError(
                    "rendering sound fonts needs tinysoundfont: pip install --no-deps tinysoundfont"
                ) from error
            synth = tinysoundfont.Synth(samplerate=rate, gain=HEADROOM_DB)
            try:
                font = synth.sfload(str(self.path))
            except Exception as error:
                raise DataError(f"{self.path} cannot be loaded as a sound font: {error}") from error
            self._synth[rate] = (synth, font)
        found: tuple[Any, int] = self._synth[rate]
        return found

    def __getstate__(self) -> dict[str, Any]:
        """A font sent to another process is loaded there again."""
        return {**self.__dict__, "_synth": {}}


def _wheel(cents: np.ndarray, seconds: float, rate: int) -> list[tuple[int, int, int, int]]:
    """Moves of the pitch wheel along a curve, as events."""
    times = np.arange(0, seconds, WHEEL_SECONDS)
    bent = np.interp(times, np.arange(len(cents)) / CONTROL_HZ, cents)
    values = np.round(WHEEL_REST * (1 + np.clip(bent / WHEEL_CENTS, -1, 1))).astype(int)
    values = np.minimum(values, 2 * WHEEL_REST - 1)
    moved = np.diff(values, prepend=WHEEL_REST) != 0
    return [
        (round(float(t) * rate), WHEEL, int(value), 0)
        for t, value in zip(times[moved], values[moved], strict=True)
    ]


def _samples(buffer: memoryview) -> np.ndarray:
    """Interleaved bytes -> (2, n) float32."""
    return np.frombuffer(bytes(buffer), np.float32).reshape(-1, 2).T


def _read_presets(path: Path) -> list[Preset]:
    """Names and sounding keys from the font's preset data ("pdta" list)."""
    try:
        chunks = _preset_chunks(path)
        headers = list(struct.iter_unpack("<20sHHHIII", chunks[b"phdr"]))
        zones = _zones(chunks[b"pbag"], chunks[b"pgen"], [h[3] for h in headers], INSTRUMENT)
        starts = [r[1] for r in struct.iter_unpack("<20sH", chunks[b"inst"])]
        samples = _zones(chunks[b"ibag"], chunks[b"igen"], starts, SAMPLE)
        instruments = [frozenset[int]().union(*(keys for _, keys in own)) for own in samples]
        presets = []
        for header, own in zip(headers, zones, strict=False):  # the last header only ends the list
            keys = frozenset[int]().union(*(keys & instruments[number] for number, keys in own))
            if keys:
                name = header[0].split(b"\0")[0].decode("latin-1").strip()
                presets.append(Preset(header[2], header[1], name, min(keys), max(keys), keys))
    except (OSError, KeyError, IndexError, struct.error) as error:
        raise DataError(f"{path} is not a sound font (.sf2, .sf3), or is damaged") from error
    return sorted(presets, key=lambda p: (p.bank, p.program))


def _zones(
    bag: bytes, generator: bytes, starts: list[int], target: int
) -> list[list[tuple[int, frozenset[int]]]]:
    """For every preset or instrument, its zones as (what they play, keys).

    A first zone without `target` is global: its keys hold for zones that name none. Reading
    it as a zone of its own would claim all keys for nearly every instrument.
    """
    bags = [b[0] for b in struct.iter_unpack("<HH", bag)]
    generators = list(struct.iter_unpack("<HH", generator))
    owners = []
    for first, last in itertools.pairwise(starts):
        zones, default = [], ALL_KEYS
        for number in range(first, last):
            zone = dict(generators[bags[number] : bags[number + 1]])
            keys = default
            if KEY_RANGE in zone:
                keys = frozenset(range(zone[KEY_RANGE] & 0xFF, (zone[KEY_RANGE] >> 8) + 1))
            if target in zone:
                zones.append((zone[target], keys & ALL_KEYS))
            elif number == first:
                default = keys
        owners.append(zones)
    return owners


def _preset_chunks(path: Path) -> dict[bytes, bytes]:
    """Sub-chunks of the "pdta" list, without reading the samples."""
    with open(path, "rb") as file:
        riff, _, kind = struct.unpack("<4sI4s", file.read(12))
        if riff != b"RIFF" or kind != b"sfbk":
            raise KeyError("sfbk")
        data = b""
        while not data:
            name, size = struct.unpack("<4sI", file.read(8))
            following = file.tell() + size
            if name == b"LIST" and file.read(4) == b"pdta":
                data = file.read(size - 4)
            file.seek(following)
            # chunks of odd size should be padded by a byte; makers of .sf3 forget it
            if size % 2 and file.read(1) != b"\0":
                file.seek(following)
    chunks, at = {}, 0
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        chunks[name] = data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    return chunks
