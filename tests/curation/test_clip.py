from curation.clip import bucket_name, clip_id, frames_at_rate, hash_128

SHAPES = {
    "short_sides": [144, 256, 720],
    "aspects": ["16x9", "4x3", "1x1", "9x16"],
    "frame_counts": [1, 17, 33, 49],
    "bucket_fps": 24.0,
}


def test_a_clip_id_depends_on_video_and_frames_alone() -> None:
    assert clip_id("ab", start_frame=0, end_frame=9) == clip_id("ab", start_frame=0, end_frame=9)
    assert clip_id("ab", start_frame=0, end_frame=9) != clip_id("ab", start_frame=0, end_frame=10)
    assert len(clip_id("ab", start_frame=0, end_frame=9)) == 32  # 128 bits


def test_hashed_parts_do_not_run_together() -> None:
    assert hash_128("a", "bc") != hash_128("ab", "c")


def test_frames_at_a_bucket_rate_count_decoded_frames() -> None:
    assert frames_at_rate(49, fps=24.0, bucket_fps=24.0) == 49
    assert frames_at_rate(120, fps=60.0, bucket_fps=24.0) == 48  # 119/60 s hold 47.6 steps
    assert frames_at_rate(49, fps=24000 / 1001, bucket_fps=24.0) == 49
    assert frames_at_rate(10, fps=5.0, bucket_fps=24.0) == 10  # slow clips are not stretched
    assert frames_at_rate(1, fps=None, bucket_fps=24.0) == 1


def test_a_bucket_is_the_largest_shape_that_the_clip_fills() -> None:
    def name(width: int, height: int, frames: int) -> str | None:
        return bucket_name(width=width, height=height, num_frames=frames, fps=24.0, **SHAPES)

    assert name(1280, 720, 50) == "720p_16x9_049f"
    assert name(1279, 719, 48) == "256p_16x9_033f"
    assert name(320, 568, 17) == "256p_9x16_017f"
    assert name(480, 480, 1) == "256p_1x1_001f"
    assert name(640, 100, 50) is None  # 100 px fill no standard size


def test_a_clip_shorter_than_the_shortest_bucket_has_none() -> None:
    shapes = SHAPES | {"frame_counts": [17]}
    assert bucket_name(width=640, height=360, num_frames=16, fps=24.0, **shapes) is None
