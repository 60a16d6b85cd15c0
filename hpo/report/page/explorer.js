"use strict";
// The explorer: lines, points and a table of the same trials. To choose is to set a range along an axis, by a drag over lines or
// points, by the fields, or by a button; the ranges of the lines are the one truth, and all three show what lies in them.
// To mark single trials is apart from that: a click on a point or on a row's number.
const explore = (lines, template) => {
  const meta = lines.layout.meta, axes = lines.data[0].dimensions, last = axes.length - 1;
  const count = meta.trials.length, down = meta.direction === "minimize", paint = lines.data[0].line;
  const named = (id) => document.getElementById(`explore-${id}`);
  const marked = new Set(), everyone = [...Array(count).keys()];
  let order = { key: last, up: down }, whole = false;

  const logarithmic = (axis) => meta.log.includes(axis);
  const shown = (axis, place) => {
    if (meta.categories[axis]) return meta.categories[axis][place];
    const value = logarithmic(axis) ? 10 ** place : place, size = Math.abs(value);
    if (axis !== last) return String(Number(value.toPrecision(4)));
    return (size >= 0.01 && size < 100) || !size ? value.toFixed(5) : String(Number(value.toPrecision(5))); // as hpo.wording.score
  };
  const place = (axis, text) => (logarithmic(axis) ? Math.log10(Number(text)) : Number(text));
  const at = (axis, trial) => (axis === last ? meta.values[trial] : axes[axis].values[trial]);

  const ranges = (axis) => {
    const found = lines.data[0].dimensions[axis].constraintrange;
    return !found?.length ? [] : Array.isArray(found[0]) ? found : [found];
  };
  const chosen = () => everyone.filter((trial) => axes.every((_, axis) => {
    const wanted = ranges(axis);
    return !wanted.length || wanted.some(([low, high]) => axes[axis].values[trial] >= low && axes[axis].values[trial] <= high);
  }));
  const narrow = (changes) => Plotly.restyle(lines, Object.fromEntries(
    Object.entries(changes).map(([axis, range]) => [`dimensions[${axis}].constraintrange`, [range]])));
  // On its axis the objective ends where the best three quarters do: a threshold beyond that is its end.
  const within = (value) => Math.min(Math.max(value, axes[last].range[0]), axes[last].range[1]);
  const better = (edge) => (down ? [axes[last].range[0], within(edge)] : [within(edge), axes[last].range[1]]);

  // The points
  const points = named("points"), pickers = [named("x"), named("y")];
  const scatter = () => {
    const [x, y] = pickers.map((one) => Number(one.value));
    const axis = (index) => ({
      title: { text: axes[index].label },
      ...(axes[index].tickvals ? { tickvals: axes[index].tickvals, ticktext: axes[index].ticktext } : {}),
    });
    const style = { mode: "markers", showlegend: false, x: axes[x].values, y: axes[y].values, customdata: meta.trials };
    const marker = { size: 8, color: paint.color, colorscale: paint.colorscale, cmin: paint.cmin, cmax: paint.cmax,
      line: { width: 0.8, color: "#64748b" } };
    const ring = { size: 16, symbol: "circle-open", color: "#1d4ed8", line: { width: 3 } };
    const traces = [
      { ...style, marker, hovertemplate: "trial %{customdata}<extra></extra>", unselected: { marker: { opacity: 0.12 } } },
      { ...style, x: [], y: [], marker: ring, hoverinfo: "skip" },
    ];
    const layout = { template, height: 340, dragmode: "select", xaxis: axis(x), yaxis: axis(y), margin: { t: 12 } };
    return Plotly.react(points, traces, layout, { responsive: true, displaylogo: false, displayModeBar: false });
  };

  // The table
  const columns = [{ key: -1, name: "trial" }, { key: last, name: axes[last].label },
    ...axes.slice(0, last).map((axis, key) => ({ key, name: axis.label })), { key: -2, name: "seconds" }];
  const worth = (key, trial) => (key === -1 ? meta.trials[trial] : key === -2 ? meta.seconds[trial] ?? Infinity : at(key, trial));
  const cell = (key, trial) => (key === -2 ? meta.seconds[trial]?.toPrecision(3) ?? "–" : shown(key, at(key, trial)));
  const plain = document.createElement("textarea");
  const text = (html) => { plain.innerHTML = html; return plain.value; }; // labels are escaped for plotly
  const head = () => {
    const row = document.createElement("tr");
    for (const { key, name } of columns) {
      const sorted = order.key === key ? (order.up ? "ascending" : "descending") : "none";
      const box = Object.assign(document.createElement("th"), { scope: "col", ariaSort: sorted });
      const button = Object.assign(document.createElement("button"), { type: "button", className: "sort", textContent: text(name) });
      button.addEventListener("click", () => {
        order = { key, up: order.key === key ? !order.up : key !== last || down };
        table();
        named("table").tHead.querySelectorAll("button")[columns.findIndex((one) => one.key === key)].focus();
      });
      box.append(button);
      row.append(box);
    }
    named("table").tHead.replaceChildren(row);
  };
  const table = () => {
    head();
    const sign = order.up ? 1 : -1, rows = chosen();
    rows.sort((one, other) => sign * (worth(order.key, one) - worth(order.key, other)) || one - other);
    const listed = whole ? rows : rows.slice(0, 20);
    named("table").tBodies[0].replaceChildren(...listed.map((trial) => {
      const row = document.createElement("tr"), first = Object.assign(document.createElement("th"), { scope: "row" });
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: meta.trials[trial],
        title: "Mark it in the plots" });
      button.setAttribute("aria-pressed", String(marked.has(trial)));
      button.addEventListener("click", () => mark(trial));
      first.append(button);
      row.append(first, ...columns.slice(1).map(({ key }) =>
        Object.assign(document.createElement("td"), { textContent: cell(key, trial) })));
      return row;
    }));
    named("more").hidden = rows.length <= 20;
    named("more").textContent = whole ? "Show the first 20" : `Show all ${rows.length}`;
  };

  const told = () => {
    const rows = chosen(), values = rows.map((trial) => meta.values[trial]);
    const best = down ? Math.min(...values) : Math.max(...values);
    const which = rows.find((trial) => meta.values[trial] === best);
    const worst = down ? Math.max(...values) : Math.min(...values), tied = values.filter((value) => value === worst).length;
    // Ties are why the top 10 % may be half of all.
    const ties = rows.length < count && tied > 1 ? `, ${tied} of them at ${shown(last, worst)}` : "";
    named("said").textContent = `${rows.length} of ${count} trials chosen${ties}` +
      (rows.length ? `; the best is ${shown(last, best)} (trial ${meta.trials[which]}).` : ".");
  };
  const show = () => {
    const rows = chosen();
    Plotly.restyle(points, { selectedpoints: [rows.length < count ? rows : null] }, [0]);
    table();
    told();
  };
  const mark = (trial) => {
    if (!marked.delete(trial)) marked.add(trial);
    const [x, y] = pickers.map((one) => Number(one.value)), rings = [...marked];
    Plotly.restyle(points, { x: [rings.map((one) => axes[x].values[one])], y: [rings.map((one) => axes[y].values[one])] }, [1]);
    const colours = { "line.color": [everyone.map((one) => Number(marked.has(one)))], "line.cmin": 0, "line.cmax": 1,
      "line.colorscale": [[[0, "#d5dce4"], [1, "#1d4ed8"]]] };
    const usual = { "line.color": [paint.color], "line.cmin": paint.cmin, "line.cmax": paint.cmax, "line.colorscale": [paint.colorscale] };
    Plotly.restyle(lines, rings.length ? colours : usual);
    for (const button of named("table").tBodies[0].querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(marked.has(meta.trials.indexOf(Number(button.textContent)))));
    }
  };

  // The fields
  const share = (part) => {
    const sorted = [...meta.values].sort((one, other) => (down ? one - other : other - one));
    narrow(part < 1 ? { [last]: better(sorted[Math.max(0, Math.ceil(part * count) - 1)]) }
      : Object.fromEntries(axes.map((_, axis) => [axis, null])));
  };
  const press = (button) => {
    for (const one of document.querySelectorAll("[data-share]")) one.setAttribute("aria-pressed", String(one === button));
  };
  for (const button of document.querySelectorAll("[data-share]")) {
    button.addEventListener("click", () => {
      for (const one of ["threshold", "low", "high"]) named(one).value = "";
      share(Number(button.dataset.share));
      press(button);
    });
  }
  named("threshold").addEventListener("change", ({ target }) => {
    press(null);
    narrow({ [last]: target.value === "" ? null : better(Number(target.value)) });
  });
  const options = (select, wanted, kept) => {
    select.replaceChildren(...axes.flatMap((axis, index) => (kept(index) ? [new Option(text(axis.label), index)] : [])));
    select.value = wanted;
  };
  options(pickers[0], 0, () => true);
  options(pickers[1], last, () => true);
  options(named("which"), 0, (axis) => axis !== last);
  for (const one of pickers) one.addEventListener("change", async () => { await scatter(); show(); });
  const fields = [named("low"), named("high"), named("is")];
  named("which").addEventListener("change", () => {
    const names = meta.categories[named("which").value];
    fields[2].replaceChildren(new Option("any", ""), ...(names ?? []).map((name, index) => new Option(name, index)));
    for (const field of fields) field.value = "";
    fields[0].parentElement.hidden = fields[1].parentElement.hidden = Boolean(names);
    fields[2].parentElement.hidden = !names;
  });
  named("which").dispatchEvent(new Event("change"));
  for (const field of fields) field.addEventListener("change", () => {
    const axis = Number(named("which").value), [low, high, is] = fields.map((one) => one.value);
    const ends = is !== "" ? [is - 0.4, Number(is) + 0.4]
      : [low === "" ? -1e300 : place(axis, low), high === "" ? 1e300 : place(axis, high)];
    const all = axes[axis].values, [least, most] = [Math.min(...all), Math.max(...all)];
    press(null);
    narrow({ [axis]: low + high + is === "" ? null : [Math.max(ends[0], least - 1e-9), Math.min(ends[1], most + 1e-9)] });
  });
  named("more").addEventListener("click", () => { whole = !whole; table(); });

  scatter().then(() => {
    points.on("plotly_selected", (event) => {
      if (!event?.range) return;
      const [x, y] = pickers.map((one) => Number(one.value));
      press(null);
      narrow({ [x]: event.range.x, [y]: event.range.y });
      Plotly.relayout(points, { selections: [] });
    });
    points.on("plotly_click", ({ points: [point] }) => mark(point.pointNumber));
    lines.on("plotly_restyle", ([changed]) => {
      if (Object.keys(changed).some((name) => name.includes("constraintrange"))) show();
    });
    show();
    named("all").hidden = false;
    document.body.dataset.explored = "yes";
  });
};
