import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from partnerface.data.batches import frame_store
from partnerface.data.batches.frame_store import RADII, TINY, FrameStore, foreground_colours, reduce_frame
from partnerface.data.synthetic.render_subject import SubjectRenderer
from partnerface.data.synthetic.subject import subject_named
from partnerface.errors import UserError
from partnerface.files.images import write_image


def test_same_size_is_untouched(tmp_path, tiny_video):
    video = tiny_video()
    video.mattes = np.where(video.mattes > 127, 255, 0).astype(np.uint8)
    store = FrameStore.build(video.write(tmp_path / "set"), 32, 24, tmp_path / "set")
    assert np.array_equal(store.rgba[..., :3], video.images)
    assert np.array_equal(store.rgba[..., 3], video.mattes)
    assert np.array_equal(store.labels, video.labels)


def test_reduction_is_the_area_mean(tiny_video):
    video = tiny_video()
    opaque = np.full_like(video.mattes[0], 255)
    reduced = reduce_frame(video.images[0], opaque, video.labels[0], 8, 6).astype(float)
    assert np.abs(reduced[..., :3] - video.images[0].reshape(6, 4, 8, 4, 3).mean((1, 3))).max() <= 1
    matte = reduce_frame(video.images[0], video.mattes[0], video.labels[0], 8, 6)[..., 3].astype(float)
    assert np.abs(matte - video.mattes[0].reshape(6, 4, 8, 4).mean((1, 3))).max() <= 1


@pytest.mark.parametrize("side", [96, 48, 32, 20])
@pytest.mark.parametrize("softness", [1.0, 6.0])
@pytest.mark.parametrize(("person", "wall"), [(128, 128), (40, 220), (200, 60)])
def test_half_covered_pixels_hold_the_colour_of_the_person_at_every_size(person, wall, softness, side):
    y, x = np.mgrid[:96, :96]
    share = np.clip((33 - np.hypot(x - 47, y - 50)) / softness + 0.5, 0, 1)
    picture = (share * person + (1 - share) * wall).round().astype(np.uint8)
    matte = (share * 255).round().astype(np.uint8)
    reduced = reduce_frame(np.dstack([picture] * 3), matte, matte * 0, side, side)
    error = np.abs(reduced[..., :3].astype(float) - person)
    covered = reduced[..., 3] / 255
    assert covered.max() == 1
    # In what is seen of it over another background, in levels of 255.
    assert (error * covered[..., None]).max() <= 4


def test_the_store_holds_reduced_frames_in_memory_and_mapped(tmp_path, tiny_video):
    video = tiny_video(width=32, height=32)
    share = np.clip((20 - np.arange(32)) / 4, 0, 1)[None, :, None]
    picture = (share * 30 + (1 - share) * 240).round().astype(np.uint8)
    video.images[:] = np.broadcast_to(picture, (32, 32, 3))
    video.mattes[:] = (share[..., 0] * 255).round().astype(np.uint8)
    for limit in (10**9, 0):
        store = FrameStore.build(video.write(tmp_path / str(limit)), 16, 16, tmp_path / str(limit), limit)
        seen = store.rgba[..., 3] > 0
        assert np.abs(store.rgba[..., :3][seen].astype(int) - 30).max() <= 4


def test_memory_mapped_equals_in_memory(tmp_path, tiny_video):
    root = tmp_path / "set"
    sequence = tiny_video().write(root)
    expected = FrameStore.build(sequence, 16, 12, root)
    assert not (root / ".cache").exists()
    mapped = FrameStore.build(sequence, 16, 12, root, memory_limit=0)
    assert np.array_equal(mapped.rgba, expected.rgba)
    assert np.array_equal(mapped.labels, expected.labels)
    assert not mapped.rgba.flags.writeable
    assert not expected.labels.flags.writeable
    (file,) = (root / ".cache").iterdir()
    written = file.stat().st_mtime_ns
    again = FrameStore.build(sequence, 16, 12, root, memory_limit=0)
    assert np.array_equal(again.rgba, expected.rgba)
    assert file.stat().st_mtime_ns == written


def test_a_store_reaches_a_process_that_is_not_forked(tmp_path, tiny_video):
    """Python 3.14 starts loaders' workers so; a mapped file is opened there, not sent."""
    sequence = tiny_video().write(tmp_path / "set")
    for limit in (10**9, 0):
        store = FrameStore.build(sequence, 32, 24, tmp_path / "set", limit)
        sent = pickle.dumps(store)
        received = pickle.loads(sent)
        assert np.array_equal(received.channels, store.channels)
        assert np.array_equal(received.rgba, store.rgba)
        assert np.array_equal(received.labels, store.labels)
        mapped = isinstance(received.channels, np.memmap)
        assert mapped == (limit == 0) == (len(sent) < store.channels.nbytes / 10)
        received.release()


def test_what_takes_long_to_decode_is_decoded_once(tmp_path, tiny_video, monkeypatch):
    root = tmp_path / "set"
    sequence = tiny_video().write(root)
    monkeypatch.setattr(frame_store, "CACHE_FROM", 0)
    first = FrameStore.build(sequence, 16, 12, root)
    monkeypatch.setattr(frame_store, "reduce_frame", None)
    again = FrameStore.build(sequence, 16, 12, root)
    assert np.array_equal(again.rgba, first.rgba)
    assert np.array_equal(again.labels, first.labels)


def test_what_a_killed_process_left_goes(tmp_path, tiny_video):
    root = tmp_path / "set"
    sequence = tiny_video().write(root)
    (root / ".cache").mkdir()
    abandoned, written = (root / ".cache" / f".frames_16x12_0.npy.{pid}.partial" for pid in (1, 2))
    for path in (abandoned, written):
        path.write_bytes(b"half")
    os.utime(abandoned, (0, 0))
    gone = root / ".cache" / ".frames_16x12_0.npy.3.partial"
    gone.symlink_to("renamed since it was listed")
    FrameStore.build(sequence, 16, 12, root, memory_limit=0)
    assert not abandoned.exists()
    assert written.exists()


@pytest.mark.parametrize("why", ["full disk", "link", "not writable"])
def test_frames_that_fit_into_memory_need_no_file(tmp_path, tiny_video, monkeypatch, why):
    root = tmp_path / "set"
    sequence = tiny_video().write(root)
    expected = FrameStore.build(sequence, 16, 12, root)
    if why == "full disk":
        free = type("Usage", (), {"free": 100})()
        monkeypatch.setattr("partnerface.data.batches.frame_store.shutil.disk_usage", lambda _: free)
    elif why == "link":
        (root / ".cache").symlink_to(tmp_path)
    else:
        # What a folder that belongs to somebody else says; the superuser may write anywhere.
        (root / ".cache").write_text("a file")
    monkeypatch.setattr(frame_store, "CACHE_FROM", 0)
    found = FrameStore.build(sequence, 16, 12, root)
    assert np.array_equal(found.rgba, expected.rgba)
    assert not list(tmp_path.rglob("frames_*"))


@pytest.mark.skipif(not Path("/proc/self/smaps").is_file(), reason="no /proc: not Linux")
def test_visited_frames_of_a_mapped_file_need_not_stay_in_memory(tmp_path, tiny_video):
    root = tmp_path / "set"
    sequence = tiny_video(frames=40, width=64, height=64).write(root)
    expected = FrameStore.build(sequence, 64, 64, root)
    mapped = FrameStore.build(sequence, 64, 64, root, memory_limit=0)
    for _ in range(2):
        assert np.array_equal(mapped.rgba, expected.rgba)
        assert _resident_kilobytes(root / ".cache") >= 40 * 64 * 64 * 5 // 1024
        mapped.release()
        assert _resident_kilobytes(root / ".cache") == 0
    expected.release()
    assert np.array_equal(mapped.labels, expected.labels)


def _resident_kilobytes(folder: Path) -> int:
    """Memory of this process that maps files of a folder, by the kernel's record."""
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if not line.split()[0].endswith(":"):
            inside = str(folder) in line
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total


def test_a_changed_image_makes_the_cache_anew(tmp_path, tiny_video):
    root = tmp_path / "set"
    sequence = tiny_video().write(root)
    FrameStore.build(sequence, 32, 24, root, memory_limit=0)
    write_image(sequence.image_paths[2], np.full((24, 32, 3), 7, np.uint8))
    store = FrameStore.build(sequence, 32, 24, root, memory_limit=0)
    assert (store.rgba[2, ..., :3] == 7).all()
    assert len(list((root / ".cache").iterdir())) == 1


def test_a_damaged_image_leaves_no_cache(tmp_path, tiny_video):
    root = tmp_path / "set"
    sequence = tiny_video().write(root)
    whole = sequence.matte_paths[3].read_bytes()
    sequence.matte_paths[3].write_bytes(whole[:-200])
    with pytest.raises(UserError, match=r"fg_masks/00003\.png"):
        FrameStore.build(sequence, 32, 24, root, memory_limit=0)
    assert list((root / ".cache").iterdir()) == []


def test_a_full_disk_is_one_line(tmp_path, tiny_video, monkeypatch):
    root = tmp_path / "set"
    sequence = tiny_video().write(root)
    free = type("Usage", (), {"free": 100})()
    monkeypatch.setattr("partnerface.data.batches.frame_store.shutil.disk_usage", lambda _: free)
    with pytest.raises(UserError, match="image_size"):
        FrameStore.build(sequence, 32, 24, root, memory_limit=0)
    assert list((root / ".cache").iterdir()) == []


def test_a_cache_that_is_a_link_is_refused(tmp_path, tiny_video):
    """A dataset from a stranger could have old caches removed in another folder."""
    root, elsewhere = tmp_path / "set", tmp_path / "elsewhere"
    sequence = tiny_video().write(root)
    elsewhere.mkdir()
    (elsewhere / "frames_16x12_0.npy").write_text("precious")
    (root / ".cache").symlink_to(elsewhere)
    with pytest.raises(UserError, match=r"\.cache: is a link"):
        FrameStore.build(sequence, 16, 12, root, memory_limit=0)
    assert (elsewhere / "frames_16x12_0.npy").read_text() == "precious"


@pytest.mark.parametrize("content", ["text", "another shape", "another type", "objects", "cut"])
def test_a_cache_that_is_none_is_written_again(tmp_path, tiny_video, content):
    root = tmp_path / "set"
    sequence = tiny_video().write(root)
    expected = np.array(FrameStore.build(sequence, 16, 12, root, memory_limit=0).rgba)
    (file,) = (root / ".cache").iterdir()
    arrays = {
        "another shape": np.zeros((6, 12, 15, 5), np.uint8),
        "another type": np.zeros((6, 12, 16, 5), np.int8),
        "objects": np.array([{}], object),
    }
    if content in arrays:
        np.save(file, arrays[content], allow_pickle=True)
    else:
        file.write_bytes(b"no array" if content == "text" else file.read_bytes()[:500])
    again = FrameStore.build(sequence, 16, 12, root, memory_limit=0)
    assert np.array_equal(again.rgba, expected)


def test_labels_that_are_none_are_named(tmp_path, tiny_video):
    root = tmp_path / "set"
    sequence = tiny_video().write(root)
    write_image(sequence.label_paths[3], np.full((24, 32), 7, np.uint8))
    with pytest.raises(UserError, match=r"labels/00003\.png: holds label 7, labels go up to 6"):
        FrameStore.build(sequence, 16, 12, root)


SIDE = 48


def disc(softness: float) -> np.ndarray:
    """``[SIDE, SIDE]`` share of a disc with a rim of ``softness`` pixels."""
    y, x = np.mgrid[:SIDE, :SIDE]
    distance = np.hypot(x - 23.7, y - 24.4)
    return np.clip((15 - distance) / softness + 0.5, 0, 1)


def colour_ramp(low: tuple[float, float, float], high: tuple[float, float, float]) -> np.ndarray:
    """``[SIDE, SIDE, 3]`` in [0, 1], changing from left to right."""
    share = np.linspace(0, 1, SIDE)[None, :, None]
    return np.broadcast_to((1 - share) * np.array(low) + share * np.array(high), (SIDE, SIDE, 3))


def as_bytes(values: np.ndarray) -> np.ndarray:
    return (values * 255).round().astype(np.uint8)


@pytest.mark.parametrize("softness", [1.5, 4.0, 8.0])
def test_a_known_person_is_taken_off_a_known_wall(softness):
    """The picture over white is that of the true colours, not of what the camera mixed in."""
    alpha = disc(softness)[..., None]
    person = colour_ramp((0.1, 0.05, 0.05), (0.3, 0.2, 0.1))
    wall = colour_ramp((0.6, 0.7, 0.8), (0.9, 0.8, 0.7))
    image, matte = as_bytes(alpha * person + (1 - alpha) * wall), as_bytes(alpha[..., 0])
    rim = (matte > 0) & (matte < 255)

    def error(colours: np.ndarray) -> float:
        over_white = alpha * colours / 255 + 1 - alpha
        return float(np.abs(over_white - (alpha * person + 1 - alpha))[rim].mean())

    assert error(foreground_colours(image, matte)) < 0.2 * error(image)


@pytest.mark.parametrize(("name", "gain"), [("a", 12), ("b", 9)])
def test_the_embedded_subject_before_its_wall_is_the_one_before_a_white_wall(anny, name, gain):
    subject = subject_named(name)
    white = replace(subject, background=((1.0, 1.0, 1.0), (1.0, 1.0, 1.0)))
    seen, true = (SubjectRenderer(anny, s, 240, 128, 0).render(5) for s in (subject, white))
    rim = (seen.matte > 0) & (seen.matte < 255)
    alpha = seen.matte[rim, None] / 255

    def decibels(image: np.ndarray) -> float:
        over_white = alpha * image[rim] / 255 + 1 - alpha
        return -10 * np.log10(np.square(over_white - true.image[rim] / 255).mean())

    assert decibels(foreground_colours(seen.image, seen.matte)) > decibels(seen.image) + gain


def test_colours_that_never_change_come_back_exactly():
    alpha = disc(3.0)[..., None]
    image = as_bytes(alpha * np.array([0.8, 0.2, 0.4]) + (1 - alpha) * np.array([0.0, 1.0, 0.6]))
    found = foreground_colours(image, as_bytes(alpha[..., 0]))
    seen = alpha[..., 0] > 0.05
    assert np.abs(found[seen].astype(int) - [204, 51, 102]).max() <= 3


def test_one_round_is_the_formula_of_the_paper(monkeypatch):
    """Blur fusion, pixel by pixel and window by window, at the corners of the frame too."""
    monkeypatch.setattr("partnerface.data.batches.frame_store.RADII", (2,))
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    matte = generator.choice(np.array([0, 40, 128, 200, 255], np.uint8), (7, 9))
    found = foreground_colours(image, matte)
    colours, alpha = image / 255, matte[..., None] / 255
    for y, x in np.ndindex(7, 9):
        window = slice(max(y - 2, 0), y + 3), slice(max(x - 2, 0), x + 3)
        c, a = colours[window], alpha[window]
        person = (c * a).sum((0, 1)) / (a.sum() + TINY)
        behind = (c * (1 - a)).sum((0, 1)) / ((1 - a).sum() + TINY)
        share = alpha[y, x]
        expected = person + share * (colours[y, x] - share * person - (1 - share) * behind)
        if 0 < matte[y, x] < 255:
            assert np.abs(found[y, x] - 255 * expected.clip(0, 1)).max() <= 0.51
        else:
            assert (found[y, x] == image[y, x]).all()


@pytest.mark.parametrize("value", [0, 255])
def test_nothing_to_take_out(value):
    image = np.random.default_rng(1).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    assert (foreground_colours(image, np.full((5, 4), value, np.uint8)) == image).all()


def test_a_matte_without_an_opaque_pixel_and_a_frame_smaller_than_the_windows():
    assert max(RADII) > 3
    image = np.full((3, 3, 3), 90, np.uint8)
    assert np.abs(foreground_colours(image, np.full((3, 3), 7, np.uint8)).astype(int) - 90).max() <= 1
