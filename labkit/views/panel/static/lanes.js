// The lanes, on a canvas: what each rank is doing, as shares of short bins of time.

function drawLanes(diagram) {
  const paint = diagram.canvas.getContext("2d");
  const scale = window.devicePixelRatio || 1;
  paint.setTransform(scale, 0, 0, scale, 0, 0);
  paint.clearRect(0, 0, diagram.right + 8, diagram.high);
  const style = getComputedStyle(diagram.element);
  const [pale, rule] = ["--pale", "--rule"].map((name) => style.getPropertyValue(name));
  const [begin, end] = diagram.seen;
  const thick = diagram.pitch * 0.62;
  for (const lane of diagram.lanes) {
    const above = diagram.y(lane.id) - thick / 2;
    paint.fillStyle = pale;
    for (const [from, to] of lives(diagram, lane.id)) {
      const [a, b] = [Math.max(from, begin), Math.min(to, end)];
      if (a < b) paint.fillRect(diagram.x(a), above, diagram.x(b) - diagram.x(a), thick);
    }
    for (const [i, shares] of diagram.bins.get(lane.id)) {
      const from = i * diagram.width;
      if (from + diagram.width < begin || from > end) continue;
      const a = Math.max(diagram.x(from), diagram.left);
      const wide = Math.min(diagram.x(from + diagram.width), diagram.right) - a;
      drawBin(paint, diagram, shares, rule, [a, wide, above, thick]);
    }
  }
}

/** Activities are stacked from below, each as high as its share of the time. */
function drawBin(paint, diagram, shares, rule, [x, wide, above, thick]) {
  let low = above + thick;
  const sum = shares.reduce((all, [, share]) => all + share, 0);
  for (const [name, share] of shares) {
    const high = (share / Math.max(1, sum)) * thick;
    low -= high;
    if (name === "paused") { // nothing, in a dashed outline
      paint.fillStyle = rule;
      paint.fillRect(x, above, wide * 0.6, 1.5);
      paint.fillRect(x, above + thick - 1.5, wide * 0.6, 1.5);
      continue;
    }
    const [, colour, hatch] = diagram.look(name);
    paint.fillStyle = hatch ? hatched(paint, colour, hatch) : colour;
    paint.fillRect(x, low, wide + 0.4, high);
  }
}

const patterns = {};

function hatched(paint, colour, hatch) {
  const key = colour + hatch;
  if (!patterns[key]) {
    const tile = element("canvas", { width: 6, height: 6 });
    const on = tile.getContext("2d");
    on.fillStyle = colour;
    on.fillRect(0, 0, 6, 6);
    on.strokeStyle = hatch;
    on.lineWidth = 1.4;
    for (const d of [-6, 0, 6]) {
      on.moveTo(d - 1, 7);
      on.lineTo(d + 7, -1);
    }
    on.stroke();
    patterns[key] = paint.createPattern(tile, "repeat");
  }
  return patterns[key];
}

/** When the rank had a process, as far as is known. */
function lives(diagram, rank) {
  const spans = [];
  let from = diagram.live ? -Infinity : 0;
  for (const { mark } of diagram.marks.values()) {
    if (mark.lane !== rank) continue;
    if (mark.kind === "death") {
      if (from !== null) spans.push([from, mark.t]);
      from = null;
    } else if (mark.kind === "start") from = mark.t;
  }
  if (from !== null) spans.push([from, diagram.range ? diagram.range[1] : diagram.now]);
  return spans;
}
