"use strict";
(() => {
  const list = document.getElementById("list");
  const tools = document.getElementById("filter");
  if (!list || !tools) return;
  const body = list.tBodies[0];
  const rows = [...body.rows];
  const named = (row) => row.cells[0].textContent;
  const cells = [...document.querySelectorAll("#cells tbody tr")];
  const [words, status, told] = tools.querySelectorAll("input, select, output");

  const filter = () => {
    const wanted = words.value.toLowerCase().split(/\s+/);
    const shown = new Set();
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !wanted.every((word) => text.includes(word)) ||
        (status.value && status.value !== row.cells[1].textContent.trim());
      if (!row.hidden) shown.add(named(row));
    }
    for (const row of cells) row.hidden = !shown.has(named(row));
    told.textContent = `${shown.size} of ${rows.length} shown`;
  };
  tools.hidden = false;
  tools.addEventListener("input", filter);
  filter(); // a browser may have kept what was typed

  // The names in the other table are links where the file can be small without them.
  const links = new Map(rows.map((row) => [named(row), row.querySelector("a")]));
  for (const { cells: [head] } of cells) {
    const link = links.get(head.textContent)?.cloneNode();
    link?.append(...head.childNodes);
    if (link) head.append(link);
  }

  const first = new Map(rows.map((row, number) => [row, number]));
  const share = (row) => {
    const [score, most] = row.cells[2].textContent.split("/").map(Number);
    return most ? score / most : 0;
  };
  const alphabet = new Intl.Collator(undefined, { numeric: true });
  const orders = [
    (a, b) => alphabet.compare(named(a), named(b)),
    (a, b) => first.get(a) - first.get(b),
    (a, b) => share(a) - share(b),
    (a, b) => alphabet.compare(a.cells[3].textContent, b.cells[3].textContent),
  ];
  const heads = [...list.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.ariaSort === "ascending" ? -1 : 1;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down > 0 ? "ascending" : "descending");
      rows.sort((a, b) => down * orders[column](a, b) || first.get(a) - first.get(b));
      body.append(...rows);
      list.caption.hidden = true; // it tells of the order that the page comes in
    });
  });
  heads[1].setAttribute("aria-sort", "ascending");
})();
