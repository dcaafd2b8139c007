// The film of a run: what is embedded in the page, with the indices that drawing and searching need.
'use strict';

const film = JSON.parse(document.getElementById('film').textContent);
const {nodes, frames, marks, spans} = film;
const FRAME = 0, MARK = 1, SPAN = 2;

/** Microseconds as a person reads them. */
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

// All events in the order of time, as two flat arrays: what sort, and which of that sort.
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

// The item of each frame, mark and span, to come from a picture to its place in the list.
const itemOf = [new Uint32Array(frames.sent.length), new Uint32Array(marks.length), new Uint32Array(spans.length)];
for (let i = 0; i < items.count; i++) itemOf[items.sort[i]][items.at[i]] = i;

// Frames stand in the order of sending; blocks of them know when their last one ended, so that a
// window of time finds those that cross it without looking at all.
const BLOCK = 256;
const blockEnd = (() => {
  const ends = new Float64Array(Math.ceil(frames.sent.length / BLOCK));
  frames.end.forEach((end, i) => { ends[i / BLOCK | 0] = Math.max(ends[i / BLOCK | 0], end); });
  return ends;
})();

/** The first index of a rising list whose value is not below `value`. */
function lowerBound(list, value) {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] < value) low = middle + 1; else high = middle;
  }
  return low;
}

/** Calls `visit` for every frame that is under way between two times. */
function framesBetween(from, to, visit) {
  const last = lowerBound(frames.sent, to);
  for (let block = 0; block * BLOCK < last; block++) {
    if (blockEnd[block] < from) continue;
    const end = Math.min(last, (block + 1) * BLOCK);
    for (let i = block * BLOCK; i < end; i++) if (frames.end[i] >= from) visit(i);
  }
}

/** The digest of a node at a time, as its number. */
function digestAt(node, when) {
  const {t, d} = film.digests[node];
  const at = lowerBound(t, when + 1) - 1;
  return at < 0 ? -1 : d[at];
}

const agreed = (() => {
  const last = film.digests.map(history => history.d[history.d.length - 1]);
  return last.every(digest => digest === last[0]) ? last[0] : -1;
})();

// Okabe and Ito's colours, which people with any kind of colour vision tell apart.
const PALETTE = ['#0072b2', '#e69f00', '#cc79a7', '#56b4e9', '#8c6bb1', '#a6761d', '#7a8b2a', '#d55e00'];
const GREY = '#8a9099';

/** What a digest is drawn in: what all agreed on in the end has a colour that nothing else has. */
function digestColour(digest) {
  if (digest < 0) return 'transparent';
  if (digest === agreed) return '#009e73';
  const others = ['#e69f00', '#cc79a7', '#56b4e9', '#d55e00', '#f0e442', '#8c6bb1', '#b5a27f', '#7f8fa6'];
  return others[digest % others.length];
}

const kindColour = kind => PALETTE[kind % PALETTE.length];

function frameWords(i) {
  const protocol = film.protocols[frames.protocol[i]];
  return `${film.kinds[frames.kind[i]]}${protocol ? ' (' + protocol + ')' : ''} ${nodeName(frames.from[i])} → ` +
    `${nodeName(frames.to[i])}, ${film.fates[frames.fate[i]]}`;
}

/** An event in a line of words: what searches look at and lists show. */
function words(item) {
  const at = items.at[item];
  switch (items.sort[item]) {
    case FRAME: return frameWords(at);
    case MARK: return `${nodeName(marks[at].node)}: ${marks[at].what}${marks[at].text ? ', ' + marks[at].text : ''}`;
    default: return `${nodeName(spans[at].node)}: ${spans[at].what}${spans[at].text ? ', ' + spans[at].text : ''}`;
  }
}

/** Whether an event happens at or between certain nodes. */
function touches(item, node) {
  const at = items.at[item];
  switch (items.sort[item]) {
    case FRAME: return frames.from[at] === node || frames.to[at] === node;
    case MARK: return marks[at].node === node;
    default: return spans[at].node === node || spans[at].node === null;
  }
}

// What is shown: filters by sort, and the words of the search.
const shown = {
  kinds: new Set(film.kinds.keys()),
  fates: new Set(film.fates.keys()),
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

/** The events that pass, in order; kept until filters or words change. */
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
