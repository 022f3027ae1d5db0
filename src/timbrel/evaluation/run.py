"""Running an evaluation: cases x systems -> one folder, resumable, the same for any workers.

Folder:
    settings.json   what was asked; another question in the same folder is refused
    records.jsonl   one line for each output that is done
    audio/          what was heard, case by case
    heard/          what the judges heard in it, a file for each different sound
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from timbrel.audio import Audio
from timbrel.data.engine import end_with_parent
from timbrel.data.files import begin_line, read_object, write_text
from timbrel.data.lock import locked
from timbrel.errors import InputError, TimbrelError, is_lack_of_memory
from timbrel.evaluation.cases import Case
from timbrel.evaluation.given import FileRow
from timbrel.evaluation.hearing import Memory
from timbrel.evaluation.identity import judges_id
from timbrel.evaluation.job import Job
from timbrel.evaluation.scores import SCORE_NAMES, Ears, failed, listen_to, score
from timbrel.evaluation.systems import EXAMPLES, ModelRow, System, slug

SETTINGS = "settings.json"
FLAC_CHANNELS = 8  # at most
# Faults of the machine, which say nothing of the output that was made when they came.
MACHINE = (OSError, MemoryError, torch.OutOfMemoryError)
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Record:
    """One output and its scores; `failure` says why there is none."""

    case: str
    level: str
    system: str
    scores: dict[str, float]
    failure: str
    seconds: float  # that making it took, by wall clock; 0: it was made elsewhere
    length: float  # of the output, in seconds
    facts: dict[str, Any]
    heard: str = ""  # name in the folder's memory of what was heard in it, "" if it failed
    example: str = ""  # and in the case's example

    @property
    def sounds(self) -> tuple[str, ...]:
        """What is asked of whom: cases at several levels that share it are not independent."""
        known = [str(self.facts[name]) for name in ("target", "source") if name in self.facts]
        return tuple(known) if known else (self.case,)

    def to_json(self) -> str:
        """One line; NaN as null."""
        values = asdict(self)
        values["scores"] = {k: v if math.isfinite(v) else None for k, v in self.scores.items()}
        return json.dumps(values, ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> "Record":
        """The inverse of `to_json`."""
        values = json.loads(line)
        known = dict.fromkeys(SCORE_NAMES, math.nan)  # an older report may lack some
        known |= {k: math.nan if v is None else float(v) for k, v in values["scores"].items()}
        values["scores"] = known
        return cls(**values)


def read_settings(folder: Path) -> dict[str, Any]:
    """What an evaluation asked.

    Raises:
        InputError: there are no settings, or they are damaged.
    """
    return read_object(folder / SETTINGS, "evaluate anew, in another folder")


def read_records(folder: Path) -> list[Record]:
    """The records of an evaluation; a line that is cut short or damaged is left out."""
    path = folder / "records.jsonl"
    found = []
    # by bytes: a name may hold what Unicode takes for the end of a line, and a byte may be damaged
    for line in path.read_bytes().split(b"\n") if path.is_file() else []:
        try:
            found.append(Record.from_json(line.decode()))
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
    return found


def evaluate(
    job: Job, folder: Path, workers: int = 1, progress: Progress | None = None
) -> list[Record]:
    """Run, or go on with, an evaluation.

    Args:
        job: what to evaluate.
        folder: of the report; made, or continued.
        workers: processes; the result does not depend on it.
        progress: called with the share that is done.

    Returns:
        All records, in the order of cases and systems.

    Raises:
        InputError: the folder holds another evaluation.
        DataError: another process is writing it.
        TimbrelError: what is asked cannot be asked, a process ended, or memory or disk is full.
    """
    total = len(job.cases())  # what cannot be asked is found before the folder is made
    job.check()
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        claim(folder, job.settings())
        done = {(r.case, r.system) for r in read_records(folder)}
        with open(folder / "records.jsonl", "a+") as file:
            begin_line(file)
            try:
                for number, records in enumerate(_work(job, folder, done, total, workers)):
                    file.writelines(record.to_json() + "\n" for record in records)
                    file.flush()
                    if progress is not None:
                        progress((number + 1) / total)
            except MACHINE as error:
                raise TimbrelError(
                    f"the evaluation stopped: {_reason(error)}; mend that, and run again to go on"
                ) from error
    return read_records(folder)


def claim(folder: Path, settings: Mapping[str, Any]) -> None:
    """Make the folder, or check that it asks the same question.

    Raises:
        InputError: it holds something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / SETTINGS
    asked = {**settings, "judges": judges_id()}
    text = json.dumps(asked, indent=1, ensure_ascii=False) + "\n"
    if path.is_file():
        if _question(read_settings(folder)) != _question(json.loads(text)):
            raise InputError(
                f"{folder} holds an evaluation with other settings, or by the judges of another "
                "version of timbrel; give another folder for -o"
            )
    elif any(path.name != f"{SETTINGS}.tmp" for path in folder.iterdir()):  # left by a kill
        raise InputError(f"{folder} holds something else; give an empty or new folder for -o")
    else:
        write_text(path, text)


def _question(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without the options of sampling that were left to the model.

    A version may have options that the one before had not: where nobody gives them, nothing
    else is asked.
    """
    chosen = [option for option in settings.get("sampling", []) if option[1] is not None]
    return settings | {"sampling": chosen}


def _work(
    job: Job, folder: Path, done: set[tuple[str, str]], total: int, workers: int
) -> Iterable[list[Record]]:
    if workers <= 1:
        systems, cases = job.systems(), job.cases()
        for make in cases:
            with one_thread():  # as in a worker: sums of several threads are rounded otherwise
                records = judge(make, systems, folder, done)
            yield records
        return
    arguments = (job, folder, done)
    with ProcessPoolExecutor(workers, initializer=_prepare, initargs=arguments) as pool:
        try:
            yield from pool.map(_judge_number, range(total))
        except BrokenProcessPool as error:
            raise TimbrelError(
                "a process of the evaluation ended (is memory short?); run again to go on, or "
                "with --workers 1"
            ) from error


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


_STATE: dict[str, Any] = {}


def _prepare(job: Job, folder: Path, done: set[tuple[str, str]]) -> None:
    """In a worker process: load the model once."""
    torch.set_num_threads(1)
    end_with_parent()
    _STATE.update(cases=job.cases(), systems=job.systems(), folder=folder, done=done)


def _judge_number(number: int) -> list[Record]:
    return judge(_STATE["cases"][number], _STATE["systems"], _STATE["folder"], _STATE["done"])


def judge(
    make: Callable[[], Case],
    systems: Mapping[str, System],
    folder: Path,
    done: set[tuple[str, str]],
) -> list[Record]:
    """All systems that are not done on one case; what fails is recorded, the rest goes on.

    Raises:
        OSError, MemoryError, torch.OutOfMemoryError: the machine failed, not a system.
    """
    case = make()
    missing = {name: run for name, run in systems.items() if (case.name, name) not in done}
    if not missing:
        return []
    ears = listen_to(case, memory_of(folder))
    for name, example in zip(EXAMPLES, (case.example, case.example_given), strict=True):
        if example is not None:
            keep(folder, case.name, name, example)
    case.notes.write(folder / "audio" / f"{slug(case.name)}.mid")
    return [
        record
        for name, run in missing.items()
        if (record := judge_one(name, run, case, ears, folder)) is not None
    ]


def judge_one(name: str, run: System, case: Case, ears: Ears, folder: Path) -> Record | None:
    """One output, kept and scored; None if the case does not have this row."""
    began = time.perf_counter()
    try:
        audio = run(case)
        took = 0.0 if isinstance(run, FileRow) else time.perf_counter() - began
        if audio is None:
            return None
        scores, heard = score(audio, case, ears)
        if isinstance(run, ModelRow):
            scores = replace(scores, structure_apart=run.structure_apart(case))
    except MACHINE:  # a score of 0 would stay when the disk has room again
        raise
    except Exception as error:  # one case that a model cannot do must not end the rest
        if is_lack_of_memory(error):
            raise MemoryError(_reason(error)) from error
        lost = failed(case)
        if isinstance(run, ModelRow) and run.hears:
            lost["structure_apart"] = 1.0  # as if nothing had been heard
        return Record(
            case.name,
            case.level,
            name,
            lost,
            _reason(error),
            0.0,
            0.0,
            case.facts,
            example=ears.name,
        )
    keep(folder, case.name, name, audio)
    return Record(
        case.name,
        case.level,
        name,
        {key: float(value) for key, value in asdict(scores).items()},
        "",
        took,
        audio.seconds,
        case.facts,
        heard,
        ears.name,
    )


def _reason(error: BaseException) -> str:
    """One line for people."""
    kind = "" if isinstance(error, TimbrelError) else f"{type(error).__name__}: "
    return kind + (str(error).splitlines() or ["it says no more"])[0]


def keep(folder: Path, case: str, name: str, audio: Audio) -> None:
    """Write a sound for the report; in mono if it has more channels than FLAC can hold."""
    path = audio_path(folder, case, name)
    path.parent.mkdir(exist_ok=True)
    (audio if audio.samples.shape[0] <= FLAC_CHANNELS else audio.mono()).write(path)


def audio_path(folder: Path, case: str, name: str) -> Path:
    """Where a sound of the report lies."""
    return folder / "audio" / f"{slug(case)}-{slug(name)}.flac"


def memory_of(folder: Path) -> Memory:
    """What the judges heard in the sounds of an evaluation."""
    return Memory(folder / "heard")
