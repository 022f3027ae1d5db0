from dataclasses import replace

import torch
from torch import Tensor

from timbrel.conditions.refinement import RefinementConfig
from timbrel.conditions.timbre import Timbre
from timbrel.diffusion.unet import Conditions
from timbrel.network import Network, tiny

FRAMES = 24
YES, NO = torch.tensor([True]), torch.tensor([False])
CLOSER = RefinementConfig(layers=1, width=48, blocks=2, heads=2)


def network(stirred: bool = True) -> Network:
    """With refinement that adds something, if it is stirred."""
    torch.manual_seed(0)
    net = Network(replace(tiny(), refinement=CLOSER))
    assert net.refinement is not None
    if stirred:
        torch.nn.init.normal_(net.refinement.leave.weight, std=0.1)
    return net


def told(net: Network, timbre: Timbre, structure: Tensor = YES, kept: Tensor = YES) -> Conditions:
    """As the denoiser gets them, of one note."""
    roll = torch.zeros(1, 3, 128, FRAMES)
    roll[:, :, 60] = 1
    return net.condition(net.structure_encoder(roll, NO), timbre, structure, kept)


def test_one_that_has_not_learned_adds_nothing() -> None:
    net = network(stirred=False)
    timbre = net.timbre(torch.randn(1, 32, FRAMES))
    assert timbre.closer is not None
    with_it, without = told(net, timbre), told(net, Timbre(timbre.vector, timbre.memory))
    torch.testing.assert_close(with_it.guess, without.guess)
    torch.testing.assert_close(with_it.deviation, without.deviation)


def test_it_corrects_the_guess_where_notes_and_example_are_known() -> None:
    net = network()
    timbre = net.timbre(torch.randn(1, 32, FRAMES))
    bare = Timbre(timbre.vector, timbre.memory)
    assert (told(net, timbre).guess - told(net, bare).guess).abs().max() > 1e-2
    assert (told(net, timbre).deviation - told(net, bare).deviation).abs().max() > 1e-3
    torch.testing.assert_close(told(net, timbre).code, told(net, bare).code)
    for kept in ((NO, YES), (YES, NO)):
        torch.testing.assert_close(told(net, timbre, *kept).guess, told(net, bare, *kept).guess)


def test_what_it_adds_depends_on_the_example_and_on_the_first_guess() -> None:
    net, example = network(), torch.randn(1, 32, FRAMES)
    assert net.refinement is not None
    code, guess, vector = torch.randn(1, 48, 8), torch.randn(1, 32, 8), torch.randn(1, 16)
    memory = net.refinement.remember(example, torch.zeros(1, 48, FRAMES), vector)
    added, _ = net.refinement(code, guess, vector, memory)
    other = net.refinement.remember(-example, torch.zeros(1, 48, FRAMES), vector)
    assert (net.refinement(code, guess, vector, other)[0] - added).abs().max() > 1e-2
    assert (net.refinement(code, -guess, vector, memory)[0] - added).abs().max() > 1e-2


def test_items_of_a_batch_do_not_meet() -> None:
    net, examples = network(), torch.randn(3, 32, FRAMES)
    timbre = net.timbre(examples)
    alone, together = net.timbre(examples[1:2]).closer, timbre.part(slice(1, 2)).closer
    assert alone is not None
    assert together is not None
    torch.testing.assert_close(alone, together)
    repeated = timbre.part(slice(0, 1)).expand(2).closer
    assert repeated is not None
    assert len(repeated) == 2


def test_a_network_that_was_trained_without_it_begins_as_it_was() -> None:
    torch.manual_seed(1)
    older = Network(tiny())
    newer = network(stirred=False)
    newer.begin_from(older)
    example = torch.randn(1, 32, FRAMES)
    torch.testing.assert_close(
        told(newer, newer.timbre(example)).guess, told(older, older.timbre(example)).guess
    )
