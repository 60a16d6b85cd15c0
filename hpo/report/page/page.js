"use strict";
// What can be scrolled sideways fades at the edge beyond which there is more.
for (const box of document.querySelectorAll(".fades")) {
  const look = () => {
    box.classList.toggle("more-left", box.scrollLeft > 1);
    box.classList.toggle("more-right", box.scrollLeft < box.scrollWidth - box.clientWidth - 1);
  };
  box.addEventListener("scroll", look, { passive: true });
  const seen = new ResizeObserver(look);
  for (const one of [box, ...box.children]) seen.observe(one);
}
const copy = document.getElementById("copy");
copy?.addEventListener("click", async () => {
  const text = copy.dataset.text;
  try {
    await navigator.clipboard.writeText(text);
  } catch { // a page that is no secure context
    const area = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  copy.textContent = "Copied";
  setTimeout(() => { copy.textContent = "Copy as Python"; }, 1500);
});
(async () => {
  const { template, figures } = JSON.parse(document.getElementById("figures").textContent);
  const config = { responsive: true, displaylogo: false, displayModeBar: false };
  const places = [];
  for (const [id, figure] of Object.entries(figures)) {
    const place = document.getElementById(id);
    await Plotly.newPlot(place, figure.data, { ...figure.layout, template }, config);
    places.push(place);
    // One plot after another lets the page scroll while the rest is drawn.
    await new Promise((next) => setTimeout(next, 0));
  }
  // What is folded has no size until it is opened.
  for (const details of document.querySelectorAll("details")) {
    details.addEventListener("toggle", () => {
      if (details.open) for (const place of details.querySelectorAll(".plot")) Plotly.Plots.resize(place);
    });
  }
  // A link to something folded opens it.
  const unfold = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const folded = target && target.closest("details");
    if (folded && !folded.open) { folded.open = true; target.scrollIntoView(); }
  };
  window.addEventListener("hashchange", unfold);
  unfold();
  const lines = document.getElementById("parallel-0");
  if (lines) explore(lines, template);
  // On paper a plot is as wide as its column there, which the browser does not tell plots by itself.
  const paper = 690;
  const columns = (place) => {
    if (place.closest(".columns")) return 2;
    if (!place.parentElement.classList.contains("many")) return 1;
    return place.closest("#learning, #intermediate") ? 2 : 3;
  };
  const fit = (printing) => {
    for (const place of places) {
      const size = { width: paper / columns(place) - 8, height: [0, 240, 230, 180][columns(place)] };
      const usual = { width: null, height: figures[place.id].layout.height ?? null, autosize: true };
      Plotly.relayout(place, printing ? size : usual);
    }
  };
  window.addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
    fit(true);
  });
  window.addEventListener("afterprint", () => fit(false));
  document.body.dataset.drawn = String(places.length);
})();
