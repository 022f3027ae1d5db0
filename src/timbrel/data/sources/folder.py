"""A folder of recordings: any audio, each alone or with a MIDI file of the same name.

A file is an identity of its own. Files of one sub-folder are one recording family: they
may be takes of one session.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from timbrel.data.sources.files import inside
from timbrel.data.sources.recording import Recording, Skipped, read_midi
from timbrel.errors import DataError

LAYOUT = "audio files (wav, flac, ogg, opus, mp3, aiff, caf, w64, au) at any depth"
AUDIO = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".caf", ".w64", ".au")
MIDI = (".mid", ".midi")


def read(root: Path) -> Iterator[Recording | Skipped]:
    """See `Source.read`."""
    yield from _read_folder(root, root, _content(root))


def _read_folder(root: Path, here: Path, below: list[Path]) -> Iterator[Recording | Skipped]:
    """Everything in one folder and below; first its files, then its folders."""
    yield from _read_files(root, here, [p.name for p in below if not p.is_dir()])
    for path in below:
        if not path.is_dir():
            continue
        relative = path.relative_to(root).as_posix()
        if path.is_symlink():  # never followed: it may lead in a circle
            yield Skipped(relative, "a link to a folder")
            continue
        try:
            content = [] if _is_store(path) else _content(path)
        except OSError:
            yield Skipped(relative, "a folder that cannot be read")
            continue
        yield from _read_folder(root, path, content)


def _content(folder: Path) -> list[Path]:
    """What is directly in a folder and not hidden, by name."""
    return sorted((p for p in folder.iterdir() if p.name[0] != "."), key=lambda p: p.name)


def _is_store(folder: Path) -> bool:
    """Whether a folder holds what this project wrote, which is no source."""
    return (folder / "plan.json").exists() or (folder / "manifest.jsonl").exists()


def _read_files(root: Path, folder: Path, names: list[str]) -> Iterator[Recording | Skipped]:
    """Everything directly in one folder."""
    scores = {Path(n).stem: n for n in names if n.lower().endswith(MIDI)}
    played = {Path(n).stem for n in names if n.lower().endswith(AUDIO)}
    for name in names:
        relative = (folder / name).relative_to(root).as_posix()
        try:
            if name.lower().endswith(AUDIO):
                yield _recording(root, relative, scores.get(Path(name).stem))
            elif not name.lower().endswith(MIDI):
                yield Skipped(
                    relative,
                    "its name is of no audio format that can be read; convert or rename it",
                )
            elif Path(name).stem not in played:
                yield Skipped(relative, "no audio of the same name beside it")
        except DataError as error:
            yield Skipped(relative, str(error))


def _recording(root: Path, relative: str, score: str | None) -> Recording:
    folder = Path(relative).parent.as_posix()
    notes = None
    if score is not None:
        notes = partial(read_midi, inside(root, (Path(relative).parent / score).as_posix()))
    return Recording(
        name=relative,
        audio=(inside(root, relative),),
        identity=f"folder/{relative}",
        family=f"folder/{relative if folder == '.' else folder}",
        instrument="",
        licence="yours",
        notes=notes,
    )
