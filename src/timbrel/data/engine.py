"""Where work is done: in this process, in several, or on a Ray cluster; with equal results.

Work is a pure function of something shared (a plan, a codec) and an item, and gives any
number of results. They come in the order of the items, whatever finishes first, and only
a few items are ahead of what was taken: memory does not grow with their number. In one process
results are made as they are taken; other processes send those of an item all at once.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol, TypeVar

from timbrel.errors import DataError, TimbrelError

Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Shared, Item], Iterable[Result]]

AHEAD = 2  # items in work or waiting, for each worker
KILLED = "a process that worked on it was killed (is memory short?); run again to continue"


class Engine(Protocol):
    """Runs work."""

    def run(
        self,
        work: Work[Shared, Item, Result],
        shared: Shared,
        items: Iterable[Item],
        gpu: bool = False,
    ) -> Iterator[Result]:
        """All results of all items, in order.

        Args:
            work: a function of a module; its arguments and results can be pickled.
            shared: given to every call; sent once to each process.
            items: drawn from as work goes on.
            gpu: whether the work would like a GPU.

        Raises:
            DataError: a process was killed, or no cluster can be reached.
        """
        ...


class Local:
    """This machine.

    Args:
        workers: processes; 1 is this one, where results are made one by one as they are taken.
    """

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers

    def run(
        self,
        work: Work[Shared, Item, Result],
        shared: Shared,
        items: Iterable[Item],
        gpu: bool = False,
    ) -> Iterator[Result]:
        """See `Engine.run`."""
        if self.workers <= 1:
            for item in items:
                yield from work(shared, item)
            return
        begin = (work, shared, _handled())
        pool = ProcessPoolExecutor(self.workers, initializer=_begin, initargs=begin)
        waiting: deque[Future[list[Result]]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(_do, "", item))
                if len(waiting) >= AHEAD * self.workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except BrokenProcessPool as error:
            raise DataError(KILLED) from error
        finally:
            pool.shutdown(cancel_futures=True)


class Ray:
    """A Ray cluster: the one of $RAY_ADDRESS, else one that is started on this machine.

    Its machines need this package, and files at the same paths (or at URLs).
    """

    def run(
        self,
        work: Work[Shared, Item, Result],
        shared: Shared,
        items: Iterable[Item],
        gpu: bool = False,
    ) -> Iterator[Result]:
        """See `Engine.run`; with `gpu`, every task has a GPU of its own if there are any."""
        ray = _ray()
        resources = ray.cluster_resources()
        kind = "GPU" if gpu and resources.get("GPU", 0) >= 1 else "CPU"
        task = ray.remote(_do).options(num_gpus=int(kind == "GPU"))
        # in a list, so that Ray does not fetch it for every task anew
        kept = [ray.put((work, shared))]
        waiting: deque[Any] = deque()
        try:
            for item in items:
                waiting.append(task.remote(kept, item))
                if len(waiting) >= AHEAD * max(1, int(resources.get(kind, 1))):
                    yield from ray.get(waiting.popleft())
            while waiting:
                yield from ray.get(waiting.popleft())
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, TimbrelError):
                raise error.cause from None
            if isinstance(error.cause, ray.exceptions.RaySystemError):
                raise DataError(
                    "a machine of the Ray cluster cannot load the work; is this version of "
                    "timbrel installed there?"
                ) from error
            raise
        except ray.exceptions.RayError as error:
            raise DataError(f"{KILLED} ({error.__class__.__name__})") from error
        finally:
            for reference in waiting:
                ray.cancel(reference, force=False)


def pick_engine(name: str, workers: int = 1) -> Engine:
    """An engine by its name.

    Args:
        name: "local" or "ray".
        workers: processes of the local one; a cluster has what it has.

    Raises:
        DataError: there is no such engine.
    """
    if name == "local":
        return Local(workers)
    if name == "ray":
        return Ray()
    raise DataError(f"there is no engine '{name}'; choose local or ray")


_SHARED: dict[str, tuple[Work[Any, Any, Any], Any]] = {}  # of this worker process


def _begin(work: Work[Any, Any, Any], shared: Any, handled: Iterable[int]) -> None:
    """In a process of the pool: remember what is shared, so that it is sent and loaded once.

    A terminal's Ctrl-C reaches all processes: where the program makes something else of it than
    its end, that is for the program alone. Processes share the cores, so each has one thread; with
    more, one that is forked would wait for ever for the threads that torch had in its parent.
    """
    _SHARED[""] = work, shared
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    for number in handled:
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()


def _handled() -> list[int]:
    """Signals by which this program does not end as any other; processes need not inherit that."""
    usual = (signal.SIG_DFL, signal.default_int_handler)
    asked = (signal.SIGINT, signal.SIGTERM)
    return [number for number in asked if signal.getsignal(number) not in usual]


def end_with_parent() -> None:
    """In a process of a pool: such processes wait for ever when their parent is killed; end.

    The parent is whoever started the process: where it is a server that forks, that one ends with
    the program.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _do(kept: Any, item: Any) -> list[Any]:
    """One item's results, in a worker; `kept` says where what is shared is to be had."""
    key = kept[0].hex() if kept else ""
    if key not in _SHARED:
        import ray

        _SHARED.clear()  # an earlier run's
        _SHARED[key] = ray.get(kept[0])
    work, shared = _SHARED[key]
    return list(work(shared, item))


def _ray() -> Any:
    """The library, connected.

    Raises:
        DataError: it is not installed, or the cluster cannot be reached.
    """
    try:
        import ray
    except ImportError as error:
        raise DataError("--engine ray needs Ray: pip install 'timbrel[ray]'") from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not ray.is_initialized():
        try:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # of all kinds, Exception itself when starting takes too long
            where = os.environ.get("RAY_ADDRESS", "this machine")
            first = str(error).splitlines()[0] if str(error) else error.__class__.__name__
            raise DataError(f"no Ray cluster at {where}: {first}") from error
    return ray
