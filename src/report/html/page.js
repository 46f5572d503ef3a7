// Tables that sort, filter and copy; rows of long ones made as they are looked at; points that name their trial.
// Everything on the page can be read without it.
"use strict";
(() => {
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  document.documentElement.classList.add("script");

  // Copying. A page from a mail may have no clipboard of its own; then the browser's old way has to do.
  const copy = async (text, button) => {
    let done = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = make("textarea", { value: text });
      document.body.append(area);
      area.select();
      done = document.execCommand("copy");
      area.remove();
    }
    const title = button.dataset.title ??= button.textContent;
    button.textContent = done ? "Copied" : "Not copied: select it";
    setTimeout(() => { button.textContent = title; }, 1500);
  };
  const copyButton = (title, text) => {
    const button = make("button", { type: "button", className: "copy" }, title);
    button.addEventListener("click", () => copy(text(), button));
    return button;
  };
  for (const text of all("[data-copy]")) {
    const bar = make("div", { className: "tools" }, copyButton(text.dataset.copy, () => text.textContent));
    text.before(bar);
  }

  // Numbers as src/report/wording.rs writes them.
  const grouped = (value) => value.toFixed(0).replace(/\B(?=(\d{3})+$)/g, ",");
  const number = (value) => {
    const size = Math.abs(value);
    if (size >= 1000) return grouped(value);
    if (size >= 100) return value.toFixed(1);
    if (size >= 1) return value.toFixed(2);
    return size === 0 ? "0" : value.toFixed(4);
  };
  const quantity = (value, unit) => {
    const scales = [[1e9, "G"], [1e6, "M"], [1e3, "k"]];
    const scale = unit === "bit/s" || unit === "B/s" ? scales.find(([least]) => Math.abs(value) >= least) : null;
    if (scale) return `${(value / scale[0]).toFixed(2)} ${scale[1]}${unit}`;
    return unit === "bit/s" || unit === "B/s" ? `${number(value)} ${unit}` : number(value);
  };
  const seconds = (value) => `${value.toFixed(value < 1 ? 3 : 1)}s`;

  // What a table is to those who sort, filter and copy it: rows with keys, shown in an order.
  const wholeOf = (cell) => cell.dataset.value ?? cell.textContent.trim().replace(/\s+/g, " ");
  const keyOf = (cell) => cell.dataset.key ?? wholeOf(cell);

  /** Rows that are in the page; those of one body stay together. */
  const present = (table) => {
    const bodies = [...table.tBodies].filter((body) => !("fixed" in body.dataset));
    const groups = bodies.length > 1 ? bodies : [...(bodies[0]?.rows ?? [])];
    const first = (group) => group.rows?.[0] ?? group;
    const rowsOf = (group) => (group.rows ? [...group.rows] : [group]);
    const fixed = [...table.tBodies].filter((body) => "fixed" in body.dataset).flatMap((body) => [...body.rows]);
    const parent = groups[0]?.parentNode;
    return {
      size: groups.length,
      key: (index, column) => (first(groups[index]).cells[column] ? keyOf(first(groups[index]).cells[column]) : ""),
      text: (index) => groups[index].textContent.toLowerCase(),
      show: (view) => {
        for (const group of groups) group.hidden = true;
        for (const index of view) {
          groups[index].hidden = false;
          parent.append(groups[index]);
        }
      },
      copied: (view) => [...table.tHead.rows, ...fixed, ...view.flatMap((index) => rowsOf(groups[index]))]
        .map((row) => [...row.cells].map(wholeOf).join("\t")).join("\n"),
    };
  };

  /** Rows made of the lines of a text; of more than MANY only those in sight, with room for the others. */
  const MANY = 400;
  const DRAWN = 200;
  const STEP = 40;
  const lines = (table, frame) => {
    const [head, ...rows] = document.getElementById(frame.dataset.rows).textContent.replace(/\n$/, "").split("\n");
    const fields = rows.map((line) => line.split("\t"));
    const heads = [...table.tHead.rows[0].cells];
    const columns = heads.map((cell) => cell.dataset);
    const body = table.tBodies[0];
    let view = [];
    let drawn = null;
    let height = 0;
    const cell = (column, text) => {
      const td = make("td");
      if (column.as === "code") td.append(make("code", {}, ...(text.match(/[^.=]*[.=]|[^.=]+$/g) ?? []).flatMap((piece) => [piece, make("wbr")])));
      else if (column.as === "word") td.append(make("span", { className: `word ${text.replaceAll(" ", "-")}`, textContent: text }));
      else if (column.as === "reason") Object.assign(td, { className: "reason", textContent: text });
      else {
        td.className = "number";
        if (column.as && text !== "") td.dataset.value = text;
        const format = column.as === "seconds" ? seconds : (value) => quantity(value, column.unit);
        td.textContent = column.as && text !== "" ? format(Number(text)) : text;
      }
      // Cut off where rows are of one height.
      if (rows.length > MANY && !td.className.includes("number")) td.title = text;
      return td;
    };
    const rowAt = (index) => {
      const row = make("tr", {}, ...columns.map((column) => cell(column, fields[index][column.from])));
      row.dataset.trial = `${fields[index][0]}.${fields[index][1]}`;
      return row;
    };
    // Rows of one height, in columns that keep their widths.
    const settle = () => {
      table.classList.add("windowed");
      const widths = heads.map((head) => head.getBoundingClientRect().width);
      const whole = table.getBoundingClientRect().width;
      heads.forEach((head, place) => { head.style.width = `${(100 * widths[place]) / whole}%`; });
      Object.assign(table.style, { minWidth: `${whole}px`, tableLayout: "fixed" });
      height = body.getBoundingClientRect().height / body.rows.length;
    };
    const room = (count) => {
      const td = make("td", { colSpan: heads.length });
      td.style.height = `${count * height}px`;
      const row = make("tr", { className: "room", ariaHidden: "true" }, td);
      return count > 0 ? [row] : [];
    };
    const draw = () => {
      const whole = view.length <= MANY;
      const top = Math.floor(frame.scrollTop / height / STEP) * STEP - 2 * STEP;
      const from = whole ? 0 : Math.max(0, Math.min(top, view.length - DRAWN));
      if (drawn === from) return;
      drawn = from;
      const to = whole ? view.length : from + DRAWN;
      body.replaceChildren(...room(from), ...view.slice(from, to).map(rowAt), ...room(view.length - to));
    };
    frame.addEventListener("scroll", draw, { passive: true });
    if (rows.length > MANY) settle();
    const places = new Map(fields.map((field, index) => [`${field[0]}.${field[1]}`, index]));
    return {
      size: rows.length,
      key: (index, column) => fields[index][columns[column].from],
      text: (index) => rows[index].toLowerCase(),
      show: (order) => {
        view = order;
        drawn = null;
        frame.scrollTop = 0;
        draw();
      },
      copied: (order) => [head, ...order.map((index) => rows[index])].join("\n"),
      /** The row of a trial, brought into sight; nothing when it is filtered away. */
      rowOf: (trial) => {
        const at = view.indexOf(places.get(trial));
        if (at < 0) return null;
        if (view.length > MANY) frame.scrollTop = at * height - frame.clientHeight / 2;
        draw();
        return [...body.rows].find((row) => row.dataset.trial === trial);
      },
    };
  };

  const compare = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, undefined, { numeric: true }) : x - y;
  };

  const wire = (table) => {
    const frame = table.closest("[data-rows]");
    const rows = frame ? lines(table, frame) : present(table);
    const heads = [...table.tHead.rows[0].cells];
    const count = make("output", { className: "count" });
    const filter = make("input", { type: "search", placeholder: "Filter", ariaLabel: `Filter: ${table.caption.textContent}` });
    let sorted = { column: -1, down: false };
    let view = [];
    const apply = () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      view = Array.from({ length: rows.size }, (_, index) => index);
      if (words.length) view = view.filter((index) => words.every((word) => rows.text(index).includes(word)));
      const { column, down } = sorted;
      if (column >= 0) {
        const keys = new Map(view.map((index) => [index, rows.key(index, column)]));
        const empty = (key) => key === "";
        view.sort((a, b) => {
          const [x, y] = [keys.get(a), keys.get(b)];
          const way = down && !empty(x) && !empty(y) ? -1 : 1;
          return way * compare(x, y) || a - b;
        });
      }
      rows.show(view);
      count.textContent = words.length ? `${view.length} of ${rows.size}` : "";
      heads.forEach((head, place) => {
        if (place === column) head.ariaSort = down ? "descending" : "ascending";
        else head.removeAttribute("aria-sort");
      });
    };
    heads.forEach((head, place) => {
      const button = make("button", { type: "button", className: "sort" }, ...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        if (sorted.column !== place) sorted = { column: place, down: false };
        else if (!sorted.down) sorted.down = true;
        else sorted = { column: -1, down: false };
        apply();
      });
    });
    let waiting;
    filter.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(apply, rows.size > 1000 ? 150 : 0);
    });
    const tools = make("div", { className: "tools" }, copyButton("Copy as TSV", () => rows.copied(view)));
    if (table.dataset.tools === "filter" && rows.size > 1) tools.prepend(filter, count);
    (table.closest(".tall") ?? table.closest(".wide")).before(tools);
    view = Array.from({ length: rows.size }, (_, index) => index);
    if (frame) apply();
    return { rows, clear: () => { filter.value = ""; apply(); } };
  };
  const tables = new Map(all("table[data-tools]").map((table) => [table.id, wire(table)]));

  // Places in what is folded are unfolded.
  const unfold = (element) => {
    for (let at = element; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  };
  const follow = () => {
    const place = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (place) { unfold(place); place.scrollIntoView(); }
  };
  addEventListener("hashchange", follow);
  if (location.hash) follow();

  // Points. A label beside the mark; the same trial is marked wherever it is drawn or listed.
  const tip = make("div", { id: "tip", hidden: true });
  tip.setAttribute("role", "status");
  document.body.append(tip);
  let current = null;
  const nameOf = (point) => {
    const title = [...point.children].find((child) => child.localName === "title");
    if (title) {
      point.setAttribute("aria-label", title.textContent);
      title.remove();
    }
    return point.getAttribute("aria-label") ?? `trial ${point.dataset.trial}`;
  };
  const mark = (trial) => {
    for (const marked of all(".on")) marked.classList.remove("on");
    if (trial) for (const same of all(`[data-trial="${CSS.escape(trial)}"]`)) same.classList.add("on");
  };
  const leave = () => {
    current = null;
    tip.hidden = true;
    mark(null);
  };
  const enter = (point) => {
    if (point === current) return;
    current = point;
    mark(point.dataset.trial);
    if (!point.closest("svg")) { tip.hidden = true; return; }
    tip.textContent = nameOf(point);
    tip.hidden = false;
    const at = point.getBoundingClientRect();
    const own = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, at.left + at.width / 2 - own.width / 2), document.documentElement.clientWidth - own.width - 8);
    const above = at.top - own.height - 8;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 4 ? above : at.bottom + 8}px`;
  };
  const jump = (trial) => {
    const table = tables.get("every-trial");
    if (!table) return;
    if (!table.rows.rowOf(trial)) table.clear();
    const row = table.rows.rowOf(trial);
    if (!row) return;
    leave();
    for (const found of all(".found")) found.classList.remove("found");
    row.classList.add("found");
    row.tabIndex = -1;
    row.scrollIntoView({ block: "center" });
    row.focus({ preventScroll: true });
  };
  document.addEventListener("pointerover", (event) => {
    const point = event.target.closest?.("[data-trial]");
    if (point) enter(point);
    else if (current) leave();
  });
  addEventListener("scroll", () => { if (!tip.hidden) leave(); }, { passive: true });
  let touched = null;
  document.addEventListener("click", (event) => {
    const point = event.target.closest?.("svg [data-trial]");
    if (!point) return;
    // A first touch names the trial, a second one goes to its row.
    if (event.pointerType === "touch" && touched !== point) { touched = point; enter(point); return; }
    jump(point.dataset.trial);
  });
  for (const plot of all(".plot")) {
    let points = null;
    let place = -1;
    plot.addEventListener("keydown", (event) => {
      points ??= all("[data-trial]", plot);
      const last = points.length - 1;
      const to = { ArrowRight: Math.min(place + 1, last), ArrowLeft: Math.max(place - 1, 0), Home: 0, End: last }[event.key];
      if (to !== undefined && last >= 0) {
        place = to;
        enter(points[place]);
      } else if (event.key === "Enter" && points[place]) jump(points[place].dataset.trial);
      else if (event.key === "Escape") leave();
      else return;
      event.preventDefault();
    });
    plot.addEventListener("blur", () => { place = -1; leave(); });
  }

  // What is folded is printed too, but for the text of all trials.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("details:not([open], .bulk)");
    for (const details of folded) details.open = true;
  });
  addEventListener("afterprint", () => { for (const details of folded) details.open = false; });
})();
