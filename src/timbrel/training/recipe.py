"""Recipes: a preset or an ablation is a small TOML file that changes sizes and training.

question = "What is the adversary worth?"
extends = "paper"            # another recipe, by name; left out: ours
[model.structure]            # changes of `ModelConfig`
dim = 8
[training]                   # changes of `ModelTraining`
adversary = 0.0
[data]                       # part of the store: `Selection`
hours = 4.0
"""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from timbrel.data.select import Selection
from timbrel.errors import InputError
from timbrel.network import PRESETS, ModelConfig
from timbrel.serialize import from_dict
from timbrel.training.settings import ModelTraining

FOLDER = Path(__file__).parent / "recipes"
TABLES = ("model", "training", "data")
T = TypeVar("T")


@dataclass(frozen=True)
class Recipe:
    """What to train, and how.

    Attributes:
        name: the file's.
        question: that it answers as an ablation.
        model: sizes.
        training: hyper-parameters and switches.
        data: part of the store.
    """

    name: str
    question: str
    model: ModelConfig
    training: ModelTraining
    data: Selection


def recipe_names() -> list[str]:
    """All recipes that come with timbrel."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_recipe(name: str, size: ModelConfig, training: ModelTraining | None = None) -> Recipe:
    """A recipe of ours by its name, or one of the user's by its path.

    Args:
        name: such as "paper", or the path of a .toml file.
        size: what its changes of the model apply to.
        training: what its changes of the training apply to; ours by default.

    Raises:
        InputError: there is no such recipe, or its file is wrong; says where.
    """
    path, values = _read(name)
    model, data = size, Selection()
    training = training or ModelTraining()
    chain = [(path, values)]
    while (base := chain[-1][1].get("extends")) is not None:
        chain.append(_read(str(base)))
        if any(chain[-1][0].samefile(other) for other, _ in chain[:-1]):
            raise InputError(f"{path} extends itself, by way of '{base}'")
    for where, changes in reversed(chain):
        model = changed(model, changes.get("model", {}), f"{where}: model")
        training = changed(training, changes.get("training", {}), f"{where}: training")
        data = changed(data, changes.get("data", {}), f"{where}: data")
    return Recipe(path.stem, str(values.get("question", "")), model, training, data)


def preset(name: str) -> Recipe:
    """A size (tiny, small, base) trained our way, or "paper": `small`, the paper's way.

    Raises:
        InputError: there is none of that name.
    """
    if name in PRESETS:
        return Recipe(name, "", PRESETS[name](), ModelTraining(), Selection())
    if name == "paper":
        return read_recipe("paper", PRESETS["small"]())
    raise InputError(f"there is no preset '{name}'; choose one of {', '.join(PRESETS)}, paper")


def _read(name: str) -> tuple[Path, dict[str, Any]]:
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise InputError(
            f"there is no recipe '{name}'; choose one of {', '.join(recipe_names())}, or give "
            "the path of a .toml file"
        )
    try:
        values = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a recipe: {error}") from error
    unknown = sorted(set(values) - {*TABLES, "question", "extends"})
    if unknown:
        raise InputError(f"{path} sets the unknown '{unknown[0]}'; a recipe has {TABLES}")
    for name in TABLES:
        if not isinstance(values.get(name, {}), dict):
            raise InputError(f"{path}: {name} is a table of settings, not {values[name]!r}")
    return path, values


def changed(config: T, changes: Mapping[str, Any], where: str) -> T:
    """A copy of a (nested) frozen dataclass with some fields changed.

    Raises:
        InputError: a field that does not exist, named, or a value of another kind.
    """
    assert is_dataclass(config)
    assert not isinstance(config, type)
    known = {f.name: getattr(config, f.name) for f in fields(config)}
    values = asdict(config)
    for name, value in changes.items():
        if name not in known:
            raise InputError(f"{where} sets the unknown '{name}'; it has {', '.join(known)}")
        if is_dataclass(known[name]):
            if not isinstance(value, dict):
                raise InputError(f"{where}.{name} is a table of settings, not {value!r}")
            value = asdict(changed(known[name], value, f"{where}.{name}"))
        elif not _alike(value, known[name]):
            raise InputError(f"{where}.{name} is {value!r}; it should be like {known[name]!r}")
        values[name] = value
    return from_dict(type(config), values, where)


def _alike(value: Any, example: Any) -> bool:
    """Whether a TOML value can stand where the example does."""
    if isinstance(example, bool) or isinstance(value, bool):
        return isinstance(example, bool) and isinstance(value, bool)
    if isinstance(example, float) or example is None:
        return isinstance(value, int | float)
    if isinstance(example, tuple):
        return isinstance(value, list)
    return isinstance(value, type(example))
