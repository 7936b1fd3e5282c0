"use strict";
// Some browsers play no video from a data address; all play one from a blob.
for (const video of document.querySelectorAll("video")) {
  const bytes = Uint8Array.from(atob(video.src.split(",")[1]), (c) => c.charCodeAt(0));
  video.src = URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
}
const section = document.querySelector("#player");
if (section) {
  const sheet = section.querySelector(".sheet");
  const { width, height, places, pairs } = JSON.parse(section.querySelector("script").textContent);
  const canvas = section.querySelector("canvas");
  const fieldsets = [...section.querySelectorAll("fieldset")];
  const slider = (k, name) => fieldsets[k].querySelector(`[data-slider="${name}"]`);
  const position = (k, name) => Number(slider(k, name)?.value ?? pairs[k][name].start);
  let chosen = 0;

  function show(k) {
    chosen = k;
    const tile = pairs[k].first + position(k, "down") * (pairs[k].across.last + 1) + position(k, "across");
    canvas.getContext("2d").drawImage(sheet, ...places[tile], width, height, 0, 0, width, height);
    canvas.dataset.tile = tile;
    canvas.setAttribute("aria-label", `The avatar, ${pairs[k].title.toLowerCase()}: picture ${tile + 1} of ${places.length}`);
    fieldsets.forEach((other, i) => other.classList.toggle("shown", i === k));
  }

  function reset(except) {
    pairs.forEach((pair, k) => {
      if (k === except) return;
      for (const name of ["across", "down"]) if (slider(k, name)) slider(k, name).value = pair[name].start;
    });
  }

  fieldsets.forEach((fieldset, k) => fieldset.addEventListener("input", () => { reset(k); show(k); }));
  section.querySelector("button").addEventListener("click", () => { reset(); show(chosen); });
  // A mouse moves the chosen pair on the picture itself; a finger must be free to scroll.
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "mouse") return;
    const box = canvas.getBoundingClientRect();
    const share = { across: (event.clientX - box.left) / box.width, down: (event.clientY - box.top) / box.height };
    for (const name of ["across", "down"]) {
      const input = slider(chosen, name);
      if (input) input.value = Math.floor(Math.min(Math.max(share[name], 0), 0.999) * (Number(input.max) + 1));
    }
    show(chosen);
  });
  sheet.decode().then(() => {
    sheet.hidden = true;
    sheet.style.display = "none";
    canvas.style.display = "block";
    section.querySelector(".sliders").hidden = false;
    show(0);
  });
}
