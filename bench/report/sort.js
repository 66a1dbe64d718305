// A click on a head of a table sorts its rows by that column: numbers as numbers, the rest as text.
(function () {
  "use strict";

  function key(row, column) {
    const text = row.cells[column] ? row.cells[column].textContent.trim() : "";
    const plain = text.replace(/−/g, "-").replace(/,(?=\d{3})/g, "");
    const number = parseFloat(plain);
    return { text: text, number: /^[+-]?[\d.]/.test(plain) ? number : NaN };
  }

  function compare(a, b) {
    if (isNaN(a.number) !== isNaN(b.number)) return isNaN(a.number) ? 1 : -1;
    return isNaN(a.number) ? a.text.localeCompare(b.text, "en") : a.number - b.number;
  }

  function sort(head, column) {
    const body = head.closest("table").tBodies[0];
    const down = head.getAttribute("aria-sort") === "ascending";
    const rows = Array.from(body.rows).map((row, place) => [key(row, column), place, row]);
    rows.sort((a, b) => (down ? -1 : 1) * compare(a[0], b[0]) || a[1] - b[1]);
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    for (const row of rows) body.appendChild(row[2]);
  }

  function prepare(table) {
    if (!table.tHead || !table.tBodies.length || table.dataset.sortable) return;
    table.dataset.sortable = "yes";
    Array.from(table.tHead.rows[0].cells).forEach(function (head, column) {
      head.tabIndex = 0;
      head.style.cursor = "pointer";
      head.title = "sort";
      head.addEventListener("click", () => sort(head, column));
      head.addEventListener("keydown", (event) => event.key === "Enter" && sort(head, column));
    });
  }

  function all() {
    document.querySelectorAll("table").forEach(prepare);
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", all);
  else all();
})();
