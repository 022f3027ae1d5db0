"""`timbrel ablate`: what does each part buy?"""

from pathlib import Path
from typing import Annotated

import typer

from timbrel.cli.options import Trust
from timbrel.errors import InputError


def ablate(
    study: Annotated[
        str,
        typer.Argument(
            help="method, pairs, objectives, scaling, timbres, denoiser, or a .toml file."
        ),
    ],
    data: Annotated[list[Path], typer.Option(help="Store with latents; may be repeated.")],
    valid: Annotated[Path, typer.Option(help="Held-out store with latents.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the study.")],
    base: Annotated[
        str, typer.Option(help="Model whose codec and listener all recipes share.")
    ] = "default",
    size: Annotated[str, typer.Option(help="tiny, small or base.")] = "tiny",
    steps: Annotated[int | None, typer.Option(help="Budget of each recipe in steps.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Budget of each in minutes.")] = None,
    hours: Annotated[
        float | None, typer.Option(help="Of data, for recipes that do not say. Default: all.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Items per step.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="Of training.")] = 0,
    trust: Trust = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    only: Annotated[
        list[str] | None, typer.Option(help="A recipe of the study; may be repeated.")
    ] = None,
) -> None:
    """Train the recipes of STUDY on the same data, and judge them by the same cases.

    Goes on where it was stopped.
    """
    from dataclasses import replace

    from timbrel.ablation.study import Setting, read_study, run_study
    from timbrel.ablation.table import table
    from timbrel.data.files import write_text
    from timbrel.model import pick_device
    from timbrel.training.run import Budget

    asked = read_study(study)
    if only:
        if missing := set(only) - set(asked.recipes):
            raise InputError(f"study '{study}' has no recipe '{missing.pop()}'")
        asked = replace(asked, recipes=tuple(name for name in asked.recipes if name in only))
    setting = Setting(
        tuple(data), valid, base, size, Budget(steps, minutes), hours, seed, batch, trust
    )
    run_study(asked, setting, output, pick_device(device))
    text = table(read_study(study), setting, output)
    write_text(output / "table.md", text)
    print(text)
