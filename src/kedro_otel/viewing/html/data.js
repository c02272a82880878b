// What was recorded, as objects: one for each span, one for each namespace above its nodes. Times are microseconds since the trace began.
const data = JSON.parse(document.getElementById('data').textContent);
const KINDS = ['command', 'run', 'node', 'dataset', 'foreign'];
const STATES = ['ended', 'open', 'died', 'unknown'];
const text = (number) => (number < 0 ? '' : data.strings[number]);
const texts = (numbers) => numbers.map(text);
const byId = (id) => document.getElementById(id);

function make(tag, className, content) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (content !== undefined) made.textContent = content;
  return made;
}

function drawn(tag, attributes, content) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (content !== undefined) made.textContent = content;
  return made;
}

function duration(us) {
  if (us < 1e3) return `${Math.floor(us)} µs`;
  if (us < 1e6) return us < 9950 ? `${(us / 1e3).toFixed(1)} ms` : `${Math.min(us / 1e3, 999).toFixed(0)} ms`;
  if (us < 6e7) return us < 9.995e6 ? `${(us / 1e6).toFixed(2)} s` : `${Math.min(us / 1e6, 59.9).toFixed(1)} s`;
  const pad = (number) => String(Math.floor(number)).padStart(2, '0');
  if (us < 3.6e9) return `${Math.floor(us / 6e7)} m ${pad((us % 6e7) / 1e6)} s`;
  if (us < 8.64e10) return `${Math.floor(us / 3.6e9)} h ${pad((us % 3.6e9) / 6e7)} m`;
  return `${Math.floor(us / 8.64e10)} d ${pad((us % 8.64e10) / 3.6e9)} h`;
}

function bytes(number) {
  let [value, unit] = [number, 'B'];
  for (unit of ['B', 'KiB', 'MiB', 'GiB', 'TiB']) { if (value < 1024 || unit === 'TiB') break; value /= 1024; }
  return `${unit !== 'B' && value < 10 ? value.toFixed(1) : value.toFixed(0)} ${unit}`;
}

// Names that are too long are cut in the middle: they differ at their ends.
const measure = document.createElement('canvas').getContext('2d');
const family = getComputedStyle(document.body).fontFamily;
const setFont = (size, weight = 400) => { measure.font = `${weight} ${size}px ${family}`; };
function shortened(label, room) {
  if (measure.measureText(label).width <= room) return label;
  const letters = [...label];
  let keep = Math.min(letters.length - 1, 90);
  const cut = () => `${letters.slice(0, Math.ceil(keep / 2)).join('')}…${letters.slice(letters.length - Math.floor(keep / 2)).join('')}`;
  while (keep > 3 && measure.measureText(cut()).width > room) keep -= 1;
  return cut();
}

const plural = (number, noun) => `${number.toLocaleString('en')} ${noun}${number === 1 ? '' : /(s|x|ch)$/.test(noun) ? 'es' : 's'}`;
// Dates in the time zone in which the report was written, spelled as above the pictures.
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const localTime = (ms) => new Date(ms + data.zone[0] * 6e4);
const timeOfDay = (ms) => (Number.isFinite(ms) ? localTime(ms).toISOString().slice(11, 19) : '');
function clock(us) {
  const then = localTime(data.begin + us / 1e3);
  return `${then.getUTCDate()} ${MONTHS[then.getUTCMonth()]} ${then.getUTCFullYear()}, ${timeOfDay(data.begin + us / 1e3)} ${data.zone[1]}`;
}

const spans = data.spans.kind.map((kind, index) => ({
  id: index, kind: KINDS[kind], label: text(data.spans.name[index]), start: data.spans.start[index], took: data.spans.took[index],
  end: data.spans.start[index] + data.spans.took[index], state: STATES[data.spans.state[index] & 7], failed: data.spans.state[index] >= 8,
  critical: false, children: [], parent: null, slow: false,
}));
spans.forEach((span, index) => {
  span.parent = spans[data.spans.parent[index]] || null;
  if (span.parent) span.parent.children.push(span);
});
const nodes = spans.filter((span) => span.kind === 'node');
nodes.forEach((node, index) => {
  const columns = data.nodes;
  Object.assign(node, {
    load: columns.load[index], compute: columns.compute[index], hooks: columns.hooks[index], save: columns.save[index], cpu: columns.cpu[index], peak: columns.peak[index], namespace: text(columns.namespace[index]), func: text(columns.function[index]),
    file: text(columns.file[index]), tags: texts(columns.tags[index]), inputs: texts(columns.inputs[index]), outputs: texts(columns.outputs[index]),
  });
});
spans.filter((span) => span.kind === 'dataset').forEach((span, index) => {
  span.what = ['', 'load', 'save'][data.operations.what[index]];
  span.type = text(data.operations.type[index]);
});
data.critical.forEach((index, place) => { spans[index].critical = true; spans[index].place = place; });
for (const node of [...nodes].sort((a, b) => b.took - a.took).slice(0, 20)) node.slow = true;
data.pids.span.forEach((index, at) => { spans[index].pid = data.pids.pid[at]; });
for (const span of spans) if (span.pid === undefined && span.parent) span.pid = span.parent.pid;
for (const failure of data.failures) spans[failure.span].failure = failure;
const root = spans[0];

// Nodes that a failed run never came to: in the graph and the table, not on the time axis.
const idle = data.not_run.name.map((name, index) => ({
  kind: 'node', label: text(name), namespace: text(data.not_run.namespace[index]), inputs: texts(data.not_run.inputs[index]), outputs: texts(data.not_run.outputs[index]),
  start: 0, took: 0, load: 0, compute: 0, save: 0, hooks: 0, state: 'idle', failed: false, critical: false,
}));

// Namespaces become spans of their own, made of their nodes: they are what one folds. Inside one, names are without it; one with a single
// node has no row, and one with nothing but another shares its row.
function underNamespaces(members, level, parent, prefix = '') {
  const pathOf = (member) => (member.kind === 'node' && member.namespace ? member.namespace.split('.') : []);
  const keep = (member) => {
    member.parent = parent;
    member.short = member.label.startsWith(prefix) && member.label.length > prefix.length ? member.label.slice(prefix.length) : member.label;
    found.push(member);
  };
  const groups = new Map();
  const found = [];
  for (const member of members) {
    const path = pathOf(member);
    if (path.length <= level || level > 20) { keep(member); continue; }
    if (!groups.has(path[level])) groups.set(path[level], { kind: 'namespace', label: path[level], parent, members: [], state: 'ended' });
    groups.get(path[level]).members.push(member);
  }
  for (const group of groups.values()) {
    if (group.members.length === 1) { keep(group.members[0]); continue; }
    let deepest = level + 1;
    const shared = () => pathOf(group.members[0])[deepest];
    while (shared() !== undefined && group.members.every((one) => pathOf(one)[deepest] === shared())) { group.label += `.${shared()}`; deepest += 1; }
    group.id = all.length;
    all.push(group);
    found.push(group);
    group.level = deepest;
    group.start = group.members.reduce((least, one) => Math.min(least, one.start), Infinity);
    group.end = group.members.reduce((most, one) => Math.max(most, one.end), 0);
    group.took = group.members.reduce((sum, one) => sum + one.took, 0);
    group.failed = group.members.some((one) => one.failed);
    group.critical = group.members.some((one) => one.critical);
    group.children = underNamespaces(group.members, deepest, group, `${prefix}${group.label}.`);
  }
  return found.sort((a, b) => a.start - b.start);
}
const all = [...spans];
for (const span of spans) if (span.children.some((child) => child.namespace)) span.children = underNamespaces(span.children, 0, span);
