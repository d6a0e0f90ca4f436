"use strict";
(() => {
  const { figures, colours } = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const narrow = window.matchMedia("(max-width: 40rem)");

  // Colours are stored by name, so that a change of theme redraws the same figures.
  const paint = (node, theme) => {
    if (Array.isArray(node)) return node.map((item) => paint(item, theme));
    if (node === null || typeof node !== "object") return node;
    const painted = {};
    for (const [key, value] of Object.entries(node)) {
      const named = key.endsWith("color") && Object.hasOwn(colours, value);
      painted[key] = named ? colours[value][theme] : paint(value, theme);
    }
    return painted;
  };

  const draw = () => {
    const theme = dark.matches ? "dark" : "light";
    for (const [id, figure] of Object.entries(figures)) {
      const { data, layout } = paint(figure, theme);
      if (narrow.matches) layout.font.size = 11;
      Plotly.react(id, data, layout, {
        responsive: true,
        displayModeBar: false,
      });
    }
  };
  draw();
  dark.addEventListener("change", draw);
  narrow.addEventListener("change", draw);

  const sortBy = (table, column, down) => {
    const body = table.tBodies[0];
    const key = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent;
    const order = (a, b) => {
      const [x, y] = [key(a), key(b)];
      const [n, m] = [Number(x), Number(y)];
      const numbers = x !== "" && y !== "" && !Number.isNaN(n) && !Number.isNaN(m);
      return numbers ? n - m : x.localeCompare(y, undefined, { numeric: true });
    };
    const rows = [...body.rows].sort(order);
    body.append(...(down ? rows.reverse() : rows));
  };
  for (const table of document.querySelectorAll("table.sortable")) {
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
  }
})();
