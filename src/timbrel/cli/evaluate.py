"""`timbrel evaluate` and `timbrel compare`: how good is it, and is it better?"""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from timbrel.cli.options import Trust
from timbrel.errors import InputError

Limit = Annotated[int | None, typer.Option(min=1, help="Cases per level at most.")]


def evaluate(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the report.")],
    model: Annotated[
        str | None, typer.Argument(help="'default' (packaged) or a model folder.")
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="Name, or a .toml file; see `timbrel protocols`. Default: midi-to-audio."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Draw cases from this store instead, of items held out."),
    ] = None,
    outputs: Annotated[
        list[Path] | None,
        typer.Option(help="Judge the audio files in this folder, by --manifest; may be repeated."),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(help="JSON lines: output, notes, example, and if known source, truth."),
    ] = None,
    limit: Limit = None,
    steps: Annotated[int | None, typer.Option(help="Denoiser evaluations.")] = None,
    guidance_structure: Annotated[float | None, typer.Option(help="See render.")] = None,
    guidance_timbre: Annotated[float | None, typer.Option(help="See render.")] = None,
    temperature: Annotated[float | None, typer.Option(help="See render.")] = None,
    texture: Annotated[float | None, typer.Option(help="See render.")] = None,
    font: Annotated[
        list[Path] | None, typer.Option(help="Sound font; may be repeated. Default: all found.")
    ] = None,
    embedding: Annotated[
        str,
        typer.Option(
            help="For Fréchet distances: musicnn, vggish:FILE, clap:FOLDER or mert:FOLDER."
        ),
    ] = "musicnn",
    trust: Trust = False,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes; 0: one per core. Results do not depend on it.")
    ] = 0,
) -> None:
    """Judge a model, or anybody's files; goes on where it was stopped."""
    folders = outputs or []
    if folders and manifest is None:
        raise InputError("--outputs needs --manifest: files, and what was asked")
    if model is None and not folders:
        raise InputError("say what to judge: a MODEL, or files by --outputs and --manifest")
    if data is not None and manifest is not None:
        raise InputError("cases come from --data or from --manifest; give one of them")
    given = "--data" if data is not None else "--manifest" if manifest is not None else ""
    if given and (protocol is not None or font):
        unused = "--font" if protocol is None else "--protocol"
        raise InputError(f"{unused} says how cases are rendered, and {given} gives them; drop one")
    sampling = {
        "steps": steps,
        "guidance_structure": guidance_structure,
        "guidance_timbre": guidance_timbre,
        "temperature": temperature,
        "texture": texture,
    }
    chosen = [name for name, value in sampling.items() if value is not None]
    if chosen and model is None:
        option = chosen[0].replace("_", "-")
        raise InputError(f"--{option} is about a model, and files alone are judged; drop it")
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder; --outputs names the folder of the files")
    from timbrel.data.joined import judged_part
    from timbrel.data.render.soundfont import find_fonts
    from timbrel.data.store import Store
    from timbrel.evaluation.embeddings import embedder
    from timbrel.evaluation.job import Job
    from timbrel.evaluation.protocol import read_protocol
    from timbrel.evaluation.report import write_report
    from timbrel.evaluation.run import evaluate as run

    embedder(embedding)  # before the work, not after it
    asked = None if given else read_protocol(protocol or "midi-to-audio")
    job = Job(
        protocol=asked,
        fonts=tuple(str(f) for f in font or find_fonts()) if asked else (),
        store=None if data is None else str(data),
        manifest=None if manifest is None else str(manifest),
        outputs=tuple(str(folder) for folder in folders),
        model=model,
        structure=asked.structure if asked else "",
        sampling=tuple(sampling.items()),
        limit=limit,
        trust=trust,
    )
    if data is not None:
        judged_part(Store.open(data), partial(print, file=sys.stderr))  # say what is asked
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(asked.name if asked else "cases", total=1.0)
        run(
            job,
            output,
            workers or cores(),
            lambda share: bar.update(task, completed=share),
        )
    write_report(output, embedding)
    print((output / "table.md").read_text())
    print(f"{output / 'index.html'}: report")


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux alone has it
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def protocols(
    name: Annotated[
        str | None, typer.Argument(help="One of them, or a .toml file, to write its cases.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for the cases as files.")
    ] = None,
    limit: Limit = None,
    font: Annotated[
        list[Path] | None, typer.Option(help="Sound font; may be repeated. Default: all found.")
    ] = None,
) -> None:
    """List the protocols, or write the cases of one as files for any system to answer."""
    from timbrel.evaluation.protocol import protocol_names, read_protocol

    if name is None:
        for each in protocol_names():
            protocol = read_protocol(each)
            levels = len(protocol.levels)
            print(f"{each:18} {protocol.question} ({levels} x {protocol.cases} cases)")
        return
    if output is None:
        raise InputError("say where the cases go, with -o FOLDER")
    from timbrel.data.render.soundfont import SoundFont, find_fonts
    from timbrel.evaluation.cases import draw_cases
    from timbrel.evaluation.given import write_cases

    fonts = [SoundFont(Path(f)) for f in font or find_fonts()]
    asked = read_protocol(name)
    manifest = write_cases(draw_cases(asked, fonts, limit), output, asked.structure)
    print(f"{manifest}: cases; judge answers to them with timbrel evaluate --manifest")


def compare(
    reports: Annotated[list[Path], typer.Argument(help="Two or more folders of reports.")],
    fail_if_worse: Annotated[
        bool, typer.Option("--fail-if-worse", help="Exit with code 1 if one is worse in anything.")
    ] = False,
) -> None:
    """Put reports of one protocol side by side; the first is what others are compared with."""
    from timbrel.evaluation.compare import comparison

    found = comparison(reports)
    print(found)
    if fail_if_worse and any(verdict.worse for verdict in found.verdicts):
        raise typer.Exit(1)


def listen(
    report: Annotated[Path, typer.Argument(help="Folder of a report.")],
    trials: Annotated[int, typer.Option(min=1, help="Cases that each listener hears.")] = 8,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Of the page; 0: any free one.")
    ] = 8765,
) -> None:
    """Serve a blind listening test over a report, to this machine; Ctrl-C ends it."""
    from timbrel.evaluation.listening import ListeningTest, serve
    from timbrel.evaluation.report import write_report

    server = serve(ListeningTest(report, trials), port)
    print(f"listening test: http://localhost:{server.server_port}/ (Ctrl-C ends it)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        write_report(report)
        print(f"\n{report / 'index.html'}: report with all answers")
    finally:
        server.server_close()
