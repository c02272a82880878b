// The pipeline as a graph: which node waits for which, and how long each took. Drawn in layers; of a large pipeline, namespaces or the slowest nodes.
const MOST = 60;
const EVERY = 1500;
const FIT = 24;
const graph = { level: -1, zoom: 1, every: false };
const planned = [...nodes, ...idle];
const rowsOf = new Map(data.datasets.name.map((name, index) => [text(name), data.datasets.rows[index]]));
const withRows = (name) => (rowsOf.get(name) >= 0 ? `${name} (${plural(rowsOf.get(name), 'row')})` : name);
const plainName = (name) => name.split('@')[0];

function upstreamOf(list) {
  const maker = new Map();
  list.forEach((node, index) => node.outputs.forEach((name) => maker.set(plainName(name), index)));
  return list.map((node, index) => {
    const found = new Map();
    for (const name of node.inputs) {
      const from = maker.get(plainName(name));
      if (from !== undefined && from !== index) found.set(from, [...(found.get(from) || []), name]);
    }
    return found;
  });
}

function depths(list) {
  return list.reduce((most, node) => Math.max(most, node.namespace ? node.namespace.split('.').length : 0), 0);
}

// Boxes and the edges between them: nodes, or the namespaces of a level with the nodes that are in none.
function boxesAt(level) {
  const upstream = upstreamOf(planned);
  const boxOf = [];
  const boxes = new Map();
  planned.forEach((node, index) => {
    const path = node.namespace ? node.namespace.split('.') : [];
    const key = level > 0 && path.length ? `n:${path.slice(0, level).join('.')}` : `i:${index}`;
    let box = boxes.get(key);
    if (!box) {
      box = { id: boxes.size, label: level > 0 && path.length ? path.slice(0, level).join('.') : node.label, took: 0, load: 0, compute: 0, save: 0, hot: false, bad: false, idle: true, members: [], up: new Map() };
      boxes.set(key, box);
    }
    for (const time of ['took', 'load', 'compute', 'save']) box[time] += node[time];
    box.idle = box.idle && node.state === 'idle';
    box.hot = box.hot || node.critical;
    box.bad = box.bad || node.failed;
    box.members.push(node);
    boxOf.push(box);
  });
  upstream.forEach((from, index) => {
    for (const [other, datasets] of from) {
      if (boxOf[other] === boxOf[index]) continue;
      const edge = boxOf[index].up.get(boxOf[other].id) || { names: [], hot: false, through: false };
      edge.names.push(...datasets);
      edge.hot = edge.hot || (planned[other].critical && planned[index].place === planned[other].place + 1);
      boxOf[index].up.set(boxOf[other].id, edge);
    }
  });
  return breakCircles([...boxes.values()]);
}

// Namespaces may wait for each other in turn, nodes never do: leave out the edges that close a circle.
function breakCircles(boxes) {
  const state = new Uint8Array(boxes.length);
  const order = [];
  for (const first of boxes) {
    if (state[first.id]) continue;
    const stack = [[first, [...first.up.keys()]]];
    state[first.id] = 1;
    while (stack.length) {
      const [box, rest] = stack[stack.length - 1];
      if (!rest.length) { state[box.id] = 2; order.push(box); stack.pop(); continue; }
      const next = rest.pop();
      if (state[next] === 1) box.up.delete(next);
      else if (!state[next]) { state[next] = 1; stack.push([boxes[next], [...boxes[next].up.keys()]]); }
    }
  }
  return { boxes, order };
}

// Of too many boxes keep those that failed, that are on the critical path, that took longest; edges lead through the others.
function fewer({ boxes, order }) {
  if (boxes.length <= (graph.every ? EVERY : MOST)) return { boxes, order, left: 0 };
  const rank = [...boxes].sort((a, b) => b.bad - a.bad || b.took - a.took);
  const hot = rank.filter((box) => box.hot).slice(0, MOST * 0.6);
  const kept = new Set([...rank.filter((box) => box.bad).slice(0, MOST / 4), ...hot]);
  for (const box of rank) { if (kept.size >= MOST) break; kept.add(box); }
  const front = new Map();
  const shown = [];
  for (const box of order) {
    const reach = new Map();
    for (const [from, edge] of box.up) {
      if (kept.has(boxes[from])) reach.set(from, edge);
      else for (const one of front.get(from) || []) if (!reach.has(one)) reach.set(one, { names: [], hot: edge.hot && boxes[one].hot, through: true });
      if (reach.size > 8) break;
    }
    if (kept.has(box)) { shown.push({ ...box, up: reach }); front.set(box.id, [box.id]); } else front.set(box.id, [...reach.keys()].slice(0, 4));
  }
  return { boxes: shown, order: shown, left: boxes.length - shown.length };
}

// Layers along the edges, none wider than what fits: a box that finds no room goes one layer further.
function layered(order, widest) {
  const layerOf = new Map();
  const layers = [];
  for (const box of order) {
    let layer = 0;
    for (const from of box.up.keys()) layer = Math.max(layer, (layerOf.get(from) ?? -1) + 1);
    while (layers[layer] && layers[layer].length >= widest) layer += 1;
    layerOf.set(box.id, layer);
    (layers[layer] ||= []).push({ box, layer, near: [], size: 0, at: 0 });
  }
  const spot = new Map(layers.flat().map((one) => [one.box.id, one]));
  const edges = [];
  for (const box of order) {
    for (const [from, edge] of box.up) {
      const [a, b] = [spot.get(from), spot.get(box.id)];
      if (!a) continue;
      const path = [a];
      if (order.length <= 30) {
        for (let layer = a.layer + 1; layer < b.layer; layer += 1) {
          const bend = { box: null, layer, near: [], size: 0, at: 0 };
          layers[layer].push(bend);
          path.push(bend);
        }
      }
      path.push(b);
      for (let index = 1; index < path.length; index += 1) { path[index].near.push(path[index - 1]); path[index - 1].near.push(path[index]); }
      edges.push({ path, edge });
    }
  }
  const rank = () => layers.forEach((layer) => layer.forEach((one, index) => { one.rank = index; }));
  rank();
  for (let sweep = 0; sweep < 10; sweep += 1) {
    for (const layer of sweep % 2 ? [...layers].reverse() : layers) {
      const side = sweep % 2 ? 1 : -1;
      for (const one of layer) {
        const near = one.near.filter((other) => (other.layer - one.layer) * side > 0);
        one.weight = near.length ? near.reduce((sum, other) => sum + other.rank, 0) / near.length : one.rank;
      }
      layer.sort((a, b) => a.weight - b.weight || a.rank - b.rank);
      layer.forEach((one, index) => { one.rank = index; });
    }
  }
  return { layers, edges };
}

// Places across the layers: each as near to its neighbours as those beside it let it be.
function placed(layers, sizeOf, gap) {
  for (const layer of layers) {
    let at = 0;
    for (const one of layer) { one.size = one.box ? sizeOf(one) : 6; one.at = at + one.size / 2; at += one.size + (one.box ? gap : gap / 2); }
    const middle = (at - gap) / 2;
    for (const one of layer) one.at -= middle;
  }
  for (let sweep = 0; sweep < 24; sweep += 1) {
    for (const layer of sweep % 2 ? [...layers].reverse() : layers) {
      const wish = layer.map((one) => (one.near.length ? one.near.reduce((sum, other) => sum + other.at, 0) / one.near.length : one.at));
      const low = [];
      const high = [];
      layer.forEach((one, index) => { low[index] = index ? Math.max(wish[index], low[index - 1] + (layer[index - 1].size + one.size) / 2 + gap) : wish[index]; });
      for (let index = layer.length - 1; index >= 0; index -= 1) {
        high[index] = index < layer.length - 1 ? Math.min(wish[index], high[index + 1] - (layer[index + 1].size + layer[index].size) / 2 - gap) : wish[index];
      }
      layer.forEach((one, index) => { one.at = (low[index] + high[index]) / 2; });
    }
  }
}

// A box's time as a bar, divided as on the time axis; what is neither load nor save counts as computing.
function phasesOf(box, wide) {
  if (box.idle) return [];
  const found = [];
  let at = 10;
  for (const [kind, time] of [['load', box.load], ['compute', Math.max(box.took - box.load - box.save, 0)], ['save', box.save]]) {
    const part = box.took ? (time / box.took) * Math.max(wide, 1.5) : 0;
    if (part > 0) found.push(drawn('rect', { class: kind, x: at, y: 38, width: part, height: 3 }));
    at += part;
  }
  return found;
}

// The span that a box stands for: its only node, or the namespace that all its nodes are in.
function spanOf(box) {
  const ran = box.members.filter((one) => one.state !== 'idle');
  let at = ran[0];
  while (ran.length > 1 && at.parent && (at.kind === 'node' || at.members.length < ran.length)) at = at.parent;
  return at.kind === 'namespace' || at.kind === 'node' ? at : ran[0];
}

function tellBox(box, figure) {
  const words = [`${box.label}: ${figure}`];
  if (!box.idle) words.push(`load ${duration(box.load)}, compute ${duration(Math.max(box.took - box.load - box.save, 0))}, save ${duration(box.save)}`);
  const made = [make('bdi', '', words.join(' · '))];
  if (!box.idle) {
    const button = make('button', '', 'Show in the timeline');
    button.type = 'button';
    button.addEventListener('click', () => visit(spanOf(box)));
    made.push(button);
  }
  byId('graph-picked').replaceChildren(...made);
}

function drawGraph() {
  const chosen = fewer(boxesAt(graph.level));
  const room = byId('drawing').clientWidth || 800;
  const high = 46;
  setFont(12.5);
  const figureOf = (box) => (box.idle ? 'never ran' : duration(box.took)) + (box.members.length > 1 ? ` · ${plural(box.members.length, 'node')}` : '');
  const wideOf = ({ box }) => Math.min(Math.max(measure.measureText(box.label).width + 26, measure.measureText(figureOf(box)).width * 0.92 + 24, 88), 260);
  const gap = 34;
  let { layers, edges } = layered(chosen.order, 12);
  let widths = layers.map((layer) => Math.max(...layer.filter((one) => one.box).map(wideOf)));
  const across = widths.reduce((sum, one) => sum + one + gap, -gap);
  const downward = room < 760 || across * 0.92 > room;
  if (downward) {
    ({ layers, edges } = layered(chosen.order, Math.max(Math.floor(room / (chosen.order.length > 30 ? 160 : 125)), 2)));
    widths = layers.map(() => high);
  }
  let [least, most] = [Infinity, -Infinity];
  placed(layers, (one) => (downward ? wideOf(one) : high), downward ? 16 : 14);
  for (const one of layers.flat()) { least = Math.min(least, one.at - one.size / 2); most = Math.max(most, one.at + one.size / 2); }
  let along = 0;
  layers.forEach((layer, index) => {
    const thick = downward ? high : widths[index];
    for (const one of layer) { one.from = along; one.thick = thick; }
    along += thick + gap;
  });
  along -= gap;
  const pad = 4;
  const [width, height] = downward ? [most - least + 2 * pad, along + 2 * pad] : [along + 2 * pad, most - least + 2 * pad];
  const scale = Math.min(1, Math.max(room / width, 0.62)) * graph.zoom;
  const svg = drawn('svg', { width: width * scale, height: height * scale, viewBox: `0 0 ${width} ${height}`, role: 'group', 'aria-label': 'Pipeline graph; arrow keys move between nodes' });
  const xy = (one, end) => {
    const flow = one.from + (end ? (one.box && !downward ? one.wide : one.thick) : 0);
    return downward ? [one.at - least + pad, flow + pad] : [flow + pad, one.at - least + pad];
  };
  const longest = Math.max(...chosen.boxes.map((box) => box.took), 1);
  for (const one of layers.flat()) if (one.box) one.wide = downward ? one.size : one.thick;
  for (const { path, edge } of edges) {
    // Across a layer that it only passes, an edge runs straight, beside the boxes.
    const points = path.flatMap((one, index) => (one.box ? [xy(one, index === 0)] : [xy(one, false), xy(one, true)]));
    const straight = path.flatMap((one) => (one.box ? [false] : [false, true]));
    let line = `M${points[0].map((x) => x.toFixed(1)).join(',')}`;
    for (let index = 1; index < points.length; index += 1) {
      const [x0, y0] = points[index - 1];
      const [x1, y1] = points[index];
      if (straight[index]) line += `L${x1.toFixed(1)},${y1.toFixed(1)}`;
      else line += downward ? `C${x0.toFixed(1)},${((y0 + y1) / 2).toFixed(1)} ${x1.toFixed(1)},${((y0 + y1) / 2).toFixed(1)} ${x1.toFixed(1)},${y1.toFixed(1)}`
        : `C${((x0 + x1) / 2).toFixed(1)},${y0.toFixed(1)} ${((x0 + x1) / 2).toFixed(1)},${y1.toFixed(1)} ${x1.toFixed(1)},${y1.toFixed(1)}`;
    }
    const drawnEdge = drawn('path', { class: `edge${edge.hot ? ' hot' : ''}${edge.through ? ' through' : ''}`, d: line });
    if (edge.names.length) drawnEdge.append(drawn('title', {}, [...new Set(edge.names)].slice(0, 20).map(withRows).join(', ')));
    svg.append(drawnEdge);
  }
  const drawnBoxes = [];
  for (const one of layers.flat()) {
    if (!one.box) continue;
    const { box } = one;
    const [x, y] = downward ? [one.at - least + pad - one.wide / 2, one.from + pad] : [one.from + pad, one.at - least + pad - high / 2];
    const group = drawn('g', {
      class: `box${box.hot ? ' hot' : ''}${box.bad ? ' bad' : ''}${box.idle ? ' idle' : ''}`, transform: `translate(${x.toFixed(1)},${y.toFixed(1)})`, tabindex: drawnBoxes.length ? -1 : 0, role: 'button',
      'aria-label': `${box.label}: ${box.idle ? 'never ran' : duration(box.took)}${box.members.length > 1 ? `, ${plural(box.members.length, 'node')}` : ''}${box.hot ? ', on the critical path' : ''}${box.bad ? ', failed' : ''}`,
    });
    const inner = one.wide - 20;
    group.spans = box.members;
    group.append(drawn('title', {}, `${box.label}: ${figureOf(box)}`), drawn('rect', { class: 'frame', width: one.wide, height: high, rx: 7 }),
      drawn('text', { class: 'label', x: 10, y: 18 }, shortened(box.label, inner)),
      drawn('text', { class: 'time', x: 10, y: 33 }, figureOf(box)),
      drawn('rect', { class: 'rail', x: 10, y: 38, width: inner, height: 3, rx: 1.5 }), ...phasesOf(box, (box.took / longest) * inner));
    const go = () => { if (!box.idle) visit(spanOf(box), { stay: true }); tellBox(box, figureOf(box)); };
    group.addEventListener('click', go);
    group.addEventListener('keydown', (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === 'Enter' || event.key === ' ') go();
      else if (step) { const next = drawnBoxes[drawnBoxes.indexOf(group) + step]; if (next) { group.setAttribute('tabindex', -1); next.setAttribute('tabindex', 0); next.focus(); } } else return;
      event.preventDefault();
    });
    drawnBoxes.push(group);
    svg.append(group);
  }
  byId('graph-note').textContent = chosen.left
    ? `The ${plural(chosen.boxes.length, graph.level ? 'box' : 'node')} that took longest, that failed, or that the critical path runs through; ${chosen.left.toLocaleString('en')} more are left out, dashed lines lead through them.`
    : '';
  byId('drawing').replaceChildren(svg);
  const first = svg.querySelector('.box.bad') || svg.querySelector('.box.hot');
  if (first && svg.clientWidth > room) byId('drawing').scrollLeft = first.getBoundingClientRect().left - svg.getBoundingClientRect().left - room / 2;
}

function startGraph() {
  if (planned.length < 2) return;
  byId('graph').hidden = false;
  const deepest = Math.min(depths(planned), 6);
  graph.level = 0;
  if (deepest) {
    const choice = byId('level');
    for (let level = 0; level <= deepest; level += 1) {
      const option = make('option', '', level === 0 ? (planned.length > EVERY ? `${MOST} nodes` : 'Every node') : deepest === 1 ? 'Namespaces' : `Namespaces, ${plural(level, 'level')}`);
      option.value = level;
      choice.append(option);
    }
    const boxes = (level) => new Set(planned.map((one) => one.namespace.split('.').slice(0, level).join('.') || one.label)).size;
    if (planned.length > FIT) for (graph.level = deepest; graph.level > 1 && boxes(graph.level) > FIT; graph.level -= 1);
    choice.value = graph.level;
    choice.addEventListener('change', () => { graph.level = Number(choice.value); graph.every = graph.level === 0 && planned.length <= EVERY; drawGraph(); if (view.picked) highlight(view.picked); });
    byId('level-label').hidden = false;
  }
  byId('larger').addEventListener('click', () => { graph.zoom = Math.min(graph.zoom * 1.25, 4); drawGraph(); });
  byId('smaller').addEventListener('click', () => { graph.zoom = Math.max(graph.zoom / 1.25, 0.2); drawGraph(); });
  drawGraph();
}
