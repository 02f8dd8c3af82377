"""Options, configs and the command line of vLLM."""

from pathlib import Path

import pytest

from captioning.__main__ import build_parser, main
from captioning.describe import Describe
from captioning.install import READY, installed
from captioning.serve import Server, command, environment

FOLDER = Path(__file__).parents[2] / "configs" / "captioning"
COMMAND = "# python -m captioning "
CONFIGS = sorted(path for path in FOLDER.glob("*.yaml") if path.read_text().startswith(COMMAND))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.name)
def test_the_command_in_a_configs_first_line_understands_it(config: Path) -> None:
    command, *options = config.read_text().splitlines()[0].removeprefix(COMMAND).split()
    assert options[:2] == ["--config", f"configs/captioning/{config.name}"]
    needed = ["--prompt", "x"] if command == "expand" else ["--data", "x"]
    parser = build_parser()
    chosen = parser.instantiate(parser.parse_args([command, "--config", str(config), *needed]))
    knobs = vars(chosen[command])
    if command == "caption":
        given = {
            k: v for k, v in knobs.items() if k not in ("config", "data", "workers", "replace")
        }
        assert Describe(**given).sources[-1] == "measured"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["caption", "--data", "x", "--surces", "[vlm]"], "--surces"),
        (["caption", "--data", "x", "--sources", "[vlmm]"], "vlmm"),
        (["caption", "--data", "x", "--vlm.modell", "m"], "--vlm.modell"),
        (["caption"], "caption.data"),
        (["describe"], "describe"),
        (["install", "--device", "tpu"], "tpu"),
    ],
)
def test_a_misspelt_option_is_one_line(
    arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and word in said[0]


def test_a_misspelt_key_of_a_config_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text("sources: [measured]\nvlm:\n  modl: x\n")
    assert main(["caption", "--config", str(tmp_path / "c.yaml"), "--data", "x"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and "modl" in said[0]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--sources", "[measured, measured]"], "each once"),
        (["--server.concurrency", "0"], "concurrency = 0"),
        (["--workers", "0"], "workers = 0, expected at least 1 (make: WORKERS=)"),
        (["--workers", "-2"], "workers = -2, expected at least 1"),
        (["--vlm.answers", "0"], "answers = 0"),
        (["--sources", "[measured]"], "clips"),  # no such dataset
    ],
)
def test_a_value_that_cannot_be_is_one_line(
    options: list[str], word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["caption", "--data", str(tmp_path), *options]) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and word in said[0]


@pytest.mark.parametrize("command", ["rewrite", "verify", "vqa"])
def test_no_stage_takes_no_workers(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--data", str(tmp_path), "--workers", "0"]) == 1
    assert "workers = 0, expected at least 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (None, "not exist"),
        ("sources: [vlmm]", "vlmm"),
        ("sources: []", "some of vlm, sidecar"),
        ("vlm: {answers: 0}", "answers = 0"),
        ("- a", "Unexpected config"),
    ],
)
def test_configs_are_checked_before_they_are_needed(
    text: str | None, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "some caption.yaml"
    if text is not None:
        config.write_text(text)
    assert main(["check", "--caption", str(config)]) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and word in said[0]
    assert f"caption cannot use {config} (make: CAPTION_CONFIG=): " in said[0]
    assert main(["check", "--caption", str(FOLDER / "demo.yaml")]) == 0


def test_vllm_is_told_what_the_options_say() -> None:
    server = Server(model="org/model", name="m", max_model_len=4096, args=["--max-num-seqs", "8"])
    line = command(server, device="cpu", port=8123)
    options = dict(zip(line[3::2], line[4::2], strict=False))
    assert options["--model"] == "org/model" and options["--served-model-name"] == "m"
    assert options["--host"] == "127.0.0.1" and options["--port"] == "8123"
    assert options["--limit-mm-per-prompt"] == '{"image": 32, "video": 1}'
    assert "--enforce-eager" in line and line[-2:] == ["--max-num-seqs", "8"]
    assert "--enforce-eager" not in command(server, device="cuda", port=8123)


def test_only_a_cpu_gets_the_settings_of_a_cpu(tmp_path: Path) -> None:
    server = Server(model=str(tmp_path), cpu_cache_gb=3)
    assert environment(server, device="cpu")["VLLM_CPU_KVCACHE_SPACE"] == "3"
    assert environment(server, device="cpu")["HF_HUB_OFFLINE"] == "1"
    on_gpu = environment(Server(model="org/model"), device="cuda")
    assert not any("CPU" in name or "OFFLINE" in name for name in on_gpu)


def test_an_environment_counts_when_its_installation_was_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert installed(tmp_path) is None
    assert main(["serve", "--model", "m", "--env", str(tmp_path)]) == 1
    assert "captioning install" in capsys.readouterr().err
    (tmp_path / READY).write_text("cuda vllm\n")
    assert installed(tmp_path) == "cuda"
