"""The page that unpacks a model.boil in a real browser, and reads the digits that are drawn."""

import base64
import html
import json
import math
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from states import plain_bytes

import boildown
from boildown import codec

DECODERS = Path(__file__).parents[2] / "decoders"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--enable-logging=stderr", "--virtual-time-budget=8000", "--dump-dom",
)  # fmt: skip
SHIPPED = re.compile(r'id="shipped">([^<]*)<')
TOLD = re.compile(r'<pre id="told">([^<]*)</pre>')
TELL = """
  function tell(value) {
    const told = Object.assign(document.createElement("pre"), { id: "told" });
    told.textContent = JSON.stringify(value);
    document.body.append(told);
  }
  const text = (id) => document.getElementById(id).textContent;
  function drawn(points) {
    const paper = document.getElementById("paper"), box = paper.getBoundingClientRect();
    points.forEach(([x, y], i) => paper.dispatchEvent(new PointerEvent(
      i ? "pointermove" : "pointerdown",
      { clientX: box.left + x, clientY: box.top + y, buttons: 1, bubbles: true })));
  }
  function dropped(name, bytes) {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([Uint8Array.from(bytes)], name));
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
  }
  async function shown(name) {
    while (![text("wrong"), text("title")].some((line) => line.startsWith(name))) {
      await new Promise((done) => setTimeout(done, 1));
    }
  }
"""


def page() -> str:
    return (DECODERS / "digits.html").read_text(encoding="utf-8")


def shipped() -> bytes:
    found = SHIPPED.search(page())
    assert found is not None
    return base64.b64decode(found[1])


def browsed(directory: Path, script: str) -> object:
    """What a script of ours tells from within the page."""
    shutil.copy(DECODERS / "boil.js", directory)
    copy = directory / "digits.html"
    copy.write_text(
        f"{page()}<script>{TELL}(async () => {{{script}}})();</script>", encoding="utf-8"
    )
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={directory / 'profile'}", copy.as_uri()]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=180)
    assert [line for line in told.stderr.splitlines() if "CONSOLE" in line] == []
    found = TOLD.search(told.stdout)
    assert found is not None, told.stdout
    return json.loads(html.unescape(found[1]))


def test_the_tensors_are_those_of_boildown(tmp_path: Path) -> None:
    found = browsed(
        tmp_path,
        """
        const bytes = Uint8Array.from(atob(text("shipped")), (letter) => letter.charCodeAt(0));
        const { names, tensors, config } = boil.decode(bytes);
        tell({ config, size: text("size"), rows: names.map((name) => [name, tensors[name].shape,
          Array.from(new Uint8Array(tensors[name].data.buffer),
            (byte) => byte.toString(16).padStart(2, "0")).join("")]) });
        """,
    )
    state, config = codec.decode(shipped())
    assert isinstance(found, dict)
    assert found["config"] == config
    assert found["size"] == f"{len(shipped()):,} bytes"
    assert found["rows"] == [
        [name, list(tensor.shape), plain_bytes(tensor).hex()] for name, tensor in state.items()
    ]


def test_a_one_and_a_zero_are_read(tmp_path: Path) -> None:
    one = [[100, 70], [135, 30], [135, 220]]
    turns = [2 * math.pi * i / 40 for i in range(41)]
    zero = [[128 + 55 * math.sin(turn), 128 - 90 * math.cos(turn)] for turn in turns]
    found = browsed(
        tmp_path,
        f"""
        const answers = [text("answer")];
        for (const points of [{one}, {zero}]) {{
          drawn(points);
          answers.push(text("answer"));
          document.getElementById("clear").click();
          answers.push(text("answer"));
        }}
        tell(answers);
        """,
    )
    assert found == ["", "1", "", "0", ""]


def test_what_is_drawn_is_seen_as_by_the_network(tmp_path: Path) -> None:
    """The scores of the page are those of the model that boildown loads."""
    found = browsed(
        tmp_path,
        """
        const stroke = [[60, 40], [180, 40], [90, 220]], pixels = pixelsOf([stroke]);
        tell({ pixels, scores: scores(pixels) });
        """,
    )
    assert isinstance(found, dict)
    pixels = torch.tensor(found["pixels"])
    assert pixels.min() >= 0
    assert pixels.max() == 16
    assert (pixels.view(8, 8).sum(1) > 0).all()
    (tmp_path / "model.boil").write_bytes(shipped())
    model = boildown.load(tmp_path / "model.boil").eval()
    inputs = ((pixels - 4.8734) / 6.0072).view(1, 1, 8, 8)
    with torch.no_grad():
        scores = model(inputs).softmax(1)[0]
    torch.testing.assert_close(torch.tensor(found["scores"]), scores, rtol=1e-4, atol=1e-5)


def test_other_files_are_shown_and_damaged_ones_refused(tmp_path: Path) -> None:
    damaged = bytearray(shipped())
    damaged[len(damaged) // 2] ^= 1
    other = codec.encode({"<b>w": torch.zeros(2, 3), "steps": torch.tensor(7)})
    found = browsed(
        tmp_path,
        f"""
        const seen = [];
        for (const [name, bytes] of [["bad.boil", {list(damaged)}], ["other.boil", {list(other)}],
            ["good.boil", {list(shipped())}]]) {{
          dropped(name, bytes);
          await shown(name);
          seen.push([text("wrong"), text("title"), text("tensors")]);
        }}
        drawn([[100, 70], [135, 30], [135, 220]]);
        tell([...seen, text("answer")]);
        """,
    )
    assert isinstance(found, list)
    bad, unlike, good, answer = found
    assert re.match("bad.boil: the .* is wrong", bad[0])
    assert bad[1].startswith("model.boil: ")
    assert "fc1.weight" in bad[2]
    assert "no network of linear layers" in unlike[0]
    assert unlike[1].startswith("other.boil: 32 bytes")
    assert "<b>wfloat322 \u00d7 324stepsint64scalar8" in unlike[2]
    assert good[0] == ""
    assert good[1].startswith("good.boil: 202,440 bytes")
    assert answer == "1"
