// Who spoke when: a lane per person on a canvas. The table of turns on the page holds the same for those who do not see it.
const LANE = 26, TOP = 26, NAME = 132, GAP = 8;
const STEPS = [0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];

export class Timeline {
  constructor(canvas, told, seek) {
    Object.assign(this, { canvas, told, seek, from: 0, to: Math.max(told.duration, 0.1), time: 0, hover: null });
    canvas.style.height = `${TOP + Math.max(told.lanes.length, 1) * LANE + GAP}px`;
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    canvas.addEventListener("pointerdown", (event) => { this.dragged = true; canvas.setPointerCapture(event.pointerId); this.seekTo(event); });
    canvas.addEventListener("pointermove", (event) => { if (this.dragged) this.seekTo(event); this.hint(event); });
    canvas.addEventListener("pointerup", () => { this.dragged = false; });
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.shiftKey) return;
      event.preventDefault();
      if (event.ctrlKey) this.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.timeAt(event.offsetX));
      else this.shift((event.deltaY || event.deltaX) > 0 ? 0.1 : -0.1);
    }, { passive: false });
  }

  get span() { return this.to - this.from; }
  x(time) { return NAME + ((time - this.from) / this.span) * (this.canvas.clientWidth - NAME - GAP); }
  timeAt(x) { return this.from + ((x - NAME) / (this.canvas.clientWidth - NAME - GAP)) * this.span; }
  seekTo(event) { this.seek(Math.min(Math.max(this.timeAt(event.offsetX), 0), this.told.duration)); }
  showAll() { this.setView(0, this.told.duration); }
  shift(share) { this.setView(this.from + share * this.span, this.to + share * this.span); }

  zoom(factor, centre = this.time) {
    const span = Math.min(Math.max(this.span * factor, 1), this.told.duration);
    const at = (centre - this.from) / this.span;
    this.setView(centre - at * span, centre + (1 - at) * span);
  }

  setView(from, to) {
    const span = Math.min(to - from, this.told.duration);
    this.from = Math.min(Math.max(from, 0), this.told.duration - span);
    this.to = this.from + Math.max(span, 0.1);
    this.draw();
  }

  moveTo(time) {
    this.time = time;
    if (!this.dragged && (time < this.from || time > this.to)) this.setView(time - 0.1 * this.span, time + 0.9 * this.span);
    this.draw();
  }

  draw() {
    const ratio = devicePixelRatio || 1, { clientWidth: w, clientHeight: h } = this.canvas;
    if (!w || !h) return;
    this.canvas.width = Math.round(w * ratio);
    this.canvas.height = Math.round(h * ratio);
    const pen = this.canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.colours = getComputedStyle(this.canvas);
    this.drawGround(pen, w, h);
    this.told.lanes.forEach((lane, row) => this.drawLane(pen, lane, TOP + row * LANE, w));
    if (!this.told.lanes.length) this.write(pen, "No faces and no voices", NAME, TOP + 17, "--quiet");
    const x = Math.round(this.x(this.time));
    if (x >= NAME) { pen.fillStyle = this.colour("--playhead"); pen.fillRect(x - 0.5, 2, 1.5, h - 4); }
  }

  colour(name) { return this.colours.getPropertyValue(name).trim(); }

  write(pen, text, x, y, colour = "--ink", weight = 400) {
    pen.font = `${weight} 12.5px system-ui, sans-serif`;
    pen.fillStyle = this.colour(colour);
    pen.fillText(text, x, y);
  }

  drawGround(pen, w, h) {
    pen.fillStyle = this.colour("--heard");
    for (const [start, end] of this.told.speech) this.bar(pen, start, end, 20, 3);
    const step = STEPS.find((s) => (s / this.span) * (w - NAME) > 74) ?? 3600;
    pen.strokeStyle = this.colour("--line");
    for (let t = Math.ceil(this.from / step) * step; t <= this.to; t += step) {
      const x = Math.round(this.x(t)) + 0.5;
      pen.beginPath(); pen.moveTo(x, TOP); pen.lineTo(x, h); pen.stroke();
      if (x < w - 30) this.write(pen, clock(t, step), x - 10, 14, "--quiet");
    }
    pen.fillStyle = this.colour("--quiet");
    for (const { start } of this.told.shots) if (start > this.from && start < this.to) pen.fillRect(Math.round(this.x(start)), 18, 1, 5);
  }

  bar(pen, start, end, y, height) {
    const left = Math.max(this.x(start), NAME), right = Math.min(this.x(end), this.canvas.clientWidth - GAP);
    if (right > NAME && left < this.canvas.clientWidth && right > left) pen.fillRect(left, y, Math.max(right - left, 1), height);
  }

  drawLane(pen, lane, y, w) {
    pen.strokeStyle = this.colour("--line");
    pen.beginPath(); pen.moveTo(0, y + LANE - 0.5); pen.lineTo(w, y + LANE - 0.5); pen.stroke();
    const colour = this.colour(`--lane-${lane.colour}`);
    pen.save();
    pen.beginPath(); pen.rect(0, y, NAME - 12, LANE); pen.clip();
    this.write(pen, lane.label, 14, y + 17, lane.turns.length ? "--ink" : "--quiet", lane.turns.length ? 600 : 400);
    pen.restore();
    pen.fillStyle = colour;
    pen.globalAlpha = 0.4;
    for (const [start, end] of lane.seen) this.bar(pen, start, end, y + LANE - 7, 2);
    pen.globalAlpha = 1;
    for (const turn of lane.turns) {
      pen.fillStyle = turn.on_screen ? colour : this.hatched(pen, colour);
      this.bar(pen, turn.start, turn.end, y + 4, LANE - 12);
    }
  }

  hatched(pen, colour) {
    const tile = Object.assign(document.createElement("canvas"), { width: 6, height: 6 });
    const ink = tile.getContext("2d");
    ink.strokeStyle = colour;
    ink.lineWidth = 1.6;
    for (const offset of [-6, 0, 6]) { ink.beginPath(); ink.moveTo(offset, 6); ink.lineTo(offset + 6, 0); ink.stroke(); }
    return pen.createPattern(tile, "repeat");
  }

  hint(event) {
    const lane = this.told.lanes[Math.floor((event.offsetY - TOP) / LANE)];
    const time = this.timeAt(event.offsetX);
    const turn = lane?.turns.find((t) => t.start <= time && time < t.end);
    this.canvas.title = turn ? `${lane.label}, ${clock(turn.start, 0.1)} – ${clock(turn.end, 0.1)}, confidence ${Math.round(turn.confidence * 100)} %` : "";
  }
}

function clock(time, step) {
  const digits = step < 1 ? 1 : 0, whole = Math.floor(time / 3600);
  const minutes = Math.floor(time / 60) % 60, seconds = (time % 60).toFixed(digits).padStart(digits ? 4 : 2, "0");
  return whole ? `${whole}:${String(minutes).padStart(2, "0")}:${seconds}` : `${minutes}:${seconds}`;
}
