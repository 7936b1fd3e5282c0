"""Pages without a browser: they are sent what the avatar renders, and none harms another."""

import gc
import socket
import threading
import time
import urllib.request
import weakref
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from websockets.exceptions import InvalidStatus

from partnerface.avatar.avatar import Avatar
from partnerface.cli.main import main
from partnerface.data.drivers.driver import OwnFrames
from partnerface.data.synthetic.reader import SyntheticReader
from partnerface.deformation.part_networks import PartNetworks
from partnerface.errors import UserError
from partnerface.evaluation.pictures import part_colours
from partnerface.fields.hash_field import HashField
from partnerface.files.video_reading.read import read_video
from partnerface.head_models.anny import AnnyHead
from partnerface.rendering.torso_layer import TorsoLayer
from partnerface.sampling.head_sampler import HeadRaySampler
from partnerface.skinning.nearest_surface import NearestSurface
from partnerface.viewer.drawing import CHANNELS
from partnerface.viewer.server import Viewer
from tests.contracts.subjects import disturb
from tests.viewer.pages import WirePage
from tests.views import views_of

SIZE = 64
JPEG_ERROR = 6.0
"""Mean difference of grey levels that JPEG makes of a small picture with hard edges."""


@pytest.fixture(scope="module")
def avatar(synthetic_dataset: Path) -> Avatar:
    """A head of random colours, of six parts."""
    torch.manual_seed(0)
    made = Avatar(
        head_model=AnnyHead(),
        skinning=NearestSurface(),
        deformation=partial(PartNetworks, parts=6, hidden_width=16),
        field=partial(HashField, levels=4, log2_table_size=12, finest=64, hidden_width=16),
        sampler=HeadRaySampler(samples=12, cells=32),
        torso=TorsoLayer(resolutions=(8, 16), channels=4),
    )
    made.adapt_to(SyntheticReader(synthetic_dataset, frames=24, size=32).read())
    disturb(made.field, 0.3)
    disturb(made.deformation.networks, 0.3)
    return made.eval()


LOADED = threading.Event()
"""Until when a slow performance waits."""


@pytest.fixture
def viewer(avatar: Avatar, synthetic_dataset: Path) -> Iterator[Viewer]:
    sequence = SyntheticReader(synthetic_dataset, frames=24, size=32).read()

    def missing() -> OwnFrames:
        raise UserError("talk.csv: no such file;\nname another")

    views = replace(views_of(sequence), rig=avatar.rig())

    def slow() -> OwnFrames:
        assert LOADED.wait(20)
        return OwnFrames(views, range(5), 25.0)

    performances = {"Own": lambda: OwnFrames(views, range(10), 25.0), "Missing": missing, "Slow": slow}
    LOADED.clear()
    made = Viewer(avatar, avatar.neutral_view(), performances, SIZE, port=0)
    yield made
    made.stop()
    assert made.pages == {}


@pytest.fixture
def page(viewer: Viewer) -> Iterator[WirePage]:
    made = opened(viewer)
    yield made
    made.close()


def opened(viewer: Viewer) -> WirePage:
    """A page that stands where the avatar's own camera does, with its first picture."""
    made = WirePage(viewer.address, SIZE, SIZE)
    camera = viewer.still.camera.camera_to_world[0]
    made.look(camera[:, 3].tolist(), (0.0, 1.0, 0.0, 0.0))  # the embedded camera looks along -z
    made.settled()
    return made


def rendered(viewer: Viewer, **actions: float) -> np.ndarray:
    view = viewer.still.with_expression(**actions)
    return viewer.avatar.render(view, size=(SIZE, SIZE)).to_bytes()


def difference(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first.astype(float) - second).mean())


def assert_same(first: np.ndarray, second: np.ndarray) -> None:
    """But for rounding to levels."""
    assert first.shape == second.shape
    assert np.abs(first.astype(float) - second).max() <= 1


def test_a_page_shows_what_the_avatar_renders_and_a_slider_changes_both_sides(viewer, page) -> None:
    start = rendered(viewer)
    assert difference(page.settled(), start) < JPEG_ERROR
    assert_same(page.shot(), start)
    page.use("jawOpen", 0.8)
    assert difference(rendered(viewer, jawOpen=0.8), start) > 0.3
    assert_same(page.shot(), rendered(viewer, jawOpen=0.8))
    page.use("jawOpen", 0.0)
    page.use("mouthSmileLeft", 1)
    page.wait(lambda: page.value("mouthSmileRight") == 1)
    assert_same(page.shot(), rendered(viewer, mouthSmileLeft=1, mouthSmileRight=1))
    page.use("Presets", "Neutral")
    page.wait(lambda: page.value("mouthSmileLeft") == 0)
    assert_same(page.shot(), start)


def test_values_that_a_page_makes_up_stay_in_their_range(viewer, page) -> None:
    page.use("jawOpen", 1e30)
    page.use("browInnerUp", float("nan"))
    page.use("Degrees upwards", float("inf"))
    assert_same(page.shot(), rendered(viewer, jawOpen=1))
    assert page.notices == []


def test_two_pages_have_states_of_their_own(viewer, page) -> None:
    other = opened(viewer)
    pictures = len(page.pictures)
    other.use("Presets", "Open mouth")
    other.wait(lambda: other.value("jawOpen") == 0.75)
    assert_same(other.shot(), rendered(viewer, jawOpen=0.75))
    assert len(page.pictures) == pictures
    assert_same(page.shot(), rendered(viewer))
    other.close()


def test_a_page_that_vanishes_is_forgotten_and_the_others_live_on(viewer, page) -> None:
    other = opened(viewer)
    other.use("Performance", "Own")
    other.wait(lambda: len(other.pictures) > 5)
    forgotten = weakref.ref(viewer.pages[max(viewer.pages)])
    other.use("Record")
    other.vanish()
    page.wait(lambda: len(viewer.pages) == 1)
    page.use("jawOpen", 0.5)
    assert_same(page.shot(), rendered(viewer, jawOpen=0.5))
    page.wait(lambda: gc.collect() >= 0 and (forgotten() is None or forgotten().recorder is None))
    assert len(viewer.loop._slots) == 1


def test_a_part_is_switched_off_for_the_page_that_asks(viewer, page) -> None:
    other = opened(viewer)
    page.use("Those listed", "Off")
    page.wait(lambda: page.value("part 6") == 0)
    shown = page.shot()
    assert_same(other.shot(), rendered(viewer))
    viewer.avatar.scale_parts(torch.zeros(6))
    without = rendered(viewer)
    viewer.avatar.scale_parts(None)
    assert difference(without, rendered(viewer)) > 0.3
    assert_same(shown, without)
    other.close()


def test_one_part_is_listed_shown_alone_and_isolated(viewer, page) -> None:
    """Only its slider is left, the map of parts colours it alone, and the buttons act on it."""
    part = viewer.parts[0].number
    page.use("List", f"Part {viewer.parts[0].title}")
    listed = {f"part {k + 1}": k == part for k in range(6)}
    page.wait(
        lambda: (
            {p["label"]: p["visible"] for p in page.controls.values() if p.get("label") in listed} == listed
        )
    )
    picture = viewer.avatar.render(viewer.still, size=(SIZE, SIZE), with_parts=True)
    page.use("Show", "Parts")
    mapped, weight = page.shot().astype(float), picture.part_weights[..., part].numpy()
    colour, shade = part_colours(6)[part].numpy(), picture.on_white().mean(0).numpy()
    tinted = 255 * (weight * (0.5 + 0.5 * shade))[..., None] * colour
    expected = 0.7 * tinted + (1 - 0.7 * weight[..., None]) * picture.to_bytes()
    assert np.abs(mapped - expected).max() < 2
    page.use("Show", "Colour")
    page.use("Those listed", "Only these")
    page.wait(lambda: page.value(f"part {(part + 1) % 6 + 1}") == 0)
    # The page renders with the same avatar.
    page.settled()
    viewer.avatar.scale_parts(torch.eye(6)[part])
    alone = rendered(viewer)
    viewer.avatar.scale_parts(None)
    assert_same(page.shot(), alone)
    page.use("Those listed", "Reset all")
    page.wait(lambda: page.value(f"part {(part + 1) % 6 + 1}") == 1)
    assert_same(page.shot(), rendered(viewer))


def test_a_click_on_the_map_of_parts_lists_the_part_there(viewer, page) -> None:
    weights = viewer.avatar.render(viewer.still, size=(SIZE, SIZE), with_parts=True).part_weights
    clear = (weights.max(2).values > 0.95).nonzero()
    row, column = clear[len(clear) // 3].tolist()
    part = int(weights[row, column].argmax())
    title = next(summary.title for summary in viewer.parts if summary.number == part)
    page.click((column + 0.5) / SIZE, (row + 0.5) / SIZE)
    page.shot()
    assert page.value("List") is None  # a click on the colour picture is none
    page.use("Show", "Parts")
    page.settled()
    page.click((column + 0.5) / SIZE, (row + 0.5) / SIZE)
    page.wait(lambda: page.value("List") == f"Part {title}")
    page.settled()
    page.click(0.01, 0.01)
    page.wait(lambda: page.value("List") == "All 6")
    assert page.notices == []


def test_a_performance_plays_and_is_recorded_frame_by_frame(viewer, page, tmp_path) -> None:
    page.use("Performance", "Own")
    page.wait(lambda: len(page.pictures) > 5)
    page.use("Record")
    before = len(page.pictures)
    page.wait(lambda: len(page.pictures) > before + 15)
    page.use("Stop and download")
    page.wait(lambda: "avatar.mp4" in page.files)
    path = tmp_path / "clip.mp4"
    path.write_bytes(page.files["avatar.mp4"])
    frames = [frame.image for frame in read_video(path)]
    assert len(frames) >= 12
    assert frames[0].shape == (SIZE, SIZE, 3)
    # The performance has ten frames: the eleventh of the recording is the first again.
    assert difference(frames[0], frames[10]) < difference(frames[0], frames[5])


def test_of_performances_that_load_the_last_chosen_is_shown(viewer, page) -> None:
    page.use("Performance", "Slow")
    page.use("Performance", "Own")
    [shown] = viewer.pages.values()
    page.wait(lambda: len(shown.playback) == 10)
    LOADED.set()
    time.sleep(0.5)
    assert len(shown.playback) == 10
    page.use("Performance", "Slow")
    page.wait(lambda: len(shown.playback) == 5)


@pytest.mark.parametrize("channel", CHANNELS[1:])
def test_channels_are_shown(page, channel) -> None:
    before = page.settled()
    page.use("Show", channel)
    assert difference(page.settled(), before) > 1
    assert page.notices == []


def test_a_failure_is_one_line_on_the_page(viewer, page) -> None:
    page.use("Performance", "Missing")
    page.wait(lambda: page.notices)
    assert page.notices == ["talk.csv: no such file; name another"]
    page.use("jawOpen", 1)
    assert_same(page.shot(), rendered(viewer, jawOpen=1))


def test_web_pages_of_others_are_refused_and_nothing_makes_it_public(viewer, page) -> None:
    with pytest.raises(InvalidStatus):
        WirePage(viewer.address, origin="https://example.org")
    WirePage(viewer.address, origin="http://localhost:9000").close()
    assert viewer._server.get_host() == "127.0.0.1"
    page._send(type="ShareUrlRequest")
    page.shot()
    assert viewer._server._share_tunnel is None
    assert b"<html" in urllib.request.urlopen(viewer.address).read()[:500]


def test_a_taken_port_is_one_line_at_once(tmp_path, capsys) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        start = time.monotonic()
        assert main(["view", str(tmp_path / "none"), f"--port={port}"]) == 2
        assert time.monotonic() - start < 10
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert f"--port {port}: cannot be used" in said.err
    assert said.out == ""


def test_an_avatar_that_is_not_there_is_one_line(tmp_path, capsys) -> None:
    assert main(["view", str(tmp_path / "none"), "--port=0"]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "none" in said.err
