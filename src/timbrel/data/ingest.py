"""Reading a data set into a store: resumable, with a report of all that was left out.

The store names every passage's recording and start, and `fingerprints.jsonl` tells each recording
from another of its name. A run that was stopped goes on after
the last passage of the manifest; what is only in the report, and the rest of a file that could
not be read to its end, is tried again, so a file that was mended is added by the same command.
"""

import filecmp
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from timbrel.data.engine import Engine, Local
from timbrel.data.files import replace_file
from timbrel.data.level import levelled
from timbrel.data.lock import locked
from timbrel.data.passages import RATE, SECONDS, Passage, cut
from timbrel.data.render.timbres import SPLITS
from timbrel.data.sources import SOURCES, source
from timbrel.data.sources.files import fetched, folder_at
from timbrel.data.sources.recording import Recording, Skipped, digest, split_of
from timbrel.data.store import Item
from timbrel.data.variation import Augmentation, Variation
from timbrel.data.writer import StoreWriter
from timbrel.errors import DataError, TimbrelError
from timbrel.notes import Notes

PER_SHARD = 64
PROBE = 65_536  # bytes
VERSION = 2  # of the cutting: stores of another version are not continued
REPORT = "report.jsonl"
FINGERPRINTS = "fingerprints.jsonl"  # of the recordings' files, by name
ANOTHER = "the store holds another file of this name; prepare a new store for this one"

Transcriber = Callable[[np.ndarray, int], Notes]


def prepare(
    name: str,
    place: str | Path,
    path: Path,
    transcriber: Transcriber | None = None,
    augmentation: Augmentation | None = None,
    split: str | None = None,
    progress: Callable[[float], None] | None = None,
    engine: Engine | None = None,
    instrument: str | None = None,
) -> int:
    """Read a data set into a store, or continue to.

    Args:
        name: one of `SOURCES`.
        place: folder of the data set, or its URL; nothing outside it is read.
        path: store.
        transcriber: (samples (n,), Hz) -> notes, for pitched recordings that have none.
        augmentation: how recordings are varied.
        split: that all recordings are put into; None: the set's own, or by recording family.
        progress: called with the share that is done.
        engine: where it is read, by default here; the result does not depend on it.
        instrument: that plays all of it, so that its recordings are of one timbre; None: the
            source's own, or each file is a timbre of its own.

    Returns:
        How many lines the report has.

    Raises:
        DataError: there is no such source, split or folder, nothing in it is usable, or the
            store is of another source or in use.
    """
    if name not in SOURCES:
        raise DataError(f"there is no source '{name}'; choose one of {', '.join(SOURCES)}")
    if split is not None and split not in SPLITS:
        raise DataError(f"there is no split '{split}'; choose one of {', '.join(SPLITS)}")
    if instrument is not None and not instrument.strip():
        raise DataError("the instrument has no name; leave it out where files are of several")
    augmentation = augmentation or Augmentation()
    augmentation.check()
    root = folder_at(str(place))
    # those without notes last: of two copies of a file, the one with notes is kept
    entries = sorted(
        source(name).read(root), key=lambda e: isinstance(e, Recording) and e.notes is None
    )
    if instrument is not None:
        entries = [_played_by(instrument, name, entry) for entry in entries]
    if not any(isinstance(entry, Recording) for entry in entries):
        raise _unusable(name, root, [entry for entry in entries if isinstance(entry, Skipped)])
    path.mkdir(parents=True, exist_ok=True)
    with locked(path):
        plan = {
            "source": name,
            "version": VERSION,
            "seconds": SECONDS,
            "transcribe": transcriber is not None,
            **asdict(augmentation),
            **({} if split is None else {"split": split}),
            **({} if instrument is None else {"instrument": instrument}),
        }
        writer = StoreWriter(path, plan)
        report = _Ingestion(name, writer, augmentation, split).run(
            entries, transcriber, engine or Local(), progress
        )
    if not writer.items:
        raise _unusable(name, root, report)
    return len(report)


def _played_by(instrument: str, source: str, entry: Recording | Skipped) -> Recording | Skipped:
    """A take of that instrument."""
    if isinstance(entry, Skipped):
        return entry
    return replace(entry, identity=f"{source}/{instrument}", instrument=instrument)


def _unusable(name: str, root: Path, report: list[Skipped]) -> DataError:
    first = f" ({report[0].name}: {report[0].reason})" if report else ""
    return DataError(
        f"nothing in {root} could be used{first}; a {name} folder holds {source(name).LAYOUT}"
    )


class _Ingestion:
    """One run over all recordings of a source."""

    def __init__(
        self, name: str, writer: StoreWriter, augmentation: Augmentation, split: str | None
    ) -> None:
        self.name, self.writer, self.augmentation, self.split = name, writer, augmentation, split
        self.families = {item.family: item.split for item in writer.items}
        self.done = {item.recording for item in writer.items}
        self.marks = _read_marks(writer.path / FINGERPRINTS)
        self.reached = {item.recording: item.start for item in writer.items}
        self.skipped = _read_report(writer.path / REPORT, self.done)
        # of these the last passage that is there may not be the last there is
        self.unfinished = {skipped.name for skipped in self.skipped if skipped.unread}
        for name in self.unfinished:  # its file may have been mended
            self.marks.pop(name, None)
        self.skipped = {s for s in self.skipped if not s.unread and s.reason != ANOTHER}
        if writer.items:
            self.unfinished.add(writer.items[-1].recording)
        self.shard = max(writer.shards, default=-1) + 1
        self.rows: list[Row] = []
        self.copies = _Copies()
        self.gone: dict[str, str] = {}  # recordings that lack a file of their name, by fingerprint

    def run(
        self,
        entries: list[Recording | Skipped],
        transcriber: Transcriber | None,
        engine: Engine,
        progress: Callable[[float], None] | None,
    ) -> list[Skipped]:
        """Read all entries; returns the report."""
        # what the store holds comes first: of two copies, it has one already
        entries = sorted(entries, key=lambda entry: entry.name not in self.done)
        gone = self.done - {entry.name for entry in entries}
        self.gone = {mark: name for name, mark in self.marks.items() if name in gone}
        jobs = self._jobs(entries, progress)
        how = _How(self.name, transcriber, self.augmentation.level_db)
        for part in engine.run(_passages, how, jobs):
            if isinstance(part, Skipped):
                self.skipped.add(part)
                continue
            samples, notes, item = part
            self.rows.append((samples, notes, replace(item, shard=self.shard, row=len(self.rows))))
            if len(self.rows) == PER_SHARD:
                self._commit()
        self._commit()
        return _sorted(self.skipped)

    def _jobs(
        self, entries: list[Recording | Skipped], progress: Callable[[float], None] | None
    ) -> Iterator[tuple[Recording, float]]:
        """What is missing: recordings, and the start of the last passage that is there."""
        for number, entry in enumerate(entries, 1):
            mark = fingerprint(entry.audio[0]) if isinstance(entry, Recording) else ""
            reason = self._refusal(entry, mark)
            if reason:
                self.skipped.add(Skipped(entry.name, reason))
            elif isinstance(entry, Recording):
                if mark:  # else what is known of it stays
                    self.marks[entry.name] = mark
                for version in self._versions(entry):
                    if version.name in self.unfinished:
                        yield version, self.reached[version.name]
                    elif version.name not in self.done:
                        yield version, -1.0
            if progress is not None:
                progress(number / len(entries))

    def _refusal(self, entry: Recording | Skipped, mark: str) -> str:
        """Why an entry with this fingerprint cannot be used; "" if it can."""
        if isinstance(entry, Skipped):
            return entry.reason
        known = self.marks.get(entry.name) if entry.name in self.done else ""
        if mark and known and mark != known:
            return ANOTHER
        # renamed or moved: by its new name, it might be of another split
        alone = entry.name not in self.done and len(entry.audio) == 1
        if alone and mark in self.gone and not _is_silent(entry.audio[0]):
            return f"the store holds this file already, as {self.gone[mark]}"
        split = self.split or entry.split or split_of(entry.family)
        home = self.families.get(entry.family, split)
        if home != split:
            return f"its recording family {entry.family} is already in the split {home}"
        original = self.copies.of(entry, mark)
        if original:
            return f"the same file as {original}"
        self.families[entry.family] = home
        return ""

    def _versions(self, recording: Recording) -> Iterator[Recording]:
        """A recording and, for training, its variants; all say their split and performance."""
        performance = recording.performance or f"{self.name}/{recording.name}"
        split = self.families[recording.family]
        recording = replace(recording, performance=performance, split=split)
        yield recording
        if split != "train":
            return
        # drums have no pitch, and slots no time to spare
        pitched = not recording.drums and not recording.slot_seconds
        for number in range(1, self.augmentation.variants + 1):
            rng = np.random.default_rng([digest(recording.identity), number])
            yield replace(
                recording,
                name=f"{recording.name} ~{number}",
                identity=f"{recording.identity} ~{number}",
                performance=f"{performance} ~{recording.identity} ~{number}",
                variation=Variation.draw(rng, self.augmentation, pitched),
            )

    def _commit(self) -> None:
        """Write the shard that has come together; the report and fingerprints so far before it."""
        lines = [_report_line(skipped) for skipped in _sorted(self.skipped)]
        replace_file(self.writer.path / REPORT, "".join(f"{line}\n" for line in lines).encode())
        lines = [json.dumps({"recording": k, "file": v}) for k, v in sorted(self.marks.items())]
        replace_file(
            self.writer.path / FINGERPRINTS, "".join(f"{line}\n" for line in lines).encode()
        )
        if self.rows:
            audio, notes, items = zip(*self.rows, strict=True)
            self.writer.write_shard(self.shard, np.stack(audio), notes, items)
            self.rows, self.shard = [], self.shard + 1


Row = tuple[np.ndarray, Notes, Item]  # audio (SECONDS at RATE,), notes, manifest line


@dataclass(frozen=True)
class _How:
    """What holds for all recordings of a source."""

    source: str
    transcriber: Transcriber | None
    level_db: float


def _passages(how: _How, job: tuple[Recording, float]) -> Iterator[Row | Skipped]:
    """The passages of a recording that are missing, for an engine."""
    recording, after = job
    for part in cut(recording, after):
        yield part if isinstance(part, Skipped) else _row(how, recording, part)


def _row(how: _How, recording: Recording, passage: Passage) -> Row:
    """A passage as a store holds it, but for its place there."""
    rng = np.random.default_rng(digest(f"{recording.name} {passage.start}"))
    samples, loudness = levelled(passage.audio, rng, how.level_db)
    notes, origin = passage.notes, "given"
    if notes is None and how.transcriber is not None and not passage.drums:
        notes, origin = how.transcriber(samples, RATE), "transcribed"
    if notes is None:
        notes, origin = Notes.empty(), "none"
    full = round(SECONDS * RATE)
    item = Item(
        shard=-1,
        row=-1,
        length=full,
        rate=RATE,
        identity=recording.identity,
        score=digest(f"{recording.performance} {passage.start}"),
        family=recording.family,
        split=recording.split or "",
        licence=recording.licence,
        drums=passage.drums,
        loudness=loudness,
        source=how.source,
        instrument=recording.instrument,
        recording=recording.name,
        start=passage.start,
        silence=full - len(samples),
        notes=origin,
    )
    return np.pad(samples, (0, item.silence)), notes, item


def fingerprint(path: Path) -> str:
    """Of a file's length and its middle, since stems begin and end alike; "" if unreadable."""
    try:
        size, middle = _middle(path)
    except OSError:  # decoding will say what is wrong with it
        return ""
    return hashlib.blake2b(b"%d " % size + middle, digest_size=8).hexdigest()


def _middle(path: Path) -> tuple[int, bytes]:
    """A file's length, and what is in its middle."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(size // 2)
        return size, file.read(PROBE)


def _is_silent(path: Path) -> bool:
    """Whether a file's middle is digital silence, as that of many others of its length may be."""
    return len(set(_middle(path)[1])) < 2


class _Copies:
    """Finds files of equal content, reading little of those that differ."""

    def __init__(self) -> None:
        self.seen: dict[str, list[Recording]] = {}

    def of(self, recording: Recording, mark: str) -> str:
        """Name of an earlier recording with the same file that can be used; "" if there is none."""
        if len(recording.audio) != 1 or not mark:
            return ""
        path = recording.audio[0]
        peers = self.seen.setdefault(mark, [])
        try:
            for peer in peers:
                with fetched(path) as first, fetched(peer.audio[0]) as second:
                    size = first.stat().st_size
                    equal = size and filecmp.cmp(first, second, shallow=False)
                if equal and _notes_are_read(peer):
                    return peer.name
        except OSError:  # decoding will say what is wrong with it
            return ""
        peers.append(recording)
        return ""


def _notes_are_read(recording: Recording) -> bool:
    """Whether a recording's notes, if it has any, can be read; else it is left out."""
    try:
        if recording.notes is not None:
            recording.notes()
    except (TimbrelError, OSError):
        return False
    return True


def _report_line(skipped: Skipped) -> str:
    line: dict[str, object] = {"item": skipped.name, "reason": skipped.reason}
    if skipped.unread:
        line["unread"] = True
    return json.dumps(line)


def _sorted(skipped: set[Skipped]) -> list[Skipped]:
    """In an order that does not depend on how often a run was stopped."""
    return sorted(skipped, key=lambda s: (s.name, s.reason))


def _read_report(path: Path, done: set[str]) -> set[Skipped]:
    """What an earlier run left out of recordings that are in the store."""
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return {
            Skipped(x["item"], x["reason"], x.get("unread", False))
            for x in lines
            if x["item"] in done
        }
    except FileNotFoundError:
        return set()
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} is damaged; delete it and run again") from error


def _read_marks(path: Path) -> dict[str, str]:
    """Fingerprints of recordings; none in a store that an earlier version prepared."""
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return {x["recording"]: x["file"] for x in lines}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} is damaged; delete it and run again") from error
