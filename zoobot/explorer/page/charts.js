// Bars with intervals and labels: a few on a card, the whole tree in the details.

const MOST_LINES = 4;
const CARD_LINES = Math.min(MOST_LINES, page.charts.length > 1 ? page.charts.length : (page.charts[0]?.bars.length ?? 0));

const isAsked = (chart, row) => chart.bars.some((bar) => !Number.isNaN(valueOf(bar.value, row)));

const leading = (chart, row) =>
  chart.bars.reduce((best, bar) => (valueOf(bar.value, row) > valueOf(best.value, row) ? bar : best));

// Where on the bar a number stands, in percent of its length.
function placeOf(chart, number) {
  const [low, high] = chart.scale;
  return Math.min(Math.max((100 * (number - low)) / (high - low), 0), 100);
}

function isLabel(chart, bar, row) {
  return chart.label !== null && wordOf(page.texts[chart.label], row) === bar.title;
}

function labelOf(chart, bar, row) {
  if (bar.label !== null) return valueOf(bar.label, row);
  return isLabel(chart, bar, row) ? 1 : NaN;
}

function drawBar(chart, bar, row) {
  const value = valueOf(bar.value, row);
  const track = make("div", "track");
  const fill = make("i", "fill");
  fill.style.width = `${Number.isNaN(value) ? 0 : placeOf(chart, value)}%`;
  track.append(fill);
  if (bar.lower !== null && !Number.isNaN(value)) {
    const ends = [bar.lower, bar.upper].map((column) => placeOf(chart, valueOf(column, row)));
    const interval = make("i", "interval");
    interval.style.left = `${ends[0]}%`;
    interval.style.width = `${ends[1] - ends[0]}%`;
    track.append(interval);
  }
  const label = labelOf(chart, bar, row);
  if (!Number.isNaN(label)) {
    const mark = make("i", "mark");
    mark.style.left = `${Math.min(Math.max(placeOf(chart, label), 0.6), 99.4)}%`; // whole at either end
    track.append(mark);
  }
  return track;
}

// The bars that fit on a card: of a tree the leading answer of each question, else the largest bars.
function cardBars(row) {
  const asked = page.charts.filter((chart) => isAsked(chart, row));
  if (page.charts.length === 1 && asked.length) {
    const bars = [...asked[0].bars].sort((a, b) => valueOf(b.value, row) - valueOf(a.value, row));
    return bars.map((bar) => [asked[0], bar]);
  }
  return asked.map((chart) => [chart, leading(chart, row)]);
}

const titleOf = (chart, bar) => (page.charts.length > 1 ? `${chart.title}: ${bar.title}` : bar.title);

function drawCardLines(row) {
  let bars = cardBars(row);
  const sorted = page.charts.flatMap((chart) => chart.bars.map((bar) => [chart, bar]));
  const first = sorted.find(([chart, bar]) => bar.value === state.sort && isAsked(chart, row));
  if (first) bars = [first, ...bars.filter(([, bar]) => bar !== first[1])];
  const lines = make("div", "lines");
  for (const [chart, bar] of bars.slice(0, CARD_LINES)) {
    const line = make("div", "line");
    line.classList.toggle("sorted", bar.value === state.sort);
    line.classList.toggle("labelled", isLabel(chart, bar, row));
    const words = make("span", "words");
    if (page.charts.length > 1 || chart.bars.length === 1) words.append(make("span", "question", visible(chart.title)));
    words.append(make("span", "answer", visible(bar.title)));
    const column = page.columns[bar.value];
    line.append(words, make("b", "", written(column.values[row], column)), drawBar(chart, bar, row));
    lines.append(line);
  }
  if (!bars.length) lines.append(make("div", "line", "no prediction"));
  return lines;
}

function drawChartBars(chart, row) {
  const bars = make("ul", "bars");
  for (const bar of chart.bars) {
    const column = page.columns[bar.value];
    const value = column.values[row];
    const line = make("li");
    let words = written(value, column);
    if (bar.lower !== null && !Number.isNaN(value)) {
      const ends = [bar.lower, bar.upper].map((end) => written(valueOf(end, row), column));
      words += column.share ? ` (${ends.join("–").replaceAll("%", "")})` : ` (${ends.join(" to ")})`;
    }
    const text = make("div", "words");
    text.append(make("span", "answer", visible(bar.title)), make("b", "", words));
    const label = labelOf(chart, bar, row);
    if (!Number.isNaN(label)) {
      const said = bar.label === null ? "label" : `label ${written(label, column)}`;
      text.append(make("span", "label", said));
    }
    line.append(text, drawBar(chart, bar, row));
    bars.append(line);
  }
  return bars;
}

// The question above: of the answers that lead here, the one given most often, if its question is shown.
function parentOf(chart, row) {
  const likely = chart.parents
    .filter(([above]) => isAsked(page.charts[above], row))
    .map(([above, answer]) => {
      const { asked, bars } = page.charts[above];
      const share = valueOf(bars[answer].value, row) * (asked === null ? 1 : valueOf(asked, row));
      return { above, answer: bars[answer].title, share };
    });
  return likely.reduce((best, one) => (best && best.share >= one.share ? best : one), null);
}

// All questions that are likely to be asked, each below the answer that leads to it.
function drawTree(row) {
  const tree = make("div", "tree");
  const blocks = new Map();
  for (const [number, chart] of page.charts.entries()) {
    if (!isAsked(chart, row)) continue;
    const block = make("section", "chart");
    const heading = make("h3", "", visible(chart.title));
    if (chart.asked !== null && chart.parents.length) {
      heading.append(make("span", "asked", `asked ${written(valueOf(chart.asked, row), { share: true })}`));
    }
    block.append(heading, drawChartBars(chart, row));
    blocks.set(number, block);
  }
  for (const [number, block] of blocks) {
    const parent = parentOf(page.charts[number], row);
    const above = parent && blocks.get(parent.above);
    if (above) block.prepend(make("p", "after", `if ${visible(parent.answer)}`));
    (above ?? tree).append(block);
  }
  if (!blocks.size) tree.append(make("p", "", "no prediction"));
  return tree;
}

// What the colours mean, of what there is.
function drawLegend() {
  const bars = page.charts.flatMap((chart) => chart.bars);
  const isLabelled = bars.some((bar) => bar.label !== null) || page.charts.some((chart) => chart.label !== null);
  const meanings = [["", "expected"]];
  if (bars.some((bar) => bar.lower !== null)) meanings.push(["interval", page.interval]);
  if (isLabelled) meanings.push(["mark", "label"]);
  const legend = make("p", "legend");
  for (const [kind, words] of meanings) {
    const meaning = make("span");
    meaning.append(make("i", kind), words);
    legend.append(meaning);
  }
  return legend;
}

// What is known of a galaxy and drawn in no chart.
function drawFacts(row) {
  const facts = make("dl", "facts");
  const charted = new Set(page.charts.flatMap((chart) => [chart.asked, ...chart.bars.flatMap((bar) => [bar.value, bar.label])]));
  for (const text of page.texts) {
    facts.append(make("dt", "", visible(text.title)), make("dd", "", visible(wordOf(text, row)) || "–"));
  }
  for (const [number, column] of page.columns.entries()) {
    if (!column.listed || charted.has(number)) continue;
    facts.append(make("dt", "", visible(column.title)), make("dd", "", written(column.values[row], column)));
  }
  return facts;
}
