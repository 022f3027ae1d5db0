"""Numbers of sets of outputs, on embeddings whose distances are known in closed form."""

import math
from pathlib import Path

import numpy as np
import pytest

from timbrel.evaluation import tables
from timbrel.evaluation.run import Record
from timbrel.evaluation.scores import SCORE_NAMES
from timbrel.evaluation.systems import EXAMPLE, TRUTH

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
