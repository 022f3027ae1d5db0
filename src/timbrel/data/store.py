"""A store of renditions and recordings: memory-mapped audio, notes as events, a manifest.

Layout: `manifest.jsonl` (one line an item), `audio-N.npy` (int16, one row an item),
`notes-N.npz`, `plan.json` (what is being rendered), and for every kind of derived array
`KIND-N.npy` with `KIND.json`. A shard's files are complete before its lines enter the
manifest, and every file is replaced whole, so a writer killed at any moment leaves a valid
store. Equal renditions make equal bytes.
"""

import itertools
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from timbrel.data.files import replace_file, save_npy
from timbrel.data.lock import locked
from timbrel.data.mapped import forget, mapped
from timbrel.errors import DataError
from timbrel.notes import Notes, Track

FULL_SCALE = 32_767

Derive = Callable[[list[int]], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Item:
    """One rendition, or one passage of a recording."""

    shard: int
    row: int
    length: int  # samples
    rate: int  # Hz
    identity: str  # of the timbre
    score: int  # equal for renditions of the same notes
    family: str
    split: str
    licence: str
    drums: bool
    # later than the first stores, which lack them
    timbre: int = -1  # number of the timbre in its plan
    low: int = 0  # lowest pitch that is natural for the timbre
    high: int = 127
    loudness: float | None = None  # LUFS; None when silent
    # later still: recordings
    source: str = "render"
    instrument: str = ""
    recording: str = ""  # its name in the source; "" for renditions
    start: float = 0.0  # seconds into the recording
    silence: int = 0  # samples added at the end, where the recording was over
    notes: str = "given"  # or "transcribed"; "none": not known, which is not silence
    checksum: int | None = None  # CRC-32 of its samples as stored

    @property
    def seconds(self) -> float:
        """Of sound, without the silence that was added."""
        return (self.length - self.silence) / self.rate


class Store:
    """Reads a store; audio and derived arrays stay on disk until asked for."""

    def __init__(self, path: Path, items: list[Item], whole: bool = True) -> None:
        self.path, self.items, self.whole = path, items, whole
        self._kinds: dict[str, str] = {}

    @classmethod
    def open(cls, path: str | Path) -> "Store":
        """Open a store.

        Raises:
            DataError: there is none, or its manifest is damaged.
        """
        path = Path(path)
        manifest = path / "manifest.jsonl"
        if not manifest.is_file():
            raise DataError(
                f"{path} is not a store: it holds no manifest.jsonl (see `timbrel prepare`)"
            )
        items = read_manifest(manifest)
        _read_notes.cache_clear()  # files may be others than when last read
        forget()
        if not items:
            raise DataError(f"{path} is empty; run `timbrel prepare` again to continue it")
        return cls(path, items)

    def __len__(self) -> int:
        return len(self.items)

    def __getstate__(self) -> dict[str, Any]:
        """A store sent to another process looks there what it holds."""
        return {**self.__dict__, "_kinds": {}}

    @cached_property
    def by_identity(self) -> dict[str, list[int]]:
        """Items of each timbre."""
        return self._group("identity")

    @cached_property
    def by_score(self) -> dict[int, list[int]]:
        """Items of each score."""
        return self._group("score")

    def _group(self, field: str) -> dict[Any, list[int]]:
        groups: dict[Any, list[int]] = {}
        for index, item in enumerate(self.items):
            groups.setdefault(getattr(item, field), []).append(index)
        return groups

    def part(self, split: str) -> "Store":
        """The items of one split; a store that has one split only is returned as it is.

        Raises:
            DataError: there are several splits, but not this one.
        """
        found = self._group("split")
        if len(found) == 1:
            return self
        if split not in found:
            raise DataError(f"{self.path} has no items for {split}, only for {', '.join(found)}")
        return self.subset(found[split])

    def with_notes(self) -> "Store":
        """The items whose notes are known.

        Raises:
            DataError: there are none.
        """
        known = [index for index, item in enumerate(self.items) if item.notes != "none"]
        if not known:
            raise DataError(f"no item of {self.path} has notes; prepare it with --transcribe")
        return self.subset(known)

    def subset(self, indices: Sequence[int]) -> "Store":
        """The items of these indices, in this order."""
        return Store(self.path, [self.items[i] for i in indices], whole=False)

    @property
    def hours(self) -> float:
        """Total duration, without silence that was added."""
        return sum(item.seconds for item in self.items) / 3600

    def summary(self) -> dict[str, Any]:
        """Counts for people."""

        def count(field: str) -> dict[str, int]:
            return {str(k) or "?": len(v) for k, v in sorted(self._group(field).items())}

        hours: dict[str, float] = {}
        for item in self.items:
            hours[item.split] = hours.get(item.split, 0.0) + item.seconds / 3600
        return {
            "items": len(self),
            "hours": round(self.hours, 3),
            "timbres": len(self.by_identity),
            "scores": len(self.by_score),
            "sources": count("source"),
            "instruments": count("instrument"),
            "splits": count("split"),
            "split hours": {k: round(v, 3) for k, v in sorted(hours.items())},
            "notes": count("notes"),
            "licences": count("licence"),
            "families": count("family"),
        }

    def audio(self, index: int, start: int = 0, length: int | None = None) -> np.ndarray:
        """(samples,) float32 in [-1, 1]: `length` samples from `start`, zeros beyond the end.

        Raises:
            DataError: the item's shard is missing or damaged.
        """
        item = self.items[index]
        row = self._row(f"audio-{item.shard}.npy", item.row)
        stop = item.length if length is None else start + length
        part = np.asarray(row[start : min(stop, item.length)], np.float32) / FULL_SCALE
        return np.pad(part, (0, stop - start - len(part)))

    def is_intact(self, index: int) -> bool:
        """Whether an item's samples are those that were written; true if nobody can know.

        Raises:
            DataError: the item's shard is missing or damaged.
        """
        item = self.items[index]
        row = self._row(f"audio-{item.shard}.npy", item.row)
        return item.checksum is None or item.checksum == zlib.crc32(row.tobytes())

    def notes(self, index: int) -> Notes:
        """Notes of an item."""
        item = self.items[index]
        path = self.path / f"notes-{item.shard}.npz"
        columns, offsets = _read_notes(path)
        if item.row + 1 >= len(offsets):
            raise DataError(f"{path} lacks row {item.row}; prepare the store again")
        part = columns[:, offsets[item.row] : offsets[item.row + 1]]
        onset, offset, pitch, velocity = part
        track = np.zeros(part.shape[1], np.int16)
        return Notes(
            onset,
            offset,
            pitch.astype(np.int16),
            velocity.astype(np.int16),
            track,
            (Track("", 0, item.drums),),
        )

    def array(self, kind: str, index: int) -> np.ndarray:
        """A derived array of an item (see `attach`), still on disk."""
        item = self.items[index]
        return self._row(
            f"{kind}-{item.shard}.npy", item.row, f"run `timbrel prepare {kind}` again"
        )

    def maker(self, kind: str) -> str:
        """What made the derived arrays of a kind; "" if there are none.

        Raises:
            DataError: the file that says so is damaged.
        """
        if kind not in self._kinds:
            path = self.path / f"{kind}.json"
            try:
                self._kinds[kind] = json.loads(path.read_text())["maker"] if path.exists() else ""
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{path} is damaged; run `timbrel prepare {kind}` again") from error
        return self._kinds[kind]

    def check(self, kind: str, maker: str) -> None:
        """Refuse derived arrays that are missing or that something else made.

        Raises:
            DataError: says which maker was found and what to do.
        """
        found = self.maker(kind)
        if not found:
            raise DataError(f"{self.path} has no {kind}: run `timbrel prepare {kind}` first")
        if found != maker:
            raise DataError(
                f"the {kind} of {self.path} were made by codec {found}, not {maker}: "
                f"run `timbrel prepare {kind}` again with this codec"
            )
        for shard in sorted({item.shard for item in self.items}):
            path = self.path / f"{kind}-{shard}.npy"
            if not path.is_file():  # lost, or the store was added to
                raise DataError(f"{path} is missing: run `timbrel prepare {kind}` again")

    def _row(self, name: str, row: int, cure: str = "prepare the store again") -> np.ndarray:
        path = self.path / name
        try:
            rows = mapped(path)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path} is missing or damaged; {cure}") from error
        if row >= len(rows):
            raise DataError(f"{path} lacks row {row}; {cure}")
        found: np.ndarray = rows[row]
        return found

    def attach(
        self,
        kind: str,
        maker: str,
        derive: Derive,
        way: str = "",
        progress: Callable[[float], None] | None = None,
    ) -> None:
        """Add one derived array per item; replaces arrays of that kind.

        A shard is written when all of it is there. What was stopped is gone on with by the same
        call.

        Args:
            kind: name, such as "latents".
            maker: what made them; checked by readers.
            derive: from items' numbers to their arrays, of equal shapes within a shard.
            way: in which that maker made them; what was begun in another is made anew.
            progress: called with the share that is done.

        Raises:
            DataError: there are fewer arrays than items, this is part of a store or several, or
                another process is writing it.
        """
        if not self.whole:
            raise DataError(
                f"{kind} can only be added to a single store and all of it, not to {self.path}"
            )
        with locked(self.path):
            self._attach(kind, {"maker": maker, "way": way}, derive, progress or (lambda _: None))

    def _attach(
        self, kind: str, how: dict[str, str], derive: Derive, progress: Callable[[float], None]
    ) -> None:
        shards = self._group("shard")
        begun = self.path / f"{kind}.begun"
        done = {
            shard: known
            for shard, known in _read_begun(begun, how).items()
            if known == self._known(shards.get(shard, []))
            and (self.path / f"{kind}-{shard}.npy").is_file()
        }
        waiting = {shard: items for shard, items in shards.items() if shard not in done}
        ready = len(self) - sum(map(len, waiting.values()))
        arrays = derive([index for items in waiting.values() for index in items])
        for shard, items in waiting.items():
            found = []
            for array in itertools.islice(arrays, len(items)):
                found.append(array)
                ready += 1
                progress(ready / len(self))
            if len(found) < len(items):
                raise DataError(f"{kind} for {self.path} end before its {len(self)} items do")
            # items may have been taken out of the manifest: the others stay in their rows
            rows = [self.items[index].row for index in items]
            table = np.zeros((max(rows) + 1, *found[0].shape), found[0].dtype)
            table[rows] = np.stack(found)
            # from here on they are a mixture; until here those that were there are good
            (self.path / f"{kind}.json").unlink(missing_ok=True)
            if not done:  # what was begun in another way
                begun.unlink(missing_ok=True)
            save_npy(self.path / f"{kind}-{shard}.npy", table)
            done[shard] = self._known(items)
            replace_file(begun, json.dumps({**how, "shards": done}).encode())
        described = json.dumps({"maker": how["maker"]})
        replace_file(self.path / f"{kind}.json", described.encode())
        begun.unlink(missing_ok=True)
        forget()
        self._kinds.clear()

    def _known(self, items: list[int]) -> int:
        """Tells the items of a shard from others that may come in their place."""
        return zlib.crc32("".join(manifest_line(self.items[index]) for index in items).encode())


def _read_begun(path: Path, how: dict[str, str]) -> dict[int, int]:
    """Of each shard that an attaching which was stopped had written: its items, as `_known`."""
    try:
        found = json.loads(path.read_bytes())
        same = all(found[name] == value for name, value in how.items())
        return {int(shard): int(known) for shard, known in found["shards"].items() if same}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # begin anew
        return {}


def manifest_line(item: Item) -> str:
    """An item as it stands in a manifest."""
    return json.dumps(asdict(item)) + "\n"


@lru_cache(maxsize=256)
def _read_notes(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(path) as data:
            return data["columns"], data["offsets"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is missing or damaged; prepare the store again") from error


def read_manifest(path: Path) -> list[Item]:
    """The items of a manifest.

    Raises:
        DataError: a line is damaged.
    """
    items = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            items.append(Item(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise DataError(f"{path} is damaged in line {number}") from error
    return items
