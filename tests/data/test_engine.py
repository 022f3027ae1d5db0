"""The same work here, in processes and on a local Ray cluster."""

import functools
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from miniatures import LAYOUTS
from timbrel.codec.codec import Codec
from timbrel.data.engine import AHEAD, Engine, Local, Ray, pick_engine
from timbrel.data.ingest import prepare
from timbrel.data.render.renditions import render_store
from timbrel.data.render.shares import Shares
from timbrel.data.store import Store
from timbrel.data.variation import Augmentation
from timbrel.errors import DataError
from timbrel.training.latents import attach_latents


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def count_up(shared: int, item: int) -> Iterator[tuple[int, int]]:
    """As many results as the item says; later items are done first."""
    time.sleep(0.02 * max(0, 5 - item))
    yield from ((item, shared + k) for k in range(item))


def where(shared: None, item: int) -> list[int]:
    return [os.getpid()]


def die(shared: None, item: int) -> list[int]:
    if item == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return [item]


def interrupted(shared: None, item: int) -> list[int]:
    os.kill(os.getpid(), signal.SIGINT)  # as a terminal does to the whole group
    return [item]


def complain(shared: None, item: int) -> list[int]:
    raise DataError(f"item {item} is no good")


VARIED = Augmentation(variants=1)
EXPECTED = [(item, 100 + k) for item in range(6) for k in range(item)]


@pytest.fixture(scope="module")
def ray() -> Iterator[Ray]:
    """A cluster of two cores on this machine, whose processes find the tests' modules."""
    library = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        patch.setenv("RAY_AUTH_MODE", "disabled")  # which would leave a file in the home folder
        try:
            library.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        except Exception as error:
            library.shutdown()
            if "timed out" not in str(error):
                raise
            pytest.skip("this machine is too busy to start Ray within its 30 s")
        yield Ray()
        library.shutdown()


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    assert list(Local(workers).run(count_up, 100, range(6))) == EXPECTED


def test_one_worker_is_this_process_and_makes_results_as_they_are_taken() -> None:
    assert set(Local(1).run(where, None, range(3))) == {os.getpid()}
    results = Local(1).run(count_up, 0, itertools.count())  # without end
    assert list(itertools.islice(results, 3)) == [(1, 0), (2, 0), (2, 1)]


def test_several_workers_are_processes_that_draw_only_a_few_items_ahead() -> None:
    drawn = []

    def items() -> Iterator[int]:
        for number in itertools.count():
            drawn.append(number)
            yield number

    results = Local(2).run(where, None, items())
    pids = {next(results) for _ in range(8)}
    assert len(drawn) <= 8 + AHEAD * 2
    results.close()
    assert os.getpid() not in pids
    assert 1 <= len(pids) <= 2


def test_a_killed_worker_is_told_with_the_cure() -> None:
    with pytest.raises(DataError, match=r"killed .* run again to continue"):
        list(Local(2).run(die, None, range(6)))


def test_errors_of_the_work_come_as_they_are() -> None:
    for engine in (Local(1), Local(2)):
        with pytest.raises(DataError, match=r"^item 0 is no good$"):
            list(engine.run(complain, None, range(3)))


def test_engines_are_found_by_name() -> None:
    assert isinstance(pick_engine("ray"), Ray)
    local = pick_engine("local", 3)
    assert isinstance(local, Local)
    assert local.workers == 3
    with pytest.raises(DataError, match="no engine 'slurm'; choose local or ray"):
        pick_engine("slurm")


def test_without_ray_the_cure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DataError, match=r"pip install 'timbrel\[ray\]'"):
        next(Ray().run(count_up, 0, range(3)))


def test_a_cluster_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    library = pytest.importorskip("ray")

    def slow(**options: object) -> None:
        raise Exception("The current node timed out during startup.\nMore.")

    monkeypatch.setattr(library, "init", slow)
    monkeypatch.setattr(library, "is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with pytest.raises(DataError, match=r"^no Ray cluster at 10.0.0.1:6379: .* startup\.$"):
        next(Ray().run(count_up, 0, range(3)))


def test_recordings_are_read_alike_by_one_process_and_two(tmp_path: Path) -> None:
    LAYOUTS["slakh"](tmp_path / "in")
    for workers in (1, 2):
        store = tmp_path / str(workers)
        prepare("slakh", tmp_path / "in", store, augmentation=VARIED, engine=Local(workers))
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


@pytest.mark.slow
def test_a_ray_cluster_does_the_same_as_this_process(
    ray: Engine, tmp_path: Path, tiny_codec: Codec
) -> None:
    assert list(ray.run(count_up, 100, range(6))) == EXPECTED
    assert os.getpid() not in set(ray.run(where, None, range(4)))
    with pytest.raises(DataError, match=r"^item 0 is no good$"):
        list(ray.run(complain, None, range(3)))
    LAYOUTS["slakh"](tmp_path / "in")
    for name, engine in (("here", Local()), ("there", ray)):
        recorded, rendered = tmp_path / f"recorded-{name}", tmp_path / f"rendered-{name}"
        prepare("slakh", tmp_path / "in", recorded, engine=engine)
        render_store(rendered, 1, 8, "train", [], Shares(mixes=0.5), 1.5, engine)
        attach_latents(Store.open(rendered), tiny_codec, engine=engine)
    assert contents(tmp_path / "recorded-here") == contents(tmp_path / "recorded-there")
    assert contents(tmp_path / "rendered-here") == contents(tmp_path / "rendered-there")


def test_processes_work_and_end_with_their_parent_however_they_are_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Python 3.14 forks from a server; 3.11 to 3.13 fork, or spawn where there is no fork
    for method in ("fork", "forkserver"):
        context = multiprocessing.get_context(method)
        pool = functools.partial(ProcessPoolExecutor, mp_context=context)
        monkeypatch.setattr("timbrel.data.engine.ProcessPoolExecutor", pool)
        assert list(Local(2).run(count_up, 100, range(6))) == EXPECTED


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_a_ctrl_c_that_the_program_handles_is_for_the_program_alone(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = functools.partial(ProcessPoolExecutor, mp_context=multiprocessing.get_context(method))
    monkeypatch.setattr("timbrel.data.engine.ProcessPoolExecutor", pool)
    previous = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        assert list(Local(2).run(interrupted, None, range(4))) == [0, 1, 2, 3]
    finally:
        signal.signal(signal.SIGINT, previous)
    with pytest.raises((KeyboardInterrupt, DataError)):  # else all end, and soon
        list(Local(2).run(interrupted, None, range(4)))


def test_processes_compute_although_this_one_has_threads_that_they_lack(tmp_path: Path) -> None:
    script = tmp_path / "work.py"
    script.write_text(
        "import torch\n"
        "from timbrel.data.engine import Local\n"
        "def work(shared, item):\n"
        "    return [float((shared @ shared).exp().sum())]\n"
        "if __name__ == '__main__':\n"
        "    torch.set_num_threads(2)\n"
        "    numbers = torch.full((500, 500), 1e-3)\n"
        "    work(numbers, 0)  # torch starts its threads\n"
        "    assert len(list(Local(2).run(work, numbers, range(3)))) == 3\n"
    )
    assert subprocess.run([sys.executable, str(script)], timeout=60).returncode == 0


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="who runs is read from /proc")
def test_workers_do_not_outlive_a_program_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "work.py"
    script.write_text(
        "import os, sys, time\n"
        "from timbrel.data.engine import Local\n"
        "def work(shared, item):\n"
        "    open(f'{sys.argv[1]}/{os.getpid()}', 'w').close()\n"
        "    time.sleep(60)\n"
        "    return [item]\n"
        "if __name__ == '__main__':\n"
        "    list(Local(2).run(work, None, range(4)))\n"
    )
    folder = tmp_path / "pids"
    folder.mkdir()
    program = subprocess.Popen([sys.executable, str(script), str(folder)])
    until = time.monotonic() + 60
    while len(list(folder.iterdir())) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    program.kill()
    program.wait()
    pids = [int(path.name) for path in folder.iterdir()]
    assert len(pids) == 2
    while any(map(running, pids)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(running, pids))


def running(pid: int) -> bool:
    """Whether a process is there, and not one that has ended and waits to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
