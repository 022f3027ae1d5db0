import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sounds import RATE, tone
from timbrel.audio import Audio
from timbrel.codec.spectral import SpectralCodec, SpectralConfig
from timbrel.diffusion.guidance import Guidance
from timbrel.diffusion.samplers import SAMPLERS, Velocity
from timbrel.errors import InputError, ModelError
from timbrel.generate.windows import (
    Sampling,
    generate,
    sampling_of,
    structure_of_rolls,
    windows,
)
from timbrel.model import TAIL_SECONDS, Timbrel, load
from timbrel.notes import Notes, Track
from timbrel.serialize import assemble, load_codec, load_network


@pytest.fixture(scope="module")
def player(tiny_model: Path) -> Timbrel:
    return load(tiny_model, "cpu")


NOTES = Notes.from_rows([(0.0, 0.5, 60, 90), (0.5, 1.0, 64, 80), (1.0, 2.0, 67, 100)])
EXAMPLE = Audio(tone(330, 2.0)[None], RATE)


@pytest.mark.parametrize("frames", [1, 63, 64, 65, 200, 1000])
def test_windows_cover_every_frame_once_beside_their_context(frames: int) -> None:
    fresh = [range(start + given, stop) for start, given, stop in windows(frames, 64, 16)]
    assert [t for part in fresh for t in part] == list(range(frames))
    assert all(stop - start <= 64 for start, _, stop in windows(frames, 64, 16))


def test_the_result_has_the_length_rate_and_level_that_were_promised(player: Timbrel) -> None:
    audio = player.render(NOTES, EXAMPLE, steps=2)
    assert audio.rate == RATE
    assert audio.samples.shape == (1, round((2.0 + TAIL_SECONDS) * RATE))
    assert np.abs(audio.samples).max() <= 0.97 + 1e-6
    assert player.render(NOTES, EXAMPLE, steps=1, length=1.25).samples.shape[1] == round(
        1.25 * RATE
    )


def test_what_is_rendered_is_its_latent_decoded_in_time_and_to_the_last_sample(
    player: Timbrel, monkeypatch: pytest.MonkeyPatch
) -> None:
    latents: list[torch.Tensor] = []
    shares: list[float] = []

    def watched(*arguments: Any) -> Iterator[torch.Tensor]:
        for latent in generate(*arguments):
            latents.append(latent)
            yield latent

    monkeypatch.setattr("timbrel.model.generate", watched)
    played = player.render(NOTES, EXAMPLE, steps=1, progress=shares.append).samples
    with torch.inference_mode():
        whole = player.codec.decode(torch.cat(latents, 2))[0, :, : played.shape[1]].numpy()
    gain = (played * whole).sum() / np.square(whole).sum()
    np.testing.assert_allclose(played, gain * whole, atol=2e-3 * np.abs(played).max())
    assert len(shares) == len(latents) > 1
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_a_length_that_ends_within_a_note_ends_without_a_click(player: Timbrel) -> None:
    played = np.abs(player.render(NOTES, EXAMPLE, steps=1, length=1.5).samples[0])
    fade = round(0.01 * RATE)
    assert played[-1] == 0
    assert played[-2 * fade : -fade].max() > 3 * played[-fade // 10 :].max()
    assert played[-2 * fade : -fade].max() > 0.01


def test_equal_seeds_give_equal_audio_and_others_do_not(player: Timbrel) -> None:
    first, second, third = (player.render(NOTES, EXAMPLE, steps=2, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.samples, second.samples)
    assert np.abs(first.samples - third.samples).max() > 1e-3


def test_a_window_goes_on_from_the_last_frames_of_the_one_before(
    player: Timbrel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    windows_made: list[dict[str, torch.Tensor]] = []
    euler = SAMPLERS["euler"]

    def between(start: int, stop: int) -> torch.Tensor:
        seen.append((start, stop))
        return torch.zeros(3, 128, stop - start)

    def watched(
        velocity: Velocity, noise: torch.Tensor, given: torch.Tensor, context: torch.Tensor, *rest
    ) -> torch.Tensor:
        made = euler(velocity, noise, given, context, *rest)
        windows_made.append({"noise": noise, "given": given, "context": context, "made": made})
        return made

    monkeypatch.setitem(SAMPLERS, "euler", watched)
    timbre = player.timbre(EXAMPLE)
    notes = structure_of_rolls(player.network, between)
    pieces = list(generate(player.network, notes, 150, timbre, Sampling(2, Guidance(1, 1))))
    assert sum(p.shape[2] for p in pieces) == 150
    assert seen[1] == (48 - 128, 112)  # from a run-in on, so that notes that ring are known
    first, *later = windows_made
    assert len(later) == 2
    assert not first["context"].any()
    for before, window in itertools.pairwise(windows_made):
        assert window["context"][0, 0].tolist() == [1.0] * 16 + [0.0] * (
            window["context"].shape[2] - 16
        )
        tail = before["made"][:, :, -16:]
        assert tail.abs().max() > 0.1
        for part in ("given", "made"):  # told to the denoiser, and not changed by it
            assert torch.equal(window[part][:, :, :16], tail)
        assert torch.equal(window["noise"][:, :, :16], before["noise"][:, :, -16:])
    whole = torch.cat([first["made"], *(w["made"][:, :, 16:] for w in later)], 2)
    assert torch.equal(torch.cat(pieces, 2), whole)


def test_long_pieces_need_no_more_memory_than_a_window(player: Timbrel) -> None:
    sizes: list[int] = []
    original = player.network.denoiser.forward

    def watch(x: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        sizes.append(x.shape[2])
        return original(x, *rest)

    player.network.denoiser.forward = watch
    try:
        long = Notes.from_rows([(t * 0.5, t * 0.5 + 0.4, 60 + t % 12, 90) for t in range(80)])
        player.render(long, EXAMPLE, steps=1)
    finally:
        player.network.denoiser.forward = original
    assert max(sizes) <= player.network.config.window


def test_timbre_does_not_depend_on_level_rate_or_channels(player: Timbrel) -> None:
    plain = player.timbre(EXAMPLE)
    quiet = player.timbre(Audio(EXAMPLE.samples * 0.1, RATE))
    stereo = player.timbre(Audio(np.repeat(EXAMPLE.samples, 2, 0), RATE))
    resampled = player.timbre(EXAMPLE.resample(48_000))
    for other in (quiet, stereo, resampled):
        assert float((plain.vector * other.vector).sum()) > 0.99
        assert plain.memory is not None
        assert other.memory is not None
        near = torch.cosine_similarity(plain.memory, other.memory[..., : plain.memory.shape[2]], 1)
        assert float(near.mean()) > 0.98


def test_drum_tracks_are_left_out_unless_there_is_nothing_else(player: Timbrel) -> None:
    from timbrel.notes import Track

    tracks = (Track("tune"), Track("kit", 0, True))
    both = Notes.from_rows([(0, 1, 60, 90, 0), (0, 1, 36, 90, 1)], tracks)
    assert player.notes(both).pitch.tolist() == [60]
    assert player.notes(both.drums()).pitch.tolist() == [36]


def test_less_temperature_leaves_less_to_chance(player: Timbrel) -> None:
    timbre = player.timbre(EXAMPLE)
    silence = structure_of_rolls(player.network, lambda a, b: torch.zeros(3, 128, b - a))

    def apart(temperature: float) -> float:
        one, other = (
            torch.cat([*generate(player.network, silence, 100, timbre, sampling)], 2)
            for sampling in (Sampling(2, seed=seed, temperature=temperature) for seed in (0, 1))
        )
        return float((one - other).abs().mean())

    assert apart(0) == 0
    assert 0 < apart(0.5) < 0.8 * apart(1)
    asked = {"steps": 2, "length": 1.0}
    still, other = (player.render(NOTES, EXAMPLE, temperature=0, seed=s, **asked) for s in (0, 1))
    np.testing.assert_array_equal(still.samples, other.samples)


def test_more_texture_brings_quicker_changes_and_spares_what_lasts(player: Timbrel) -> None:
    timbre = player.timbre(EXAMPLE)
    silence = structure_of_rolls(player.network, lambda a, b: torch.zeros(3, 128, b - a))

    def apart(texture: float, frames: int) -> float:
        """Of two seeds, means over so many frames."""
        one, other = (
            torch.cat([*generate(player.network, silence, 200, timbre, sampling)], 2)
            for sampling in (Sampling(2, seed=seed, texture=texture) for seed in (0, 1))
        )
        return float(torch.nn.functional.avg_pool1d(one - other, frames).abs().mean())

    assert apart(0, 1) < 0.7 * apart(1, 1)
    assert apart(1.8, 1) > 1.2 * apart(1, 1)
    assert abs(apart(1.8, 25) / apart(0.2, 25) - 1) < 0.2


def test_options_out_of_range_are_refused(player: Timbrel) -> None:
    for words, options in (
        ("steps is 0", {"steps": 0}),
        ("guidance-timbre is nan", {"guidance_timbre": float("nan")}),
        ("guidance-structure is -1", {"guidance_structure": -1.0}),
        ("temperature is 3", {"temperature": 3.0}),
        ("texture is -1", {"texture": -1.0}),
        ("octave is 'up'", {"octave": "up"}),
        ("length is -2", {"length": -2.0}),
        ("seed is -1", {"seed": -1}),
        (r"seed is 1\.5", {"seed": 1.5}),
        (r"steps is 1\.7; give a whole number", {"steps": 1.7}),
    ):
        with pytest.raises(InputError, match=words):
            player.render(NOTES, EXAMPLE, **options)
    with pytest.raises(InputError, match=r"0\.50 s long"):
        player.render(NOTES, Audio(tone(330, 0.5)[None], RATE))
    with pytest.raises(InputError, match="no note"):
        player.render(Notes.empty(), EXAMPLE)
    with pytest.raises(InputError, match="over before 0 s"):
        player.render(NOTES.shift(-NOTES.seconds), EXAMPLE)


def test_what_lasts_longer_than_a_day_is_refused_but_not_a_part_of_it(player: Timbrel) -> None:
    endless = Notes.from_rows([(0, 1, 60, 90), (90_000, 90_001, 60, 90)])
    with pytest.raises(InputError, match=r"the structure lasts 25\.0 hours"):
        player.render(endless, EXAMPLE, steps=1)
    assert player.render(endless, EXAMPLE, steps=1, length=1.0).seconds == 1.0


def test_a_length_that_ends_before_the_first_note_is_refused(player: Timbrel) -> None:
    late = NOTES.shift(3.0)
    with pytest.raises(InputError, match=r"begins at 3\.00 s, and length is 3 s"):
        player.render(late, EXAMPLE, steps=1, length=3.0)
    assert player.render(late, EXAMPLE, steps=1, length=3.1).seconds == pytest.approx(3.1)


def test_whole_numbers_of_numpy_are_whole_numbers(player: Timbrel) -> None:
    one, other = (
        player.render(NOTES, EXAMPLE, steps=number(1), seed=number(3), length=0.5)
        for number in (int, np.int64)
    )
    np.testing.assert_array_equal(one.samples, other.samples)


def test_saved_weights_are_half_precision_and_load_back(tiny_model: Path, player: Timbrel) -> None:
    network, codec = load_network(tiny_model), load_codec(tiny_model)
    for name, value in player.network.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value)
    assert codec.config == SpectralConfig(**{**codec.config.__dict__})
    info = player.info()
    assert info["name"] == "random"
    assert info["structure"] == "MIDI and audio"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "config.json").unlink(), "holds no config.json"),
        (lambda f: (f / "config.json").write_text("{"), "cannot be read"),
        (lambda f: (f / "config.json").write_text('{"format": 99}'), "update"),
        (lambda f: (f / "network.safetensors").unlink(), "network.safetensors is missing"),
        (lambda f: (f / "codec.safetensors").write_bytes(b"123"), "is damaged"),
    ],
)
def test_damaged_models_are_named(tiny_model: Path, tmp_path: Path, damage, words: str) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(tiny_model, copy)
    damage(copy)
    with pytest.raises(ModelError, match=words):
        load(copy, "cpu")


def test_a_model_of_a_newer_version_is_refused_by_its_unknown_setting(
    tiny_model: Path, tmp_path: Path
) -> None:
    import json
    import shutil

    shutil.copytree(tiny_model, tmp_path / "new")
    path = tmp_path / "new" / "config.json"
    config = json.loads(path.read_text())
    config["model"]["denoiser"]["telepathy"] = 3
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError, match="unknown setting 'telepathy'"):
        load(tmp_path / "new", "cpu")


def test_devices_that_are_not_there_are_refused() -> None:
    from timbrel.model import pick_device

    for name in ("warp", "meta"):
        with pytest.raises(InputError, match=f"device '{name}'"):
            pick_device(name)


def test_only_files_of_a_model_are_replaced(player: Timbrel, tmp_path: Path) -> None:
    for name in ("mine.safetensors", "listener.safetensors", "network-1.safetensors"):
        (tmp_path / name).write_bytes(b"?")
    assemble(tmp_path, player.codec, player.network, None, {"name": "other"})
    assert (tmp_path / "mine.safetensors").read_bytes() == b"?"
    assert not (tmp_path / "listener.safetensors").exists()
    assert load(tmp_path, "cpu").listener is None


def test_parts_that_do_not_belong_together_are_not_put_together(
    player: Timbrel, tiny_model: Path, tmp_path: Path
) -> None:
    other = SpectralCodec(replace(player.codec.config, channels=16))
    with pytest.raises(ModelError, match="codec with channels = 32, this one has 16"):
        assemble(tmp_path / "a", other, player.network, None, {})
    stranger = SpectralCodec(player.codec.config)
    stranger.basis.deviation.copy_(torch.rand(32) + 0.5)
    with pytest.raises(ModelError, match="latents of another codec"):
        assemble(tmp_path / "a", stranger, player.network, None, {})
    assert not (tmp_path / "a").exists()


def test_without_a_listener_a_register_cannot_be_heard(
    player: Timbrel, tone_file: Path, tmp_path: Path
) -> None:
    assemble(tmp_path, player.codec, player.network, None, {})
    deaf = load(tmp_path, "cpu")
    with pytest.raises(ModelError, match="leave out --octave fit"):
        deaf.render(Notes.from_rows([(0, 0.5, 60, 90)]), tone_file, octave="fit")
    with pytest.raises(ModelError, match="give a MIDI file"):
        deaf.notes(tone_file)


def test_a_recording_is_heard_as_loud_in_stereo_as_in_mono(player: Timbrel) -> None:
    left = tone(330, 2.0)[None]
    heard = [
        player.listen(Audio(samples, RATE))
        for samples in (left, np.concatenate([left, left]), np.concatenate([left, 0 * left]))
    ]
    for other in heard[1:]:
        assert other.pitch.tolist() == heard[0].pitch.tolist()
        assert other.velocity.tolist() == heard[0].velocity.tolist()


def test_listening_to_a_long_recording_says_how_far_it_is(player: Timbrel) -> None:
    shares: list[float] = []
    player.listen(Audio(np.tile(tone(440, 2.0), 40)[None], RATE), shares.append)  # 80 s
    assert len(shares) > 3
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.5
    assert shares[-1] == 1


def test_a_faint_recording_is_heard_as_a_loud_one_but_the_noise_after_it_is_not() -> None:
    player = load("default", "cpu")
    melody = np.concatenate([tone(hz, 1.0) for hz in (330, 440, 550)])
    noise = 10 ** (-75 / 20) * np.random.default_rng(0).standard_normal(34 * RATE)
    noise[: len(melody)] += melody
    loud = player.listen(Audio(noise[None].astype(np.float32), RATE))
    assert {64, 69, 73} <= set(loud.pitch.tolist())
    assert loud.onset.max() < 4
    faint = player.listen(Audio((1e-3 * melody)[None].astype(np.float32), RATE))
    assert faint.pitch.tolist() == loud.pitch.tolist()
    assert len(player.listen(Audio(np.zeros((1, 0), np.float32), RATE))) == 0


def test_an_example_is_what_sounds_in_it(player: Timbrel) -> None:
    plain = player.timbre(EXAMPLE).vector
    late = np.pad(EXAMPLE.samples, ((0, 0), (25 * RATE, 0)))
    faint = EXAMPLE.samples * 1e-3  # below the gate of loudness
    cancelling = np.concatenate([EXAMPLE.samples, -EXAMPLE.samples])
    for samples in (late, faint, cancelling):
        torch.testing.assert_close(
            player.timbre(Audio(samples, RATE)).vector, plain, atol=0.02, rtol=0
        )


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (np.zeros((1, 3 * RATE), np.float32), "only the last 0.00 s are not silent"),
        (np.full((1, 3 * RATE), np.nan, np.float32), "not numbers"),
    ],
)
def test_examples_in_which_nothing_sounds_are_refused(
    player: Timbrel, samples: np.ndarray, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        player.timbre(Audio(samples, RATE))


def test_a_recording_with_samples_that_are_not_numbers_is_not_listened_to(player: Timbrel) -> None:
    samples = tone(330, 1.5)[None]
    samples[0, 700] = np.nan
    with pytest.raises(InputError, match="not numbers"):
        player.render(Audio(samples, RATE), EXAMPLE)


def test_notes_are_ignored_only_where_both_scales_are_zero(player: Timbrel) -> None:
    def play(notes: Notes, structure: float, timbre: float) -> np.ndarray:
        scales = {"guidance_structure": structure, "guidance_timbre": timbre}
        return player.render(notes, EXAMPLE, steps=2, length=1.0, **scales).samples

    other = NOTES.transpose(5)
    np.testing.assert_array_equal(play(NOTES, 0, 0), play(other, 0, 0))
    assert np.abs(play(NOTES, 0, 1) - play(other, 0, 1)).max() > 0


@pytest.mark.parametrize(
    ("options", "most_steps", "words"),
    [
        ({"sampler": "multistep"}, 8, "this model takes euler"),
        (
            {"structure": 0.5},
            8,
            "guidance-structure is 0.5; this model takes numbers from 1 to 3",
        ),
        ({"temperature": 9}, None, "temperature is 9"),
        ({"steps": 5000}, None, "steps is 5000"),
        ({"steps": 3}, 8, "steps is 3; this few-step model takes 1, 2, 4, 8"),
        ({"steps": 16}, 8, "steps is 16; this few-step model takes 1, 2, 4, 8"),
        ({"steps": 4}, 2, "steps is 4; this few-step model takes 1, 2"),
        ({"steps": 0}, 8, "steps is 0"),
    ],
)
def test_defaults_that_a_model_cannot_do_are_refused(
    options: dict[str, object], most_steps: int | None, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        sampling_of(options, most_steps)


def test_a_few_step_model_takes_steps_that_it_learned() -> None:
    sampling = sampling_of({}, most_steps=8)
    assert (sampling.steps, sampling.sampler) == (4, "euler")
    assert sampling_of({}, most_steps=2).steps == 2


def test_a_training_run_is_not_overwritten_by_a_model(player: Timbrel, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ModelError, match="holds a training run"):
        assemble(tmp_path, player.codec, player.network, None, {})
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]


@pytest.mark.parametrize(("heard", "octaves"), [(100, 2), (12, -3), (72, 1)])
def test_notes_are_moved_by_octaves_only_as_far_as_all_stay(
    player: Timbrel, heard: int, octaves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = Notes.from_rows([(k / 2, k / 2 + 0.5, p, 90) for k, p in enumerate((36, 60, 62, 96))])
    example = Notes.from_rows([(0, 1, heard, 90)])
    monkeypatch.setattr(player, "listen", lambda _: example)
    assert player._octaves_apart(notes, EXAMPLE) == octaves
    assert len(notes.transpose(12 * octaves)) == 4


DRUMS = Notes.from_rows([(0, 1, 36, 90)], (Track(drums=True),))


@pytest.mark.parametrize(
    ("notes", "heard", "words"),
    [
        (NOTES, [], "the example has no pitch"),
        (DRUMS, [(0, 1, 60, 90)], "what is to be played"),
    ],
)
def test_what_has_no_register_is_not_fitted(
    notes: Notes, heard: list, words: str, player: Timbrel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(player, "listen", lambda _: Notes.from_rows(heard))
    with pytest.raises(InputError, match=f"{words}.*leave out --octave fit"):
        player.render(notes, EXAMPLE, steps=1, octave="fit")


def test_fitted_notes_are_played_in_the_register_of_the_example(
    player: Timbrel, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = Notes.from_rows([(0, 1, 64 + 24, 90)])
    monkeypatch.setattr(player, "listen", lambda _: example)
    fitted = player.render(NOTES, EXAMPLE, steps=1, octave="fit")
    moved = player.render(NOTES.transpose(24), EXAMPLE, steps=1)
    np.testing.assert_array_equal(fitted.samples, moved.samples)
    kept = player.render(NOTES, EXAMPLE, steps=1)
    assert np.abs(kept.samples - moved.samples).max() > 1e-3
