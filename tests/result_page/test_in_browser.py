"""The page in Chromium, from a file: sliders change the picture, the video plays, no network is needed."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

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
