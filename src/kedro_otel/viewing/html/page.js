// Put the parts together, and redraw what depends on the width, the colours, or on paper.
startWaterfall();
startGraph();
startTable();
startLog();
for (const button of document.querySelectorAll('button.goto')) {
  const failure = data.failures[Number(button.dataset.failure)];
  if (!failure) continue;
  button.hidden = false;
  button.addEventListener('click', () => visit(spans[failure.span]));
}
let wide = innerWidth;
let resizing = 0;
addEventListener('resize', () => {
  clearTimeout(resizing);
  resizing = setTimeout(() => {
    layRows();
    drawRuler();
    drawOverview();
    if (innerWidth !== wide && !byId('graph').hidden) drawGraph();
    wide = innerWidth;
  }, 60);
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawOverview);
addEventListener('beforeprint', () => { view.printing = true; drawRows(); });
addEventListener('afterprint', () => { view.printing = false; layRows(); });
document.documentElement.dataset.ready = 'true';
