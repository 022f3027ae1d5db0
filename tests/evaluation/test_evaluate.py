"""An evaluation from the question to the report, by a random model and by given files."""

import errno
import itertools
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sounds import RATE, estimate_hz, pitch_hz, tone
from stores import ITEM, store_of
from timbrel.audio import Audio
from timbrel.data.files import begin_line
from timbrel.data.lock import locked
from timbrel.data.store import Store
from timbrel.errors import DataError, InputError, TimbrelError
from timbrel.evaluation.cases import Case, draw_cases, pool
from timbrel.evaluation.compare import beyond_chance, comparison
from timbrel.evaluation.figures import level_panels
from timbrel.evaluation.given import write_cases
from timbrel.evaluation.hearing import Hearing, Memory
from timbrel.evaluation.identity import weights_id
from timbrel.evaluation.job import Job
from timbrel.evaluation.packaged import SHA256
from timbrel.evaluation.protocol import Setting, protocol_names, read_protocol, slowed
from timbrel.evaluation.report import write_report
from timbrel.evaluation.run import (
    Record,
    claim,
    evaluate,
    judge,
    judge_one,
    read_records,
)
from timbrel.evaluation.scores import (
    LIKENESSES,
    LOST,
    NEARER,
    SCORE_NAMES,
    WHY,
    Ears,
    failed,
    listen_to,
    score,
)
from timbrel.evaluation.systems import (
    EXAMPLE,
    FILTERED,
    SOURCE,
    TRUTH,
    model_rows,
    references,
)
from timbrel.evaluation.tables import NOTHING, Interval, chance, identified, read_json, rows
from timbrel.evaluation.timbre_embedding import Heard
from timbrel.model import load
from timbrel.notes import Notes, Track

SMALL = replace(
    read_protocol("midi-to-audio"), seconds=4.0, levels={"seen timbres": {"pool": "seen-seen"}}
)


HEAD = "question='?'\nstructure='notes'\ncases=1\nseed=0\nseconds=4.0\n"


@pytest.mark.parametrize("name", protocol_names())
def test_every_protocol_can_be_read_and_asks_something(name: str) -> None:
    protocol = read_protocol(name)
    assert protocol.question.endswith("?")
    for level in protocol.levels:
        assert isinstance(protocol.setting(level), Setting)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("question = ", "not a protocol"),
        ("question = 'x'", "not a protocol"),
        (
            "question='?'\nstructure='notes'\ncases=1\nseed=0\nseconds=4.0\n[levels]\na={wrong=1}",
            "unknown 'wrong'",
        ),
        (HEAD + "[levels]", "asks nothing"),
        (HEAD + "[levels]\na={pool='old'}", "pool is 'old'"),
        (HEAD + "[levels]\na={voices='two'}", "give a number"),
        (HEAD + "[levels]\na={genres='other', genre='polka'}", "genre is 'polka'"),
        (HEAD + "[levels]\na={example_part=2.0}", "example"),
        (HEAD + "[levels]\na={example_room=2.0}", "example_room is a share"),
        (HEAD + "[levels]\na={example_ratio=0.5}", "example_ratio is at least 1"),
        (HEAD.replace("4.0", "0.0") + "[levels]\na={}", "cases of 0.0 s"),
        (HEAD.replace("cases=1", "cases='x'") + "[levels]\na={}", "cases is 'x'"),
    ],
)
def test_wrong_protocols_are_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_protocol(str(path))
    with pytest.raises(InputError, match="choose one of"):
        read_protocol("none")


def test_cases_are_the_same_each_time_and_differ_from_each_other() -> None:
    first, again = (draw_cases(SMALL, [], limit=2) for _ in range(2))
    a, b = first[0](), again[0]()
    assert a.truth is not None
    assert b.truth is not None
    assert np.array_equal(a.truth.samples, b.truth.samples)
    assert np.array_equal(a.notes.onset, b.notes.onset)
    assert not np.array_equal(a.notes.onset, first[1]().notes.onset)


def test_every_fault_is_a_fault_of_the_same_case() -> None:
    faults = read_protocol("midi-faults")
    names = (
        "clean",
        "jitter 100 ms",
        "5 % dropped",
        "40 % dropped",
        "40 % added",
        "tempo drifts 5 %",
    )
    levels = {name: faults.levels[name] for name in names}
    cases = [
        make() for make in draw_cases(replace(faults, seconds=4.0, levels=levels), [], limit=1)
    ]
    clean = cases[0]
    assert clean.given is clean.notes
    assert clean.truth is not None
    for case in cases[1:]:
        assert case.truth is not None
        assert np.array_equal(case.truth.samples, clean.truth.samples), case.level
        assert np.array_equal(case.example.samples, clean.example.samples), case.level
        assert case.given is not case.notes
    by_level = {case.level: case for case in cases}
    assert len(by_level["40 % dropped"].given) < len(by_level["5 % dropped"].given)
    assert len(by_level["40 % added"].given) > len(clean.notes)


def test_an_example_is_given_shorter_noisier_and_quieter_and_judged_by_the_whole() -> None:
    protocol = replace(read_protocol("example"), seconds=4.0)
    names = ("8 s", "1 s", "noise 10 dB below", "20 dB quieter")
    levels = {name: protocol.levels[name] for name in names}
    whole, short, noisy, quiet = (
        make() for make in draw_cases(replace(protocol, levels=levels), [], 1)
    )
    assert whole.example_given is None
    for case in (short, noisy, quiet):
        assert np.array_equal(case.example.samples, whole.example.samples)
    given = [case.example_given for case in (short, noisy, quiet)]
    assert given[0] is not None
    assert given[0].seconds == pytest.approx(1.0)
    assert np.mean(given[0].samples ** 2) >= np.mean(whole.example.samples**2)
    assert given[1] is not None
    noise = given[1].samples - whole.example.samples
    ratio = np.mean(whole.example.samples**2) / np.mean(noise**2)
    assert 10 * np.log10(ratio) == pytest.approx(10, abs=0.2)
    assert given[2] is not None
    assert np.allclose(given[2].samples, 0.1 * whole.example.samples, atol=1e-6)


def test_every_recorded_example_is_a_recording_of_the_same_case() -> None:
    protocol = replace(read_protocol("recorded"), seconds=4.0)
    clean, *recorded = (make() for make in draw_cases(protocol, [], 1))
    again = [make() for make in draw_cases(protocol, [], 1)][1:]
    assert clean.example_given is None
    assert len(recorded) == 6
    assert clean.truth is not None
    for case, same in zip(recorded, again, strict=True):
        assert case.truth is not None
        assert np.array_equal(case.truth.samples, clean.truth.samples), case.level
        assert np.array_equal(case.example.samples, clean.example.samples), case.level
        assert case.given is case.notes
        assert case.example_given is not None
        assert np.array_equal(case.example_heard.samples, same.example_heard.samples), case.level
    for one, other in itertools.pairwise(case.example_heard for case in recorded):
        length = min(one.samples.shape[1], other.samples.shape[1])
        assert not np.allclose(one.samples[:, :length], other.samples[:, :length], atol=1e-3)


def recorded(samples: np.ndarray, seed: int = 0, **faults: float) -> np.ndarray:
    """(n,) -> (n',): an example as given."""
    example = Audio(samples[None].astype(np.float32), RATE)
    given = Setting(**faults).damage_example(example, np.random.default_rng(seed))  # type: ignore[arg-type]
    assert given is not None
    assert given.samples.shape[0] == 1
    return given.samples[0]


def test_a_room_sounds_on_and_is_drawn_by_the_seed() -> None:
    struck = np.pad(tone(440, 0.2), (0, RATE))
    tails = [recorded(struck, seed, example_room=0.5)[RATE // 4 :] for seed in (0, 0, 1)]
    assert np.abs(tails[0]).max() > 0.02
    assert np.array_equal(tails[0], tails[1])
    assert not np.allclose(tails[0], tails[2], atol=1e-3)


def test_a_microphone_hears_a_band_and_a_compressor_brings_soft_notes_up() -> None:
    noise = np.random.default_rng(0).standard_normal(2 * RATE)
    heard = recorded(0.1 * noise, example_low_hz=300.0, example_high_hz=3400.0)
    power = np.abs(np.fft.rfft(heard)) ** 2
    hz = np.fft.rfftfreq(len(heard), 1 / RATE)
    low, middle, high = (
        10 * np.log10(power[(hz > a) & (hz < b)].mean())
        for a, b in ((20, 80), (600, 2000), (9000, 16_000))
    )
    assert middle - low > 20
    assert middle - high > 15
    steps = np.concatenate([tone(440, 1.0), 0.03 * tone(440, 1.0)])
    squeezed = recorded(steps, example_ratio=6.0)
    loud, soft = squeezed[RATE // 2 : RATE], squeezed[-RATE // 2 :]
    assert np.abs(soft).max() / np.abs(loud).max() > 1.8 * 0.03


def test_an_example_out_of_tune_is_sharp_to_its_end() -> None:
    heard = recorded(tone(440, 2.0), example_cents=30.0)
    cents = 1200 * np.log2(estimate_hz(heard, 400, 500) / 440)
    assert cents == pytest.approx(30, abs=1)
    assert np.abs(heard[-200:]).max() > 0.5 * np.abs(heard).max()  # no silence was added


def test_a_room_leaves_the_noise_as_it_is() -> None:
    note = tone(440, 1.0)
    room = recorded(note, example_room=0.5)
    noisy = recorded(note, example_noise=20.0)
    both = recorded(note, example_room=0.5, example_noise=20.0)
    drawn = np.random.default_rng(0).standard_normal(len(note))
    for noise in (noisy - note, both - room):
        assert np.corrcoef(noise, drawn)[0, 1] > 0.999


def test_rows_are_given_the_example_with_its_faults_and_judged_by_the_clean_one(
    tmp_path: Path,
) -> None:
    levels = {"clean": {}, "as loud as its noise": {"example_noise": 0.0}}
    protocol = replace(read_protocol("recorded"), seconds=4.0, levels=levels)
    rows = {name: references()[name] for name in (EXAMPLE, FILTERED)}
    clean, filtered, noisy, filtered_by_noise = (
        record
        for make in draw_cases(protocol, [], 1)
        for record in judge(make, rows, tmp_path, set())
    )
    assert noisy.example == clean.example  # what likeness is judged by
    assert clean.scores["like_example"] > 0.9
    assert noisy.scores["like_example"] < 0.6
    assert filtered_by_noise.heard != filtered.heard


def test_notes_that_jitter_before_the_beginning_are_no_failure(tmp_path: Path) -> None:
    faults = read_protocol("midi-faults")
    level = {"jitter 100 ms": faults.levels["jitter 100 ms"]}
    job = Job(replace(faults, seconds=4.0, levels=level), limit=2)
    assert any(make().given.onset.min() < 0 for make in job.cases())
    assert not [r for r in evaluate(job, tmp_path / "report") if r.failure]


def test_registers_lie_as_far_apart_as_the_protocol_says() -> None:
    protocol = replace(
        read_protocol("range"),
        seconds=4.0,
        levels={"up": {"octave_gap": 1}, "same": {"octave_gap": 0}},
    )
    for case in (make() for make in draw_cases(protocol, [], limit=2)):
        example = np.median(hz_of(case.example))
        notes = np.median([pitch_hz(p) for p in case.notes.pitch])
        octaves = math.log2(notes / example)
        assert abs(octaves - (1 if case.level == "up" else 0)) < 1.2


@pytest.mark.parametrize("gap", [1, -1])
def test_source_and_example_play_in_registers_of_their_own(gap: int) -> None:
    protocol = replace(
        read_protocol("cross-register"),
        seconds=4.0,
        levels={"across": {"pool": "seen-seen", "register_gap": gap}},
    )
    for case in (make() for make in draw_cases(protocol, [], limit=3)):
        assert case.source is not None
        example, source = np.median(hz_of(case.example)), np.median(hz_of(case.source))
        notes = np.median([pitch_hz(p) for p in case.notes.pitch])
        assert gap * math.log2(notes / example) > 0.4  # scores wander around their centres
        assert abs(math.log2(notes / source)) < 1.2


def hz_of(audio: Audio) -> list[float]:
    """Frequencies of the lowest strong partial, frame by frame (rough)."""
    frames = audio.samples[0][: len(audio.samples[0]) // 8192 * 8192].reshape(-1, 8192)
    spectra = np.abs(np.fft.rfft(frames * np.hanning(8192), axis=1))
    strong = spectra > 0.3 * spectra.max(1, keepdims=True)
    return [float(row.argmax() * RATE / 8192) for row in strong if row.any()]


def test_sounds_that_are_not_there_are_asked_for_in_words() -> None:
    with pytest.raises(DataError, match="install more sound fonts"):
        draw_cases(replace(SMALL, levels={"x": {"pool": "unseen-seen"}}), [])[0]()
    assert len(pool("unseen-unseen", [])) > 10


def test_a_case_may_fix_how_it_is_sampled(tiny_model: Path) -> None:
    player = load(tiny_model, "cpu")
    asked: list[tuple[int, float | None]] = []
    original = player.render

    def watch(*args: Any, steps: int, **options: Any) -> Audio:
        asked.append((steps, options.get("guidance_timbre")))
        return original(*args, steps=steps, **options)

    player.render = watch  # type: ignore[method-assign]
    protocol = replace(read_protocol("speed"), seconds=4.0)
    first = next(iter(protocol.levels))
    case = draw_cases(replace(protocol, levels={first: protocol.levels[first]}), [], 1)[0]()
    play = list(model_rows(player, "notes", steps=3).values())[-1]
    assert play(case) is not None
    assert play(replace(case, sampling={"guidance_timbre": 2.5})) is not None
    assert asked == [(1, None), (3, 2.5)]
    levels = read_protocol("guidance")
    assert levels.setting("1 and 2").sampling == {"guidance_structure": 1.0, "guidance_timbre": 2.0}


def test_a_tempo_that_drifts_ends_slower_by_its_share() -> None:
    notes = Notes.from_rows([(k, k + 0.5, 60, 90) for k in range(100)])
    gaps = np.diff(slowed(notes, 0.1).onset)
    assert gaps[0] == pytest.approx(1, abs=0.01)
    assert gaps[-1] == pytest.approx(1.1, abs=0.01)


def test_the_ceiling_is_high_and_the_floors_are_low(report: Path) -> None:
    table = {row["system"]: row for row in json.loads((report / "report.json").read_text())["rows"]}
    truth, source, example = (table[name]["scores"] for name in (TRUTH, SOURCE, EXAMPLE))
    assert truth["note_f1"][0] > 0.5
    assert truth["log_mel_distance"][0] == pytest.approx(0, abs=1e-6)
    assert truth["like_truth"][0] == pytest.approx(1, abs=1e-5)
    assert source["nearer"][0] == 0
    assert source["note_f1"][0] > example["note_f1"][0]
    assert example["like_example"][0] > 0.9


def test_a_report_is_one_page_with_its_sounds_and_nothing_from_the_network(report: Path) -> None:
    page = (report / "index.html").read_text()
    assert page.count("src='data:audio/mpeg;base64,") >= 4
    assert "src='data:image/png;base64," in page
    assert "http://" not in page
    assert "https://" not in page
    assert (report / "scores.csv").read_text().count("\n") == 1 + len(read_records(report))
    assert "| ground truth |" in (report / "table.md").read_text()


def test_a_stopped_evaluation_goes_on_and_ends_the_same(
    tiny_model: Path, report: Path, tmp_path: Path
) -> None:
    job = Job(SMALL, model=str(tiny_model), sampling=(("steps", 1),), limit=2)
    records = report / "records.jsonl"
    lines = records.read_text().splitlines(keepends=True)
    folder = tmp_path / "half"
    (folder / "audio").mkdir(parents=True)
    (folder / "settings.json").write_text((report / "settings.json").read_text())
    (folder / "records.jsonl").write_text("".join(lines[:4]) + lines[4][:20] + "\n")
    again = evaluate(job, folder, workers=2)
    before = {(r.case, r.system): r.scores for r in read_records(report)}
    after = {(r.case, r.system): r.scores for r in again}
    assert set(before) == set(after)
    for key, scores in before.items():
        assert after[key] == pytest.approx(scores, abs=1e-4, nan_ok=True)


def test_another_question_in_the_same_folder_is_refused(tiny_model: Path, report: Path) -> None:
    with pytest.raises(InputError, match="other settings"):
        evaluate(Job(SMALL, model=str(tiny_model), sampling=(("steps", 2),), limit=2), report)
    with pytest.raises(InputError, match="something else"):
        evaluate(Job(SMALL, limit=1), report / "audio")


def test_two_evaluations_of_one_folder_at_once_are_refused(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(DataError, match="another process is writing"):
        evaluate(Job(SMALL, limit=1), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_whose_settings_a_kill_cut_short_is_claimed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            claim(tmp_path, {"limit": 1})
    assert not (tmp_path / "settings.json").exists()
    claim(tmp_path, {"limit": 1})
    assert json.loads((tmp_path / "settings.json").read_text())["limit"] == 1


def write_manifest(folder: Path) -> Path:
    notes = Notes.from_rows([(0.2, 0.9, 60, 90), (1.0, 1.8, 67, 90)])
    (folder / "out").mkdir()
    rows = []
    for number, name in enumerate(("good.wav", "missing.wav", "silent.flac")):
        notes.write(folder / f"{number}.mid")
        Audio(tone(330, 2.0)[None], RATE).write(folder / f"{number}-example.wav")
        rows.append({"output": name, "notes": f"{number}.mid", "example": f"{number}-example.wav"})
    sound = np.concatenate(
        [np.zeros(8820), tone(pitch_hz(60), 0.7), np.zeros(4410), tone(pitch_hz(67), 0.8)]
    )
    Audio(np.stack([sound, sound]).astype(np.float32), RATE).write(folder / "out" / "good.wav")
    Audio(np.zeros((1, 16_000), np.float32), 16_000).write(folder / "out" / "silent.flac")
    path = folder / "manifest.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_an_option_that_older_versions_did_not_have_and_nobody_asks_for_is_no_other_question(
    tmp_path: Path,
) -> None:
    older, newer = (("steps", None), ("temperature", 0.5)), (("texture", None),)
    claim(tmp_path, Job(None, sampling=older).settings())
    claim(tmp_path, Job(None, sampling=older + newer).settings())
    for other in ((*older, ("texture", 1.5)), older[:1] + newer):
        with pytest.raises(InputError, match="other settings"):
            claim(tmp_path, Job(None, sampling=other).settings())


def test_files_of_anybody_are_judged_and_missing_ones_count_as_failures(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path)
    folder = tmp_path / "report"
    evaluate(Job(manifest=str(manifest), outputs=(str(tmp_path / "out"),)), folder)
    write_report(folder)
    found = {r.case: r for r in read_records(folder) if r.system == "out"}
    assert found["good.wav"].scores["note_f1"] > 0.6
    assert math.isnan(found["good.wav"].scores["like_truth"])
    assert "missing.wav" in found["missing.wav"].failure
    assert found["missing.wav"].scores["note_f1"] == 0
    assert found["silent.flac"].scores["note_f1"] == 0
    assert found["silent.flac"].scores["silent_share"] == 1
    assert "missing.wav" in (folder / "index.html").read_text()
    assert all(record.seconds == 0 for record in found.values())  # reading is not making


def test_files_made_anew_are_not_taken_for_those_that_were_judged(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path)
    folder, outputs = tmp_path / "report", tmp_path / "out"
    job = Job(manifest=str(manifest), outputs=(str(outputs),))
    claim(folder, job.settings())
    claim(folder, job.settings())
    Audio(tone(440, 2.0)[None], RATE).write(outputs / "good.wav")
    with pytest.raises(InputError, match="other settings"):
        claim(folder, job.settings())


@pytest.mark.parametrize("changed", ["manifest.jsonl", "0.mid", "0-example.wav", "out/deep/a.wav"])
def test_the_same_files_are_the_same_question_wherever_they_lie_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    manifest = write_manifest(tmp_path)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows[0]["output"] = "deep/a.wav"
    manifest.write_text("\n".join(json.dumps(row) for row in rows))
    (tmp_path / "out" / "deep").mkdir()
    (tmp_path / "out" / "good.wav").rename(tmp_path / "out" / "deep" / "a.wav")
    before = Job(manifest=str(manifest), outputs=(str(tmp_path / "out"),)).settings()
    monkeypatch.chdir(tmp_path)
    near = Job(manifest="manifest.jsonl", outputs=("out",))
    (tmp_path / "out" / "unasked.wav").write_bytes(b"")
    assert near.settings() == before
    with open(tmp_path / changed, "ab") as file:
        file.write(b"\n")
    assert near.settings() != before


def test_a_store_that_was_added_to_is_another_question(small_store: Store, tmp_path: Path) -> None:
    lines = (small_store.path / "manifest.jsonl").read_text().splitlines(keepends=True)
    reports = []
    for name, kept in (("a", lines), ("copy", lines), ("b", lines[:9])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.jsonl").write_text("".join(kept))
        reports.append(write_scores(tmp_path / f"of-{name}", Job(store=str(tmp_path / name))))
    comparison(reports[:2])
    with pytest.raises(InputError, match="differ in store; "):
        comparison(reports[1:])


def test_a_model_that_samples_otherwise_is_another_model(tiny_model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_model, copy)
    before = weights_id(str(copy))
    assert before == weights_id(str(tiny_model))
    config = json.loads((copy / "config.json").read_text())
    config["about"]["sampling"] = {"temperature": 0.5}
    (copy / "config.json").write_text(json.dumps(config))
    assert weights_id(str(copy)) != before


def odd_outputs() -> dict[str, Audio]:
    note = 0.3 * tone(440.0, 2.0)
    nan = note.copy()
    nan[100] = np.nan
    return {
        "a sample": Audio(note[None, :1], RATE),
        "twice as long, 8 kHz": Audio(np.tile(note[::5], 2)[None], 8_820),
        "six channels, 96 kHz": Audio(np.stack([note] * 6), 96_000),
        "silence": Audio(np.zeros((1, 2 * RATE), np.float32), RATE),
        "constant": Audio(np.full((1, 2 * RATE), 0.5, np.float32), RATE),
        "no samples": Audio(np.zeros((1, 0), np.float32), RATE),
        "not numbers": Audio(nan[None], RATE),
    }


def test_any_output_is_judged_or_named_as_a_failure_and_a_crash_ends_nothing(
    tmp_path: Path,
) -> None:
    note = Audio(0.3 * tone(440.0, 2.0)[None], RATE)
    notes = Notes.from_rows([(0.1, 1.9, 69, 90)])
    case = Case("odd", "level", notes, notes, note, note, note)

    def crash(case: Case) -> Audio:
        raise IndexError("list index out of range")

    systems: dict[str, Any] = {
        name: (lambda _, sound=sound: sound) for name, sound in odd_outputs().items()
    }
    found = {r.system: r for r in judge(lambda: case, systems | {"crash": crash}, tmp_path, set())}
    assert set(found) == {*systems, "crash"}
    assert "IndexError: list index out of range" in found["crash"].failure
    assert "not numbers" in found["not numbers"].failure
    assert "empty" in found["no samples"].failure
    judged = [r for r in found.values() if not r.failure]
    assert len(judged) == len(systems) - 2
    for record in judged:
        missing = {k for k, v in record.scores.items() if not math.isfinite(v)}
        assert missing <= set(WHY), record.system
        json.loads(record.to_json())
    assert found["crash"].scores["note_f1"] == 0
    assert {r.example for r in found.values()} == {judged[0].example}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_ends_the_run_and_is_no_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    manifest = write_manifest(tmp_path)
    job = Job(manifest=str(manifest), outputs=(str(tmp_path / "out"),))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("timbrel.evaluation.run.score", full)
        with pytest.raises(TimbrelError, match=r"stopped: .*No space left.*run again to go on"):
            evaluate(job, tmp_path / "report", workers)
    found = {r.case: r for r in evaluate(job, tmp_path / "report") if r.system == "out"}
    assert found["good.wav"].scores["note_f1"] > 0.6


def test_records_are_read_whatever_a_case_is_called_and_damaged_lines_are_left_out(
    tmp_path: Path,
) -> None:
    names = ("next\x85line", "line\u2028separator", "flöte")
    lines = [Record(name, "", "s", {}, "", 1.0, 1.0, {}).to_json().encode() for name in names]
    damaged = [b"[]", b'{"scores": []}', b"null", lines[2].replace(b"\xc3", b"\xff")]
    path = tmp_path / "records.jsonl"
    path.write_bytes(b"\n".join([*damaged, *lines]))
    with open(path, "a+") as file:
        begin_line(file)
        file.write(lines[0].decode() + "\n")
    assert [r.case for r in read_records(tmp_path)] == [*names, names[0]]
    manifest = write_manifest(tmp_path)
    row = json.loads(manifest.read_text().splitlines()[0]) | {"case": names[0]}
    manifest.write_text(json.dumps(row, ensure_ascii=False))
    (case,) = Job(manifest=str(manifest)).cases()
    assert case().name == names[0]


def band_case(seconds: float, **parts: Any) -> Case:
    """A note and a drum, with beats."""
    rows = [(0.1, 0.9, 69, 90, 0), (0.2, 0.3, 36, 90, 1)]
    notes = Notes.from_rows(rows, (Track(), Track(drums=True)))
    sound = Audio(0.3 * tone(440.0, seconds)[None], RATE)
    given = {"notes": notes, "given": notes, "source": None, "truth": sound} | parts
    rest = {"name": "c", "level": "level", "example": sound, "beats": np.arange(0, seconds, 0.5)}
    return Case(**rest | given)


@pytest.mark.parametrize("seconds", [4.0, 11.0])
@pytest.mark.parametrize("whole", [True, False])
def test_an_output_that_fails_loses_what_others_can_have_and_nothing_else(
    tmp_path: Path, seconds: float, whole: bool
) -> None:
    case = band_case(seconds)
    if whole:
        case = replace(case, given=case.notes.shift(0.2), source=case.truth)
    assert case.truth is not None
    scores, _ = score(case.truth, case, listen_to(case, Memory(tmp_path)))
    lost = {name for name, value in failed(case).items() if value == 0}
    assert lost == {name for name in LOST if math.isfinite(getattr(scores, name))}
    assert ("nearer" in lost, "given_f1" in lost) == (whole, whole)
    assert ("beat_f1" in lost, "drum_onset_f1" in lost) == (seconds > 10, seconds > 10)


def test_an_output_that_is_cut_short_is_judged_as_what_it_lacks(tmp_path: Path) -> None:
    case = band_case(21.0, source=Audio(0.3 * tone(660.0, 21.0)[None], RATE))
    ears = listen_to(case, Memory(tmp_path))
    short, _ = score(Audio(0.3 * tone(440.0, 4.0)[None], RATE), case, ears)
    assert short.beat_f1 == short.beats_any_level == short.drum_onset_f1 == 0
    assert math.isfinite(short.note_drift)
    assert math.isnan(short.timbre_drift)
    assert short.nearer == 1  # what there is of it


@pytest.mark.parametrize("sourced", [True, False])
def test_silence_is_like_nothing(tmp_path: Path, sourced: bool) -> None:
    case = band_case(21.0, source=Audio(0.3 * tone(660.0, 21.0)[None], RATE) if sourced else None)
    silence = Audio(np.zeros((1, 21 * RATE), np.float32), RATE)
    scores, _ = score(silence, case, listen_to(case, Memory(tmp_path)))
    assert all(math.isnan(getattr(scores, name)) for name in set(LIKENESSES) - set(NEARER))
    lost = {name: value for name, value in failed(case).items() if name in NEARER}
    assert {name: getattr(scores, name) for name in NEARER} == pytest.approx(lost, nan_ok=True)


def test_drums_alone_are_the_notes_given_too(tmp_path: Path) -> None:
    drums = Notes.from_rows([(0.2, 0.3, 36, 90)], (Track(drums=True),))
    case = band_case(4.0, notes=drums, given=drums.shift(0.2))
    silence = Audio(np.zeros((1, 4 * RATE), np.float32), RATE)
    scores, _ = score(silence, case, listen_to(case, Memory(tmp_path)))
    assert scores.note_f1 == scores.given_f1 == 0


def test_a_manifest_that_names_no_file_is_refused_before_any_work(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"output": "a.wav", "notes": "a.mid", "example": "e.wav"}')
    with pytest.raises(InputError, match=r"case 'a\.wav': there is no .*a\.mid"):
        evaluate(Job(manifest=str(path), outputs=(str(tmp_path),)), tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_cases_written_as_files_are_the_cases_and_any_system_can_answer(tmp_path: Path) -> None:
    faults = replace(
        read_protocol("midi-faults"), seconds=4.0, levels={"40 % dropped": {"drop": 0.4}}
    )
    (case,) = (make() for make in draw_cases(faults, [], 1))
    manifest = write_cases([lambda: case], tmp_path / "cases")
    (read,) = (make() for make in Job(manifest=str(manifest)).cases())
    assert (read.name, read.level) == (case.name, case.level)
    assert np.allclose(read.notes.onset, case.notes.onset, atol=1e-3)
    assert len(read.given) == len(case.given) < len(case.notes)
    assert read.truth is not None
    assert case.truth is not None
    assert np.allclose(read.truth.samples, case.truth.samples, atol=1e-4)
    with pytest.raises(InputError, match="holds something"):
        write_cases([lambda: case], tmp_path / "cases")


def test_answers_in_files_are_judged_by_the_clean_example_as_a_models_are(tmp_path: Path) -> None:
    levels = {"as loud as its noise": {"example_noise": 0.0}}
    protocol = replace(read_protocol("recorded"), seconds=4.0, levels=levels)
    (case,) = (make() for make in draw_cases(protocol, [], 1))
    manifest = write_cases([lambda: case], tmp_path / "cases")
    (read,) = (make() for make in Job(manifest=str(manifest)).cases())
    assert np.allclose(read.example.samples, case.example.samples, atol=1e-4)
    assert np.allclose(read.example_heard.samples, case.example_heard.samples, atol=1e-4)
    assert not np.allclose(read.example.samples, read.example_heard.samples, atol=1e-3)
    asked = [Record("c", "", "s", {}, "", 1.0, 1.0, c.facts) for c in (case, read)]
    assert asked[0].sounds == asked[1].sounds == (case.facts["target"], case.facts["source"])


def test_a_comparison_has_the_same_intervals_whichever_report_knows_the_sounds(
    tmp_path: Path,
) -> None:
    knows, files = (tmp_path / name for name in ("knows", "files"))
    for folder, gain in ((knows, 0.0), (files, 0.1)):
        folder.mkdir()
        facts = [{"target": f"t{k % 3}"} if folder is knows else {} for k in range(12)]
        lines = [
            Record(f"c{k}", "", "ours", {"note_f1": gain + 0.01 * k}, "", 1.0, 1.0, facts[k])
            for k in range(12)
        ]
        (folder / "records.jsonl").write_text("".join(r.to_json() + "\n" for r in lines))
    for order in ((knows, files), (files, knows)):
        (verdict,) = comparison(order).verdicts
        assert not verdict.better + verdict.worse  # twelve cases of three sounds prove nothing


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("not json", "line 1 is not JSON"),
        ('{"output": "a"}', "must name"),
        ("", "lists no case"),
        ('{"output": 3, "notes": "a", "example": "b"}', "output is 3"),
        ('{"output": "a", "notes": "a", "example": "b", "beats": [-1]}', "list of seconds"),
    ],
)
def test_wrong_manifests_are_named(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(line)
    with pytest.raises(InputError, match=words):
        Job(manifest=str(path), outputs=(str(tmp_path),)).cases()
    path.write_text(line, encoding="utf-8-sig")  # as some editors save it
    with pytest.raises(InputError, match=words):
        Job(manifest=str(path), outputs=(str(tmp_path),)).cases()
    path.write_bytes("fl\u00f6te.wav".encode("latin-1"))
    with pytest.raises(InputError, match="is not UTF-8"):
        Job(manifest=str(path), outputs=(str(tmp_path),)).cases()


def test_cases_come_from_a_store_too(small_store: Store, tmp_path: Path) -> None:
    job = Job(store=str(small_store.path), limit=2)
    records = evaluate(job, tmp_path / "report")
    truth = [r for r in records if r.system == TRUTH]
    assert len(truth) == 2
    assert np.mean([r.scores["note_f1"] for r in truth]) > 0.3


def test_cases_are_asked_of_no_item_of_a_store_that_is_for_training(tmp_path: Path) -> None:
    items = (replace(ITEM, identity=f"{s}", split=s) for s in ("train", "train", "test", "test"))
    store = store_of(tmp_path / "store", *items)
    asked = [make() for make in Job(store=str(store.path)).cases()]
    assert [case.facts["target"] for case in asked] == ["test", "test"]


def test_a_failed_output_is_not_identified_and_does_not_shrink_the_search(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = [f"h{k}" for k in range(4)]
    heard = {name: hearing(rng) for name in names}
    records = [
        Record(f"c{k}", "", "model", {}, "", 1.0, 1.0, {}, name, name)
        for k, name in enumerate(names)
    ]
    assert identified(records, heard) == 1
    records[1] = replace(records[1], heard="h0")  # another's
    assert identified(records, heard) == 0.75

    def crash(case: Case) -> Audio:
        raise InputError("nothing")

    def fail(record: Record) -> Record:
        ears = Ears(Memory(tmp_path), record.example, heard[record.example].timbre, None, None)
        made = judge_one("model", crash, replace(band_case(4.0), name=record.case), ears, tmp_path)
        assert made is not None
        return made

    # another's, but of the same sound: two cases may ask for one
    assert chance(records) == 0.25
    kin = [replace(r, facts={"target": sound}) for r, sound in zip(records, "aabc", strict=True)]
    assert identified(kin, heard) == 1
    assert chance(kin) == (2 + 2 + 1 + 1) / 16
    assert identified([fail(records[0]), *records[1:]], heard) == 0.5
    assert identified([fail(record) for record in records], heard) == 0


def hearing(rng: np.random.Generator) -> Hearing:
    patches, judged = (rng.standard_normal((2, n)).astype(np.float32) for n in (200, 64))
    nothing = np.zeros(0)
    return Hearing(Notes.empty(), Heard(patches, judged), np.zeros((12, 0)), nothing, nothing)


def test_pieces_found_and_distances_of_songs_are_drawn_by_the_sounds_that_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[list[float], list[object]]] = []

    def watch(values: list[float], groups: Any = None) -> Interval:
        drawn.append((list(values), list(groups)))
        return NOTHING

    monkeypatch.setattr("timbrel.evaluation.tables.mean_interval", watch)
    rng = np.random.default_rng(0)
    memory = Memory(tmp_path / "heard")
    records = []
    for k in range(5):
        whole = replace(hearing(rng), chroma=rng.random((12, 9)).astype(np.float32))
        memory._keep(f"h{k}", whole)
        for system in (TRUTH, SOURCE, "model"):
            failed = system == "model" and k == 1
            scores = dict.fromkeys(SCORE_NAMES, math.nan) | {"note_f1": 0.5, "beat_f1": 0.5}
            heard = "" if failed else f"h{k}"
            facts = {"target": f"t{k % 2}"}
            records.append(
                Record(f"c{k}", "", system, scores, "x" * failed, 1.0, 1.0, facts, heard)
            )
    rows(records, tmp_path)
    asked = [(f"t{k % 2}",) for k in range(5)]
    found, songs = drawn[-2:]  # of the model
    assert found == ([1, 0, 1, 1, 1], asked)
    assert [math.isfinite(value) for value in songs[0]] == [True, False, True, True, True]
    assert songs[1] == asked


def test_levels_are_drawn_by_what_they_vary() -> None:
    panels = level_panels(read_protocol("midi-faults").levels)
    assert (
        True,
        ["clean", "jitter 10 ms", "jitter 20 ms", "jitter 40 ms", "jitter 100 ms"],
    ) in panels
    assert panels[-1][0] is False
    assert panels[-1][1][0] == "clean"
    assert level_panels(read_protocol("speed").levels)[0][1][0] == "1 step"
    assert level_panels(read_protocol("unseen").levels)[0][0] is False
    one_by_one = read_protocol("recorded").levels
    assert level_panels(one_by_one) == [(False, list(one_by_one))]
    drawn = {name for _, names in panels for name in names}
    assert drawn == set(read_protocol("midi-faults").levels)


def test_a_report_compared_with_itself_shows_no_difference(report: Path, tmp_path: Path) -> None:
    found = comparison([report, report])
    assert "+0.000 (+0.000 to +0.000)" in found.table
    assert "**" not in found.table
    assert "in nothing by more than chance" in str(found)
    with pytest.raises(InputError, match="holds no report"):
        comparison([report, tmp_path])
    with pytest.raises(InputError, match="two or more"):
        comparison([report])


def test_systems_of_one_report_are_compared_with_each_other(tmp_path: Path) -> None:
    lines = []
    for system, shift in (("ours", 0.0), ("theirs", 0.1)):
        for k in range(12):
            scores = {
                "note_f1": 0.05 * k + shift + 0.001 * (k % 3),
                "octave_errors": 0.02 * k + shift,  # of these, less is better
                "like_example": 0.5 + 0.01 * shift * (-1) ** k,
            }
            record = Record(f"c{k}", "level", system, scores, "", 1.0, 1.0, {})
            lines.append(record.to_json() + "\n")
    (tmp_path / "records.jsonl").write_text("".join(lines))
    found = comparison([tmp_path])
    assert f"| {tmp_path}: theirs - {tmp_path}: ours | **+0.100**" in found.table
    assert "beat F1" not in found.table  # what nobody has is no column
    assert found.verdicts[0].better == ("note F1",)
    assert found.verdicts[0].worse == ("octave errors",)
    assert f"{tmp_path}: theirs is better in note F1 and worse in octave errors than" in str(found)


def write_scores(folder: Path, job: Job) -> Path:
    """What an evaluation of a dozen cases may leave."""
    claim(folder, job.settings())
    scores = {"note_f1": 0.5, "like_example": 0.5}
    records = [Record(f"c{k}", "level", "ours", scores, "", 1.0, 1.0, {}) for k in range(12)]
    (folder / "records.jsonl").write_text("".join(r.to_json() + "\n" for r in records))
    return folder


@pytest.mark.parametrize(
    ("job", "other", "words"),
    [
        (Job(SMALL, ("a.sf2",)), Job(SMALL, ("b.sf2", "a.sf2")), "differ in fonts; "),
        (Job(SMALL), Job(replace(SMALL, seed=1, seconds=5.0)), "differ in seed, seconds; "),
        (Job(SMALL), Job(replace(SMALL, name="mine")), "differ in protocol; "),
        (
            Job(SMALL),
            Job(replace(SMALL, levels={"seen timbres": {"voices": 3}})),
            "differ in level 'seen timbres'; ",
        ),
        (Job(SMALL), Job(replace(SMALL, base=Setting(voices=3))), "differ in voices; "),
    ],
)
def test_reports_of_other_cases_are_not_compared(
    tmp_path: Path, job: Job, other: Job, words: str
) -> None:
    first, second = (write_scores(tmp_path / f"{k}", j) for k, j in enumerate((job, other)))
    with pytest.raises(InputError, match=words):
        comparison([first, first, second])


def test_reports_by_other_judges_are_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = write_scores(tmp_path / "now", Job(SMALL))
    old = write_scores(tmp_path / "old", Job(SMALL))
    settings = json.loads((old / "settings.json").read_text())
    del settings["judges"]  # as before they were written down
    (old / "settings.json").write_text(json.dumps(settings))
    monkeypatch.setitem(SHA256, "musicnn.npz", "another")
    other = write_scores(tmp_path / "other", Job(SMALL))
    for one in (old, other):
        with pytest.raises(InputError, match="differ in the judges; "):
            comparison([now, one])
    with pytest.raises(InputError, match="other settings"):
        claim(now, Job(SMALL).settings())  # half by one, half by another


def test_reports_of_the_same_cases_are_compared_whoever_answers_and_however_many(
    tmp_path: Path,
) -> None:
    manifest = write_manifest(tmp_path)
    more = {**SMALL.levels, "another": {"voices": 3}}
    jobs = [
        Job(SMALL, ("a.sf2",), limit=2),
        Job(replace(SMALL, cases=99, levels=more), ("b/a.sf2",), model=None),
        Job(manifest=str(manifest), outputs=(str(tmp_path / "out"),)),  # its cases, as files
    ]
    reports = [write_scores(tmp_path / f"{k}", job) for k, job in enumerate(jobs)]
    (tmp_path / "unknown").mkdir()
    shutil.copy(reports[0] / "records.jsonl", tmp_path / "unknown")
    assert len(comparison([*reports, tmp_path / "unknown"]).verdicts) == 3
    manifest.write_text(manifest.read_text() + "\n")
    other = write_scores(tmp_path / "other", jobs[2])
    with pytest.raises(InputError, match="differ in manifest; "):
        comparison([reports[2], other])


def test_one_of_many_differences_may_be_chance() -> None:
    assert beyond_chance({"a": 0.04}) == {"a"}
    assert beyond_chance({"a": 0.04, "b": 0.9}) == set()
    assert beyond_chance({"a": 0.02, "b": 0.04, "c": math.nan}) == {"a", "b"}
    assert beyond_chance({}) == set()


def test_folders_of_one_name_would_be_one_row_and_are_refused(tmp_path: Path) -> None:
    for name in ("a/out", "b/out"):
        (tmp_path / name).mkdir(parents=True)
    job = Job(SMALL, outputs=(str(tmp_path / "a/out"), str(tmp_path / "b/out")), limit=1)
    with pytest.raises(InputError, match="called 'out'"):
        evaluate(job, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_rows_and_cases_that_would_share_files_are_refused(tmp_path: Path) -> None:
    for name in ("a b", "a_b", "example", "ground_truth"):
        (tmp_path / name).mkdir()

    def job(*folders: str) -> Job:
        return Job(SMALL, outputs=tuple(str(tmp_path / name) for name in folders), limit=1)

    with pytest.raises(InputError, match="rows 'a b' and 'a_b' would share their files"):
        job("a b", "a_b").check()
    with pytest.raises(InputError, match="rows 'ground truth' and 'ground_truth'"):
        job("ground_truth").check()
    with pytest.raises(InputError, match="is called 'example'"):
        job("example").check()
    with pytest.raises(InputError, match="cases 'x y-000' and 'x_y-000'"):
        Job(replace(SMALL, levels={"x y": {}, "x_y": {}})).check()
    for name in protocol_names():
        Job(read_protocol(name)).check()
    manifest = write_manifest(tmp_path)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()[:2]]
    rows = [row | {"case": name} for row, name in zip(rows, ("c 1", "c_1"), strict=True)]
    manifest.write_text("\n".join(json.dumps(row) for row in rows))
    with pytest.raises(InputError, match="cases 'c 1' and 'c_1'"):
        Job(manifest=str(manifest)).check()
    with pytest.raises(InputError, match="cases 'c 1' and 'c_1'"):
        write_cases([lambda k=k: band_case(2.0, name=k) for k in ("c 1", "c_1")], tmp_path / "w")


def test_a_model_is_given_what_it_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = SimpleNamespace(
        reads_notes=False, listener=None, about={"name": "m"}, sampling=lambda **_: None
    )
    monkeypatch.setattr(Job, "player", lambda *_: reads)
    manifest = str(write_manifest(tmp_path))
    assert "m, from audio" in Job(manifest=manifest, model="m", structure="").systems()
    with pytest.raises(InputError, match="the model m reads audio alone"):
        Job(SMALL, model="m").check()
    with pytest.raises(InputError, match="names no source, which the model m has to hear"):
        Job(manifest=manifest, model="m", structure="").check()
    reads.reads_notes = True
    (tmp_path / "m, from notes").mkdir()
    with pytest.raises(InputError, match="is called 'm, from notes', as another row"):
        Job(SMALL, outputs=(str(tmp_path / "m, from notes"),), model="m").check()
    assert "m, from notes" in Job(manifest=manifest, model="m", structure="").systems()
    with pytest.raises(InputError, match="the model m reads notes alone"):
        Job(SMALL, model="m", structure="audio").check()
    Job(SMALL, model="m").check()


def test_sampling_that_a_model_cannot_do_is_refused_before_any_work(
    tiny_model: Path, tmp_path: Path
) -> None:
    job = Job(SMALL, model=str(tiny_model), sampling=(("steps", 0),), limit=1)
    with pytest.raises(InputError, match="steps is 0"):
        evaluate(job, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_a_record_after_one_that_a_kill_cut_short_is_not_lost(
    report: Path, tiny_model: Path, tmp_path: Path
) -> None:
    shutil.copytree(report, tmp_path / "report")
    path = tmp_path / "report" / "records.jsonl"
    whole = read_records(report)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:2]) + "\n" + lines[2][:40])
    with open(path, "a+") as file:
        begin_line(file)
        file.write(lines[3] + "\n")
    assert [r.system for r in read_records(tmp_path / "report")] == [
        whole[k].system for k in (0, 1, 3)
    ]
    before = path.read_text()
    with open(path, "a+") as file:
        begin_line(file)  # nothing was cut short this time
    assert path.read_text() == before


def test_damaged_files_of_a_report_are_made_anew_or_named(report: Path, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    shutil.copytree(report, folder)
    whole = write_report(folder)
    (folder / "report.json").write_text('{"settings": ')
    with pytest.raises(InputError, match=r"report\.json is missing or damaged"):
        read_json(folder / "report.json")
    (folder / "report.json").write_text('{"rows": [3]}')
    with pytest.raises(InputError, match=r"report\.json is no report"):
        read_json(folder / "report.json")
    assert len(write_report(folder)) == len(whole)
    for text in ("[]", '{"judges'):
        (folder / "settings.json").write_text(text)
        for use in (write_report, lambda folder: comparison([folder, report])):
            with pytest.raises(InputError, match=r"settings\.json is .*damaged"):
                use(folder)


def test_what_was_heard_is_heard_again_if_its_file_is_damaged(tmp_path: Path) -> None:
    memory, sound = Memory(tmp_path), Audio(0.3 * tone(440.0, 1.0)[None], RATE)
    name, heard = memory.listen(sound)
    path = tmp_path / f"{name}.npz"
    whole = path.read_bytes()
    for kept in (0, 3, len(whole) // 2):
        path.write_bytes(whole[:kept])
        assert memory.recall(name) is None
        assert len(memory.listen(sound)[1].notes) == len(heard.notes)
    path.write_bytes(whole.replace(whole[300:340], bytes(40)))
    assert len(memory.listen(sound)[1].notes) == len(heard.notes)


def test_a_studys_judgements_make_a_report(report: Path, tmp_path: Path) -> None:
    folder = tmp_path / "judged"
    shutil.copytree(report, folder)
    (folder / "settings.json").write_text('{"protocol": "midi-to-audio", "cases": 2}')
    write_report(folder)
    assert "Timbrel evaluation: midi-to-audio" in (folder / "index.html").read_text()


def test_a_report_written_again_keeps_its_embedding(
    report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(report, tmp_path / "report")
    asked = []
    monkeypatch.setattr(
        "timbrel.evaluation.report.rows",
        lambda records, folder, embedding: asked.append(embedding) or [],
    )
    monkeypatch.setattr("timbrel.evaluation.report.page", lambda *_: "")
    for embedding in (None, "clap:x", None):
        write_report(tmp_path / "report", embedding)
    assert asked == ["musicnn", "clap:x", "clap:x"]
