// Joins the video, the boxes over it, the timeline and the table of turns: whatever moves, the others follow.
import { Boxes } from "./boxes.js";
import { Timeline } from "./timeline.js";

const root = document.getElementById("asset").dataset.asset;
const video = document.getElementById("video");
const turns = [...document.querySelectorAll("#turns tbody tr")].map((row) => ({ row, start: +row.dataset.start, end: +row.dataset.end }));
const list = document.getElementById("turn-list");

const told = await (await fetch(`${root}/timeline.json`)).json();
document.getElementById("stage").style.aspectRatio = told.width ? `${told.width} / ${told.height}` : "4 / 1";

const timeline = new Timeline(document.getElementById("timeline"), told, seek);
const boxes = new Boxes(document.getElementById("boxes"), video, told, `${root}/faces.json`);

function seek(time) {
  video.currentTime = Math.min(Math.max(time, 0), told.duration);
  show(time);
}

function show(time) {
  timeline.moveTo(time);
  boxes.show(time);
  for (const { row, start, end } of turns) {
    const now = start <= time && time < end;
    if (now && !row.classList.contains("now") && !video.paused) {
      list.scrollTop = row.offsetTop - list.clientHeight / 2;
    }
    row.classList.toggle("now", now);
  }
}

function follow() {
  // mediaTime is the shown frame's own time; currentTime may be ahead of it.
  if (video.requestVideoFrameCallback && told.width) {
    const step = (_, frame) => { show(frame.mediaTime); video.requestVideoFrameCallback(step); };
    video.requestVideoFrameCallback(step);
  }
  const tick = () => { if (!video.paused) { timeline.moveTo(video.currentTime); requestAnimationFrame(tick); } };
  video.addEventListener("play", tick);
  for (const event of ["timeupdate", "seeked", "loadeddata"]) video.addEventListener(event, () => show(video.currentTime));
}

async function open() {
  // What no browser plays is copied first; the page asks until the copy is there.
  const status = document.getElementById("preparing");
  for (;;) {
    const state = await (await fetch(`${root}/playable`)).json();
    if (state.state === "ready") {
      status.hidden = true;
      video.src = `${root}/video`;
      return;
    }
    status.hidden = false;
    status.textContent = state.state === "failed" ? state.reason : `Preparing a copy that this browser can play … ${Math.round(100 * (state.share ?? 0))} %`;
    if (state.state === "failed") return;
    await new Promise((resolve) => setTimeout(resolve, 700));
  }
}

function jump(direction) {
  const time = video.currentTime;
  const target = direction > 0 ? turns.find((t) => t.start > time + 0.05) : turns.findLast((t) => t.start < time - 0.5);
  if (target) seek(target.start);
}

for (const { row, start } of turns) {
  row.querySelector(".seek").addEventListener("click", (event) => { event.preventDefault(); history.replaceState(null, "", `#t=${start}`); seek(start); });
}
document.getElementById("next").addEventListener("click", () => jump(1));
document.getElementById("previous").addEventListener("click", () => jump(-1));
document.getElementById("zoom-in").addEventListener("click", () => timeline.zoom(0.5));
document.getElementById("zoom-out").addEventListener("click", () => timeline.zoom(2));
document.getElementById("zoom-all").addEventListener("click", () => timeline.showAll());
document.getElementById("show-boxes").addEventListener("change", (event) => boxes.setVisible(event.target.checked));
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, button, video") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "n") jump(1);
  if (event.key === "p") jump(-1);
  if (event.key === " " && !event.target.matches("a")) { event.preventDefault(); video.paused ? video.play() : video.pause(); }
});

follow();
await open();
const asked = /^#t=([\d.]+)$/.exec(location.hash);
if (asked) {
  const time = Number(asked[1]);
  if (video.readyState >= 1) seek(time); else video.addEventListener("loadedmetadata", () => seek(time), { once: true });
}
addEventListener("hashchange", () => { const t = /^#t=([\d.]+)$/.exec(location.hash); if (t) seek(Number(t[1])); });
