// The selection as a CSV file: RFC 4180, and nothing that a spreadsheet would take for a formula.

const NUMBER = /^[+-]?\d+(\.\d*)?(e[+-]?\d+)?$/i;

function cell(text) {
  const isFormula = /^'*[=+\-@\t\r]/.test(text) && !NUMBER.test(text.replace(/^'+/, ""));
  const safe = isFormula ? `'${text}` : text;
  return /[",\r\n]/.test(safe) || safe !== safe.trim() ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const numeral = (value) => (Number.isNaN(value) ? "" : String(Number(value.toPrecision(7))));

function csvOf(rows) {
  const head = ["id_str", ...page.texts.map((text) => text.name), ...page.columns.map((column) => column.name)];
  const lines = [head.map(cell).join(",")];
  for (const row of rows) {
    const words = [page.ids[row], ...page.texts.map((text) => wordOf(text, row))];
    lines.push([...words.map(cell), ...page.columns.map((column) => numeral(column.values[row]))].join(","));
  }
  return lines.join("\r\n") + "\r\n";
}

function download() {
  const rows = [...state.selected].sort(compare);
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([csvOf(rows)], { type: "text/csv;charset=utf-8" }));
  link.download = `${page.title.replace(/[^\w.-]+/g, "_").slice(0, 60) || "galaxies"}_selection.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
