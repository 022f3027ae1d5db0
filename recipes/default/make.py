"""The default model from nothing: data, codec, listener, model, decoder, evaluation, card.

    python recipes/default/make.py recipes/default/two-cores.toml -o runs/default

Every stage is a `timbrel` command, printed before it runs. Stop it whenever you like (Ctrl-C, or
`--minutes`): the same command goes on where it was. `done/` keeps what each stage was run with;
another configuration of what is done is refused. Sources are those of free licence: MuseScore
General (MIT, parts CC0; `make fonts`) and the own synthesiser. Validation uses TimGM6mb, which is
never trained on.
"""

import argparse
import json
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from card import RUNS, write_card

from timbrel.data.files import write_text
from timbrel.data.render.soundfont import SoundFont, find_fonts
from timbrel.errors import TimbrelError
from timbrel.evaluation.cases import pool
from timbrel.evaluation.compare import comparison
from timbrel.evaluation.protocol import read_protocol
from timbrel.training.run import Budget, differences, last_line

PATIENCE = 60  # seconds that a stopped stage has to save what it did
SEEDS = {"train": 1, "valid": 2}
NEEDED: dict[str, tuple[str, ...]] = {  # and sections [distil] and [decoder], if wanted
    "render": ("train", "valid", "synth_share"),
    "codec": (),
    "listener": (),
    "model": (),
    "sampling": (),
    "evaluate": ("protocols",),
}


@dataclass(frozen=True)
class Stage:
    """A part of the recipe.

    Attributes:
        name: unique.
        commands: of `timbrel`, in order.
        settings: what its result depends on, of all that the configuration says.
    """

    name: str
    commands: list[list[str]]
    settings: dict[str, Any]


def arguments(**options: Any) -> list[str]:
    """Keyword arguments as options of a command."""
    return [
        word
        for name, value in options.items()
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]


def fonts() -> dict[str, list[str]]:
    """Sound fonts of each split: the free one to train with, another family to validate."""
    found = [SoundFont(path) for path in find_fonts()]
    free = [f for f in found if f.free and "musescore" in f.path.name.lower()]
    other = [f for f in found if f.family == "timgm"]
    return {
        "train": arguments(font=free[0].path) if free else [],
        "valid": arguments(font=other[0].path) if other else [],
    }


def stages(config: dict[str, Any], out: Path) -> Iterator[Stage]:
    """Everything up to the assembled model, in order."""
    render = dict(config["render"])
    counts = {split: render.pop(split) for split in SEEDS}
    share, workers = render.pop("synth_share"), render.pop("workers", 1)
    for split, font in fonts().items():
        more = [*arguments(count=counts[split], split=split, seed=SEEDS[split], **render), *font]
        more += arguments(synth_share=share if font else 1.0, workers=workers)
        settings = {split: counts[split], "synth_share": share, **render}
        words = ["prepare", "render", "-o", f"{out / split}", *more]
        yield Stage(f"render-{split}", [words], {"render": settings})
    codec, listener, network = (out / f"{name}/{name}" for name in ("codec", "listener", "model"))
    yield training("codec", config, out)
    words = ["prepare", "latents"]
    latents = [[*words, f"{out / split}", "--codec", f"{codec}"] for split in ("train", "valid")]
    yield Stage("latents", latents, {})
    yield training("listener", config, out)
    yield training("model", config, out, *arguments(valid=out / "valid", codec=codec))
    if "distil" in config:
        yield training("distil", config, out, "--from", f"{network}", *arguments(codec=codec))
        network = out / "distil/model"
    # a few-step model answers for whole steps, which only Euler's sampler takes as they are
    sampling = config["sampling"] | ({"sampler": "euler"} if "distil" in config else {})
    more = arguments(network=network, listener=listener)
    more += arguments(name="timbrel-small", licence="MIT", **sampling)
    words = ["train", "assemble", *more]
    settings = {"sampling": config["sampling"], "distil": "distil" in config}
    if "decoder" in config:
        first = [*words, "-o", f"{out / 'first'}", *arguments(codec=codec)]
        yield Stage("first", [first], settings)
        yield from decoder(config["decoder"], out, workers)
        codec = out / "decoder/codec"
        settings = settings | {"decoder": True}
    words += ["-o", f"{out / 'timbrel-small'}", *arguments(codec=codec)]
    yield Stage("assemble", [words], settings)


def decoder(section: dict[str, Any], out: Path, workers: int) -> Iterator[Stage]:
    """The model plays, and the codec's decoder learns to read that."""
    settings, store = dict(section), f"{out / 'train'}"
    count = settings.pop("played")
    words = ["prepare", "played", store, *arguments(model=out / "first", count=count)]
    yield Stage("played", [[*words, *arguments(workers=workers)]], {"played": count})
    words = ["train", "codec", *arguments(data=store, played=store), "-o", f"{out / 'decoder'}"]
    words += ["--from", f"{out / 'first'}", *arguments(**settings)]
    yield Stage("decoder", [words], {"decoder": settings})


def training(name: str, config: dict[str, Any], out: Path, *more: str) -> Stage:
    """The stage of `timbrel train NAME`."""
    settings = dict(config[name])
    if "recipe" in settings:  # what it says, not where it lies
        settings["recipe"] = read_toml(settings["recipe"])
    words = ["train", name, *arguments(data=out / "train"), "-o", f"{out / name}", *more]
    return Stage(name, [[*words, *arguments(**config[name])]], {name: settings})


def questions(protocols: list[str], out: Path) -> Iterator[Stage]:
    """The evaluation, beside that of the shipped model."""
    for protocol in protocols:
        name = Path(protocol).stem
        settings = {name: read_toml(Path(protocol))} if protocol.endswith(".toml") else {}
        for model, reports in ((f"{out / 'timbrel-small'}", "report"), ("default", "shipped")):
            where = ["-o", f"{out / reports / name}", "--protocol", protocol]
            yield Stage(f"evaluate-{name}-{reports}", [["evaluate", model, *where]], settings)
        pair = [f"{out / reports / name}" for reports in ("shipped", "report")]
        yield Stage(f"compare-{name}", [["compare", *pair]], settings)


def worse(protocols: Iterable[str], out: Path) -> Iterator[str]:
    """In what the model is worse than the shipped one, a sentence for each protocol."""
    for protocol in protocols:
        name = Path(protocol).stem
        found = comparison([out / reports / name for reports in ("shipped", "report")])
        for verdict in found.verdicts:
            if verdict.worse:
                yield f"in {name} it is worse than the shipped model in {', '.join(verdict.worse)}"


def unasked(protocols: Iterable[str]) -> dict[str, str]:
    """Why protocols cannot be asked with the sounds of this machine; those that can are left out.

    Ends the program with a sentence if there is no such protocol.
    """
    reasons = {}
    try:
        found = [SoundFont(path) for path in find_fonts()]
        for name in protocols:
            protocol = read_protocol(name)
            settings = [protocol.setting(level) for level in protocol.levels]
            kinds = dict.fromkeys((s.pool, s.players == "kits") for s in settings)
            # a case is of two timbres: the target's and the source's
            missing = [kind for kind, drums in kinds if len(pool(kind, found, drums)) < 2]
            if missing:
                reasons[name] = (
                    f"protocol '{protocol.name}' is not asked: it needs sounds of kinds that no "
                    f"sound font here has ({', '.join(missing)}; see `make fonts`)"
                )
    except TimbrelError as error:
        refuse(str(error))
    return reasons


def refuse(sentence: str) -> NoReturn:
    """End the program and say why."""
    sys.exit(f"{Path(sys.argv[0]).name}: {sentence}")


def heed(handler: Callable[..., None] | signal.Handlers) -> None:
    """What to do when told to stop."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def interrupt(*_: object) -> None:
    """Stop, once: some tell it twice, and what a stage saves then must not be lost."""
    heed(signal.SIG_IGN)
    raise KeyboardInterrupt


def run(command: list[str], until: float) -> bool:
    """Run one command; at the time `until`, or if this is to stop, it is told to, as by Ctrl-C.

    Returns:
        Whether it ended by itself.
    """
    print(f"\n$ timbrel {shlex.join(command)}", flush=True)
    process = subprocess.Popen([sys.executable, "-m", "timbrel.cli", *command])
    try:
        code = process.wait(max(until - time.monotonic(), 0))
    except (subprocess.TimeoutExpired, KeyboardInterrupt) as interruption:
        heed(signal.SIG_IGN)
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
        if isinstance(interruption, KeyboardInterrupt):
            sys.exit(130)
        return False
    if code < 0:  # it could not say why
        name = signal.Signals(-code).name
        why = " (is memory short?)" if name == "SIGKILL" else ""
        refuse(
            f"`timbrel {command[0]}` was ended by {name}{why}; the same command goes on from there"
        )
    if code:
        sys.exit(code)  # the command has said why
    return True


def finished(stage: Stage, out: Path) -> bool:
    """Whether a training used its budget up: one that was told to stop ends as well as any."""
    if stage.name not in RUNS:
        return True
    section, last = stage.settings[stage.name], last_line(out / stage.name, "seconds")
    budget = Budget(section.get("steps"), section.get("minutes"))
    return bool(last) and budget.progress(last["step"], last["seconds"]) >= 1


def kept(stage: Stage, done: Path) -> dict[str, Any] | None:
    """Commands and settings that a stage was done with; None if it is not done.

    Ends the program with a sentence if the configuration has other settings.
    """
    path = done / stage.name
    text = path.read_text() if path.exists() else ""
    if not text:  # not done, or by a recipe that kept nothing: what is finished ends at once
        return None
    try:
        record: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError as error:
        refuse(f"{path} is damaged ({error}); remove it: a stage that was done ends at once")
    for name, (wanted, found) in differences(stage.settings, record["settings"]):
        refuse(
            f"stage '{stage.name}' was done with {name} = {found}, not {wanted}; give "
            "another folder with -o, or the same setting"
        )
    return record


def read_toml(path: Path) -> dict[str, Any]:
    """A file of settings; ends the program with a sentence if it is none."""
    try:
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        refuse(f"{path} cannot be read: {error}")


def check(config: dict[str, Any], needed: dict[str, tuple[str, ...]], path: Path, see: str) -> None:
    """End the program with a sentence if a section, or what it must say, is missing."""
    for section, names in needed.items():
        if not isinstance(config.get(section), dict):
            refuse(f"{path} lacks the section [{section}]; see {see}")
        for name in names:
            if name not in config[section]:
                refuse(f"[{section}] of {path} lacks {name}; see {see}")


def read_config(path: Path) -> dict[str, Any]:
    """The configuration; ends the program with a sentence if it is none."""
    config = read_toml(path)
    more: dict[str, tuple[str, ...]] = {"decoder": ("played",)} if "decoder" in config else {}
    check(config, NEEDED | more, path, "two-cores.toml")
    if "recipe" in config["model"]:
        config["model"]["recipe"] = path.parent / str(config["model"]["recipe"])
    config["evaluate"]["protocols"] = [
        str(path.parent / name) if name.endswith(".toml") else name
        for name in config["evaluate"]["protocols"]
    ]
    return config


def main() -> None:
    """Go through the stages that are not done."""
    parser = argparse.ArgumentParser(description="Make the default model from nothing.")
    parser.add_argument("config", type=Path, help="two-cores.toml, gpu.toml or your own")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for everything")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so long")
    options = parser.parse_args()
    if not options.minutes > 0:
        refuse(f"--minutes is {options.minutes:g}; give a number above 0")
    config, out = read_config(options.config), options.output
    protocols = config["evaluate"]["protocols"]
    reasons = unasked(protocols)
    asked = [name for name in protocols if name not in reasons]
    todo, done = [*stages(config, out), *questions(asked, out)], out / "done"
    done.mkdir(parents=True, exist_ok=True)
    records = {stage.name: kept(stage, done) for stage in todo}
    if not fonts()["train"]:
        print(
            "MuseScore General was not found (`make fonts`): training on the own synthesiser "
            "alone. The model will not know the sounds of acoustic instruments."
        )
    for reason in reasons.values():
        print(reason)
    until = time.monotonic() + 60 * options.minutes
    for stage in todo:
        if records[stage.name] is not None:
            continue
        for command in stage.commands:
            if time.monotonic() >= until or not run(command, until) or not finished(stage, out):
                print(f"\nstopped in stage '{stage.name}'; the same command goes on from there")
                return
        records[stage.name] = asdict(stage)
        write_text(done / stage.name, json.dumps(asdict(stage), indent=1))
    commands = [words for record in records.values() if record for words in record["commands"]]
    card = write_card(out, commands, config["render"], reasons.values())
    print(f"\nall done: {out / 'timbrel-small'}; its card is {card}")
    for sentence in worse(asked, out):
        print(sentence)


if __name__ == "__main__":
    heed(interrupt)
    try:
        main()
    except (OSError, TimbrelError) as problem:  # a full disk, a model that is damaged since
        refuse(f"{problem}; when that is mended, the same command goes on")
