"""Codecs and models on disk: a folder of `config.json` and safetensors, never a pickle."""

import hashlib
import json
import re
import secrets
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from timbrel.checksum import check_digest, cure
from timbrel.codec.codec import Codec
from timbrel.codec.external import ExternalCodec, HuggingFaceCodec, TorchScriptCodec
from timbrel.codec.rave import RaveCodec, RaveConfig
from timbrel.codec.spectral import SpectralCodec, SpectralConfig
from timbrel.conditions.listener import Listener, ListenerConfig
from timbrel.data.files import replace_file
from timbrel.errors import ModelError
from timbrel.network import ModelConfig, Network, check_codec

# Of weight files: stem, number if there are several, what marks a copy, what marks a part.
WEIGHT_FILE = re.compile(
    r"(codec|network|listener)(-\d+)?\.safetensors(\.new-[0-9a-f]{8})?(\.tmp)?"
)
FORMAT = 1  # raised when old programs can no longer read what new ones write
LARGEST_FILE = 15 * 2**20  # bytes; bigger weights are split over several files

T = TypeVar("T")


# what JSON may hold for a field of a type
SCALARS: dict[Any, tuple[type, ...]] = {
    bool: (bool,),
    int: (int,),
    float: (float, int),
    str: (str,),
}


def from_dict(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Build a (nested) frozen dataclass from JSON.

    Raises:
        ModelError: an unknown or missing field, or one of another type, named.
    """
    hints = get_type_hints(kind)
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise ModelError(
            f"{where} has the unknown setting '{unknown[0]}'; it was made by a newer version: "
            "update timbrel"
        )
    arguments = {}
    for name, value in values.items():
        hint = hints[name]
        if isinstance(value, dict):
            hint = _kind_for(hint, value)
        nested = is_dataclass(hint) and isinstance(value, dict)
        value = tuple(value) if isinstance(value, list) else value
        if hint in SCALARS and type(value) not in SCALARS[hint]:
            raise ModelError(f"{where}: '{name}' is {value!r}, which is no {hint.__name__}")
        arguments[name] = from_dict(hint, value, where) if nested else value  # type: ignore[arg-type]
    try:
        return kind(**arguments)
    except TypeError as error:
        raise ModelError(f"{where} is incomplete: {error}") from error


def _kind_for(hint: Any, values: Mapping[str, Any]) -> Any:
    """Of several kinds the narrowest that knows all settings; the first if none does."""
    kinds = get_args(hint) or (hint,)
    fitting = [kind for kind in kinds if is_dataclass(kind) and set(values) <= _names(kind)]
    return min(fitting, key=lambda kind: len(_names(kind)), default=kinds[0])


def _names(kind: Any) -> set[str]:
    return {field.name for field in fields(kind)}


def save_folder(
    folder: Path, config: Mapping[str, Any], weights: Mapping[str, Mapping[str, Tensor]]
) -> None:
    """Write a model folder; killed at any moment, it holds the old model or the new one, whole.

    Args:
        folder: made, or written into; files that are not of a model are kept.
        config: JSON-able; the names of all weight files and their SHA-256 are added as "files".
        weights: file stem -> tensors; float tensors are stored as float16.

    Raises:
        ModelError: the folder is that of a training run.
    """
    if (folder / "checkpoints").exists():
        raise ModelError(
            f"{folder} holds a training run, whose config.json would be lost; give another folder"
        )
    contents = dict(_contents(weights))
    folder.mkdir(parents=True, exist_ok=True)
    # config.json never names a file that is being replaced: it names copies in the meantime
    for mark in (f".new-{secrets.token_hex(4)}", ""):
        files = {}
        for name, content in contents.items():
            replace_file(folder / f"{name}{mark}", content)
            files[f"{name}{mark}"] = hashlib.sha256(content).hexdigest()
        document = {"format": FORMAT, **config, "files": files}
        replace_file(folder / "config.json", (json.dumps(document, indent=1) + "\n").encode())
    for path in folder.iterdir():
        if WEIGHT_FILE.fullmatch(path.name) and path.name not in contents:
            path.unlink()


def _contents(weights: Mapping[str, Mapping[str, Tensor]]) -> Iterator[tuple[str, bytes]]:
    """Names of weight files, and what they hold."""
    for stem, tensors in weights.items():
        for number, part in enumerate(_parts(tensors)):
            suffix = f"-{number}" if number else ""
            yield f"{stem}{suffix}.safetensors", save(part)


def _parts(tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Split tensors so that no file is larger than `LARGEST_FILE`."""
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        stored = tensor.detach().cpu()
        stored = stored.half() if stored.dtype.is_floating_point else stored
        bytes_ = stored.numel() * stored.element_size()
        if parts[-1] and size + bytes_ > LARGEST_FILE:
            parts.append({})
            size = 0
        parts[-1][name] = stored.contiguous()
        size += bytes_
    return parts


def read_config(folder: Path) -> dict[str, Any]:
    """The `config.json` of a model folder.

    Raises:
        ModelError: no such folder, no or broken configuration, a newer format.
    """
    path = folder / "config.json"
    another = cure(path, "give a folder that holds one")
    if not folder.is_dir():
        raise ModelError(f"no model at {folder}, there is no such folder; {another}")
    if not path.is_file():
        raise ModelError(f"{folder} is not a model: it holds no config.json; {another}")
    try:
        config = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise ModelError(f"{path} cannot be read ({error}); {cure(path)}") from error
    if (
        not isinstance(config, dict)
        or not isinstance(config.get("format"), int)
        or not isinstance(config.get("files", {}), dict)
    ):
        raise ModelError(
            f"{path} is not the configuration of a timbrel model (a run keeps what it trained in "
            f"its folders 'model', 'codec' or 'listener'); {another}"
        )
    if config["format"] > FORMAT:
        raise ModelError(
            f"{folder} has format {config['format']}, this timbrel reads up to {FORMAT}: update it"
        )
    return config


def weight_files(folder: Path, stem: str) -> dict[str, str | None]:
    """The files over which the weights of `stem` are spread, and their SHA-256.

    Older folders do not list their files: those that are there count, their SHA-256 is None.
    """
    there = (path.name for path in sorted(folder.glob("*.safetensors")))
    listed = read_config(folder).get("files") or dict.fromkeys(there)
    matches = {name: WEIGHT_FILE.fullmatch(name) for name in listed}
    return {name: listed[name] for name, match in matches.items() if match and match[1] == stem}


def read_weights(folder: Path, stem: str) -> dict[str, Tensor]:
    """All tensors saved under `stem`, as float32.

    Raises:
        ModelError: a file is missing or damaged, by name.
    """
    files = weight_files(folder, stem)
    if not files:
        path = folder / f"{stem}.safetensors"
        raise ModelError(f"{path} is missing; {cure(path)}")
    weights: dict[str, Tensor] = {}
    for name, sha256 in files.items():
        path = folder / name
        if sha256 is not None:
            check_digest(path, sha256)
        try:
            loaded = load_file(str(path))
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path} is damaged ({error}); {cure(path)}") from error
        weights |= {k: v.float() if v.dtype == torch.float16 else v for k, v in loaded.items()}
    return weights


def load_weights(module: torch.nn.Module, weights: Mapping[str, Tensor], where: Path) -> None:
    """Put tensors into a module.

    Raises:
        ModelError: a tensor is missing, unknown or of another shape.
    """
    try:
        module.load_state_dict(dict(weights))
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise ModelError(
            f"the weights in {where} do not fit its config.json ({textwrap.shorten(first, 120)}): "
            f"another version made it, or a file is missing; {cure(where / 'config.json')}"
        ) from error


CodecConfig = SpectralConfig | RaveConfig
HUB_NAME = re.compile(r"(facebook|descript)/[\w.-]+")  # who publishes EnCodec and DAC
DESIGNS: dict[str, Any] = {"spectral": SpectralConfig, "rave": RaveConfig}


def build_codec(config: CodecConfig) -> Codec:
    """A codec of its configuration's design, untrained."""
    return RaveCodec(config) if isinstance(config, RaveConfig) else SpectralCodec(config)


def describe_codec(codec: Codec) -> dict[str, Any]:
    """The configuration of a codec, with its design; of somebody else's, where it is."""
    if isinstance(codec, ExternalCodec):
        source = Path(codec.source)
        where = str(source.resolve()) if source.exists() else codec.source
        return {"design": "external", "source": where, "digest": codec.digest}
    design = "rave" if isinstance(codec, RaveCodec) else "spectral"
    return {"design": design, **asdict(codec.config)}


def save_codec(codec: Codec, folder: Path) -> None:
    """Write a codec folder."""
    config = {"kind": "codec", "codec": describe_codec(codec)}
    save_folder(folder, config, {"codec": codec.state_dict()})


def load_codec(source: str | Path, trust: bool = False) -> Codec:
    """Read a codec.

    Args:
        source: a codec folder, a model folder, a TorchScript file, a folder of EnCodec or DAC
            as transformers saves them, or "owner/name" of one on the Hugging Face hub.
        trust: allow TorchScript, which is code.

    Raises:
        ModelError: see `read_config` and `read_weights`; a file that is not trusted or no codec.
    """
    path = Path(source)
    if path.is_file():
        if not trust:
            raise ModelError(
                f"{path} is TorchScript, which is code and can do anything that you can; if you "
                "trust who made it, add --trust (in Python: trust=True)"
            )
        return TorchScriptCodec(path)
    if _hugging_face(path):
        return HuggingFaceCodec(str(source))
    config = read_config(path)
    if "codec" not in config:
        raise ModelError(
            f"{path} holds no codec: it is part of a model; `timbrel train assemble` puts codec, "
            "network and listener together"
        )
    settings = dict(config["codec"])
    design = settings.pop("design", "spectral")  # the first codecs name none
    if design == "external":
        external = load_codec(settings["source"], trust)
        if describe_codec(external).get("digest") != settings["digest"]:
            raise ModelError(f"{settings['source']} is not the codec that {path} was trained with")
        return external
    if design not in DESIGNS:
        raise ModelError(f"{path} holds a codec of the unknown design '{design}': update timbrel")
    codec = build_codec(from_dict(DESIGNS[design], settings, str(path / "config.json")))
    load_weights(codec, read_weights(path, "codec"), path)
    return codec.eval()


def _hugging_face(path: Path) -> bool:
    """Whether this is a folder that transformers saved, or could be a name on its hub."""
    if path.is_dir():
        try:
            return "model_type" in json.loads((path / "config.json").read_text())
        except (OSError, ValueError):
            return False
    return (
        not path.exists() and not path.is_absolute() and HUB_NAME.fullmatch(str(path)) is not None
    )


def save_network(network: Network, folder: Path) -> None:
    """Write the network's part of a model folder (codec and listener go beside it)."""
    config = {"kind": "network", "model": asdict(network.config)}
    save_folder(folder, config, {"network": network.state_dict()})


def load_network(folder: Path) -> Network:
    """Read the network of a model folder.

    Raises:
        ModelError: see `read_config` and `read_weights`.
    """
    config = read_config(folder)
    if "model" not in config:
        raise ModelError(f"{folder} holds no model, only: {config.get('kind', 'nothing known')}")
    values = dict(config["model"])
    if "id" in (codec := dict(values.get("codec", {}))):  # where older versions noted it
        values |= {"latent": codec.pop("id"), "codec": codec}
    network = Network(from_dict(ModelConfig, values, str(folder / "config.json")))
    load_weights(network, read_weights(folder, "network"), folder)
    return network.eval()


def save_listener(listener: Listener, folder: Path) -> None:
    """Write a listener folder."""
    document = {"kind": "listener", "listener": asdict(listener.config)}
    save_folder(folder, document, {"listener": listener.state_dict()})


def load_listener(folder: Path) -> Listener:
    """Read the listener of a listener or model folder.

    Raises:
        ModelError: see `read_config` and `read_weights`.
    """
    config = read_config(folder)
    if "listener" not in config:
        raise ModelError(f"{folder} holds no listener, so it cannot read notes from audio")
    # older versions noted rate and hop beside it
    older = config["model"]["codec"] if "model" in config else config
    made_for = {name: older[name] for name in ("rate", "hop") if name in older}
    values = {**made_for, **config["listener"]}
    size = from_dict(ListenerConfig, values, str(folder / "config.json"))
    listener = Listener(size)
    load_weights(listener, read_weights(folder, "listener"), folder)
    return listener.eval()


def assemble(
    folder: Path,
    codec: Codec,
    network: Network,
    listener: Listener | None,
    about: Mapping[str, Any],
) -> None:
    """Write a complete model folder.

    Args:
        folder: where.
        codec: decoder and basis.
        network: encoders and denoiser, trained on this codec's latents.
        listener: needed to take structure from audio.
        about: name, licence, training, scores: shown by `timbrel info`.

    Raises:
        ModelError: the network was trained on another codec's latents.
    """
    check_codec(network, codec)
    config: dict[str, Any] = {
        "kind": "model",
        "about": dict(about),
        "codec": describe_codec(codec),
        "model": asdict(network.config),
    }
    weights: dict[str, Mapping[str, Tensor]] = {"network": network.state_dict()}
    if not isinstance(codec, ExternalCodec):  # that stays where it is
        weights["codec"] = codec.state_dict()
    if listener is not None:
        config["listener"] = asdict(listener.config)
        weights["listener"] = listener.state_dict()
    save_folder(folder, config, weights)
