"""Files that are written whole or not at all, and equal for equal content."""

import io
import json
import os
import signal
import sys
import threading
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from timbrel.errors import InputError


def replace_file(path: Path, data: bytes | memoryview) -> None:
    """Write a file so that it is old or new, never half, even if the power fails."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:  # half of it would fill a full disk
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Where to write a file that takes long to make, so that it appears when it is complete.

    A hidden file beside it, which is gone if this ends otherwise, by a signal too.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}.part")
    with _ended_by_exceptions():
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _ended_by_exceptions() -> Iterator[None]:
    """SIGTERM and SIGHUP, where nobody handles or ignores them, end the program as Ctrl-C does."""
    previous = {}
    if threading.current_thread() is threading.main_thread():  # others may not ask for signals
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has one of them
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                previous[number] = signal.signal(number, lambda n, _: sys.exit(128 + n))
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def write_text(path: Path, text: str) -> None:
    """Write text likewise."""
    replace_file(path, text.encode())


def read_object(path: Path, cure: str) -> dict[str, Any]:
    """A JSON object.

    Args:
        path: of the file.
        cure: what to do if it is damaged, for people.

    Raises:
        InputError: it is missing or damaged, or holds something else.
    """
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is missing or damaged; {cure}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} is damaged: it holds no JSON object; {cure}")
    return found


def begin_line(file: TextIO) -> None:
    """Before a record is appended: end a line that a kill cut short.

    Args:
        file: opened for reading and appending ("a+").
    """
    if file.seek(0, os.SEEK_END):
        file.buffer.seek(-1, os.SEEK_END)
        if file.buffer.read(1) != b"\n":
            file.write("\n")


def _npy(array: np.ndarray) -> memoryview:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getbuffer()


def save_npy(path: Path, array: np.ndarray) -> None:
    """Like numpy's, but whole or not at all."""
    replace_file(path, _npy(array))


def save_npz(path: Path, **arrays: np.ndarray) -> None:
    """Like numpy's, without the time of day, which would make equal content unequal files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, array in arrays.items():
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), _npy(array))
    replace_file(path, buffer.getbuffer())
