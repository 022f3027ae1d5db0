"""Files of a data set: here, or at any URL that fsspec knows, by the same calls.

A remote folder is a `UPath`, which acts as a `Path` does. What must be a local file (audio
and MIDI, which other libraries open) is copied for as long as it is read.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from timbrel.errors import DataError


def folder_at(place: str) -> Path:
    """A folder by its path or URL (s3://bucket/set, gs://..., memory://...).

    Raises:
        DataError: it is no folder, or a library for such URLs is missing.
    """
    if "://" not in place:
        root = Path(place).resolve()  # readers look at the names of the folders above, too
    else:
        try:
            from upath import UPath

            remote = UPath(place)
        except ImportError as error:
            raise DataError(
                f"{place} needs a library: pip install 'timbrel[remote]' and fsspec's for "
                f"{place.split(':')[0]} ({error})"
            ) from error
        except ValueError as error:
            raise DataError(f"{place} cannot be opened: {error}") from error
        # file:// is here, and its links must be looked through like others
        here = remote.protocol in ("", "file", "local")
        root = Path(remote.path).resolve() if here else cast(Path, remote)
    if not root.is_dir():
        raise DataError(f"{place} is not a folder; give the folder of the data set")
    return root


@contextmanager
def fetched(path: Path) -> Iterator[Path]:
    """A file as a local one, for a while."""
    if isinstance(path, Path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"file{path.suffix}"
        copy.write_bytes(path.read_bytes())
        yield copy


def inside(root: Path, relative: str) -> Path:
    """A file of a data set, by a path that may come from its metadata.

    Raises:
        DataError: the path is absolute, climbs, or leads (by a link) out of `root`, or there
            is no such file.
    """
    if not relative or ".." in Path(relative).parts or Path(relative).is_absolute():
        raise DataError(f"the path {relative!r} does not stay inside the data set")
    path = root / relative
    try:
        if isinstance(path, Path) and not path.resolve(strict=True).is_relative_to(root.resolve()):
            raise DataError(f"{relative} is a link that leads out of the data set")
        if not path.exists():
            raise DataError(f"{relative} does not exist")
        regular = path.is_file()
    except FileNotFoundError:
        raise DataError(f"{relative} does not exist") from None
    except (OSError, RuntimeError, ValueError) as error:  # a circle, too long a name, a NUL
        raise DataError(f"{relative} cannot be reached ({error.__class__.__name__})") from error
    if not regular:
        raise DataError(f"{relative} is not a file")
    return path


def folders(root: Path, depth: int) -> Iterator[Path]:
    """`root` and the folders below it, sorted, to a depth.

    Links are not followed, and what is below `root` and may not be read is left out.
    """
    yield root
    if depth > 0:
        below = [path for path in root.iterdir() if path.is_dir() and not path.is_symlink()]
        for path in sorted(below, key=lambda path: path.name):
            if _is_readable(path):
                yield from folders(path, depth - 1)


def _is_readable(folder: Path) -> bool:
    """Whether we may list a folder's content, and look at it, which is a right of its own."""
    try:
        next((path.is_dir() for path in folder.iterdir()), None)
    except PermissionError:
        return False
    return True


def home_of(root: Path, marker: str) -> Path:
    """The folder that holds `marker`: `root` or one just below it (an unpacked archive).

    Raises:
        DataError: there is none.
    """
    for folder in folders(root, 1):
        if (folder / marker).exists():
            return folder
    raise DataError(f"{root} holds no {marker}")
