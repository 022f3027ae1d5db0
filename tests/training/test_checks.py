"""What a training refuses before it begins."""

from dataclasses import replace

import pytest

from timbrel.errors import TrainingError
from timbrel.network import tiny
from timbrel.training.checks import check_parts
from timbrel.training.settings import ModelTraining

HEARD = replace(tiny(), structure=replace(tiny().structure, source="cqt"))


def test_a_stage_one_that_never_ends_is_refused() -> None:
    check_parts(tiny(), ModelTraining(stage_one=0.99), begun=False)
    with pytest.raises(TrainingError, match="structure would never be learned"):
        check_parts(tiny(), ModelTraining(stage_one=1.0), begun=True)


def test_an_adversary_that_never_begins_is_refused() -> None:
    late = ModelTraining(stage_one=0.95, adversary_delay=0.05, adversary=0.1)
    with pytest.raises(TrainingError, match=r"takes 0\.95 of the budget"):
        check_parts(HEARD, late, begun=False)
    check_parts(HEARD, replace(late, adversary=0.0), begun=False)
    check_parts(HEARD, replace(late, adversary_delay=0.0), begun=False)
