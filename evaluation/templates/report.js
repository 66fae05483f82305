"use strict";
(() => {
  const element = (id) => document.getElementById(id);
  const tileImages = new Map();
  for (const tile of document.querySelectorAll("button.tile")) {
    const { row, column, seed } = tile.dataset;
    tileImages.set(`${row}/${seed}/${column}`, tile.querySelector("img"));
  }
  const image = (row, seed, column) => tileImages.get(`${row}/${seed}/${column}`);
  const labels = [...element("closer-left").options].map((option) => option.text);

  // The grid: one seed at a time.
  const showSeed = (seed) => {
    for (const tile of document.querySelectorAll(".tile")) tile.classList.toggle("on", tile.dataset.seed === seed);
  };
  for (const radio of document.querySelectorAll("input[name=seed]")) radio.addEventListener("change", () => showSeed(radio.value));

  // Look closer: compare the images of one prompt and seed by scale slider, by wipe, or side by side.
  const stage = element("stage");
  const view = { x: 0, y: 0, zoom: 1 };
  const mode = () => document.querySelector("input[name=mode]:checked").value;
  const setImage = (id, column) => {
    const source = image(element("closer-row").value, element("closer-seed").value, column);
    element(id).src = source ? source.src : "";
    element(id).alt = source ? source.alt : "this image failed";
    if (source && source.naturalWidth) stage.style.setProperty("--shape", `${source.naturalWidth} / ${source.naturalHeight}`);
  };
  const render = () => {
    const currentMode = mode();
    stage.className = `stage ${currentMode}${view.zoom > 1 ? " zoomed" : ""}`;
    for (const controls of document.querySelectorAll("[data-mode]")) controls.hidden = !controls.dataset.mode.split(" ").includes(currentMode);
    setImage("stage-a", currentMode === "slide" ? element("closer-scale").value : element("closer-left").value);
    setImage("stage-b", element("closer-right").value);
    setImage("stage-c", element("closer-right").value);
    element("closer-scale-label").textContent = labels[element("closer-scale").value];
    const wipe = element("closer-wipe").value;
    stage.style.setProperty("--wipe", `${wipe}%`);
    // The edge of the wipe stays in place while the image is zoomed and moved.
    const edge = 50 + (wipe - 50 - view.x) / view.zoom;
    element("stage-b").style.clipPath = `inset(0 0 0 ${edge}%)`;
    for (const [name, value] of [["--x", `${view.x}%`], ["--y", `${view.y}%`], ["--zoom", view.zoom]]) stage.style.setProperty(name, value);
    element("closer-zoom").value = view.zoom;
  };
  const move = (x, y) => {
    const limit = 50 * (view.zoom - 1);
    view.x = Math.max(-limit, Math.min(limit, view.x + x));
    view.y = Math.max(-limit, Math.min(limit, view.y + y));
    render();
  };
  const zoomTo = (factor) => {
    const previous = view.zoom;
    view.zoom = Math.max(1, Math.min(8, factor));
    view.x *= view.zoom / previous;
    view.y *= view.zoom / previous;
    move(0, 0);
  };
  for (const id of ["closer-row", "closer-seed", "closer-scale", "closer-left", "closer-right", "closer-wipe"]) element(id).addEventListener("input", render);
  for (const radio of document.querySelectorAll("input[name=mode]")) radio.addEventListener("change", render);
  element("closer-zoom").addEventListener("input", () => zoomTo(Number(element("closer-zoom").value)));
  element("closer-reset").addEventListener("click", () => zoomTo(1));
  // Without Ctrl the wheel scrolls the page.
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoomTo(view.zoom * (event.deltaY < 0 ? 1.15 : 1 / 1.15));
  }, { passive: false });
  const drag = (event) => {
    const pane = stage.querySelector(".pane").getBoundingClientRect();
    if (mode() === "wipe") {
      element("closer-wipe").value = ((event.clientX - pane.left) / pane.width) * 100;
      render();
    } else if (event.type === "pointermove") {
      move((event.movementX / pane.width) * 100, (event.movementY / pane.height) * 100);
    }
  };
  stage.addEventListener("dragstart", (event) => event.preventDefault());
  stage.addEventListener("pointerdown", (event) => { stage.setPointerCapture(event.pointerId); drag(event); });
  stage.addEventListener("pointermove", (event) => { if (event.buttons === 1) drag(event); });
  stage.addEventListener("keydown", (event) => {
    const keys = { "+": () => zoomTo(view.zoom * 1.25), "=": () => zoomTo(view.zoom * 1.25), "-": () => zoomTo(view.zoom / 1.25), 0: () => zoomTo(1),
      ArrowLeft: () => move(10, 0), ArrowRight: () => move(-10, 0), ArrowUp: () => move(0, 10), ArrowDown: () => move(0, -10) };
    if (!(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
  document.querySelector("main").addEventListener("click", (event) => {
    const tile = event.target.closest("button.tile");
    if (!tile) return;
    element("closer-row").value = tile.dataset.row;
    element("closer-seed").value = tile.dataset.seed;
    element("closer-scale").value = tile.dataset.column;
    element("closer-right").value = tile.dataset.column;
    render();
    element("closer").scrollIntoView();
    stage.focus({ preventScroll: true });
  });

  // The blind vote: base against adapter on random sides; the tally reveals the choices.
  const recommendedColumn = [...document.querySelectorAll(".head")].map((head) => [...head.children].findIndex((column) => column.className === "chosen") - 1)[0];
  const adapterColumn = recommendedColumn > 0 ? recommendedColumn : labels.length - 1;
  const ballots = [];
  for (const prompt of document.querySelectorAll("#closer-row optgroup:not([data-stratum=control]) option")) {
    for (const seed of [...element("closer-seed").options].map((option) => option.text)) {
      if (image(prompt.value, seed, 0) && image(prompt.value, seed, adapterColumn)) ballots.push({ row: prompt.value, prompt: prompt.text, seed });
    }
  }
  const storageKey = `zthumb-votes-${document.body.dataset.run}-${document.body.dataset.adapterSha256}-${labels[adapterColumn]}`;
  const loadVotes = () => {
    try { return JSON.parse(localStorage.getItem(storageKey)) || []; } catch { return []; }
  };
  const saveVotes = () => {
    try { localStorage.setItem(storageKey, JSON.stringify(votes)); } catch { /* without local storage the votes are lost when the page is closed */ }
  };
  let votes = loadVotes();
  let ballot = null;
  const showStatus = (text) => { element("vote-status").textContent = text; };
  const countVotes = () => {
    const counts = { adapter: 0, base: 0, neither: 0 };
    for (const vote of votes) counts[vote.choice] += 1;
    return counts;
  };
  const next = () => {
    const remaining = ballots.filter(({ prompt, seed }) => !votes.some((vote) => vote.prompt === prompt && String(vote.seed) === seed));
    if (!remaining.length) { ballot = null; showTally(); return; }
    ballot = { ...remaining[Math.floor(Math.random() * remaining.length)], isAdapterLeft: Math.random() < 0.5 };
    element("vote-left").src = image(ballot.row, ballot.seed, ballot.isAdapterLeft ? adapterColumn : 0).src;
    element("vote-right").src = image(ballot.row, ballot.seed, ballot.isAdapterLeft ? 0 : adapterColumn).src;
    element("vote-prompt").textContent = ballot.prompt;
    showStatus(`${votes.length} of ${ballots.length} voted.`);
  };
  const vote = (side) => {
    if (!ballot) return;
    const choice = side === "neither" ? "neither" : (side === "left") === ballot.isAdapterLeft ? "adapter" : "base";
    votes.push({ prompt: ballot.prompt, seed: Number(ballot.seed), adapter_side: ballot.isAdapterLeft ? "left" : "right", choice });
    saveVotes();
    next();
  };
  const showTally = () => {
    const counts = countVotes();
    showStatus(`${votes.length} of ${ballots.length} voted. Adapter at ${labels[adapterColumn]}: ${counts.adapter}; base: ${counts.base}; neither: ${counts.neither}.`);
  };
  for (const button of document.querySelectorAll("[data-choice]")) button.addEventListener("click", () => vote(button.dataset.choice));
  element("ballot").addEventListener("keydown", (event) => {
    const sides = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "neither" };
    if (!(event.key in sides)) return;
    event.preventDefault();
    vote(sides[event.key]);
  });
  element("vote-tally").addEventListener("click", showTally);
  element("vote-again").addEventListener("click", () => { votes = []; saveVotes(); next(); });
  element("vote-export").addEventListener("click", () => {
    const { run, adapterSha256, baseSha256 } = document.body.dataset;
    const exported = { schema_version: 1, run, adapter_sha256: adapterSha256, base_sha256: baseSha256, scale: labels[adapterColumn], tally: countVotes(), votes };
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(exported, null, 2)], { type: "application/json" }));
    link.download = `votes-${run}.json`;
    link.click();
    URL.revokeObjectURL(link.href);
  });

  element("closer-scale").value = element("closer-right").value = adapterColumn;
  render();
  next();
})();
