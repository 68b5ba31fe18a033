// The space-time diagram: what each rank is doing on a canvas, and above it, as SVG, what happened.

const LATE = 0.15; // seconds: what is newer may not have arrived
const FRAME = 66; // milliseconds between two pictures

class Diagram {
  constructor(model, tell) {
    this.tell = tell;
    this.lanes = model.get("lanes");
    this.looks = { ...model.get("colours").looks };
    this.spare = [...model.get("colours").spare];
    this.live = model.get("mode") === "live";
    this.window = model.get("window");
    this.range = null; // a fixed one, of a finished run
    this.bins = new Map(this.lanes.map((lane) => [lane.id, new Map()]));
    this.width = 0.05;
    this.now = 0;
    this.skew = null;
    this.arrived = performance.now();
    this.marks = new Map();
    this.arrows = new Map();
    this.ahead = model.get("mode") === "simulated" ? 0.2 : 0; // share of the window in the future
    this.bands = [];
    this.cursor = null;
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.svg = shape("svg", { class: "events", tabindex: 0, role: "application",
      "aria-label": "What happened, by rank; arrow keys go from event to event, Enter tells more" });
    this.layers = {};
    for (const name of ["axis", "bands", "arrows", "marks", "words"]) {
      this.layers[name] = shape("g", { class: name });
      this.svg.append(this.layers[name]);
    }
    this.words = new Words(this, this.layers.words);
    this.element = element("div", { class: "diagram" }, this.canvas, this.svg);
    this.svg.addEventListener("keydown", (event) => this.key(event));
  }

  /** Label, colour and hatch of an activity; one without a word of its own gets a spare colour. */
  look(name) {
    return (this.looks[name] ??= [name, this.spare.shift() ?? "#999933", ""]);
  }

  // -- what comes

  take(frame) {
    this.now = Math.max(this.now, frame.now);
    const skew = performance.now() / 1000 - frame.now;
    this.skew = this.skew === null ? skew : Math.min(this.skew + 0.002, skew);
    this.arrived = performance.now();
    if (frame.width) this.width = frame.width;
    if (frame.range) this.range = frame.range;
    for (const [rank, i, shares] of frame.bins || []) this.bins.get(rank)?.set(i, shares);
    for (const mark of frame.marks || []) this.add(mark);
    for (const [id, source, target, sent, received, name] of frame.arrows || []) {
      if (!this.arrows.has(id)) this.arrow({ id, source, target, sent, received, name });
    }
    for (const [id, source, target, sent, name] of frame.lost || []) {
      this.arrow({ id, source, target, sent, received: null, name, lost: true });
    }
    if (frame.flying) this.fly(frame.flying);
    if (frame.bands) this.setBands(frame.bands);
    if (!this.range) this.forget();
  }

  /** Begins anew: the simulation has gone back. */
  reset() {
    for (const entry of [...this.marks.values(), ...this.arrows.values()]) this.remove(entry);
    this.marks.clear();
    this.arrows.clear();
    for (const bins of this.bins.values()) bins.clear();
    this.now = 0;
    this.skew = null;
  }

  /** The messages that are on their way now; the browser may be asked for the fate of each. */
  fly(flying) {
    const numbers = new Set(flying.map(([number]) => `flying ${number}`));
    for (const [id, { node }] of this.arrows) {
      if (String(id).startsWith("flying") && !numbers.has(id)) {
        node.remove();
        this.arrows.delete(id);
      }
    }
    for (const [number, source, target, sent, received, name] of flying) {
      const id = `flying ${number}`;
      if (!this.arrows.has(id)) this.arrow({ id, source, target, sent, received, name, number });
    }
  }

  add(mark) {
    if (this.marks.has(mark.id)) return;
    const ask = () => this.tell({ kind: "event", id: mark.id });
    const entry = { mark, node: drawMark(mark, this.half, ask) };
    this.layers.marks.append(entry.node);
    const text = wordsOf(mark);
    if (text) {
      entry.word = this.words.add(text, `of-${mark.kind}`);
      entry.word.node.addEventListener("click", ask);
    }
    if (mark.first) {
      entry.word.node.classList.add("viewname");
      entry.word.node.dataset.view = mark.number;
      entry.rule = this.layers.axis.appendChild(shape("path", { class: "viewrule" }));
    }
    this.marks.set(mark.id, entry);
  }

  remove({ node, word, rule }) {
    for (const drawn of [node, word?.node, rule]) drawn?.remove();
  }

  arrow(arrow) {
    const node = shape("g", { class: "message", "data-kind": "message", "data-id": arrow.id,
      "data-source": arrow.source, "data-target": arrow.target });
    const words = `${arrow.name || "message"} from ${arrow.source} to ${arrow.target}`;
    node.append(shape("title", {}, words), shape("path", { class: "line" }),
      shape("path", { class: "target" }), shape("path", { class: "head" }));
    if (arrow.number !== undefined) node.dataset.number = arrow.number;
    const wish = arrow.number === undefined ? { kind: "event", id: arrow.id } : { kind: "choose", number: arrow.number };
    node.addEventListener("click", () => this.tell(wish));
    if (arrow.lost) node.classList.add("lost");
    this.layers.arrows.append(node);
    this.arrows.set(arrow.id, { ...arrow, node });
  }

  setBands(bands) {
    const same = JSON.stringify(bands);
    if (same === this.said) return;
    this.said = same;
    this.layers.bands.replaceChildren();
    for (const { word } of this.bands) word.node.remove();
    this.bands = bands.map((band) => {
      const node = shape("g", { class: "band", "data-kind": "band", "data-label": band.label });
      node.append(shape("title", {}, band.label));
      const boxes = band.ranks.filter((rank) => this.row(rank) >= 0).map((rank) => {
        const box = shape("rect", { class: "box", "data-rank": rank });
        node.append(box);
        return [rank, box];
      });
      this.layers.bands.append(node);
      return { ...band, boxes, word: this.words.add(band.label, "of-band") };
    });
  }

  /** What has left the window is drawn no more. */
  forget() {
    const before = this.now - (this.live ? 32 : 12);
    for (const some of [this.marks, this.arrows]) {
      for (const [id, entry] of some) {
        if ((entry.mark ? entry.mark.t : entry.sent) > before) break;
        this.remove(entry);
        some.delete(id);
      }
    }
    const first = before / this.width;
    for (const bins of this.bins.values()) {
      for (const i of bins.keys()) {
        if (i > first) break;
        bins.delete(i);
      }
    }
  }

  // -- where everything is

  get pitch() { return this.present ? 36 : 25; }
  get half() { return this.present ? 9 : 6; }
  get line() { return this.present ? 22 : 15; } // from one line of words to the next
  get top() { return 4 + ABOVE * this.line + STRIKE; }
  row(rank) { return this.lanes.findIndex((lane) => lane.id === rank); }
  y(rank) {
    const row = this.row(rank);
    return row < 0 ? this.top - 2 : this.top + this.pitch * (row + 0.5);
  }
  get bottom() { return this.top + this.pitch * this.lanes.length; }

  span() {
    if (this.range) return this.range;
    let end = this.now;
    if (this.live && this.skew !== null) {
      end = Math.min(performance.now() / 1000 - this.skew, this.now + 0.1) - LATE;
    }
    return [end - this.window * (1 - this.ahead), end + this.window * this.ahead];
  }

  x(t) {
    const [begin, end] = this.seen;
    return this.left + ((t - begin) / (end - begin)) * (this.right - this.left);
  }

  // -- drawing

  draw() {
    const wide = this.element.clientWidth;
    if (!wide) return;
    this.left = this.present ? 96 : 72;
    this.right = wide - 8;
    this.seen = this.span();
    this.size(wide, this.bottom + (BELOW + 1) * this.line + 6);
    drawLanes(this);
    this.drawAxis();
    this.drawBands();
    for (const entry of this.marks.values()) this.placeMark(entry);
    for (const entry of this.arrows.values()) this.placeArrow(entry);
    this.words.place(this.bands, [...this.marks.values()]);
  }

  size(wide, high) {
    const scale = window.devicePixelRatio || 1;
    if (this.canvas.width === Math.round(wide * scale) && this.high === high) return;
    this.high = high;
    Object.assign(this.canvas, { width: Math.round(wide * scale), height: Math.round(high * scale) });
    Object.assign(this.canvas.style, { width: `${wide}px`, height: `${high}px` });
    this.svg.setAttribute("viewBox", `0 0 ${wide} ${high}`);
    Object.assign(this.svg.style, { width: `${wide}px`, height: `${high}px` });
  }

  drawAxis() {
    const [begin, end] = this.seen;
    const nodes = this.names ??= this.lanes.map((lane) => {
      const name = shape("text", { class: "lanename" }, lane.name);
      this.layers.words.append(name);
      return name;
    });
    this.lanes.forEach((lane, i) => {
      nodes[i].setAttribute("x", this.left - 8);
      nodes[i].setAttribute("y", this.y(lane.id) + 4);
    });
    const most = Math.min(10, (this.right - this.left) / (4 * this.line)); // with air between them
    const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60].find((s) => (end - begin) / s <= most) || 120;
    this.ticks ??= [];
    let used = 0;
    for (let t = Math.ceil(begin / step) * step; t <= end; t += step) {
      const tick = this.ticks[used] ??= this.layers.axis.appendChild(shape("text", { class: "tick" }));
      used += 1;
      tick.textContent = `${step < 1 ? t.toFixed(2) : Math.round(t)} s`;
      const x = this.x(t);
      tick.setAttribute("x", x);
      tick.setAttribute("y", this.high - 4);
      const cutOff = x > this.right - this.line;
      tick.style.display = t < 0 || cutOff ? "none" : "";
    }
    this.ticks.slice(used).forEach((tick) => (tick.style.display = "none"));
    if (this.cursor !== null) {
      this.hand ??= this.layers.marks.appendChild(shape("path", { class: "cursor" }));
      this.hand.setAttribute("d", `M${this.x(this.cursor)} ${this.top - 4}V${this.bottom + 4}`);
    }
  }

  drawBands() {
    const end = this.seen[1];
    this.bands.forEach((band) => {
      const a = Math.max(this.x(band.begin), this.left);
      const b = Math.min(this.x(band.end === null ? end : band.end), this.right);
      const shown = b >= a && b > this.left;
      band.x = shown ? a : null;
      if (!shown) band.word.node.style.display = "none";
      for (const [rank, box] of band.boxes) {
        box.style.display = shown ? "" : "none";
        if (!shown) continue;
        box.setAttribute("x", a);
        box.setAttribute("width", Math.max(2, b - a));
        box.setAttribute("y", this.y(rank) - this.pitch / 2 + 1);
        box.setAttribute("height", this.pitch - 2);
      }
    });
  }

  placeMark(entry) {
    const { mark, node, rule } = entry;
    const x = this.x(mark.t);
    const shown = x >= this.left - 1 && x <= this.right + 1;
    entry.x = shown ? x : null;
    for (const drawn of [node, rule]) if (drawn) drawn.style.display = shown ? "" : "none";
    if (!shown && entry.word) entry.word.node.style.display = "none";
    if (!shown) return;
    const y = mark.kind === "fault" ? this.top - 2 : this.y(mark.lane);
    node.setAttribute("transform", `translate(${x.toFixed(1)} ${y})`);
    rule?.setAttribute("d", `M${x} ${this.top}V${this.bottom + 4}`);
  }

  placeArrow({ source, target, sent, received, node, lost, number }) {
    const x1 = this.x(sent);
    const x2 = lost ? x1 + 14 : this.x(received);
    const shown = x2 >= this.left && x1 <= this.right;
    node.style.display = shown ? "" : "none";
    if (!shown) return;
    const y1 = this.y(source);
    const y2 = lost ? (y1 + this.y(target)) / 2 : this.y(target);
    const from = Math.max(x1, this.left); // not over the names of the lanes
    const high = y1 + ((from - x1) / Math.max(x2 - x1, 1e-9)) * (y2 - y1);
    const d = `M${from.toFixed(1)} ${high.toFixed(1)}L${x2.toFixed(1)} ${y2}`;
    node.children[1].setAttribute("d", d);
    node.children[2].setAttribute("d", d);
    const turn = (Math.atan2(y2 - y1, x2 - x1) * 180) / Math.PI;
    node.children[3].setAttribute("d", lost ? "M-4 -4L4 4M-4 4L4 -4" : "M0 0L-7 -3V3Z");
    node.children[3].setAttribute("transform", `translate(${x2} ${y2}) rotate(${turn})`);
    node.classList.toggle("flying", number !== undefined);
  }

  // -- by keyboard

  key(event) {
    if (event.shiftKey || event.ctrlKey || event.altKey || event.metaKey) return;
    const shown = [...this.marks.values()].filter(({ node }) => node.style.display !== "none");
    shown.sort((a, b) => a.mark.t - b.mark.t);
    const at = shown.findIndex(({ mark }) => mark.id === this.chosen);
    const way = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (way && shown.length) {
      const next = shown[at < 0 ? shown.length - 1 : Math.min(Math.max(at + way, 0), shown.length - 1)];
      this.marks.get(this.chosen)?.node.classList.remove("chosen");
      this.chosen = next.mark.id;
      next.node.classList.add("chosen");
      this.tell({ kind: "look", text: `${next.mark.label}, at ${next.mark.t.toFixed(2)} s` });
    } else if (event.key === "Enter" && at >= 0) this.tell({ kind: "event", id: this.chosen });
    else return;
    event.preventDefault();
  }
}
