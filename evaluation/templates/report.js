"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const images = new Map();
  for (const tile of document.querySelectorAll("button.tile")) {
    const { row, column, seed } = tile.dataset;
    images.set(`${row}/${seed}/${column}`, tile.querySelector("img"));
  }
  const image = (row, seed, column) => images.get(`${row}/${seed}/${column}`);
  const labels = [...at("closer-left").options].map((option) => option.text);

  // The grid: one seed at a time.
  const showSeed = (seed) => {
    for (const tile of document.querySelectorAll(".tile")) tile.classList.toggle("on", tile.dataset.seed === seed);
  };
  for (const radio of document.querySelectorAll("input[name=seed]")) radio.addEventListener("change", () => showSeed(radio.value));

  // Look closer: one prompt and seed by scale, by wipe, or side by side.
  const stage = at("stage");
  const view = { x: 0, y: 0, zoom: 1 };
  const mode = () => document.querySelector("input[name=mode]:checked").value;
  const put = (id, column) => {
    const found = image(at("closer-row").value, at("closer-seed").value, column);
    at(id).src = found ? found.src : "";
    at(id).alt = found ? found.alt : "this image failed";
    if (found && found.naturalWidth) stage.style.setProperty("--shape", `${found.naturalWidth} / ${found.naturalHeight}`);
  };
  const draw = () => {
    const now = mode();
    stage.className = `stage ${now}${view.zoom > 1 ? " zoomed" : ""}`;
    for (const controls of document.querySelectorAll("[data-mode]")) controls.hidden = !controls.dataset.mode.split(" ").includes(now);
    put("stage-a", now === "slide" ? at("closer-scale").value : at("closer-left").value);
    put("stage-b", at("closer-right").value);
    put("stage-c", at("closer-right").value);
    at("closer-scale-told").textContent = labels[at("closer-scale").value];
    const wipe = at("closer-wipe").value;
    stage.style.setProperty("--wipe", `${wipe}%`);
    // The wipe's edge stays where it is while the image below it is zoomed and moved.
    const edge = 50 + (wipe - 50 - view.x) / view.zoom;
    at("stage-b").style.clipPath = `inset(0 0 0 ${edge}%)`;
    for (const [name, value] of [["--x", `${view.x}%`], ["--y", `${view.y}%`], ["--zoom", view.zoom]]) stage.style.setProperty(name, value);
    at("closer-zoom").value = view.zoom;
  };
  const move = (x, y) => {
    const room = 50 * (view.zoom - 1);
    view.x = Math.max(-room, Math.min(room, view.x + x));
    view.y = Math.max(-room, Math.min(room, view.y + y));
    draw();
  };
  const zoom = (to) => {
    const before = view.zoom;
    view.zoom = Math.max(1, Math.min(8, to));
    view.x *= view.zoom / before;
    view.y *= view.zoom / before;
    move(0, 0);
  };
  for (const id of ["closer-row", "closer-seed", "closer-scale", "closer-left", "closer-right", "closer-wipe"]) at(id).addEventListener("input", draw);
  for (const radio of document.querySelectorAll("input[name=mode]")) radio.addEventListener("change", draw);
  at("closer-zoom").addEventListener("input", () => zoom(Number(at("closer-zoom").value)));
  at("closer-reset").addEventListener("click", () => zoom(1));
  // The wheel alone scrolls the page.
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom(view.zoom * (event.deltaY < 0 ? 1.15 : 1 / 1.15));
  }, { passive: false });
  const drag = (event) => {
    const pane = stage.querySelector(".pane").getBoundingClientRect();
    if (mode() === "wipe") {
      at("closer-wipe").value = ((event.clientX - pane.left) / pane.width) * 100;
      draw();
    } else if (event.type === "pointermove") {
      move((event.movementX / pane.width) * 100, (event.movementY / pane.height) * 100);
    }
  };
  stage.addEventListener("dragstart", (event) => event.preventDefault());
  stage.addEventListener("pointerdown", (event) => { stage.setPointerCapture(event.pointerId); drag(event); });
  stage.addEventListener("pointermove", (event) => { if (event.buttons === 1) drag(event); });
  stage.addEventListener("keydown", (event) => {
    const keys = { "+": () => zoom(view.zoom * 1.25), "=": () => zoom(view.zoom * 1.25), "-": () => zoom(view.zoom / 1.25), 0: () => zoom(1),
      ArrowLeft: () => move(10, 0), ArrowRight: () => move(-10, 0), ArrowUp: () => move(0, 10), ArrowDown: () => move(0, -10) };
    if (!(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
  document.querySelector("main").addEventListener("click", (event) => {
    const tile = event.target.closest("button.tile");
    if (!tile) return;
    at("closer-row").value = tile.dataset.row;
    at("closer-seed").value = tile.dataset.seed;
    at("closer-scale").value = tile.dataset.column;
    at("closer-right").value = tile.dataset.column;
    draw();
    at("closer").scrollIntoView();
    stage.focus({ preventScroll: true });
  });

  // The blind vote: base against adapter, sides by lot, told at the end.
  const chosen = [...document.querySelectorAll(".head")].map((head) => [...head.children].findIndex((each) => each.className === "chosen") - 1)[0];
  const rival = chosen > 0 ? chosen : labels.length - 1;
  const ballots = [];
  for (const option of document.querySelectorAll("#closer-row optgroup:not([data-stratum=control]) option")) {
    for (const seed of [...at("closer-seed").options].map((each) => each.text)) {
      if (image(option.value, seed, 0) && image(option.value, seed, rival)) ballots.push({ row: option.value, prompt: option.text, seed });
    }
  }
  const kept = `zthumb-votes-${document.body.dataset.run}-${document.body.dataset.adapterSha256}-${labels[rival]}`;
  const load = () => {
    try { return JSON.parse(localStorage.getItem(kept)) || []; } catch { return []; }
  };
  const save = () => {
    try { localStorage.setItem(kept, JSON.stringify(votes)); } catch { /* a page that may keep nothing still counts */ }
  };
  let votes = load();
  let now = null;
  const told = (text) => { at("vote-told").textContent = text; };
  const tally = () => {
    const count = { adapter: 0, base: 0, neither: 0 };
    for (const vote of votes) count[vote.choice] += 1;
    return count;
  };
  const next = () => {
    const left = ballots.filter((each) => !votes.some((vote) => vote.prompt === each.prompt && String(vote.seed) === each.seed));
    if (!left.length) { now = null; showTally(); return; }
    now = { ...left[Math.floor(Math.random() * left.length)], isAdapterLeft: Math.random() < 0.5 };
    at("vote-left").src = image(now.row, now.seed, now.isAdapterLeft ? rival : 0).src;
    at("vote-right").src = image(now.row, now.seed, now.isAdapterLeft ? 0 : rival).src;
    at("vote-prompt").textContent = now.prompt;
    told(`${votes.length} of ${ballots.length} voted.`);
  };
  const vote = (side) => {
    if (!now) return;
    const choice = side === "neither" ? "neither" : (side === "left") === now.isAdapterLeft ? "adapter" : "base";
    votes.push({ prompt: now.prompt, seed: Number(now.seed), adapter_side: now.isAdapterLeft ? "left" : "right", choice });
    save();
    next();
  };
  const showTally = () => {
    const count = tally();
    told(`${votes.length} of ${ballots.length} voted. Adapter at ${labels[rival]}: ${count.adapter}; base: ${count.base}; neither: ${count.neither}.`);
  };
  for (const button of document.querySelectorAll("[data-choice]")) button.addEventListener("click", () => vote(button.dataset.choice));
  at("ballot").addEventListener("keydown", (event) => {
    const sides = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "neither" };
    if (!(event.key in sides)) return;
    event.preventDefault();
    vote(sides[event.key]);
  });
  at("vote-tally").addEventListener("click", showTally);
  at("vote-again").addEventListener("click", () => { votes = []; save(); next(); });
  at("vote-export").addEventListener("click", () => {
    const { run, adapterSha256, baseSha256 } = document.body.dataset;
    const told = { schema_version: 1, run, adapter_sha256: adapterSha256, base_sha256: baseSha256, scale: labels[rival], tally: tally(), votes };
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(told, null, 2)], { type: "application/json" }));
    link.download = `votes-${run}.json`;
    link.click();
    URL.revokeObjectURL(link.href);
  });

  at("closer-scale").value = at("closer-right").value = rival;
  draw();
  next();
})();
