// The timeline of a run (JSON embedded in the page), and the indices that drawing and searching need.
'use strict';

const timeline = JSON.parse(document.getElementById('timeline').textContent);
const {nodes, frames, marks, spans} = timeline;
const FRAME = 0, MARK = 1, SPAN = 2;

/** Formats a duration in microseconds with a readable unit. */
function time(us) {
  if (us >= 1e6) return (us / 1e6).toFixed(us % 1e6 ? 3 : 0) + ' s';
  return (us / 1e3).toFixed(us % 1e3 ? 3 : 0) + ' ms';
}

function grouped(n) {
  return String(n).replace(/\B(?=(\d{3})+$)/g, '\u202f');
}

function nodeName(node) {
  return node === null || node === undefined || node < 0 ? 'all' : nodes[node].name;
}

// All events in the order of time, as two flat arrays: the kind of each, and its index within the kind.
const items = (() => {
  const count = frames.sent.length + marks.length + spans.length;
  const sort = new Uint8Array(count), at = new Uint32Array(count), t = new Float64Array(count);
  const order = new Uint32Array(count);
  let n = 0;
  const add = (s, i, when) => { sort[n] = s; at[n] = i; t[n] = when; order[n] = n; n++; };
  frames.sent.forEach((when, i) => add(FRAME, i, when));
  marks.forEach((mark, i) => add(MARK, i, mark.t));
  spans.forEach((span, i) => add(SPAN, i, span.from));
  order.sort((a, b) => t[a] - t[b] || sort[b] - sort[a] || at[a] - at[b]);
  return {
    count,
    sort: Uint8Array.from(order, o => sort[o]),
    at: Uint32Array.from(order, o => at[o]),
    t: Float64Array.from(order, o => t[o]),
  };
})();

// The position of each frame, mark and span in the list of events, to find what was clicked in the diagram.
const itemOf = [new Uint32Array(frames.sent.length), new Uint32Array(marks.length), new Uint32Array(spans.length)];
for (let i = 0; i < items.count; i++) itemOf[items.sort[i]][items.at[i]] = i;

// Frames are sorted by the time of sending. Each block of them stores the latest end in it, so that the
// frames in flight in a window of time are found without scanning all.
const BLOCK = 256;
const blockEnd = (() => {
  const ends = new Float64Array(Math.ceil(frames.sent.length / BLOCK));
  frames.end.forEach((end, i) => { ends[i / BLOCK | 0] = Math.max(ends[i / BLOCK | 0], end); });
  return ends;
})();

/** The first index of an ascending list whose value is not below `value` (binary search). */
function lowerBound(list, value) {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] < value) low = middle + 1; else high = middle;
  }
  return low;
}

/** Calls `visit` for every frame that is in flight at any time between two times. */
function framesBetween(from, to, visit) {
  const last = lowerBound(frames.sent, to);
  for (let block = 0; block * BLOCK < last; block++) {
    if (blockEnd[block] < from) continue;
    const end = Math.min(last, (block + 1) * BLOCK);
    for (let i = block * BLOCK; i < end; i++) if (frames.end[i] >= from) visit(i);
  }
}

/** The number of a node's digest at a time. */
function digestAt(node, when) {
  const {t, d} = timeline.digests[node];
  const at = lowerBound(t, when + 1) - 1;
  return at < 0 ? -1 : d[at];
}

// How states look: a colour, the number of a pattern and a short label. States that exist at the same moment never
// look alike. Look 0 is that of the state on which all nodes agreed in the end.
const {looks, of: lookOf} = timeline.stateLooks;
const agreed = lookOf.indexOf(0);

// The palette of Okabe and Ito, which is safe for colour-blind readers.
const PALETTE = ['#0072b2', '#e69f00', '#cc79a7', '#56b4e9', '#8c6bb1', '#a6761d', '#7a8b2a', '#d55e00'];
const GREY = '#8a9099';

// The hatchings: lines from one point of the unit square to another. Beyond these, they repeat more widely spaced.
const HATCHINGS = [
  [[0, 1, 1, 0]], [[0, 0, 1, 1]], [[.5, 0, .5, 1]], [[0, .5, 1, .5]], [[0, 1, 1, 0], [0, 0, 1, 1]],
  [[.5, 0, .5, 1], [0, .5, 1, .5]], [[.25, 0, .25, 1], [.5, 0, .5, 1]], [[.4, .5, .6, .5]],
];

/** Whether black lines can be seen on a colour: its brightness by the weights of ITU-R BT.601. */
function isBright(colour) {
  const [r, g, b] = [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16));
  return .299 * r + .587 * g + .114 * b > 120;
}

/** The tile that a hatched look repeats. */
function tileOf({color, pattern}) {
  const tile = document.createElement('canvas');
  const size = tile.width = tile.height = 6 + 4 * Math.floor((pattern - 1) / HATCHINGS.length);
  const pen = tile.getContext('2d');
  pen.fillStyle = color;
  pen.fillRect(0, 0, size, size);
  pen.strokeStyle = isBright(color) ? '#000' : '#fff';
  pen.lineWidth = 1.5;
  for (const [x, y, toX, toY] of HATCHINGS[(pattern - 1) % HATCHINGS.length]) {
    // Slanted lines go on in the neighbouring tiles, so that no gap shows at the corners.
    for (const shift of x === toX || y === toY ? [0] : [-1, 0, 1]) {
      pen.beginPath(); pen.moveTo((x + shift) * size, y * size); pen.lineTo((toX + shift) * size, toY * size); pen.stroke();
    }
  }
  return tile;
}
const tiles = looks.map(look => look.pattern ? tileOf(look) : null);

/** What a canvas is filled with to show a state. */
function digestFill(pen, digest) {
  if (digest < 0) return 'transparent';
  const tile = tiles[lookOf[digest]];
  return tile ? pen.createPattern(tile, 'repeat') : looks[lookOf[digest]].color;
}

/** The CSS background that shows a look. */
const lookBackground = look => tiles[look] ? `url(${tiles[look].toDataURL()})` : looks[look].color;

/** The short label of a state, which no other state has at the same moment. */
const digestLabel = digest => digest < 0 ? '' : looks[lookOf[digest]].label;

const kindColour = kind => PALETTE[kind % PALETTE.length];

function frameWords(i) {
  const protocol = timeline.protocols[frames.protocol[i]];
  return `${timeline.kinds[frames.kind[i]]}${protocol ? ' (' + protocol + ')' : ''} ${nodeName(frames.from[i])} → ` +
    `${nodeName(frames.to[i])}, ${timeline.fates[frames.fate[i]]}`;
}

/** One line that describes an event: the text that the list shows and the search looks in. */
function words(item) {
  const at = items.at[item];
  switch (items.sort[item]) {
    case FRAME: return frameWords(at);
    case MARK: return `${nodeName(marks[at].node)}: ${marks[at].what}${marks[at].text ? ', ' + marks[at].text : ''}`;
    default: return `${nodeName(spans[at].node)}: ${spans[at].what}${spans[at].text ? ', ' + spans[at].text : ''}`;
  }
}

/** Whether an event happens on, or between, the given nodes. */
function touches(item, node) {
  const at = items.at[item];
  switch (items.sort[item]) {
    case FRAME: return frames.from[at] === node || frames.to[at] === node;
    case MARK: return marks[at].node === node;
    default: return spans[at].node === node || spans[at].node === null;
  }
}

// The filters: kinds of events, and the text of the search.
const shown = {
  kinds: new Set(timeline.kinds.keys()),
  fates: new Set(timeline.fates.keys()),
  marks: new Set([...marks, ...spans].map(one => one.what)),
  words: [],
  cache: null,
};

function passes(item) {
  const at = items.at[item];
  const sort = items.sort[item];
  if (sort === FRAME) {
    if (!shown.kinds.has(frames.kind[at]) || !shown.fates.has(frames.fate[at])) return false;
  } else if (!shown.marks.has(sort === MARK ? marks[at].what : spans[at].what)) return false;
  if (!shown.words.length) return true;
  const text = words(item).toLowerCase();
  return shown.words.every(word => text.includes(word));
}

/** The events that pass the filters, in order; cached until the filters change. */
function passing() {
  if (!shown.cache) {
    const list = [];
    for (let item = 0; item < items.count; item++) if (passes(item)) list.push(item);
    const flags = new Uint8Array(items.count);
    list.forEach(item => { flags[item] = 1; });
    shown.cache = {list, flags};
  }
  return shown.cache;
}
