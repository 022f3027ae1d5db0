from dataclasses import asdict, replace
from pathlib import Path

import pytest

from timbrel.ablation.study import read_study, study_names
from timbrel.errors import InputError, TimbrelError
from timbrel.network import small, tiny
from timbrel.training.recipe import preset, read_recipe, recipe_names
from timbrel.training.run import differences
from timbrel.training.settings import ModelTraining


def test_every_recipe_of_every_study_can_be_read_and_has_a_question() -> None:
    for study in map(read_study, study_names()):
        for name in study.recipes:
            assert read_recipe(name, tiny()).question, name


def test_no_recipe_is_unused() -> None:
    used = {name for study in map(read_study, study_names()) for name in study.recipes}
    assert used == set(recipe_names())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("paper-no-adversary", {"adversary": 0.0}),
        # what is frozen after stage 1 would never learn without one
        ("paper-no-stage-one", {"stage_one": 0.0, "freeze_timbre": False}),
        ("paper-no-freeze", {"freeze_timbre": False}),
        ("paper-overlap", {"overlap": True}),
        ("paper-match-mean", {"confusion": "mean"}),
    ],
)
def test_an_ablation_differs_from_the_paper_in_one_thing(
    name: str, expected: dict[str, object]
) -> None:
    paper, changed = (asdict(read_recipe(n, tiny())) for n in ("paper", name))
    found = {
        key: pair[1]
        for key, pair in differences(paper, changed)
        if key.startswith(("model", "training", "data"))
    }
    assert found == {f"training.{setting}": value for setting, value in expected.items()}


def test_the_paper_s_preset_has_the_paper_s_parts() -> None:
    recipe = preset("paper")
    assert recipe.model.structure.source == "cqt"
    assert recipe.model.structure.dim == recipe.model.timbre.dim == 16
    assert recipe.model.objective == "edm"
    training = recipe.training
    assert training.same_clip == 1
    assert training.freeze_timbre
    assert not training.overlap
    assert training.adversary_every == 3
    assert 0 < training.stage_one < training.stage_one + training.adversary_delay


def test_a_recipe_changes_the_preset_and_leaves_the_rest_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[training]\nframes = 96\n")
    paper = preset("paper")
    mine = read_recipe(str(tmp_path / "mine.toml"), paper.model, paper.training)
    assert mine.model == paper.model
    assert mine.training == replace(paper.training, frames=96)


def test_a_size_is_trained_our_way() -> None:
    assert preset("small").model == small()
    assert preset("small").training == ModelTraining()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model.structure]\nwidht = 3\n", "unknown 'widht'"),
        ("[training]\nadversary = 'strong'\n", "should be like"),
        ("[training]\nbatch = true\n", "should be like"),
        ("[model.structure]\nsource = 'audio'\n", "it can be notes or cqt"),
        ("[model.denoiser]\nwidths = []\n", "channels of one level or more"),
        ("[model.denoiser]\nwidths = [64, 31]\n", "of the last a multiple of its"),
        ("[data]\ninstruments = 4.5\n", "give 1 or more, whole"),
        ("[data]\ninstruments = 0\n", "give 1 or more, whole"),
        ("[data]\nhours = 0\n", "give a number above 0"),
        ("[model]\nstructure = 4\n", "table of settings"),
        ("[trainig]\nbatch = 3\n", "unknown 'trainig'"),
        ("extends = 'nothing'\n", "no recipe 'nothing'"),
        ("not toml", "is not a recipe"),
        ("[training]\nconfusion = 'maybe'\n", "error or mean"),
        ("[training]\nheard = 1.5\n", "from 0 to 1"),
        ("[training]\nvalidate_every = 0\n", "1 or more"),
        ("[training]\naccumulate = 0\n", "1 or more"),
        ("training = 3\n", "training is a table of settings, not 3"),
    ],
)
def test_a_wrong_recipe_is_refused_by_what_is_wrong(
    text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(TimbrelError, match=message):
        read_recipe(str(tmp_path / "mine.toml"), tiny())


def test_a_recipe_may_extend_ours_of_its_own_name_but_not_itself(tmp_path: Path) -> None:
    mine = tmp_path / "paper.toml"
    mine.write_text("extends = 'paper'\n[training]\nbatch = 3\n")
    recipe = read_recipe(str(mine), tiny())
    assert recipe.training.batch == 3
    assert recipe.model.structure.source == "cqt"
    for base in (mine, tmp_path / ".." / tmp_path.name / "paper.toml"):
        mine.write_text(f"extends = '{base}'\n")
        with pytest.raises(TimbrelError, match="extends itself"):
            read_recipe(str(mine), tiny())


def test_names_that_do_not_exist_are_answered_with_those_that_do() -> None:
    with pytest.raises(InputError, match="paper-overlap"):
        read_recipe("nothing", tiny())
    with pytest.raises(InputError, match="tiny, small, base, paper"):
        preset("huge")
    with pytest.raises(InputError, match="method"):
        read_study("nothing")
