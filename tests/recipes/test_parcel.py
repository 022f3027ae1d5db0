"""Stores that are sent: small, of whole timbres, and good enough to train on."""

import importlib
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from command_line import ENVIRONMENT
from timbrel.codec.spectral import SpectralCodec
from timbrel.data.pairs import Corruption, Pairs
from timbrel.data.store import Store
from timbrel.serialize import save_codec

SCRIPT = Path(__file__).parents[2] / "recipes/default/parcel.py"


@pytest.fixture
def parcel(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    monkeypatch.delitem(sys.modules, "parcel", raising=False)
    found = importlib.import_module("parcel")
    monkeypatch.setattr(found, "BLOCK", 12)
    return found


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, *words]
    return subprocess.run([*map(str, command)], capture_output=True, text=True, env=ENVIRONMENT)


def test_what_is_unpacked_is_what_was_packed(
    parcel: ModuleType, small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path
) -> None:
    parcel.pack([small_store.path], tmp_path / "parcels", tiny_codec, most=0.05)
    folders = sorted((tmp_path / "parcels").iterdir())
    assert len(folders) > 1
    found: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]] = {}
    for folder in folders:
        assert sum(f.stat().st_size for f in folder.iterdir()) < 0.05 * 2**20
        parcel.unpack(folder, tmp_path / "stores" / folder.name)
        store = Store.open(tmp_path / "stores" / folder.name)
        store.check("latents", tiny_codec.latent_id)
        whole = {i: len(v) for i, v in small_store.by_identity.items()}
        assert all(whole[i] == len(v) for i, v in store.by_identity.items())
        for k, item in enumerate(store.items):
            notes = store.notes(k)
            columns = np.stack([notes.onset, notes.offset, notes.pitch, notes.velocity])
            found[item.identity, item.score] = (np.asarray(store.array("latents", k)), columns)
    assert len(found) == len(small_store)
    for k, item in enumerate(small_store.items):
        latent, columns = found[item.identity, item.score]
        true = np.asarray(small_store.array("latents", k), np.float32)
        assert np.abs(latent - true).max() < 0.51 * parcel.STEP
        notes = small_store.notes(k)
        exact = np.stack([notes.onset, notes.offset, notes.pitch, notes.velocity])
        assert columns == pytest.approx(exact, abs=1e-5)


def test_what_is_not_for_training_stays_and_that_is_said(
    parcel: ModuleType,
    small_store: Store,
    tiny_codec: SpectralCodec,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = shutil.copytree(small_store.path, tmp_path / "store")
    lines = (path / "manifest.jsonl").read_text().splitlines(keepends=True)
    lines[:5] = [line.replace('"train"', '"valid"') for line in lines[:5]]
    (path / "manifest.jsonl").write_text("".join(lines))
    parcel.pack([path], tmp_path / "parcels", tiny_codec, most=60)
    assert "43 of 48 items are of the split train; those of valid" in capsys.readouterr().out


def test_silence_comes_out_exact(parcel: ModuleType, tiny_codec: SpectralCodec) -> None:
    zero = parcel.silence(tiny_codec)
    latents = np.tile(zero, (2, 5, 1)).astype(np.float16)
    again = parcel.unshrink(parcel.shrink(latents, zero), latents.shape, zero)
    assert np.array_equal(again, latents)


def test_a_parcel_is_trained_on_as_a_store_is(
    parcel: ModuleType, small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path
) -> None:
    parcel.pack([small_store.path], tmp_path / "parcels", tiny_codec, most=60)
    parcel.unpack(tmp_path / "parcels/0", tmp_path / "store")
    # one after the other, as shards are: then draws are the same
    order = [
        next(
            k
            for k, item in enumerate(small_store.items)
            if (item.identity, item.score) == (sent.identity, sent.score)
        )
        for sent in Store.open(tmp_path / "store").items
    ]
    batches = [
        Pairs(store, tiny_codec.frame_rate, 32, 32, 0, Corruption()).batch(
            8, np.random.default_rng(4)
        )
        for store in (Store.open(tmp_path / "store"), small_store.subset(order))
    ]
    assert (batches[0].roll == batches[1].roll).float().mean() > 0.999
    assert (batches[0].latent - batches[1].latent).abs().max() < 0.51 * parcel.STEP


def test_it_says_what_it_cannot_do(
    parcel: ModuleType,
    small_store: Store,
    tiny_codec: SpectralCodec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["parcel.py", *map(str, words)])
        with pytest.raises(SystemExit) as end:  # it is printed, and the exit code is 1
            parcel.main()
        return str(end.value.code)

    save_codec(tiny_codec, tmp_path / "codec")
    for words, sentence in (
        (("unpack", tmp_path, "-o", tmp_path / "new"), "no parcel"),
        (("unpack", tmp_path / "none", "-o", tmp_path / "new"), "no parcel"),
        (("pack", tmp_path, "-o", tmp_path / "new"), "is not a store"),
        (("pack", small_store.path, "-o", tmp_path / "new"), "made by codec"),
        (("pack", small_store.path, "-o", tmp_path), "is there already"),
    ):
        assert sentence in refused(*words)
    done = run("unpack", tmp_path / "none", "-o", tmp_path / "new")
    assert done.returncode == 1
    assert done.stderr == f"parcel.py: {tmp_path}/none is no parcel, or not a whole one\n"
    assert not (tmp_path / "new").exists()
    parcel.pack([small_store.path], tmp_path / "parcels", tiny_codec, most=60)
    for name in ("latents-0.bz2", "grid.json"):
        (tmp_path / "parcels/0" / name).write_text("{}")
        said = refused("unpack", tmp_path / "parcels/0", "-o", tmp_path / "new")
        assert "parcels/0 is damaged" in said
        assert not (tmp_path / "new").exists()


def test_a_pack_that_fails_leaves_nothing(
    parcel: ModuleType,
    small_store: Store,
    tiny_codec: SpectralCodec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save_codec(tiny_codec, tmp_path / "codec")
    monkeypatch.setattr(parcel.Parcel, "close", lambda self: exec("raise KeyboardInterrupt"))
    words = ["parcel.py", "pack", small_store.path, "-o", tmp_path / "new"]
    monkeypatch.setattr(sys, "argv", [*map(str, words), "--codec", f"{tmp_path}/codec"])
    with pytest.raises(SystemExit, match="130"):
        parcel.main()
    assert not (tmp_path / "new").exists()
