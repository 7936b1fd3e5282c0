"""The page in headless Chromium: real clicks and drags. Skipped where Chromium or Playwright is missing."""

import io
import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from partnerface.viewer.server import Viewer
from tests.viewer.test_server import avatar, viewer  # noqa: F401 (fixtures)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--use-gl=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt install chromium"),
]


@pytest.fixture
def browser() -> Iterator[object]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="no Playwright here: pip install playwright"
    )
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


def canvas(page: object) -> np.ndarray:
    """``[H, W, 3]`` the part of the window with the picture, once it no longer changes."""
    last = None
    for _ in range(40):
        page.wait_for_timeout(500)
        shot = page.screenshot(clip={"x": 0, "y": 200, "width": 500, "height": 300})
        image = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(float)
        if last is not None and np.array_equal(image, last) and image.std() > 5:
            return image
        last = image
    raise AssertionError("the picture never comes to rest")


def test_clicks_and_drags_move_the_avatar_of_one_page_alone(viewer: Viewer, browser) -> None:  # noqa: F811
    first, second = (browser.new_page(viewport={"width": 900, "height": 700}) for _ in range(2))
    faults: list[str] = []
    for page in (first, second):
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(viewer.address)
    start, other = canvas(first), canvas(second)
    first.get_by_role("button", name="Open mouth").click()
    opened = canvas(first)
    assert np.abs(opened - start).max() > 30
    first.get_by_role("button", name="Neutral").click()
    assert np.abs(canvas(first) - start).mean() < 1
    first.mouse.move(250, 350)
    first.mouse.down()
    first.mouse.move(330, 350, steps=8)
    first.mouse.up()
    assert np.abs(canvas(first) - start).mean() > 1
    first.get_by_role("button", name="Reset view").click()
    assert np.abs(canvas(first) - start).mean() < 1
    assert np.array_equal(canvas(second), other)
    with first.expect_download() as saved:
        first.get_by_role("button", name="Screenshot").click()
    assert Image.open(saved.value.path()).size == (64, 64)
    second.close()
    first.get_by_role("button", name="Blink", exact=True).click()
    canvas(first)
    assert len(viewer.pages) == 1
    assert faults == []


def test_a_click_on_the_map_of_parts_lists_one_and_a_phone_shows_the_face_above_the_controls(
    viewer: Viewer,  # noqa: F811
    browser,
) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(viewer.address)
    page.get_by_role("tab", name="Parts").click()
    assert page.get_by_text("part 6", exact=True).is_visible()
    page.get_by_role("combobox", name="Show").click()
    page.get_by_role("option", name="Parts").click()
    page.wait_for_timeout(1500)
    page.mouse.click(195, 200)  # amid a picture of 390 x 390 at the top
    choice = page.get_by_role("combobox", name="List")
    page.wait_for_function("[...document.querySelectorAll('input')].some(i => i.value.startsWith('Part '))")
    title = choice.input_value().removeprefix("Part ")
    assert title in [part.title for part in viewer.parts]
    number = title.split(":")[0]
    for other in range(1, 7):
        assert page.get_by_text(f"part {other}", exact=True).count() == (str(other) == number)
    choice.click()
    choice.fill("All")
    page.get_by_role("option", name="All 6").click()
    page.get_by_text("part 6", exact=True).wait_for()
    assert faults == []
