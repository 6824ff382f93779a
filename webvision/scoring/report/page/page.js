"use strict";
(() => {
  const PAGE_ROWS = 100;
  const byId = (id) => document.getElementById(id);
  const { columns, rows } = JSON.parse(byId("data").textContent);
  const column = Object.fromEntries(columns.map(([key], i) => [key, i]));
  const kinds = columns.map(([, kind]) => kind);
  const lower = rows.map((row) => row[0].toLowerCase());
  const heads = [...document.querySelectorAll("#classes-table th[data-key]")];
  const shown = heads.map((head) => column[head.dataset.key]);
  const body = document.querySelector("#classes-table tbody");
  const state = { key: "top1", down: true, words: "", group: "all", page: 0, everything: false };
  const groups = {
    all: () => true,
    worst: (row) => row[column.top1] !== null && row[column.top1] >= 0.5,
    perfect: (row) => row[column.top1] === 0,
    absent: (row) => row[column.images] === 0,
  };
  const collator = new Intl.Collator("en", { numeric: true });

  function chosen() {
    const words = state.words.toLowerCase();
    const i = column[state.key];
    const sign = state.down ? -1 : 1;
    const found = [];
    rows.forEach((row, c) => { if (groups[state.group](row) && lower[c].includes(words)) found.push(row); });
    const compare = kinds[i] === "text" ? (a, b) => collator.compare(a[i], b[i]) : (a, b) => a[i] - b[i];
    return found.sort((a, b) => {
      if (a[i] === null || b[i] === null) return (a[i] === null) - (b[i] === null);   // no figure: last, whichever way
      return sign * compare(a, b);
    });
  }

  function text(value, kind) {
    if (value === null) return "\u2013";
    return kind === "share" ? (100 * value).toFixed(1) + "\u00a0%" : String(value);
  }

  function draw() {
    const found = chosen();
    const pages = Math.max(1, Math.ceil(found.length / PAGE_ROWS));
    state.page = Math.min(Math.max(state.page, 0), pages - 1);
    const start = state.everything ? 0 : state.page * PAGE_ROWS;
    const fragment = document.createDocumentFragment();
    for (const row of found.slice(start, state.everything ? undefined : start + PAGE_ROWS)) {
      const line = document.createElement("tr");
      for (const i of shown) {
        const cell = document.createElement("td");
        cell.className = kinds[i];
        cell.textContent = text(row[i], kinds[i]);
        line.append(cell);
      }
      fragment.append(line);
    }
    body.replaceChildren(fragment);
    for (const head of heads) {
      head.setAttribute("aria-sort", head.dataset.key !== state.key ? "none" : state.down ? "descending" : "ascending");
    }
    byId("count").textContent = `${found.length} of ${rows.length} classes`;
    byId("page").textContent = state.everything ? "all rows" : `page ${state.page + 1} of ${pages}`;
    byId("previous").disabled = state.everything || state.page === 0;
    byId("next").disabled = state.everything || state.page === pages - 1;
    byId("everything").textContent = state.everything ? "show pages" : "show all rows";
  }

  function change(values) {
    Object.assign(state, { page: 0 }, values);
    draw();
  }

  for (const head of heads) {
    head.querySelector("button").addEventListener("click", () => {
      const key = head.dataset.key;
      change({ key, down: state.key === key ? !state.down : kinds[column[key]] !== "text" });
    });
  }
  byId("filter").addEventListener("input", (event) => change({ words: event.target.value }));
  byId("group").addEventListener("change", (event) => change({ group: event.target.value }));
  byId("previous").addEventListener("click", () => change({ page: state.page - 1 }));
  byId("next").addEventListener("click", () => change({ page: state.page + 1 }));
  byId("everything").addEventListener("click", () => change({ everything: !state.everything }));
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
      event.preventDefault();
      byId("filter").focus();
    } else if (event.key === "Escape" && event.target === byId("filter")) {
      event.target.value = "";
      change({ words: "" });
    }
  });

  const themes = ["automatic", "light", "dark"];
  let theme = 0;
  byId("theme").addEventListener("click", () => {
    theme = (theme + 1) % themes.length;
    byId("theme").textContent = "colours: " + themes[theme];
    if (theme === 0) document.documentElement.removeAttribute("data-theme");
    else document.documentElement.setAttribute("data-theme", themes[theme]);
  });
  window.addEventListener("beforeprint", () => { document.querySelectorAll("details").forEach((part) => { part.open = true; }); });
  draw();
})();
