"""A default model that is not whole: every command says how to bring it back."""

import shutil
import sys
from pathlib import Path

import pytest

from timbrel.cli.main import main
from timbrel.data.store import Store
from timbrel.notes import Notes


@pytest.mark.parametrize(
    "command",
    [
        "info default",
        "render SONG --timbre TONE -o OUT.wav",
        "transcribe TONE -o OUT.mid",
        "reconstruct TONE -o OUT.wav",
        "prepare latents STORE --codec default",
        "prepare heard STORE --model default",
        "train codec --data STORE -o OUT --from default --steps 1",
        "train model --data STORE -o OUT --from default --steps 1",
        "train distil --data STORE -o OUT --from default --steps 1",
        "train assemble --codec default --network OUT -o OUT",
        "ablate method --data STORE --valid STORE -o OUT --steps 1",
        "probe default --data STORE",
    ],
)
def test_damage_is_one_sentence_with_the_cure(
    command: str,
    tiny_model: Path,
    small_store: Store,
    tone_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home = tmp_path / "timbrel/weights/default"
    shutil.copytree(tiny_model, home)
    monkeypatch.setattr("timbrel.model.DEFAULT", home)
    monkeypatch.setattr("timbrel.checksum.PACKAGE", tmp_path / "timbrel")
    # what hears notes needs no codec
    damaged = f"{'listener' if 'heard' in command else 'codec'}.safetensors"
    content = bytearray((home / damaged).read_bytes())
    content[-64:] = bytes(64)
    (home / damaged).write_bytes(content)
    Notes.from_rows([(0, 0.5, 60, 90)]).write(tmp_path / "song.mid")
    names = {
        "SONG": tmp_path / "song.mid",
        "TONE": tone_file,
        "STORE": small_store.path,
        "OUT": tmp_path / "out",
    }
    for name, path in names.items():
        command = command.replace(name, str(path))
    monkeypatch.setattr(sys, "argv", ["timbrel", *command.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{damaged} is damaged" in line
    assert "`pip install --force-reinstall`" in line
    assert "`git checkout -- src/timbrel/weights/default`" in line
