"""A real Chromium without a screen: found, installed where that is possible, and driven."""

import io
import os
import shutil
import subprocess
import time

import numpy as np
import pytest
from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",  # root in a container
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
)
INSTALL = (
    ("apt-get", "update", "-qq"),
    ("apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"),
)


def find_chromium():
    """The path of a Chromium; Debian's is installed if there is none and that is possible.

    Skips the test, with the reason, where there is none in the end.
    """
    if found := next(filter(None, map(shutil.which, NAMES)), None):
        return found
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        pytest.skip("no Chromium on PATH, and none can be installed: that takes root and apt-get")
    for command in INSTALL:
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        try:
            done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=400)
        except subprocess.TimeoutExpired:
            pytest.skip(f"no Chromium on PATH, and `{' '.join(command)}` takes too long")
        if done.returncode:
            reason = (done.stderr or done.stdout).strip().splitlines()[-1:]
            pytest.skip(f"no Chromium on PATH, and `{' '.join(command)}` fails: {reason}")
    return shutil.which("chromium") or pytest.skip("apt-get installed no chromium")


class Canvas:
    """What is drawn on a page, once it has come to rest.

    Args:
        page: of playwright.
    """

    def __init__(self, page):
        self.page = page

    def pixels(self):
        """``(H, W, 3)`` of the picture now."""
        png = self.page.locator("canvas").first.screenshot(timeout=120_000)
        with Image.open(io.BytesIO(png)) as image:
            return np.asarray(image.convert("RGB")).astype(int)

    def wait(self, condition, what, seconds=120):
        """The first picture that meets a condition; fails where none does."""
        deadline = time.monotonic() + seconds
        while True:
            pixels = self.pixels()
            if condition(pixels):
                return pixels
            assert time.monotonic() < deadline, f"never seen: {what}"
            time.sleep(0.3)

    def renderer(self):
        """What WebGL says that it draws with."""
        return self.page.evaluate(
            """() => {
                const gl = document.createElement('canvas').getContext('webgl2');
                const info = gl.getExtension('WEBGL_debug_renderer_info');
                return gl.getParameter(info.UNMASKED_RENDERER_WEBGL);
            }"""
        )


def share(pixels, colour, tolerance=30):
    """Share of a picture's pixels that have a colour, about."""
    return float((np.abs(pixels - np.array(colour)).max(-1) <= tolerance).mean())
