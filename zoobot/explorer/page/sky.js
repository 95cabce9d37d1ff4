// Links to those who show a galaxy's place on the sky. Nothing is loaded before somebody follows one.

if (page.sky) {
  page.sky.ra = unpack(page.sky.ra, Float64Array);
  page.sky.dec = unpack(page.sky.dec, Float64Array);
}

const hasPlace = (row) => page.sky !== null && !Number.isNaN(page.sky.ra[row]);
const degrees = (number) => number.toFixed(6);

function drawSkyLinks(row) {
  if (!hasPlace(row)) return [];
  const [ra, dec] = [degrees(page.sky.ra[row]), degrees(page.sky.dec[row])];
  const line = make("p", "sky");
  line.append(make("span", "", `${ra}°, ${dec.replace("-", "−")}°`));
  for (const [name, address] of page.sky.links) {
    const link = make("a", "", name);
    link.href = address.replaceAll("{ra}", ra).replaceAll("{dec}", dec);
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    link.title = `${name}, in a new tab`;
    line.append(link);
  }
  return [line];
}
