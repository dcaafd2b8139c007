// The panel beside the diagram: the selected event, the list of events, the records and the legend.

const byId = id => document.getElementById(id);

/** Creates an element with attributes and children; text is never parsed as markup. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

function rows(pairs) {
  return make('table', {}, ...pairs.filter(([, value]) => value !== null && value !== undefined && value !== '')
    .map(([name, value]) => make('tr', {}, make('th', {scope: 'row'}, name), make('td', {}, value))));
}

const swatch = colour => make('span', {class: 'swatch', style: `background:${colour}`});

function digestCell(node, when) {
  const digest = digestAt(node, when);
  if (digest < 0) return make('span', {class: 'mono'}, 'none');
  return make('span', {}, swatch(lookBackground(lookOf[digest])), make('span', {class: 'mono'}, `${digestLabel(digest)} ${timeline.digestNames[digest]}`));
}

const link = (text, act) => make('button', {type: 'button', onclick: act}, text);

function describeFrame(i) {
  const copy = frames.copyOf[i];
  return rows([
    ['message', timeline.kinds[frames.kind[i]]],
    ['protocol', timeline.protocols[frames.protocol[i]]],
    ['from', nodeName(frames.from[i])],
    ['to', nodeName(frames.to[i])],
    ['sent', time(frames.sent[i])],
    [isDelivered(i) ? 'arrived' : 'ended', `${time(frames.end[i])}, ${time(frames.end[i] - frames.sent[i])} later`],
    ['fate', make('span', isDelivered(i) || isHarmless(i) ? {} : {class: 'differs'}, timeline.fates[frames.fate[i]])],
    ['size', `${grouped(frames.bytes[i])} bytes`],
    ['doubled', copy >= 0 ? link('copy of this message', () => choose(itemOf[FRAME][copy])) : null],
    ['says', timeline.says && timeline.says[i] ? make('pre', {}, timeline.says[i]) : null],
    ['sender then', digestCell(frames.from[i], frames.sent[i])],
    ['receiver after', digestCell(frames.to[i], frames.end[i])],
  ]);
}

function describe(item) {
  const at = items.at[item];
  if (items.sort[item] === FRAME) return describeFrame(at);
  if (items.sort[item] === MARK) {
    const mark = marks[at];
    return rows([
      ['event', mark.what], ['node', nodeName(mark.node)], ['at', time(mark.t)],
      ['what', mark.text ? make('pre', {}, mark.text) : null],
      ['state after', mark.node === null ? null : digestCell(mark.node, mark.t)],
    ]);
  }
  const one = spans[at];
  return rows([
    ['event', one.what], ['node', nodeName(one.node)], ['with', one.peer === undefined || one.peer === null ? null : nodeName(one.peer)],
    ['from', time(one.from)], ['to', `${time(one.to)}, ${time(one.to - one.from)} later`],
    ['what', one.text ? make('pre', {}, one.text) : null],
  ]);
}

function showInspect() {
  const panel = byId('inspect');
  panel.replaceChildren();
  if (view.node >= 0 && view.chosen < 0) {
    const node = nodes[view.node];
    panel.append(make('h3', {}, node.name), rows([
      ['state in the end', digestCell(view.node, timeline.end)],
      ['states it had', grouped(timeline.digests[view.node].t.length)],
      ...Object.entries(node.figures || {}).map(([name, value]) => [name, typeof value === 'number' ? grouped(value) : value]),
    ]));
    return;
  }
  if (view.chosen < 0) {
    panel.append(make('p', {}, 'Click a message, a mark or a node’s name; or press n to go from event to event.'));
    return;
  }
  panel.append(describe(view.chosen));
}

const PAGE = 200;
let page = 0;

function showEvents() {
  const panel = byId('events');
  let {list} = passing();
  if (view.node >= 0) list = list.filter(item => touches(item, view.node));
  const pages = Math.max(1, Math.ceil(list.length / PAGE));
  page = Math.max(0, Math.min(page, pages - 1));
  const turn = by => () => { page += by; showEvents(); panel.scrollTop = 0; };
  const bar = make('p', {},
    link('◀', turn(-1)), ' ', `page ${grouped(page + 1)} of ${grouped(pages)}, ${grouped(list.length)} events `, link('▶', turn(1)));
  const body = list.slice(page * PAGE, (page + 1) * PAGE).map(item => make('tr', {
    class: item === view.chosen ? 'row chosen' : 'row', tabindex: 0, 'data-item': item,
    onclick: () => choose(item), onkeydown: event => { if (event.key === 'Enter') choose(item); },
  }, make('td', {class: 'mono time'}, time(items.t[item])), make('td', {}, words(item))));
  panel.replaceChildren(bar, make('table', {}, ...body));
}

/** Shows the page of the list that contains an event. */
function turnTo(item) {
  let {list} = passing();
  if (view.node >= 0) list = list.filter(one => touches(one, view.node));
  const at = lowerBound(list, item);
  if (list[at] === item) page = Math.floor(at / PAGE);
}

let recordsPage = 0;
function showRecords() {
  const panel = byId('records');
  const {list, left} = timeline.records;
  if (!list.length) {
    panel.replaceChildren(make('p', {}, 'No records were stored with this timeline.'));
    return;
  }
  const word = shown.words;
  const differing = list.filter(record => record.differs);
  const rest = list.filter(record => !record.differs);
  const wanted = [...differing, ...rest].filter(record =>
    word.every(one => `${record.place} ${record.id} ${record.kind}`.toLowerCase().includes(one)));
  const pages = Math.max(1, Math.ceil(wanted.length / PAGE));
  recordsPage = Math.max(0, Math.min(recordsPage, pages - 1));
  const turn = by => () => { recordsPage += by; showRecords(); panel.scrollTop = 0; };
  const say = differing.length ? make('p', {class: 'differs'}, `${grouped(differing.length)} records differ between nodes in the end`)
    : make('p', {}, 'In the end every record is the same on all nodes.');
  const bar = make('p', {}, link('◀', turn(-1)), ` page ${recordsPage + 1} of ${pages}, ${grouped(wanted.length)} records`,
    left ? ` (and ${grouped(left)} more that were left out)` : '', ' ', link('▶', turn(1)));
  const body = wanted.slice(recordsPage * PAGE, (recordsPage + 1) * PAGE).map(record => {
    const cells = record.differs
      ? record.values.map((value, node) => make('div', {}, `${nodes[node].name}: `, make('span', {class: 'differs'}, value === null ? 'nothing' : value)))
      : [make('div', {}, record.values.find(value => value !== null) ?? 'nothing')];
    return make('tr', {}, make('td', {class: 'place'}, record.place, make('div', {class: 'mono'}, record.id.slice(0, 12)), record.kind), make('td', {class: 'mono'}, ...cells));
  });
  panel.replaceChildren(say, bar, make('table', {}, make('tr', {}, make('th', {}, 'record'), make('th', {}, 'value in the end')), ...body));
}

function showLegend() {
  const stroke = (colour, dash) => {
    const line = make('span', {class: 'swatch', style: `background:none;height:0;border-top:3px ${dash ? 'dashed' : 'solid'} ${colour}`});
    return line;
  };
  const row = (mark, text) => make('tr', {}, make('td', {}, mark), make('td', {}, text));
  byId('legend').replaceChildren(
    make('h3', {}, 'Lanes'),
    make('table', {},
      row(swatch('#009e73'), agreed >= 0 ? 'the state that all agreed on in the end' : '(no state that all agreed on)'),
      row(make('span', {}, ...looks.slice(1, 9).map((_, at) => swatch(lookBackground(at + 1)))),
        'other states: states that exist at the same moment never look alike; a look is used again once its state is gone'),
      ...Object.entries(SPAN_STYLE).map(([what, colour]) => row(swatch(colour), what))),
    make('h3', {}, 'Messages'),
    make('table', {},
      ...timeline.kinds.map((kind, at) => row(stroke(kindColour(at), false), kind)),
      row(stroke('#b3261e', true), 'not delivered: the cross is where it ended'),
      row(stroke(GREY, true), 'known already, or still on its way')),
    make('h3', {}, 'Marks'),
    make('table', {}, row('■', 'a write'), row('✕', 'a crash'), row('▲', 'a restart, a return, a join'), row('|', 'anything else')),
    make('h3', {}, 'Above the lanes'),
    make('p', {}, 'Bars: how many messages were sent, in red those not delivered. The line on top is green when all nodes have the same state, and darker the more states there are.'),
  );
}

const PANELS = {inspect: showInspect, events: showEvents, records: showRecords, legend: showLegend};
let tab = 'inspect';

function showTab(name) {
  tab = name;
  for (const button of document.querySelectorAll('[role=tab]')) {
    const own = button.dataset.tab === name;
    button.setAttribute('aria-selected', own);
    button.tabIndex = own ? 0 : -1;
    byId(button.dataset.tab).hidden = !own;
  }
  PANELS[name]();
}

function showFilters() {
  const box = (name, set, value, mark) => make('label', {}, make('input', {
    type: 'checkbox', ...(set.has(value) ? {checked: ''} : {}),
    onchange: event => { if (event.target.checked) set.add(value); else set.delete(value); filtersChanged(); },
  }), ' ', mark || '', name);
  const group = (title, boxes) => boxes.length ? [make('h3', {}, title), ...boxes] : [];
  byId('filters').replaceChildren(
    ...group('Messages', timeline.kinds.map((kind, at) => box(kind, shown.kinds, at, swatch(kindColour(at))))),
    ...group('Fates', timeline.fates.map((fate, at) => box(fate, shown.fates, at))),
    ...group('Other events', [...shown.marks].sort().map(what => box(what, shown.marks, what))));
}

function showForensics() {
  const forensics = timeline.forensics;
  if (!forensics) return;
  const panel = byId('forensics');
  panel.hidden = false;
  panel.querySelector('summary').textContent = forensics.headline;
  const jump = forensics.at === null ? '' : link(`Show the moment: ${time(forensics.at)}`, () => {
    const width = Math.max(2e4, span / 20);
    setWindow(forensics.at - width / 2, forensics.at + width / 2);
  });
  panel.querySelector('div').replaceChildren(jump, make('pre', {}, forensics.text));
}
