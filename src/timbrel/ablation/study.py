"""A study: train recipes at one size on the same data, judge them by the same cases.

Folder of a study:
    study.json            what was asked; another question in the same folder is refused
    NAME/recipe.json      what it trains, and how
    NAME/run, NAME/model  each recipe's training run (resumed) and its model
    NAME/probe.json       its disentanglement numbers
    NAME/failure.txt      why there is no model, if so; the others go on
    judged/               records and sounds of all, as of `timbrel evaluate`
    table.md
"""

import json
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from timbrel.data.files import begin_line, write_text
from timbrel.data.joined import held_out, open_all
from timbrel.data.lock import locked
from timbrel.data.render.soundfont import SoundFont, find_fonts
from timbrel.data.select import Selection, select
from timbrel.data.store import Store
from timbrel.diffusion.samplers import THOROUGH
from timbrel.errors import InputError, TimbrelError, is_lack_of_memory
from timbrel.evaluation.cases import Case, draw_cases
from timbrel.evaluation.job import DRAWN
from timbrel.evaluation.protocol import read_protocol
from timbrel.evaluation.run import claim, judge, read_records
from timbrel.evaluation.systems import CODEC, TRUTH, System, model_rows, references
from timbrel.model import folder_of, load
from timbrel.network import PRESETS, latent_config
from timbrel.serialize import assemble, load_codec, load_listener, read_config
from timbrel.training.held_out import MEASURE, held_out_losses
from timbrel.training.model import train_model
from timbrel.training.probe import ProbeSet, probe
from timbrel.training.recipe import Recipe, changed, read_recipe
from timbrel.training.run import ABSENT, Budget, differences, last_line

FOLDER = Path(__file__).parent / "studies"
KINDS = {"recipes": list, "protocol": str, "cases": int, "model": dict, "training": dict}
NEVER = 10**9  # models are judged when they are done; a collapse is said early all the same
Say = Callable[[str], None]


@dataclass(frozen=True)
class Study:
    """What is compared, and how it is judged.

    Attributes:
        name: the file's.
        question: that it answers.
        recipes: names, or paths of .toml files; the first is what others are compared with.
        protocol: whose cases judge.
        cases: of each level of the protocol.
        model: changes of `ModelConfig` for all recipes, as in a recipe.
        training: changes of `ModelTraining` for all recipes.
    """

    name: str
    question: str
    recipes: tuple[str, ...]
    protocol: str
    cases: int
    model: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Setting:
    """On what, and how long, all recipes of a study are trained.

    Attributes:
        data: stores with latents of `base`'s codec, of which all are learned from.
        valid: held-out store with such latents; also what codes are probed on.
        base: model whose codec and listener all recipes share.
        size: preset that the recipes change.
        budget: of each recipe.
        hours: of the store that recipes use which do not say; None: all.
        seed: of training.
        batch: items per step.
        trust: whether `base`'s codec may be TorchScript.
    """

    data: tuple[Path, ...]
    valid: Path
    base: str
    size: str
    budget: Budget
    hours: float | None = None
    seed: int = 0
    batch: int = 16
    trust: bool = False


def study_names() -> list[str]:
    """All studies that come with timbrel."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_study(name: str) -> Study:
    """A study of ours by its name, or one of the user's by its path.

    Raises:
        InputError: there is no such study, or its file is wrong.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise InputError(
            f"there is no study '{name}'; choose one of {', '.join(study_names())}, or give the "
            "path of a .toml file"
        )
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text())
        for name, kind in KINDS.items():
            if not isinstance(values.get(name, kind()), kind):
                raise TypeError(f"{name} is {values[name]!r}, no {kind.__name__}")
        if not values["recipes"] or values["cases"] < 1:
            raise ValueError("it has no recipes, or no cases")
        if wrong := [recipe for recipe in values["recipes"] if not isinstance(recipe, str)]:
            raise TypeError(f"{wrong[0]!r} among its recipes is no text")
        values["recipes"] = tuple(values["recipes"])
        return Study(name=path.stem, **values)
    except KeyError as error:
        raise InputError(f"{path} is not a study: it does not say {error}") from error
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is not a study: {error}") from error


def recipes_of(study: Study, setting: Setting) -> list[Recipe]:
    """All recipes at the study's size, with its seed, batch and data.

    Raises:
        InputError: no such size or recipe, or a recipe whose file is wrong.
    """
    if setting.size not in PRESETS:
        raise InputError(f"there is no size '{setting.size}'; choose one of {', '.join(PRESETS)}")
    codec = latent_config(load_codec(folder_of(setting.base), setting.trust))
    size = replace(PRESETS[setting.size](), codec=codec)
    found = []
    for name in study.recipes:
        recipe = read_recipe(name, size)
        training = replace(
            changed(recipe.training, study.training, f"study {study.name}"),
            seed=setting.seed,
            batch=setting.batch,
            validate_every=NEVER,
        )
        model = changed(recipe.model, study.model, f"study {study.name}")
        data = recipe.data if recipe.data != Selection() else Selection(hours=setting.hours)
        found.append(replace(recipe, model=model, training=training, data=data))
    return found


def run_study(
    study: Study, setting: Setting, folder: Path, device: torch.device, say: Say = print
) -> None:
    """Train and judge what is not done yet.

    Args:
        study: recipes and cases.
        setting: data, size, budget.
        folder: of the study.
        device: where to train.
        say: told what is going on.

    Raises:
        InputError: the folder holds another study.
        DataError: the stores cannot be used at all, or another process is at work in the folder.
    """
    recipes = recipes_of(study, setting)
    valid = held_out(setting.valid, setting.data, say)
    for store in (open_all(setting.data, "train", say), valid):
        store.check("latents", load_codec(folder_of(setting.base), setting.trust).latent_id)
    folder.mkdir(parents=True, exist_ok=True)
    fonts = [SoundFont(path) for path in find_fonts()]
    with locked(folder):
        _agree(folder / "study.json", study, setting, fonts)
        cases = [make() for make in draw_cases(read_protocol(study.protocol), fonts, study.cases)]
        claim(folder / "judged", {"protocol": study.protocol, "cases": study.cases})
        for recipe in recipes:
            run_recipe(recipe, setting, folder, cases, valid, device, say)


def run_recipe(
    recipe: Recipe,
    setting: Setting,
    folder: Path,
    cases: list[Case],
    valid: Store,
    device: torch.device,
    say: Say,
) -> None:
    """Train, judge and measure one recipe, as far as that is not done yet.

    Raises:
        InputError: the folder holds another recipe of that name.
    """
    say(f"{recipe.name}: {recipe.question}")
    home = folder / recipe.name
    home.mkdir(exist_ok=True)
    asked = {
        "model": asdict(recipe.model),
        "training": asdict(recipe.training),
        "data": asdict(recipe.data),
    }
    _same(home / "recipe.json", asked, "recipe")
    try:
        if not (home / "model" / "config.json").is_file():
            train_recipe(recipe, setting, home, device)
    except (TimbrelError, RuntimeError, MemoryError) as error:
        if not isinstance(error, TimbrelError) and not is_lack_of_memory(error):
            raise
        write_text(home / "failure.txt", f"{error}\n")
        say(f"{recipe.name}: {error}")
        return
    (home / "failure.txt").unlink(missing_ok=True)
    judge_recipe(home, cases, folder / "judged", setting.trust)
    probe_recipe(home, valid, setting.trust)
    hold_out(home, recipe, valid, setting.trust)


def _agree(path: Path, study: Study, setting: Setting, fonts: Sequence[SoundFont]) -> None:
    """Note what all recipes of a folder share; refuse to mix."""
    shared = {
        "protocol": study.protocol,
        "cases": study.cases,
        "drawn": DRAWN,
        "fonts": [font.path.name for font in fonts],  # with others the cases are others
        "size": setting.size,
        "steps": setting.budget.steps,
        "minutes": setting.budget.minutes,
        "hours": setting.hours,
        "seed": setting.seed,
        "batch": setting.batch,
        "data": "+".join(map(str, setting.data)),
        "valid": str(setting.valid),
        "base": setting.base,
    }
    _same(path, shared, "study")


def _same(path: Path, asked: dict[str, Any], what: str) -> None:
    """Note what was asked, or compare it with what was noted.

    Raises:
        InputError: something else was asked here before.
    """
    asked = json.loads(json.dumps(asked))  # tuples as lists
    if not path.exists():
        write_text(path, json.dumps(asked, indent=1) + "\n")
        return
    for name, (wanted, found) in differences(asked, json.loads(path.read_text())):
        if found is ABSENT:  # an earlier version did not note it
            continue
        raise InputError(
            f"{path.parent} holds a {what} with {name} = {found}, not {wanted}; give another folder"
        )


def train_recipe(recipe: Recipe, setting: Setting, home: Path, device: torch.device) -> None:
    """Train one recipe and put its model together.

    Raises:
        KeyboardInterrupt: training was told to stop before its budget was used.
    """
    base = folder_of(setting.base)
    codec = load_codec(base, setting.trust)
    store = select(open_all(setting.data, "train"), recipe.data)
    valid = held_out(setting.valid, setting.data)
    network = train_model(
        store,
        valid,
        codec,
        home / "run",
        recipe.model,
        recipe.training,
        setting.budget,
        device,
    )
    logged = last_line(home / "run", "progress")
    if logged.get("progress", 0.0) < 1:  # it saved what it had, to go on from there
        raise KeyboardInterrupt
    listener = None
    if recipe.model.structure.source == "notes" and "listener" in read_config(base):
        listener = load_listener(base)
    about = {
        "name": recipe.name,
        "licence": "as the data",
        "hours": round(store.hours, 2),
        "sampling": THOROUGH[recipe.model.objective],
    }
    assemble(home / "model", codec, network, listener, about)


def judge_recipe(home: Path, cases: list[Case], judged: Path, trust: bool) -> None:
    """Judge one recipe's model, from notes and from audio, as far as it reads them."""
    player = load(home / "model", "cpu", trust)
    systems: dict[str, System] = {TRUTH: references()[TRUTH]}
    if player.reads_notes:
        systems |= model_rows(player, "notes")
    if not player.reads_notes or player.listener is not None:
        systems |= model_rows(player, "audio")
    systems = {name: play for name, play in systems.items() if name != CODEC}
    done = {(r.case, r.system) for r in read_records(judged)}
    with open(judged / "records.jsonl", "a+") as file:
        begin_line(file)
        for case in cases:
            records = judge(lambda case=case: case, systems, judged, done)  # type: ignore[misc]
            file.writelines(record.to_json() + "\n" for record in records)
            file.flush()


def probe_recipe(home: Path, valid: Store, trust: bool) -> None:
    """Measure one recipe's codes."""
    path = home / "probe.json"
    if path.is_file():
        return
    player = load(home / "model", "cpu", trust)
    passages = ProbeSet(valid, player.codec.frame_rate, 128)
    found = probe(player.network, passages, player.device, player.listener, afresh=True)
    write_text(path, json.dumps(found, indent=1) + "\n")


def hold_out(home: Path, recipe: Recipe, valid: Store, trust: bool) -> None:
    """Measure one recipe's losses on what it was not trained on."""
    path = home / "losses.json"
    if path.is_file() and json.loads(path.read_text()).get("measure") == MEASURE:
        return
    player = load(home / "model", "cpu", trust)
    found = held_out_losses(player.network, player.codec, valid, recipe.training, player.device)
    write_text(path, json.dumps({"measure": MEASURE, **found}, indent=1) + "\n")
