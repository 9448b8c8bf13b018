"""The report in a real browser, without a network: it renders, its script runs, its figures are there."""

import re
import shutil
import subprocess
import sys

import pytest

from plurality.analyses.audit.compute import audit

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")


def opened(page, folder, *what):
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--user-data-dir={folder}",
    ]
    # nothing may be fetched: every name resolves to nowhere
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=3000", *what, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.fixture(scope="module")
def page(planted, tmp_path_factory):
    return audit(*planted, n_bootstrap=50).save(tmp_path_factory.mktemp("report") / "audit") / "index.html"


def test_the_page_renders_and_its_table_shows_one_metric(page, tmp_path):
    dom = opened(page, tmp_path, "--dump-dom")
    table = re.search(r'<section class="view" id="slices">.*?</tbody>', dom, re.DOTALL)[0]
    assert 'class="explored"' in dom  # the script ran under the page's policy
    assert 2 < table.count("<tr") < 10
    assert table.count("<circle") + table.count("<path") > 4  # and drew
    assert dom.index("Who is served") < dom.index("Every slice")


def test_the_page_is_drawn_with_its_figures(page, tmp_path):
    picture = tmp_path / "page.png"
    opened(page, tmp_path / "profile", "--hide-scrollbars", "--window-size=900,3000", f"--screenshot={picture}")
    pixels = drawn(picture)
    assert pixels.shape[:2] == (3000, 900)
    ink = (pixels[..., :3].mean(-1) < 0.5).mean(1)  # dark share of each line of pixels
    assert (ink > 0).mean() > 0.4  # text and figures down the page
    assert sys.getsizeof(picture.read_bytes()) > 50_000


def drawn(path):
    from matplotlib.image import imread

    return imread(path)
