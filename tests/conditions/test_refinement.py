from dataclasses import replace

import torch
from torch import Tensor

from timbrel.conditions.outline import ENVELOPES
from timbrel.conditions.refinement import RefinementConfig
from timbrel.conditions.timbre import Timbre
from timbrel.diffusion.unet import Conditions
from timbrel.network import Network, tiny
from timbrel.training.checks import check_start

FRAMES = 24
YES, NO = torch.tensor([True]), torch.tensor([False])
CLOSER = RefinementConfig(layers=1, width=48, blocks=2, heads=2, fading=True)


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
    levels = torch.zeros(1, ENVELOPES, 128, 8)
    memory = net.refinement.remember(example, torch.zeros(1, 48, FRAMES), vector)
    added, _ = net.refinement(code, guess, vector, memory, levels)
    other = net.refinement.remember(-example, torch.zeros(1, 48, FRAMES), vector)
    assert (net.refinement(code, guess, vector, other, levels)[0] - added).abs().max() > 1e-2
    assert (net.refinement(code, -guess, vector, memory, levels)[0] - added).abs().max() > 1e-2


def test_it_knows_for_how_long_a_note_has_been_held() -> None:
    """Of two rolls that look alike, whose notes began a frame and ten seconds before."""
    net = network()
    assert net.refinement is not None
    assert net.refinement.fading is not None
    timbre = net.timbre(torch.randn(1, 32, FRAMES))
    rolls = torch.zeros(2, 3, 128, FRAMES)
    rolls[:, 1:, 60] = 1
    rolls[:, 0, 60, 0] = torch.tensor([-1.0, -430.0])

    def corrections() -> Tensor:
        """Of the same guess."""
        assert net.refinement is not None
        assert timbre.closer is not None
        structure = net.structure_encoder(rolls, torch.tensor([False, False]))
        guess, vector = torch.zeros(2, 32, FRAMES), timbre.vector.expand(2, -1)
        memory = timbre.closer.expand(2, -1, -1)
        return net.refinement(structure.code, guess, vector, memory, structure.levels)[0]

    fresh, old = corrections()  # it has not learned to
    torch.testing.assert_close(fresh, old)
    torch.nn.init.normal_(net.refinement.fading.told.weight, std=0.1)
    fresh, old = corrections()
    assert (fresh - old).abs().max() > 1e-2


def test_weights_from_before_it_was_told_so_are_taken_over() -> None:
    older = Network(replace(tiny(), refinement=replace(CLOSER, fading=False)))
    assert older.refinement is not None
    torch.nn.init.normal_(older.refinement.leave.weight, std=0.1)
    newer = network()
    check_start(newer, older)
    newer.begin_from(older)
    example = torch.randn(1, 32, FRAMES)
    guess = told(newer, newer.timbre(example)).guess
    torch.testing.assert_close(guess, told(older, older.timbre(example)).guess)


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
