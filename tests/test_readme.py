"""README and Makefile say the same: every command shown exists and is run by CI or by a test."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from captioning.__main__ import STAGES as captioning
from curation.__main__ import STAGES
from curation.pipeline import WRITTEN_BY

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()

RUN_BY = {
    "demo": (".ci/run", "make demo"),
    "test": (".ci/run", "make test"),
    "test-vllm": (".ci/run", "make test-vllm"),
    "check": (".ci/run", "make check"),
    "curate": ("Makefile", "$(MAKE) curate"),
    "train": ("Makefile", "$(MAKE) train"),
    "sample": ("Makefile", "$(MAKE) sample"),
    "shard": ("tests/test_readme.py", '"filter", "shard", "audit"'),
    "filter": ("tests/test_readme.py", '"filter", "shard", "audit"'),
    "audit": ("tests/test_readme.py", '"filter", "shard", "audit"'),
    "caption": ("tests/captioning/test_vllm.py", '"caption"'),
    "vqa": ("tests/captioning/test_vqa.py", '"vqa"'),
    "rewrite": ("tests/captioning/test_rewrite.py", '"rewrite"'),
    "verify": ("tests/captioning/test_verify.py", '"verify"'),
    "review-captions": ("tests/captioning/review/test_page.py", '"review"'),
    "serve-vlm": ("tests/captioning/serving.py", '"serve"'),
    "serve-vlm-ray": ("tests/captioning/test_vllm_ray_serve.py", '"serve", "run"'),
    "bench-captions": ("tests/captioning/test_vllm.py", '"bench"'),
    "bench": (".ci/run", "make bench"),
    "targets": ("Makefile", "filter targets shard audit"),
    "text": ("tests/curation/stages/test_text.py", "Text("),
    "dedup": ("Makefile", "embed dedup filter"),
    "bench-cuts": (".ci/run", "make bench-cuts"),
    "bench-exact": ("tests/curation/video/test_cut.py", "import SPANS, measure"),
    "bench-dedup": ("tests/curation/bench/test_dedup.py", "scale("),
    "bench-triage": ("tests/curation/bench/test_triage.py", "bench("),
    "prove": ("tests/training/prove/test_run.py", "prove(how)"),
    "encode": ("tests/training/test_encode.py", 'command="encode"'),
    "bench-reader": ("tests/training/bench/test_reader.py", "run(str(dataset)"),
    "bench-packing": ("tests/training/bench/test_packing.py", "packing.run("),
    "bench-training": ("tests/training/bench/test_throughput.py", "throughput.run("),
    "train-cuts": ("tests/curation/meters/test_cut_training.py", "train("),
}
"""Target -> where it is run, and the words there that run it."""


def commands() -> list[list[str]]:
    """Words of every line in README's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines() if line]


def targets(words: list[str]) -> list[str]:
    return [word for word in words[1:] if re.fullmatch(r"[a-z-]+", word)]


def test_every_command_is_a_make_target_or_a_ray_job() -> None:
    for words in commands():
        assert words[0] == "make" or words[:3] == ["ray", "job", "submit"], words
        for target in targets(words) if words[0] == "make" else []:
            assert f"\n{target}:" in MAKEFILE, target


def test_every_command_shown_is_run_somewhere() -> None:
    shown = {target for words in commands() if words[0] == "make" for target in targets(words)}
    inline = re.findall(r"`make ([a-z -]+)`", README)
    shown |= {target for phrase in inline for target in phrase.split()}
    for target in shown:
        where, how = RUN_BY[target]
        assert how in (ROOT / where).read_text(), f"make {target} is not run by {where}"


def test_the_job_command_is_the_one_that_the_cluster_test_sends() -> None:
    sent = (ROOT / "tests/curation/test_ray_job.py").read_text()
    assert '"job", "submit", "--address"' in sent and '"--working-dir"' in sent


def test_variables_given_to_make_reach_the_command() -> None:
    shown = ["make", "-n", "filter", "shard", "audit", "DATA=some where", "CONFIG=a.yaml"]
    said = subprocess.run(shown, capture_output=True, text=True, cwd=ROOT).stdout
    for stage in ("filter", "shard", "audit"):
        assert f'-m curation {stage} --config "a.yaml" --data "some where"' in said


def test_a_table_that_is_missing_is_written_by_a_make_target() -> None:
    chosen = [*STAGES.values(), *(stage for stage, _ in captioning.values())]
    for table in {table for stage in chosen for table in getattr(stage, "reads", {})}:
        assert f"\n{WRITTEN_BY.get(table, table)}:" in MAKEFILE, table


def test_config_is_refused_by_stages_that_have_another_name_for_theirs() -> None:
    def dry(*words: str) -> str:
        shown = ["make", "-n", *words, "CONFIG=a.yaml"]
        return subprocess.run(shown, capture_output=True, text=True, cwd=ROOT).stderr

    for words in (["caption"], ["rewrite"], ["vqa"], ["verify", "review-captions"]):
        (said,) = dry(*words).splitlines()
        assert "CONFIG= is for the stages of curation; these take CAPTION_CONFIG=" in said
    for words in (["curate"], ["caption", "filter"], ["filter"]):
        assert not dry(*words)


@pytest.mark.parametrize("variable", ["CAPTION_CONFIG", "VERIFY_CONFIG", "TARGETS"])
def test_curate_reads_every_config_before_any_footage(variable: str, tmp_path: Path) -> None:
    (tmp_path / "footage").mkdir()
    line = ["make", "-o", ".venv/.ready", "curate", f"PY={sys.executable}"]
    line += [f"FOOTAGE={tmp_path / 'footage'}", f"DATA={tmp_path / 'data'}", f"{variable}=no.yaml"]
    found = subprocess.run(line, capture_output=True, text=True, cwd=ROOT)
    assert found.returncode and "no.yaml" in found.stderr and f"{variable}=" in found.stderr
    assert not (tmp_path / "data").exists()


def test_paths_named_in_readme_exist() -> None:
    for path in re.findall(r"`((?:curation|training|captioning|configs|tests)/[\w./-]+)`", README):
        assert (ROOT / path).exists(), path


def test_make_alone_lists_the_targets() -> None:
    said = subprocess.run(["make"], capture_output=True, text=True, cwd=ROOT).stdout
    for target in ("demo", "test", "split", "curate", "train", "sample", "serve-vlm", "bench"):
        assert re.search(rf"^{target}\s+\S", said, re.MULTILINE), target
