"""``tools/view.py`` in a real browser: what it shows, and that it asks nobody else."""

import re
import signal
import socket

import numpy as np
import pytest
from playwright.sync_api import expect, sync_playwright

from minkocc.files.infos import read_infos
from minkocc.files.occupancy import read_measured_label
from minkocc.structures.taxonomy import FREE, PALETTE, class_id
from tests.e2e.browser import FLAGS, Canvas, find_chromium, share
from tests.e2e.job import CONFIG, expect_error, tool
from tests.forked import ToolProcess

pytestmark = pytest.mark.processes

ROAD, GREEN = (PALETTE[class_id(name)] for name in ("driveable_surface", "vegetation"))


@pytest.fixture(scope="module")
def chromium(made_once):
    """A browser; the processes of a test run install it once."""
    made_once("chromium", lambda folder: find_chromium())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def saved(synthetic_root, made_once):
    """Predictions of both frames: the first one's label, and nothing but vegetation."""

    def make(folder):
        frames = read_infos(synthetic_root / "minkocc_infos_val.pkl")["data_list"]
        for number, frame in enumerate(frames):
            label, _, _ = read_measured_label(synthetic_root / frame["occ_path"])
            if number:
                label = np.where(label < FREE, class_id("vegetation"), FREE).astype(np.uint8)
            np.savez_compressed(folder / f"{frame['token']}.npz", pred=label)

    return made_once("viewed", make)


def words(root, saved, *more):
    return ["view.py", CONFIG, "--pred", saved, "--cfg-options", f"data_root={root}", *more]


@pytest.fixture
def served(synthetic_root, saved):
    """The tool at work, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = ToolProcess(*words(synthetic_root, saved, "--port", port))
    try:
        process.wait_for(lambda: process.out.exists() and "http" in process.out.read_text())
        address = re.search(r"http://\S+", process.out.read_text())[0]
        assert address == f"http://127.0.0.1:{port}"
        yield address
        process.kill(signal.SIGINT)
        done = process.wait(30)
    finally:
        process.kill()
    assert done.returncode == 130, done.stderr[-3000:]
    assert done.stderr.strip() == "interrupted"
    assert len(done.stdout.splitlines()) == 1


def opened(browser, address):
    """A page, its picture, and what it asks for over the net."""
    page = browser.new_page(viewport={"width": 900, "height": 700})
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda websocket: asked.append(websocket.url))
    page.goto(address)
    page.wait_for_selector("canvas")
    return page, Canvas(page), asked


def foreign(asked):
    """What is neither of this machine nor inside the page."""
    own = re.compile(r"(https?|ws)://(127\.0\.0\.1|localhost)(:\d+)?/?|data:|blob:|file:")
    return [url for url in asked if not own.match(url)]


def test_the_page_draws_and_its_controls_change_the_picture(chromium, served):
    page, canvas, asked = opened(chromium, served)
    assert "SwiftShader" in canvas.renderer()
    first = canvas.wait(lambda p: share(p, ROAD) > 0.03, "a road")
    assert share(first, GREEN) < 0.2

    page.get_by_role("button", name="driveable_surface", exact=True).click()
    hidden = canvas.wait(lambda p: share(p, ROAD) < 0.003, "a picture without the road")
    assert share(hidden, PALETTE[class_id("sidewalk")]) > 0.005  # and the rest stays
    assert page.get_by_role("button", name="driveable_surface (hidden)").is_visible()

    # By mouse: arrow keys move the camera too, for as long as a slow picture keeps them down.
    slider = page.get_by_role("slider").first
    slider.scroll_into_view_if_needed()  # the click on the class has moved it out of sight
    thumb = slider.bounding_box()
    track = page.locator(".mantine-Slider-track").first.bounding_box()
    page.mouse.click(track["x"] + track["width"] - 1, thumb["y"] + thumb["height"] / 2)
    expect(slider).to_have_attribute("aria-valuenow", "1", timeout=60_000)
    second = canvas.wait(lambda p: share(p, GREEN) > 0.3, "the second frame, all green")
    assert np.abs(second - first).mean() > 10

    page.get_by_role("button", name="Bird's eye").click()
    above = canvas.wait(lambda p: np.abs(p - second).mean() > 5, "another view")
    box = page.locator("canvas").first.bounding_box()
    rows, columns = np.nonzero(np.abs(above - GREEN).max(-1) <= 30)
    middle = len(rows) // 2
    page.mouse.click(box["x"] + float(columns[middle]), box["y"] + float(rows[middle]))
    page.get_by_text(re.compile(r"at x -?\d+\.\d, y -?\d+\.\d, z")).wait_for(timeout=60_000)
    assert (
        page.get_by_text("vegetation", exact=True).count() >= 2
    )  # the legend, and the click's answer
    assert len(asked) >= 2
    assert not foreign(asked)
    page.close()


def test_frames_are_played(chromium, served):
    page, canvas, _ = opened(chromium, served)
    canvas.wait(lambda p: share(p, ROAD) > 0.03, "the first frame")
    page.get_by_label("Play", exact=True).check()
    canvas.wait(lambda p: share(p, GREEN) > 0.3, "the second frame")
    canvas.wait(lambda p: share(p, ROAD) > 0.03, "the first frame again")
    page.close()


def test_an_exported_page_opens_from_the_file_system(chromium, synthetic_root, saved, tmp_path):
    out = tmp_path / "page.html"
    done = tool(*words(synthetic_root, saved, "--export", out, "--layer", "label"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == f"1 frames in {out}\n"
    assert out.stat().st_size < 4e6
    page, canvas, asked = opened(chromium, out.as_uri())
    canvas.wait(lambda p: share(p, ROAD) > 0.03, "a road")
    assert page.locator("#legend").get_by_text("driveable_surface").is_visible()
    assert not foreign(asked)
    assert not any(url.startswith(("http", "ws")) for url in asked)
    page.close()


def test_mistakes_end_in_a_line(synthetic_root, saved, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = tool(*words(synthetic_root, saved, "--port", port))
    expect_error(done, f"--port {port} on --host 127.0.0.1 cannot be listened on", "in use")
    done = tool(*words(synthetic_root, tmp_path))
    expect_error(done, f"--pred {tmp_path} holds no .npz", "tools/test.py --dump")
    done = tool(*words(synthetic_root, saved, "--frame", 2))
    expect_error(done, "--frame 2", "expected 0 to 1")
    done = tool(*words(synthetic_root, saved, "--pred", saved, "--pred", saved))
    expect_error(done, "at most 2 predictions")
    train = synthetic_root / "minkocc_infos_train.pkl"
    expect_error(tool(*words(synthetic_root, saved, "--infos", train)), "none of its 2", "--infos")
