from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sounds import RATE
from timbrel.conditions.recall import Recall, RecallConfig, RecallLayer
from timbrel.conditions.timbre import Timbre
from timbrel.network import Network, tiny
from timbrel.notes import Notes
from timbrel.roll import roll

FRAMES = 24
YES, NO = torch.tensor([True]), torch.tensor([False])


def played(pitch: int) -> Tensor:
    notes = Notes.from_rows([(0.0, 1.0, pitch, 90)])
    return torch.from_numpy(roll(notes, RATE / 1024, FRAMES))[None]


def told(network: Network, timbre: Timbre, kept: Tensor = YES) -> Tensor:
    """Code and guess as the denoiser gets them."""
    structure = network.structure_encoder(played(60), NO)
    conditions = network.condition(structure, timbre, YES, kept)
    return torch.cat([conditions.code, conditions.guess], 1)


def stirred(network: Network) -> Network:
    """With recall that adds something."""
    assert network.recall is not None
    torch.nn.init.normal_(network.recall.leave.weight, std=0.1)
    return network


def test_recall_that_has_not_learned_adds_nothing() -> None:
    network = Network(tiny())
    timbre = network.timbre(torch.randn(1, 32, FRAMES), played(60))
    assert timbre.memory is not None
    torch.testing.assert_close(told(network, timbre), told(network, Timbre(timbre.vector)))


def test_recall_is_part_of_the_timbre_and_goes_with_it() -> None:
    network = stirred(Network(tiny()))
    timbre = network.timbre(torch.randn(1, 32, FRAMES), played(60))
    bare = Timbre(timbre.vector)
    assert (told(network, timbre) - told(network, bare)).abs().max() > 1e-2
    torch.testing.assert_close(told(network, timbre, kept=NO), told(network, bare, kept=NO))


def test_an_example_without_notes_is_one_whose_notes_are_not_known() -> None:
    network = stirred(Network(tiny()))
    latent = torch.randn(1, 32, FRAMES)
    silent, unknown = network.timbre(latent, torch.zeros(1, 3, 128, FRAMES)), network.timbre(latent)
    torch.testing.assert_close(told(network, silent), told(network, unknown))
    known = network.timbre(latent, played(60))
    assert (told(network, known) - told(network, unknown)).abs().max() > 1e-3


def test_the_notes_of_the_example_reach_its_memory_alone() -> None:
    network, latent = Network(tiny()), torch.randn(1, 32, FRAMES)
    one, other = (network.timbre(latent, played(pitch)) for pitch in (60, 72))
    assert torch.equal(one.vector, other.vector)
    assert one.memory is not None
    assert other.memory is not None
    assert not torch.equal(one.memory, other.memory)


def test_equal_notes_find_each_other_before_anything_is_learned() -> None:
    layer = RecallLayer(48, 2)
    layer.block = torch.nn.Identity()
    for part in (layer.value, layer.leave):
        torch.nn.init.eye_(part.weight)
        torch.nn.init.zeros_(part.bias)
    memory = torch.randn(1, 48, 40)
    with torch.no_grad():
        found = layer(memory, memory) - memory
        right = layer.memory_norm(memory.transpose(1, 2)).transpose(1, 2)
    assert float(torch.cosine_similarity(found, right, 1).mean()) > 0.85


def test_recall_learns_to_look_up_what_no_vector_could_hold() -> None:
    # every item has an instrument of its own: a random sound for each of 12 notes
    config = RecallConfig(layers=1, width=48, blocks=1, heads=2)
    recall = Recall(8, 12, config)
    optimiser = torch.optim.Adam(recall.parameters(), 3e-3)
    source = torch.Generator().manual_seed(0)

    def error() -> Tensor:
        sounds = torch.randn(16, 12, 8, generator=source)
        order = torch.rand(16, 12, generator=source).argsort(1)  # of the notes of the example
        wanted = torch.randint(12, (16, 6), generator=source)
        notes = torch.eye(12)
        example = torch.take_along_dim(sounds, order[..., None], 1).transpose(1, 2)
        memory = recall.remember(example, notes[order].transpose(1, 2))
        guess = recall(notes[wanted].transpose(1, 2), memory).guess
        right = torch.take_along_dim(sounds, wanted[..., None], 1).transpose(1, 2)
        return (guess - right).square().mean()

    for _ in range(400):
        optimiser.zero_grad()
        loss = error()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.4  # 1 without the example


def test_a_guess_of_notes_that_the_example_never_plays_is_known_to_be_worse() -> None:
    config = RecallConfig(layers=1, width=48, blocks=1, heads=2, uncertainty=True)
    recall = Recall(8, 12, config)
    optimiser = torch.optim.Adam(recall.parameters(), 3e-3)
    source = torch.Generator().manual_seed(0)
    for _ in range(400):
        sounds = torch.randn(16, 12, 8, generator=source)
        known = torch.rand(16, 12, generator=source).argsort(1)[:, :6]  # half of the notes
        example = torch.take_along_dim(sounds, known[..., None], 1).transpose(1, 2)
        notes = torch.eye(12)
        found = recall(
            notes.expand(16, -1, -1), recall.remember(example, notes[known].transpose(1, 2))
        )
        assert found.log_deviation is not None
        error = (found.guess - sounds.transpose(1, 2)).square()
        fit = 0.5 * error.detach() * (-2 * found.log_deviation).exp() + found.log_deviation
        optimiser.zero_grad()
        (error + fit).mean().backward()
        optimiser.step()
    heard = torch.zeros(16, 12, dtype=torch.bool).scatter(1, known, True)[:, None].expand(-1, 8, -1)
    deviation = found.log_deviation.detach().exp()
    assert float(deviation[heard].mean()) < 0.8 * float(deviation[~heard].mean())


@pytest.mark.parametrize("before", [RecallConfig(), replace(tiny().recall, uncertainty=False)])
def test_what_an_older_model_lacks_of_recall_can_be_added(before: RecallConfig) -> None:
    old = Network(replace(tiny(), recall=before))
    new = Network(tiny())
    new.begin_from(old)
    latent = torch.randn(1, 32, FRAMES)
    torch.testing.assert_close(
        told(new, new.timbre(latent, played(60))), told(old, old.timbre(latent))
    )
    with pytest.raises(ValueError, match=r"recall\."):
        old.begin_from(new)
