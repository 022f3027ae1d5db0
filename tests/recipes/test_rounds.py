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


# as the command does, but that time is over soon after a second store has joined, when all has been
# seen; a machine that is busy may take as long as it likes until then
MAIN = """
import time
from pathlib import Path
from types import SimpleNamespace

import rounds

leapt, train = [0.0], rounds.train


def last(words, enough):
    if words.count("--data") == 1:
        return train(words, enough)
    learned = rounds.trained(Path(words[words.index("-o") + 1]))
    words[words.index("--minutes") + 1] = f"{(learned + 4) / 60}"
    code = train(words, lambda: False)
    leapt[0] = 1e6
    return code


rounds.START = 1  # a tiny training begins sooner than a large one
rounds.time = SimpleNamespace(sleep=time.sleep, monotonic=lambda: time.monotonic() + leapt[0])
rounds.train = last
rounds.heed(rounds.interrupt)
rounds.main()
"""
LONG = 10.0  # minutes


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
    done = rounds(config, tmp_path / "out", LONG)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("$ timbrel train")]
    stores = [line.count("--data") for line in lines]
    assert stores == sorted(stores)
    assert stores[0] == 1
    assert stores[-1] > 1
    rows = (tmp_path / "out/model/metrics.jsonl").read_text().splitlines()
    steps = [json.loads(row)["step"] for row in rows]
    assert steps == sorted(steps)  # each round went on where the one before was stopped
    assert settings_of(tmp_path / "out/model") is not None
    load_network(tmp_path / "out/model/model")
    manifests = [
        json.loads((tmp_path / f"out/store-{k}/plan.json").read_text())["seed"] for k in range(2)
    ]
    assert manifests == [5, 6]


@pytest.mark.slow
def test_stores_that_arrive_join_too(
    tiny_codec: SpectralCodec, small_store: Store, tmp_path: Path
) -> None:
    save_codec(tiny_codec, tmp_path / "codec")
    path = tmp_path / "arrivals.toml"
    path.write_text(
        f'[arrive]\nfolder = "{tmp_path}/stores"\n'
        f'[model]\ncodec = "{tmp_path}/codec"\npreset = "tiny"\nbatch = 2\n'
    )

    def arrive(name: str) -> None:
        shutil.copytree(small_store.path, tmp_path / "waiting" / name)
        (tmp_path / "stores").mkdir(exist_ok=True)
        (tmp_path / "waiting" / name).rename(tmp_path / "stores" / name)

    # what is not whole, and what has no latents of this codec, is left aside
    shutil.copytree(small_store.path, tmp_path / "stores/half.part")
    shutil.copytree(small_store.path, tmp_path / "stores/bare")
    (tmp_path / "stores/bare/latents.json").unlink()
    process = subprocess.Popen(
        [*map(str, command(path, tmp_path / "out", LONG))],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "waiting for a store in" in line:
            arrive("a")
        if line.startswith("step") and not (tmp_path / "stores/b").exists():  # it learns
            arrive("b")
    _, said = process.communicate()
    assert process.returncode == 0, said
    trained = [line.count("--data") for line in lines if line.startswith("$ timbrel train")]
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
        asked = 60 * float(words[words.index("--minutes") + 1])
        start = 15 if lengths else module.START
        assert asked == pytest.approx(sum(lengths) + 600 - begun - start, abs=0.1)
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


def test_what_is_no_configuration_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "recipes/default")
    module = importlib.import_module("rounds")
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
        words = ["rounds.py", str(config), "-o", str(tmp_path / "out"), "--minutes", str(minutes)]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as end:  # it is printed, and the exit code is 1
            module.main()
        assert sentence in str(end.value.code)
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
    done = rounds(config, tmp_path / "out", LONG)
    assert done.returncode == 1
    assert "was begun with another" in done.stderr
    assert "synth_share" in done.stderr
