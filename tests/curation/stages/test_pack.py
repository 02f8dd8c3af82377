"""Which sample goes into which shard, and what a tar holds."""

import io
import tarfile

import pytest

from curation.stages.pack import Sample, plan, write_tar
from curation.stages.shard import Shard

A, B = "256p_16x9_017f", "256p_16x9_033f"


def wanted(**buckets: str) -> dict[str, tuple[str, int]]:
    return {key: (bucket, 100) for key, bucket in buckets.items()}


def test_new_samples_fill_shards_in_order_of_their_keys() -> None:
    found = plan({}, wanted(c=A, a=A, b=B, d=A), samples_per_shard=2, shard_bytes=1e9)
    assert found == {
        f"{A}/{A}-000000.tar": ["a", "c"],
        f"{A}/{A}-000001.tar": ["d"],
        f"{B}/{B}-000000.tar": ["b"],
    }


def test_a_shard_is_closed_before_it_grows_too_large() -> None:
    sizes = {"a": (A, 60), "b": (A, 30), "c": (A, 30), "huge": (A, 999)}
    found = plan({}, sizes, samples_per_shard=9, shard_bytes=100)
    assert list(found.values()) == [["a", "b"], ["c"], ["huge"]]


def test_added_samples_leave_standing_shards_untouched() -> None:
    standing = {f"{A}/{A}-000000.tar": ["m", "n"]}
    found = plan(standing, wanted(m=A, n=A, a=A), samples_per_shard=5, shard_bytes=1e9)
    assert found == standing | {f"{A}/{A}-000001.tar": ["a"]}


def test_a_sample_that_goes_changes_its_own_shard_only() -> None:
    standing = {f"{A}/{A}-000000.tar": ["a", "b"], f"{A}/{A}-000001.tar": ["c"]}
    found = plan(standing, wanted(b=A, c=A), samples_per_shard=2, shard_bytes=1e9)
    assert found == {f"{A}/{A}-000000.tar": ["b"], f"{A}/{A}-000001.tar": ["c"]}
    assert plan(standing, wanted(a=A, b=A), samples_per_shard=2, shard_bytes=1e9) == {
        f"{A}/{A}-000000.tar": ["a", "b"]
    }


def test_the_number_of_a_shard_that_went_is_not_used_again_in_the_same_run() -> None:
    standing = {f"{A}/{A}-000000.tar": ["a"]}
    found = plan(standing, wanted(b=A), samples_per_shard=2, shard_bytes=1e9)
    assert found == {f"{A}/{A}-000001.tar": ["b"]}


def test_a_sample_whose_bucket_changed_moves() -> None:
    standing = {f"{A}/{A}-000000.tar": ["a", "b"]}
    found = plan(standing, wanted(a=A, b=B), samples_per_shard=2, shard_bytes=1e9)
    assert found == {f"{A}/{A}-000000.tar": ["a"], f"{B}/{B}-000000.tar": ["b"]}


def test_a_tar_is_the_same_bytes_and_its_offsets_are_right() -> None:
    samples = [("k1", "mp4", b"x" * 700, b"{}", b"caption"), ("k2", "jpg", b"y", b"{1}", b"")]
    data, spans = write_tar(samples)
    assert data == write_tar(samples)[0]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == ["k1.mp4", "k1.json", "k1.txt", "k2.jpg", "k2.json", "k2.txt"]
        assert all(member.mtime == 0 for member in tar)
    for (_, _, media, content, text), span in zip(samples, spans, strict=True):
        for name, expected in (("media", media), ("json", content), ("txt", text)):
            offset, size = span[name]
            assert data[offset : offset + size] == expected


def test_a_samples_size_in_a_tar_is_exact() -> None:
    row = {"size_media": 700, "cut_hash": "h"}
    sample = Sample("k1", A, "mp4", b"{}", b"caption", row)
    data, _ = write_tar([("k1", "mp4", b"x" * 700, b"{}", b"caption")])
    assert sample.tar_bytes == data.rstrip(b"\0").rfind(b"caption") // 512 * 512 + 512


def test_knobs_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="4k\\+1"):
        Shard(frame_counts=(1, 16))
    with pytest.raises(ValueError, match="expected both above 0"):
        Shard(samples_per_shard=0)
