"""Fixtures, all synthesised in code."""

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

# two threads that wait for each other on a busy machine are far slower than one
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch

from miniatures import LAYOUTS
from sounds import RATE, tone
from timbrel.audio import Audio
from timbrel.cli.main import main
from timbrel.codec.spectral import SpectralCodec, tiny
from timbrel.conditions.listener import Listener, ListenerConfig
from timbrel.data.render.renditions import render_store
from timbrel.data.store import Store
from timbrel.evaluation.job import Job
from timbrel.evaluation.protocol import read_protocol
from timbrel.evaluation.report import write_report
from timbrel.evaluation.run import evaluate
from timbrel.network import Network
from timbrel.network import tiny as tiny_network
from timbrel.serialize import assemble
from timbrel.training.codec import train_codec
from timbrel.training.codec_objective import CodecTraining
from timbrel.training.latents import attach_latents
from timbrel.training.run import Budget, Run

# tests that were started in the background ignore Ctrl-C, and so would every command they start
signal.signal(signal.SIGINT, signal.default_int_handler)


MOST_WORKERS = 6  # each trains the session's codec for itself, and comes to hold some 2.5 GB


@pytest.hookimpl(wrapper=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> Generator[None, int, int]:
    """One a core; none, but this process, for files that are named, which start at once so."""
    cores = yield
    if cores == 1 or all(Path(word.split("::")[0]).is_file() for word in config.args):
        return 0
    return min(cores, MOST_WORKERS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share what takes a minute to make come first.

    Workers take over the ends of what others have to do, and two would make it.
    """
    items.sort(key=lambda item: "trained" not in getattr(item, "fixturenames", ()))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def tone_file(tmp_path: Path) -> Path:
    path = tmp_path / "tone.wav"
    Audio(tone(440, 2.0)[None], RATE).write(path)
    return path


@pytest.fixture(scope="session")
def small_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """48 renditions of 4 s by the own synthesiser."""
    path = tmp_path_factory.mktemp("data") / "store"
    render_store(path, seed=3, count=48, split="train", fonts=[], seconds=4.0)
    return Store.open(path)


@pytest.fixture
def layout(tmp_path: Path) -> Callable[[str], Path]:
    """Writes the miniature of a data set into a folder of its name."""

    def make(name: str) -> Path:
        LAYOUTS[name](tmp_path / name)
        return tmp_path / name

    return make


@pytest.fixture(autouse=True)
def _seed_torch() -> None:
    torch.manual_seed(0)


# what a program does not print
SILENT = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)


@pytest.fixture
def timbrel_here(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """What `command_line.timbrel` does, in this process: for the many ways to be refused.

    Another one takes seconds to begin.
    """

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["timbrel", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        capfd.readouterr()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for kind in SILENT:
                warnings.simplefilter("ignore", kind)
            with pytest.raises(SystemExit) as end:
                main()
        said = capfd.readouterr()
        return subprocess.CompletedProcess(sys.argv, end.value.code, said.out, said.err)

    return run


CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def tiny_codec(small_store: Store, tmp_path_factory: pytest.TempPathFactory) -> SpectralCodec:
    """Trained for a few seconds; its latents are attached to `small_store`."""
    training = CodecTraining(batch=4, frames=24, basis_minutes=0.5, waveform_from=1.0)
    folder = tmp_path_factory.mktemp("codec")
    codec = train_codec(small_store, folder, tiny(), training, Budget(steps=150), CPU)
    attach_latents(small_store, codec, CPU)
    return codec


class Killed(Exception):
    """What a test raises in place of a kill."""


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Callable[[int, float], None]]:
    """Checkpoint at every step, and a callback that dies at a given one."""
    monkeypatch.setattr(Run, "due", lambda self: True)

    def make(last: int) -> Callable[[int, float], None]:
        def on_step(step: int, progress: float) -> None:
            if step == last:
                raise Killed

        return on_step

    return make


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random tiny model with a listener."""
    torch.manual_seed(0)
    config = tiny_network()
    codec = SpectralCodec(config.codec)
    codec.basis.fit(
        [torch.from_numpy(np.stack([tone(h, 1.0) for h in np.geomspace(80, 2000, 30)]))]
    )
    network = Network(config)
    network.adopt(codec.basis)
    torch.nn.init.normal_(network.denoiser.leave.weight, std=0.05)
    listener = Listener(ListenerConfig(width=4, blocks=1))
    path = tmp_path_factory.mktemp("model") / "tiny"
    assemble(path, codec, network, listener, {"name": "random", "licence": "MIT"})
    return path


@pytest.fixture(scope="session")
def report(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished evaluation of the random model on two cases."""
    folder = tmp_path_factory.mktemp("evaluation") / "report"
    levels = {"seen timbres": {"pool": "seen-seen"}}
    protocol = replace(read_protocol("midi-to-audio"), seconds=4.0, levels=levels)
    job = Job(protocol, model=str(tiny_model), sampling=(("steps", 1),), limit=2)
    evaluate(job, folder)
    write_report(folder)
    return folder
