"""The run of a stage that asks a model, which `caption`, `rewrite` and `vqa` have in common: its
answers are kept, its servers are watched, and a model that gave nothing of use is told of.
"""

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from captioning import answers
from captioning.watch import watching
from curation import dataset, pipeline, storage
from curation.attempt import AGAIN
from curation.stage import Abort, Unit

if TYPE_CHECKING:
    from captioning.describe import Describe
    from captioning.rewrite import Rewrite
    from captioning.vqa import Vqa

Asking = TypeVar("Asking", "Describe", "Rewrite", "Vqa")


def keeping(stage: Asking, *, data: str) -> Asking:
    """The stage with the folder that keeps its answers: the dataset's own where it names none."""
    return dataclasses.replace(stage, answers=stage.answers or storage.join(data, "answers"))


def run(
    stage: Asking, units: list[Unit], *, data: str, workers: int | None, model: str | None
) -> tuple[dict[str, Any], pa.Table]:
    """(the run's record, what it wrote of the stage's table). model: None asks nothing."""
    ((table, schema),) = stage.writes.items()
    folder = dataset.tables_url(data, table)
    done = set(dataset.stems(storage.list_files(folder, ".parquet")))
    with watching(model, stage.server) if model else contextlib.nullcontext():
        record = pipeline.run(stage, units, data=data, workers=workers)
    if stage.answers:
        answers.compact(stage.answers)
    written = [name for name in record["units"] if name.removesuffix(AGAIN) not in done]
    files = [dataset.unit_url(data, table, name) for name in written]
    return record, storage.read_tables(files) if files else schema.empty_table()


def tell_in_vain(
    reasons: Sequence[str], *, model: str, what: tuple[str, str], look_at: str, is_all_empty: bool
) -> None:
    """Say that a model has given nothing of use, why, and what to do.

    reasons: "reason_code: why" of each thing that it was asked about; what: what these are, and
    what was asked for. Raises Abort where the run has given nothing else either.
    """
    if not reasons:  # no frames could be read, say: no fault of the model
        return
    code, count = Counter(reason.partition(":")[0] for reason in reasons).most_common(1)[0]
    why = next(reason for reason in reasons if reason.startswith(f"{code}:")).partition(": ")[2]
    things, wanted = what
    said = (
        f"none of the {len(reasons):,} {things} that {model} was asked about has a {wanted} by it: "
        f"{count:,} {code}, such as {why!r}; look at {look_at}"
    )
    if is_all_empty:
        raise Abort(said)
    print(said, flush=True)
