// Steps of each rank, and the goodput, against time: the same seconds as in the diagram above them.

class Curves {
  constructor(model, diagram) {
    this.diagram = diagram;
    this.ranks = model.get("lanes").filter((lane) => !lane.witness).map((lane) => lane.id);
    this.colours = model.get("colours").ranks;
    this.steps = new Map(this.ranks.map((rank) => [rank, []]));
    this.goodput = [];
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.element = element("div", { class: "curves" }, this.canvas);
  }

  take(frame) {
    for (const [rank, t, step] of frame.steps || []) this.steps.get(rank)?.push([t, step]);
    for (const { kind, lane, t } of frame.marks || []) {
      if (kind === "death") this.steps.get(lane)?.push([t, null]); // its next life is another line
    }
    if (frame.goodput) this.goodput.push([frame.now, frame.goodput[1]]);
    const before = frame.now - 40;
    for (const some of [this.goodput, ...this.steps.values()]) {
      while (!this.diagram.range && some.length > 2 && some[1][0] < before) some.shift();
    }
  }

  begin() {
    for (const some of this.steps.values()) some.push([this.diagram.now, null]);
    this.goodput.push([this.diagram.now, null]);
  }

  draw() {
    const wide = this.element.clientWidth;
    if (!wide || !this.diagram.seen) return;
    const high = this.diagram.present ? 130 : 92;
    const scale = window.devicePixelRatio || 1;
    const [w, h] = [Math.round(wide * scale), Math.round(high * scale)];
    if (this.canvas.width !== w || this.canvas.height !== h) {
      Object.assign(this.canvas, { width: w, height: h });
      Object.assign(this.canvas.style, { width: `${wide}px`, height: `${high}px` });
    }
    const paint = this.canvas.getContext("2d");
    paint.setTransform(scale, 0, 0, scale, 0, 0);
    paint.clearRect(0, 0, wide, high);
    const style = getComputedStyle(this.element);
    this.ink = style.getPropertyValue("--ink");
    this.rule = style.getPropertyValue("--rule");
    paint.font = `${this.diagram.present ? 15 : 11}px ${style.fontFamily}`;
    this.drawGoodput(paint, high);
    this.drawSteps(paint, high);
  }

  drawSteps(paint, high) {
    const [begin, end] = this.diagram.seen;
    const all = [...this.steps.values()].map((some) => this.visible(some, begin, end));
    const values = all.flat().map(([, step]) => step).filter((step) => step !== null);
    if (!values.length) return;
    let [low, top] = [Math.min(...values), Math.max(...values)];
    if (top - low < 4) low = Math.max(0, top - 4);
    const y = (step) => high - 8 - ((step - low) / Math.max(1, top - low)) * (high - 24);
    all.forEach((some, i) => {
      paint.strokeStyle = this.colours[this.ranks[i] % this.colours.length];
      paint.lineWidth = this.diagram.present ? 3 : 2;
      paint.setLineDash(i % 2 ? [7, 3] : []); // apart without colour, too
      this.line(paint, some, y);
    });
    paint.setLineDash([]);
    paint.fillStyle = this.ink;
    paint.textAlign = "right";
    paint.fillText(`step ${top}`, this.diagram.left - 8, 18);
    paint.fillText(`${low}`, this.diagram.left - 8, high - 6);
  }

  drawGoodput(paint, high) {
    const [begin, end] = this.diagram.seen;
    const some = this.visible(this.goodput, begin, end);
    paint.strokeStyle = this.rule;
    paint.lineWidth = 1;
    paint.strokeRect(this.diagram.left, 4, this.diagram.right - this.diagram.left, high - 8);
    if (!some.length) return;
    const y = (share) => high - 8 - share * (high - 24);
    paint.beginPath();
    paint.fillStyle = this.rule;
    paint.globalAlpha = 0.35;
    let [open, last] = [false, 0];
    for (const [t, share] of [...some, [end, null]]) {
      const x = Math.max(this.diagram.x(t), this.diagram.left);
      if (share === null) {
        if (open) paint.lineTo(last, high - 8);
        open = false;
        continue;
      }
      if (!open) paint.moveTo(x, high - 8);
      open = true;
      paint.lineTo(x, y(share));
      last = x;
    }
    paint.fill();
    paint.globalAlpha = 1;
    this.explainGoodput(paint);
  }

  /** In the corner where the steps seldom are. */
  explainGoodput(paint) {
    const [x, size] = [this.diagram.left + 6, this.diagram.present ? 15 : 11];
    paint.textAlign = "left";
    paint.fillStyle = this.ink;
    paint.fillText("▒ goodput of the last seconds, at most 100 %", x, 6 + size);
  }

  visible(some, begin, end) {
    const first = Math.max(0, some.findIndex(([t]) => t >= begin) - 1);
    return some.length && some[some.length - 1][0] < begin ? [] : some.slice(first).filter(([t]) => t <= end);
  }

  line(paint, some, y) {
    paint.beginPath();
    let open = false;
    for (const [t, value] of some) {
      if (value === null) { open = false; continue; }
      const x = this.diagram.x(t);
      if (x < this.diagram.left) { open = false; continue; }
      if (open) paint.lineTo(x, y(value));
      else paint.moveTo(x, y(value));
      open = true;
    }
    paint.stroke();
  }
}
