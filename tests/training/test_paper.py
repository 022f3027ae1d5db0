"""The paper's way: one clip, two stages, an adversary, conditions dropped independently."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from conftest import Killed
from timbrel.codec.codec import Codec
from timbrel.codec.spectral import SpectralCodec
from timbrel.codec.spectral import tiny as tiny_codec_config
from timbrel.data.batch import Batch
from timbrel.data.pairs import Corruption, Pairs
from timbrel.data.store import Store
from timbrel.errors import DataError, TrainingError
from timbrel.network import Network, tiny
from timbrel.training import objective as objectives
from timbrel.training.model import train_model
from timbrel.training.objective import Objective
from timbrel.training.ranks import Ranks
from timbrel.training.recipe import read_recipe
from timbrel.training.rivalry import Rivalry
from timbrel.training.run import Budget, Run, torch_generator
from timbrel.training.settings import ModelTraining

CPU = torch.device("cpu")
PAPER = read_recipe("paper", tiny())
QUICK = replace(PAPER.training, batch=4, frames=24, example_frames=24)


def train(store: Store, codec: Codec, folder: Path, training: ModelTraining, steps: int) -> Network:
    return train_model(store, None, codec, folder, PAPER.model, training, Budget(steps=steps), CPU)


def test_a_killed_run_ends_with_the_same_weights(
    small_store: Store, tiny_codec: Codec, tmp_path: Path, kill_at, monkeypatch: pytest.MonkeyPatch
) -> None:
    # it takes most of the time; looks between steps are `test_training`'s
    monkeypatch.setattr("timbrel.training.validation.probe", lambda *_: {})
    training = replace(QUICK, batch=2, stage_one=0.2, adversary_delay=0.0, adversary_every=2)

    def run(folder: Path, on_step: Callable[[int, float], None] | None = None) -> Network:
        return train_model(
            small_store, None, tiny_codec, folder, PAPER.model, training, Budget(steps=10), CPU,
            on_step=on_step,
        )  # fmt: skip

    whole = run(tmp_path / "whole").state_dict()
    # in stage 1, after a step that was the adversary's alone, and after one that was not
    for last in (1, 6, 7):
        with pytest.raises(Killed):
            run(tmp_path / f"cut-{last}", kill_at(last))
        again = run(tmp_path / f"cut-{last}").state_dict()
        for name, weight in whole.items():
            assert torch.equal(again[name], weight), f"{name}, cut after {last}"


def test_after_training_each_pattern_of_conditions_was_seen_its_share_of_times(
    small_store: Store, tiny_codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: Counter[tuple[bool, bool]] = Counter()
    count = objectives.branch_losses

    def counted(per_item: Tensor, structure: Tensor, timbre: Tensor) -> dict[str, Tensor]:
        seen.update(zip(structure.tolist(), timbre.tolist(), strict=True))
        return count(per_item, structure, timbre)

    monkeypatch.setattr(objectives, "branch_losses", counted)
    training = replace(
        QUICK, batch=16, frames=8, example_frames=8, drop_structure=0.3, drop_timbre=0.4
    )
    train(small_store, tiny_codec, tmp_path, training, steps=60)
    total = seen.total()
    assert total > 16 * 25  # stage 2, without the steps that are the adversary's alone
    for pattern, share in {
        (False, False): 0.12,
        (False, True): 0.18,
        (True, False): 0.28,
        (True, True): 0.42,
    }.items():
        assert seen[pattern] / total == pytest.approx(share, abs=0.07)


def test_the_timbre_encoder_is_frozen_from_stage_two_on(
    small_store: Store, tiny_codec: Codec, tmp_path: Path
) -> None:
    watched: dict[str, list[Tensor]] = {"timbre_encoder": [], "structure_encoder": []}
    original = Objective.losses

    def watch(self: Objective, batch: object, source: object, stage: int, *rest: object) -> object:
        for name, found in watched.items():
            first = next(getattr(self.network, name).parameters())
            if stage == 2:
                found.append(first.detach().clone())
        return original(self, batch, source, stage, *rest)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Objective, "losses", watch)
        train(small_store, tiny_codec, tmp_path, replace(QUICK, stage_one=0.5), steps=12)
    timbre, structure = watched["timbre_encoder"], watched["structure_encoder"]
    assert len(timbre) > 3
    assert all(torch.equal(weights, timbre[0]) for weights in timbre)
    assert not torch.equal(structure[0], structure[-1])


def test_every_third_step_is_the_adversary_s_once_its_weight_rises() -> None:
    rivalry = Rivalry(Network(PAPER.model), PAPER.training, Ranks())
    begin = PAPER.training.stage_one + PAPER.training.adversary_delay
    assert rivalry.weight(begin - 0.01) == 0
    assert not any(rivalry.alone(step, begin - 0.01) for step in range(6))
    middle = begin + PAPER.training.adversary_ramp / 2
    assert rivalry.weight(middle) == pytest.approx(PAPER.training.adversary / 2)
    assert [rivalry.alone(step, middle) for step in range(6)] == [False, False, True] * 2
    assert rivalry.weight(1.0) == PAPER.training.adversary


@pytest.mark.parametrize("confusion", ["error", "mean"])
def test_both_confusions_take_timbre_out_of_a_code_that_carries_it(confusion: str) -> None:
    """An encoder that mixes timbre into structure learns not to, against a learning adversary."""
    torch.manual_seed(0)
    training = replace(PAPER.training, confusion=confusion)
    rivalry = Rivalry(Network(PAPER.model), training, Ranks())
    dim = PAPER.model.structure.dim
    mixing = torch.nn.Parameter(torch.eye(dim))  # structure = notes + mixing @ timbre
    encoder = torch.optim.Adam([mixing], lr=3e-3)
    errors = []
    for step in range(500):
        timbre = torch.nn.functional.normalize(torch.randn(32, dim), dim=1)
        carried = (timbre @ mixing.T)[:, :, None]
        codes = {"timbre": timbre, "structure": 0.3 * torch.randn(32, dim, 4) + carried}
        errors.append(float(rivalry.learn({k: v.detach() for k, v in codes.items()})))
        if step >= 150:  # first the adversary learns what there is to find
            encoder.zero_grad()
            rivalry.confusion(codes).backward()
            encoder.step()
    assert np.mean(errors[130:150]) < 0.5
    assert float(mixing.detach().norm()) < 0.75 * dim**0.5
    assert np.mean(errors[-20:]) > 0.6


def test_an_encoder_gains_nothing_by_driving_the_adversary_beyond_chance() -> None:
    from timbrel.conditions.adversary import maximise_error

    timbre = torch.randn(64, 8)
    wrong = torch.full_like(timbre, 5.0).requires_grad_()
    loss = maximise_error(wrong, timbre)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(-1)
    assert wrong.grad is not None
    assert float(wrong.grad.abs().sum()) == 0


def test_one_clip_gives_structure_target_and_an_example_beside_it(
    small_store: Store, tiny_codec: Codec, rng: np.random.Generator
) -> None:
    pairs = Pairs(
        small_store, tiny_codec.frame_rate, 40, 40, 0, Corruption(0), with_source=True,
        same_clip=1.0,
    )  # fmt: skip
    batch = pairs.batch(8, rng)
    assert batch.source_audio is not None
    with torch.no_grad():
        heard = tiny_codec.encode(batch.source_audio[:, None])
    # the structure's audio is the target's own; the first frames lack their past
    error = (heard - batch.latent)[..., 4:-4].square().mean()
    assert float(error) < 0.05 * float(batch.latent.square().mean())


def test_spectra_of_another_rate_than_the_codec_s_are_refused(small_store: Store) -> None:
    from timbrel.training.derived import attach_spectra

    codec = SpectralCodec(replace(tiny_codec_config(), rate=22_050))
    with pytest.raises(DataError, match="needs audio at the codec's 22050 Hz"):
        attach_spectra(small_store, codec, CPU)
    assert not small_store.maker("spectra")


def test_cached_spectra_are_what_the_encoder_would_compute(
    small_store: Store, tiny_codec: Codec
) -> None:
    from timbrel.training.derived import attach_spectra

    network = Network(PAPER.model)
    network.adopt(tiny_codec.basis)
    attach_spectra(small_store, tiny_codec, CPU)
    try:
        found = {}
        for cached in (True, False):
            pairs = Pairs(
                small_store, tiny_codec.frame_rate, 60, 24, 0, Corruption(0), with_source=True,
                spectra=cached,
            )  # fmt: skip
            batch = pairs.batch(2, np.random.default_rng(1))
            found[cached] = Objective(network, QUICK, CPU).encode_structure(batch).code
        # excerpts lack what is beside them
        inner = slice(30, -6)
        torch.testing.assert_close(
            found[True][..., inner], found[False][..., inner], atol=2e-2, rtol=0
        )
    finally:
        (small_store.path / "spectra.json").unlink()
        small_store._kinds.clear()


def test_a_quantised_code_has_few_values_and_still_learns() -> None:
    config = replace(PAPER.model.structure, dim=6, levels=5)
    network = Network(replace(PAPER.model, structure=config))
    assert network.cqt is not None
    code = network.structure_encoder(torch.randn(2, network.cqt.bins, 20)).code
    values = set((code.detach() * 2).round(decimals=4).flatten().tolist())
    assert values <= {-2.0, -1.0, 0.0, 1.0, 2.0}
    code.square().sum().backward()
    assert any(p.grad is not None for p in network.structure_encoder.parameters())


def test_reentry_listens_to_the_estimate_and_leaves_the_timbre_encoder_alone(
    small_store: Store, tiny_codec: Codec
) -> None:
    training = ModelTraining(batch=2, frames=32, example_frames=32, reentry=1.0)
    network = Network(tiny())
    network.adopt(tiny_codec.basis)
    torch.nn.init.normal_(network.denoiser.leave.weight, std=0.1)
    pairs = Pairs(small_store, tiny_codec.frame_rate, 32, 32, 0, Corruption())
    batch = pairs.batch(2, np.random.default_rng(0))
    objective = Objective(network, training, CPU)
    values = objective.losses(batch, torch_generator(np.random.default_rng(1), CPU), stage=2)
    assert 0 < float(values["reentry"].detach()) < 2
    values["reentry"].backward()
    assert network.denoiser.leave.weight.grad is not None
    # what the encoder hears again moves it no more than through what was asked
    latent = batch.latent
    network.zero_grad()
    asked = network.timbre_encoder(latent).detach()
    objective.reentry(latent.requires_grad_(), asked, torch.ones(2)).sum().backward()
    assert all(p.grad is None for p in network.timbre_encoder.parameters())
    assert latent.grad is not None


def test_a_collapse_is_said_while_there_is_time(
    small_store: Store, tiny_codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def collapsed(self: torch.nn.Module, latent: Tensor, code: Tensor | None = None) -> Tensor:
        point = torch.nn.functional.normalize(torch.ones(len(latent), 16), dim=1)
        return point + 0 * sum(p.sum() for p in self.parameters())

    monkeypatch.setattr("timbrel.conditions.timbre.TimbreEncoder.forward", collapsed)
    # far fewer steps than `validate_every`
    train(small_store, tiny_codec, tmp_path, replace(QUICK, stage_one=0.9), steps=8)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    said = {(row["step"], row["warning"].split(":")[0]) for row in rows if "warning" in row}
    assert (1, "timbre-collapse") in said


def test_an_adversary_that_is_not_finite_stops_the_run_and_spoils_nothing(
    small_store: Store, tiny_codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = Objective.codes

    def damaged(self: Objective, batch: Batch) -> dict[str, Tensor]:
        found = codes(self, batch)
        return {**found, "structure": found["structure"] * float("nan")}

    monkeypatch.setattr(Objective, "codes", damaged)
    monkeypatch.setattr(Run, "due", lambda self: True)
    training = replace(QUICK, stage_one=0.0, freeze_timbre=False, adversary_delay=0.0)
    with pytest.raises(
        TrainingError, match=r"adversary/error_over_chance is not finite.*bad-batch"
    ):
        train(small_store, tiny_codec, tmp_path, training, steps=20)
    assert (tmp_path / "bad-batch.npz").is_file()
    last = sorted((tmp_path / "checkpoints").iterdir())[-1]
    state = torch.load(last, weights_only=True)
    assert all(torch.isfinite(v).all() for v in state["adversary"].values())
