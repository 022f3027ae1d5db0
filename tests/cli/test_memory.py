"""What is said when the GPU's memory is too small."""

import re
import sys
from pathlib import Path

import pytest
import torch
import typer

from timbrel.cli.main import app, main
from timbrel.data.store import Store


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
