import pytest
import torch

from timbrel.training.disentanglement import (
    apart,
    effective_rank,
    explained,
    folds,
    identify,
    spread,
    warnings_of,
)

LABEL = torch.arange(8).repeat_interleave(12)
FOLD = torch.arange(96)[None] % 4
HEALTHY = {
    "structure/instrument": 0.06,
    "chance/instrument": 0.025,
    "noise/instrument": 0.045,
    "notes/instrument": 0.02,
    "sound/instrument": 0.25,
    "timbre/pitch": 0.05,
    "noise/pitch": 0.05,
    "sound/pitch": 0.65,
    "timbre/spread": 0.9,
    "timbre/effective_rank": 12.0,
    "output/spread_over_seeds": 0.2,
    "adversary/error_over_chance": 0.95,
    "structure/error_over_chance": 0.97,
    "sound/error_over_chance": 0.9,
    "notes/error_over_chance": 1.0,
    "noise/error_over_chance": 1.0,
    "valid/both": 1.0,
    "valid/structure": 1.2,
    "valid/timbre": 1.5,
    "valid/neither": 1.6,
}


def test_the_probe_stays_at_chance_on_codes_that_say_nothing() -> None:
    found = [identify(torch.randn(96, 20), LABEL, FOLD) for _ in range(10)]
    assert sum(found) / 10 == pytest.approx(1 / 8, abs=0.05)


def test_folds_are_equally_full_whatever_the_numbers_of_scores_are() -> None:
    score = torch.arange(0, 46, 2).repeat(3)
    fold = folds(score, draws=2)
    for draw in fold:
        assert draw.bincount().tolist() == [15, 15, 15, 12, 12]
        assert torch.equal(draw[:23], draw[23:46])
    assert not torch.equal(fold[0], fold[1])
    assert torch.equal(fold, folds(score, draws=2))
    assert folds(torch.tensor([7, 7, 3, 3])).unique().tolist() == [0, 1]
    assert folds(torch.tensor([7, 7]), draws=1).tolist() == [[0, 0]]


def test_noise_is_not_below_chance_where_timbres_have_few_scores() -> None:
    # a fold that judges one of a timbre's four scores has one less of them to learn from
    label = torch.arange(20).repeat_interleave(4)
    fold = folds(torch.arange(80))
    draws = [identify(torch.randn(80, 20), label, fold) for _ in range(40)]
    assert sum(draws) / 40 == pytest.approx(1 / 20, abs=0.012)


def test_a_code_that_only_knows_its_item_tells_no_pitch() -> None:
    item = torch.arange(80).repeat_interleave(3)
    label, fold = item // 4, folds(item)
    pitch = torch.randn(80)[item]
    codes = torch.randn(80, 200)[item]
    assert explained(codes, pitch, label, fold) < 0.1
    codes[:, :40] += 2 * pitch[:, None]
    assert explained(codes, pitch, label, fold) > 0.6


def test_the_probe_finds_an_instrument_that_leaks() -> None:
    centres = 2 * torch.randn(8, 20)
    assert identify(centres[LABEL] + torch.randn(96, 20), LABEL, FOLD) > 0.9


def test_the_probe_is_not_fooled_by_what_only_one_passage_has() -> None:
    # every passage has a signature of its own, which says nothing about others
    signature = 3 * torch.randn(4, 20)
    assert identify(signature[FOLD[0]] + torch.randn(96, 20), LABEL, FOLD) < 0.3


def test_pitch_is_found_in_timbre_codes_only_where_it_is() -> None:
    pitch = torch.randn(96)
    codes = torch.randn(96, 6)
    assert explained(codes, pitch, LABEL, FOLD) < 0.1
    codes[:, 0] += 3 * pitch
    assert explained(codes, pitch, LABEL, FOLD) > 0.7


def test_an_instrument_s_register_is_no_leak() -> None:
    centres = torch.randn(8, 6)
    register = 10 * torch.randn(8)
    pitch = register[LABEL] + torch.randn(96)
    assert explained(centres[LABEL] + 0.1 * torch.randn(96, 6), pitch, LABEL, FOLD) < 0.15
    assert explained(torch.randn(96, 6), register[LABEL], LABEL, FOLD) == 0


def test_effective_rank_counts_directions() -> None:
    flat = torch.randn(500, 3) @ torch.randn(3, 16)
    assert 1.5 < effective_rank(flat) <= 3.001
    assert effective_rank(torch.randn(500, 16)) > 14
    line = torch.randn(500, 1) @ torch.randn(1, 16)
    assert effective_rank(line) == pytest.approx(1, abs=0.01)


def test_spread_is_zero_for_a_collapsed_code_and_near_one_for_a_full_sphere() -> None:
    point = torch.nn.functional.normalize(torch.ones(50, 8), dim=1)
    sphere = torch.nn.functional.normalize(torch.randn(2000, 8), dim=1)
    assert spread(point) == pytest.approx(0, abs=1e-6)
    assert spread(sphere) == pytest.approx(1, abs=0.02)


def test_equal_codes_are_not_apart_and_strangers_are() -> None:
    codes = torch.randn(6, 8, 10)
    assert apart(codes, codes) == 0
    assert apart(codes, torch.randn(6, 8, 10)) == pytest.approx(1, abs=0.1)
    assert 0.05 < apart(codes, codes + 0.2 * torch.randn(6, 8, 10)) < 0.3


def test_healthy_numbers_warn_of_nothing() -> None:
    assert warnings_of(HEALTHY) == []
    assert warnings_of({}) == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"structure/instrument": 0.15}, "timbre-in-structure"),
        ({"structure/error_over_chance": 0.9}, "adversary-finds-timbre"),
        ({"timbre/pitch": 0.3}, "pitch-in-timbre"),
        ({"timbre/spread": 0.01}, "timbre-collapse"),
        ({"timbre/effective_rank": 1.1}, "timbre-collapse"),
        ({"output/spread_over_seeds": 1e-4}, "output-collapse"),
        ({"adversary/error_over_chance": 0.1}, "adversary-too-strong"),
        ({"valid/structure": 1.0}, "timbre-ignored"),
        ({"valid/timbre": 0.99}, "structure-ignored"),
    ],
)
def test_each_failure_has_a_name_and_an_advice(change: dict[str, float], name: str) -> None:
    (sentence,) = warnings_of(HEALTHY | change)
    assert sentence.startswith(f"{name}: ")
    assert len(sentence) > 60


def test_a_leak_is_judged_by_what_notes_noise_and_the_sound_itself_tell() -> None:
    for fair in ({"notes/instrument": 0.15}, {"noise/instrument": 0.15}, {"sound/instrument": 0.6}):
        assert warnings_of(HEALTHY | {"structure/instrument": 0.15} | fair) == []
    assert warnings_of(HEALTHY | {"timbre/pitch": 0.3, "noise/pitch": 0.3}) == []
    for fair, error in (("notes", 0.9), ("noise", 0.9), ("sound", 0.5)):
        change = {"structure/error_over_chance": 0.9, f"{fair}/error_over_chance": error}
        assert warnings_of(HEALTHY | change) == []


def test_stage_one_is_not_blamed_for_what_it_leaves_out() -> None:
    bad = {"structure/instrument": 0.9, "valid/timbre": 0.9, "timbre/spread": 0.01}
    assert [s.split(":")[0] for s in warnings_of(HEALTHY | bad, stage=1)] == ["timbre-collapse"]
