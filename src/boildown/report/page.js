"use strict";
const boildown = { paint: null, theme: null, afterDraw: [], afterSetUp: [] };
(() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const narrow = window.matchMedia("(max-width: 40rem)");
  boildown.data = () => JSON.parse(document.getElementById("figures").textContent);

  // Colours are stored by name, so that a change of theme redraws the same figures.
  const paint = (node, colours) => {
    if (Array.isArray(node)) return node.map((item) => paint(item, colours));
    if (node === null || typeof node !== "object") return node;
    const theme = dark.matches ? "dark" : "light";
    const painted = {};
    for (const [key, value] of Object.entries(node)) {
      const named = key.endsWith("color") && Object.hasOwn(colours, value);
      painted[key] = named ? colours[value][theme] : paint(value, colours);
    }
    return painted;
  };

  boildown.plot = (target, figure, colours) => {
    const { data, layout } = paint(figure, colours);
    if (narrow.matches) layout.font.size = 11;
    layout.uirevision = "kept"; // a refresh keeps what was zoomed
    Plotly.react(target, data, layout, { responsive: true, displayModeBar: false });
  };

  boildown.draw = () => {
    const { figures, colours } = boildown.data();
    for (const [id, figure] of Object.entries(figures)) {
      if (document.getElementById(id)) boildown.plot(id, figure, colours);
    }
    for (const more of boildown.afterDraw) more();
  };

  const key = (row, column) => row.cells[column].dataset.v ?? row.cells[column].textContent;
  const sortBy = (table, column, down) => {
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [key(row, column), row]);
    rows.sort(([x], [y]) => {
      const [n, m] = [Number(x), Number(y)];
      const numbers = x !== "" && y !== "" && !Number.isNaN(n) && !Number.isNaN(m);
      return numbers ? n - m : x.localeCompare(y, undefined, { numeric: true });
    });
    if (down) rows.reverse();
    body.append(...rows.map(([, row]) => row));
    table.dispatchEvent(new Event("sorted"));
  };
  const sortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        sortBy(table, column, down);
      });
    });
  };

  boildown.setUp = () => {
    for (const table of document.querySelectorAll("table.sortable")) sortable(table);
    for (const more of boildown.afterSetUp) more();
    boildown.draw();
  };
  dark.addEventListener("change", boildown.draw);
  narrow.addEventListener("change", boildown.draw);
})();
