"""python -m captioning COMMAND: the only place that parses.

caption describes every clip that the filter found eligible, rewrite shortens the captions, verify
checks them, vqa asks a model whether the clips show what they say, review shows them on a page,
check reads the configs that these will be given, expand writes prompts for sampling out in the form
of captions, bench times caption, serve runs vLLM in its own environment, install makes that
environment.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace, set_parsing_settings

from captioning.bench import bench
from captioning.describe import Describe
from captioning.driver import caption
from captioning.expand import Expand, as_json, expand, parse, report
from captioning.install import Device, install
from captioning.review.page import write_review
from captioning.review.severity import Limits
from captioning.rewrite import Rewrite, rewrite
from captioning.serve import Server, serve
from captioning.verify import Verify, verify
from captioning.vqa import Vqa, vqa
from curation.stage import Abort, Stage

PROGRAM = "python -m captioning"
STAGES: dict[str, tuple[type[Stage], Callable[..., Any]]] = {
    "caption": (Describe, caption),
    "rewrite": (Rewrite, rewrite),
    "verify": (Verify, verify),
    "vqa": (Vqa, vqa),
}
GIVEN = ("data", "workers", "replace")
"""Options of a run, which are no knobs of its stage."""


def build_parser() -> ArgumentParser:
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(prog=PROGRAM, exit_on_error=False, allow_abbrev=False)
    commands = parser.add_subcommands(dest="command")

    describe = _stage(commands, "caption", Describe, "Describe every clip that was found eligible.")
    describe.add_argument(
        "--replace", type=bool, default=False, help="let captions by a model give way to others"
    )
    _stage(commands, "rewrite", Rewrite, "Make a short text of every caption by a language model.")
    _stage(commands, "verify", Verify, "Check every caption: wording, language, camera, CLIP.")
    _stage(commands, "vqa", Vqa, "Ask of every field of a caption whether the clip shows that.")

    checker = _command("Say what is wrong with the configs that later commands will be given.")
    for name in STAGES:
        checker.add_argument(f"--{name}", type=str | None, default=None, help=f"YAML for {name}")
    commands.add_subcommand("check", checker)

    longer = _command("Write prompts out in the form of the training captions.")
    longer.add_argument("--config", action="config", help="YAML with any of the options below")
    longer.add_argument("--prompt", type=str, required=True, help="text, or a JSON list of texts")
    longer.add_class_arguments(Expand)
    commands.add_subcommand("expand", longer)

    look = _command("Write a page to look at the captions, the worst first.")
    look.add_argument("--data", type=str, required=True, help="the dataset: folder or s3://…")
    look.add_argument("--count", type=int, default=200, help="clips to show at most")
    look.add_argument(
        "--output", type=str | None, default=None, help="default: DATA/audit/captions.html"
    )
    look.add_class_arguments(Limits)
    commands.add_subcommand("review", look)

    timing = _command("Time the stage caption beside a plain loop at a running server.")
    timing.add_argument("--config", action="config", help="YAML as for caption")
    timing.add_argument("--data", type=str, required=True, help="the dataset: folder or s3://…")
    timing.add_argument("--clips", type=int, default=48, help="at most so many")
    timing.add_class_arguments(Describe)
    commands.add_subcommand("bench", timing)

    server = _command("Run vLLM in its own environment until this is stopped.")
    server.add_argument("--config", action="config", help="YAML with any of the options below")
    server.add_class_arguments(Server)
    commands.add_subcommand("serve", server)

    installer = _command("Make the environment of vLLM, or finish making it.")
    installer.add_argument("--env", type=Path, default=Path(".venv-vllm"), help="its folder")
    installer.add_argument("--device", type=Device | None, default=None, help="default: as here")
    installer.add_argument("--ray", action="store_true", help="with Ray Serve, for a cluster")
    commands.add_subcommand("install", installer)
    return parser


def _stage(commands: Any, name: str, stage: type[Stage], summary: str) -> ArgumentParser:
    """A command that runs a stage over a dataset."""
    parser = _command(summary)
    parser.add_argument("--config", action="config", help="YAML with any of the options below")
    parser.add_argument("--data", type=str, required=True, help="the dataset: folder or s3://…")
    parser.add_argument("--workers", type=int | None, default=None, help="Ray workers at once")
    parser.add_class_arguments(stage)
    commands.add_subcommand(name, parser)
    return parser


def _command(summary: str) -> ArgumentParser:
    return ArgumentParser(exit_on_error=False, allow_abbrev=False, description=summary)


def run(command: str, options: Namespace) -> None:
    knobs = {key: value for key, value in vars(options).items() if key != "config"}
    if command in STAGES:
        stage, work = STAGES[command]
        given = {name: knobs.pop(name) for name in GIVEN if name in knobs}
        if given["workers"] is not None and given["workers"] < 1:
            raise ValueError(f"workers = {given['workers']}, expected at least 1 (make: WORKERS=)")
        work(stage(**knobs), **given)
    elif command == "check":
        for name, config in knobs.items():
            if config is not None:
                check(name, config)
    elif command == "expand":
        prompts = parse(knobs.pop("prompt"))
        found = expand(Expand(**knobs), prompts)
        print(report(found), file=sys.stderr)
        print(as_json(found))
    elif command == "review":
        shown = {name: knobs.pop(name) for name in ("data", "count", "output")}
        print(write_review(**shown, limits=Limits(**knobs)))
    elif command == "bench":
        data, clips = knobs.pop("data"), knobs.pop("clips")
        bench(Describe(**knobs), data=data, clips=clips)
    elif command == "serve":
        serve(Server(**knobs))
    else:
        install(knobs["env"], device=knobs["device"], ray=knobs["ray"])


def check(command: str, config: str) -> None:
    """Raise ValueError where a command that runs a stage cannot use a config."""
    parser = build_parser()
    try:
        options = parser.parse_args([command, "--config", config, "--data", "any"])
        chosen = vars(parser.instantiate(options)[command])
        STAGES[command][0](**{k: v for k, v in chosen.items() if k not in ("config", *GIVEN)})
    except (ArgumentError, ValueError) as error:
        variable = f"{command.upper()}_CONFIG="
        raise ValueError(f"{command} cannot use {config} (make: {variable}): {error}") from error


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 done, 1 it cannot be done, 2 the command is not understood; a line says why."""
    parser = build_parser()
    try:
        options = parser.parse_args(arguments)
    except ArgumentError as error:
        return _say(error, code=2)
    try:
        chosen = parser.instantiate(options)
        run(chosen["command"], chosen[chosen["command"]])
    except KeyboardInterrupt:
        return _say("stopped; the same command continues from here", code=130)
    except (Abort, ValueError) as error:
        return _say(error, code=1)
    return 0


def _say(error: Exception | str, *, code: int) -> int:
    print(f"{PROGRAM}: {' '.join(str(error).split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
