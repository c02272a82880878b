// A run while it runs: the server says which nodes began or ended, and only the lines that are seen are drawn.
const LINE = 26;

function showLive(main, id) {
  const nodes = new Map();
  const order = [];
  let total = 0;
  let now = 0;
  let read = 0;
  let over = '';
  let done = 0;
  let begun = 0;
  let waiting = 0;
  const progress = make('progress');
  progress.setAttribute('aria-label', 'Nodes that are done');
  const facts = make('p', '');
  facts.id = 'facts';
  const bad = make('p', 'slower');
  const box = make('div', 'live');
  box.tabIndex = 0;
  box.setAttribute('role', 'region');
  box.setAttribute('aria-label', 'Nodes, by their start');
  const sheet = make('div');
  box.append(sheet);
  main.replaceChildren(make('section', 'card', facts, progress, bad, box));
  const source = new EventSource(`/api/live?run=${id}`);
  app.leave = () => { source.close(); over = over || 'left'; };

  const clock = () => (over ? now : now + (performance.now() - read) * 1e3);
  const draw = () => {
    waiting = 0;
    const end = Math.max(clock(), 1);
    const follows = box.scrollTop + box.clientHeight >= sheet.clientHeight - LINE * 2;
    sheet.style.height = `${order.length * LINE}px`;
    if (follows) box.scrollTop = order.length * LINE;
    const from = Math.max(Math.floor(box.scrollTop / LINE) - 3, 0);
    const lines = [];
    for (const node of order.slice(from, from + Math.ceil(box.clientHeight / LINE) + 6)) {
      const took = node.took ?? Math.max(end - node.start, 0);
      const line = make('div', `line ${node.outcome}`);
      line.style.top = `${node.place * LINE}px`;
      const stripe = make('i');
      stripe.style.left = `${(node.start / end) * 100}%`;
      stripe.style.width = `${Math.min((took / end) * 100, 100)}%`;
      const name = named(node.name);
      name.title = clean(node.name);
      line.append(name, make('span', 'track', stripe), make('span', 'time', duration(took)));
      lines.push(line);
    }
    sheet.replaceChildren(...lines);
    const known = Math.max(total, order.length);
    progress.max = Math.max(known, 1);
    progress.value = done;
    facts.replaceChildren(word(over && over !== 'left' ? over : 'running'), ` · ${done.toLocaleString('en')} of ${plural(known, 'node')} · ${begun - done} running · ${duration(end)}`);
    document.documentElement.dataset.ready = 'true';
  };
  const soon = () => { waiting ||= requestAnimationFrame(draw); };
  const tick = setInterval(() => { if (over) clearInterval(tick); else if (!document.hidden) soon(); }, 250);
  box.addEventListener('scroll', soon);
  addEventListener('resize', soon);
  source.onmessage = (event) => {
    const update = JSON.parse(event.data);
    total = update.total ?? total;
    now = update.now;
    read = performance.now();
    for (const [key, name, start, took, outcome] of update.nodes) {
      let node = nodes.get(key);
      if (!node) {
        node = { name, start, place: order.length };
        nodes.set(key, node);
        order.push(node);
        begun += 1;
      }
      if (node.outcome !== outcome && outcome !== 'running') {
        if (node.outcome === undefined || node.outcome === 'running') done += 1;
        if (['failed', 'killed'].includes(outcome)) { bad.replaceChildren(named(name), ` ${outcome}`); setStatus(`${clean(name)} ${outcome}`); }
      }
      Object.assign(node, { took, outcome });
    }
    if (update.nodes.length > 1) { order.sort((a, b) => a.start - b.start); order.forEach((node, index) => { node.place = index; }); }
    if (update.outcome) {
      over = update.outcome;
      source.close();
      const link = make('a', '', 'Open the report');
      link.href = `/run/${id}`;
      bad.append(' ', link);
      setStatus(`The run ended: ${over}`);
    }
    if (update.nodes.length || update.outcome) soon();
  };
  source.onerror = () => { if (!over) setStatus('The server does not answer.'); };
}
