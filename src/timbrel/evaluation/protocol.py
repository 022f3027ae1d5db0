"""Protocols: what is asked, how often, with which seeds; one TOML file each in `protocols/`."""

import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from timbrel.audio import Audio
from timbrel.data.render.effects import Effects
from timbrel.data.render.recording import Recording, replay
from timbrel.data.render.scores import STYLES as SCORES
from timbrel.data.render.styles import STYLES
from timbrel.errors import InputError
from timbrel.notes import Notes

FOLDER = Path(__file__).parent / "protocols"
LEAST_SECONDS, MOST_SECONDS = 3.0, 600.0  # of a case
STRUCTURES = ("notes", "audio")  # what a model may be given
# Options of `Timbrel.render` that a case may fix.
SAMPLING = ("steps", "guidance_structure", "guidance_timbre", "temperature")
ROOM_SECONDS = 0.6  # until it has fallen by 60 dB, a furnished room
CHOICES: dict[str, tuple[str, ...]] = {
    "pool": tuple(f"{a}-{b}" for a in ("seen", "unseen") for b in ("seen", "unseen")),
    "players": ("instruments", "kits"),
    "velocity": ("keep", "flat", "random"),
    "score": ("", *SCORES),
    "sustain": ("", "fades", "lasts"),
    "genres": ("", "same", "other"),
    "genre": ("", *STYLES),
}


@dataclass(frozen=True)
class Setting:
    """What a case is drawn from; a protocol varies one of these.

    Attributes:
        pool: "<instrument>-<recording>", each "seen" or "unseen".
        players: "instruments", or drum "kits" on both sides.
        voices: most notes at once.
        score: style of the notes, one of `data.render.scores.STYLES`; "": any that all
            instruments play.
        sustain: of target timbres: a held note of theirs "fades", or "lasts"; "": either.
        octave_gap: octaves from the example's register to the notes'; None: anywhere.
        register_gap: octaves by which the source's own register lies above the target's, at
            least (below, if negative): the notes are in the source's, the example is in the
            target's; 0: both are in the target's.
        jitter: standard deviation of onset errors in the given notes, in seconds.
        drop: share of notes that are not given.
        extra: share of notes that are given and should not be.
        velocity: "keep", "flat" or "random".
        drift: share by which the given tempo has slowed down at the end.
        steps: evaluations of the denoiser; None: as asked or as the model prefers.
        guidance_structure: how strongly the notes steer; None: likewise.
        guidance_timbre: how strongly the example steers; None: likewise.
        temperature: how much chance there is in what lasts; None: likewise.
        example_seconds: length of the example that is rendered.
        example_part: share of it that is given, where it is loudest.
        example_noise: dB by which the example given is louder than white noise in it.
        example_level: dB by which the example given is louder than usual.
        example_room: share of a room in the example given.
        example_low_hz: what lies below is cut from the example given; 0: nothing.
        example_high_hz: what lies above is cut from it; 0: nothing.
        example_ratio: of the compressor that it went through; 1: of none.
        example_cents: by which it is sharp of its notes.
        genres: "": scores for one instrument; else pieces for an ensemble, the target's of
            the "same" genre as the piece or of an "other".
        genre: of the piece, one of `data.render.styles.STYLES`; "": those with drums, in turn.
    """

    pool: str = "unseen-unseen"
    players: str = "instruments"
    voices: int = 2
    score: str = ""
    sustain: str = ""
    octave_gap: int | None = None
    register_gap: int = 0
    jitter: float = 0.0
    drop: float = 0.0
    extra: float = 0.0
    velocity: str = "keep"
    drift: float = 0.0
    steps: int | None = None
    guidance_structure: float | None = None
    guidance_timbre: float | None = None
    temperature: float | None = None
    example_seconds: float = 6.0
    example_part: float = 1.0
    example_noise: float | None = None
    example_level: float = 0.0
    example_room: float = 0.0
    example_low_hz: float = 0.0
    example_high_hz: float = 0.0
    example_ratio: float = 1.0
    example_cents: float = 0.0
    genres: str = ""
    genre: str = ""

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise InputError(
                    f"{name} is '{getattr(self, name)}'; choose one of "
                    f"{', '.join(repr(choice) for choice in choices)}"
                )
        numbers = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in CHOICES}
        for name, value in numbers.items():
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, int | float)
            ):
                raise InputError(f"{name} is '{value}'; give a number")
        if not 0 < self.example_part <= 1 or self.example_seconds * self.example_part < 0.5:
            raise InputError("an example of less than half a second, or part, cannot be given")
        if not 0 <= self.example_room <= 1 or self.example_ratio < 1:
            raise InputError("example_room is a share, and example_ratio is at least 1")
        if self.voices < 1 or not (self.steps is None or self.steps >= 1):
            raise InputError("voices and steps are at least 1")
        if not isinstance(self.steps, int | None):
            raise InputError(f"steps is {self.steps}; give a whole number")

    @property
    def sampling(self) -> dict[str, float]:
        """Options of `Timbrel.render` that are set."""
        found = {name: getattr(self, name) for name in SAMPLING}
        return {name: value for name, value in found.items() if value is not None}

    def damage(self, notes: Notes, rng: np.random.Generator) -> Notes:
        """The notes as given, with this setting's faults."""
        if not (self.jitter or self.drop or self.extra or self.drift or self.velocity != "keep"):
            return notes
        bad = notes.corrupt(
            rng,
            jitter_seconds=self.jitter,
            drop=self.drop,
            extra=self.extra,
            velocity=self.velocity,
        )
        return slowed(bad, self.drift) if self.drift else bad

    def damage_example(self, example: Audio, rng: np.random.Generator) -> Audio | None:
        """The example as given, with this setting's faults; None if it has none."""
        # a stream of its own, so that noise is the same with a room and without
        recorded = self._recorded(example, rng.spawn(1)[0])
        whole = recorded is example and self.example_part == 1
        if whole and self.example_noise is None and not self.example_level:
            return None
        samples = recorded.loudest(self.example_part * recorded.seconds).samples
        if self.example_noise is not None:
            level = np.sqrt(np.mean(samples**2)) * 10 ** (-self.example_noise / 20)
            samples = samples + level * rng.standard_normal(samples.shape)
        samples = samples * 10 ** (self.example_level / 20)
        return Audio(samples.astype(np.float32), example.rate)

    def _recorded(self, example: Audio, rng: np.random.Generator) -> Audio:
        """Through the room and the microphone of this setting, by the chain of training data."""
        room = Effects(
            reverb_seconds=ROOM_SECONDS,
            reverb_share=self.example_room,
            seed=int(rng.integers(2**31)),
        )
        microphone = Recording(
            tuning_cents=self.example_cents,
            ratio=self.example_ratio,
            low_hz=self.example_low_hz,
            high_hz=self.example_high_hz,
        )
        if not self.example_room and microphone == Recording():
            return example
        speed, length = microphone.speed, example.samples.shape[1]
        # no longer than what there is to play, rather than filled with silence
        stereo = replay(np.broadcast_to(example.samples, (2, length)), speed, int(length / speed))
        samples = microphone.apply(room.apply(stereo, example.rate), example.rate)
        return Audio(samples, example.rate).mono()


def slowed(notes: Notes, share: float) -> Notes:
    """The tempo falls evenly, by `share` at the last note's end."""
    rate = share / (2 * max(notes.seconds, 1e-6))
    return replace(
        notes,
        onset=notes.onset * (1 + rate * notes.onset),
        offset=notes.offset * (1 + rate * notes.offset),
    )


@dataclass(frozen=True)
class Protocol:
    """A list of cases.

    Attributes:
        name: the file's.
        question: that it answers, one sentence.
        structure: "notes" or "audio": what the model is given.
        levels: name -> what is set at it.
        cases: of each level.
        seed: of all draws.
        seconds: length of a case.
        base: what holds at every level.
    """

    name: str
    question: str
    structure: str
    levels: dict[str, dict[str, Any]]
    cases: int
    seed: int
    seconds: float
    base: Setting

    def setting(self, level: str) -> Setting:
        """What holds at a level."""
        return replace(self.base, **self.levels[level])


def protocol_names() -> list[str]:
    """All protocols that come with timbrel."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_protocol(name: str) -> Protocol:
    """A protocol of ours by its name, or one of the user's by its path.

    Raises:
        InputError: there is no such protocol, or its file is wrong; says where.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise InputError(
            f"there is no protocol '{name}'; choose one of {', '.join(protocol_names())}, "
            "or give the path of a .toml file"
        )
    try:
        values = tomllib.loads(path.read_text())
        base = Setting(**values.pop("base", {}))
        protocol = Protocol(name=path.stem, base=base, **values)
        known = {f.name for f in fields(Setting)}
        for level, changes in protocol.levels.items():
            if unknown := set(changes) - known:
                raise InputError(f"level '{level}' sets the unknown '{unknown.pop()}'")
            protocol.setting(level)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a protocol: {error}") from error
    _check(path, protocol)
    return protocol


def _check(path: Path, protocol: Protocol) -> None:
    """Raise InputError for values that cannot be meant."""
    if not isinstance(protocol.question, str):
        raise InputError(f"{path}: question is {protocol.question!r}; give a text")
    numbers = {"cases": protocol.cases, "seed": protocol.seed, "seconds": protocol.seconds}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise InputError(f"{path}: {name} is '{value}'; give a number")
    if not isinstance(protocol.cases, int) or not isinstance(protocol.seed, int):
        raise InputError(f"{path}: cases and seed are whole numbers")
    if not protocol.levels or protocol.cases < 1:
        raise InputError(f"{path} asks nothing: it needs at least one level and one case")
    if protocol.structure not in STRUCTURES:
        raise InputError(f"{path}: structure is '{protocol.structure}'; it can be notes or audio")
    if not LEAST_SECONDS <= protocol.seconds <= MOST_SECONDS:
        raise InputError(
            f"{path}: cases of {protocol.seconds} s; they can last {LEAST_SECONDS:g} to "
            f"{MOST_SECONDS:g} s"
        )
