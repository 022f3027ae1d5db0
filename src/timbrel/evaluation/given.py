"""Cases that are not rendered for the purpose: from a store, or from files of anybody."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from timbrel.audio import Audio
from timbrel.data.joined import judged_part
from timbrel.data.store import Item, Store
from timbrel.errors import DataError, InputError
from timbrel.evaluation.cases import EXAMPLE_SECONDS, Case
from timbrel.evaluation.protocol import SAMPLING, STRUCTURES, Setting
from timbrel.evaluation.systems import check_apart, slug
from timbrel.notes import Notes

SEED = 2026
SECONDS = 8.0  # of a case from a store, if the item is as long
STORE_CASES = 20
NEEDED = {"output", "notes", "example"}
FILES = ("notes", "given", "example", "example_given", "source", "truth")  # but the output
# Facts that tell which cases ask for the same sounds ("source" is a file).
TIMBRES = {"target_timbre": "target", "source_timbre": "source"}
FIELDS = {"case", "level", "output", "beats", "structure", "sampling", *FILES, *TIMBRES}


def store_cases(store: Store, limit: int | None = None) -> list[Callable[[], Case]]:
    """Cases from the items of a store that are held out, whose timbre plays something else too.

    Raises:
        DataError: there is none.
    """
    store = judged_part(store)
    usable = [
        index
        for index, item in enumerate(store.items)
        if not item.drums and item.notes != "none" and len(store.by_identity[item.identity]) > 1
    ]
    if not usable:
        raise DataError(
            f"no timbre of {store.path} held out plays two pieces, so none can be an example"
        )
    usable = [index for index in usable if _asks_something(store, index)]
    if not usable:
        raise DataError(
            f"no note of {store.path} held out begins in the first {SECONDS:g} s of its item, "
            "which is what a case asks for"
        )
    rng = np.random.default_rng(SEED)
    count = min(len(usable), STORE_CASES if limit is None else limit)
    chosen = rng.choice(usable, count, replace=False)
    return [partial(_from_store, store, int(index)) for index in chosen]


def _samples(item: Item) -> int:
    """Of the case that an item becomes."""
    return min(item.length, round(SECONDS * item.rate))


def _asks_something(store: Store, index: int) -> bool:
    """Whether a note begins within the case that an item becomes."""
    item, onset = store.items[index], store.notes(index).onset
    return bool(((onset >= 0) & (onset < _samples(item) / item.rate)).any())


def _from_store(store: Store, index: int) -> Case:
    rng = np.random.default_rng([SEED, index])
    item = store.items[index]
    others = [i for i in store.by_identity[item.identity] if i != index]
    rivals = [i for i in store.by_score[item.score] if store.items[i].identity != item.identity]
    samples = _samples(item)

    def sound(which: int, length: int) -> Audio:
        return Audio(store.audio(which)[None, :length].astype(np.float32), item.rate)

    notes = store.notes(index).cut(0, samples / item.rate)
    notes = replace(notes, onset=np.maximum(notes.onset, 0))  # as a file would hold them
    return Case(
        name=f"item-{index:05d}",
        level="store",
        notes=notes,
        given=notes,
        example=sound(int(rng.choice(others)), round(EXAMPLE_SECONDS * item.rate)),
        source=sound(int(rng.choice(rivals)), samples) if rivals else None,
        truth=sound(index, samples),
        facts={"target": item.identity, "target family": item.family},
    )


def read_manifest(path: Path) -> list[dict[str, Any]]:
    """Rows of a manifest, JSON lines.

    `output`, `notes` (MIDI) and `example` must be there; `source`, `truth`, `given` (MIDI, if
    the notes given had faults), `example_given` (if the example given had), `beats` (a list of
    seconds), names of the timbres that are asked for and that play the source
    (`target_timbre`, `source_timbre`), a name (`case`), a `level`, what a model is given
    (`structure`: "notes" or "audio") and how it samples (`sampling`, see `Setting.sampling`)
    may be. Paths are relative to the manifest; outputs are relative to the folder that is judged.

    Raises:
        InputError: not such a file; says which line.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a manifest of JSON lines")
    rows: list[dict[str, Any]] = []
    try:
        lines = path.read_text("utf-8-sig").split("\n")  # some editors mark such a file
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8; save it as such") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}, line {number} is not JSON: {error}") from error
        if not isinstance(row, dict) or not set(row) >= NEEDED or set(row) - FIELDS:
            raise InputError(
                f"{path}, line {number} must name {', '.join(sorted(NEEDED))} and may name "
                f"{', '.join(sorted(FIELDS - NEEDED))}"
            )
        _check(row, f"{path}, line {number}")
        rows.append(row)
    if not rows:
        raise InputError(f"{path} lists no case")
    names = [name_of(row) for row in rows]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path} lists '{twice}' twice; give each case a name of its own")
    return rows


def _check(row: dict[str, Any], where: str) -> None:
    """Raise InputError for a value of another kind than its field's."""
    beats = row.get("beats")
    if beats is not None and not (
        isinstance(beats, list) and all(isinstance(b, int | float) and b >= 0 for b in beats)
    ):
        raise InputError(f"{where}: beats must be a list of seconds")
    for name in set(row) - {"beats", "sampling"}:
        if not isinstance(row[name], str) and not (row[name] is None and name not in NEEDED):
            raise InputError(f"{where}: {name} is {row[name]!r}; give a text")
    if row.get("structure") not in (None, *STRUCTURES):
        raise InputError(f"{where}: structure is '{row['structure']}'; it can be notes or audio")
    try:
        _sampling(row)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _sampling(row: dict[str, Any]) -> dict[str, float]:
    """Options of `Timbrel.render` that a row fixes.

    Raises:
        InputError: they are none, or have values of another kind.
    """
    options = row.get("sampling")
    if options is None:
        return {}
    if not isinstance(options, dict) or set(options) - set(SAMPLING):
        raise InputError(f"sampling is {options!r}; it may set {', '.join(SAMPLING)}")
    return Setting(**options).sampling


def manifest_cases(path: Path, limit: int | None = None) -> list[Callable[[], Case]]:
    """Cases of a manifest, unread.

    Args:
        path: of the manifest.
        limit: cases per level, the first ones; None: all.

    Raises:
        InputError: the manifest is wrong, or a file that it names is not there.
    """
    rows = _first_of_levels(read_manifest(path), limit)
    for row in rows:
        for key in FILES:
            if row.get(key) and not (path.parent / row[key]).is_file():
                raise InputError(
                    f"{path}, case '{name_of(row)}': there is no {path.parent / row[key]}"
                )
    return [partial(_from_files, row, path.parent) for row in rows]


def _first_of_levels(rows: list[dict[str, Any]], limit: int | None) -> list[dict[str, Any]]:
    """As many rows of each level as there may be."""
    seen: Counter[str] = Counter()
    kept = []
    for row in rows:
        seen[level_of(row)] += 1
        if limit is None or seen[level_of(row)] <= limit:
            kept.append(row)
    return kept


def structure_of(path: Path) -> str:
    """What a manifest says that a model is given, "notes" or "audio"; "" if it does not say.

    Raises:
        InputError: not a manifest, or its rows differ in that.
    """
    found = {row.get("structure") or "" for row in read_manifest(path)}
    if len(found) > 1:
        raise InputError(
            f"the rows of {path} differ in structure, and a model plays all from one; give a "
            "manifest for each"
        )
    return str(found.pop())


def name_of(row: dict[str, Any]) -> str:
    """What a row's case is called."""
    return str(row.get("case") or row["output"])


def level_of(row: dict[str, Any]) -> str:
    """At which level a row's case is."""
    return row.get("level") or "given"


def _from_files(row: dict[str, Any], folder: Path) -> Case:
    def sound(key: str) -> Audio | None:
        return Audio.read(folder / row[key]) if row.get(key) else None

    example = sound("example")
    assert example is not None
    notes = Notes.read(folder / row["notes"])
    beats = row.get("beats")
    return Case(
        name=name_of(row),
        level=level_of(row),
        notes=notes,
        given=Notes.read(folder / row["given"]) if row.get("given") else notes,
        example=example,
        source=sound("source"),
        truth=sound("truth"),
        facts={"output": str(row["output"])}
        | {fact: row[field] for field, fact in TIMBRES.items() if row.get(field)},
        sampling=_sampling(row),
        example_given=sound("example_given"),
        beats=None if beats is None else np.sort(np.asarray(beats, float)),
    )


@dataclass(frozen=True)
class FileRow:
    """The judged files, a system that takes no time. One that is missing counts as a failure."""

    outputs: Path

    def __call__(self, case: Case) -> Audio:
        """The file that answers a case."""
        return Audio.read(self.outputs / str(case.facts["output"]))


def write_cases(cases: Sequence[Callable[[], Case]], folder: Path, structure: str) -> Path:
    """Write cases as files, so that any system can answer them; gives the manifest.

    Of each case: `notes` (what should be heard), `given` (what a system is given, if that
    has faults), `example` and `example_given` likewise, `source` and `truth`.

    Args:
        cases: unrendered.
        folder: new, or empty.
        structure: "notes" or "audio": what a model is given.

    Raises:
        InputError: the folder holds something, or two cases would share their files.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder} holds something; give an empty or new folder")
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for make in cases:
        case = make()
        check_apart([*map(name_of, rows), case.name], "cases")
        rows.append(_write_case(case, folder) | {"structure": structure})
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def _write_case(case: Case, folder: Path) -> dict[str, Any]:
    name = slug(case.name)
    row: dict[str, Any] = {"case": case.name, "level": case.level, "output": f"{name}.wav"}
    notes = {"notes": case.notes} | ({} if case.given is case.notes else {"given": case.given})
    for key, part in notes.items():
        row[key] = f"{name}-{key}.mid"
        replace(part, onset=np.maximum(part.onset, 0)).write(folder / row[key])
    for key in ("example", "example_given", "source", "truth"):
        sound: Audio | None = getattr(case, key)
        if sound is not None:
            row[key] = f"{name}-{key}.flac"
            sound.write(folder / row[key])
    row |= {field: case.facts[fact] for field, fact in TIMBRES.items() if fact in case.facts}
    row |= {"sampling": case.sampling} if case.sampling else {}
    return row | ({} if case.beats is None else {"beats": case.beats.round(4).tolist()})
