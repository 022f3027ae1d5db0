from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from command_line import timbrel
from sounds import RATE, tone
from stores import ITEM
from timbrel.audio import Audio
from timbrel.conditions.drums import (
    GROUPS,
    LATER,
    N_FFT,
    PIECES,
    DrumListener,
    drum_loss,
    hear_drums,
    read_strokes,
)
from timbrel.conditions.listener import Listener, ListenerConfig, hear
from timbrel.data.render.scores import draw_score
from timbrel.data.render.synth import Patch, render_kit
from timbrel.data.render.timbres import KIT_PIECES
from timbrel.data.store import Store
from timbrel.data.writer import StoreWriter
from timbrel.errors import DataError, TrainingError
from timbrel.evaluation.drums import drum_onset_f1, hits
from timbrel.model import load
from timbrel.notes import Notes, Track
from timbrel.roll import roll
from timbrel.serialize import load_listener
from timbrel.training.listener import ListenerTraining, Passages, train_listener
from timbrel.training.run import Budget

HOP = 1024
FRAME_RATE = RATE / HOP
SECONDS = 3.0
CPU = torch.device("cpu")
SMALL = ListenerConfig(width=4, blocks=1, drums=32)


def kit_store(folder: Path, kits: int, tones: int) -> Store:
    """Kits of the own synthesiser, and steady tones."""
    writer, audio, notes, items = StoreWriter(folder), [], [], []
    for k in range(kits + tones):
        rng, drums = np.random.default_rng(k), k < kits
        played = draw_score(rng, SECONDS - 0.5, drums=drums, voices=1)
        if drums:
            samples = render_kit(Patch.draw(rng, "train"), played, SECONDS, RATE)[0]
        else:
            samples = tone(float(rng.uniform(100, 800)), SECONDS)
        audio.append(Audio(samples[None].astype(np.float32), RATE).with_loudness(-23).samples[0])
        notes.append(played)
        items.append(replace(ITEM, row=k, length=len(samples), drums=drums, identity=f"{k}"))
    writer.write_shard(0, np.stack(audio), notes, items)
    return Store.open(folder)


def test_all_pieces_that_scores_strike_are_known() -> None:
    assert set(PIECES) == KIT_PIECES


def test_strokes_are_read_back_from_their_own_roll() -> None:
    written = Notes.from_rows(
        [(0.113, 0.2, 36, 100), (0.36, 0.4, 42, 40), (0.36, 0.4, 38, 90), (0.9, 1.0, 36, 70)],
        tracks=(Track("drums", 0, True),),
    )
    rolled = roll(written, FRAME_RATE, 60)[:, list(PIECES)]
    onset, position, velocity = (rolled[0] > 0).astype(float), rolled[0], rolled[2]
    heard = read_strokes(onset, position, velocity, FRAME_RATE)
    np.testing.assert_allclose(heard.onset, written.onset, atol=1e-4)
    assert sorted(heard.pitch) == sorted(written.pitch)
    np.testing.assert_allclose(np.sort(heard.velocity), np.sort(written.velocity), atol=1)
    assert len(heard.pitched()) == 0


def test_a_stroke_that_either_of_two_kicks_may_have_been_is_one_stroke() -> None:
    onset = np.zeros((len(PIECES), 20))
    onset[PIECES.index(35), 8], onset[PIECES.index(36), 8] = 0.4, 0.5
    heard = read_strokes(onset, onset, onset, FRAME_RATE)
    assert heard.pitch.tolist() == [36]
    assert len(GROUPS[0]) == 2


def test_what_is_heard_depends_on_no_more_than_a_little_of_what_follows() -> None:
    net = DrumListener(RATE, HOP, 16).eval()
    audio = 0.1 * torch.randn(1, 40 * HOP)
    changed = audio.clone()
    changed[:, 30 * HOP :] = 0
    a, b = (net(net.features(x))[0] for x in (audio, changed))
    reach = LATER + -(-N_FFT // (2 * HOP))
    torch.testing.assert_close(a[..., : 30 - reach], b[..., : 30 - reach])
    assert (a[..., 31] - b[..., 31]).abs().max() > 1e-4


def test_strokes_are_learned_of_drums_alone() -> None:
    strokes, kit = torch.randn(2, 3, len(PIECES), 16), torch.randn(2, 16)
    rolled, drums = torch.zeros(2, 3, 128, 16), torch.tensor([False, True])
    other = strokes.clone()
    other[0] = 0
    rolled[:, :, 36, 4] = 1
    loss = drum_loss(strokes, kit, rolled, drums)
    torch.testing.assert_close(loss, drum_loss(other, kit, rolled, drums))
    other[1, 0, PIECES.index(36), 4] += 3
    assert drum_loss(other, kit, rolled, drums) < loss


def test_drums_beside_notes_are_heard_and_are_no_notes(tmp_path: Path) -> None:
    store = kit_store(tmp_path / "store", kits=3, tones=3)
    rng, training = np.random.default_rng(0), ListenerTraining(batch=40, frames=64, noise=0.0)
    passages = Passages(store, HOP, training)
    audio, rolls = passages.batch(rng)
    # all that is not a steady tone or two, as share of the whole
    power = np.sort(np.abs(np.fft.rfft(audio * np.hanning(audio.shape[1]))) ** 2, axis=1)
    struck = power[:, :-20].sum(1) / power.sum(1) > 0.02
    assert 3 <= struck.sum() <= 16
    written = {int(p) for k in range(3, 6) for p in store.notes(k).pitch}
    assert set(np.flatnonzero(rolls.to(CPU)[:, 1].amax((0, 2)))) <= written
    assert len(Passages(store, HOP, training, drums=True).beside) == 0


def test_a_listener_learns_to_hear_drums_and_to_tell_them_from_tones(tmp_path: Path) -> None:
    store = kit_store(tmp_path / "store", kits=8, tones=4)
    training = ListenerTraining(batch=4, frames=64, peak_rate=4e-3, mixture=0.0)
    before = Listener(replace(SMALL, drums=0))
    listener = train_listener(
        store, tmp_path / "run", SMALL, replace(training, only="drums"),
        Budget(steps=150), CPU, start_from=before,
    )  # fmt: skip
    for name, weight in before.state_dict().items():
        torch.testing.assert_close(listener.state_dict()[name], weight, rtol=0, atol=0)
    assert listener.drums is not None
    found = []
    for index in range(8):
        samples = torch.from_numpy(store.audio(index))[None]
        heard = hear_drums(listener.drums, samples)
        assert heard is not None
        written = replace(store.notes(index), tracks=(Track("drums", 0, True),))
        found.append(drum_onset_f1(hits(written), hits(heard)))
    assert np.mean(found) > 0.8
    # what was told of the loop is told of its beginning, and of a tone nothing is
    assert hear_drums(listener.drums, torch.from_numpy(store.audio(9))[None]) is None
    assert len(hear(listener, samples).drums())


def test_a_loop_is_a_loop_whatever_silence_follows(tmp_path: Path) -> None:
    drums = load("default", "cpu").listener.drums
    loop = torch.from_numpy(kit_store(tmp_path, kits=1, tones=0).audio(0))[None]
    alone = hear_drums(drums, loop)
    followed = hear_drums(drums, torch.cat([loop, torch.zeros(1, 10 * RATE)], 1))
    assert len(alone) > 10
    assert followed.onset.tolist() == alone.onset.tolist()


@pytest.mark.parametrize("only", ["notes", "drums"])
def test_one_part_learns_and_the_other_stays_as_it_is(tmp_path: Path, only: str) -> None:
    store = kit_store(tmp_path / "store", kits=1, tones=1)
    before = Listener(SMALL)
    after = train_listener(
        store, tmp_path / "run", replace(SMALL, summary=8, after=1),
        ListenerTraining(batch=2, frames=24, only=only), Budget(steps=2), CPU, start_from=before,
    )  # fmt: skip
    weights = after.state_dict()
    same = {name for name, was in before.state_dict().items() if torch.equal(weights[name], was)}
    drums = {name for name in before.state_dict() if name.startswith("drums.")}
    learned = before.state_dict().keys() - same
    assert learned
    assert learned <= (drums if only == "drums" else before.state_dict().keys() - drums)


def test_a_listener_without_drums_or_of_another_size_is_named(tmp_path: Path) -> None:
    store, training = kit_store(tmp_path / "store", kits=1, tones=1), ListenerTraining(frames=24)

    def train(size: ListenerConfig, store: Store = store, **more: object) -> Listener:
        steps = Budget(steps=1)
        only = str(more.pop("only", ""))
        return train_listener(
            store, tmp_path / "run", size, replace(training, only=only), steps, CPU,
            **more,
        )  # fmt: skip

    with pytest.raises(DataError, match="nothing to learn of them"):
        train(replace(SMALL, drums=0), only="drums")
    with pytest.raises(TrainingError, match=r"another size \(enter\.weight\)"):
        train(SMALL, start_from=Listener(replace(SMALL, width=8)))
    with pytest.raises(TrainingError, match=r"drums alone are to be learned, .* give --from"):
        train(SMALL, only="drums")
    with pytest.raises(DataError, match="no item of drums"):
        train(SMALL, kit_store(tmp_path / "tones", kits=0, tones=1))


def test_a_store_without_drums_leaves_what_hears_them_as_it_is(tmp_path: Path) -> None:
    kit_store(tmp_path / "tones", kits=0, tones=2)
    command = ["train", "listener", "--from", "default", "--data", tmp_path / "tones"]
    done = timbrel(*command, "-o", tmp_path / "run", "--steps", 1, "--batch", 1)
    assert done.returncode == 0, done.stderr
    assert "the part that hears them stays as it is" in done.stdout
    learned = load_listener(tmp_path / "run" / "listener")
    default = load("default", "cpu").listener
    for name, weight in default.drums.state_dict().items():
        torch.testing.assert_close(learned.drums.state_dict()[name], weight, rtol=0, atol=0)


def test_a_listener_that_does_not_learn_drums_does_not_pretend_to_hear_them(
    tmp_path: Path,
) -> None:
    kit_store(tmp_path / "store", kits=2, tones=2)
    words = ("train", "listener", "--data", f"{tmp_path}/store", "-o", f"{tmp_path}/run")
    done = timbrel(*words, "--steps", "1", "--batch", "1", "--only", "notes")
    assert done.returncode == 0, done.stderr
    assert "does not learn drums" in done.stdout
    assert load_listener(tmp_path / "run/listener").drums is None
