"""Protocols: what is asked, how often, with which seeds; one TOML file each in `protocols/`."""

import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from timbrel.errors import InputError
from timbrel.notes import Notes

FOLDER = Path(__file__).parent / "protocols"


@dataclass(frozen=True)
class Setting:
    """What a case is drawn from; a protocol varies one of these.

    Attributes:
        pool: "<instrument>-<recording>", each "seen" or "unseen".
        voices: most notes at once.
        octave_gap: octaves from the example's register to the notes'; None: anywhere.
        jitter: standard deviation of onset errors in the given notes, in seconds.
        drop: share of notes that are not given.
        extra: share of notes that are given and should not be.
        velocity: "keep", "flat" or "random".
        drift: share by which the given tempo has slowed down at the end.
        steps: evaluations of the denoiser; None: as asked or as the model prefers.
    """

    pool: str = "unseen-unseen"
    voices: int = 2
    octave_gap: int | None = None
    jitter: float = 0.0
    drop: float = 0.0
    extra: float = 0.0
    velocity: str = "keep"
    drift: float = 0.0
    steps: int | None = None

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
                raise InputError(f"{path}: level '{level}' sets the unknown '{unknown.pop()}'")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a protocol: {error}") from error
    if not protocol.levels or protocol.cases < 1:
        raise InputError(f"{path} asks nothing: it needs at least one level and one case")
    if protocol.structure not in ("notes", "audio"):
        raise InputError(f"{path}: structure is '{protocol.structure}'; it can be notes or audio")
    return protocol
