"""Small runs, and parts of their reports."""

import base64
import html
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import imagecodecs
import numpy as np
import tifffile

TOPHAT = {"white_tophat": {"radius": 4}}
SCALE = {"t": "30 s", "y": "0.325 um", "x": "0.325 um"}


def write_movie(folder):
    """Write five frames, one of them brighter, and return their path."""
    frames = np.random.default_rng(5).poisson(200, (5, 70, 90)).astype(np.uint16)
    frames[3] += 400
    path = folder / "movie.tif"
    tifffile.imwrite(path, frames, photometric="minisblack")
    return path


def config(movie, *steps, output="out.ome.zarr", scale=SCALE, **more):
    return {
        "input": {"path": str(movie), "axes": "tyx"} | ({"scale": dict(scale)} if scale else {}),
        "steps": list(steps or [TOPHAT]),
        "output": {"path": str(Path(movie).parent / output), **more},
        "compute": {"cluster": "threads"},
    }


def page_of(output):
    return (Path(output) / "bgone" / "report.html").read_text()


def drawings(page, kind):
    """Return the parsed SVG drawings of a class."""
    texts = re.findall(rf'<svg class="{kind}".*?</svg>', page, re.DOTALL)
    return [ElementTree.fromstring(text) for text in texts]


def images(page):
    """Return the decoded pictures of a page."""
    data = re.findall(r'href="data:image/png;base64,([^"]+)"', page)
    return [imagecodecs.png_decode(base64.b64decode(text)) for text in data]


def text_of(page):
    return " ".join(html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL)).split())


class Whole(HTMLParser):
    """Checks that every tag is closed, and collects the URLs that a browser would fetch."""

    ALONE = frozenset({"meta", "link", "br", "img", "input", "hr"})

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.fetched = [], set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.fetched += [value for name, value in attrs if name in ("src", "href") and value]
        if tag not in self.ALONE:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.ALONE:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
