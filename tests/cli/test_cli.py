"""The command line as users call it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from command_line import timbrel
from sounds import RATE, tone
from timbrel.ablation.study import study_names
from timbrel.audio import Audio
from timbrel.cli import main
from timbrel.data.store import Store
from timbrel.notes import Notes, Track
from timbrel.serialize import load_codec
from timbrel.training.latents import attach_latents

Here = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.mid"
    Notes.from_rows([(0, 0.5, 60, 90), (0.5, 1.0, 67, 80)]).write(path)
    return path


def test_a_midi_file_becomes_audio_in_the_sound_of_the_example(
    song: Path, tone_file: Path, tmp_path: Path
) -> None:
    for name in ("a.wav", "b.flac"):
        done = timbrel("render", song, "--timbre", tone_file, "-o", tmp_path / name, "--steps", 2)
        assert done.returncode == 0, done.stderr
        assert "2.5 s of audio" in done.stderr
    first, second = Audio.read(tmp_path / "a.wav"), Audio.read(tmp_path / "b.flac")
    assert first.rate == RATE
    assert first.loudness() > -40
    np.testing.assert_allclose(first.samples, second.samples, atol=1e-6)


def test_drums_beside_a_melody_are_left_out_and_counted(
    song: Path, tone_file: Path, tmp_path: Path
) -> None:
    rows = [(0, 0.5, 60, 90, 0), (0, 0.1, 36, 100, 1), (0.5, 0.6, 38, 100, 1)]
    both = tmp_path / "both.mid"
    Notes.from_rows(rows, (Track(), Track(drums=True))).write(both)
    command = ("--timbre", tone_file, "-o", tmp_path / "out.wav", "--steps", 1)
    done = timbrel("render", both, *command)
    assert done.returncode == 0, done.stderr
    assert "2 drum notes were left out" in done.stderr
    assert "left out" not in timbrel("render", song, *command).stderr


def test_noise_that_is_taken_out_of_an_example_is_told(
    song: Path, tone_file: Path, tmp_path: Path
) -> None:
    clean = Audio.read(tone_file)
    hiss = 0.01 * np.random.default_rng(0).standard_normal(clean.samples.shape)
    noisy, out = tmp_path / "noisy.wav", tmp_path / "out.wav"
    Audio(clean.samples + hiss, clean.rate).write(noisy)
    said = "steady noise was taken out"
    for example, options, told in (
        (tone_file, (), False),
        (noisy, (), True),
        (noisy, ("--keep-noise",), False),
    ):
        done = timbrel("render", song, "--timbre", example, "-o", out, "--steps", 1, *options)
        assert done.returncode == 0, done.stderr
        assert (said in done.stderr) == told


def test_an_output_that_is_an_input_is_refused(song: Path, tone_file: Path) -> None:
    before = tone_file.read_bytes()
    done = timbrel("render", song, "--timbre", tone_file, "-o", tone_file)
    assert done.returncode == 2
    assert "what is read" in done.stderr
    assert tone_file.read_bytes() == before


def test_audio_serves_as_structure_whatever_its_name(tone_file: Path, tmp_path: Path) -> None:
    disguised = tmp_path / "really_audio.mid"
    disguised.write_bytes(tone_file.read_bytes())
    done = timbrel("render", disguised, "--timbre", tone_file, "-o", tmp_path / "a.wav")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.wav").exists()


def bad_inputs(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    def audio(name: str, samples: np.ndarray) -> Path:
        soundfile.write(tmp_path / name, samples, RATE, subtype="FLOAT", format="WAV")
        return tmp_path / name

    (tmp_path / "text.mid").write_text("dear diary")
    (tmp_path / "empty.mid").write_bytes(b"")
    Notes.from_rows([(0, 1, 60, 90)]).write(tmp_path / "whole.mid")
    (tmp_path / "cut.mid").write_bytes((tmp_path / "whole.mid").read_bytes()[:-8])
    header = b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\0\0\0\4\0\xff\x2f\0"
    (tmp_path / "none.mid").write_bytes(header)
    return {
        "missing": (tmp_path / "nothing.mid", "does not exist"),
        "folder": (tmp_path, "is a folder"),
        "text": (tmp_path / "text.mid", "cannot be read as audio"),
        "empty": (tmp_path / "empty.mid", "is empty"),
        "truncated": (tmp_path / "cut.mid", "damaged"),
        "no notes": (tmp_path / "none.mid", "no notes"),
        "nan": (audio("nan.wav", np.full(RATE * 2, np.nan)), "not numbers"),
        "no samples": (audio("zero.wav", np.zeros(0)), "no samples"),
        "silence": (audio("silence.wav", np.zeros(RATE * 2)), "is silent"),
        "short": (audio("short.wav", tone(440, 0.05)), "s long"),
    }


@pytest.mark.parametrize(
    "kind",
    [
        "missing",
        "folder",
        "text",
        "empty",
        "truncated",
        "no notes",
        "nan",
        "no samples",
        "silence",
        "short",
    ],
)
def test_a_bad_structure_is_one_sentence_exit_code_2_and_no_file(
    kind: str, tone_file: Path, tmp_path: Path, timbrel_here: Here
) -> None:
    path, words = bad_inputs(tmp_path)[kind]
    done = timbrel_here("render", path, "--timbre", tone_file, "-o", tmp_path / "out.wav")
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize(
    "kind", ["missing", "folder", "text", "nan", "no samples", "silence", "short"]
)
def test_a_bad_timbre_is_refused_alike(
    kind: str, song: Path, tmp_path: Path, timbrel_here: Here
) -> None:
    path, words = bad_inputs(tmp_path)[kind]
    done = timbrel_here("render", song, "--timbre", path, "-o", tmp_path / "out.wav")
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-o", "{tmp}/none/a.wav"], "does not exist"),
        (["-o", "{tmp}/a.mp4"], "must end in .wav or .flac"),
        (["-o", "{tmp}/a.wav", "--steps", "0"], "steps is 0"),
        (["-o", "{tmp}/a.wav", "--guidance-timbre", "nan"], "--guidance-timbre is nan"),
        (["-o", "{tmp}/a.wav", "--temperature", "-1"], "temperature is -1"),
        (["-o", "{tmp}/a.wav", "--texture", "2.5"], "texture is 2.5"),
        (["-o", "{tmp}/a.wav", "--texture", "nan"], "--texture is nan"),
        (["-o", "{tmp}/a.wav", "--length", "inf"], "--length is inf"),
        (["-o", "{tmp}/a.wav", "--octave", "up"], "octave is 'up'"),
        (["-o", "{tmp}/a.wav", "--model", "{tmp}/nomodel"], "no model at"),
        (["-o", "{tmp}/a.wav", "--device", "warp"], "device 'warp'"),
    ],
)
def test_bad_options_are_one_sentence_and_exit_code_2(
    options: list[str],
    words: str,
    song: Path,
    tone_file: Path,
    tmp_path: Path,
    timbrel_here: Here,
) -> None:
    filled = [o.replace("{tmp}", str(tmp_path)) for o in options]
    done = timbrel_here("render", song, "--timbre", tone_file, *filled)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "a.wav").exists()


def test_info_says_what_files_and_models_are(song: Path, tone_file: Path) -> None:
    facts = json.loads(timbrel("info", song, "--json").stdout)
    assert facts["notes"] == 2
    assert facts["range"] == "60 to 67"
    assert facts["seconds"] == pytest.approx(1.0, abs=0.01)
    facts = json.loads(timbrel("info", tone_file, "--json").stdout)
    assert (facts["rate"], facts["channels"], facts["seconds"]) == (RATE, 1, 2.0)
    facts = json.loads(timbrel("info", "default", "--json").stdout)
    assert facts["rate"] == RATE
    assert facts["licence"] == "MIT"
    assert facts["parameters"]["network"] > 1e6


def test_info_of_nothing_known_is_refused(tmp_path: Path) -> None:
    done = timbrel("info", tmp_path)
    assert done.returncode == 2
    assert "neither a model nor a store" in done.stderr


def test_debug_shows_where_an_error_came_from(tmp_path: Path) -> None:
    done = timbrel("--debug", "info", tmp_path)
    assert "Traceback" in done.stderr


def test_ctrl_c_before_a_command_begins_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "app", interrupted)
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == 130


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys; import timbrel.cli.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert "render" in timbrel("--help").stdout


def test_a_model_loads_without_what_only_rendering_needs() -> None:
    code = "import sys, timbrel; timbrel.load(device='cpu'); sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_help_names_every_study() -> None:
    said = timbrel("ablate", "--help").stdout
    assert all(name in said for name in study_names())


@pytest.mark.slow
def test_from_nothing_to_a_rendered_piece_by_the_documented_commands(
    song: Path, tone_file: Path, tmp_path: Path
) -> None:
    store, codec, model = tmp_path / "store", tmp_path / "codec", tmp_path / "model"
    steps: list[list[object]] = [
        ["prepare", "render", "-o", store, "--count", 12, "--synth-share", 1],
        ["train", "codec", "--data", store, "-o", codec, "--preset", "tiny", "--steps", 5],
        ["prepare", "latents", store, "--codec", codec / "codec", "--workers", 2],
        ["train", "listener", "--data", store, "-o", tmp_path / "listener", "--steps", 2,
         "--batch", 2],
        ["train", "model", "--data", store, "--codec", codec / "codec", "-o", model,
         "--preset", "tiny", "--steps", 5, "--batch", 2],
        ["train", "assemble", "--codec", codec / "codec", "--network", model / "model",
         "--listener", tmp_path / "listener" / "listener",
         "-o", tmp_path / "mine", "--name", "mine", "--sampler", "multistep"],
        ["info", store],
        ["render", song, "--timbre", tone_file, "-o", tmp_path / "a.wav",
         "--model", tmp_path / "mine"],
        # on from there, with notes that it hears
        ["prepare", "heard", store, "--model", tmp_path / "mine"],
        ["train", "model", "--from", tmp_path / "mine", "--data", store, "-o", tmp_path / "tuned",
         "--recipe", "heard-notes", "--steps", 3, "--batch", 2],
        ["train", "assemble", "--codec", codec / "codec", "--network", model / "model",
         "--network", tmp_path / "tuned" / "model", "-o", tmp_path / "mean"],
        ["train", "assemble", "--codec", tmp_path / "mine", "--temperature", 0.8, "--texture", 1.5,
         "--network", tmp_path / "tuned" / "model", "-o", tmp_path / "tuned" / "assembled"],
        # and the paper's way, from audio
        ["prepare", "spectra", store],
        ["train", "model", "--data", store, "--codec", codec / "codec", "-o", tmp_path / "paper",
         "--preset", "tiny", "--recipe", "paper", "--steps", 5, "--batch", 2],
        ["train", "assemble", "--codec", codec / "codec", "--network", tmp_path / "paper" / "model",
         "-o", tmp_path / "papers", "--name", "paper"],
        ["render", tone_file, "--timbre", tone_file, "-o", tmp_path / "b.wav",
         "--model", tmp_path / "papers"],
    ]  # fmt: skip
    for arguments in steps:
        done = timbrel(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stderr[-2000:]}"
    assert (tmp_path / "a.wav").exists()
    assert (tmp_path / "b.wav").exists()
    # what was tuned is sampled as what it began from, but for what was said
    about = json.loads((tmp_path / "tuned" / "assembled" / "config.json").read_text())["about"]
    assert about["sampling"] == {"sampler": "multistep", "temperature": 0.8, "texture": 1.5}
    # one of another objective is not sampled as what its codec is from
    done = timbrel("train", "assemble", "--codec", tmp_path / "mine", "--network",
                   tmp_path / "paper" / "model", "-o", tmp_path / "again")  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in ("papers", "again"):
        about = json.loads((tmp_path / name / "config.json").read_text())["about"]
        assert about["sampling"] == {"steps": 24, "sampler": "heun"}
    refused = timbrel("train", "assemble", "--codec", tmp_path / "mine", "--card", tone_file,
                      "--network", model / "model", "-o", tmp_path / "c")  # fmt: skip
    assert refused.returncode == 2
    assert "cannot be read as text" in refused.stderr
    assert not (tmp_path / "c").exists()


def test_what_is_heard_can_be_written_out_as_midi(tiny_model: Path, tmp_path: Path) -> None:
    recording = tmp_path / "a.wav"
    Audio(np.concatenate([tone(440, 1.0), tone(660, 1.0)])[None], RATE).write(recording)
    done = timbrel("transcribe", recording, "-o", tmp_path / "a.mid")
    assert done.returncode == 0, done.stderr
    heard = Notes.read(tmp_path / "a.mid")
    assert {69, 76} <= set(heard.pitch.tolist())
    for arguments, message in (
        (["transcribe", tmp_path / "a.mid", "-o", tmp_path / "b.mid"], "holds notes already"),
        (["transcribe", recording, "-o", tmp_path / "b.wav"], "must end in .mid"),
        (["transcribe", tmp_path / "no.wav", "-o", tmp_path / "b.mid"], "does not exist"),
    ):
        done = timbrel(*arguments)
        assert done.returncode == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "b.mid").exists()


@pytest.mark.slow
def test_a_probe_prints_what_leaks_and_refuses_what_it_cannot_measure(
    tiny_model: Path, small_store: Store, tmp_path: Path
) -> None:
    codec = load_codec(tiny_model)
    shutil.copytree(small_store.path, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    done = timbrel("probe", tiny_model, "--data", tmp_path / "store")
    assert done.returncode == 2
    attach_latents(store, codec, torch.device("cpu"))
    done = timbrel("probe", tiny_model, "--data", tmp_path / "store", "--frames", 32, "--losses")
    assert done.returncode == 0, done.stderr
    for control in ("in the sound itself", "in the written notes alone", "in noise", "by chance"):
        assert control in done.stdout
    assert "structure of audio from that of its notes" in done.stdout
    assert "error of a fresh adversary" in done.stdout
    lines = done.stdout.splitlines()
    (first,) = (n for n, line in enumerate(lines) if "loss of what the sampler begins with" in line)
    assert all(0 < float(line.split()[0]) < 10 for line in lines[first : first + 5])
    done = timbrel("probe", tiny_model, "--data", tmp_path / "store", "--frames", 999)
    assert done.returncode == 2
    assert "fewer --frames" in done.stderr
    # losses need no timbre that plays often
    done = timbrel("probe", tiny_model, "--data", tmp_path / "store", "--frames", 999, "--losses")
    assert done.returncode == 0, done.stderr
    assert "codes were not probed" in done.stdout
    assert "loss of what the sampler begins with" in done.stdout
    assert "one timbre only" not in done.stdout
