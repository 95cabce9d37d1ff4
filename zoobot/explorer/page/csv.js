// CSV files: RFC 4180, and nothing that a spreadsheet would take for a formula.

const NUMBER = /^[+-]?\d+(\.\d*)?(e[+-]?\d+)?$/i;

const looksRun = (text) => /^'*[=+\-@\t\r]/.test(text) && !NUMBER.test(text.replace(/^'+/, ""));
const unguarded = (text) => (text.startsWith("'") && looksRun(text) ? text.slice(1) : text);

function cell(text) {
  const safe = looksRun(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) || safe !== safe.trim() ? `"${safe.replaceAll('"', '""')}"` : safe;
}

// Lines of texts and numbers; null is empty.
function csvText(head, rows) {
  const lines = [head.map(cell)];
  for (const row of rows) lines.push(row.map((value) => (typeof value === "string" ? cell(value) : String(value ?? ""))));
  return lines.map((cells) => `${cells.join(",")}\r\n`).join("");
}

// The cells of each line, header first; between them may stand what the header has: comma, semicolon or tab.
function readCsv(text) {
  const plain = text.replace(/^\ufeff/, "");
  const head = plain.slice(0, plain.search(/[\r\n]|$/));
  const mark = [",", ";", "\t"].find((one) => head.includes(one)) ?? ",";
  const lines = [];
  let [cells, current, isQuoted] = [[], "", false];
  const endCell = () => {
    cells.push(unguarded(current));
    current = "";
  };
  for (let place = 0; place < plain.length; place++) {
    const letter = plain[place];
    if (isQuoted) {
      if (letter !== '"') current += letter;
      else if (plain[place + 1] === '"') current += plain[++place];
      else isQuoted = false;
    } else if (letter === '"' && current === "") isQuoted = true;
    else if (letter === mark) endCell();
    else if (letter === "\n" || letter === "\r") {
      if (letter === "\r" && plain[place + 1] === "\n") place++;
      endCell();
      lines.push(cells);
      cells = [];
    } else current += letter;
  }
  if (current !== "" || cells.length) {
    endCell();
    lines.push(cells);
  }
  return lines.filter((line) => line.length > 1 || line[0] !== "");
}

function saveFile(text, ending, type) {
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  link.download = `${page.title.replace(/[^\w.-]+/g, "_").slice(0, 60) || "galaxies"}_${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
