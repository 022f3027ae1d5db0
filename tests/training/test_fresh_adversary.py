"""What an adversary finds that is trained on codes that stand still."""

import pytest
import torch
from torch import Tensor

from timbrel.training.fresh_adversary import Turns, by_score, error_over_chance, unheard

TIMBRES, EACH, FRAMES = 24, 5, 24
LABEL = torch.arange(TIMBRES).repeat_interleave(EACH)
SCORE = torch.arange(len(LABEL)) % (len(LABEL) // 2)  # each is played by two timbres


@pytest.fixture
def timbre() -> Tensor:
    """(items, 6): the timbre's own vector, and what only the passage has."""
    torch.manual_seed(1)
    return torch.randn(TIMBRES, 6)[LABEL] + 0.3 * torch.randn(len(LABEL), 6)


def told(value: Tensor) -> Tensor:
    """Codes (items, 12, FRAMES) of which one part says a value (items, dim), all with noise."""
    torch.manual_seed(2)
    written = (value @ torch.randn(value.shape[1], 12))[..., None]
    return written + torch.randn(len(value), 12, FRAMES)


def error(codes: Tensor, timbre: Tensor, turns: Turns) -> float:
    return error_over_chance(codes, timbre, LABEL, turns)


def test_timbre_is_found_where_it_is_also_of_those_that_it_never_met(timbre: Tensor) -> None:
    codes = told(timbre)
    assert error(codes, timbre, by_score(SCORE)) < 0.25
    assert error(codes, timbre, unheard(LABEL, SCORE)) < 0.35


def test_nothing_is_found_where_nothing_is(timbre: Tensor) -> None:
    once = torch.randn(len(LABEL), 12, 1).expand(-1, -1, FRAMES)  # gives the passage away
    scores = told(torch.randn(len(SCORE.unique()), 6)[SCORE])  # and the score
    for codes in (torch.randn(len(LABEL), 12, FRAMES), once, scores, torch.zeros_like(scores)):
        for turns in (by_score(SCORE), unheard(LABEL, SCORE)):
            assert 0.97 < error(codes, timbre, turns) <= 1


def test_notes_that_timbre_vectors_know_are_no_timbre_in_the_codes(timbre: Tensor) -> None:
    notes = torch.randn(len(LABEL), 6)
    assert error(told(notes), timbre + notes, by_score(SCORE)) > 0.9


def test_a_timbre_that_is_recognised_is_told_from_one_that_can_be_read(timbre: Tensor) -> None:
    codes = told(torch.randn(TIMBRES, 6)[LABEL])
    assert error(codes, timbre, by_score(SCORE)) < 0.5
    assert error(codes, timbre, unheard(LABEL, SCORE)) > 0.95


def test_what_is_judged_was_not_trained_on() -> None:
    for turns in (by_score(SCORE), unheard(LABEL, SCORE)):
        assert torch.stack([judged for _, judged in turns]).sum(0).eq(1).all()
        for known, judged in turns:
            assert known.any()
            assert not torch.isin(SCORE[judged], SCORE[known]).any()
    for known, judged in unheard(LABEL, SCORE):
        assert not torch.isin(LABEL[judged], LABEL[known]).any()
    few = LABEL < 5
    assert unheard(LABEL[few], SCORE[few]) == []


def test_the_same_codes_give_the_same_number_and_draws_elsewhere_are_as_before(
    timbre: Tensor,
) -> None:
    codes = told(timbre)
    torch.manual_seed(3)
    first = error(codes, timbre, by_score(SCORE))
    drawn = torch.rand(1)
    with torch.no_grad():
        assert error(codes, timbre, by_score(SCORE)) == first
    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), drawn)
    # of silent channels one that sounds in a judged passage alone does not upset all
    codes = torch.cat([codes, torch.zeros(len(LABEL), 1, FRAMES)], 1)
    codes[0, -1] = 5
    assert error(codes, timbre, by_score(SCORE)) < 0.3


def test_timbre_vectors_that_are_all_the_same_tell_nothing() -> None:
    assert (
        error(torch.randn(len(LABEL), 12, FRAMES), torch.ones(len(LABEL), 6), by_score(SCORE)) == 1
    )
