// Input: mouse, touch and keyboard.

function setWindow(from, to) {
  const width = Math.min(span, Math.max(10, to - from));
  view.from = Math.max(0, Math.min(from, span - width));
  view.to = view.from + width;
  redraw();
}

function zoom(factor, around = (view.from + view.to) / 2) {
  const width = Math.min(span, Math.max(10, (view.to - view.from) * factor));
  const share = (around - view.from) / (view.to - view.from);
  setWindow(around - share * width, around - share * width + width);
}

const pan = share => setWindow(view.from + share * (view.to - view.from), view.to + share * (view.to - view.from));

function scrollLanes(by) {
  view.top = Math.max(0, Math.min(hiddenLanes(), view.top + by));
  redraw();
}

/** Selects an event: shows it in the diagram and in the list, and announces it to screen readers. */
function choose(item) {
  view.chosen = item;
  const at = items.at[item];
  const t = items.t[item];
  const end = items.sort[item] === FRAME ? frames.end[at] : t;
  if (t < view.from || end > view.to) {
    const width = Math.max(view.to - view.from, (end - t) * 1.5);
    setWindow((t + end) / 2 - width / 2, (t + end) / 2 + width / 2);
  }
  const node = items.sort[item] === FRAME ? frames.from[at] : (items.sort[item] === MARK ? marks[at].node : spans[at].node);
  if (node !== null && hiddenLanes()) {
    const y = laneY(node);
    if (y < AXIS + 20 || y > lanes.clientHeight - 20) scrollLanes(y - lanes.clientHeight / 2);
  }
  byId('said').textContent = `${time(t)}: ${words(item)}`;
  if (tab === 'events') { turnTo(item); showEvents(); } else showTab('inspect');
  redraw();
}

function chooseNode(node) {
  view.node = view.node === node ? -1 : node;
  view.chosen = -1;
  page = 0;
  showTab(tab === 'events' ? 'events' : 'inspect');
  redraw();
}

/** The next or previous event that passes the filters, on the selected node if one is selected. */
function goTo(direction) {
  let {list} = passing();
  if (view.node >= 0) list = list.filter(item => touches(item, view.node));
  if (!list.length) return;
  let at;
  if (view.chosen >= 0) {
    at = lowerBound(list, view.chosen);
    at = direction > 0 ? (list[at] === view.chosen ? at + 1 : at) : at - 1;
  } else {
    at = lowerBound(list.map(item => items.t[item]), view.from);
  }
  if (at >= 0 && at < list.length) choose(list[at]);
}

function reset() {
  view.chosen = view.hover = view.node = -1;
  byId('search').value = '';
  shown.words = [];
  filtersChanged();
  PANELS[tab]();
}

function filtersChanged() {
  shown.cache = null;
  page = recordsPage = 0;
  PANELS[tab]();
  redraw();
}

/** The event nearest to a point of the diagram, within a few pixels. */
function itemAt(x, y) {
  const {flags} = passing();
  let best = 9, found = -1;
  const consider = (distance, item) => { if (distance < best && flags[item]) { best = distance; found = item; } };
  const slack = (view.to - view.from) / Math.max(1, lanes.clientWidth) * 12;
  const t = xTime(x);
  marks.forEach((mark, i) => {
    if (Math.abs(mark.t - t) > slack) return;
    for (const node of spanNodes(mark)) consider(Math.hypot(timeX(mark.t) - x, laneY(node) - y) - 2, itemOf[MARK][i]);
  });
  framesBetween(t - slack, t + slack, i => {
    const ax = timeX(frames.sent[i]), ay = laneY(frames.from[i]);
    let dx = timeX(frames.end[i]) - ax, dy = laneY(frames.to[i]) - ay;
    if (!isDelivered(i) && timeline.lostOnWay[frames.fate[i]]) { dx = Math.max(6, dx * .6); dy *= .6; }
    const along = Math.max(0, Math.min(1, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1)));
    consider(Math.hypot(ax + along * dx - x, ay + along * dy - y), itemOf[FRAME][i]);
  });
  if (found >= 0) return found;
  spans.forEach((one, i) => {
    if (one.what === 'session' || t < one.from || t > one.to) return;
    for (const node of spanNodes(one)) if (Math.abs(laneY(node) - y) < laneHeight() / 2) consider(8, itemOf[SPAN][i]);
  });
  return found;
}

function nodeAt(y) {
  const node = Math.floor((y - AXIS - 3 + view.top) / laneHeight());
  return node >= 0 && node < nodes.length ? node : -1;
}

function place(event) {
  const box = event.currentTarget.getBoundingClientRect();
  return {x: event.clientX - box.left, y: event.clientY - box.top};
}

let drag = null;
lanes.addEventListener('pointerdown', event => {
  const {x, y} = place(event);
  drag = {x, y, from: view.from, top: view.top, moved: false};
  lanes.setPointerCapture(event.pointerId);
});
lanes.addEventListener('pointermove', event => {
  const {x, y} = place(event);
  if (drag) {
    if (Math.hypot(x - drag.x, y - drag.y) > 4) drag.moved = true;
    if (drag.moved) {
      const width = view.to - view.from;
      const from = drag.from - (x - drag.x) / (lanes.clientWidth - LABELS) * width;
      view.top = Math.max(0, Math.min(hiddenLanes(), drag.top - (y - drag.y)));
      setWindow(from, from + width);
    }
    return;
  }
  const item = x > LABELS ? itemAt(x, y) : -1;
  const tip = byId('tip');
  tip.hidden = item < 0;
  if (item >= 0) {
    tip.textContent = `${time(items.t[item])}  ${words(item)}`;
    tip.style.left = Math.min(x + 14, Math.max(0, lanes.clientWidth - 300)) + 'px';
    tip.style.top = (lanes.offsetTop + y + 16) + 'px';
  }
  if (item !== view.hover) { view.hover = item; redraw(); }
});
lanes.addEventListener('pointerup', event => {
  const clicked = drag && !drag.moved;
  drag = null;
  if (!clicked) return;
  const {x, y} = place(event);
  if (x < LABELS) { const node = nodeAt(y); if (node >= 0) chooseNode(node); return; }
  const item = itemAt(x, y);
  if (item >= 0) choose(item); else { view.chosen = -1; PANELS[tab](); redraw(); }
});
lanes.addEventListener('pointerleave', () => { byId('tip').hidden = true; view.hover = -1; redraw(); });
lanes.addEventListener('wheel', event => {
  event.preventDefault();
  const {x} = place(event);
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan((event.deltaX || event.deltaY) / 800);
  else if (event.altKey) scrollLanes(event.deltaY);
  else zoom(Math.exp(event.deltaY / 400), xTime(Math.max(LABELS, x)));
}, {passive: false});

let brushing = false;
const brush = event => {
  const width = view.to - view.from;
  const t = place(event).x / overview.clientWidth * span;
  setWindow(t - width / 2, t + width / 2);
};
overview.addEventListener('pointerdown', event => { brushing = true; overview.setPointerCapture(event.pointerId); brush(event); });
overview.addEventListener('pointermove', event => { if (brushing) brush(event); });
overview.addEventListener('pointerup', () => { brushing = false; });

const ACTIONS = {
  in: () => zoom(.5), out: () => zoom(2), fit: () => { view.top = 0; setWindow(0, span); },
  next: () => goTo(1), previous: () => goTo(-1), help: () => byId('help').showModal(),
};
for (const button of document.querySelectorAll('[data-do]')) button.addEventListener('click', ACTIONS[button.dataset.do]);

const KEYS = {
  ArrowLeft: ['←', 'earlier', () => pan(-.2)], ArrowRight: ['→', 'later', () => pan(.2)],
  ArrowUp: ['↑', 'lanes above', () => scrollLanes(-60)], ArrowDown: ['↓', 'lanes below', () => scrollLanes(60)],
  '+': ['+', 'zoom in', ACTIONS.in], '-': ['-', 'zoom out', ACTIONS.out], f: ['f', 'all of it', ACTIONS.fit],
  Home: ['Home', 'the beginning', () => setWindow(0, view.to - view.from)],
  End: ['End', 'the end', () => setWindow(span, span + view.to - view.from)],
  n: ['n', 'next event', ACTIONS.next], p: ['p', 'event before', ACTIONS.previous],
  l: ['l', 'losses only, or everything', toggleLosses],
  '/': ['/', 'search', () => byId('search').focus()], Escape: ['Esc', 'forget search and choice', reset],
  '?': ['?', 'these keys', ACTIONS.help],
};

function toggleLosses() {
  const all = [...timeline.fates.keys()];
  const lossesOnly = shown.fates.size < all.length;
  shown.fates = new Set(lossesOnly ? all : all.filter(fate => fate !== 0 && !timeline.harmless[fate]));
  showFilters();
  filtersChanged();
}

document.addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId('help').open) return;
  const typing = event.target.matches('input');
  if (typing && event.key !== 'Escape') return;
  if (event.target.matches('[role=tabpanel] *') && event.key.startsWith('Arrow')) return;
  const key = KEYS[event.key === '=' ? '+' : event.key];
  if (!key) return;
  event.preventDefault();
  if (typing) event.target.blur();
  key[2]();
});
for (const button of document.querySelectorAll('[role=tab]')) {
  button.addEventListener('click', () => showTab(button.dataset.tab));
  button.addEventListener('keydown', event => {
    const tabs = Object.keys(PANELS);
    const by = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (!by) return;
    event.stopPropagation();
    const to = tabs[(tabs.indexOf(tab) + by + tabs.length) % tabs.length];
    showTab(to);
    document.querySelector(`[data-tab=${to}]`).focus();
  });
}
byId('search').addEventListener('input', event => {
  shown.words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  filtersChanged();
  if (shown.words.length && tab === 'inspect') showTab('events');
});
byId('copy').addEventListener('click', async event => {
  const button = event.currentTarget;
  const text = document.querySelector('#repeat code');
  try { await navigator.clipboard.writeText(text.textContent); button.textContent = 'Copied'; } catch {
    // A page opened from a file may not write to the clipboard: select the text so that the user can copy it.
    getSelection().selectAllChildren(text);
    button.textContent = 'Selected';
  }
  setTimeout(() => { button.textContent = 'Copy'; }, 1500);
});

function begin() {
  document.title = timeline.title;
  byId('title').append(`${timeline.title} `, make('span', {class: timeline.good ? 'pill' : 'pill bad'}, timeline.verdict));
  byId('facts').textContent = timeline.facts.join(' · ');
  if (timeline.repeat) document.querySelector('#repeat code').textContent = timeline.repeat; else byId('repeat').hidden = true;
  byId('help').append(make('h2', {}, 'Keys'),
    make('table', {}, ...Object.values(KEYS).map(([key, what]) => make('tr', {}, make('td', {}, make('kbd', {}, key)), make('td', {}, what)))),
    make('p', {}, 'Wheel: zoom. Drag: move. Shift and wheel: move in time. Click a name: only what touches that node.'),
    make('form', {method: 'dialog'}, make('button', {}, 'Close')));
  showFilters();
  showForensics();
  showTab('inspect');
  new ResizeObserver(redraw).observe(lanes);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  redraw();
}
begin();
