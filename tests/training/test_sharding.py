"""Weights that are cut between two processes."""

import subprocess
from pathlib import Path

import pytest
import torch

from command_line import ENVIRONMENT, TWO_PROCESSES, timbrel
from timbrel.codec.spectral import SpectralCodec
from timbrel.data.store import Store
from timbrel.errors import TrainingError
from timbrel.network import Network, tiny
from timbrel.serialize import load_network, save_codec
from timbrel.training.latents import attach_latents
from timbrel.training.model import train_model
from timbrel.training.run import Budget
from timbrel.training.settings import ModelTraining
from timbrel.training.sharding import rows_of

CPU = torch.device("cpu")
QUICK = ModelTraining(batch=2, frames=24, example_frames=24)

TRAIN = """
import sys
from dataclasses import replace
from pathlib import Path

import torch

from conftest import Killed
from test_sharding import CPU, QUICK
from timbrel.data.store import Store
from timbrel.network import tiny
from timbrel.serialize import load_codec, load_network
from timbrel.training import validation
from timbrel.training.course import Descent
from timbrel.training.model import train_model
from timbrel.training.ranks import Ranks
from timbrel.training.run import Budget, Run
from timbrel.training.sharding import own

store, codec, folder = map(Path, sys.argv[1:])
store, codec, ranks = Store.open(store), load_codec(codec), Ranks()
Run.due = lambda self: True
validation.probe = lambda *_: {}  # takes most of the time, of an averaged network like any other
held, move = {}, Descent.move


def watched(self, course, learning=None):
    denoiser = self.module.denoiser
    held["weights"] = sum(own(p).numel() for p in denoiser.parameters())
    gradients = [p.grad for p in denoiser.parameters() if p.grad is not None]
    held["gradients"] = sum(own(g).numel() for g in gradients)
    held["ema"] = sum(own(v).numel() for k, v in self.ema.shadow.items() if k[:9] == "denoiser.")
    norm = move(self, course, learning)
    states = self.optimiser.adamw.state.values() if self.optimiser.adamw else []
    tensors = [t for state in states for t in state.values()] + self.optimiser.muon.momentum
    held["remembered"] = sum(t.numel() for t in tensors)
    return norm


def train(name, shard, until=3, start_from=None, valid=None, **changes):
    def on_step(step, progress):
        if step == until < 3:
            raise Killed

    training = replace(QUICK, **changes)
    try:
        network = train_model(
            store, valid, codec, folder / name, tiny(), training, Budget(3), CPU, start_from,
            on_step, 0, shard,
        )
    except Killed:
        return None
    return network.state_dict()


Descent.move = watched
found = {"whole": train("whole", False), "held whole": dict(held)}
found |= {"cut": train("cut", True), "held cut": dict(held)}
train("cut first", True, 2)
train("alone then", True, 2)
found["cut first"] = train("cut first", False)
train("whole first", False, 2)
found["whole first"] = train("whole first", True)
more = {"validate_every": 2, "valid": store, "optimiser": "adamw"}
found["whole adamw"] = train("whole adamw", False, **more)
found["cut adamw"] = train("cut adamw", True, **more)
alone = {"only": "recall", "batch": 1, "drop_structure": 0.5}
alone["start_from"] = load_network(folder / "whole" / "model")
found["whole alone"] = train("whole alone", False, **alone)
found["cut alone"] = train("cut alone", True, **alone)
# half of its steps without structure, and a denoiser that learns nothing as it is not called
staged, unused = {"stage_one": 0.5, "precision": "bf16"}, {"flow": 0.0}
for name, changes in (("staged", staged), ("unused", unused)):
    found[f"whole {name}"] = train(f"whole {name}", False, **changes)
    found[f"cut {name}"] = train(f"cut {name}", True, **changes)
found["whole twice"] = train("whole twice", False, accumulate=2)
found["cut twice"] = train("cut twice", True, accumulate=2)
torch.save(found, folder / f"{ranks.rank}.pt")
"""


@pytest.fixture(scope="module")
def trained(
    small_store: Store, tiny_codec: SpectralCodec, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with the runs of two processes, and what each of these found, RANK.pt."""
    folder = tmp_path_factory.mktemp("sharding")
    attach_latents(small_store, tiny_codec, CPU)
    save_codec(tiny_codec, folder / "codec")
    (folder / "train.py").write_text(TRAIN)
    tests = Path(__file__).parent
    path = f"{tests}:{tests.parent}:{ENVIRONMENT.get('PYTHONPATH', '')}"
    done = subprocess.run(
        [*TWO_PROCESSES, folder / "train.py", small_store.path, folder / "codec", folder],
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, "PYTHONPATH": path},
        timeout=900,  # processes that do not do the same wait for each other
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def found(folder: Path, rank: int = 0) -> dict[str, dict[str, torch.Tensor]]:
    return torch.load(folder / f"{rank}.pt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("whole", "cut"),
        ("whole", "cut first"),
        ("whole", "whole first"),
        ("whole adamw", "cut adamw"),
        ("whole alone", "cut alone"),
        ("whole staged", "cut staged"),
        ("whole unused", "cut unused"),
    ],
)
def test_cut_weights_learn_to_the_same_bits(trained: Path, one: str, other: str) -> None:
    for rank in range(2):
        values = found(trained, rank)
        for name, value in values[one].items():
            assert torch.equal(values[other][name], value), name


@pytest.mark.slow
def test_with_several_draws_a_step_gradients_are_summed_in_another_order(trained: Path) -> None:
    # over processes after each draw, not after the last: else each would keep all gradients
    values = found(trained)

    def apart(one: str, other: str) -> float:
        pairs = [(values[one][name], values[other][name]) for name in values[one]]
        return sum(float((a - b).square().sum()) for a, b in pairs)

    assert apart("whole twice", "cut twice") < 1e-3 * apart("whole twice", "whole")


@pytest.mark.slow
def test_each_process_keeps_half(trained: Path) -> None:
    first, second = (found(trained, rank) for rank in range(2))
    for name, count in first["held whole"].items():
        if name != "remembered":  # momentum is dealt out anyway
            assert first["held cut"][name] + second["held cut"][name] == count
            assert abs(2 * first["held cut"][name] / count - 1) < 0.05
    for held in (first, second):
        assert held["held cut"]["remembered"] < held["held whole"]["remembered"]


@pytest.mark.slow
def test_one_process_goes_on_from_what_two_have_cut(
    trained: Path, small_store: Store, tiny_codec: SpectralCodec
) -> None:
    folder = trained / "alone then"
    path = folder / "checkpoints" / "step-000000001.pt"
    state = torch.load(path, weights_only=True)
    shapes = {name: value.shape for name, value in Network(tiny()).state_dict().items()}
    for kept in (state["network"], state["ema"]):
        assert {name: value.shape for name, value in kept.items()} == shapes
    train_model(small_store, None, tiny_codec, folder, tiny(), QUICK, Budget(3), CPU)
    assert (folder / "checkpoints" / "step-000000003.pt").is_file()


@pytest.mark.slow
def test_the_saved_model_is_whole(trained: Path) -> None:
    saved = load_network(trained / "cut" / "model").state_dict()
    for name, value in found(trained)["cut"].items():
        torch.testing.assert_close(saved[name], value, atol=1e-3, rtol=1e-2)  # half precision


@pytest.mark.slow
def test_the_command_line_cuts_weights(
    small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path
) -> None:
    save_codec(tiny_codec, tmp_path / "codec")
    arguments = [
        "train", "model", "--data", small_store.path, "--codec", tmp_path / "codec",
        "-o", tmp_path / "run", "--preset", "tiny", "--batch", "2", "--steps", "2",
        "--device", "cpu", "--shard",
    ]  # fmt: skip
    alone = timbrel(*arguments)
    assert alone.returncode == 2
    assert "this is the only one" in alone.stderr
    assert "torchrun" in alone.stderr
    assert not (tmp_path / "run").exists()
    done = subprocess.run(
        [*TWO_PROCESSES, "-m", "timbrel.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "run" / "checkpoints" / "step-000000002.pt").is_file()


def test_one_process_has_nothing_to_cut(
    small_store: Store, tiny_codec: SpectralCodec, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="only one; start several"):
        train_model(
            small_store, None, tiny_codec, tmp_path / "run", tiny(), QUICK, Budget(1), CPU,
            shard=True,
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_rows_are_dealt_out_as_fsdp_does() -> None:
    for count in (1, 2, 5, 8, 9):
        for world in (1, 2, 4):
            rows = torch.arange(count)
            pieces = [piece.tolist() for piece in rows.chunk(world)]
            pieces += [[]] * (world - len(pieces))
            assert [rows[rows_of(count, r, world)].tolist() for r in range(world)] == pieces
