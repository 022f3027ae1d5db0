"""`timbrel VERB ...`: parse, call, print. Errors are one sentence and exit code 2."""

import io
import os
import sys

import typer

from timbrel.cli import (
    ablate,
    evaluate,
    fonts,
    info,
    prepare,
    probe,
    reconstruct,
    render,
    train,
    transcribe,
)
from timbrel.errors import TimbrelError, is_lack_of_gpu_memory, is_lack_of_memory

GPU_SHORT = (
    "the GPU's memory is too small for this; train with half the --batch (`train model` with twice "
    "the --accumulate: as many items a step), or give --device cpu"
)
SHORT = (
    "there is not memory enough for this; give less at a time: a shorter recording or --length, "
    "fewer --workers, in training a smaller --batch"
)

app = typer.Typer(
    help="Plays these notes (MIDI or audio) with that sound (seconds of another recording).",
    epilog="--debug, anywhere, shows where in the program a mistake was found.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)
app.command("render")(render.render)
app.command("transcribe")(transcribe.transcribe)
app.command("reconstruct")(reconstruct.reconstruct)
app.command("info")(info.info)
app.command("fonts")(fonts.fonts)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(evaluate.compare)
app.command("probe")(probe.probe)
app.command("ablate")(ablate.ablate)
app.command("listen")(evaluate.listen)
app.command("protocols")(evaluate.protocols)
app.add_typer(prepare.app, name="prepare")
app.add_typer(train.app, name="train")


def main() -> None:
    """Entry point. `--debug` anywhere shows tracebacks."""
    for stream in (sys.stdout, sys.stderr):  # a name that its encoding lacks is no failure
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    debug = "--debug" in sys.argv
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    try:
        app(args=arguments)
    except SystemExit as end:
        if not end.code and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            # threads of torch.distributed that still run can abort an interpreter that ends
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
        raise
    except KeyboardInterrupt:  # while commands are still read; later typer ends them alike
        sys.exit(130)
    except TimbrelError as error:
        if debug:
            raise
        print(f"timbrel: {error}", file=sys.stderr)
        sys.exit(2)
    except (RuntimeError, MemoryError) as error:
        if debug or not is_lack_of_memory(error):
            raise
        print(f"timbrel: {GPU_SHORT if is_lack_of_gpu_memory(error) else SHORT}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if debug:
            raise
        where, what = error.filename or "the system", error.strerror or error
        print(f"timbrel: {where}: {what}", file=sys.stderr)
        sys.exit(2)
