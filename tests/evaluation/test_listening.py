"""The listening test, by its protocol and in a real browser."""

import json
import math
import queue
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from timbrel.errors import InputError
from timbrel.evaluation.listening import (
    ANSWERS,
    PAGE,
    QUESTIONS,
    ListeningTest,
    ratings,
    serve,
)
from timbrel.evaluation.report import write_report
from timbrel.evaluation.run import audio_path
from timbrel.evaluation.systems import FILTERED, SOURCE, TRUTH

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture
def rated(report: Path, tmp_path: Path) -> Path:
    """A copy of the report, for answers: other tests count them, in any order."""
    return shutil.copytree(report, tmp_path / "rated")


@pytest.fixture
def server(rated: Path) -> Iterator[tuple[ThreadingHTTPServer, ListeningTest]]:
    test = ListeningTest(rated)
    server = serve(test)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server, test
    server.shutdown()
    server.server_close()


def get(server: ThreadingHTTPServer, path: str, body: Any = None) -> tuple[int, bytes]:
    data = None if body is None else json.dumps(body).encode()
    address = f"http://127.0.0.1:{server.server_port}{path}"
    try:
        with urllib.request.urlopen(urllib.request.Request(address, data)) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_trials_are_blind_and_every_sound_is_there(
    server: tuple[ThreadingHTTPServer, ListeningTest],
) -> None:
    running, _ = server
    status, body = get(running, "/trials?listener=ann")
    assert status == 200
    for name in (TRUTH, SOURCE, FILTERED, "random"):
        assert name.encode() not in body
    for trial in json.loads(body)["trials"]:
        assert len(trial["stimuli"]) == 3
        for token in (trial["example"], trial["reference"], *trial["stimuli"]):
            assert get(running, f"/sound/{token}")[1][:4] == b"fLaC"
    assert get(running, "/sound/../settings.json")[0] == 404
    assert b"<form" in get(running, "/")[1]


def test_every_listener_hears_versions_in_an_order_of_their_own(report: Path) -> None:
    test = ListeningTest(report)
    drawn = [[tuple(t["stimuli"]) for t in test.public(f"é{k}")["trials"]] for k in range(20)]
    for trial, orders in zip(test.trials, zip(*drawn, strict=True), strict=True):
        assert len(set(orders)) > 1
        assert all(set(order) == set(trial.stimuli) for order in orders)
    assert test.public("é7") == test.public("é7")
    others = ListeningTest(report)  # draws anew which version stands where
    assert others.public("é7") != test.public("é7")


def test_who_comes_back_is_not_asked_again_and_answers_once(
    server: tuple[ThreadingHTTPServer, ListeningTest], tmp_path: Path
) -> None:
    running, test = server
    test.folder = tmp_path
    name = "Ann & Børge " + "x" * 90

    def asked(listener: str) -> list[Any]:
        query = urllib.parse.urlencode({"listener": listener})
        trials: list[Any] = json.loads(get(running, f"/trials?{query}")[1])["trials"]
        return trials

    before = asked(name)
    assert [t["answered"] for t in before] == [False, False]
    answer = {"listener": name, "trial": 1}
    for mark, stored in ((50, True), (60, False)):
        given = dict.fromkeys(before[1]["stimuli"], mark)
        status, body = get(
            running, "/answers", answer | {"ratings": dict.fromkeys(QUESTIONS, given)}
        )
        assert (status, json.loads(body)) == (200, {"stored": stored})
    assert asked(name) == [before[0], before[1] | {"answered": True}]
    assert not any(t["answered"] for t in asked("Bea"))
    (mine,) = [json.loads(line) for line in (tmp_path / ANSWERS).read_text().splitlines()]
    assert (mine["listener"], mine["case"]) == (name[:80], test.trials[1].case)
    assert set(mine["ratings"]["notes"].values()) == {50}


def test_an_answer_that_is_sent_many_times_at_once_is_stored_once(
    report: Path, tmp_path: Path
) -> None:
    test = ListeningTest(report)
    test.folder = tmp_path
    ratings = dict.fromkeys(QUESTIONS, dict.fromkeys(test.trials[0].stimuli, 50))
    answer = {"listener": "hasty", "trial": 0, "ratings": ratings}
    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(test.answer, [answer] * 40))
    assert sum(stored) == 1
    assert len((tmp_path / ANSWERS).read_text().splitlines()) == 1


def test_a_sound_is_sent_in_parts_so_that_a_browser_can_seek(
    server: tuple[ThreadingHTTPServer, ListeningTest],
) -> None:
    running, test = server
    token, path = next(iter(test.sounds.items()))
    whole = path.read_bytes()
    address = f"http://127.0.0.1:{running.server_port}/sound/{token}"
    end = len(whole) - 1
    for asked, first, last in (("0-1", 0, 1), ("7-", 7, end), (f"100-{end + 9}", 100, end)):
        request = urllib.request.Request(address, headers={"Range": f"bytes={asked}"})
        with urllib.request.urlopen(request) as reply:
            assert reply.status == 206
            assert reply.headers["Content-Range"] == f"bytes {first}-{last}/{len(whole)}"
            assert reply.read() == whole[first : last + 1]
    for odd in ("bytes=-5", "bytes=9-3", f"bytes={end + 1}-", "words=0-1"):
        with urllib.request.urlopen(
            urllib.request.Request(address, headers={"Range": odd})
        ) as reply:
            assert (reply.status, reply.read()) == (200, whole)


def test_no_request_ends_in_a_traceback(
    server: tuple[ThreadingHTTPServer, ListeningTest],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    running, test = server
    test.sounds["long"] = tmp_path / "long.flac"
    test.sounds["long"].write_bytes(bytes(8_000_000))
    deep = b"[" * 90_000
    for request in (
        b"GET /sound/long HTTP/1.1\r\n\r\n",  # and the page is left before all is sent
        b"POST /answers HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"POST /answers HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(deep), deep),
    ):
        with socket.create_connection(("127.0.0.1", running.server_port)) as connection:
            connection.sendall(request)
            assert connection.recv(8) == b"HTTP/1.0"
            time.sleep(0.1)
    time.sleep(0.2)
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk that is always full")
def test_an_answer_that_cannot_be_stored_is_said_to_the_listener(
    server: tuple[ThreadingHTTPServer, ListeningTest], tmp_path: Path
) -> None:
    running, test = server
    test.folder = tmp_path
    (tmp_path / ANSWERS).symlink_to("/dev/full")
    ratings = dict.fromkeys(QUESTIONS, dict.fromkeys(test.trials[0].stimuli, 50))
    answer = {"listener": "ann", "trial": 0, "ratings": ratings}
    status, body = get(running, "/answers", answer)
    assert status == 500
    assert b"cannot be stored (No space left on device)" in body
    (tmp_path / ANSWERS).unlink()
    assert json.loads(get(running, "/answers", answer)[1]) == {"stored": True}


def test_cases_whose_sounds_are_gone_are_not_asked(report: Path, tmp_path: Path) -> None:
    copy = tmp_path / "report"
    shutil.copytree(report, copy)
    cases = [trial.case for trial in ListeningTest(copy).trials]
    audio_path(copy, cases[0], "example").unlink()
    assert [trial.case for trial in ListeningTest(copy).trials] == cases[1:]
    shutil.rmtree(copy / "audio")
    with pytest.raises(InputError, match="no report with sounds"):
        ListeningTest(copy)


def test_answers_are_stored_by_system_and_join_the_report(
    server: tuple[ThreadingHTTPServer, ListeningTest], rated: Path
) -> None:
    running, test = server
    marks = {TRUTH: 90, FILTERED: 20, "random, from notes": 10}
    for index, trial in enumerate(test.trials):
        given = {token: marks[system] for token, system in trial.stimuli.items()}
        answer = {"listener": "ann", "trial": index, "ratings": dict.fromkeys(QUESTIONS, given)}
        assert get(running, "/answers", answer)[0] == 200
    assert get(running, "/answers", answer | {"trial": -1})[0] == 400  # though it fits the last
    assert ratings(rated)["timbre"][TRUTH][0] == 90
    assert ratings(rated)["notes"][FILTERED][0] == 20
    write_report(rated)
    assert "Listeners" in (rated / "index.html").read_text()


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        {"listener": "x", "trial": 99, "ratings": {}},
        {"listener": "x", "trial": math.inf, "ratings": {}},  # as 1e999 is read
        {"listener": "x", "trial": 0, "ratings": {"timbre": {}, "notes": {}}},
        {"listener": "x", "trial": 0, "ratings": {"timbre": {"zz": 5}, "notes": {}}},
    ],
)
def test_answers_that_make_no_sense_are_refused(
    server: tuple[ThreadingHTTPServer, ListeningTest], report: Path, answer: Any
) -> None:
    path = report / ANSWERS
    path.touch()
    before = path.read_bytes()
    assert get(server[0], "/answers", answer)[0] == 400
    assert path.read_bytes() == before


def test_ratings_of_one_listener_are_no_more_than_one_opinion(tmp_path: Path) -> None:
    def answer(listener: str, mark: int) -> str:
        marks = {"timbre": {"a": mark}}
        return json.dumps({"listener": listener, "case": "c", "ratings": marks})

    path = tmp_path / ANSWERS
    said = [answer("x", 40 + k) for k in range(8)] + [answer("y", 60 + k) for k in range(8)]
    path.write_text("\n".join(said))
    mean, low, high = ratings(tmp_path)["timbre"]["a"]
    assert mean == 53.5
    assert low <= 43.5 + 1e-6  # what either listener says
    assert high >= 63.5 - 1e-6
    path.write_text("\n".join([*said, "[]", '{"listener": "x"}', said[0][:40]]))
    assert ratings(tmp_path)["timbre"]["a"][0] == mean


def test_a_rating_out_of_range_and_an_empty_folder_are_refused(
    server: tuple[ThreadingHTTPServer, ListeningTest], tmp_path: Path
) -> None:
    trial = server[1].trials[0]
    given = dict.fromkeys(trial.stimuli, 101)
    answer = {"listener": "x", "trial": 0, "ratings": dict.fromkeys(QUESTIONS, given)}
    assert b"outside 0 to 100" in get(server[0], "/answers", answer)[1]
    huge = answer | {"ratings": dict.fromkeys(QUESTIONS, dict.fromkeys(trial.stimuli, 10**400))}
    assert b"cannot be read" in get(server[0], "/answers", huge)[1]
    with pytest.raises(InputError, match="no report"):
        ListeningTest(tmp_path)
    with pytest.raises(InputError, match="cannot be used"):
        serve(server[1], server[0].server_port)


# Scripts that do what a person would, and say so to the server that gave the page.
PLAY = """
const sound = document.querySelector("audio");
sound.muted = true;
sound.ontimeupdate = () => {
  if (sound.currentTime > 0.2) fetch("/done?" + sound.duration.toFixed(1));
};
sound.play();
"""
RATE = """
const wait = found => new Promise(done => {
  const timer = setInterval(() => { if (found()) { clearInterval(timer); done(); } }, 50);
});
const press = id => document.querySelector(`#${id} button`).click();
(async () => {
  document.getElementById("listener").value = "robot";
  press("begin");
  for (let k = 1; k <= TRIALS; k++) {
    await wait(() => document.getElementById("trial").textContent.includes(`Trial ${k} of`));
    press("trial");
    await wait(() => document.getElementById("error").textContent.includes("not rated"));
    for (const slider of document.querySelectorAll("input[type=range]")) {
      slider.value = 77;
      slider.oninput();
    }
    press("trial");
    press("trial");
  }
  await wait(() => document.getElementById("trial").textContent.includes("Thank you"));
  fetch("/done?" + document.querySelectorAll("audio").length);
})();
"""


CONTROLS = """
const wait = found => new Promise(done => {
  const timer = setInterval(() => { if (found()) { clearInterval(timer); done(); } }, 50);
});
(async () => {
  document.getElementById("listener").value = "robot";
  document.querySelector("#begin button").click();
  await wait(() => document.querySelectorAll("audio").length > 2);
  const [first, second] = document.querySelectorAll("audio");
  first.muted = second.muted = true;
  await wait(() => first.readyState >= 4);
  first.currentTime = 3;
  await wait(() => !first.seeking);
  const place = first.currentTime;
  await first.play();
  await second.play();
  await wait(() => first.paused);
  window.fetch = () => Promise.reject(new TypeError("no server"));
  for (const slider of document.querySelectorAll("input[type=range]")) slider.oninput();
  document.querySelector("#trial button").click();
  await wait(() => document.getElementById("error").textContent.includes("does not answer"));
  new Image().src = "/done?" + [place, second.paused, document.querySelector("h2").textContent];
})();
"""

# A page that is left in its second trial and loaded again, twice: sliders that stay at 50 are
# pressed or given a space, and one mark of the trial at hand is kept.
RELOAD = """
const wait = found => new Promise(done => {
  const timer = setInterval(() => { if (found()) { clearInterval(timer); done(); } }, 50);
});
const sliders = () => [...document.querySelectorAll("input[type=range]")];
const says = text => wait(() => document.getElementById("trial").textContent.includes(text));
const press = id => document.querySelector(`#${id} button`).click();
const order = () => [...document.querySelectorAll("audio")].map(sound => sound.src).join();
const rate = () => {
  for (const slider of sliders()) {
    slider.closest("label").querySelector("span").click();
    slider.dispatchEvent(new KeyboardEvent("keydown", { key: "Tab" }));
    if (slider.dataset.mark) throw "rated by what is no rating";
    slider.dispatchEvent(slider.dataset.question === "notes" ?
      new PointerEvent("pointerup") : new KeyboardEvent("keydown", { key: " " }));
  }
};
(async () => {
  const visit = sessionStorage.visit = Number(sessionStorage.visit ?? 0) + 1;
  if (visit === 1) {
    document.getElementById("listener").value = "back & again";
    press("begin");
    await says("Trial 1 of 2");
    rate();
    press("trial");
    await says("Trial 2 of 2");
    sliders()[0].value = 42;
    sliders()[0].oninput();
    sessionStorage.order = order();
    location.reload();
  } else if (visit === 2) {
    await says("Trial 2 of 2");
    const same = order() === sessionStorage.order;
    const found = sliders().map(slider => slider.dataset.mark ?? "").join("");
    sessionStorage.found = [same, found, sliders()[0].value];
    press("trial");
    await wait(() => document.getElementById("error").textContent.includes("not rated"));
    delete sliders()[0].dataset.mark;
    sliders()[0].value = 50;
    rate();
    press("trial");
    await says("Thank you");
    location.reload();
  } else {
    const empty = document.getElementById("listener").value === "" && !test;
    document.getElementById("listener").value = "back & again";
    press("begin");
    await says("Thank you");
    new Image().src = "/done?" + [sessionStorage.found, empty];
  }
})();
"""


def browse(page: str, script: str, tmp_path: Path, test: ListeningTest | None = None) -> str:
    """Open a page in a browser with a script at its end; what it reports as done."""
    assert CHROMIUM is not None
    reported: queue.Queue[str] = queue.Queue()
    inner = serve(test) if test else None
    base = inner.RequestHandlerClass if inner else BaseHTTPRequestHandler

    class Handler(base):  # type: ignore[misc, valid-type]
        def do_GET(self) -> None:
            if self.path.startswith("/done?"):
                reported.put(self.path.split("?")[1])
            if self.path != "/" and inner:
                super().do_GET()
                return
            body = f"{page}<script>{script}</script>".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += ["--autoplay-policy=no-user-gesture-required", "--remote-debugging-port=0"]
    command += [f"--user-data-dir={tmp_path / 'profile'}"]
    with subprocess.Popen(
        [*command, f"http://127.0.0.1:{server.server_port}/"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as browser:
        try:
            return reported.get(timeout=90)
        finally:
            browser.kill()
            server.shutdown()
            server.server_close()
            if inner:
                inner.server_close()


@pytest.mark.skipif(CHROMIUM is None, reason="no browser installed")
def test_a_browser_plays_an_example_of_the_report(report: Path, tmp_path: Path) -> None:
    seconds = float(browse((report / "index.html").read_text(), PLAY, tmp_path))
    assert seconds == pytest.approx(6.0, abs=0.15)  # MP3 comes in whole frames


@pytest.mark.skipif(CHROMIUM is None, reason="no browser installed")
def test_a_listener_rates_every_trial_in_a_browser(rated: Path, tmp_path: Path) -> None:
    test = ListeningTest(rated)
    script = RATE.replace("TRIALS", str(len(test.trials)))
    assert browse(PAGE.read_text(), script, tmp_path, test) == "0"
    mine = [json.loads(line) for line in (rated / ANSWERS).read_text().splitlines()]
    assert [answer["listener"] for answer in mine] == ["robot"] * len(test.trials)
    assert set(mine[0]["ratings"]["timbre"].values()) == {77}


@pytest.mark.skipif(CHROMIUM is None, reason="no browser installed")
def test_a_listener_seeks_hears_one_sound_at_a_time_and_is_told_of_a_lost_server(
    report: Path, tmp_path: Path
) -> None:
    said = browse(PAGE.read_text(), CONTROLS, tmp_path, ListeningTest(report))
    assert urllib.parse.unquote(said) == "3,false,Trial 1 of 2"


@pytest.mark.skipif(CHROMIUM is None, reason="no browser installed")
def test_a_page_that_is_loaded_again_goes_on_and_fifty_can_be_said(
    report: Path, tmp_path: Path
) -> None:
    test = ListeningTest(report)
    test.folder = tmp_path
    said = browse(PAGE.read_text(), RELOAD, tmp_path, test)
    assert urllib.parse.unquote(said) == "true,42,42,true"
    mine = [json.loads(line) for line in (tmp_path / ANSWERS).read_text().splitlines()]
    assert len({answer["case"] for answer in mine}) == len(mine) == 2
    marks = [by for answer in mine for given in answer["ratings"].values() for by in given.values()]
    assert marks == [50] * 12
