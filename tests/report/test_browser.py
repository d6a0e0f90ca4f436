"""The page in a real browser: the plots are drawn, nothing is complained of."""

import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from made import BIG_PAYS, family, put, result
from PIL import Image

from boildown.report.asked import Asked
from boildown.report.build import gather, write
from boildown.report.serve import Live, server

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


def dumped(page: Path, directory: Path, script: str) -> str:
    """The document after a script of ours, on a copy whose policy lets it run."""
    text = page.read_text(encoding="utf-8")
    policy = re.search(r"<meta http-equiv[^>]*>", text)
    assert policy is not None
    copy = directory / "copy.html"
    changed = text.replace(policy[0], "").replace("</body>", f"<script>{script}</script></body>")
    copy.write_text(changed, encoding="utf-8")
    told = browse(copy, directory / "profile", "--dump-dom")
    assert complaints(told) == []
    return told.stdout


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("model=256", 12),
        ("seed=1 ratio>100", 2),
        ("bytes<=1000 w16", 3),
        ("test<5%", 6),
        ("nothing-like-it", 0),
        ("<script>", 1),
    ],
)
def test_the_runs_are_filtered(page: Path, tmp_path: Path, words: str, count: int) -> None:
    shown = dumped(
        page,
        tmp_path,
        f"const i=document.getElementById('filter-text');i.value={words!r};"
        "i.dispatchEvent(new Event('input'));",
    )
    rows = shown.partition('id="runs"')[2].partition("<tbody>")[2].partition("</tbody>")[0]
    hidden = len(re.findall(r"<tr[^>]*hidden", rows))
    assert rows.count("<tr") - hidden == count
    assert f"{count} of 34 runs" in shown


def test_two_runs_are_held_side_by_side(page: Path, tmp_path: Path) -> None:
    shown = dumped(
        page,
        tmp_path,
        "const pick=(n,t)=>[...document.querySelectorAll('#runs tbody tr')].find((r)=>"
        "r.cells[0].textContent===n).querySelector(`[data-tag=${t}]`).click();"
        "pick('w256-b1000-s0','A');pick('w64-b1000-s2','B');",
    )
    look = shown.partition('id="look"')[2]
    assert "A: w256-b1000-s0" in look
    assert "B: w64-b1000-s2" in look
    words = re.search(r'id="difference">([^<]*)<', look)
    assert words is not None
    assert words[1] == (
        "They differ: seed is 0 in A and 2 in B; model.width is 256 in A and 64 in B; "
        "compression.ratio is 340.008 in A and 35.88 in B. All else that was set is the same."
    )
    curves = look.partition('id="look-curves"')[2].partition("<table>")[0]
    assert len(re.findall(r'class="trace scatter', curves)) == 6
    layers = re.findall(r"<tr><td>(fc1\.\w+)</td><td class=\"n\">([^<]*)</td>", look)
    assert layers == [("fc1.weight", "8500x10 / 897x10"), ("fc1.bias", "10")]


def test_a_served_page_takes_new_results_and_keeps_the_library(tmp_path: Path) -> None:
    put(tmp_path / "runs/a", result())
    asked: list[str] = []

    def answered(self: Live) -> str:
        asked.append("page")
        shown = page_of(self)
        if len(asked) == 1:  # what the browser has is out of date as soon as it has it
            put(tmp_path / "runs/b", result(seed=1))
        return shown

    page_of = Live.page
    with pytest.MonkeyPatch.context() as patch, server([tmp_path], 0, Asked()) as made:
        patch.setattr(Live, "page", answered)
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        try:
            address = f"http://127.0.0.1:{made.server_port}/"
            command = [str(CHROMIUM), *QUIET, f"--user-data-dir={tmp_path / 'p'}", "--dump-dom"]
            told = subprocess.run(
                [*command, address], capture_output=True, text=True, check=True, timeout=180
            )
        finally:
            made.shutdown()
            thread.join()
    assert complaints(told) == []
    assert "2 runs from" in told.stdout
    assert told.stdout.count('src="plotly.js"') == 1
    assert asked == ["page", "page"]
    charts = re.split(r'<div class="chart[" ]', told.stdout)[1:]
    assert all('class="main-svg"' in chart for chart in charts)
    assert len(charts) >= 6
