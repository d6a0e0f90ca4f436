"""The page in a real browser: the plots are drawn, nothing is complained of."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from made import BIG_PAYS, family, put, result
from PIL import Image

from boildown.report.build import gather, write

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--enable-logging=stderr", "--virtual-time-budget=8000",
)  # fmt: skip


def browse(page: Path, profile: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={profile}", *more, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=180)


def complaints(told: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in told.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("browser")
    family(directory / "runs", BIG_PAYS)
    hostile = '</script><script>document.title="taken"</script><img src=x onerror=alert(1)>'
    put(directory / "runs/hostile", result(seed=1, width=16, size=1234, name=hostile))
    return write(gather([directory / "runs"]), directory / "report.html").page


def test_the_plots_are_drawn(page: Path, tmp_path: Path) -> None:
    told = browse(page, tmp_path, "--dump-dom")
    assert complaints(told) == []
    assert "<title>boildown report</title>" in told.stdout
    charts = re.split(r'<div class="chart[" ]', told.stdout)[1:]
    assert len(charts) == 9
    for chart in charts:
        assert 'class="main-svg"' in chart
    size, lead, error, sparsity, size_so_far, learning, flops, _, look = charts
    for through in (error, sparsity, size_so_far):
        assert len(re.findall(r'class="trace scatter', through)) == 10
        assert ">prune</text>" in through
    assert len(re.findall(r'class="trace scatter', look)) == 3
    assert len(re.findall(r'class="trace scatter', size)) == 5
    assert "dense, fp32" in size
    assert len(re.findall(r'class="point"', size)) >= 12
    assert "width 256" in size
    assert len(re.findall(r'class="trace scatter', learning)) == 6
    assert len(re.findall(r'class="trace scatter', lead)) == 4
    assert len(re.findall(r'class="trace bars', flops)) == 3
    assert '<th scope="col" class="n"><button' in told.stdout


def test_light_and_dark_differ(page: Path, tmp_path: Path) -> None:
    shades = []
    for theme, setting in (("light", 1), ("dark", 0)):
        picture = tmp_path / f"{theme}.png"
        told = browse(
            page,
            tmp_path / theme,
            f"--blink-settings=preferredColorScheme={setting}",
            "--window-size=1000,900",
            f"--screenshot={picture}",
        )
        assert complaints(told) == []
        with Image.open(picture) as image:
            shades.append(image.convert("L").getpixel((3, 3)))
            assert len(image.convert("RGB").getcolors(1 << 24) or []) > 50
    assert shades[0] > 240
    assert shades[1] < 40


def test_a_heading_sorts(page: Path, tmp_path: Path) -> None:
    """On a copy whose policy lets a script click: the size of the files, down, then up."""
    text = page.read_text(encoding="utf-8")
    policy = re.search(r"<meta http-equiv[^>]*>", text)
    assert policy is not None
    orders = []
    for clicks in (1, 2):
        script = (
            "const b=[...document.querySelectorAll('table.sortable')].at(-1)"
            f".querySelectorAll('th button')[4];for(let i=0;i<{clicks};i++)b.click();"
        )
        copy = tmp_path / f"{clicks}.html"
        changed = text.replace(policy[0], "").replace(
            "</body>", f"<script>{script}</script></body>"
        )
        copy.write_text(changed, encoding="utf-8")
        told = browse(copy, tmp_path / f"profile{clicks}", "--dump-dom")
        assert complaints(told) == []
        table = told.stdout.rpartition('<table class="sortable"')[2].partition("</table>")[0]
        rows = table.partition("<tbody>")[2].split("<tr")[1:]
        orders.append([int(re.findall(r'data-v="(\d+)"', row)[1]) for row in rows])
    assert orders[0] == sorted(orders[0])
    assert orders[1] == orders[0][::-1]
    assert len(set(orders[0])) == 5
