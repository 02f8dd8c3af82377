"""Which stretches of a source are scanned, each by a task of its own.

Pure. A run is what is decoded without a gap: the whole source, or what triage has left between two
stretches that it rejected. Long runs are divided at keyframes that the inventory has noted.
"""

from typing import Any

WHOLE_RUN: dict[str, Any] = {
    "start_pts": None,
    "end_pts": None,
    "start_frame": 0,
    "end_frame": None,
}


def segments(
    points: list[dict[str, Any]], *, runs: list[dict[str, Any]], every_s: float
) -> list[dict[str, Any]]:
    """The stretches of each run between division points at least every_s apart, in order."""
    found = []
    for run in runs:
        chosen = _division(points, run, every_s=every_s)
        starts = [run["start_pts"], *(point["pts"] for point in chosen)]
        frames = [run["start_frame"], *(point["frame"] for point in chosen), run["end_frame"]]
        if run["end_pts"] is None:
            frames[-1] = None
        for i, (start, end) in enumerate(zip(starts, [*starts[1:], run["end_pts"]], strict=True)):
            stretch = {"start_pts": start, "end_pts": end, "starts_run": i == 0}
            found.append(stretch | {"start_frame": frames[i], "end_frame": frames[i + 1]})
    return found


def _division(
    points: list[dict[str, Any]], run: dict[str, Any], *, every_s: float
) -> list[dict[str, Any]]:
    last_s = run.get("start_s", points[0]["time_s"] if points else 0.0)
    chosen: list[dict[str, Any]] = []
    for point in points:
        is_inside = point["frame"] > run["start_frame"] and (
            run["end_pts"] is None or point["frame"] < run["end_frame"]
        )
        if is_inside and point["time_s"] - last_s >= every_s:
            chosen.append(point)
            last_s = point["time_s"]
    return chosen
