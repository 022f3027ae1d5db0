"""Files are written whole or not at all."""

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from timbrel.data.files import appearing, read_object, write_text
from timbrel.errors import InputError


@pytest.mark.parametrize("text", [None, b"", b'{"a": ', b"[]", b'"\xff"'])
def test_what_is_no_json_object_is_named(tmp_path: Path, text: bytes | None) -> None:
    path = tmp_path / "a.json"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(InputError, match=r"a\.json is .*damaged.*; make it anew"):
        read_object(path, "make it anew")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "a", "old")

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(tmp_path / "a", "new")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


@pytest.fixture(params=["SIGTERM", "SIGHUP"])
def number(request: pytest.FixtureRequest) -> Iterator[int]:
    """A signal that ends a program, as a program finds it: a test before may have handled it."""
    found = getattr(signal, request.param)
    before = signal.signal(found, signal.SIG_DFL)
    yield found
    if before is not None:  # else it was no Python that did
        signal.signal(found, before)


def test_a_signal_leaves_nothing_half_and_the_old_file(tmp_path: Path, number: int) -> None:
    (tmp_path / "a.wav").write_text("old")

    def write() -> None:
        with appearing(tmp_path / "a.wav") as path:
            path.write_text("half")
            signal.raise_signal(number)

    with pytest.raises(SystemExit) as end:
        write()
    assert end.value.code == 128 + number
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    assert (tmp_path / "a.wav").read_text() == "old"
    assert signal.getsignal(number) == signal.SIG_DFL
    with appearing(tmp_path / "a.wav") as path:
        path.write_text("new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["new"]


def test_who_is_to_outlast_a_terminal_does(tmp_path: Path, number: int) -> None:
    signal.signal(number, signal.SIG_IGN)  # as nohup does
    with appearing(tmp_path / "a") as path:
        signal.raise_signal(number)
        path.write_text("whole")
    assert (tmp_path / "a").read_text() == "whole"
