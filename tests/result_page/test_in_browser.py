"""The page in Chromium, from a file: sliders change the picture, the video plays, no network is needed."""

import base64
import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partnerface.files.videos import write_video

playwright = pytest.importorskip("playwright.sync_api", reason="a browser needs: pip install playwright")


@pytest.fixture(scope="module")
def browser() -> Iterator:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("a browser needs: apt install chromium")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize("width", [1280, 400])
def test_sliders_change_the_picture(browser, trained_run: Path, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    said, requests = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((trained_run / "report.html").as_uri())
    page.wait_for_selector("canvas[data-tile]")
    canvas, seen = page.locator("canvas"), []

    def shown() -> tuple[str, str]:
        return canvas.get_attribute("data-tile"), canvas.evaluate("canvas => canvas.toDataURL()")

    seen.append(shown())
    sliders = page.locator("fieldset input").all()
    for slider in sliders:
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        page.mouse.click(box["x"] + box["width"] - 3, box["y"] + box["height"] / 2)
        seen.append(shown())
    assert len({tile for tile, _ in seen}) == len({picture for _, picture in seen}) == len(sliders) + 1 > 5
    page.get_by_role("button", name="neutral").click()
    page.locator("fieldset input").first.focus()
    before = shown()
    page.keyboard.press("ArrowLeft")
    assert shown() != before, "by the keyboard"
    canvas.scroll_into_view_if_needed()
    before, box = shown(), canvas.bounding_box()
    page.mouse.move(box["x"] + 0.95 * box["width"], box["y"] + 0.95 * box["height"])
    assert shown() != before, "by the mouse on the picture"
    video = page.locator("video").first
    video.scroll_into_view_if_needed()
    # Not wait_for_function, whose eval the page's policy forbids.
    for _ in range(100):
        if video.evaluate("video => video.currentTime") > 0:
            break
        page.wait_for_timeout(50)
    assert video.evaluate("video => video.currentTime") > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert said == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    page.close()


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize(("width", "height"), [(320, 240), (1280, 720)])
def test_colours_are_those_that_were_written(
    browser, tmp_path: Path, width: int, height: int, suffix: str
) -> None:
    """Untagged videos are shown by a guess: BT.601 for small pictures, BT.709 for HD.

    Chromium's own conversion is up to 8 levels off in strong blue, so none is tried.
    """
    colours = [(200, 100, 80), (20, 160, 60), (90, 90, 130), (235, 235, 235), (0, 0, 0), (255, 255, 255)]
    stripes = np.array(colours, np.uint8).repeat(width // len(colours), 0)[None].repeat(height, 0)
    stripes = np.pad(stripes, ((0, 0), (0, width - stripes.shape[1]), (0, 0)), mode="edge")
    write_video(tmp_path / f"a{suffix}", [stripes] * 5, 25)
    video = base64.b64encode((tmp_path / f"a{suffix}").read_bytes()).decode()
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_content(
        f"<style>body {{margin: 0}}</style><video src='data:video/{suffix[1:]};base64,{video}'></video>"
    )
    for _ in range(100):
        if page.evaluate("document.querySelector('video').readyState") >= 2:
            break
        page.wait_for_timeout(50)
    seen = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
    page.close()
    for i, colour in enumerate(colours):
        found = seen[height // 2, int((i + 0.5) * width / len(colours))]
        assert np.abs(found - colour).max() <= 3, (colour, found)
