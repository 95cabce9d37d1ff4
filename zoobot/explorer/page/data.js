// What the page shows: the JSON in it, unpacked.

const page = JSON.parse(document.getElementById("data").textContent);
const count = page.ids.length;

function unpack(base64, Numbers) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let place = 0; place < text.length; place++) bytes[place] = text.charCodeAt(place);
  return new Numbers(bytes.buffer);
}

for (const column of page.columns) column.values = unpack(column.values, Float32Array);
for (const text of [...page.texts, page.reasons]) text.codes = unpack(text.codes, Int32Array);
if (page.neighbours) {
  page.neighbours.rows = unpack(page.neighbours.rows, Int32Array);
  page.neighbours.similarities = unpack(page.neighbours.similarities, Float32Array);
}

const valueOf = (column, row) => page.columns[column].values[row];
const wordOf = (text, row) => text.words[text.codes[row]];

// Control characters as pictures of them, so that nothing hides in a name.
const visible = (text) =>
  text
    .replace(/[\u0000-\u001f]/g, (mark) => String.fromCharCode(0x2400 + mark.charCodeAt(0)))
    .replace(/[\u007f-\u009f]/g, "\u2421");
const nameOf = (row) => visible(page.ids[row]);

// Where a column's numbers lie: fractions between 0 and 1, all others between the least and the most.
function rangeOf(column) {
  if (column.share) return [0, 1];
  let [low, high] = [Infinity, -Infinity];
  for (const value of column.values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : [0, 1];
}

// As many digits as tell a hundredth of a column's range apart.
function digitsOf(column) {
  const [low, high] = rangeOf(column);
  return Math.min(Math.max(2 - Math.floor(Math.log10(high - low || 1)), 0), 12);
}

for (const column of page.columns) column.digits = digitsOf(column);

function written(number, { share = false, digits = 2 }) {
  if (Number.isNaN(number)) return "–";
  if (share) return `${Math.round(100 * number)}%`;
  return (Math.abs(number) < 1e15 ? number.toFixed(digits) : String(number)).replace("-", "−");
}

const find = (id) => document.getElementById(id);

// An element with a class and a text; text never becomes HTML.
function make(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function button(text, label, action) {
  const made = make("button", "", text);
  made.type = "button";
  if (label) made.setAttribute("aria-label", label);
  made.addEventListener("click", action);
  return made;
}

function picture(row) {
  const inside = page.pictures[row];
  if (!inside) {
    const empty = make("div", "picture empty", "no image");
    empty.title = wordOf(page.reasons, row);
    return empty;
  }
  const image = make("img", "picture");
  image.alt = "";
  image.decoding = "async";
  image.draggable = false;
  image.src = `data:image/webp;base64,${inside}`;
  return image;
}

function switchTheme() {
  const isDark = getComputedStyle(document.documentElement).colorScheme === "dark" ||
    (!document.documentElement.style.colorScheme && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.style.colorScheme = isDark ? "light" : "dark";
}
