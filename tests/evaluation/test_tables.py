"""Numbers of sets of outputs: of embeddings whose distances are known, and of pieces found."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluations import band_case
from timbrel.audio import Audio
from timbrel.errors import InputError
from timbrel.evaluation import tables
from timbrel.evaluation.cases import Case
from timbrel.evaluation.hearing import Hearing, Memory
from timbrel.evaluation.run import Record, judge_one
from timbrel.evaluation.scores import SCORE_NAMES, Ears
from timbrel.evaluation.systems import EXAMPLE, SOURCE, TRUTH
from timbrel.evaluation.tables import NOTHING, Interval, chance, identified, rows
from timbrel.evaluation.timbre_embedding import Heard
from timbrel.notes import Notes

MODEL = "timbrel, from notes"
PLACES = {TRUTH: (0.0, 0.0), EXAMPLE: (0.0, 5.0), MODEL: (3.0, 0.0)}  # means of what they are


@pytest.fixture
def clouds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sounds are points of one shape around their system's place."""

    class Clouds:
        def __init__(self, *_: object) -> None: ...

        def of(self, record: Record) -> np.ndarray | None:
            if record.failure:
                return None
            points = np.random.default_rng(int(record.case)).standard_normal((6, 2))
            return points + PLACES[record.system]

    monkeypatch.setattr(tables, "Embedded", Clouds)


def records(*systems: str, cases: int = 5, failed: int = 0) -> list[Record]:
    scores = dict.fromkeys(SCORE_NAMES, math.nan)
    return [
        Record(f"{case}", "one", system, scores, "silent" * (system == MODEL and case < failed),
               1.0, 8.0, {})
        for system in systems
        for case in range(cases)
    ]  # fmt: skip


def values(folder: Path, *systems: str, cases: int = 5, failed: int = 0) -> dict[str, float]:
    """Name -> of the model."""
    found = tables.rows(records(*systems, cases=cases, failed=failed), folder)
    return {name: mean for name, (mean, _, _) in found[-1].values.items()}


@pytest.mark.usefixtures("clouds")
def test_outputs_are_as_far_from_truths_and_from_examples_as_their_means(tmp_path: Path) -> None:
    found = values(tmp_path, TRUTH, EXAMPLE, MODEL)
    assert found["frechet"] == pytest.approx(9)
    assert found["frechet_examples"] == pytest.approx(34)
    assert found["frechet_infinity"] == pytest.approx(9, abs=1)
    assert found["song_frechet"] >= 9 - 1e-6


@pytest.mark.usefixtures("clouds")
def test_a_failed_output_is_left_out_of_both_sets(tmp_path: Path) -> None:
    found = values(tmp_path, TRUTH, EXAMPLE, MODEL, failed=1)
    assert found["frechet"] == pytest.approx(9)  # the truth of its case would move it
    assert found["frechet_examples"] == pytest.approx(34)


@pytest.mark.usefixtures("clouds")
def test_what_is_not_there_or_too_few_has_no_distance(tmp_path: Path) -> None:
    alone = values(tmp_path, TRUTH, MODEL)
    assert alone["frechet"] == pytest.approx(9)
    assert math.isnan(alone["frechet_examples"])
    few = values(tmp_path, TRUTH, EXAMPLE, MODEL, cases=5, failed=2)
    names = ("frechet", "frechet_infinity", "frechet_examples", "song_frechet")
    assert all(math.isnan(few[name]) for name in names)


def test_a_failed_output_is_not_identified_and_does_not_shrink_the_search(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = [f"h{k}" for k in range(4)]
    heard = {name: hearing(rng) for name in names}
    records = [
        Record(f"c{k}", "", "model", {}, "", 1.0, 1.0, {}, name, name)
        for k, name in enumerate(names)
    ]
    assert identified(records, heard) == 1
    records[1] = replace(records[1], heard="h0")  # another's
    assert identified(records, heard) == 0.75

    def crash(case: Case) -> Audio:
        raise InputError("nothing")

    def fail(record: Record) -> Record:
        ears = Ears(Memory(tmp_path), record.example, heard[record.example].timbre, None, None)
        made = judge_one("model", crash, replace(band_case(4.0), name=record.case), ears, tmp_path)
        assert made is not None
        return made

    # another's, but of the same sound: two cases may ask for one
    assert chance(records) == 0.25
    kin = [replace(r, facts={"target": sound}) for r, sound in zip(records, "aabc", strict=True)]
    assert identified(kin, heard) == 1
    assert chance(kin) == (2 + 2 + 1 + 1) / 16
    assert identified([fail(records[0]), *records[1:]], heard) == 0.5
    assert identified([fail(record) for record in records], heard) == 0


def hearing(rng: np.random.Generator) -> Hearing:
    patches, judged = (rng.standard_normal((2, n)).astype(np.float32) for n in (200, 64))
    nothing = np.zeros(0)
    return Hearing(Notes.empty(), Heard(patches, judged), np.zeros((12, 0)), nothing, nothing)


def test_pieces_found_and_distances_of_songs_are_drawn_by_the_sounds_that_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[list[float], list[object]]] = []

    def watch(values: list[float], groups: Any = None) -> Interval:
        drawn.append((list(values), list(groups)))
        return NOTHING

    monkeypatch.setattr("timbrel.evaluation.tables.mean_interval", watch)
    rng = np.random.default_rng(0)
    memory = Memory(tmp_path / "heard")
    records = []
    for k in range(5):
        whole = replace(hearing(rng), chroma=rng.random((12, 9)).astype(np.float32))
        memory._keep(f"h{k}", whole)
        for system in (TRUTH, SOURCE, "model"):
            failed = system == "model" and k == 1
            scores = dict.fromkeys(SCORE_NAMES, math.nan) | {"note_f1": 0.5, "beat_f1": 0.5}
            heard = "" if failed else f"h{k}"
            facts = {"target": f"t{k % 2}"}
            records.append(
                Record(f"c{k}", "", system, scores, "x" * failed, 1.0, 1.0, facts, heard)
            )
    rows(records, tmp_path)
    asked = [(f"t{k % 2}",) for k in range(5)]
    found, songs = drawn[-2:]  # of the model
    assert found == ([1, 0, 1, 1, 1], asked)
    assert [math.isfinite(value) for value in songs[0]] == [True, False, True, True, True]
    assert songs[1] == asked
