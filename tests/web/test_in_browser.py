"""The pages in Chromium: what is drawn, clicked and pressed; screenshots go to out/screenshots."""

from contextlib import contextmanager

import cv2
import numpy as np
import pytest

from tests.web.conftest import CHROMIUM, SCREENSHOTS

pytestmark = pytest.mark.browser

if not CHROMIUM.exists():
    pytest.skip(f"needs Chromium as {CHROMIUM}: apt-get install chromium", allow_module_level=True)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), headless=True, args=options)
        yield browser
        browser.close()


@contextmanager
def page_of(browser, address, **options):
    """A page that must be without errors: in the console, in scripts, in requests."""
    context = browser.new_context(base_url=address, viewport={"width": 1280, "height": 900}, **options)
    page = context.new_page()
    wrong = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith((address, "data:")) else wrong.append(f"foreign request {request.url}"))
    page.set_default_timeout(20_000)
    yield page
    assert wrong == []
    context.close()


def shot(page, name):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    path = SCREENSHOTS / f"{name}.png"
    page.screenshot(path=str(path), full_page=True)
    assert cv2.imread(str(path)).std() > 2, f"{name} is an empty page"


def until(page, truth):
    """Wait for a truth; Playwright's own wait_for_function evaluates text, which the pages' policy forbids."""
    for _ in range(400):
        if page.evaluate(truth):
            return
        page.wait_for_timeout(50)
    raise AssertionError(truth)


def playing(page):
    """Wait until the video can be shown."""
    until(page, "document.getElementById('video').readyState >= 2")


def at(page, seconds, tolerance=0.05):
    """Wait until the video stands at a time."""
    until(page, f"Math.abs(document.getElementById('video').currentTime - {seconds}) < {tolerance}")


def pixels(page, selector, name):
    """The (H, W, 4) RGBA picture that a canvas holds."""
    import base64

    data = page.evaluate("s => document.querySelector(s).toDataURL('image/png')", selector)
    return cv2.imdecode(np.frombuffer(base64.b64decode(data.split(",")[1]), np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_looks_right(browser, address, made, scheme):
    with page_of(browser, address, color_scheme=scheme) as page:
        for name, path in {"library": "/", "people": "/people", "person": f"/people/{made.unnamed}"}.items():
            assert page.goto(path).ok, path
            page.wait_for_load_state("networkidle")
            assert page.locator("h1").inner_text() == {"library": "Library", "people": "People", "person": "Not named yet"}[name]
            assert page.evaluate("[...document.images].filter(one => !one.naturalWidth).length") == 0, "a picture is missing"
            shot(page, f"{name}-{scheme}")
        page.goto(f"/assets/{made.first}#t=0.5")
        playing(page)
        at(page, 0.5)
        until(page, "!document.getElementById('video').seeking && document.getElementById('video').readyState >= 3")
        page.wait_for_timeout(800)  # the player's own spinner fades
        shot(page, f"asset-{scheme}")


def test_narrow_screens_do_not_scroll_sideways(browser, address, made):
    with page_of(browser, address, device_scale_factor=2) as page:
        page.set_viewport_size({"width": 390, "height": 800})
        for name, path in {"library": "/", "people": "/people", "asset": f"/assets/{made.first}"}.items():
            page.goto(path)
            page.wait_for_load_state("networkidle")
            shot(page, f"{name}-narrow")
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path


def test_boxes_lie_on_the_faces_green_while_they_speak(browser, address, made):
    with page_of(browser, address) as page:
        page.goto(f"/assets/{made.first}#t=0.4")
        playing(page)
        page.wait_for_timeout(500)
        canvas = pixels(page, "#boxes", "boxes")
        scale = canvas.shape[1] / 320
        row = canvas[round(90 * scale)]
        left_of_t1, left_of_t2 = round(31.7 * scale), round(201.7 * scale)
        _, g, r, a = row[left_of_t1 - 2 : left_of_t1 + 3].max(axis=0).astype(int)
        assert a > 200 and g > r + 60, "the speaker's box is green"
        _, g, r, a = row[left_of_t2 - 2 : left_of_t2 + 3].max(axis=0).astype(int)
        assert a > 200 and r > g + 60, "the listener's box is red"
        page.uncheck("#show-boxes")
        assert pixels(page, "#boxes", "none")[..., 3].max() == 0


def test_a_click_on_a_turn_goes_there(browser, address, made):
    with page_of(browser, address) as page:
        page.goto(f"/assets/{made.first}")
        playing(page)
        page.click("#turns tbody tr:nth-child(2) .seek")
        at(page, 1.8)
        assert page.evaluate("location.hash") == "#t=1.8"
        assert "now" in page.get_attribute("#turns tbody tr:nth-child(2)", "class")


def test_a_click_on_the_timeline_goes_there(browser, address, made):
    with page_of(browser, address) as page:
        page.goto(f"/assets/{made.first}")
        playing(page)
        box = page.locator("#timeline").bounding_box()
        x = 132 + (box["width"] - 132 - 8) * 0.5
        page.mouse.click(box["x"] + x, box["y"] + 40)
        at(page, 2, 0.1)


def test_keys_go_from_turn_to_turn_and_the_table_can_be_tabbed(browser, address, made):
    with page_of(browser, address) as page:
        page.goto(f"/assets/{made.first}")
        playing(page)
        page.focus("body")
        for expected in (0.2, 1.8, 3.0):
            page.keyboard.press("n")
            at(page, expected)
        page.keyboard.press("p")
        at(page, 1.8)
        page.focus("#turns tbody tr:nth-child(1) .seek")
        page.keyboard.press("Enter")
        at(page, 0.2)


def test_timeline_zooms_and_shows_all(browser, address, made):
    with page_of(browser, address) as page:
        page.goto(f"/assets/{made.first}")
        playing(page)
        whole = pixels(page, "#timeline", "whole")
        page.click("#zoom-in")
        assert (pixels(page, "#timeline", "zoomed") != whole).any()
        page.click("#zoom-all")
        assert np.array_equal(pixels(page, "#timeline", "again"), whole)


def test_what_chromium_cannot_play_is_prepared_and_plays(browser, address, made):
    made.proxies.path(made.second).unlink(missing_ok=True)
    with page_of(browser, address) as page:
        page.goto(f"/assets/{made.second}")
        playing(page)
        assert page.is_hidden("#preparing")
        page.evaluate("document.getElementById('video').play()")
        until(page, "document.getElementById('video').currentTime > 0.5")


def test_library_filters_by_name(browser, address, made):
    with page_of(browser, address) as page:
        page.goto("/")
        page.fill("#filter", "TUESDAY")
        assert page.locator("#assets tbody tr:visible").count() == 1
        page.fill("#filter", "wednesday")
        assert page.is_visible("#nothing")


def test_copy_puts_the_line_into_the_clipboard(browser, address, made):
    with page_of(browser, address, permissions=["clipboard-read", "clipboard-write"]) as page:
        page.goto("/people")
        page.click("button.copy")
        until(page, "document.querySelector('button.copy').textContent === 'Copied'")
        assert page.evaluate("navigator.clipboard.readText()") == f'rollcall name {made.unnamed[:8]} "…"'


def test_headings_labels_and_names_are_there_for_readers_of_the_screen(browser, address, made):
    with page_of(browser, address) as page:
        for path in ("/", "/people", f"/assets/{made.first}", f"/people/{made.ann}"):
            page.goto(path)
            assert page.locator("h1").count() == 1
            assert page.locator("main").count() == 1
            assert page.evaluate("document.documentElement.lang") == "en"
            assert page.evaluate("[...document.querySelectorAll('img')].every(i => i.hasAttribute('alt'))")
            assert page.evaluate("[...document.querySelectorAll('button')].every(b => b.textContent.trim() || b.ariaLabel)")
            assert page.evaluate("[...document.querySelectorAll('input')].every(i => i.labels.length)")
