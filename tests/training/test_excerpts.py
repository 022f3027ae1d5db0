"""Excerpts of renditions that are made while training."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from soundfonts import write_font
from timbrel.cli.train import app
from timbrel.data.render import soundfont
from timbrel.data.render.endless import CHAPTER, Endless, Item, _chapter
from timbrel.data.render.shares import Shares
from timbrel.errors import DataError, TimbrelError
from timbrel.serialize import load_codec
from timbrel.training.excerpts import HEARD, POOL, RenderedExcerpts

SAMPLES = 24 * 1024
SHORT = Endless(seconds=2.0)


@dataclass(frozen=True)
class Numbered(Endless):
    """Renditions whose samples say their number; remembers which were asked for."""

    asked: list[Item] = field(default_factory=list, hash=False)

    def rendition(self, item: Item) -> np.ndarray:
        self.asked.append(item)
        return np.full(self.length, 1e-3 * (1 + item[2]), np.float32)


def rendered(sounds: Endless = SHORT, seed: int = 0, workers: int = 1) -> RenderedExcerpts:
    return RenderedExcerpts(sounds, SAMPLES, seed, workers)


def test_a_batch_depends_on_seed_step_and_process_alone() -> None:
    course = rendered()
    steps = [course.batch(2, step, 0) for step in range(6)]
    assert torch.equal(rendered().batch(2, 5, 0), steps[5])  # as after a kill
    assert torch.equal(course.batch(2, 1, 0), steps[1])  # back
    list(course.sweep(0.1))
    assert torch.equal(course.batch(2, 3, 0), steps[3])  # from elsewhere
    others = [course.batch(2, 5, 1), rendered(seed=1).batch(2, 5, 0), steps[4]]
    assert not any(torch.equal(other, steps[5]) for other in others)
    assert all(row.abs().max() > 1e-3 for batch in steps for row in batch)


def test_smaller_batches_of_a_full_pool_are_those_of_a_new_one() -> None:
    course = rendered()
    course.batch(4, 0, 0)
    assert torch.equal(course.batch(1, 0, 0), rendered().batch(1, 0, 0))


def test_processes_render_the_same() -> None:
    with_two = rendered(workers=2)
    try:
        for step in (0, 1, 9, 2):
            assert torch.equal(with_two.batch(2, step, 0), rendered().batch(2, step, 0))
    finally:
        with_two.close()


def test_every_second_is_heard_twice_and_nothing_is_rendered_twice() -> None:
    sounds, size, steps = Numbered(seconds=4.0), 3, 400
    course = rendered(sounds)
    for step in range(steps):
        course.batch(size, step, 0)
    numbers = [number for _, _, number in sounds.asked]
    assert numbers == list(range(len(numbers)))
    heard = steps * size * SAMPLES / (HEARD * sounds.length)
    assert len(numbers) == pytest.approx(heard + POOL * size, abs=1)


def test_every_rendition_gets_its_turn() -> None:
    course = rendered(Numbered(seconds=4.0))
    heard = set()
    for step in range(200):
        course.turn_to(4, step, 0)
        rng = np.random.default_rng(step)
        heard |= {round(1e3 * float(course.cut(rng)[0])) for _ in range(4)}
    assert len(heard) > 0.95 * (course.first + len(course.pool))


def test_chapters_follow_each_other_and_mixes_are_spread_over_them() -> None:
    around = [SHORT.rendition((0, 0, number)) for number in range(CHAPTER - 2, CHAPTER + 2)]
    assert all(audio.shape == (SHORT.length,) for audio in around)
    assert len({audio.tobytes() for audio in around}) == 4
    plan, order = _chapter(SHORT, 0, 0, 0)
    assert sorted(order) == list(range(CHAPTER))
    mixes = [place for place, index in enumerate(order) if plan.is_mix(int(index))]
    assert len(mixes) == round(SHORT.shares.mixes * CHAPTER)
    assert np.mean(mixes) == pytest.approx(CHAPTER / 2, rel=0.3)


def test_renditions_shorter_than_an_excerpt_are_refused() -> None:
    with pytest.raises(DataError, match="shorter than an excerpt"):
        rendered(Endless(seconds=0.5))


def test_shares_are_the_defaults_of_prepare_render_and_some_mixes() -> None:
    import inspect

    from timbrel.cli.prepare import render

    defaults = {n: p.default for n, p in inspect.signature(render).parameters.items()}
    named = ("recorded", "expressive", "hybrids", "modelled", "held")
    command = {"synthesised": defaults["synth_share"], **{name: defaults[name] for name in named}}
    assert Endless().shares == Shares(**command, mixes=0.05)


def test_runs_go_on_and_what_they_hear_is_told_apart() -> None:
    def told(**more: float) -> object:
        return Endless(shares=replace(Endless().shares, **more)).describe()["shares"]

    assert told() == [0.4, 0.3, 0.3, 0.5, 0.05]  # as it stands in runs
    others = [told(modelled=0.1), told(held=0.1), told(mixes=0.1)]
    assert all(told() != other for other in others)
    assert others[0] != others[1]


# ---- the command -------------------------------------------------------------------------

TRAIN = ["codec", "--data", "render", "--design", "rave", "--preset", "tiny", "--batch", "1"]


@pytest.fixture
def fonts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The only folder in which fonts are looked for."""
    monkeypatch.setattr(soundfont, "FOLDERS", ())
    monkeypatch.setenv("TIMBREL_FONTS", str(tmp_path / "fonts"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "fonts").mkdir()
    return tmp_path / "fonts"


def run(*arguments: object) -> tuple[int, str]:
    """Exit code and what is said, as `timbrel.cli.main` would have it."""
    done = CliRunner().invoke(app, [str(word) for word in arguments])
    if isinstance(done.exception, TimbrelError):
        return 2, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, " ".join(done.output.split())


@pytest.mark.parametrize("name", [None, "own.sf2", "MuseScore_General.sf2"])
def test_fonts_of_free_licence_are_used_and_their_absence_is_said(
    name: str | None, fonts: Path, tmp_path: Path
) -> None:
    if name:
        write_font(fonts / name)
    code, said = run(*TRAIN, "--steps", 2, "-o", tmp_path / "run")
    assert code == 0
    free = name == "MuseScore_General.sf2"
    assert ("all timbres come from the synthesiser" in said) != free
    config = (tmp_path / "run" / "config.json").read_text()
    assert ('"MuseScore_General.sf2"' in config) == free
    assert load_codec(tmp_path / "run" / "codec").hop == 1024


def test_a_run_goes_on_with_the_same_sounds_only(fonts: Path, tmp_path: Path) -> None:
    assert run(*TRAIN, "--steps", 1, "-o", tmp_path / "run")[0] == 0
    write_font(fonts / "MuseScore_General.sf2")
    code, said = run(*TRAIN, "--steps", 2, "-o", tmp_path / "run")
    assert code == 2
    assert "holds a run with rendered.presets" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--data", "render", "--workers", -1], "--workers"),
        (["--data", "./render"], "render is not a store"),  # a folder, which is not there
    ],
)
def test_bad_options_are_refused_before_anything_is_made(
    options: list[object], words: str, tmp_path: Path
) -> None:
    code, said = run("codec", "--steps", 2, "-o", tmp_path / "run", *options)
    assert code == 2
    assert words in said
    assert not (tmp_path / "run").exists()
