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
  // On paper a plot is as wide as its column there, which the browser does not tell plots by itself.
  const paper = 660;
  const fit = (printing) => {
    for (const place of places) {
      const columns = place.parentElement.classList.contains("many") ? 2 : 1;
      Plotly.relayout(place, printing ? { width: paper / columns - 4 } : { width: null, autosize: true });
    }
  };
  window.addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
    fit(true);
  });
  window.addEventListener("afterprint", () => fit(false));
  document.body.dataset.drawn = String(places.length);
})();
