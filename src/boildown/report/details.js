// Filter the runs, look into one, hold two side by side, and ask for newer results.
(() => {
  const make = (tag, text, attributes = {}) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };
  const state = { filter: "", all: false, picked: [null, null] }; // outlives a refresh; runs by their place

  // A filter is words that must all occur, and comparisons such as ratio>20 or seed=1.
  const comparison = /^([a-z]+)(<=|>=|<|>|=)(.+)$/;
  const columnOf = (word, names) => {
    const starts = names.findIndex((name) => name.startsWith(word));
    return starts >= 0 ? starts : names.findIndex((name) => name.split(" ").includes(word));
  };
  const parse = (text, names) =>
    text.toLowerCase().split(/\s+/).filter(Boolean).map((word) => {
      const found = comparison.exec(word);
      const column = found ? columnOf(found[1], names) : -1;
      if (column < 0) return (row) => row.text.includes(word);
      const value = found[3].endsWith("%") ? Number(found[3].slice(0, -1)) / 100 : Number(found[3]);
      const wanted = Number.isNaN(value) ? found[3] : value;
      return (row) => {
        if (row.values[column] === null && found[2] === "=") return row.words[column].includes(found[3]);
        const own = typeof wanted === "number" ? row.values[column] : row.words[column];
        if (own === null) return false;
        switch (found[2]) {
          case "<": return own < wanted;
          case "<=": return own <= wanted;
          case ">": return own > wanted;
          case ">=": return own >= wanted;
          default: return typeof own === "number" ? own === wanted : own.includes(wanted);
        }
      };
    });

  const filterBox = () => {
    const table = document.getElementById("runs");
    const box = document.getElementById("filter");
    if (!table || !box) return;
    const names = [...table.tHead.rows[0].cells].map((c) => c.textContent.toLowerCase());
    const most = 150; // rows at once, so that no layout takes longer than one notices
    const entries = new Map([...table.tBodies[0].rows].map((row) => {
      const cells = [...row.cells];
      return [row, {
        text: row.textContent.toLowerCase(),
        words: cells.map((c) => c.textContent.toLowerCase()),
        values: cells.map((c) => (c.dataset.v === undefined ? null : Number(c.dataset.v))),
      }];
    }));
    const input = make("input", undefined, {
      type: "search", id: "filter-text", placeholder: "seed=1 ratio>20", "aria-describedby": "filter-count",
    });
    const label = make("label", "Filter ", { for: "filter-text" });
    const count = make("span", "", { id: "filter-count", class: "muted", role: "status" });
    const apply = () => {
      state.filter = input.value;
      const tests = parse(input.value, names);
      let found = 0;
      for (const row of table.tBodies[0].rows) {
        const keep = tests.every((test) => test(entries.get(row)));
        found += keep;
        row.hidden = !keep || (found > most && !state.all);
      }
      const folded = table.closest("details");
      if (folded && input.value) folded.open = true;
      const all = entries.size.toLocaleString("en");
      const told = input.value ? ` ${found.toLocaleString("en")} of ${all} runs` : ` ${all} runs; words, or comparisons of a column`;
      const cut = found > most && !state.all;
      count.textContent = cut ? `${told}; the first ${most} are shown ` : told;
      more.hidden = !cut;
    };
    const more = make("button", "show all", { type: "button", class: "pick" });
    more.addEventListener("click", () => { state.all = true; apply(); });
    table.addEventListener("sorted", apply);
    input.addEventListener("input", apply);
    box.replaceChildren(label, input, count, more);
    input.value = state.filter;
    apply();
  };

  const figureOf = (value, metric) =>
    value === null || value === undefined ? "" : `${(value * metric.scale).toFixed(metric.unit ? 2 : 4)}${metric.unit}`;
  const whole = (value) => (value === null || value === undefined ? "" : Math.round(value).toLocaleString("en"));
  const TAGS = ["A", "B"];

  const grid = (caption, columns, rows) => {
    const scroll = make("div", undefined, { class: "scroll", tabindex: "0", role: "region", "aria-label": caption });
    const table = make("table");
    table.append(make("caption", caption));
    const head = make("tr");
    columns.forEach((name, i) => head.append(make("th", name, i ? { scope: "col", class: "n" } : { scope: "col" })));
    const top = make("thead");
    top.append(head);
    const body = make("tbody");
    for (const row of rows) {
      const line = make("tr");
      row.forEach((cell, i) => {
        const td = cell instanceof Node ? make("td", undefined, { class: "n" }) : make("td", cell, i ? { class: "n" } : {});
        if (cell instanceof Node) td.append(cell);
        line.append(td);
      });
      body.append(line);
    }
    table.append(top, body);
    scroll.append(table);
    return scroll;
  };

  const facts = (runs, metrics) => {
    const metric = metrics[runs[0].m];
    const rows = [
      ["file bytes", (r) => whole(r.v[0])],
      ["ratio", (r) => `${r.v[1]}x`],
      [`test ${metric.name}`, (r) => figureOf(r.v[2], metrics[r.m])],
      [`test ${metric.name} before compression`, (r) => figureOf(r.v[3], metrics[r.m])],
      [`validation ${metric.name}`, (r) => figureOf(r.v[4], metrics[r.m])],
      ["training FLOPs", (r) => (r.v[5] === null ? "" : r.v[5].toExponential(2))],
      ["seconds of training", (r) => (r.v[6] === null ? "" : String(r.v[6]))],
    ];
    return grid("Figures", ["", ...runs.map((r) => `${r.tag}: ${r.n}`)], rows.map(([name, of]) => [name, ...runs.map(of)]));
  };

  // What was set differently, in words.
  const difference = (runs, settings) => {
    const [a, b] = runs;
    const only = (one, other) => one.k.filter((technique) => !other.k.includes(technique));
    const alone = [...only(a, b), ...only(b, a)];
    const told = [];
    if (only(a, b).length) told.push(`only A has ${only(a, b).join(" and ")}`);
    if (only(b, a).length) told.push(`only B has ${only(b, a).join(" and ")}`);
    for (const [key, { values, of }] of settings) {
      if (alone.some((t) => key === `compression.${t}` || key.startsWith(`compression.${t}.`))) continue;
      const [x, y] = [values[of[a.place]], values[of[b.place]]];
      if (x === y) continue;
      if (x === "(absent)") told.push(`${key} is ${y} in B and absent in A`);
      else if (y === "(absent)") told.push(`${key} is ${x} in A and absent in B`);
      else told.push(`${key} is ${x} in A and ${y} in B`);
    }
    if (!told.length) return "A and B were set alike.";
    return `They differ: ${told.join("; ")}. All else that was set is the same.`;
  };

  const bar = (value, most, tag) => {
    const cell = make("span", whole(value), { class: `bar bar-${tag}` });
    cell.style.setProperty("--part", `${most ? (100 * (value ?? 0)) / most : 0}%`);
    return cell;
  };
  const percent = (part, all) => (part === undefined || part === null ? "" : `${((100 * part) / all).toFixed(1)}`);

  const layerTable = (runs, layers) => {
    const rows = new Map();
    runs.forEach((run, j) => {
      for (const [place, ...figures] of run.l) {
        const name = layers[place][0];
        if (!rows.has(name)) rows.set(name, []);
        rows.get(name)[j] = [layers[place], figures];
      }
    });
    if (!rows.size) return make("p", "The result names no layers.");
    const most = Math.max(...[...rows.values()].flat().filter(Boolean).map(([, f]) => f[0] ?? 0));
    const ranked = [...rows.values()].flat().some((r) => r && r[1][3] !== null && r[1][3] !== undefined);
    const columns = ["layer", "shape"];
    for (const title of ["bytes", "kept %", "values", "bits per weight", ...(ranked ? ["rank"] : [])]) {
      for (const run of runs) columns.push(runs.length > 1 ? `${title} ${run.tag}` : title);
    }
    const body = [...rows].map(([name, held]) => {
      const shapes = [...new Set(held.filter(Boolean).map(([layer]) => layer[1]))];
      const each = (of) => runs.map((run, j) => (held[j] ? of(held[j][0], held[j][1], run) : ""));
      return [
        name,
        shapes.join(" / "),
        ...each((layer, f, run) => bar(f[0], most, run.tag)),
        ...each((layer, f) => percent(f[1], layer[2])),
        ...each((layer, f) => whole(f[2])),
        ...each((layer, f) => (f[0] === null ? "" : ((8 * f[0]) / layer[2]).toFixed(2))),
        ...(ranked ? each((layer, f) => whole(f[3])) : []),
      ];
    });
    return grid("Layer by layer, the bytes as bars", columns, body);
  };

  const curves = (runs, shown) => {
    const metric = shown.metrics[runs[0].m];
    const panels = [["e", metric.axis, metric.scale], ["s", "zeros, %", 100], ["b", "file bytes", 1]]
      .filter(([key]) => runs.some((run) => run[key]));
    if (!panels.length) return null;
    const gap = 0.08;
    const height = (1 - gap * (panels.length - 1)) / panels.length;
    const axis = { gridcolor: "@grid", linecolor: "@muted", zeroline: false, automargin: true };
    const layout = {
      font: { color: "@ink", family: "system-ui, sans-serif", size: 13 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      hovermode: "x", height: 190 * panels.length + 60, margin: { l: 8, r: 12, t: 8, b: 8 },
      hoverlabel: { bgcolor: "@paper", bordercolor: "@muted", font: { color: "@ink" } },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, showlegend: true,
      xaxis: { ...axis, title: { text: "fraction of the budget" }, range: [0, 1.01], anchor: panels.length > 1 ? `y${panels.length}` : "y" },
    };
    const data = [];
    panels.forEach(([key, title, scale], i) => {
      const name = i ? `y${i + 1}` : "y";
      const top = 1 - i * (height + gap);
      layout[`yaxis${i ? i + 1 : ""}`] = { ...axis, title: { text: title }, domain: [Math.max(0, top - height), top], ...(key === "b" ? { type: "log", tickformat: "~s" } : { rangemode: "tozero" }) };
      runs.forEach((run) => {
        if (!run[key]) return;
        const colour = `@phase:${TAGS.indexOf(run.tag)}`;
        data.push({
          type: "scatter", mode: "lines+markers", name: run.tag, legendgroup: run.tag, showlegend: !data.some((t) => t.name === run.tag),
          x: shown.grids[run[key][0]], y: run[key][1].map((v) => (v === null ? null : v * scale)), yaxis: name,
          line: { color: colour, width: 2, dash: run.tag === "B" ? "dash" : "solid" }, marker: { color: colour, size: 5 },
        });
      });
    });
    return { data, layout };
  };

  const look = () => {
    const target = document.getElementById("look");
    const { details: shown, colours } = boildown.data();
    if (!target || !shown || !shown.runs.length) return;
    const find = (name) => shown.runs.findIndex((run) => run.n === name);
    if (find(state.picked[0]) < 0) state.picked[0] = shown.runs[0].n;
    if (state.picked[1] !== null && find(state.picked[1]) < 0) state.picked[1] = null;
    const pickers = make("p", undefined, { class: "pickers" });
    TAGS.forEach((tag, j) => {
      const label = make("label", `${tag} `);
      const select = make("select", undefined, { id: `pick-${tag}` });
      if (j) select.append(make("option", "no second run", { value: "" }));
      for (const run of shown.runs) select.append(make("option", `${run.n}: ${run.t}`, { value: run.n }));
      select.value = state.picked[j] ?? "";
      select.addEventListener("change", () => { state.picked[j] = select.value || null; show(); });
      label.append(select);
      pickers.append(label);
    });
    const body = make("div");
    const left = shown.all - shown.runs.length;
    const note = left ? make("p", `${left.toLocaleString("en")} of ${shown.all.toLocaleString("en")} runs are in the table alone, to keep the page small: report fewer directories to look into them.`, { class: "muted" }) : "";
    target.replaceChildren(make("h3", "Look into a run, or hold two side by side", { id: "look-title" }), pickers, note, body);
    const show = () => {
      const runs = state.picked.map(find).map((place, j) => (place < 0 ? null : { ...shown.runs[place], place, tag: TAGS[j] })).filter(Boolean);
      const parts = runs.length > 1 ? [make("p", difference(runs, shown.settings), { id: "difference" })] : [];
      const both = make("div", undefined, { class: "both" });
      const chart = make("div", undefined, { class: "chart", id: "look-curves", role: "img", "aria-label": "Curves of the runs picked; their ends are in the table." });
      both.append(facts(runs, shown.metrics), chart);
      body.replaceChildren(...parts, both, layerTable(runs, shown.layers));
      const figure = curves(runs, shown);
      if (figure) boildown.plot(chart, figure, colours);
      else chart.remove();
    };
    boildown.afterDraw.splice(0, 1, show);
  };

  const buttons = () => {
    const table = document.getElementById("runs");
    if (!table || !table.querySelector("[data-i]")) return;
    const { details: shown } = boildown.data();
    table.tHead.rows[0].append(make("th", "look", { scope: "col" }));
    for (const row of table.tBodies[0].rows) {
      const cell = row.insertCell();
      if (row.dataset.i === undefined) continue;
      TAGS.forEach((tag) => cell.append(make("button", tag, { type: "button", class: "pick", "data-tag": tag, "aria-label": `look at run ${shown.runs[row.dataset.i].n} as ${tag}` })));
    }
    table.tBodies[0].addEventListener("click", (event) => {
      const button = event.target.closest("button.pick");
      if (!button) return;
      const select = document.getElementById(`pick-${button.dataset.tag}`);
      select.value = shown.runs[button.closest("tr").dataset.i].n;
      select.dispatchEvent(new Event("change"));
      document.getElementById("look-title").scrollIntoView({ block: "start" });
    });
  };

  // Only a served page has newer versions: they replace what is seen, the library stays.
  const live = () => {
    const mark = document.getElementById("live");
    if (!mark) return;
    const ask = async () => {
      try {
        const answer = await fetch("version");
        const version = await answer.text();
        const held = document.getElementById("live").dataset.version;
        if (answer.ok && version !== held) {
          const text = await (await fetch("./")).text();
          const next = new DOMParser().parseFromString(text, "text/html").getElementById("page");
          const open = [...document.querySelectorAll("details")].map((d) => d.open);
          const [at, typed] = [window.scrollY, document.activeElement?.id];
          document.querySelectorAll(".js-plotly-plot").forEach((plot) => Plotly.purge(plot));
          document.getElementById("page").replaceChildren(...next.childNodes);
          document.querySelectorAll("details").forEach((d, i) => { d.open = open[i] ?? d.open; });
          boildown.setUp();
          if (typed) document.getElementById(typed)?.focus({ preventScroll: true });
          window.scrollTo(0, at);
        }
      } catch {
        document.title = "boildown report (the server has stopped)";
      }
      setTimeout(ask, 2000);
    };
    setTimeout(ask, 2000);
  };

  boildown.afterSetUp.push(buttons, filterBox, look);
  boildown.setUp();
  live();
})();
