"""The default model from nothing: data, codec, listener, model, few steps, evaluation, card.

    python recipes/default/make.py recipes/default/two-cores.toml -o runs/default

Every stage is a `timbrel` command, printed before it runs. Stop it whenever you like (Ctrl-C, or
`--minutes`): the same command goes on where it was. Sources are those of free licence: MuseScore
General (MIT, parts CC0; `make fonts`) and the own synthesiser. Validation uses TimGM6mb, which is
never trained on.
"""

import argparse
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from card import write_card

from timbrel.data.render.soundfont import SoundFont, find_fonts

PATIENCE = 60  # seconds that a stopped stage has to save what it did
SEEDS = {"train": 1, "valid": 2}
SECTIONS = ("render", "codec", "listener", "model", "sampling", "evaluate")  # "distil" if wanted


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


def stages(config: dict[str, Any], out: Path) -> Iterator[tuple[str, list[list[str]]]]:
    """Name and commands of every stage, in order."""
    render = dict(config["render"])
    counts = {split: render.pop(split) for split in SEEDS}
    share = render.pop("synth_share")
    for split, font in fonts().items():
        more = [*arguments(count=counts[split], split=split, seed=SEEDS[split], **render), *font]
        more += arguments(synth_share=share if font else 1.0)
        yield f"render-{split}", [["prepare", "render", "-o", f"{out / split}", *more]]
    data, valid = arguments(data=out / "train"), arguments(valid=out / "valid")
    codec, listener = out / "codec/codec", out / "listener/listener"
    yield (
        "codec",
        [["train", "codec", *data, "-o", f"{out / 'codec'}", *arguments(**config["codec"])]],
    )
    yield (
        "latents",
        [["prepare", "latents", f"{out / s}", "--codec", f"{codec}"] for s in ("train", "valid")],
    )
    more = arguments(**config["listener"])
    yield "listener", [["train", "listener", *data, "-o", f"{out / 'listener'}", *more]]
    more = [*valid, *arguments(codec=codec, **config["model"])]
    yield "model", [["train", "model", *data, "-o", f"{out / 'model'}", *more]]
    network = out / "model/model"
    if "distil" in config:
        more = ["--from", f"{network}", *arguments(codec=codec, **config["distil"])]
        yield "distil", [["train", "distil", *data, "-o", f"{out / 'distil'}", *more]]
        network = out / "distil/model"
    more = arguments(codec=codec, network=network, listener=listener)
    # a few-step model answers for whole steps, which only Euler's sampler takes as they are
    sampling = config["sampling"] | ({"sampler": "euler"} if "distil" in config else {})
    more += arguments(name="timbrel-small", licence="MIT", **sampling)
    yield "assemble", [["train", "assemble", "-o", f"{out / 'timbrel-small'}", *more]]
    for protocol in config["evaluate"]["protocols"]:
        for model, reports in ((f"{out / 'timbrel-small'}", "report"), ("default", "shipped")):
            where = ["-o", f"{out / reports / protocol}", "--protocol", protocol]
            yield f"evaluate-{protocol}-{reports}", [["evaluate", model, *where]]
    if not config["evaluate"]["protocols"]:
        return
    first = config["evaluate"]["protocols"][0]
    pair = [f"{out / reports / first}" for reports in ("shipped", "report")]
    yield "compare", [["compare", *pair]]


def run(command: list[str], until: float) -> bool:
    """Run one command; at the time `until` it is asked to stop, as by Ctrl-C.

    Returns:
        Whether it was finished.
    """
    print(f"\n$ timbrel {shlex.join(command)}", flush=True)
    process = subprocess.Popen([sys.executable, "-m", "timbrel.cli", *command])
    try:
        code = process.wait(max(until - time.monotonic(), 0))
    except (subprocess.TimeoutExpired, KeyboardInterrupt) as interruption:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
        if isinstance(interruption, KeyboardInterrupt):
            sys.exit(130)
        return False
    if code:
        sys.exit(code)  # the command has said why
    return True


def read_config(path: Path) -> dict[str, Any]:
    """The configuration; ends the program with a sentence if it is none."""
    try:
        config = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        sys.exit(f"make.py: {path} cannot be read: {error}")
    missing = [name for name in SECTIONS if name not in config]
    if missing:
        sys.exit(f"make.py: {path} lacks the section [{missing[0]}]; see two-cores.toml")
    if "recipe" in config["model"]:
        config["model"]["recipe"] = path.parent / config["model"]["recipe"]
    return config


def main() -> None:
    """Go through the stages that are not done."""
    parser = argparse.ArgumentParser(description="Make the default model from nothing.")
    parser.add_argument("config", type=Path, help="two-cores.toml, gpu.toml or your own")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for everything")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so long")
    options = parser.parse_args()
    config = read_config(options.config)
    done = options.output / "done"
    done.mkdir(parents=True, exist_ok=True)
    if not fonts()["train"]:
        print(
            "MuseScore General was not found (`make fonts`): training on the own synthesiser "
            "alone. The model will not know the sounds of acoustic instruments."
        )
    until = time.monotonic() + 60 * options.minutes
    for name, commands in stages(config, options.output):
        if (done / name).exists():
            continue
        for command in commands:
            if time.monotonic() >= until or not run(command, until):
                print(f"\nstopped in stage '{name}'; the same command goes on from there")
                return
        (done / name).touch()
    commands = [words for _, part in stages(config, options.output) for words in part]
    card = write_card(options.output, commands, config["render"])
    print(f"\nall done: {options.output / 'timbrel-small'}; its card is {card}")


if __name__ == "__main__":
    main()
