"""A training run on disk: its folder, budget, checkpoints, log, and how it stops.

A checkpoint holds everything that the next step depends on. Random draws are pure
functions of (seed, step, rank), so no generator state needs saving: a run that was
killed and resumed ends with the same weights as one that was not.
"""

import errno
import json
import math
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from timbrel.data.files import begin_line, write_text
from timbrel.data.lock import locked
from timbrel.errors import TrainingError
from timbrel.training.ranks import Ranks

FREE = ("training.accumulate", "training.batch")  # may change: only which items are drawn does
DAMAGED = (RuntimeError, OSError, EOFError, ValueError, KeyError, UnpicklingError)
NONE_KEPT = "no checkpoint had been written yet"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room on the disk, or none that is allowed


@dataclass(frozen=True)
class Budget:
    """How long to train: a number of steps, or minutes of wall time, or both (the first)."""

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise TrainingError("a training run needs a budget: give --steps or --minutes")
        if self.steps is not None and self.steps < 1:
            raise TrainingError(f"--steps is {self.steps}; give 1 or more")
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise TrainingError(f"--minutes is {self.minutes}; give a number above 0")

    def progress(self, step: int, seconds: float) -> float:
        """Share of the budget that is used, in [0, 1]."""
        of_steps = 0.0 if self.steps is None else step / self.steps
        of_minutes = 0.0 if self.minutes is None else seconds / (60 * self.minutes)
        return min(max(of_steps, of_minutes), 1.0)


def generator(seed: int, step: int, rank: int, purpose: int) -> np.random.Generator:
    """The source of all randomness of one step on one process."""
    return np.random.default_rng([seed, step, rank, purpose])


def torch_generator(rng: np.random.Generator, device: torch.device) -> torch.Generator:
    """A torch generator seeded from a numpy one."""
    source = torch.Generator(device=device)
    source.manual_seed(int(rng.integers(2**62)))
    return source


class Run:
    """Folder of a training run.

    Layout: `config.json`, `checkpoints/step-N.pt` (newest two), `metrics.jsonl`, `tensorboard/`.

    Args:
        folder: made if needed; a run found there is resumed.
        config: what must be equal for a resume, but for `FREE`; a difference is refused by name.
            A folder without a checkpoint has nothing to resume, and takes any.
        save_seconds: seconds between two checkpoints.

    Raises:
        TrainingError: the folder is a model's; when it begins, the run has other settings; while
            it lasts, its disk is full.
        DataError: another process trains in this folder (when it begins).
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], save_seconds: float = 120) -> None:
        self.folder, self.save_seconds = folder, save_seconds
        self.ranks = Ranks()
        self.checkpoints = folder / "checkpoints"
        if "format" in _settings(folder):
            raise TrainingError(f"{folder} holds a model; give another folder for the run")
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        self._config: dict[str, Any] = json.loads(json.dumps(config))
        self._unread: list[Path] = []  # checkpoints that could not be
        self.stopping = False
        self._last_save = time.monotonic()
        self._writer: Any = None
        self._previous: dict[int, Any] = {}
        self.recent: dict[str, float] = {}  # means of what was logged last
        self._gathered: dict[str, list[Tensor]] = {}
        self._paced: tuple[int, float] | None = None  # step and seconds at the last line
        self._warned: set[str] = set()

    def _check_config(self) -> None:
        found = settings_of(self.folder)
        changed = {
            name: (wanted, other)
            for name, (wanted, other) in differences(self._config, found or {})
            if other is not ABSENT  # a setting that the run's version did not have yet
        }
        for name, (wanted, other) in changed.items():
            if name not in FREE:
                raise TrainingError(
                    f"{self.folder} holds a run with {name} = {other}, not {wanted}; choose "
                    "another folder or the same settings"
                )
        for name, (wanted, other) in changed.items():
            self.say(f"{self.folder}: {name} was {other}, and is {wanted} from here on")
        if self.ranks.first and (found is None or changed):
            write_text(self.folder / "config.json", json.dumps(self._config, indent=1))

    def __enter__(self) -> "Run":
        with ExitStack() as held:
            if self.ranks.first:  # it writes for all processes of a run
                held.enter_context(locked(self.folder))
            self._check_config()  # what another process wrote here stays its own
            self._held = held.pop_all()
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._previous[number] = signal.signal(number, self._stop)
            except ValueError:  # not the main thread: no signals to catch
                break
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._held.close()
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self._writer is not None:
            with suppress(OSError):  # of a full disk; `metrics.jsonl` has the numbers too
                self._writer.close()
        # the log or a model's folder: whatever else a training writes goes to the run's disk
        if isinstance(error, OSError) and error.errno in FULL:
            raise self._unwritten(self.folder, error) from error

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True

    def latest(self) -> dict[str, Any] | None:
        """The newest checkpoint, or None if there was none yet. A damaged one is left aside.

        Raises:
            TrainingError: all are damaged.
        """
        found = checkpoints_of(self.folder)
        for path in reversed(found):
            try:
                state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            except DAMAGED as error:
                reason = getattr(error, "strerror", None) or "it is damaged"  # no archive's inside
                self.say(f"{path} cannot be read ({reason}): it is left aside")
                self._unread.append(path)
                continue
            self.say(f"{self.folder}: the run goes on from step {state['step']}")
            return state
        if found:
            raise TrainingError(
                f"no checkpoint in {self.checkpoints} can be read; put one back, or begin anew in "
                "another folder"
            )
        return None

    def due(self) -> bool:
        """Whether it is time for a checkpoint; the same on every process."""
        return self.ranks.agree(time.monotonic() - self._last_save > self.save_seconds)

    def save(self, step: int, state: Mapping[str, Any]) -> None:
        """Write a checkpoint; keep the newest two, beside those that cannot be read.

        Raises:
            TrainingError: it could not be written; nothing is left of it.
        """
        self._last_save = time.monotonic()
        if not self.ranks.first:
            return
        path = self.checkpoints / f"step-{step:09d}.pt"
        temporary = self.checkpoints / "next.tmp"  # one name: kills do not pile them up
        try:
            torch.save(dict(state), temporary)
            os.replace(temporary, path)
        except (OSError, RuntimeError) as error:  # torch raises the latter when its disk is full
            temporary.unlink(missing_ok=True)
            raise self._unwritten(path, error) from error
        self._unread = [old for old in self._unread if old != path]
        there = checkpoints_of(self.folder)
        for old in [old for old in there if old not in self._unread][:-2]:
            old.unlink()  # those that could not be read may be another time

    def kept(self) -> str:
        """Where one can go on from, for the message of an end that nobody wanted."""
        there = [path for path in checkpoints_of(self.folder) if path not in self._unread]
        if there:
            return f"the last good checkpoint is kept: {there[-1]}"
        return "no checkpoint can be read" if self._unread else NONE_KEPT

    def _unwritten(self, path: Path, error: BaseException | None) -> TrainingError:
        """What to say of a write that failed."""
        reason = (str(error) or type(error).__name__).splitlines()[0]
        return TrainingError(
            f"{path} could not be written ({reason}); {self.kept()}; free space on that disk and "
            "run the same command to go on"
        )

    def log(self, step: int, values: Mapping[str, float], show: bool = True) -> None:
        """Append numbers to `metrics.jsonl` and TensorBoard; print one line."""
        if not self.ranks.first:
            return
        self._append({"step": step, "time": round(time.time(), 1), **values})
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        if show:
            line = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
            print(f"step {step:7d}  {line}", flush=True)

    def gather(self, values: Mapping[str, Tensor]) -> None:
        """Keep the scalars among the values of a step for the next `log_gathered`."""
        for name, value in values.items():
            if value.ndim == 0:
                self._gathered.setdefault(name, []).append(value.detach())

    def log_gathered(self, step: int, stage: int, seconds: float, progress: float) -> None:
        """Log the means of what was gathered, the pace, and the time that remains.

        Args:
            step: steps done.
            stage: of training.
            seconds: of training so far, looks at held-out items included.
            progress: share of the budget.
        """
        means = {n: float(torch.stack(v).nanmean()) for n, v in self._gathered.items()}
        self.recent = {name: mean for name, mean in means.items() if not math.isnan(mean)}
        self._gathered = {}
        before, then = self._paced or (0, 0.0)
        pace = (step - before) / max(seconds - then, 1e-9)
        self._paced = step, seconds
        left = seconds * (1 - progress) / max(progress, 1e-9)
        timing = {"progress": progress, "seconds": seconds, "steps_per_second": pace}
        self.log(step, {"stage": stage, **self.recent, **timing}, show=False)
        if self.ranks.first:
            line = "  ".join(f"{name} {value:.4g}" for name, value in self.recent.items())
            minutes = f"{int(left // 60)}:{int(left % 60):02d} left"
            print(f"step {step:7d}  {line}  {pace:.2f} steps/s  {minutes}", flush=True)

    def say(self, sentence: str) -> None:
        """Tell people something, once for all processes."""
        if self.ranks.first:
            print(sentence, flush=True)

    def warn(self, step: int, sentence: str) -> None:
        """Keep a warning ("name: what to do") in the log; print it when its name is new."""
        if not self.ranks.first:
            return
        self._append({"step": step, "warning": sentence})
        name = sentence.split(":")[0]
        if name not in self._warned:
            self._warned.add(name)
            print(f"step {step:7d}  warning: {sentence}", flush=True)

    def _append(self, row: Mapping[str, Any]) -> None:
        """A line of `metrics.jsonl`."""
        with open(self.folder / "metrics.jsonl", "a+") as file:
            begin_line(file)
            file.write(json.dumps(row) + "\n")

    def log_audio(self, step: int, name: str, samples: np.ndarray, rate: int) -> None:
        """Give TensorBoard a waveform (samples,) in [-1, 1]."""
        if self.ranks.first:
            self.writer.add_audio(name, samples[None, :, None], step, sample_rate=rate)

    @property
    def writer(self) -> Any:
        """TensorBoard's writer, made at first use because its import is slow."""
        if self._writer is None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                self.say(
                    "TensorBoard is not installed (pip install 'timbrel[train]'): numbers go to "
                    "metrics.jsonl alone"
                )
                self._writer = Unwritten()
            else:
                self._writer = SummaryWriter(str(self.folder / "tensorboard"))
        return self._writer


class Unwritten:
    """In place of TensorBoard's writer."""

    def add_scalar(self, *_: object) -> None:
        """Nothing."""

    def add_audio(self, *_: object, **__: object) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def checkpoints_of(folder: Path) -> list[Path]:
    """Those of the run in a folder, the oldest first."""
    return sorted((folder / "checkpoints").glob("step-*.pt"))


def restore(module: nn.Module, weights: Mapping[str, Any], folder: Path) -> None:
    """Put a checkpoint's weights into a module.

    Raises:
        TrainingError: an older version made it, whose networks had other parts.
    """
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise TrainingError(
            f"the run in {folder} was begun by another version, whose networks have other parts; "
            "begin a new run with --from its weights"
        ) from error


def settings_of(folder: Path) -> dict[str, Any] | None:
    """Those of the run in a folder; None if they cannot be read, or led to no checkpoint yet."""
    return (_settings(folder) or None) if checkpoints_of(folder) else None


def _settings(folder: Path) -> dict[str, Any]:
    """A folder's `config.json`; empty if there is none that can be read."""
    try:
        settings: dict[str, Any] = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return {}
    return settings


class Absent:
    """In place of an entry that a mapping does not have; null is an entry."""

    def __repr__(self) -> str:
        return "absent"


ABSENT = Absent()


def differences(
    wanted: Mapping[str, Any], found: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Entries in which two nested mappings differ: dotted name, (wanted, found), or `ABSENT`."""
    for key in sorted({*wanted, *found}):
        one, other = wanted.get(key, ABSENT), found.get(key, ABSENT)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from differences(one, other, f"{prefix}{key}.")
        elif one != other:
            yield f"{prefix}{key}", (one, other)


def last_line(folder: Path, name: str, until: int | None = None) -> dict[str, Any]:
    """What a run logged last that has `name` in it; empty if nothing. Cut lines are skipped.

    Args:
        folder: of the run.
        name: of a value.
        until: a step; what was logged after it does not count.
    """
    path = folder / "metrics.jsonl"
    for line in reversed(path.read_text().splitlines() if path.is_file() else []):
        try:
            row: dict[str, Any] = json.loads(line)
        except json.JSONDecodeError:  # by a kill
            continue
        if name in row and (until is None or row["step"] <= until):
            return row
    return {}
