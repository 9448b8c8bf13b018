"use strict";
// What a reader does with the views of a page: choose, filter, sort, hover, follow. Words reach the page as text, never
// as markup. The chart shows what the table shows, in its order, so that whoever cannot see one reads the other.
(() => {
  const MOST_LINES = 80, ROW_HEIGHT = 22, PAGE_LENGTH = 25;
  const COLOURS = ["#0072b2", "#d55e00", "#008f68", "#b8558f", "#7a6a00", "#2a8fc7", "#a05ab8", "#a8572f", "#767676"];
  const GREYS = ["#1a1a1a", "#6e6e6e", "#8c8c8c", "#4d4d4d", "#7d7d7d", "#5c5c5c", "#333333", "#858585", "#454545"];
  const SYMBOLS = ["square", "diamond", "circle", "times", "triangle", "star", "plus", "hexagon", "asterisk"];
  const DASHES = ["0", "5 3", "1 2", "7 2 1 2", "2 1", "9 3", "4 1 1 1", "1 1", "6 1"];
  const page = JSON.parse(document.getElementById("explorer-data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const settings = { colours: "colour", language: "" };

  // words

  const say = word => {
    const labels = page.labels[settings.language] || {};
    const known = text => Object.hasOwn(labels, text) ? labels[text] : text;
    const whole = known(word);
    return whole === word && word.includes(page.cross) ? word.split(page.cross).map(known).join(page.cross) : whole;
  };

  const missing = value => value === null || value === undefined;

  function written(value, kind, places) {
    if (missing(value)) return kind === "text" ? "" : "–";
    if (typeof value !== "number") return say(String(value));
    if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
    if (kind === "count") return Math.round(value).toLocaleString("en");
    if (kind === "p") return value < 0.001 ? "<0.001" : value.toFixed(3);
    const text = value.toFixed(places).replace(/^-(?=[0.]*$)/, "");
    return (kind === "signed" && Number(text) > 0 ? "+" : "") + text.replace("-", "−");
  }

  const placesOf = (view, row) => view.decimals[view.unit_by ? row[view.unit_by] : ""];
  const cell = (view, row, column) => written(row[column.name], column.kind, placesOf(view, row));

  function interval(view, row, column) {
    if (!column.low || missing(row[column.low])) return "";
    return `[${[column.low, column.high].map(end => written(row[end], column.kind, placesOf(view, row))).join(", ")}]`;
  }

  function sentence(view, row) {
    const count = view.columns.filter(column => column.kind === "count").slice(0, 2).map(column => `${cell(view, row, column)} ${say(column.head)}`);
    const value = `${cell(view, row, view.value)} ${interval(view, row, view.value)}`.trim();
    const where = view.along ? `, ${say(view.along.head)} ${cell(view, row, view.along)}` : "";
    return [`${say(row[view.line])}${where}: ${value}`, ...count, view.mark ? say(row[view.mark]) : ""].filter(Boolean).join(" · ");
  }

  // elements

  function make(tag, properties = {}, children = []) {
    const { aria, ...rest } = properties;
    const node = Object.assign(document.createElement(tag), rest);
    for (const [name, value] of Object.entries(aria || {})) node.setAttribute(name === "role" ? name : `aria-${name}`, value);
    node.append(...children);
    return node;
  }

  let controls = 0;

  function labelled(head, control) {
    control.id = `control-${controls++}`;
    return make("div", {}, [make("label", { htmlFor: control.id, textContent: head }), control]);
  }

  function selector(head, options, chosen, changed) {
    const select = make("select", {}, options.map(([value, textContent]) => make("option", { value, textContent, selected: value === chosen })));
    select.addEventListener("change", () => changed(select.value));
    return labelled(head, select);
  }

  function field(head, type, value, changed) {
    const input = make("input", { type, value, ...type === "number" ? { min: 0 } : {} });
    input.addEventListener("input", () => changed(input.value));
    return labelled(head, input);
  }

  // rows

  function rowsOf(view) {
    const columns = Object.entries(view.data).map(([name, column]) => [name, Array.isArray(column)
      ? k => typeof column[k] === "string" ? Number(column[k]) : column[k]  // infinity, which JSON has no number for
      : k => Array.isArray(column.codes[k]) ? column.codes[k].map(code => column.words[code]) : column.words[column.codes[k]] ?? null]);
    return Array.from({ length: view.height }, (_, id) => Object.fromEntries([["id", id], ...columns.map(([name, at]) => [name, at(id)])]));
  }

  const EVERYTHING = "\u0000";  // stands in no text of the page, where control characters are written out
  const isReference = (view, row) => view.reference !== null && row[view.reference[0]] === view.reference[1];
  const keyOf = (view, row) => view.follow.map(name => row[name]).join("\t");

  function chosenRows(view) {
    return view.rows.filter(row => view.choices.every(({ name }) => view.chosen[name] === EVERYTHING || row[name] === view.chosen[name]
      || (view.reference !== null && name === view.reference[0] && isReference(view, row))));
  }

  // the chart

  const inks = () => settings.colours === "colour" ? COLOURS : GREYS.map(grey => dark.matches ? d3.interpolateRgb(grey, "#fff")(0.45) : grey);
  const finite = value => typeof value === "number" && Number.isFinite(value);

  function unitOf(view, width = Infinity) {
    const chosen = view.unit_by && view.chosen[view.unit_by];
    if (!chosen || chosen === EVERYTHING) return say(view.value.head);
    const head = view.value.kind === "signed" ? `: ${say(view.value.head)}` : "";
    return `${say(chosen)}${head}${view.units[chosen] && width > 480 ? ` (${say(view.units[chosen])})` : ""}`;
  }

  function margin(names, width) {
    const context = make("canvas").getContext("2d");
    context.font = "13px system-ui, sans-serif";
    return Math.min(Math.max(...names.map(name => context.measureText(name).width), 20) + 14, width * 0.42);
  }

  // a mark is the same whatever else is shown beside it
  function marked(all, shown) {
    const of = range => shown.map(name => range[all.indexOf(name) % range.length]);
    return {
      symbol: { domain: shown, range: of(SYMBOLS), legend: shown.length > 1, tickFormat: say },
      color: { domain: shown, range: of(inks()) },
    };
  }

  function span(values) {
    const [low, high] = d3.extent(values.filter(finite));
    return high > low ? undefined : [(low ?? 0) - 0.05, (low ?? 0) + 0.05];
  }

  function forest(view, rows, width) {
    const { value } = view, shown = rows.slice(0, MOST_LINES);
    const name = id => say(view.rows[id][view.line]), all = view.mark ? view.marks : [""];
    const kind = row => view.mark ? row[view.mark] : "";
    const domain = all.filter(mark => shown.some(row => kind(row) === mark));
    const left = margin(shown.map(row => name(row.id)), width), drawn = shown.filter(row => finite(row[value.name]));
    const whole = shown.filter(row => isReference(view, row) && finite(row[value.name])).slice(0, 1);
    const between = drawn.filter(row => finite(row[value.low]) && finite(row[value.high]));
    return Plot.plot({
      width, height: shown.length * ROW_HEIGHT + 64, marginLeft: left, marginBottom: 40, marginRight: 16, style: { fontSize: "13px", background: "transparent" },
      x: { label: unitOf(view, width), labelAnchor: "center", labelArrow: "none", grid: true, nice: true, ticks: Math.max(3, (width - left) / 90),
        domain: span(between.flatMap(row => [row[value.low], row[value.high]]).concat(drawn.map(row => row[value.name]))) },
      y: { type: "point", domain: shown.map(row => row.id), label: null },
      ...marked(all, domain),
      marks: [
        Plot.axisY({ tickSize: 0, label: null, tickFormat: name, lineWidth: (left - 12) / 13, textOverflow: "ellipsis" }),
        Plot.rectX(whole.filter(row => finite(row[value.low])), { x1: value.low, x2: value.high, fill: "currentColor", fillOpacity: 0.09 }),
        Plot.ruleX(whole, { x: value.name, strokeOpacity: 0.6 }),
        view.zero ? Plot.ruleX([0], { strokeOpacity: 0.6 }) : null,
        Plot.ruleY(between, { x1: value.low, x2: value.high, y: "id", stroke: kind, strokeWidth: 1.6 }),
        Plot.dot(drawn, { x: value.name, y: "id", symbol: kind, stroke: kind, fill: kind, r: 4.5, strokeWidth: 1.6, sort: null, href: () => "#" }),
        Plot.tip(drawn, Plot.pointerY({ x: value.name, y: "id", title: row => sentence(view, row).replaceAll(" · ", "\n"), fill: "var(--paper)" })),
      ],
    });
  }

  function curves(view, rows, width) {
    const { value } = view, domain = [...new Set(rows.map(row => row[view.line]))], drawn = rows.filter(row => finite(row[value.name]));
    const ticks = [...new Set(rows.map(row => row[view.along.name]))].sort(d3.ascending);
    return Plot.plot({
      width, height: 380, marginLeft: 52, marginBottom: 42, style: { fontSize: "13px", background: "transparent" },
      x: { type: "point", domain: ticks, label: say(view.along.head), labelAnchor: "center", labelArrow: "none" },
      y: { label: unitOf(view, width), grid: true, nice: true, labelArrow: "none" },
      ...marked(view.lines, domain),
      marks: [
        Plot.areaY(drawn.filter(row => finite(row[value.low])), { x: view.along.name, y1: value.low, y2: value.high, fill: view.line, z: view.line, fillOpacity: 0.1 }),
        ...domain.map(name => Plot.lineY(drawn.filter(row => row[view.line] === name), { x: view.along.name, y: value.name, stroke: view.line, strokeDasharray: DASHES[view.lines.indexOf(name) % DASHES.length] })),
        Plot.dot(drawn, { x: view.along.name, y: value.name, symbol: view.line, stroke: view.line, fill: view.line, r: 4, sort: null, href: () => "#" }),
        Plot.tip(drawn, Plot.pointer({ x: view.along.name, y: value.name, title: row => sentence(view, row).replaceAll(" · ", "\n"), fill: "var(--paper)" })),
      ],
    });
  }

  function drawChart(view) {
    const rows = view.table.rows({ search: "applied", order: "applied" }).data().toArray();
    const width = Math.max(view.chart.clientWidth, 280);
    view.said.textContent = rows.length > MOST_LINES && !view.along ? `${say("The chart shows the first lines of the table")}: ${MOST_LINES} / ${rows.length}` : "";
    if (!rows.length) return view.chart.replaceChildren(make("p", { className: "muted", textContent: say("Nothing to show: choose something else, or filter less.") }));
    const drawn = view.along ? curves(view, rows, width) : forest(view, rows, width);
    reachable(view, drawn, (view.along ? rows : rows.slice(0, MOST_LINES)).filter(row => finite(row[view.value.name])));
    view.chart.replaceChildren(drawn);
  }

  // dots are links: one stop of the Tab key, arrows go from one to the next, Enter follows
  function reachable(view, drawn, rows) {
    const links = [...drawn.querySelectorAll("a")];
    drawn.setAttribute("aria-label", `${say(view.title)}: ${unitOf(view)}`);
    links.forEach((link, k) => {
      const row = rows[k];
      link.removeAttribute("href");
      link.tabIndex = k ? -1 : 0;
      link.setAttribute("role", view.follow.length ? "button" : "img");
      link.setAttribute("aria-label", sentence(view, row));
      const told = () => { view.said.textContent = sentence(view, row); };
      link.addEventListener("focus", told);
      link.addEventListener("pointerenter", told);
      link.addEventListener("click", () => follow(view, row, link));
      link.addEventListener("keydown", event => {
        const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
        if (step) {
          const next = links[Math.min(Math.max(k + step, 0), links.length - 1)];
          link.tabIndex = -1;
          next.tabIndex = 0;
          next.focus();
        } else if (event.key === "Enter" || event.key === " ") follow(view, row, link);
        else return;
        event.preventDefault();
      });
    });
  }

  // the table

  const shownIn = (view, row, column) => `${cell(view, row, column)} ${interval(view, row, column)}`.trim();
  const sortedBy = (row, column) => column.kind === "text" ? say(row[column.name] ?? "") : row[column.name];
  const side = column => column.kind === "text" ? "t" : "n";

  const known = sign => (a, b) => missing(a) || missing(b) ? missing(a) - missing(b) : sign * (typeof a === "string" ? a.localeCompare(b) : a - b);
  DataTable.ext.type.order["known-pre"] = value => value;
  DataTable.ext.type.order["known-asc"] = known(1);
  DataTable.ext.type.order["known-desc"] = known(-1);

  function makeTable(view) {
    const columns = view.columns;
    const head = make("tr", {}, columns.map(column => make("th", { scope: "col", className: side(column), textContent: say(column.head) })));
    const element = make("table", { aria: { label: say(view.title) } }, [make("thead", {}, [head])]);
    view.grid.replaceChildren(element);
    const table = new DataTable(element, {
      autoWidth: false, order: [], pageLength: PAGE_LENGTH, lengthMenu: [PAGE_LENGTH, 100, { label: say("all"), value: -1 }],
      layout: { topStart: null, topEnd: null, bottomStart: ["info", "pageLength"], bottomEnd: { paging: { firstLast: false } } },
      language: { info: "_START_–_END_ / _TOTAL_", infoEmpty: "0", infoFiltered: "(_MAX_)", lengthMenu: "_MENU_", emptyTable: "–", zeroRecords: "–", lengthLabels: { "-1": "all" } },
      columns: columns.map((column, k) => ({
        type: "known", className: side(column), data: row => row,
        render: (row, type) => type === "sort" || type === "type" ? sortedBy(row, column) : type === "filter" ? shownIn(view, row, column) : "",
        createdCell: (td, _, row) => td.replaceChildren(k === 0 && view.follow.length ? followButton(view, row) : shownIn(view, row, column)),
      })),
    });
    table.on("draw", () => drawChart(view));
    return table;
  }

  function followButton(view, row) {
    const button = make("button", { type: "button", className: "link", textContent: cell(view, row, view.columns[0]) });
    button.addEventListener("click", () => follow(view, row, button));
    return button;
  }

  // following a row into the other tables

  function listing(title, view, rows, columns) {
    const head = make("tr", {}, columns.map(column => make("th", { scope: "col", className: side(column), textContent: say(column.head) })));
    const body = rows.map(row => make("tr", {}, columns.map(column => make("td", { className: side(column), textContent: shownIn(view, row, column) }))));
    return [make("h4", { textContent: title }), make("div", { className: "scroll", tabIndex: 0, aria: { role: "region", label: title } },
      [make("table", {}, [make("thead", {}, [head]), make("tbody", {}, body)])])];
  }

  function follow(view, row, from) {
    if (!view.follow.length) return;
    const key = keyOf(view, row), same = page.versions.filter(name => view.data[name]);
    const alike = other => one => same.every(name => !other.data[name] || one[name] === row[name]);
    const found = [];
    for (const other of page.views.filter(other => other.follow.join() === view.follow.join())) {
      const mine = other.rows.filter(one => keyOf(other, one) === key).filter(alike(other));
      const columns = other.columns.filter(column => !other.follow.includes(column.name) && column.name !== other.line || column.name === other.along?.name);
      const by = other.choices.filter(({ name }) => !other.follow.includes(name) && !page.versions.includes(name)).map(({ name, head }) => ({ name, head, kind: "text" }));
      if (mine.length) found.push(...listing(`${say(other.title)}: ${say(row[view.line])}`, other, mine, [...by, ...columns]));
      const within = other.parts ? other.rows.filter(one => one[other.parts].includes(key) && (!view.unit_by || one[view.unit_by] === row[view.unit_by])).filter(alike(other)) : [];
      if (within.length) found.push(...listing(`${say("Within it")}: ${unitOf(view)}`, other, within, other.columns));
    }
    const title = make("h3", { textContent: row[view.line] === row[view.follow.at(-1)] ? view.follow.map(name => say(row[name])).join(": ") : say(row[view.line]), tabIndex: -1 });
    const close = make("button", { type: "button", textContent: say("Close") });
    const shut = () => { view.panel.hidden = true; (from.isConnected ? from : view.grid.querySelector("button")).focus(); };
    close.addEventListener("click", shut);
    view.panel.onkeydown = event => { if (event.key === "Escape") shut(); };
    view.panel.replaceChildren(title, close, make("p", { className: "muted", textContent: sentence(view, row) }), ...found);
    view.panel.hidden = false;
    title.focus();
  }

  // controls

  function choose(view) {
    const rows = chosenRows(view);
    view.columns.forEach(({ name }, k) => view.table.column(k).visible(
      name in view.chosen ? view.chosen[name] === EVERYTHING : rows.some(row => !missing(row[name])), false));
    view.told.textContent = view.choices.map(({ name, head }) => `${say(head)}: ${view.chosen[name] === EVERYTHING ? say("all") : say(view.chosen[name])}`).join(" · ");
    view.grid.classList.toggle("short", rows.length <= PAGE_LENGTH);
    view.table.clear().rows.add(rows).draw();
    view.panel.hidden = true;
  }

  function optionsOf(view, choice) {
    const words = [...new Set(view.rows.filter(row => !(view.reference && choice.name === view.reference[0] && isReference(view, row))).map(row => row[choice.name]))];
    return [...words.map(word => [word, say(word)]), ...choice.everything && words.length > 1 ? [[EVERYTHING, say("all")]] : []];
  }

  function show(view) {
    const count = view.columns.find(column => column.kind === "count");
    const changed = name => value => { view.chosen[name] = value; choose(view); };
    const controls = view.choices.map(choice => [choice, optionsOf(view, choice)]).filter(([, options]) => options.length > 1)
      .map(([choice, options]) => selector(say(choice.head), options, view.chosen[choice.name], changed(choice.name)));
    controls.push(field(say("Filter"), "search", view.filter, value => { view.filter = value; view.table.search(value).draw(); }));
    if (count) controls.push(field(`${say(count.head)} ≥`, "number", view.least, value => { view.least = value; view.table.draw(); }));
    view.controls.replaceChildren(...controls);
    view.table?.destroy();
    view.table = makeTable(view);
    view.table.search.fixed("least", (_, row) => !count || !Number(view.least) || row[count.name] >= Number(view.least));
    view.table.search(view.filter);
    choose(view);
  }

  function settle(view) {
    const place = document.getElementById(view.name);
    view.rows = rowsOf(view);
    if (!place) return view;
    Object.assign(view, { chosen: {}, filter: "", least: "", lines: [...new Set(view.rows.map(row => row[view.line]))] });
    for (const part of ["controls", "chart", "said", "grid", "panel"]) view[part] = place.querySelector(`.${part}`);
    view.told = place.querySelector(".chosen");
    for (const choice of view.choices) view.chosen[choice.name] = choice.default ?? optionsOf(view, choice)[0]?.[0];
    return view;
  }

  const settled = page.views.map(settle).filter(view => view.grid);
  const again = () => settled.forEach(show);
  const languages = Object.keys(page.labels).map(tag => [tag, named(tag)]);

  function named(tag) {
    try { return new Intl.DisplayNames([tag], { type: "language" }).of(tag) || tag; } catch { return tag; }
  }

  document.getElementById("explorer-settings")?.replaceChildren(
    selector("Colours", [["colour", "colour"], ["grey", "greyscale"]], settings.colours, value => { settings.colours = value; again(); }),
    ...languages.length ? [selector("Labels", [["", "as in the data"], ...languages], "", value => {
      settings.language = value;
      for (const view of settled) value ? view.grid.closest("section").setAttribute("lang", value) : view.grid.closest("section").removeAttribute("lang");
      again();
    })] : [],
  );
  document.documentElement.classList.add("explored");
  again();

  const resized = new ResizeObserver(entries => entries.forEach(({ target }) => {
    const view = settled.find(one => one.chart === target);
    if (view.width !== target.clientWidth) { view.width = target.clientWidth; drawChart(view); }
  }));
  settled.forEach(view => resized.observe(view.chart));
  dark.addEventListener("change", again);
  addEventListener("beforeprint", () => settled.forEach(view => view.table.page.len(-1).draw()));
  addEventListener("afterprint", () => settled.forEach(view => view.table.page.len(PAGE_LENGTH).draw()));
})();
