// The filters: a group for each chart, a histogram with two handles for each answer.

const BINS = 40;
const MOST_WORDS = 30;
const refresh = []; // of each filter drawn: shows the range that holds now

function drawHistogram(column, [low, high]) {
  const bins = new Array(BINS).fill(0);
  for (const value of column.values) {
    if (Number.isNaN(value)) continue;
    bins[Math.min(BINS - 1, Math.floor((BINS * (value - low)) / (high - low || 1)))]++;
  }
  const most = Math.max(...bins, 1);
  const drawn = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  drawn.setAttribute("viewBox", `0 0 ${BINS} 1`);
  drawn.setAttribute("preserveAspectRatio", "none");
  drawn.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  const bars = bins.map((bin, place) => `M${place + 0.1} 1V${1 - Math.sqrt(bin / most)}h.8V1z`);
  path.setAttribute("d", bars.join(""));
  drawn.append(path);
  return drawn;
}

function drawRange(number, title) {
  const column = page.columns[number];
  const [low, high] = rangeOf(column);
  const factor = column.share ? 100 : 1;
  const facet = make("fieldset", "facet");
  facet.append(make("legend", "", visible(title)));
  const shade = make("div", "shade");
  const sliders = make("div", "sliders");
  sliders.append(drawHistogram(column, [low, high]), shade);
  const numbers = make("div", "numbers");
  const ends = ["from", "to"].map((word, end) => {
    const slider = make("input");
    Object.assign(slider, { type: "range", min: low, max: high, step: (high - low) / 200 || 1, value: end ? high : low });
    slider.setAttribute("aria-label", `${visible(column.title)}, ${word}`);
    const typed = make("input");
    Object.assign(typed, { type: "number", step: "any", placeholder: String(Number(((end ? high : low) * factor).toPrecision(4))) });
    typed.setAttribute("aria-label", `${visible(column.title)}, ${word}${column.share ? ", percent" : ""}`);
    sliders.append(slider);
    return { slider, typed };
  });
  const [from, to] = ends;
  numbers.append(from.typed, make("span", "", "–"), to.typed, make("span", "unit", column.share ? "%" : ""));
  numbers.append(button("sort", `Sort by ${visible(column.title)}`, () => sortBy(number, true)));
  from.slider.addEventListener("input", () => choose(Math.min(from.slider.value, to.slider.value), held()[1]));
  to.slider.addEventListener("input", () => choose(held()[0], Math.max(from.slider.value, to.slider.value)));
  const read = (typed, empty) => (typed.value === "" ? empty : Number(typed.value) / factor);
  const type = () => setRange(number, read(from.typed, -Infinity), read(to.typed, Infinity));
  for (const { typed } of ends) typed.addEventListener("change", type);
  const held = () => state.ranges.get(number) ?? [-Infinity, Infinity];
  const choose = (least, most) => setRange(number, least <= low ? -Infinity : least, most >= high ? Infinity : most);
  refresh.push(() => {
    const range = held();
    const inside = [Math.max(range[0], low), Math.min(range[1], high)];
    ends.forEach(({ slider, typed }, end) => {
      slider.value = inside[end];
      if (document.activeElement !== typed) {
        typed.value = Number.isFinite(range[end]) ? Number((factor * range[end]).toPrecision(4)) : "";
      }
    });
    const place = (value) => (100 * (value - low)) / (high - low || 1);
    shade.style.left = `${place(inside[0])}%`;
    shade.style.right = `${100 - place(inside[1])}%`;
    facet.classList.toggle("used", state.ranges.has(number));
  });
  facet.append(sliders, numbers);
  return facet;
}

function drawWords(number) {
  const text = page.texts[number];
  const facet = make("fieldset", "facet words");
  facet.append(make("legend", "", visible(text.title)));
  const total = new Array(text.words.length).fill(0);
  for (const code of text.codes) total[code]++;
  for (const code of [...total.keys()].sort((a, b) => total[b] - total[a])) {
    const word = text.words[code];
    const line = make("label");
    const box = make("input");
    box.type = "checkbox";
    box.addEventListener("change", () => {
      const chosen = state.words.get(number) ?? new Set();
      if (box.checked) chosen.add(word);
      else chosen.delete(word);
      if (chosen.size) state.words.set(number, chosen);
      else state.words.delete(number);
      update();
    });
    refresh.push(() => {
      box.checked = state.words.get(number)?.has(word) ?? false;
    });
    line.append(box, make("span", "word", visible(word) || "none"), make("span", "total", total[code].toLocaleString("en")));
    facet.append(line);
  }
  return facet;
}

// A heading that draws what is below it when it is first opened.
function drawGroup(title, draw, isOpen) {
  const group = make("details");
  group.append(make("summary", "", visible(title)));
  const fill = () => {
    if (!group.open || group.childElementCount > 1) return;
    group.append(...draw());
    for (const show of refresh) show();
  };
  group.addEventListener("toggle", fill);
  group.open = isOpen;
  fill();
  return group;
}

// The columns that can be sorted and filtered by, in groups.
function columnGroups() {
  const groups = [];
  const used = new Set();
  for (const chart of page.charts) {
    const numbers = chart.bars.flatMap((bar) => [bar.value, bar.label]);
    if (chart.parents.length) numbers.push(chart.asked);
    const listed = numbers.filter((number) => number !== null && page.columns[number].listed);
    groups.push({ title: chart.title, numbers: listed });
    for (const number of [...listed, chart.asked]) used.add(number);
  }
  const others = [...page.columns.keys()].filter((number) => page.columns[number].listed && !used.has(number));
  if (others.length) groups.push({ title: "More", numbers: others });
  return groups;
}

const shortTitle = (group, number) => page.columns[number].title.replace(`${group.title}: `, "");

function drawFacets() {
  const texts = [...page.texts.keys()].filter((number) => page.texts[number].words.length <= MOST_WORDS);
  if (texts.length) find("facets").append(drawGroup("Classes and labels", () => texts.map(drawWords), true));
  columnGroups().forEach((group, number) => {
    const draw = () => group.numbers.map((column) => drawRange(column, shortTitle(group, column)));
    find("facets").append(drawGroup(group.title, draw, number === 0));
  });
  const facts = make("dl", "facts");
  for (const [name, words] of page.facts) facts.append(make("dt", "", visible(name)), make("dd", "", visible(words)));
  find("facets").append(facts);
}

function drawChips() {
  const chips = [];
  for (const [number, [least, most]] of state.ranges) {
    const column = page.columns[number];
    const words = [];
    if (least > -Infinity) words.push(`≥ ${written(least, column)}`);
    if (most < Infinity) words.push(`≤ ${written(most, column)}`);
    chips.push([`${visible(column.title)} ${words.join(", ")}`, () => setRange(number, -Infinity, Infinity)]);
  }
  for (const [number, chosen] of state.words) {
    const words = [...chosen].map((word) => visible(word) || "none").join(" or ");
    chips.push([`${visible(page.texts[number].title)}: ${words}`, () => state.words.delete(number)]);
  }
  if (state.among) chips.push([state.among.title, () => (state.among = null)]);
  find("chips").replaceChildren(
    ...chips.map(([words, remove]) => {
      const chip = make("li");
      chip.append(
        button(`${words} ✕`, `Remove the filter ${words}`, () => {
          remove();
          update();
        }),
      );
      return chip;
    }),
  );
}
