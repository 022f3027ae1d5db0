"""What is said when memory is too small, and where the system fails without a number."""

import re
import sys
from pathlib import Path

import pytest
import torch
import typer

from sounds import RATE, tone
from timbrel.audio import Audio
from timbrel.cli.main import app, main
from timbrel.data.store import Store
from timbrel.errors import InputError


def test_memory_that_is_short_is_one_sentence_whose_options_exist(
    small_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def short(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr("timbrel.training.codec.train_codec", short)
    words = ["timbrel", "train", "codec", "--data", small_store.path, "-o", tmp_path, "--steps", 1]
    monkeypatch.setattr(sys, "argv", list(map(str, words)))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("timbrel: the GPU's memory is too small")
    assert len(said.splitlines()) == 1
    commands = typer.main.get_command(app).commands["train"].commands  # type: ignore[attr-defined]
    options = {
        name: {word for parameter in commands[name].params for word in parameter.opts}
        for name in ("codec", "listener", "model", "distil")
    }
    for word in re.findall(r"--\w+", said):
        takers = ["model"] if word == "--accumulate" else list(options)
        assert all(word in options[name] for name in takers)
    assert "`train model` with twice the --accumulate" in said


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (MemoryError(), "there is not memory enough for this; give less at a time"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you"),
            "there is not memory enough for this; give less at a time",
        ),
        (RuntimeError("CUDA error: out of memory"), "the GPU's memory is too small"),
        (RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"), "the GPU's memory is too small"),
        (PermissionError("Forbidden"), "the system: Forbidden"),  # as of another machine's files
        (FileNotFoundError(2, "No such file or directory", "a.wav"), "a.wav: No such file"),
    ],
)
def test_what_the_system_raises_is_one_sentence(
    error: Exception, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("timbrel.cli.info.describe", fail)
    words = ["timbrel", "info", "default"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"timbrel: {sentence}")
    assert len(said.splitlines()) == 1
    monkeypatch.setattr(sys, "argv", [*words, "--debug"])
    with pytest.raises(type(error)):
        main()


def test_other_errors_of_torch_are_no_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr("timbrel.cli.info.describe", fail)
    monkeypatch.setattr(sys, "argv", ["timbrel", "info", "default"])
    with pytest.raises(RuntimeError, match="multiplied"):
        main()


def test_a_recording_that_memory_does_not_hold_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*_: object, **__: object) -> None:
        raise MemoryError

    Audio(tone(330, 1.0)[None], RATE).write(tmp_path / "a.wav")
    monkeypatch.setattr("soundfile.SoundFile.read", short)
    with pytest.raises(InputError, match="more sound than there is memory for"):
        Audio.read(tmp_path / "a.wav")
