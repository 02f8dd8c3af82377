"""Copies made here of moving pictures, random hashes with planted copies, planted vectors."""

from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from curation.clip import hash_128
from curation.meters.phash import Phash
from curation.stage import Abort
from curation.stages.dedup import DEDUP, Dedup, embeddings, grouped
from curation.stages.dedup.best import best_first
from curation.stages.dedup.candidates import BANDS, BITS, CANDIDATE_BITS, near
from curation.stages.dedup.groups import stars
from curation.stages.dedup.looks import Looks
from curation.stages.dedup.pairs import Pairs, pairs
from curation.stages.dedup.semantic import clusters, keepers, weights
from curation.stages.split import Split
from tests.curation.meters.feeding import feed, pictures, read
from tests.videos import texture

FPS = 24
LIMIT = Dedup().distance


def take(seed: int, seconds: float, *, start_s: float = 0) -> list[np.ndarray]:
    """A camera that wanders over a picture while a disc crosses it, at any time of the take."""
    wide = texture(seed, height=144, width=256)[..., 1]
    rng = np.random.default_rng(seed)
    pace, phase = rng.uniform(0.5, 1.5, 4), rng.uniform(0, 6, 4)
    frames = []
    for i in range(round(start_s * FPS), round((start_s + seconds) * FPS)):
        x, y, u, v = 0.5 + 0.5 * np.sin(pace * i / FPS + phase)
        frame = wide[round(y * 72) : round(y * 72) + 72, round(x * 128) : round(x * 128) + 128]
        frames.append(cv2.circle(frame.copy(), (round(u * 127), round(v * 71)), 12, 255, -1))
    return frames


def fixed(seed: int, seconds: float, *, start_s: float = 0) -> list[np.ndarray]:
    """A camera that stands still before a picture that a disc crosses in ever other ways."""
    still = texture(seed, height=72, width=128)[..., 1]
    rng = np.random.default_rng(seed)
    path = np.cumsum(rng.normal(0, 2.5, (2000, 2)), axis=0)
    frames = []
    for i in range(round(start_s * FPS), round((start_s + seconds) * FPS)):
        x, y = np.abs((path[i] + (64, 36)) % (256, 144) - (128, 72))
        frames.append(cv2.circle(still.copy(), (round(x), round(y)), 14, 255, -1))
    return frames


def coded(frames: list[np.ndarray], quality: int = 40) -> list[np.ndarray]:
    """What coarse coding leaves of each frame."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return [np.asarray(cv2.imdecode(cv2.imencode(".jpg", f, flags)[1], 0)) for f in frames]


def resized(frames: list[np.ndarray], *, share: float = 1.0) -> list[np.ndarray]:
    """The middle share of each frame at the meters' size."""
    size = round(128 * share), round(72 * share)
    parts = [cv2.getRectSubPix(frame, size, (63.5, 35.5)) for frame in frames]
    return [cv2.resize(part, (128, 72), interpolation=cv2.INTER_AREA) for part in parts]


def with_logo(frames: list[np.ndarray]) -> list[np.ndarray]:
    return [cv2.rectangle(frame.copy(), (6, 4), (15, 7), 255, -1) for frame in frames]


def lighter(frames: list[np.ndarray]) -> list[np.ndarray]:
    return [cv2.convertScaleAbs(frame, beta=25) for frame in frames]


def boxed(frames: list[np.ndarray]) -> list[np.ndarray]:
    bar = np.full((10, 128), 16, np.uint8)
    return [np.concatenate([bar, frame, bar]) for frame in frames]


def row(frames: list[np.ndarray], *, fps: float = FPS, start: int = 0) -> dict[str, Any]:
    """The hash columns of one clip, and what else dedup reads of it."""
    meter = Phash()
    rows = feed(meter, pictures(frames, fps=fps))
    found = read(meter, rows, start, len(frames), fps=fps)
    return found | {"num_frames": len(frames) - start}


CLIP = {
    "video_id": "v",
    "width": 1280,
    "height": 720,
    "num_frames": 100,
    "bits_per_pixel": 0.1,
    "sharpness_pct": 50.0,
}
READ = pa.schema([Split.writes["clips"].field(name) for name in Dedup.reads["clips"]])


def table(clips: dict[str, dict[str, Any]]) -> pa.Table:
    rows = [CLIP | {"clip_id": name} | clip for name, clip in clips.items()]
    return pa.Table.from_pylist(rows, schema=READ)


def run(clips: dict[str, dict[str, Any]], embed: pa.Table | None = None, **knobs: Any) -> pa.Table:
    tables = {"clips": table(clips), "videos": pa.table({"video_id": ["v"], "codec": ["h264"]})}
    written = Dedup(**knobs).run(tables | ({"embed": embed} if embed is not None else {}))["dedup"]
    assert written.schema == DEDUP
    assert written["clip_id"].to_pylist() == list(clips)
    return written


def groups(written: pa.Table) -> set[frozenset[str]]:
    found: dict[str, set[str]] = {}
    for clip, group in zip(
        *(written[c].to_pylist() for c in ("clip_id", "dup_group")), strict=True
    ):
        if group is not None:
            found.setdefault(group, set()).add(clip)
    assert all(group == min(members) for group, members in found.items())
    return {frozenset(members) for members in found.values()}


# -- same bytes ------------------------------------------------------------------------------------


def test_counts_the_files_with_the_same_bytes_and_keeps_the_order_of_the_clips():
    clips = table({"c3": {"video_id": "b"}, "c1": {"video_id": "a"}, "c2": {"video_id": "b"}})
    videos = pa.table({"video_id": pa.array(["b", "a", "b", None, "b"], pa.string())})
    videos = videos.append_column("codec", pa.nulls(5, pa.string()))
    written = Dedup().run({"clips": clips, "videos": videos})["dedup"]
    assert written["clip_id"].to_pylist() == ["c3", "c1", "c2"]
    assert written["file_copies"].to_pylist() == [3, 1, 3]
    assert written["dup_group"].null_count == 3  # clips without a hash are nobody's copy


def test_no_clips_give_no_rows():
    assert run({}).num_rows == 0


def test_a_failure_stops_the_run_instead_of_inventing_counts():
    with pytest.raises(Abort, match="stage_failed"):
        Dedup().failed({}, error="stage_failed: KeyError")


@pytest.mark.parametrize("knobs", [{"distance": 0.5}, {"similarity": 0.0}, {"clusters": 0}])
def test_knobs_that_make_no_sense_are_refused(knobs):
    with pytest.raises(ValueError, match=next(iter(knobs))):
        Dedup(**knobs)


# -- same pictures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scene", [take, fixed])
def test_copies_of_every_kind_join_their_original_and_other_takes_do_not(scene):
    original = scene(1, 4)
    clips = {
        "a": row(original),
        "coded": row(coded(original, 15)),
        "crop3": row(coded(resized(original, share=0.94))),
        "crop5": row(coded(resized(original, share=0.90))),
        "logo": row(coded(with_logo(original))),
        "lighter": row(coded(lighter(original))),
        "boxed": row(coded(boxed(original))),
        "slow": row(coded(original[::2]), fps=FPS / 2),
        "trimmed": row(coded(original[12:])),
        "odd": row(coded(original[9:-5])),
        "other": row(coded(scene(2, 4))),
        "later": row(coded(scene(1, 4, start_s=6))),
        "latest": row(coded(scene(1, 4, start_s=12))),
    }
    others = {"other", "later", "latest"}
    assert groups(run(clips)) == {frozenset(clips.keys() - others)}


def test_stretches_of_one_take_of_a_still_scene_are_no_copies_but_its_copy_is():
    still = [texture(5, height=72, width=128)[..., 1]] * 192
    first, second = row(coded(still[:96])), row(coded(still), start=96)
    assert second["phash_start_look"] == 32
    copies = {"first'": row(coded(still[:96], 20)), "second'": row(coded(still, 20), start=96)}
    found = groups(run({"first": first, "second": second} | copies))
    assert found == {frozenset({"first", "first'"}), frozenset({"second", "second'"})}


def test_flat_and_black_clips_are_nobodys_copies():
    rng = np.random.default_rng(0)
    noise = [[rng.integers(16, 19, (72, 128)).astype(np.uint8) for _ in range(48)] for _ in "ab"]
    assert groups(run({"a": row(noise[0]), "b": row(noise[1])})) == set()


def test_a_short_piece_of_a_longer_clip_is_its_copy():
    long = take(3, 8)
    found = run({"long": row(long), "piece": row(coded(long[60:130]))})
    assert groups(found) == {frozenset({"long", "piece"})}
    assert found["dup_of"].to_pylist() == ["long", "long"]
    assert found["dup_rank"].to_pylist() == [0, 1]
    assert found["dup_distance_bits"][0].as_py() == 0 < found["dup_distance_bits"][1].as_py() < 10


def test_the_order_of_the_rows_does_not_matter():
    clips = {"a": row(take(1, 3)), "b": row(coded(take(1, 3))), "c": row(take(2, 3))}
    clips |= {"d": row(coded(take(2, 3))), "e": row(take(4, 3))}
    one, two = run(clips), run(dict(reversed(clips.items())))
    assert one.sort_by("clip_id").equals(two.sort_by("clip_id"))
    assert run(clips).equals(one)


# -- candidates ------------------------------------------------------------------------------------


def test_hashes_with_up_to_four_flipped_bits_are_always_found():
    rng = np.random.default_rng(0)
    assert sum(bits for _, bits in BANDS) == BITS
    index = rng.integers(0, 1 << 64, 4000, dtype=np.uint64)
    flips = rng.permuted(np.tile(np.arange(64), (4000, 1)), axis=1)
    found = {}
    for count in (0, 4, 6, 8, 10):
        mask = np.bitwise_or.reduce(np.uint64(1) << flips[:, :count].astype(np.uint64), axis=1)
        found_near = list(near(index ^ mask, index))
        hits = {p for q, i in found_near for p in zip(q.tolist(), i.tolist(), strict=True)}
        assert all(
            np.bitwise_count(index[q] ^ mask[q] ^ index[i]) <= CANDIDATE_BITS for q, i in hits
        )
        found[count] = len({q for q, i in hits if q == i}) / 4000
    assert found[0] == found[4] == 1
    assert found[6] > 0.7 and 0.3 < found[8] < 0.6 and found[10] == 0


def test_random_hashes_give_the_planted_pairs_and_no_other():
    rng = np.random.default_rng(1)
    num, looks = 2000, 24
    scene, change = rng.integers(0, 1 << 64, (2, num, looks), dtype=np.uint64)
    copy_of = np.arange(num)
    copy_of[1500:] = rng.permutation(1500)[:500]

    def flipped(hashes: np.ndarray, share: float) -> np.ndarray:
        bits = rng.random((*hashes.shape, 64)) < share
        return hashes ^ np.packbits(bits, axis=-1).view("<u8")[..., 0]

    scene[1500:] = flipped(scene[copy_of[1500:]], 0.1)
    change[1500:] = flipped(change[copy_of[1500:]], 0.15)
    start = 4 * rng.integers(0, 50, num)
    full = np.full(num * looks, 100, np.uint8)
    parts = rng.integers(0, 1 << 64, (4, num * looks // 4), dtype=np.uint64)
    found = pairs(
        Looks(
            start_N=start,
            first_N1=np.arange(num + 1) * looks,
            scene_L=scene.ravel(),
            change_L=change.ravel(),
            contrast_L=full,
            energy_L=full,
            centre_contrast_L=full,
            centre_energy_L=full,
            first_part_N1=np.arange(num + 1) * looks // 4,
            middle_scene_P=parts[0],
            middle_change_P=parts[1],
            centre_scene_P=parts[2],
            centre_change_P=parts[3],
        ),
        limit=LIMIT,
    )
    planted = {(int(a), b): start[b] - start[a] for b, a in enumerate(copy_of) if a != b}
    got = dict(zip(zip(found.a.tolist(), found.b.tolist(), strict=True), found.shift, strict=True))
    assert len(got.keys() & planted.keys()) >= 0.99 * len(planted)
    assert all(got[pair] == planted[pair] for pair in got)
    assert found.bits.mean() == pytest.approx(6.4, abs=0.2)


# -- groups ----------------------------------------------------------------------------------------


BETTER_FIRST: dict[str, list[dict[str, Any]]] = {
    "sound, then undamaged, then without a logo": [
        {},
        {"width": 3840, "height": 2160, "overlay_pct": 1.0},
        {"width": 3840, "height": 2160, "corrupt_frames": 1},
        {"width": 3840, "height": 2160, "reject": "too_short"},
        {"error": "deadline"},
    ],
    "larger, unless it was enlarged or has bars": [
        {"width": 1920, "height": 1080},
        {},
        {"width": 2560, "height": 1440, "sharpness_pct": 32.0},  # 0.65 of the sharpness
        {"width": 1344, "border_pct": 22.0},
        {"width": 640, "height": 360, "sharpness_pct": 56.0, "bits_per_pixel": 0.2},
    ],
    "more of the same take, more frames per second": [
        {"num_frames": 120},
        {"num_frames": 200, "duplicate_frames_pct": 50.0},
        {"num_frames": 50},
    ],
    "coded once, then with more bits": [
        {"bits_per_pixel": 0.05},
        {"sharpness_pct": 49.0, "bits_per_pixel": 0.06},
        {"sharpness_pct": 49.0, "bits_per_pixel": 0.04},
    ],
    "whatever could not be measured is as in usual footage": [
        {"sharpness_pct": 46.0, "bits_per_pixel": 0.1},
        {"sharpness_pct": None, "bits_per_pixel": None},
        {"sharpness_pct": 40.0, "bits_per_pixel": 0.05},
    ],
    "equal ones by clip_id": [{}, {}],
}


@pytest.mark.parametrize("rule", BETTER_FIRST)
def test_the_best_clip_stays(rule):
    clips = BETTER_FIRST[rule]
    names = [f"{n}" for n in range(len(clips))]
    order = np.random.default_rng(0).permutation(len(names))
    given = table({names[i]: clips[i] for i in order})
    codecs = pa.chunked_array([["h264"] * len(names)])
    assert [given["clip_id"][i].as_py() for i in best_first(given, codecs=codecs)] == names


def test_bits_count_by_what_the_codec_makes_of_them():
    """Motion JPEG at 3.5 times the bits, as of flower_mjpeg.avi beside flower.mp4, is a copy."""
    clips = table({"a": {"bits_per_pixel": 0.4}, "b": {"bits_per_pixel": 0.115}})
    for codec, best in (("mjpeg", 1), ("mpeg2video", 0), ("unheard of", 0), (None, 0)):
        codecs = pa.chunked_array([pa.array([codec, "h264"])])
        assert best_first(clips, codecs=codecs)[0] == best
    again = table({"a": {"bits_per_pixel": 0.08}, "b": {"bits_per_pixel": 0.1}})
    assert best_first(again, codecs=pa.chunked_array([["hevc", "h264"]]))[0] == 0


def test_a_copy_of_a_copy_joins_only_if_it_is_one_of_the_clip_that_stays():
    """A chain 0 - 1 - 2 - 3 - 4, whose far ends are alike or not."""
    chain = Pairs(*map(np.array, ([0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [1.0, 2.0, 3.0, 4.0])))
    asked: list[tuple[int, int, int]] = []

    def verdict(reach: int):
        def judge(a, b, shift):
            asked.extend(zip(a.tolist(), b.tolist(), shift.tolist(), strict=True))
            return np.abs(a - b) <= reach, np.full(len(a), 9.0)

        return judge

    order = np.arange(6)
    keeper, bits = stars(chain, order=order, verdict=verdict(1))
    assert keeper.tolist() == [0, 0, 2, 2, 4, 5] and bits.tolist() == [0, 1, 0, 3, 0, 0]
    assert (0, 2, 5) in asked  # shifts add up on the way
    keeper, bits = stars(chain, order=order, verdict=verdict(9))
    assert keeper.tolist() == [0, 0, 0, 0, 0, 5] and bits.tolist() == [0, 1, 9, 9, 9, 0]
    keeper, _ = stars(chain, order=order[::-1], verdict=verdict(1))
    assert keeper.tolist() == [0, 2, 2, 4, 4, 5] and (4, 2, -9) in asked


def test_group_columns():
    keeper = np.array([3, 1, 3, 3, 4, 4])
    found = grouped(
        keeper, pa.array(list("fbdeca")), order=np.array([3, 4, 1, 2, 5, 0]), prefix="x"
    )
    assert found["x_group"].to_pylist() == ["d", None, "d", "d", "a", "a"]
    assert found["x_group_size"].to_pylist() == [3, None, 3, 3, 2, 2]
    assert found["x_rank"].to_pylist() == [2, None, 1, 0, 0, 1]
    assert found["x_of"].to_pylist() == ["e", None, "e", "e", "c", "c"]


# -- same meaning ----------------------------------------------------------------------------------


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_clusters_are_those_planted_and_the_same_on_every_run():
    rng = np.random.default_rng(0)
    truth = np.concatenate([[0, 1, 2, 3], rng.integers(0, 4, 400)])
    vectors = unit(np.eye(32)[truth] + 0.1 * rng.standard_normal((404, 32)))
    found = clusters(vectors, num=4, seed=1)
    np.testing.assert_array_equal(found, truth)  # numbered by first member
    np.testing.assert_array_equal(found, clusters(vectors, num=4, seed=1))


def test_of_similar_vectors_of_a_cluster_the_best_stays():
    angles = np.radians([0, 5, 10, 90, 5])
    vectors = unit(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    cluster = np.array([0, 0, 0, 0, 1])
    threshold = float(np.cos(np.radians(6)))
    keeper, similarity = keepers(vectors, cluster, order=np.arange(5), threshold=threshold)
    assert keeper.tolist() == [0, 0, 2, 3, 4]  # 10 degrees from the first, which took the second
    assert similarity[1] == pytest.approx(np.cos(np.radians(5)))
    keeper, _ = keepers(vectors, cluster, order=np.array([1, 0, 2, 3, 4]), threshold=threshold)
    assert keeper.tolist() == [1, 1, 1, 3, 4]  # and never across clusters


def test_keepers_do_not_depend_on_the_block(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = unit(rng.standard_normal((20, 8))[rng.integers(0, 20, 300)] + 0.03)
    order = rng.permutation(300)
    cluster = rng.integers(0, 3, 300)
    one = keepers(vectors, cluster, order=order, threshold=0.99)
    monkeypatch.setattr("curation.stages.dedup.semantic.BLOCK", 700)
    two = keepers(vectors, cluster, order=order, threshold=0.99)
    np.testing.assert_array_equal(one[0], two[0])
    assert (one[0] != np.arange(300)).sum() > 200


def test_weight_is_one_by_the_root_of_what_stays_in_the_cluster():
    found = weights(np.array([0, 0, 0, 0, 0, 1, 2]), np.array([1, 1, 1, 1, 0, 1, 0], bool))
    assert found.tolist() == [0.5] * 5 + [1, 1]


def embedded(vectors: dict[str, Any]) -> pa.Table:
    kinds = {"clip_id": pa.string(), "embedding": pa.list_(pa.float16())}
    rows = [
        {"clip_id": clip, "embedding": None if v is None else np.array(v, np.float16)}
        for clip, v in vectors.items()
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema(kinds))


def test_clips_of_the_same_meaning_are_grouped_and_those_without_embedding_left_null():
    clips = {name: {} for name in "abcdef"} | {"c": {"width": 1920}}
    vectors = {"f": [0, 1, 0], "c": [1, 0.01, 0], "a": [1, 0, 0], "b": None, "e": [0, 0, 1]}
    found = run(clips, embedded(vectors), clusters=3)
    rows = {r["clip_id"]: r for r in found.to_pylist()}
    assert [rows[c]["sem_group"] for c in "abcdef"] == ["a", None, "a", None, None, None]
    assert [rows[c]["sem_rank"] for c in "ac"] == [1, 0]
    assert [rows[c]["sem_of"] for c in "ac"] == ["c", "c"]
    assert rows["a"]["sem_similarity"] == pytest.approx(1, abs=1e-3)
    assert [rows[c]["cluster"] is None for c in "abcdef"] == [
        False,
        True,
        False,
        True,
        *[False] * 2,
    ]
    # of a's cluster one clip stays
    assert [rows[c]["sample_weight"] for c in "acef"] == [1, 1, 1, 1]
    assert rows["b"]["sample_weight"] is None


def test_without_embeddings_the_semantic_columns_are_null():
    for embed in (None, embedded({"a": None})):
        found = run({"a": {}, "b": {}}, embed)
        assert all(found[c].null_count == 2 for c in DEDUP.names if c.startswith("sem_"))
        assert found["cluster"].null_count == found["sample_weight"].null_count == 2


def test_embeddings_follow_the_clips():
    ids = pa.chunked_array([["x", "y"], ["z"]])
    rows, vectors = embeddings(ids, embedded({"z": [0, 2], "x": [3, 4], "q": [1, 0]}))
    assert rows.tolist() == [0, 2]
    np.testing.assert_allclose(vectors, [[0.6, 0.8], [0, 1]])


def test_a_random_dataset_is_accounted_for():
    rng = np.random.default_rng(0)
    clips = {hash_128(str(i)): {} for i in range(50)}
    found = run(clips, embedded({c: rng.standard_normal(8) for c in clips}), similarity=0.9)
    assert found["cluster"].null_count == 0
    assert set(found["cluster"].to_pylist()) <= set(range(7))
