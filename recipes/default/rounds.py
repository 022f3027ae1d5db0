"""Train a model in rounds, on sounds that come meanwhile: for a GPU that is lent briefly.

    python recipes/default/rounds.py recipes/default/rounds.toml -o runs/rounds --minutes 10

Training begins as soon as one store is there. Processors render the next one beside it, or it is
sent (`arrivals.toml`, `parcel.py`); when that is ready, training is told to stop, and goes on with
both. It ends, its learning rate run down, when the minutes are over. The same command goes on
where it was stopped.
"""

import argparse
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from make import arguments, check, fonts, heed, interrupt, read_toml, refuse
from parcel import PART

from timbrel.data.store import Store
from timbrel.errors import DataError, TimbrelError
from timbrel.model import folder_of
from timbrel.serialize import load_codec
from timbrel.training.run import checkpoints_of, last_line

START = 20.0  # seconds that a round takes to begin, until it is known
NEEDED = {
    "render": ("count", "count_beside", "workers", "workers_beside", "seed"),
    "arrive": ("folder",),
    "model": (),
}
LOOK = 0.5  # seconds between two looks at what has arrived
WORTH = 4  # times that: a round that would be shorter is not begun for more data


class Rendered:
    """Stores that are rendered one after the other.

    Args:
        settings: section [render] of the configuration.
        codec: whose latents they get.
        out: folder that they are made in.
    """

    def __init__(self, settings: dict[str, Any], codec: str, out: Path) -> None:
        self.settings, self.codec, self.out = dict(settings), codec, out
        self.workers = [self.settings.pop(name) for name in ("workers", "workers_beside")]
        self.counts = [self.settings.pop(name) for name in ("count", "count_beside")]
        self.seed = self.settings.pop("seed")
        self.ready: list[Path] = []
        self.process: subprocess.Popen[bytes] | None = None
        self.failed = threading.Event()

    def begin(self, _until: float) -> None:
        """Make the first one, and the others meanwhile."""
        self.make()
        if self.failed.is_set():
            sys.exit(1)  # the command has said why
        threading.Thread(target=self.make_all, daemon=True).start()

    def make(self) -> None:
        """Render the next one, and encode it."""
        number = len(self.ready)
        store, workers = self.out / f"store-{number}", self.workers[number > 0]
        count, seed = self.counts[number > 0], self.seed + number
        more = arguments(count=count, split="train", seed=seed, **self.settings)
        words = ["prepare", "render", "-o", f"{store}", *more, *fonts()["train"]]
        encode = ["prepare", "latents", f"{store}", *arguments(codec=self.codec, device="cpu")]
        encoded = (store / "latents.json").is_file()
        for command in [words] if encoded else [words, encode]:  # what is there may be of others
            if self.failed.is_set():
                return
            command += arguments(workers=workers)
            self.process = subprocess.Popen(
                [sys.executable, "-m", "timbrel.cli", *command],
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C is for this program, which ends it
            )
            if self.process.wait():
                self.failed.set()  # it has said why
                return
        self.ready.append(store)

    def make_all(self) -> None:
        """One after the other, until something fails or is ended."""
        while not self.failed.is_set():
            self.make()

    def end(self) -> None:
        """Begin no other; what was begun is gone on with the next time."""
        self.failed.set()
        if self.process is not None:
            self.process.terminate()


class Arriving:
    """Stores that somebody puts into a folder, each of them at once, by renaming it.

    Args:
        folder: that is looked into.
        codec: whose latents they must have.
    """

    def __init__(self, folder: Path, codec: str) -> None:
        self.folder, self.codec = folder, load_codec(folder_of(codec)).latent_id
        self.fit: dict[Path, bool] = {}  # whether what has arrived can be trained on

    @property
    def ready(self) -> list[Path]:
        """Those that are there and can be trained on; of another it is said why it is not."""
        for path in self.folder.glob("*/manifest.jsonl"):
            if path.parent not in self.fit and path.parent.suffix != PART:
                self.fit[path.parent] = self._fits(path.parent)
        return sorted(path for path, fits in self.fit.items() if fits)

    def _fits(self, path: Path) -> bool:
        try:
            Store.open(path).check("latents", self.codec)
        except DataError as problem:
            print(f"left aside: {problem}", file=sys.stderr, flush=True)
            return False
        return True

    def begin(self, until: float) -> None:
        """Wait for the first one."""
        if not self.ready:
            print(f"waiting for a store in {self.folder}", flush=True)
        while not self.ready and time.monotonic() < until:
            time.sleep(LOOK)

    def end(self) -> None:
        """Nothing was begun."""


Stores = Rendered | Arriving


def trained(folder: Path) -> float:
    """Seconds that a run has learned, as far as it would go on from: its newest checkpoint."""
    found = checkpoints_of(folder)
    step = int(found[-1].stem.removeprefix("step-")) if found else 0
    return float(last_line(folder, "seconds", step).get("seconds", 0.0))


def train(words: list[str], enough: Callable[[], bool]) -> int:
    """One round; told to stop, as by Ctrl-C, when there has been enough of it. Its exit code."""
    print(f"\n$ timbrel {shlex.join(words)}", flush=True)
    process = subprocess.Popen([sys.executable, "-m", "timbrel.cli", *words])
    told = False
    try:
        while process.poll() is None and not told:
            time.sleep(LOOK)
            told = enough()
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait()
    # one that had not begun to learn ends as any program that is told to stop
    return 0 if told and code in (130, -signal.SIGINT) else code


def rounds(stores: Stores, settings: dict[str, Any], out: Path, until: float) -> int:
    """Train until the time is over, from time to time on one store more; on how many at last."""
    folder, start = out / "model", START
    known: list[Path] = []
    while (left := until - time.monotonic() - start) > 0:
        known, begun, before = list(stores.ready), time.monotonic(), trained(folder)
        words = ["train", "model", "-o", f"{folder}", *arguments(**settings)]
        words += [word for store in known for word in arguments(data=store)]
        words += arguments(minutes=round((before + left) / 60, 3))

        def enough(known: list[Path] = known, start: float = start, begun: float = begun) -> bool:
            now = time.monotonic()
            more = len(stores.ready) > len(known)
            # a round learns before it ends for more data: stores may come one by one
            return now > until or (more and until - now > WORTH * start and now - begun > 2 * start)

        if code := train(words, enough):
            sys.exit(code)  # it has said why
        start = max(time.monotonic() - begun - (trained(folder) - before), 1.0)
    return len(known)


def read_rounds(path: Path, out: Path) -> tuple[Stores, dict[str, Any]]:
    """Where stores come from, and section [model]; a sentence and the end if something is amiss."""
    config = read_toml(path)
    source = "arrive" if "arrive" in config else "render"
    needed = {name: NEEDED[name] for name in (source, "model")}
    check(config, needed, path, "rounds.toml and arrivals.toml")
    model = dict(config["model"])
    if "codec" not in model and "from" not in model:
        refuse(f"[model] of {path} lacks from, or codec; see rounds.toml")
    if "recipe" in model:
        model["recipe"] = path.parent / str(model["recipe"])
    codec = str(model.get("codec") or model["from"])
    if source == "arrive":
        return Arriving(Path(config["arrive"]["folder"]), codec), model
    return Rendered(config["render"], codec, out), model


def main() -> None:
    """Render, then train and render."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="rounds.toml or your own")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for everything")
    parser.add_argument("--minutes", type=float, required=True, help="of all that is done")
    options = parser.parse_args()
    if not 0 < options.minutes < float("inf"):
        refuse(f"--minutes is {options.minutes:g}; give a number above 0")
    until = time.monotonic() + 60 * options.minutes
    try:
        stores, model = read_rounds(options.config, options.output)
    except TimbrelError as problem:  # the codec cannot be read
        refuse(f"{problem}")
    try:
        stores.begin(until)
        count = rounds(stores, model, options.output, until)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        stores.end()
    if not count:
        refuse("the minutes were over before there was a store and a round began; give more")
    print(f"\n{options.output / 'model/model'}: trained on {count} stores at last")


if __name__ == "__main__":
    heed(interrupt)
    main()
