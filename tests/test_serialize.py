"""Model folders: what is written, and what is said when it is not there any more."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from conftest import Killed
from timbrel.errors import ModelError
from timbrel.model import DEFAULT, Timbrel, load
from timbrel.network import LatentConfig, Network, tiny
from timbrel.serialize import (
    assemble,
    load_codec,
    load_listener,
    load_network,
    read_config,
    read_weights,
    save_codec,
    save_folder,
    save_listener,
    save_network,
)


@pytest.fixture(scope="module")
def player(tiny_model: Path) -> Timbrel:
    return load(tiny_model, "cpu")


@pytest.fixture
def model(player: Timbrel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny model, its network in several files."""
    monkeypatch.setattr("timbrel.serialize.LARGEST_FILE", 2**16)
    assemble(tmp_path / "model", player.codec, player.network, player.listener, {})
    assert (tmp_path / "model/network-1.safetensors").is_file()
    return tmp_path / "model"


@pytest.fixture
def shipped(model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same in place of the default model."""
    home = model.parent / "timbrel/weights/default"
    shutil.copytree(model, home)
    monkeypatch.setattr("timbrel.model.DEFAULT", home)
    monkeypatch.setattr("timbrel.checksum.PACKAGE", model.parent / "timbrel")
    return home


def overwrite(path: Path) -> None:
    """Change a few bytes of tensors: the file can still be read."""
    content = bytearray(path.read_bytes())
    content[-64:] = bytes(64)
    path.write_bytes(content)


def test_older_folders_say_elsewhere_what_latents_and_listeners_are(
    player: Timbrel, tmp_path: Path
) -> None:
    codec = LatentConfig(24_000, 320, 8)
    network = Network(replace(tiny(), codec=codec, latent="abc"))
    save_network(network, tmp_path / "network")
    save_listener(player.listener, tmp_path / "listener")
    for name in ("network", "listener"):
        path = tmp_path / name / "config.json"
        config = json.loads(path.read_text())
        if name == "network":
            config["model"]["codec"]["id"] = config["model"].pop("latent")
        else:
            config |= {"rate": 22_050, "hop": 512}
            del config["listener"]["rate"], config["listener"]["hop"]
        path.write_text(json.dumps(config))
    assert load_network(tmp_path / "network").config == network.config
    listener = load_listener(tmp_path / "listener")
    assert (listener.config.rate, listener.config.hop) == (22_050, 512)


def forget(folder: Path) -> None:
    """Make it a folder of an older version, which did not list its files."""
    config = read_config(folder)
    del config["files"]
    (folder / "config.json").write_text(json.dumps(config))


def test_every_folder_lists_its_files(player: Timbrel, model: Path, tmp_path: Path) -> None:
    save_codec(player.codec, tmp_path / "codec")
    save_network(player.network, tmp_path / "network")
    save_listener(player.listener, tmp_path / "listener")
    for folder in (model, *(tmp_path / name for name in ("codec", "network", "listener"))):
        there = folder.glob("*.safetensors")
        digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in there}
        assert read_config(folder)["files"] == digests
        assert {path.name for path in folder.iterdir()} == {*digests, "config.json"}


@pytest.mark.parametrize("name", ["codec", "network", "network-1", "listener"])
@pytest.mark.parametrize(("harm", "words"), [(Path.unlink, "missing"), (overwrite, "damaged")])
def test_a_missing_or_damaged_file_is_named(
    model: Path, name: str, harm: Callable[[Path], None], words: str
) -> None:
    harm(model / f"{name}.safetensors")
    with pytest.raises(ModelError, match=rf"/{name}\.safetensors is {words}.*; copy the model"):
        load(model, "cpu")


@pytest.mark.parametrize(
    ("field", "value"), [("window", "x"), ("objective", 1), ("context", True), ("deviation", None)]
)
def test_a_setting_of_the_wrong_type_is_named(model: Path, field: str, value: object) -> None:
    config = read_config(model)
    config["model"][field] = value
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=f"config.json: '{field}' is {value!r}, which is no"):
        load_network(model)


def test_folders_of_older_versions_load(player: Timbrel, model: Path) -> None:
    forget(model)
    for name, value in load_network(model).state_dict().items():
        torch.testing.assert_close(value, player.network.state_dict()[name])
    (model / "network-1.safetensors").unlink()
    with pytest.raises(ModelError, match=r"a file is missing; copy the model") as caught:
        load_network(model)
    assert len(str(caught.value)) < 300 + len(str(model))


@pytest.mark.parametrize("read", [load, load_codec, load_network, load_listener])
@pytest.mark.parametrize("name", ["config.json", "*.safetensors"])
@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"{")])
def test_the_cure_of_the_default_model_is_given_wherever_it_is_read(
    shipped: Path, read: Callable[[Path], object], name: str, harm: Callable[[Path], object]
) -> None:
    for path in shipped.glob(name):
        harm(path)
    with pytest.raises(ModelError) as caught:
        read(shipped)
    assert "pip install --force-reinstall" in str(caught.value)
    assert "git checkout -- src/timbrel/weights/default" in str(caught.value)


def test_a_default_model_that_is_gone_can_be_brought_back(shipped: Path) -> None:
    shutil.rmtree(shipped)
    with pytest.raises(ModelError, match="--force-reinstall"):
        load("default", "cpu")
    with pytest.raises(ModelError, match="give a folder"):
        load(shipped.parents[2] / "elsewhere", "cpu")


def kill(monkeypatch: pytest.MonkeyPatch, last: int) -> None:
    """Die in place of the file operation of that number."""
    done = iter(range(last))

    def mortal(operation: Callable[..., None]) -> Callable[..., None]:
        def run(*arguments: object) -> None:
            if next(done, None) is None:
                raise Killed
            operation(*arguments)

        return run

    monkeypatch.setattr(os, "replace", mortal(os.replace))
    monkeypatch.setattr(Path, "unlink", mortal(Path.unlink))


def write(folder: Path, number: int) -> None:
    """A model all of whose parts are `number`."""
    weights = {"network": {name: torch.full((8,), float(number)) for name in "ab"}}
    save_folder(folder, {"number": number}, weights)


def read(folder: Path) -> set[float]:
    """The numbers that a model is made of."""
    found = {float(x) for part in read_weights(folder, "network").values() for x in part}
    return found | {read_config(folder)["number"]}


@pytest.mark.parametrize("listed", [True, False])
def test_a_folder_that_is_overwritten_is_whole_whenever_it_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    monkeypatch.setattr("timbrel.serialize.LARGEST_FILE", 16)
    monkeypatch.setattr(os, "fsync", lambda file: None)  # kills need none, and it is slow
    folder = tmp_path / "model"
    for first in range(8):
        for second in range(8):
            shutil.rmtree(folder, ignore_errors=True)
            write(folder, 1)
            if not listed:
                forget(folder)
            for number, last in ((2, first), (3, second)):
                before = read(folder)
                with monkeypatch.context() as patch:
                    kill(patch, last)
                    with pytest.raises(Killed):
                        write(folder, number)
                assert read(folder) in (before, {number})
            write(folder, 4)
            assert read(folder) == {4}
            assert {path.name for path in folder.iterdir()} == {
                "config.json",
                "network.safetensors",
                "network-1.safetensors",
            }


def test_the_default_model_is_small_whole_and_of_half_precision() -> None:
    config, parts = read_config(DEFAULT), {"codec": "codec", "network": "model"}
    weights = {path.name for path in DEFAULT.glob("*.safetensors")}
    stems = {name.removesuffix(".safetensors").split("-")[0] for name in weights}
    assert stems == {stem for stem in (*parts, "listener") if parts.get(stem, stem) in config}
    assert set(config.get("files", weights)) == weights
    sizes = [path.stat().st_size for path in DEFAULT.iterdir()]
    assert max(sizes) <= 16 * 2**20
    assert sum(sizes) < 48 * 2**20
    for name in weights:
        with safe_open(DEFAULT / name, "pt") as file:
            kinds = {part.get_dtype() for part in map(file.get_slice, file.keys())}
            assert kinds == {"F16"}
