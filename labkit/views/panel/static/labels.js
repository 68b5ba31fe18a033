// Where words go, so that none lies on another: as the Page of labkit/views/labels.py, in pixels.

const AIR = 4; // pixels between two words
const ABOVE = 4; // rows of words above the lanes, for faults
const BELOW = 2; // and below them, for views
const STRIKE = 14; // pixels of the row of the faults' triangles

/** Where words and marks already are: boxes of left, top, right and bottom. */
class Page {
  constructor(left, right) {
    Object.assign(this, { left, right, boxes: [] });
  }

  free([a, top, b, bottom]) {
    if (a < this.left || b > this.right) return false;
    return !this.boxes.some(([x0, y0, x1, y1]) =>
      a < x1 + AIR && x0 < b + AIR && top < y1 && y0 < bottom);
  }
}

function boxAt(x, y, wide, high) {
  return [x, y - high / 2, x + wide, y + high / 2];
}

/** The words of a diagram: what is written beside its marks and on its bands. */
class Words {
  constructor(diagram, layer) {
    this.count = layer.appendChild(shape("text", { class: "tick unnamed" }));
    Object.assign(this, { diagram, layer });
  }

  /** Not seen before it has a place. */
  add(text, kind) {
    const node = this.layer.appendChild(shape("text", { class: `word ${kind}` }, text));
    node.style.display = "none";
    return { node, text, spot: 0 };
  }

  /** The oldest first: it was there before, and stays where it was. */
  place(bands, marks) {
    const { left, right, half } = this.diagram;
    this.page = new Page(left, right);
    for (const { mark, x } of marks) {
      if (mark.kind === "fault" || x === null) continue;
      this.page.boxes.push(boxAt(x - half, this.diagram.y(mark.lane), 2 * half, 2 * half));
    }
    const named = [...bands, ...marks].filter(({ word, x }) => word && x !== null);
    named.sort((a, b) => (a.mark?.t ?? a.begin) - (b.mark?.t ?? b.begin));
    let unnamed = 0;
    for (const { mark, word, x, node } of named) {
      const spots = mark ? this.spots(mark, x, word) : this.above(x + 2, word).reverse();
      const placed = this.put(word, spots, !mark || mark.kind === "fault" || mark.kind === "view");
      unnamed += !placed;
      if (mark?.kind === "fault") {
        node.querySelector(".stem").setAttribute("d", placed ? this.stem(word) : "");
      }
    }
    this.leaveOut(unnamed);
  }

  /** Says how many words there is no room for, in the corner. */
  leaveOut(unnamed) {
    this.count.setAttribute("x", this.diagram.left - 8);
    this.count.setAttribute("y", 4 + 0.76 * this.diagram.line);
    if (this.count.dataset.count === String(unnamed)) return;
    this.count.dataset.count = unnamed;
    this.count.textContent = unnamed ? `+${unnamed} more` : "";
    this.count.append(shape("title", {}, "there is no room for their names: point at the marks"));
  }

  /** Where a mark's word may stand, the best first, as left edges and middles. */
  spots(mark, x, word) {
    const { bottom, line, half } = this.diagram;
    if (mark.kind === "fault") {
      return [...this.above(x - 5, word), ...this.above(x + 5 - this.wide(word), word)];
    }
    if (mark.kind === "view") {
      return rows(BELOW, (row) => [this.within(x - 2, word), bottom + line * (row + 0.6)]);
    }
    const y = this.diagram.y(mark.lane);
    const [before, after] = [[x - half - AIR - this.wide(word), y], [x + half + AIR, y]];
    return mark.kind === "start" ? [before, after] : [after, before]; // where the rank is dead
  }

  /** The rows above the triangles of the faults, from below. */
  above(x, word) {
    const { top, line } = this.diagram;
    return rows(ABOVE, (row) => [this.within(x, word), top - STRIKE - line * (row + 0.5)]);
  }

  /** From a triangle up to its words. */
  stem(word) {
    return `M0 -10V${-STRIKE - this.diagram.line * (word.spot % ABOVE)}`;
  }

  within(x, word) {
    const { left, right } = this.diagram;
    return Math.max(left, Math.min(x, right - this.wide(word)));
  }

  /** Puts a word where there is room, if there is: false if not. One that stays goes first to where
   * it was, else it would hop from row to row as the others leave. */
  put(word, spots, stays = true) {
    const { line } = this.diagram;
    const [wide, high] = [this.wide(word), line - 1];
    const free = ([x, y]) => this.page.free(boxAt(x, y, wide, high));
    const spot = stays && free(spots[word.spot]) ? word.spot : spots.findIndex(free);
    word.node.style.display = spot < 0 ? "none" : "";
    if (spot < 0) return false;
    const [x, y] = spots[spot];
    word.spot = spot;
    word.node.setAttribute("x", x.toFixed(1));
    word.node.setAttribute("y", y + 0.26 * line);
    this.page.boxes.push(boxAt(x, y, wide, high));
    return true;
  }

  /** Pixels that it takes; measured once a size. */
  wide(word) {
    if (word.line !== this.diagram.line) {
      word.line = this.diagram.line;
      const { fontWeight, fontSize, fontFamily } = getComputedStyle(word.node);
      ruler.font = `${fontWeight} ${fontSize} ${fontFamily}`;
      word.width = ruler.measureText(word.text).width;
    }
    return word.width;
  }
}

const ruler = document.createElement("canvas").getContext("2d");

function rows(count, spot) {
  return Array.from({ length: count }, (_, row) => spot(row));
}
