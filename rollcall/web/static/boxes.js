// Draws the faces of the shown instant over the video. Faces are fetched by the minute, so that an hour costs no more than a clip.
const WINDOW = 60; // seconds a request
const GRID_HZ = 25;

export class Boxes {
  constructor(canvas, video, told, url) {
    Object.assign(this, { canvas, video, told, url, windows: new Map(), visible: true, time: 0 });
    new ResizeObserver(() => this.show(this.time)).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.show(this.time));
  }

  setVisible(visible) { this.visible = visible; this.show(this.time); }

  async fetchWindow(index) {
    if (this.windows.has(index) || index < 0 || index * WINDOW >= this.told.duration) return;
    this.windows.set(index, null); // under way
    try {
      const answer = await fetch(`${this.url}?start=${index * WINDOW}&end=${(index + 1) * WINDOW}`);
      this.windows.set(index, await answer.json());
      this.show(this.time);
    } catch { this.windows.delete(index); }
  }

  show(time) {
    this.time = time;
    const index = Math.floor(time / WINDOW);
    this.fetchWindow(index);
    if (time % WINDOW > WINDOW - 10) this.fetchWindow(index + 1);
    const ratio = devicePixelRatio || 1, { clientWidth: w, clientHeight: h } = this.canvas;
    if (this.canvas.width !== Math.round(w * ratio)) this.canvas.width = Math.round(w * ratio);
    if (this.canvas.height !== Math.round(h * ratio)) this.canvas.height = Math.round(h * ratio);
    const pen = this.canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, w, h);
    if (!this.visible || !this.told.width) return;
    const scale = Math.min(w / this.told.width, h / this.told.height); // object-fit: contain
    const left = (w - this.told.width * scale) / 2, top = (h - this.told.height * scale) / 2;
    const colours = getComputedStyle(this.canvas);
    for (const track of this.windows.get(index) ?? []) {
      if (time < track.start || time >= track.end) continue;
      const instant = Math.min(Math.max(Math.round((time - track.start) * GRID_HZ), 0), track.boxes.length - 1);
      const [x1, y1, x2, y2] = track.boxes[instant];
      const speaks = track.speaking.some(([start, end]) => start <= time && time < end);
      const colour = colours.getPropertyValue(speaks ? "--speaking" : track.still ? "--still" : "--silent");
      this.draw(pen, [left + x1 * scale, top + y1 * scale, (x2 - x1) * scale, (y2 - y1) * scale], track.label, colour, speaks);
    }
  }

  draw(pen, [x, y, width, height], label, colour, speaks) {
    pen.lineWidth = speaks ? 3 : 2;
    pen.strokeStyle = colour;
    pen.strokeRect(x, y, width, height);
    pen.font = "600 13px system-ui, sans-serif";
    const across = pen.measureText(label).width + 10, above = y > 22 ? y - 20 : y + height + 2;
    pen.fillStyle = colour;
    pen.fillRect(x - 1, above, across, 19);
    pen.fillStyle = "#fff";
    pen.fillText(label, x + 4, above + 14);
  }
}
