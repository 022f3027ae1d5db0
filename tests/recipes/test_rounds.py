"""Training in rounds: each on what was rendered while the one before learned."""

import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from command_line import ENVIRONMENT
from timbrel.codec.spectral import SpectralCodec
from timbrel.data.store import Store
from timbrel.serialize import load_network, save_codec
from timbrel.training.run import settings_of

ROOT = Path(__file__).parents[2]
CONFIG = """
[render]
count = 4
count_beside = 4
workers = 1
workers_beside = 1
seed = 5
synth_share = 1.0
[model]
codec = "{codec}"
preset = "tiny"
batch = 2
"""


@pytest.fixture
def config(tiny_codec: SpectralCodec, tmp_path: Path) -> Path:
    """A configuration, and the codec that it names."""
    save_codec(tiny_codec, tmp_path / "codec")
    path = tmp_path / "rounds.toml"
    path.write_text(CONFIG.format(codec=tmp_path / "codec"))
    return path


# a tiny training begins sooner than a large one
MAIN = "import rounds; rounds.START = 1; rounds.heed(rounds.interrupt); rounds.main()"
MINUTES = (0.5, 3.0)  # a machine that is busy gets another chance, with more


def command(config: Path, folder: Path, minutes: float) -> list[str | Path | float]:
    return [sys.executable, "-c", MAIN, config, "-o", folder, "--minutes", minutes]


def environment() -> dict[str, str]:
    path = f"{ROOT / 'recipes/default'}:{ROOT / 'src'}"
    return {**ENVIRONMENT, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def rounds(config: Path, folder: Path, minutes: float) -> subprocess.CompletedProcess[str]:
    words = [*map(str, command(config, folder, minutes))]
    return subprocess.run(words, capture_output=True, text=True, env=environment())


@pytest.mark.slow
def test_a_store_that_gets_ready_joins_the_training_that_goes_on(
    config: Path, tmp_path: Path
) -> None:
    for minutes in MINUTES:
        out = tmp_path / f"out-{minutes}"
        done = rounds(config, out, minutes)
        lines = [line for line in done.stdout.splitlines() if line.startswith("$ timbrel train")]
        stores = [line.count("--data") for line in lines]
        if stores and stores[-1] > 1:
            break
    assert done.returncode == 0, done.stderr
    assert stores == sorted(stores)
    assert stores[0] == 1
    assert stores[-1] > 1
    rows = (out / "model/metrics.jsonl").read_text().splitlines()
    steps = [json.loads(row)["step"] for row in rows]
    assert steps == sorted(steps)  # each round went on where the one before was stopped
    assert settings_of(out / "model") is not None
    load_network(out / "model/model")
    manifests = [json.loads((out / f"store-{k}/plan.json").read_text())["seed"] for k in range(2)]
    assert manifests == [5, 6]


@pytest.mark.slow
def test_stores_that_arrive_join_too(
    tiny_codec: SpectralCodec, small_store: Store, tmp_path: Path
) -> None:
    save_codec(tiny_codec, tmp_path / "codec")

    def learn(home: Path, minutes: float) -> tuple[int, list[str], str]:
        """The exit code, what is said, and what is said to be amiss."""
        path = home / "arrivals.toml"

        def arrive(name: str) -> None:
            shutil.copytree(small_store.path, home / "waiting" / name)
            (home / "waiting" / name).rename(home / "stores" / name)

        # what is not whole, and what has no latents of this codec, is left aside
        shutil.copytree(small_store.path, home / "stores/half.part")
        shutil.copytree(small_store.path, home / "stores/bare")
        (home / "stores/bare/latents.json").unlink()
        path.write_text(
            f'[arrive]\nfolder = "{home}/stores"\n'
            f'[model]\ncodec = "{tmp_path}/codec"\npreset = "tiny"\nbatch = 2\n'
        )
        process = subprocess.Popen(
            [*map(str, command(path, home / "out", minutes))],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
        )  # fmt: skip
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "waiting for a store in" in line:
                arrive("a")
            if line.startswith("step") and not (home / "stores/b").exists():  # it learns
                arrive("b")
        _, said = process.communicate()
        return process.returncode, lines, said

    for minutes in MINUTES:
        code, lines, said = learn(tmp_path / f"{minutes}", minutes)
        trained = [line.count("--data") for line in lines if line.startswith("$ timbrel train")]
        if trained == [1, 2]:
            break
    assert code == 0, said
    assert trained == [1, 2]
    assert "bare has no latents" in said
    assert "trained on 2 stores at last" in lines[-1]


def test_a_round_learns_before_it_ends_for_stores_that_come_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "recipes/default")
    module = importlib.import_module("rounds")
    now, lengths, stores = [0.0], [], SimpleNamespace(ready=[Path("0")])
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(module, "trained", lambda _folder: sum(lengths))

    def train(words: list[str], enough: Callable[[], bool]) -> int:
        begun = now[0]
        while not enough():
            now[0] += 1
            if now[0] % 5 == 0 and len(stores.ready) < 10:  # one every five seconds
                stores.ready.append(Path(f"{now[0]}"))
        lengths.append(now[0] - begun - 15)  # it takes so long to begin
        return 0

    monkeypatch.setattr(module, "train", train)
    assert module.rounds(stores, {}, tmp_path, until=600.0) == 10
    assert len(lengths) == 3  # not one for each store
    assert all(length >= 15 for length in lengths)
    assert now[0] == pytest.approx(600, abs=2)


def test_what_is_no_configuration_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    config = tmp_path / "rounds.toml"
    whole = CONFIG.format(codec="default")
    for text, minutes, sentence in (
        ("[model]\n", 1, "lacks the section [render]"),
        ("[render\n", 1, "cannot be read"),
        (whole.replace("workers_beside", "other"), 1, "lacks workers_beside"),
        (whole.replace("codec", "preset_"), 1, "lacks from, or codec"),
        ("[arrive]\n[model]\n", 1, "lacks folder"),
        ("model = 3\n[arrive]\nfolder = 'x'\n", 1, "lacks the section [model]"),
        ("[model]\nfrom = 'nowhere'\n[arrive]\nfolder = 'x'\n", 1, "nowhere"),
        (whole, 0, "--minutes is 0"),
        (whole, float("nan"), "--minutes is nan"),
    ):
        config.write_text(text)
        done = rounds(config, tmp_path / "out", minutes)
        assert done.returncode == 1
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_minutes_that_end_before_there_is_a_store_are_no_training(
    config: Path, tmp_path: Path
) -> None:
    done = rounds(config, tmp_path / "out", 0.01)
    assert done.returncode == 1
    assert "give more" in done.stderr
    assert not (tmp_path / "out/model").exists()
    # what was begun there is not taken for what is asked now
    config.write_text(config.read_text().replace("synth_share = 1.0", "synth_share = 0.5"))
    done = rounds(config, tmp_path / "out", 1.0)
    assert done.returncode == 1
    assert "was begun with another" in done.stderr
    assert "synth_share" in done.stderr
