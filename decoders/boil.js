// Read a model.boil without boildown: this file and nothing else, in Node and in browsers.
//     node boil.js model.boil [--base base.boil]    lists its tensors
//     node boil.js model.boil -o directory          writes the bytes of each, and index.json
//     require("./boil.js").decode(bytes)            in a program
//     <script src="boil.js"></script>               in a page, which then has boil.decode(bytes)
// The names are the words of boildown's docs/format.md; boil.py is the same in Python. Files are
// untrusted: whatever boildown does not write is refused. A block ends on its last line.
(function () { "use strict";
const { ceil, clz32, exp, floor, log, max, min, round } = Math, big = BigInt;
const [U8, U16, U32, U64] = [Uint8Array, Uint16Array, Uint32Array, BigUint64Array];
const [I8, I16, I32, F32, F64] = [Int8Array, Int16Array, Int32Array, Float32Array, Float64Array];
const DTYPES = { // the array, bytes of an element, bytes of a float in it if zeros have signs
  float32: [F32, 4, 4], float64: [F64, 8, 8], float16: [U16, 2, 2], bfloat16: [U16, 2, 2],
  uint8: [U8, 1, 0], int8: [I8, 1, 0], int16: [I16, 2, 0], int32: [I32, 4, 0],
  int64: [BigInt64Array, 8, 0], bool: [U8, 1, 0], complex64: [F32, 8, 4], complex128: [F64, 16, 8],
  uint16: [U16, 2, 0], uint32: [U32, 4, 0], uint64: [U64, 8, 0], float8_e4m3fn: [U8, 1, 1],
  float8_e5m2: [U8, 1, 1], float8_e4m3fnuz: [U8, 1, 0], float8_e5m2fnuz: [U8, 1, 0],
  float8_e8m0fnu: [U8, 1, 0], float4_e2m1fn_x2: [U8, 1, 0], complex32: [U16, 4, 2] };
const NAMES = Object.keys(DTYPES), WORDS = { 1: U8, 2: U16, 4: U32, 8: U64 };
const STORED = [null, U16, U16, U32, I8, I16, I32, I8]; // values in a form other than their own
const FORMS = { float32: [1, 2, 7], float64: [1, 3], int16: [4], int32: [4, 5], int64: [4, 5, 6] };
const LONGEST = 24, WITHIN = [5, 9, 13]; // bits of a code; coders that are not within others
class BoilError extends Error { name = "BoilError"; } // no intact file that boildown wrote
function check(holds, what) { if (!holds) throw new BoilError(`the ${what} is wrong`); }
const range = (count, of) => Array.from({ length: count }, (_, i) => of(i));
const sum = (list, of) => list.reduce((total, item, i) => total + of(item, i), 0);
const same = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);
const bytesOf = (array) => new U8(array.buffer, array.byteOffset, array.byteLength);
const copied = (Kind, bytes) => new Kind(bytes.slice().buffer);
const zerosOf = (dtype) => DTYPES[dtype][2]; // bytes of a float, if zeros have signs
const bitsOf = (dtype) => 8 * min(DTYPES[dtype][1], 8); // of a word
const even = (width) => Array(2 ** width).fill(width); // lengths of codes
const cut = (bits, number) => BigInt.asUintN(bits, number);
class Reader { // of untrusted bytes, with bits from the highest of a byte or the lowest
  constructor(data, at = 0, low = false) {
    Object.assign(this, { data, at, low, held: 0, left: 0 }); }
  take(count) { check(this.at + count <= this.data.length, "end of a part");
    return this.data.subarray(this.at, (this.at += count)); }
  byte() { return this.at < this.data.length ? this.data[this.at++] : this.take(1); }
  number(kind, little = true) { // of a kind that DataView has
    const bytes = this.take(kind.match(/\d+/)[0] / 8);
    return new DataView(bytes.buffer, bytes.byteOffset)[`get${kind}`](0, little); }
  varint(group = 0) { const byte = this.byte(); check(group < 9, "length of an integer");
    return byte < 128 ? byte : (byte & 127) + 128 * this.varint(group + 1); }
  bits(width) { let value = 0; for (let done = 0, taken; done < width; done += taken,
      this.left -= taken) { if (this.left === 0) [this.held, this.left] = [this.byte(), 8];
      taken = min(this.left, width - done);
      const part = this.held >> (this.low ? 8 - this.left : this.left - taken); value +=
        (part & (2 ** taken - 1)) * 2 ** (this.low ? done : width - done - taken); } return value; }
  align() { check(this.bits(this.left) === 0, "padding"); }
  close() { check(this.at === this.data.length, "length of a part"); } }
/** Untrusted bytes as { tensors, names, config }; `base` is what this gave for the file that they
 * differ from. A tensor is { dtype, shape, data }, float16, bfloat16 and float8 as their bits. */
function decode(data, base = null) { data = bytesOf(data);
  check(same(data.subarray(0, 4), [66, 79, 73, 76]), "beginning, which is not BOIL,");
  check(data[4] === 1 || data[4] === 2, `version ${data[4]}`); const { entries, config,
    found } = data[4] === 1 ? version1(data) : version2(data, base), tensors = Object.create(null),
    names = entries.map((entry) => entry.name); check(new Set(names).size === names.length,
    "list of names"); for (const entry of entries) { const { name, tied, dtype, shape } = entry,
      Kind = tied || DTYPES[dtype][0]; tensors[name] = tied ? tensors[tied.name]
      : { dtype, shape, data: new Kind(found.get(entry)) }; } return { tensors, names, config }; }
function version1(data) { // rows are [name, dtype, bytes, *shape] or [name, -1 - the tied one]
  const read = new Reader(data, 5), digested = data.length - 16, head = read.varint(), packed =
    read.take(floor(head / 2)), found = new Map(), entries = []; check(same(blake2b(data.subarray(0,
    digested)), data.subarray(digested)), "digest"); const rows = new Reader(head % 2
    ? inflated(packed, 64 * packed.length) : packed), [count, config] = opened(rows);
  for (let i = 1; i < count; i++) { const row = item(rows, false), [name, dtype, size, ...shape] =
      Array.isArray(row) ? row : []; check(typeof name === "string" && row.slice(1).every((side) =>
      typeof side === "number") && (dtype < 0 ? row.length === 2 : size > 0),
      `entry ${i - 1} of the header`); entries.push(entryOf(name, dtype, shape, entries, size)); }
  rows.close(); const stored = entries.filter((entry) => !entry.tied), promised = sum(stored,
    promise), end = read.at + sum(stored, (entry) => entry.size + 4) + 16, early = sum(stored,
    (entry) => 4 * entry.count); check(data.length === max(end, ceil(promised / 8192)) ||
    (promised <= 2 ** 24 && data.length === max(end, ceil(early / 8192))), "length of the file");
  for (const entry of stored) { const payload = new Reader(read.take(entry.size));
    check(crc32(payload.data) === read.number("Uint32"), `${entry.named}: the checksum`);
    found.set(entry, tensor(payload, entry.dtype, entry.words).buffer); payload.close(); }
  check(read.take(digested - read.at).every((byte) => !byte), "fill");
  return { entries, config, found }; }
function version2(data, base) { const back = new Reader(data.slice(max(5, data.length - 13),
    -4).reverse()), head = back.varint(), sums = floor(head / 2) % 2, size = floor(head / 4),
    end = data.length - 4 - back.at - size, crc = new Reader(data.slice(-4)).number("Uint32");
  check(data.length > 9 && end >= 5 && (sums || crc32(data.subarray(0, -4)) === crc), "checksum");
  let plain = data.subarray(end, end + size); if (head % 2) plain = inflated(plain,
    64 * size + 65536, Array.from(atob(DICTIONARY), byteOf)); const { config, entries, sections,
    block, digest } = index(new Reader(plain), sums); const stored = entries.filter((entry) =>
    !entry.tied), read = new Reader(data, 5), least = max(0, ceil((sum(stored,
    promise) - 2 ** 24) / 8192)); check(least <= data.length, "length of the file"); const pieces =
    stored.flatMap((entry) => piecesOf(entry, block)); if (!sections.length && pieces.length)
    sections.push([1, pieces.length, end - 5, 0]); const last = 5 + sum(sections, ([, , bytes]) =>
    bytes), fill = data.subarray(last, end); check(last <= end && sum(sections, ([, count]) =>
    count) === pieces.length, "list of sections"); check(!sums || crc32(data.subarray(last, -4),
    crc32(data.subarray(0, 5))) === crc, "checksum"); check(fill.length === max(0,
    least - data.length + fill.length) && !fill.some(Boolean), "fill"); check(!digest ||
    (base && same(digestOf(base), digest)), "base (--base FILE.boil)"); const found =
    new Map(stored.map((entry) => [entry, new ArrayBuffer(entry.bytes)])); for (const [kind, count,
    bytes, checksum] of sections) { const held = pieces.splice(0, count), { named } = held[0].entry,
      body = read.take(bytes), most = sum(held, (piece) => piece.size * piece.entry.width);
    check(bytes <= 4096 + 16 * count + most && (count === 1 || (most <= 2 ** 22 &&
      held.every((piece) => piece.whole))), `section of ${named}`);
    check(!sums || crc32(body) === checksum, `${named}: the checksum`);
    const stream = kind ? new Mixing(body) : new Reader(body); for (const piece of held) {
      const words = kind ? stream.words(piece, kind === 2 && inBase(base, piece)) : tensor(stream,
        piece.dtype, piece.size); new U8(found.get(piece.entry)).set(bytesOf(words),
        piece.start * piece.entry.width); } stream.close(); } return { entries, config, found }; }
function index(read, sums, at = 0) { // [config, sections, names, kinds], and the digest of a base
  const [count, config] = opened(read), sections = [], entries = [], row = sums ? 4 : 3, [told,
    names, kinds] = ["number", "string", "number"].map((kind) => { const list = unpacked(read,
      false); check(Array.isArray(list) && list.every((value) => typeof value === kind), "index");
    return list; }); check(count === 4 || (count === 5 && read.number("Uint16", false) === 0xc410),
    "index"); const digest = count === 5 ? read.take(16) : null, [block = 20] = told; read.close();
  for (let i = 1; i < told.length; i += row) sections.push([...told.slice(i, i + row), 0]);
  check(block >= 10 && block <= 20 && told.length % row === (told.length ? 1 : 0) &&
    (sections.length || !(told.length || sums)) && sections.every(([kind, pieces, size, crc]) =>
    kind >= 0 && kind <= 2 && pieces > 0 && size > 0 && crc >= 0 && crc < 2 ** 32) &&
    sections.some(([kind]) => kind === 2) === (digest !== null), "list of sections");
  for (const name of names) { const dtype = kinds[at++], sides = dtype < 0 ? 0 : kinds[at++];
    entries.push(entryOf(name, dtype, kinds.slice(at, (at += sides)), entries)); check(sides >= 0 &&
      at <= kinds.length, "list of shapes"); } check(at === kinds.length && names.length <= 2 ** 20,
    "list of names"); return { config, entries, sections, block, digest }; }
function entryOf(name, kind, shape, entries, size = 0) { // a tensor, stored or tied
  const named = `tensor ${JSON.stringify(name)}`, tied = kind < 0 && entries[-1 - kind];
  check(kind < 0 ? tied && !tied.tied : kind < NAMES.length, `dtype of ${named}`);
  if (tied) return { name, named, tied }; const area = shape.reduce((most, side) =>
    most * (side >= 0 ? side || 1 : Infinity), 1); check(shape.length <= 64 && area <= 2 ** 48,
    `shape of ${named}`); const dtype = NAMES[kind], width = bitsOf(dtype) / 8,
    count = shape.includes(0) ? 0 : area, bytes = count * DTYPES[dtype][1];
  return { name, named, dtype, shape, size, count, bytes, width, words: bytes / width }; }
const promise = ({ count, bytes }) => max(bytes, 4 * count);
function piecesOf(entry, log) { // parts of a tensor that are coded apart
  const { words, shape, dtype } = entry, block = 2 ** log, row = words / (shape[1] + 1 ? shape[0]
    : 1); const columns = row > 2 ** 20 ? words : row, many = max(1, floor(block / columns))
    * columns, step = words <= block || columns === words ? block : many; return range(ceil(words /
    step), (i) => { const start = i * step, size = min(step, words - start), whole = size === words;
    return { entry, dtype, start, size, columns: min(columns, size), whole }; }); }
function inBase({ tensors }, { entry, start, size }) { // words of a piece there, or null
  const tensor = tensors[entry.name], { dtype, shape, width } = entry;
  if (!tensor || tensor.dtype !== dtype || `${tensor.shape}` !== `${shape}`) return null;
  const bytes = bytesOf(tensor.data).subarray(start * width, (start + size) * width);
  return copied(WORDS[width], bytes); }
function digestOf({ names, tensors }) { // of all, in the order of names in UTF-8
  const varint = (n) => (n < 128 ? [n] : [(n % 128) + 128, ...varint(floor(n / 128))]),
    texts = new Map(names.map((name) => [encoded(name), name])),
    parts = [...texts.keys()].sort().flatMap((text) => { const { dtype, shape, data } =
      tensors[texts.get(text)], numbers = [shape.length, ...shape]; return [varint(text.length),
      Array.from(text, byteOf), varint(NAMES.indexOf(dtype)), ...numbers.map(varint),
      bytesOf(data)]; }); const whole = new U8(sum(parts, (part) => part.length));
  parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0); return blake2b(whole); }
const byteOf = (letter) => letter.charCodeAt(0);
const encoded = (name) => Array.from(name, (letter) => { // in UTF-8, a letter for each byte
  const code = letter.codePointAt(0), lone = [0xed, 0x80 | ((code >> 6) & 63), 0x80 | (code & 63)],
    bytes = code >> 11 === 0x1b ? lone : new TextEncoder().encode(letter);
  return String.fromCharCode(...bytes); }).join("");
/** UTF-8 of up to a MiB, in which lone surrogates may occur. */
function text(bytes) { const hex = Array.from(bytes,
    (byte) => `%${(byte | 256).toString(16).slice(1)}`).join(""); const lone = (part) =>
    (parseInt(part.slice(4, 6), 16) & 63) << 6 | parseInt(part.slice(7), 16) & 63; try {
    check(bytes.length <= 2 ** 20); return hex.split(/(%ed%[ab].%[89ab].)/).map((part, i) =>
      (i % 2 ? String.fromCharCode(0xd000 | lone(part)) : decodeURIComponent(part))).join(""); }
  catch { throw new BoilError("a text is too long, or no UTF-8"); } }
/** The length of a header's list, and its first item. */
function opened(read) { const tag = read.byte(), kind = { 0xdc: "Uint16", 0xdd: "Uint32" }[tag];
  const count = kind ? read.number(kind, false) : tag >> 4 === 9 ? tag & 15 : 0,
    config = count ? item(read, true) : 0;
  check(config === null || !Object.getPrototypeOf(config), "config"); return [count, config]; }
function item(read, floats) { // an item of a header's list
  const start = read.at, value = unpacked(read, floats);
  check(read.at - start <= 2 ** 20, "length of the header"); return value; }
const MSGPACK = ("Uint8 Uint16 Uint32 - - - Float32 Float64 Uint8 Uint16 Uint32 BigUint64 Int8 " +
  "Int16 Int32 BigInt64 - - - - - Uint8 Uint16 Uint32 Uint16 Uint32 Uint16 Uint32").split(" ");
function unpacked(read, floats, depth = 0) { // msgpack, without extensions
  const tag = read.byte(), kind = MSGPACK[tag - 0xc4]; check(depth <= 64 && tag !== 0xc1 && kind
    !== "-" && (floats || tag >> 1 !== 0x65), "header"); if (tag < 0x80 || tag >= 0xe0) return (tag
    << 24) >> 24; if (tag >= 0xc0 && tag < 0xc4) return [null, null, false, true][tag & 3];
  const value = kind ? read.number(kind, false) : tag & (tag >= 0xa0 ? 31 : 15), list = []; if (tag
    >= 0xca && tag <= 0xd3) return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (tag >= 0xc4 && tag <= 0xc6) return read.take(value).slice(); if (tag >= 0xd9 ? tag < 0xdc
    : tag >= 0xa0) return text(read.take(value)); const map = tag >= 0xde || tag < 0x90, found =
    Object.create(null); for (let i = 0; i < (map ? 2 : 1) * value; i++) { list.push(unpacked(read,
      floats, depth + 1)); check(!map || i % 2 || typeof list[i] === "string", "key in the config");
    if (map && i % 2) found[list[i - 1]] = list[i]; } return map ? found : list; }
function treeOf(lengths, fewest = 2) { // two each: a node, or -1 - symbol
  const used = lengths.filter(Boolean), whole = sum(used, (length) => 2 ** -length),
    tree = [], few = used.length >= fewest && used.length < 2 && 2 * whole === used.length;
  check((whole === 1 || few) && used.every((length) => length <= LONGEST), "table of a code");
  if (few) return used.map(() => -1 - lengths.indexOf(1)); for (let inner = 1,
    length = 1; inner; length++) { const start = tree.length, next = start / 2 + inner;
    lengths.forEach((bits, symbol) => bits === length && tree.push(-1 - symbol)); inner = 2 * inner
      - (tree.length - start); for (let i = 0; i < inner; i++) tree.push(next + i); } return tree; }
function symbolOf(tree, bit, node = 0) { // NaN where the tree has an end
  while (node >= 0) node = tree[2 * node + bit(node)]; return -1 - node; }
function inflated(data, most, dictionary = []) { // raw deflate, RFC 1951
  const out = dictionary.slice(), read = new Reader(data, 0, true), bit = () => read.bits(1), sure =
    (holds) => check(holds && out.length - dictionary.length <= most, "deflate stream"), block =
    (longs, fars) => { for (let code; (code = symbolOf(longs, bit)) !== 256; sure(code < 286)) {
      if (code < 256) out.push(code); else { const more = code < 265 || code > 284 ? 0
          : (code - 261) >> 2, least = more ? 3 + ((4 + ((code - 265) & 3)) << more) : code > 284
          ? 258 : code - 254, length = least + read.bits(more), far = symbolOf(fars, bit), wide =
          max(0, (far >> 1) - 1), near = wide ? (2 + (far & 1)) << wide : far, distance = 1 + near
          + read.bits(wide); sure(far < 30 && distance <= out.length); for (let i = 0; i < length;
          i++) out.push(out[out.length - distance]); } } }; for (let last = 0; !last; sure(true)) {
    last = read.bits(1); const kind = read.bits(2), lengths = [], short = Array(19).fill(0);
    sure(kind < 3); if (kind === 0) { read.left = 0; const size = read.bits(16);
      sure(read.bits(16) === (size ^ 0xffff)); for (const byte of read.take(size)) out.push(byte); }
    else if (kind === 1) { block(treeOf(range(288, (i) => 8 + (i > 143 && i < 256) - (i > 255 &&
        i < 280))), treeOf(even(5))); } else { const longs = read.bits(5) + 257, fars = read.bits(5)
        + 1, count = read.bits(4) + 4, order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3,
        13, 2, 14, 1, 15]; for (const place of order.slice(0, count)) short[place] = read.bits(3);
      for (const codes = treeOf(short); lengths.length < longs + fars; ) { const code =
          symbolOf(codes, bit), [last] = lengths.slice(-1); sure(code !== 16 || lengths.length);
        const times = code < 16 ? 1 : code < 18 ? 3 + read.bits(code - 14) : 11 + read.bits(7);
        lengths.push(...Array(times).fill(code < 16 ? code : code === 16 ? last : 0)); }
      sure(longs < 287 && fars < 31 && lengths.length === longs + fars && lengths[256]);
      block(treeOf(lengths.slice(0, longs), 1), treeOf(lengths.slice(longs), 0)); } }
  read.close(); return new U8(out.slice(dictionary.length)); }
function crc32(data, before = 0) { // of what follows what has the checksum before
  let crc = ~before; for (let i = 0; i < data.length; i++)
    crc = CRCS[(crc ^ data[i]) & 255] ^ (crc >>> 8); return ~crc >>> 0; }
const CRCS = U32.from(range(256, (byte) =>
  range(8, Number).reduce((crc) => (crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1), byte)));
const SIGMA = Array.from("0123456789abcdefea489fd61c02b753b8c052fdae3671947931dcbe265a40f8" +
  "905724afe1bc683d2c6a0b834d75fe19c51fed4a0763928bdb7ec13950f4862a6fe9b308c2d714a5" +
  "a2847615fb9e3cd0", (hex) => parseInt(hex, 16)),
  IV = U64.of(0x6a09e667f3bcc908n, 0xbb67ae8584caa73bn, 0x3c6ef372fe94f82bn, 0xa54ff53a5f1d36f1n,
    0x510e527fade682d1n, 0x9b05688c2b3e6c1fn, 0x1f83d9abfb41bd6bn, 0x5be0cd19137e2179n);
function blake2b(data) { // 16 bytes without a key, RFC 7693
  const h = IV.slice(), v = new U64(16), block = new U8(128), m = new U64(block.buffer), turn = (d,
    a, bits) => { const word = v[d] ^ v[a]; v[d] = (word >> bits) | (word << (64n - bits)); };
  h[0] ^= 0x01010010n; for (let at = 0, ends = false; !ends; ) {
    block.fill(0).set(data.subarray(at, at + 128)); at = min(at + 128, data.length);
    ends = at === data.length; v.set([...h, ...IV]); v[12] ^= big(at); if (ends) v[14] = ~v[14];
    for (let step = 0; step < 96; step++) { const a = step & 3, by = (step >> 2) & 1,
        order = 2 * (step % 80), [b, c, d] = [1, 2, 3].map((row) => 4 * row + ((a + row * by) & 3));
      [[0, 32n, 24n], [1, 16n, 63n]].forEach(([half, across, down]) => { v[a] +=
          v[b] + m[SIGMA[order + half]]; turn(d, a, across); v[c] += v[d]; turn(b, c, down); }); }
    h.forEach((word, i) => { h[i] = word ^ v[i] ^ v[i + 8]; }); } return new U8(h.buffer, 0, 16); }
function tensor(read, dtype, size, ruledOut = []) { // words as in version 1
  const first = read.byte(), coder = first % 4 === 1 ? first : first % 4, extra = first >> 2;
  if (coder === 0) return values(read, extra, size, dtype); if (coder === 1) return dense(read,
    dtype, size); if (coder < 4) return sparse(read, dtype, size, extra, coder === 3);
  check(WITHIN.includes(coder) && !ruledOut.includes(coder), "coder of a tensor");
  return { 5: signed, 9: grid, 13: planes }[coder](read, dtype, size); }
function values(read, form, count, dtype) { // in a form that may be narrower
  check(!form || (FORMS[dtype] || []).includes(form), `form ${form} of ${dtype}`);
  const width = bitsOf(dtype) / 8, Kind = STORED[form] || WORDS[width], step = form === 7 &&
    [read.number("Float32")], stored = copied(Kind, read.take(count * Kind.BYTES_PER_ELEMENT));
  if (form === 0) return noBool(stored, dtype); if (form === 7) return onGrid(step,
    stored, count, 0, 2 ** -149); if (form === 2) return U32.from(stored, (word) => word << 16);
  if (form > 3) return WORDS[width].from(stored, width === 8 ? big : Number);
  const [bits, bias, top] = form === 1 ? [10, 15, 15] : [23, 127, 31], floats = new (width === 4
    ? F32 : F64)(count), words = new WORDS[width](floats.buffer); stored.forEach((word, i) => {
    const part = word & (2 ** bits - 1), power = (word >>> bits) & (2 * bias + 1);
    const size = (part + (power && 2 ** bits)) * 2 ** ((power || 1) - bias - bits);
    floats[i] = (word >>> top ? -1 : 1) * (power > 2 * bias ? Infinity : size);
    if (power <= 2 * bias || !part) return; const kept = form === 3 ? part | 2 ** 22 : part;
    words[i] |= width === 4 ? kept << 13 : big(kept) << big(52 - bits); }); return words; }
const noBool = (words, dtype) =>
  (check(dtype !== "bool" || words.every((word) => word < 2), "bool"), words);
function grid(read, dtype, size) { const head = read.varint(), length = floor(head / 4),
    bySign = head % 2; check(dtype === "float32" && length >= 2 && size && size % length === 0,
    "length of blocks"); const steps = tensor(read, "float32", (size / length) * (1 + bySign),
    WITHIN), kind = head % 4 < 2 ? "int8" : "int16", numbers = new DTYPES[kind][0](tensor(read,
    kind, size, WITHIN).buffer); return onGrid(new F32(steps.buffer), numbers, length, bySign); }
function onGrid(steps, numbers, length, bySign, least = 2 ** -126) { // as words
  check(steps.every((step) => step >= least && step < Infinity) && numbers.every((number) =>
    number > -256 && number < 256), "grid"); return new U32(F32.from(numbers, (number, i) =>
    number * steps[floor(i / length) * (1 + bySign) + (bySign && number >= 0)]).buffer); }
function planes(read, dtype, size) { // lowest bytes first, signs lowest
  const bits = bitsOf(dtype), width = bits / 8, turned = new U8(width * size);
  check(width > 1, "width of planes"); for (let place = 0; place < width; place++) {
    tensor(read, "uint8", size, WITHIN).forEach((byte, i) => {
      turned[i * width + place] = byte; }); } return new WORDS[width](turned.buffer).map(width === 8
    ? (word) => (word >> 1n) | (word << 63n) : (word) => (word >>> 1) | (word << (bits - 1))); }
function signed(read, dtype, size) { const words = tensor(read, dtype, size, [5]),
    width = zerosOf(dtype); check(width, "sign of a zero"); const minus = width === 8 ? 1n << 63n
    : 2 ** (8 * width - 1), floats = new WORDS[width](words.buffer); floats.forEach((word, i) => {
    if (!word && read.bits(1)) floats[i] = minus; }); read.align(); return words; }
function dense(read, dtype, count) { const head = read.byte(), method = head & 15, fixed = method
    ? 1 : read.varint(); check(method < 3 && fixed >= 1 && fixed <= 65536, "codebook");
  const table = [() => even(32 - clz32(fixed - 1)), rankedLengths, frequencies][method](read),
    book = values(read, head >> 4, method ? table.length : fixed, dtype),
    codes = (method === 2 ? byRanges : symbols)(read, table, count); check(codes.every((code) =>
    code < book.length), "code"); return book.constructor.from(codes, (code) => book[code]); }
/** Zeros, and elements where the gaps between them say. */
function sparse(read, dtype, size, extra, coded) { const width = (extra & 7) + 1,
    count = read.varint(), filler = 2 ** width - 1; check(count >= 1 && count <= size && extra < 16,
    "number of gaps"); const gaps = symbols(read, extra > 7 ? gapLengths(read, 2 ** width)
    : even(width), count), placed = sum(gaps, (gap) => (gap < filler)), ends = sum(gaps,
    (gap) => gap) + placed; check(gaps[count - 1] < filler && ends <= size, "list of gaps");
  const found = coded ? dense(read, dtype, placed) : values(read, read.byte(), placed, dtype),
    words = new found.constructor(size); let at = -1, next = 0; for (const gap of gaps)
    if (gap === filler) at += gap; else words[(at += gap + 1)] = found[next++]; return words; }
function frequencies(read, last = 4096) { // falling, that make up 4096
  const size = read.varint(), parts = range(min(size, 1025), () => (last -= read.varint()));
  check(size <= 1024 && last > 0 && sum(parts, Number) === 4096, "list of frequencies");
  return parts; }
/** So many symbols of a static range coder, whose four streams take turns. */
function byRanges(read, parts, count) { const slots = parts.flatMap((part, symbol) => range(part,
    (inside) => [symbol, part, inside])), states = range(count && 4, () => read.number("Uint32")),
    found = new U16(ceil(count / 4) * 4).map((_, i) => { const [symbol, part,
      inside] = slots[states[i & 3] % 4096], state = part * floor(states[i & 3] / 4096) + inside;
    states[i & 3] = state < 65536 ? state * 65536 + read.number("Uint16") : state;
    return symbol; }); check(states.every((state) => state === 65536), "end of a stream");
  return found.subarray(0, count); }
function rankedLengths(read) { // how many codes have 0, 1, 2, ... bits
  const lengths = []; for (let free = 1, length = 0; free; length++) {
    const count = read.bits(32 - clz32(free)); check(length <= LONGEST && count <= free &&
      lengths.length + count <= 65536, "table of a code"); for (let i = 0; i < count; i++)
      lengths.push(length); free = (free - count) * 2; } read.align(); return lengths; }
function gapLengths(read, alphabet) { // by differences, and runs of none
  const lengths = []; for (let last = 1, run = 0, zeros = 0; lengths.length < alphabet;
    run = zeros = 0) { if (read.bits(1)) { if (!read.bits(1)) last += read.bits(1) ? -1 : 1;
      else if (read.bits(1)) last = read.bits(5); else {
        while (zeros <= LONGEST && !read.bits(1)) zeros++; run = 2 ** zeros + read.bits(zeros); } }
    check(run ? lengths.length + run <= alphabet : last > 0 && last <= LONGEST, "table of a code");
    lengths.push(...(run ? Array(run).fill(0) : [last])); } read.align(); return lengths; }
function symbols(read, lengths, count) { const tree = lengths.length > 1 ? treeOf(lengths) : null,
    bit = () => read.bits(1), found = new U16(count).map(() => (tree ? symbolOf(tree, bit) : 0));
  read.align(); return found; }
const STRETCH = range(4096, (i) => round(256 * log((i + 0.5) / (4095.5 - i))));
const SQUASH = range(5631, (i) => round(min(max(65536 / (1 + exp((2815 - i) / 256)), 1), 65535)));
const RATE = range(1001, (n) => floor(655360 / (10 * n + 16)));
const UNKNOWN = 2 ** 31; // a counter: 22 bits of probability, 10 of how often it was moved
const [FORM,
  SIGNED, ZERO, CODED, SHAPE, LIVE, ALIVE, TURNED, ALONE, BY_SIGN] = range(10, (i) => 16 * i);
const [SIZE, DROP, WIDTH, FIRST, LENGTH, KEYS, LENGTHS] = [160, 224, 288, 352, 416, 480, 608];
const PARTS = { complex32: "float16", complex64: "float32", complex128: "float64" };
const ARRAYS = { 1: NAMES.slice(0, 4),
  5: NAMES.filter((name) => /^u?int/.test(name)), 6: [NAMES[0]] };
const WAYS = "codebook floats integers plainly deflated steps grid difference".split(" ");
class Mixing { // reads decisions from the front of a stream, bits as they are from its end
  constructor(data) { Object.assign(this, { data, low: 0, high: 0xffffffff, value: 0, at: 0 });
    for (let i = 0; i < 4; i++) this.shift(); [this.low, this.high] = [0, 0xffffffff];
    this.back = new Reader(data.slice().reverse(), 0, true);
    this.counters = new U32(1472).fill(UNKNOWN); this.weights = new F64(64 * 6).fill(10486); }
  shift() { // a byte
    check(this.at < this.data.length + 4, "end of a stream");
    [this.low, this.high] = [(this.low << 8) >>> 0, ((this.high << 8) | 255) >>> 0];
    this.value = ((this.value << 8) | (this.data[this.at++] || 0)) >>> 0; }
  close() { // a stream ends as it is written
    const end = this.data.length - this.back.at, ending = this.data.subarray(this.at - 4, end),
      least = (unit) => ceil(this.low / unit) * unit, unit = [4, 3,
      2, 1, 0].map((n) => 256 ** n).find((n) => least(n) + n - 1 <= this.high); this.back.align();
    check(this.at - 4 <= end && 256 ** ending.length * unit === 2 ** 32 && ending.every((byte, i) =>
      byte === (least(unit) >>> (24 - 8 * i)) % 256), "end of a stream"); }
  decide(chance) { // 1 with a probability of chance / 65536
    const middle = this.low + floor(((this.high - this.low) * chance) / 65536),
      bit = this.value <= middle ? 1 : 0; if (bit) this.high = middle; else this.low = middle + 1;
    while (((this.low ^ this.high) & 0xff000000) === 0) this.shift(); return bit; }
  counted(place, counters = this.counters, most = 250) { // by a counter
    const bit = this.decide(max(counters[place] >>> 16, 1));
    counters[place] = renewed(counters[place], bit, most); return bit; }
  small(place, most, count = 0) { // a number from 0 to most
    while (count < most && this.counted(place + count)) count++; return count; }
  tree(place, bits, node = 1) { // a number of so many bits
    for (let i = 0; i < bits; i++) node = 2 * node + this.counted(place + node);
    return node - 2 ** bits; }
  large(place) { // a number below 2^63, a BigInt
    const length = this.tree(place, 6);
    return big(length && `0b1${range(length - 1, () => this.decide(32768)).join("")}`); }
  number(place) { return Number(this.large(place)); } // rounded beyond 2^53, which no bound is
  plain(width) { // so many bits as they are, a BigInt
    const low = big(this.back.bits(min(width, 32)));
    return width > 32 ? low | (this.plain(width - 32) << 32n) : low; }
  words({ dtype, size, columns }, base) { // an array; complex ones as real
    const bits = bitsOf(dtype), Words = WORDS[bits / 8], part = PARTS[dtype]; if (part) {
      const times = bits / bitsOf(part), held = base && new WORDS[bitsOf(part) / 8](base.buffer),
        inner = { dtype: part, size: size * times, columns: columns * times };
      return new Words(this.words(inner, held).buffer); } const signed = zerosOf(dtype) &&
      this.small(SIGNED, 1); return noBool(Words.from(this.keys({ dtype, size, columns }, base, 8),
      (key) => { const word = unfold(dtype, !key && signed ? this.plain(1) : key);
      return bits < 64 ? Number(word) : word; }), dtype); }
  keys(kind, base, most) { // in one of the first forms
    const form = this.small(FORM, 8);
    check(form < most && (ARRAYS[form] || NAMES).includes(kind.dtype) && (form < 7 || base),
      `form ${form} of ${kind.dtype}`); return this[WAYS[form]](kind, base); }
  codebook({ dtype, size, columns }) { // rising keys, and places among them
    const count = this.number(SIZE) + 1, drop = zerosOf(dtype) ? this.number(DROP) : 0;
    check(count <= min(1024, size) && drop < bitsOf(dtype), "codebook"); let key = -1n; const book =
      range(count, (i) => { key += this.large(KEYS + (i ? 64 : 0)) + 1n; return ((key >> 1n)
        << big(drop + 1)) | (key & 1n); }); check(key < 1n << big(min(bitsOf(dtype) - drop, 62)),
      "codebook"); return U64.from(this.matrix(size, columns, count), (symbol) => book[symbol]); }
  /** Exponents as a matrix of symbols, then signs and mantissas. */
  floats({ dtype, size, columns }) {
    const bits = bitsOf(dtype) - 1, drop = this.number(DROP), low = this.number(WIDTH),
      coded = this.small(CODED, 6), none = this.small(ZERO, 1), least = this.large(FIRST),
      span = this.number(SIZE) + 1; check(drop + low < bits && 8 * coded <= low &&
      span <= 1024 && least + big(span - none) <= 1n << big(bits - drop - low), "range of floats");
    const heads = this.matrix(size, columns, span), count = sum(heads, (head) => (head >= none)),
      bytes = range(coded, () => this.matrix(count, count, 256)); let next = 0;
    return U64.from(heads, (head) => { if (head < none) return 0n; const lowest = big(sum(bytes,
        (plane, i) => plane[next] * 256 ** i)), power = big(head - none), rest = this.plain(low
        - 8 * coded + 1), mantissa = ((rest >> 1n) << big(8 * coded)) | lowest; next++;
      return ((((power + least) << big(low)) | mantissa) << big(drop + 1)) | (rest & 1n); }); }
  integers({ dtype, size, columns }) { // the highest bits as symbols
    const fine = this.small(CODED, 3), count = this.number(SIZE) + 1, one = 1 << fine; check(count
      <= (bitsOf(dtype) - fine + 1) * one, "range of integers"); return U64.from(this.matrix(size,
      columns, count), (symbol) => { const width = max((symbol >> fine) - 1, 0), head = width
        ? (symbol % one) | one : symbol; return (big(head) << big(width)) | this.plain(width); }); }
  plainly({ dtype, size }) { return new U64(size).map(() => this.plain(bitsOf(dtype))); }
  /** The lowest bytes of all keys, then the next, ..., deflated. */
  deflated({ dtype, size, columns }) { const turned = this.small(TURNED, 1),
      length = this.number(LENGTH), width = bitsOf(dtype) / 8; check(length <= this.data.length,
      "deflate stream"); const planes = inflated(new U8(length).map(() => this.back.bits(8)),
      size * width); check(planes.length === size * width, "deflate stream");
    const bytes = new U8(8 * size), rows = size / columns; planes.forEach((byte, at) => {
      const i = at % size, to = turned ? (i % rows) * columns + floor(i / rows) : i;
      bytes[8 * to + floor(at / size)] = byte; }); return new U64(bytes.buffer); }
  unsigned(kind) { return this.keys({ ...kind, dtype: `uint${bitsOf(kind.dtype)}` }, null, 5); }
  /** Integers by their differences to the one before. */
  steps(kind) {
    const bits = bitsOf(kind.dtype); let word = 0n; return this.unsigned(kind).map((key) =>
      fold(kind.dtype, (word = cut(bits, word + zigzag(key))))); }
  grid(kind) { const length = this.number(LENGTH), bySign = this.small(BY_SIGN, 1);
    check(length >= 2 && kind.size % length === 0, "length of blocks");
    const size = (kind.size / length) * (1 + bySign),
      steps = this.keys({ dtype: "float32", size, columns: size }, null, 6); const numbers =
      I16.from(this.keys({ ...kind, dtype: "int16" }, null, 6), (key) => Number(zigzag(key)));
    const sizes = new F32(U32.from(steps, (key) => Number(unfold("float32", key))).buffer);
    return U64.from(onGrid(sizes, numbers, length, bySign), (word) => fold("float32", big(word))); }
  /** Differences to the words of a base, both in the order of their numbers. */
  difference(kind, base) { const bits = bitsOf(kind.dtype),
      top = big(bits - 1), float = zerosOf(kind.dtype); return this.unsigned(kind).map((key, i) => {
      const word = big(base[i]), rank = float && word >> top ? ~(word ^ (1n << top)) : word,
        moved = cut(bits, rank + zigzag(key)), minus = moved >> top; return float
        ? cut(bits, (minus ? ~moved : moved) << 1n) | minus : fold(kind.dtype, moved); }); }
  /** A matrix of so many symbols, each below `size`. */
  matrix(count, columns, size) { const found = new U16(count); if (size < 2 || count === 0)
      return found; const live = count > columns && this.small(LIVE, 1), [down, along] = [count /
      columns, columns].map((side, axis) => { let flags = 0; return range(side, Number).filter(() =>
        !live || (flags = (2 * flags + this.counted(ALIVE + 8 * axis + flags)) & 7) & 1); });
    const turned = min(down.length, along.length) > 1 && this.small(TURNED, 1),
      total = down.length * along.length, across = (turned ? down : along).length;
    if (!total) return found; const alone = this.small(ALONE, 1), lengths = this.lengths(size),
      tree = treeOf(lengths), own = new U32(tree.length / 2).fill(UNKNOWN), bit = (node) =>
      this.counted(node, own, 1000), symbols = alone ? new U16(total).map(() => symbolOf(tree, bit))
      : this.plane(total, across, tree, lengths); symbols.forEach((symbol, i) => {
      const first = floor(i / across), second = i % across; found[down[turned
        ? second : first] * columns + along[turned ? first : second]] = symbol; }); return found; }
  lengths(size) { const shape = size > 2 ? this.small(SHAPE, 2) : 0, rest = size - shape;
    let last = 0; if (shape > 1) return range(size, () => (last = this.tree(LENGTHS + 32 * min(last,
      26), 5))); const bits = 32 - clz32(rest - 1), short = 2 ** bits - rest;
    return [...Array(shape).fill(1), ...range(rest, (i) => shape + bits - (i < short ? 1 : 0))]; }
  /** Symbols by six counters that are mixed. */
  plane(count, columns, tree, lengths) { const nodes = tree.length / 2, single = count === columns,
      { weights } = this; const top = single ? 0 : min(4, nodes), others = 2 * nodes + columns *
      top, counters = new U32(others + 577 * nodes).fill(UNKNOWN), means = new F64(columns), seen =
      new F64(columns), found = new U16(count), inputs = new F64(6), towards = (mean, to, n) => mean
      + floor(((to - mean) * RATE[n]) / 65536), age = (n) => (n < 2 ? n : n < 16 ? 2 : 3), parts =
      lengths.map((length) => (length ? 2 ** (24 - length) : 0)); let overall = 32768, mean = 32768,
      below = 0; const levels = parts.map((part) => (((below += part) - part + (part >> 1)) >> 12)
      << 4); for (let at = 0; at < count; at++) { const column = at % columns, kept = single
        ? 0 : column; if (column === 0) mean = (counters.fill(UNKNOWN, nodes, 2 * nodes), overall);
      if (seen[kept] === 0) means[kept] = overall; const near = (holds, back) =>
        (holds ? levels[found[at - back]] >> 13 : 0), fourth = others + nodes + near(at >= columns,
        columns) * 8 + near(column, 1), ages = age(column) * 4 + age(seen[kept]), fifth = others +
        65 * nodes + (mean >> 12) * 16 + (means[kept] >> 12), sixth = others + 321 * nodes + ((mean
        + means[kept]) >> 12) * 8 + near(column > 1, 2); found[at] = symbolOf(tree, (node) => {
        const set = 6 * (min(node, 3) * 16 + ages), third = node < top ? 2 * nodes + column
          * top + node : others + node, places = [node, nodes + node, third, fourth + 64 * node,
          fifth + 256 * node, sixth + 256 * node]; let total = 0; for (let i = 0; i < 6; i++) {
          inputs[i] = STRETCH[counters[places[i]] >>> 20]; total += inputs[i] * weights[set + i]; }
        const chance = SQUASH[min(max(floor(total / 65536), -2815), 2815) + 2815],
          bit = this.decide(chance), error = (bit * 65536 - chance) * 3;
        for (let i = 0; i < 6; i++) { weights[set + i] += (inputs[i] * error + 131072) >> 18;
          counters[places[i]] = renewed(counters[places[i]], bit, 1000); } return bit; });
      const level = levels[found[at]]; mean = towards(mean, level, min(column, 100));
      means[kept] = towards(means[kept], level, min(seen[kept]++, 100));
      overall = towards(overall, level, min(at, 1000)); } return found; } }
function renewed(counter, bit, most) { const seen = counter & 1023, chance = counter >>> 10,
    moved = chance + floor(((bit * 4194304 - chance) * RATE[seen]) / 65536);
  return moved * 1024 + (seen < most ? seen + 1 : seen); }
const zigzag = (key) => (key & 1n ? ~(key >> 1n) : key >> 1n); // as a signed number
function fold(dtype, word) { // a word as a key: signs lowest
  const bits = bitsOf(dtype), minus = word >> big(bits - 1), float = zerosOf(dtype);
  if (!float && !dtype.startsWith("int")) return word;
  return cut(bits, float ? (word << 1n) | minus : minus ? ~(word << 1n) : word << 1n); }
function unfold(dtype, key) { const bits = bitsOf(dtype); if (zerosOf(dtype)) return (key >> 1n) |
    ((key & 1n) << big(bits - 1)); return dtype.startsWith("int") ? cut(bits, zigzag(key)) : key; }
function main(file, ...options) { // the command line
  const fs = require("fs"), option = (name) => options[options.indexOf(name) + 1 || options.length],
    plain = (_, value) => (value instanceof U8 ? Buffer.from(value).toString("hex")
    : typeof value === "bigint" ? String(value) : value); try { const base = option("--base") &&
      decode(fs.readFileSync(option("--base"))), out = option("-o"), { tensors, names, config } =
      decode(fs.readFileSync(file), base); if (out) fs.mkdirSync(out, { recursive: true });
    const rows = names.map((name, i) => { const { dtype, shape, data } = tensors[name],
        file = `${i}.bin`; console.log([JSON.stringify(name), dtype, JSON.stringify(shape),
        data.byteLength].join("\t")); if (out) fs.writeFileSync(`${out}/${file}`, data); return {
        name, dtype, shape, file }; }); console.log(`config\t${JSON.stringify(config, plain)}`);
    const index = `${JSON.stringify({ config, tensors: rows }, plain, 1)}\n`;
    if (out) fs.writeFileSync(`${out}/index.json`, index); }
  catch (error) { if (!(error instanceof BoilError) && !error.code) throw error;
    console.error(`boil.js: ${error.message}`); process.exitCode = 1; } }
// boildown's codec/dictionary.bin, in base 64
const DICTIONARY = "lMCQ3AAX2SFlbWJlZGRpbmdzLndvcmRfZW1iZWRkaW5ncy53ZWlnaHTZJWVtYmVkZGluZ3MucG9zaXRpb25fZW1iZWRkaW5ncy53ZWlnaHTZJ2VtYmVkZGluZ3MudG9rZW5fdHlwZV9lbWJlZGRpbmdzLndlaWdodLtlbWJlZGRpbmdzLkxheWVyTm9ybS53ZWlnaHS5ZW1iZWRkaW5ncy5MYXllck5vcm0uYmlhc9krZW5jb2Rlci5sYXllci4wLmF0dGVudGlvbi5zZWxmLnF1ZXJ5LndlaWdodNkpZW5jb2Rlci5sYXllci4wLmF0dGVudGlvbi5zZWxmLnF1ZXJ5LmJpYXPZKWVuY29kZXIubGF5ZXIuMC5hdHRlbnRpb24uc2VsZi5rZXkud2VpZ2h02SdlbmNvZGVyLmxheWVyLjAuYXR0ZW50aW9uLnNlbGYua2V5LmJpYXPZK2VuY29kZXIubGF5ZXIuMC5hdHRlbnRpb24uc2VsZi52YWx1ZS53ZWlnaHTZKWVuY29kZXIubGF5ZXIuMC5hdHRlbnRpb24uc2VsZi52YWx1ZS5iaWFz2S1lbmNvZGVyLmxheWVyLjAuYXR0ZW50aW9uLm91dHB1dC5kZW5zZS53ZWlnaHTZK2VuY29kZXIubGF5ZXIuMC5hdHRlbnRpb24ub3V0cHV0LmRlbnNlLmJpYXPZMWVuY29kZXIubGF5ZXIuMC5hdHRlbnRpb24ub3V0cHV0LkxheWVyTm9ybS53ZWlnaHTZL2VuY29kZXIubGF5ZXIuMC5hdHRlbnRpb24ub3V0cHV0LkxheWVyTm9ybS5iaWFz2SllbmNvZGVyLmxheWVyLjAuaW50ZXJtZWRpYXRlLmRlbnNlLndlaWdodNknZW5jb2Rlci5sYXllci4wLmludGVybWVkaWF0ZS5kZW5zZS5iaWFz2SNlbmNvZGVyLmxheWVyLjAub3V0cHV0LmRlbnNlLndlaWdodNkhZW5jb2Rlci5sYXllci4wLm91dHB1dC5kZW5zZS5iaWFz2SdlbmNvZGVyLmxheWVyLjAub3V0cHV0LkxheWVyTm9ybS53ZWlnaHTZJWVuY29kZXIubGF5ZXIuMC5vdXRwdXQuTGF5ZXJOb3JtLmJpYXOzcG9vbGVyLmRlbnNlLndlaWdodLFwb29sZXIuZGVuc2UuYmlhc9wAXAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAlMCQ3AARtnRyYW5zZm9ybWVyLnd0ZS53ZWlnaHS2dHJhbnNmb3JtZXIud3BlLndlaWdodLt0cmFuc2Zvcm1lci5oLjAubG5fMS53ZWlnaHS5dHJhbnNmb3JtZXIuaC4wLmxuXzEuYmlhc9kidHJhbnNmb3JtZXIuaC4wLmF0dG4uY19hdHRuLndlaWdodNkgdHJhbnNmb3JtZXIuaC4wLmF0dG4uY19hdHRuLmJpYXPZInRyYW5zZm9ybWVyLmguMC5hdHRuLmNfcHJvai53ZWlnaHTZIHRyYW5zZm9ybWVyLmguMC5hdHRuLmNfcHJvai5iaWFzu3RyYW5zZm9ybWVyLmguMC5sbl8yLndlaWdodLl0cmFuc2Zvcm1lci5oLjAubG5fMi5iaWFzv3RyYW5zZm9ybWVyLmguMC5tbHAuY19mYy53ZWlnaHS9dHJhbnNmb3JtZXIuaC4wLm1scC5jX2ZjLmJpYXPZIXRyYW5zZm9ybWVyLmguMC5tbHAuY19wcm9qLndlaWdodL90cmFuc2Zvcm1lci5oLjAubWxwLmNfcHJvai5iaWFzt3RyYW5zZm9ybWVyLmxuX2Yud2VpZ2h0tXRyYW5zZm9ybWVyLmxuX2YuYmlhc65sbV9oZWFkLndlaWdodNwARAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAlMCQm7ltb2RlbC5lbWJlZF90b2tlbnMud2VpZ2h02SZtb2RlbC5sYXllcnMuMC5zZWxmX2F0dG4ucV9wcm9qLndlaWdodNkmbW9kZWwubGF5ZXJzLjAuc2VsZl9hdHRuLmtfcHJvai53ZWlnaHTZJm1vZGVsLmxheWVycy4wLnNlbGZfYXR0bi52X3Byb2oud2VpZ2h02SZtb2RlbC5sYXllcnMuMC5zZWxmX2F0dG4ub19wcm9qLndlaWdodNkjbW9kZWwubGF5ZXJzLjAubWxwLmdhdGVfcHJvai53ZWlnaHTZIW1vZGVsLmxheWVycy4wLm1scC51cF9wcm9qLndlaWdodNkjbW9kZWwubGF5ZXJzLjAubWxwLmRvd25fcHJvai53ZWlnaHTZJW1vZGVsLmxheWVycy4wLmlucHV0X2xheWVybm9ybS53ZWlnaHTZLm1vZGVsLmxheWVycy4wLnBvc3RfYXR0ZW50aW9uX2xheWVybm9ybS53ZWlnaHSxbW9kZWwubm9ybS53ZWlnaHTcACwAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQJTAkNwAGqxjb252MS53ZWlnaHSqYm4xLndlaWdodKhibjEuYmlhc7BibjEucnVubmluZ19tZWFur2JuMS5ydW5uaW5nX3ZhcrdibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjEuMC5jb252MS53ZWlnaHSzbGF5ZXIxLjAuYm4xLndlaWdodLFsYXllcjEuMC5ibjEuYmlhc7lsYXllcjEuMC5ibjEucnVubmluZ19tZWFuuGxheWVyMS4wLmJuMS5ydW5uaW5nX3ZhctkgbGF5ZXIxLjAuYm4xLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIxLjAuY29udjIud2VpZ2h0s2xheWVyMS4wLmJuMi53ZWlnaHSxbGF5ZXIxLjAuYm4yLmJpYXO5bGF5ZXIxLjAuYm4yLnJ1bm5pbmdfbWVhbrhsYXllcjEuMC5ibjIucnVubmluZ192YXLZIGxheWVyMS4wLmJuMi5udW1fYmF0Y2hlc190cmFja2VkvGxheWVyMi4wLmRvd25zYW1wbGUuMC53ZWlnaHS8bGF5ZXIyLjAuZG93bnNhbXBsZS4xLndlaWdodLpsYXllcjIuMC5kb3duc2FtcGxlLjEuYmlhc9kibGF5ZXIyLjAuZG93bnNhbXBsZS4xLnJ1bm5pbmdfbWVhbtkhbGF5ZXIyLjAuZG93bnNhbXBsZS4xLnJ1bm5pbmdfdmFy2SlsYXllcjIuMC5kb3duc2FtcGxlLjEubnVtX2JhdGNoZXNfdHJhY2tlZKlmYy53ZWlnaHSnZmMuYmlhc9wAaAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAlISoX3RhcmdldF/ZJWJvaWxkb3duLm1vZGVscy5zcXVlZXplbmV0LlNxdWVlemVOZXSnZHJvcG91dMs/4AAAAAAAAKtpbnB1dF9zaGFwZZMDzODM4KtudW1fY2xhc3Nlc80D6JDcADSsY29udjEud2VpZ2h0qmNvbnYxLmJpYXO3ZmlyZTIuc3F1ZWV6ZTF4MS53ZWlnaHS1ZmlyZTIuc3F1ZWV6ZTF4MS5iaWFztmZpcmUyLmV4cGFuZDF4MS53ZWlnaHS0ZmlyZTIuZXhwYW5kMXgxLmJpYXO2ZmlyZTIuZXhwYW5kM3gzLndlaWdodLRmaXJlMi5leHBhbmQzeDMuYmlhc7dmaXJlMy5zcXVlZXplMXgxLndlaWdodLVmaXJlMy5zcXVlZXplMXgxLmJpYXO2ZmlyZTMuZXhwYW5kMXgxLndlaWdodLRmaXJlMy5leHBhbmQxeDEuYmlhc7ZmaXJlMy5leHBhbmQzeDMud2VpZ2h0tGZpcmUzLmV4cGFuZDN4My5iaWFzt2ZpcmU0LnNxdWVlemUxeDEud2VpZ2h0tWZpcmU0LnNxdWVlemUxeDEuYmlhc7ZmaXJlNC5leHBhbmQxeDEud2VpZ2h0tGZpcmU0LmV4cGFuZDF4MS5iaWFztmZpcmU0LmV4cGFuZDN4My53ZWlnaHS0ZmlyZTQuZXhwYW5kM3gzLmJpYXO3ZmlyZTUuc3F1ZWV6ZTF4MS53ZWlnaHS1ZmlyZTUuc3F1ZWV6ZTF4MS5iaWFztmZpcmU1LmV4cGFuZDF4MS53ZWlnaHS0ZmlyZTUuZXhwYW5kMXgxLmJpYXO2ZmlyZTUuZXhwYW5kM3gzLndlaWdodLRmaXJlNS5leHBhbmQzeDMuYmlhc7dmaXJlNi5zcXVlZXplMXgxLndlaWdodLVmaXJlNi5zcXVlZXplMXgxLmJpYXO2ZmlyZTYuZXhwYW5kMXgxLndlaWdodLRmaXJlNi5leHBhbmQxeDEuYmlhc7ZmaXJlNi5leHBhbmQzeDMud2VpZ2h0tGZpcmU2LmV4cGFuZDN4My5iaWFzt2ZpcmU3LnNxdWVlemUxeDEud2VpZ2h0tWZpcmU3LnNxdWVlemUxeDEuYmlhc7ZmaXJlNy5leHBhbmQxeDEud2VpZ2h0tGZpcmU3LmV4cGFuZDF4MS5iaWFztmZpcmU3LmV4cGFuZDN4My53ZWlnaHS0ZmlyZTcuZXhwYW5kM3gzLmJpYXO3ZmlyZTguc3F1ZWV6ZTF4MS53ZWlnaHS1ZmlyZTguc3F1ZWV6ZTF4MS5iaWFztmZpcmU4LmV4cGFuZDF4MS53ZWlnaHS0ZmlyZTguZXhwYW5kMXgxLmJpYXO2ZmlyZTguZXhwYW5kM3gzLndlaWdodLRmaXJlOC5leHBhbmQzeDMuYmlhc7dmaXJlOS5zcXVlZXplMXgxLndlaWdodLVmaXJlOS5zcXVlZXplMXgxLmJpYXO2ZmlyZTkuZXhwYW5kMXgxLndlaWdodLRmaXJlOS5leHBhbmQxeDEuYmlhc7ZmaXJlOS5leHBhbmQzeDMud2VpZ2h0tGZpcmU5LmV4cGFuZDN4My5iaWFzrWNvbnYxMC53ZWlnaHSrY29udjEwLmJpYXPcAOoABGADBwcAAWAABBBgAQEAARAABEAQAQEAAUAABEAQAwMAAUAABBDMgAEBAAEQAARAEAEBAAFAAARAEAMDAAFAAAQgzIABAQABIAAEzIAgAQEAAcyAAATMgCADAwABzIAABCDNAQABAQABIAAEzIAgAQEAAcyAAATMgCADAwABzIAABDDNAQABAQABMAAEzMAwAQEAAczAAATMwDADAwABzMAABDDNAYABAQABMAAEzMAwAQEAAczAAATMwDADAwABzMAABEDNAYABAQABQAAEzQEAQAEBAAHNAQAABM0BAEADAwABzQEAAARAzQIAAQEAAUAABM0BAEABAQABzQEAAATNAQBAAwMAAc0BAAAEzQPozQIAAQEAAc0D6JSEqF90YXJnZXRfuWJvaWxkb3duLm1vZGVscy52Z2cuVkdHMTanZHJvcG91dMs/4AAAAAAAAKtpbnB1dF9zaGFwZZMDzODM4KtudW1fY2xhc3Nlc80D6JDcACCuY29udjFfMS53ZWlnaHSsY29udjFfMS5iaWFzrmNvbnYxXzIud2VpZ2h0rGNvbnYxXzIuYmlhc65jb252Ml8xLndlaWdodKxjb252Ml8xLmJpYXOuY29udjJfMi53ZWlnaHSsY29udjJfMi5iaWFzrmNvbnYzXzEud2VpZ2h0rGNvbnYzXzEuYmlhc65jb252M18yLndlaWdodKxjb252M18yLmJpYXOuY29udjNfMy53ZWlnaHSsY29udjNfMy5iaWFzrmNvbnY0XzEud2VpZ2h0rGNvbnY0XzEuYmlhc65jb252NF8yLndlaWdodKxjb252NF8yLmJpYXOuY29udjRfMy53ZWlnaHSsY29udjRfMy5iaWFzrmNvbnY1XzEud2VpZ2h0rGNvbnY1XzEuYmlhc65jb252NV8yLndlaWdodKxjb252NV8yLmJpYXOuY29udjVfMy53ZWlnaHSsY29udjVfMy5iaWFzqmZjNi53ZWlnaHSoZmM2LmJpYXOqZmM3LndlaWdodKhmYzcuYmlhc6pmYzgud2VpZ2h0qGZjOC5iaWFz3ACKAARAAwMDAAFAAARAQAMDAAFAAATMgEADAwABzIAABMyAzIADAwABzIAABM0BAMyAAwMAAc0BAAAEzQEAzQEAAwMAAc0BAAAEzQEAzQEAAwMAAc0BAAAEzQIAzQEAAwMAAc0CAAAEzQIAzQIAAwMAAc0CAAAEzQIAzQIAAwMAAc0CAAAEzQIAzQIAAwMAAc0CAAAEzQIAzQIAAwMAAc0CAAAEzQIAzQIAAwMAAc0CAAACzRAAzWIAAAHNEAAAAs0QAM0QAAABzRAAAALNA+jNEAAAAc0D6JSEqF90YXJnZXRfv2JvaWxkb3duLm1vZGVscy5hbGV4bmV0LkFsZXhOZXSnZHJvcG91dMs/4AAAAAAAAKtpbnB1dF9zaGFwZZMDzOPM46tudW1fY2xhc3Nlc80D6JDcABCsY29udjEud2VpZ2h0qmNvbnYxLmJpYXOsY29udjIud2VpZ2h0qmNvbnYyLmJpYXOsY29udjMud2VpZ2h0qmNvbnYzLmJpYXOsY29udjQud2VpZ2h0qmNvbnY0LmJpYXOsY29udjUud2VpZ2h0qmNvbnY1LmJpYXOqZmM2LndlaWdodKhmYzYuYmlhc6pmYzcud2VpZ2h0qGZjNy5iaWFzqmZjOC53ZWlnaHSoZmM4LmJpYXPcAEIABGADCwsAAWAABM0BADAFBQABzQEAAATNAYDNAQADAwABzQGAAATNAYDMwAMDAAHNAYAABM0BAMzAAwMAAc0BAAACzRAAzSQAAAHNEAAAAs0QAM0QAAABzRAAAALNA+jNEAAAAc0D6JSDqF90YXJnZXRf2SZib2lsZG93bi5sb3dyYW5rLmZhY3Rvcml6ZS5yZXN0cnVjdHVyZaVtb2RlbIOoX3RhcmdldF++Ym9pbGRvd24ubW9kZWxzLmxlbmV0LkxlTmV0MzAwq2lucHV0X3NoYXBlkwEICKtudW1fY2xhc3Nlcwqpc3RydWN0dXJlgqNmYzGCpnNjaGVtZaZsaW5lYXKkcmFuay+jZmMygqZzY2hlbWWmbGluZWFypHJhbmsQkJisZmMxLnYud2VpZ2h0rGZjMS51LndlaWdodKpmYzEudS5iaWFzrGZjMi52LndlaWdodKxmYzIudS53ZWlnaHSqZmMyLnUuYmlhc6pmYzMud2VpZ2h0qGZjMy5iaWFz3AAdAAIvQAACzQEsLwABzQEsAAIQzQEsAAJkEAABZAACCmQAAQqUiKhfdGFyZ2V0X9kgYm9pbGRvd24ubW9kZWxzLnRyYW5zZm9ybWVyLkJFUlSld2lkdGjMgKVkZXB0aAKlaGVhZHPApHRpZWTCp2Ryb3BvdXTLAAAAAAAAAACraW5wdXRfc2hhcGWRQKtudW1fY2xhc3Nlc80BAJDcABCsZW1iZWQud2VpZ2h0r3Bvc2l0aW9uLndlaWdodLVibG9ja3MuMC5ub3JtMS53ZWlnaHSzYmxvY2tzLjAucWt2LndlaWdodLNibG9ja3MuMC5vdXQud2VpZ2h0tWJsb2Nrcy4wLm5vcm0yLndlaWdodLJibG9ja3MuMC51cC53ZWlnaHS0YmxvY2tzLjAuZG93bi53ZWlnaHS1YmxvY2tzLjEubm9ybTEud2VpZ2h0s2Jsb2Nrcy4xLnFrdi53ZWlnaHSzYmxvY2tzLjEub3V0LndlaWdodLVibG9ja3MuMS5ub3JtMi53ZWlnaHSyYmxvY2tzLjEudXAud2VpZ2h0tGJsb2Nrcy4xLmRvd24ud2VpZ2h0q25vcm0ud2VpZ2h0q2hlYWQud2VpZ2h03AA7AALNAQHMgAACQMyAAAHMgAACzQGAzIAAAsyAzIAAAcyAAALNAgDMgAACzIDNAgAAAcyAAALNAYDMgAACzIDMgAABzIAAAs0CAMyAAALMgM0CAAABzIAAAs0BAMyAlIWoX3RhcmdldF+9Ym9pbGRvd24ubW9kZWxzLnJlc25ldC5SZXNOZXSld2lkdGgQpWRlcHRoCKtpbnB1dF9zaGFwZZMBCAirbnVtX2NsYXNzZXMKkNwALKxjb252MS53ZWlnaHSqYm4xLndlaWdodKhibjEuYmlhc7BibjEucnVubmluZ19tZWFur2JuMS5ydW5uaW5nX3ZhcrdibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjEuMC5jb252MS53ZWlnaHSzbGF5ZXIxLjAuYm4xLndlaWdodLFsYXllcjEuMC5ibjEuYmlhc7lsYXllcjEuMC5ibjEucnVubmluZ19tZWFuuGxheWVyMS4wLmJuMS5ydW5uaW5nX3ZhctkgbGF5ZXIxLjAuYm4xLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIxLjAuY29udjIud2VpZ2h0s2xheWVyMS4wLmJuMi53ZWlnaHSxbGF5ZXIxLjAuYm4yLmJpYXO5bGF5ZXIxLjAuYm4yLnJ1bm5pbmdfbWVhbrhsYXllcjEuMC5ibjIucnVubmluZ192YXLZIGxheWVyMS4wLmJuMi5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMi4wLmNvbnYxLndlaWdodLNsYXllcjIuMC5ibjEud2VpZ2h0sWxheWVyMi4wLmJuMS5iaWFzuWxheWVyMi4wLmJuMS5ydW5uaW5nX21lYW64bGF5ZXIyLjAuYm4xLnJ1bm5pbmdfdmFy2SBsYXllcjIuMC5ibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjIuMC5jb252Mi53ZWlnaHSzbGF5ZXIyLjAuYm4yLndlaWdodLFsYXllcjIuMC5ibjIuYmlhc7lsYXllcjIuMC5ibjIucnVubmluZ19tZWFuuGxheWVyMi4wLmJuMi5ydW5uaW5nX3ZhctkgbGF5ZXIyLjAuYm4yLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIzLjAuY29udjEud2VpZ2h0s2xheWVyMy4wLmJuMS53ZWlnaHSxbGF5ZXIzLjAuYm4xLmJpYXO5bGF5ZXIzLjAuYm4xLnJ1bm5pbmdfbWVhbrhsYXllcjMuMC5ibjEucnVubmluZ192YXLZIGxheWVyMy4wLmJuMS5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMy4wLmNvbnYyLndlaWdodLNsYXllcjMuMC5ibjIud2VpZ2h0sWxheWVyMy4wLmJuMi5iaWFzuWxheWVyMy4wLmJuMi5ydW5uaW5nX21lYW64bGF5ZXIzLjAuYm4yLnJ1bm5pbmdfdmFy2SBsYXllcjMuMC5ibjIubnVtX2JhdGNoZXNfdHJhY2tlZKlmYy53ZWlnaHSnZmMuYmlhc9wAkwAEEAEDAwABEAABEAABEAABEAgAAAQQEAMDAAEQAAEQAAEQAAEQCAAABBAQAwMAARAAARAAARAAARAIAAAEIBADAwABIAABIAABIAABIAgAAAQgIAMDAAEgAAEgAAEgAAEgCAAABEAgAwMAAUAAAUAAAUAAAUAIAAAEQEADAwABQAABQAABQAABQAgAAAIKQAABCpSGqF90YXJnZXRft2JvaWxkb3duLm1vZGVscy5tbHAuTUxQpndpZHRoc8Cld2lkdGjNAQClZGVwdGgCq2lucHV0X3NoYXBlkSirbnVtX2NsYXNzZXMKkJaqZmMxLndlaWdodKhmYzEuYmlhc6pmYzIud2VpZ2h0qGZjMi5iaWFzqmZjMy53ZWlnaHSoZmMzLmJpYXPcABUAAs0BACgAAc0BAAACzQEAzQEAAAHNAQAAAgrNAQAAAQqUh6hfdGFyZ2V0X9klYm9pbGRvd24ubW9kZWxzLnRhYnVsYXIuVGFidWxhclJlc05ldKV3aWR0aEClZGVwdGgCqHdpZGVuaW5nAqdkcm9wb3V0ywAAAAAAAAAAq2lucHV0X3NoYXBlkQqrbnVtX2NsYXNzZXMBkNwAG6xmaXJzdC53ZWlnaHSqZmlyc3QuYmlhc7RibG9ja3MuMC5ub3JtLndlaWdodLJibG9ja3MuMC5ub3JtLmJpYXO6YmxvY2tzLjAubm9ybS5ydW5uaW5nX21lYW65YmxvY2tzLjAubm9ybS5ydW5uaW5nX3ZhctkhYmxvY2tzLjAubm9ybS5udW1fYmF0Y2hlc190cmFja2VktWJsb2Nrcy4wLndpZGVuLndlaWdodLNibG9ja3MuMC53aWRlbi5iaWFztmJsb2Nrcy4wLm5hcnJvdy53ZWlnaHS0YmxvY2tzLjAubmFycm93LmJpYXO0YmxvY2tzLjEubm9ybS53ZWlnaHSyYmxvY2tzLjEubm9ybS5iaWFzumJsb2Nrcy4xLm5vcm0ucnVubmluZ19tZWFuuWJsb2Nrcy4xLm5vcm0ucnVubmluZ192YXLZIWJsb2Nrcy4xLm5vcm0ubnVtX2JhdGNoZXNfdHJhY2tlZLVibG9ja3MuMS53aWRlbi53ZWlnaHSzYmxvY2tzLjEud2lkZW4uYmlhc7ZibG9ja3MuMS5uYXJyb3cud2VpZ2h0tGJsb2Nrcy4xLm5hcnJvdy5iaWFzq25vcm0ud2VpZ2h0qW5vcm0uYmlhc7Fub3JtLnJ1bm5pbmdfbWVhbrBub3JtLnJ1bm5pbmdfdmFyuG5vcm0ubnVtX2JhdGNoZXNfdHJhY2tlZKtoZWFkLndlaWdodKloZWFkLmJpYXPcAFQAAkAKAAFAAAFAAAFAAAFAAAFACAAAAsyAQAABzIAAAkDMgAABQAABQAABQAABQAABQAgAAALMgEAAAcyAAAJAzIAAAUAAAUAAAUAAAUAAAUAIAAACAUAAAQGUiKhfdGFyZ2V0X79ib2lsZG93bi5tb2RlbHMudHJhbnNmb3JtZXIuR1BUpXdpZHRozIClZGVwdGgCpWhlYWRzwKR0aWVkwqdkcm9wb3V0ywAAAAAAAAAAq2lucHV0X3NoYXBlkUCrbnVtX2NsYXNzZXPNAQCQ3AAQrGVtYmVkLndlaWdodK9wb3NpdGlvbi53ZWlnaHS1YmxvY2tzLjAubm9ybTEud2VpZ2h0s2Jsb2Nrcy4wLnFrdi53ZWlnaHSzYmxvY2tzLjAub3V0LndlaWdodLVibG9ja3MuMC5ub3JtMi53ZWlnaHSyYmxvY2tzLjAudXAud2VpZ2h0tGJsb2Nrcy4wLmRvd24ud2VpZ2h0tWJsb2Nrcy4xLm5vcm0xLndlaWdodLNibG9ja3MuMS5xa3Yud2VpZ2h0s2Jsb2Nrcy4xLm91dC53ZWlnaHS1YmxvY2tzLjEubm9ybTIud2VpZ2h0smJsb2Nrcy4xLnVwLndlaWdodLRibG9ja3MuMS5kb3duLndlaWdodKtub3JtLndlaWdodKtoZWFkLndlaWdodNwAOwACzQEAzIAAAkDMgAABzIAAAs0BgMyAAALMgMyAAAHMgAACzQIAzIAAAsyAzQIAAAHMgAACzQGAzIAAAsyAzIAAAcyAAALNAgDMgAACzIDNAgAAAcyAAALNAQDMgJSFqF90YXJnZXRfv2JvaWxkb3duLm1vZGVscy5yZXNuZXQuUmVzTmV0MjCld2lkdGgQpWRlcHRoFKtpbnB1dF9zaGFwZZMDICCrbnVtX2NsYXNzZXMKkNwAdKxjb252MS53ZWlnaHSqYm4xLndlaWdodKhibjEuYmlhc7BibjEucnVubmluZ19tZWFur2JuMS5ydW5uaW5nX3ZhcrdibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjEuMC5jb252MS53ZWlnaHSzbGF5ZXIxLjAuYm4xLndlaWdodLFsYXllcjEuMC5ibjEuYmlhc7lsYXllcjEuMC5ibjEucnVubmluZ19tZWFuuGxheWVyMS4wLmJuMS5ydW5uaW5nX3ZhctkgbGF5ZXIxLjAuYm4xLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIxLjAuY29udjIud2VpZ2h0s2xheWVyMS4wLmJuMi53ZWlnaHSxbGF5ZXIxLjAuYm4yLmJpYXO5bGF5ZXIxLjAuYm4yLnJ1bm5pbmdfbWVhbrhsYXllcjEuMC5ibjIucnVubmluZ192YXLZIGxheWVyMS4wLmJuMi5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMS4xLmNvbnYxLndlaWdodLNsYXllcjEuMS5ibjEud2VpZ2h0sWxheWVyMS4xLmJuMS5iaWFzuWxheWVyMS4xLmJuMS5ydW5uaW5nX21lYW64bGF5ZXIxLjEuYm4xLnJ1bm5pbmdfdmFy2SBsYXllcjEuMS5ibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjEuMS5jb252Mi53ZWlnaHSzbGF5ZXIxLjEuYm4yLndlaWdodLFsYXllcjEuMS5ibjIuYmlhc7lsYXllcjEuMS5ibjIucnVubmluZ19tZWFuuGxheWVyMS4xLmJuMi5ydW5uaW5nX3ZhctkgbGF5ZXIxLjEuYm4yLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIxLjIuY29udjEud2VpZ2h0s2xheWVyMS4yLmJuMS53ZWlnaHSxbGF5ZXIxLjIuYm4xLmJpYXO5bGF5ZXIxLjIuYm4xLnJ1bm5pbmdfbWVhbrhsYXllcjEuMi5ibjEucnVubmluZ192YXLZIGxheWVyMS4yLmJuMS5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMS4yLmNvbnYyLndlaWdodLNsYXllcjEuMi5ibjIud2VpZ2h0sWxheWVyMS4yLmJuMi5iaWFzuWxheWVyMS4yLmJuMi5ydW5uaW5nX21lYW64bGF5ZXIxLjIuYm4yLnJ1bm5pbmdfdmFy2SBsYXllcjEuMi5ibjIubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjIuMC5jb252MS53ZWlnaHSzbGF5ZXIyLjAuYm4xLndlaWdodLFsYXllcjIuMC5ibjEuYmlhc7lsYXllcjIuMC5ibjEucnVubmluZ19tZWFuuGxheWVyMi4wLmJuMS5ydW5uaW5nX3ZhctkgbGF5ZXIyLjAuYm4xLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIyLjAuY29udjIud2VpZ2h0s2xheWVyMi4wLmJuMi53ZWlnaHSxbGF5ZXIyLjAuYm4yLmJpYXO5bGF5ZXIyLjAuYm4yLnJ1bm5pbmdfbWVhbrhsYXllcjIuMC5ibjIucnVubmluZ192YXLZIGxheWVyMi4wLmJuMi5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMi4xLmNvbnYxLndlaWdodLNsYXllcjIuMS5ibjEud2VpZ2h0sWxheWVyMi4xLmJuMS5iaWFzuWxheWVyMi4xLmJuMS5ydW5uaW5nX21lYW64bGF5ZXIyLjEuYm4xLnJ1bm5pbmdfdmFy2SBsYXllcjIuMS5ibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjIuMS5jb252Mi53ZWlnaHSzbGF5ZXIyLjEuYm4yLndlaWdodLFsYXllcjIuMS5ibjIuYmlhc7lsYXllcjIuMS5ibjIucnVubmluZ19tZWFuuGxheWVyMi4xLmJuMi5ydW5uaW5nX3ZhctkgbGF5ZXIyLjEuYm4yLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIyLjIuY29udjEud2VpZ2h0s2xheWVyMi4yLmJuMS53ZWlnaHSxbGF5ZXIyLjIuYm4xLmJpYXO5bGF5ZXIyLjIuYm4xLnJ1bm5pbmdfbWVhbrhsYXllcjIuMi5ibjEucnVubmluZ192YXLZIGxheWVyMi4yLmJuMS5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMi4yLmNvbnYyLndlaWdodLNsYXllcjIuMi5ibjIud2VpZ2h0sWxheWVyMi4yLmJuMi5iaWFzuWxheWVyMi4yLmJuMi5ydW5uaW5nX21lYW64bGF5ZXIyLjIuYm4yLnJ1bm5pbmdfdmFy2SBsYXllcjIuMi5ibjIubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjMuMC5jb252MS53ZWlnaHSzbGF5ZXIzLjAuYm4xLndlaWdodLFsYXllcjMuMC5ibjEuYmlhc7lsYXllcjMuMC5ibjEucnVubmluZ19tZWFuuGxheWVyMy4wLmJuMS5ydW5uaW5nX3ZhctkgbGF5ZXIzLjAuYm4xLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIzLjAuY29udjIud2VpZ2h0s2xheWVyMy4wLmJuMi53ZWlnaHSxbGF5ZXIzLjAuYm4yLmJpYXO5bGF5ZXIzLjAuYm4yLnJ1bm5pbmdfbWVhbrhsYXllcjMuMC5ibjIucnVubmluZ192YXLZIGxheWVyMy4wLmJuMi5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMy4xLmNvbnYxLndlaWdodLNsYXllcjMuMS5ibjEud2VpZ2h0sWxheWVyMy4xLmJuMS5iaWFzuWxheWVyMy4xLmJuMS5ydW5uaW5nX21lYW64bGF5ZXIzLjEuYm4xLnJ1bm5pbmdfdmFy2SBsYXllcjMuMS5ibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjMuMS5jb252Mi53ZWlnaHSzbGF5ZXIzLjEuYm4yLndlaWdodLFsYXllcjMuMS5ibjIuYmlhc7lsYXllcjMuMS5ibjIucnVubmluZ19tZWFuuGxheWVyMy4xLmJuMi5ydW5uaW5nX3ZhctkgbGF5ZXIzLjEuYm4yLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIzLjIuY29udjEud2VpZ2h0s2xheWVyMy4yLmJuMS53ZWlnaHSxbGF5ZXIzLjIuYm4xLmJpYXO5bGF5ZXIzLjIuYm4xLnJ1bm5pbmdfbWVhbrhsYXllcjMuMi5ibjEucnVubmluZ192YXLZIGxheWVyMy4yLmJuMS5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMy4yLmNvbnYyLndlaWdodLNsYXllcjMuMi5ibjIud2VpZ2h0sWxheWVyMy4yLmJuMi5iaWFzuWxheWVyMy4yLmJuMi5ydW5uaW5nX21lYW64bGF5ZXIzLjIuYm4yLnJ1bm5pbmdfdmFy2SBsYXllcjMuMi5ibjIubnVtX2JhdGNoZXNfdHJhY2tlZKlmYy53ZWlnaHSnZmMuYmlhc9wBgwAEEAMDAwABEAABEAABEAABEAgAAAQQEAMDAAEQAAEQAAEQAAEQCAAABBAQAwMAARAAARAAARAAARAIAAAEEBADAwABEAABEAABEAABEAgAAAQQEAMDAAEQAAEQAAEQAAEQCAAABBAQAwMAARAAARAAARAAARAIAAAEEBADAwABEAABEAABEAABEAgAAAQgEAMDAAEgAAEgAAEgAAEgCAAABCAgAwMAASAAASAAASAAASAIAAAEICADAwABIAABIAABIAABIAgAAAQgIAMDAAEgAAEgAAEgAAEgCAAABCAgAwMAASAAASAAASAAASAIAAAEICADAwABIAABIAABIAABIAgAAARAIAMDAAFAAAFAAAFAAAFACAAABEBAAwMAAUAAAUAAAUAAAUAIAAAEQEADAwABQAABQAABQAABQAgAAARAQAMDAAFAAAFAAAFAAAFACAAABEBAAwMAAUAAAUAAAUAAAUAIAAAEQEADAwABQAABQAABQAABQAgAAAIKQAABCpSGqF90YXJnZXRft2JvaWxkb3duLm1vZGVscy5tbHAuTUxQpndpZHRoc8Cld2lkdGjNAQClZGVwdGgCq2lucHV0X3NoYXBlkwEICKtudW1fY2xhc3NlcwqQlqpmYzEud2VpZ2h0qGZjMS5iaWFzqmZjMi53ZWlnaHSoZmMyLmJpYXOqZmMzLndlaWdodKhmYzMuYmlhc9wAFQACzQEAQAABzQEAAALNAQDNAQAAAc0BAAACCs0BAAABCpSGqF90YXJnZXRft2JvaWxkb3duLm1vZGVscy5tbHAuTUxQpndpZHRoc8Cld2lkdGjNAQClZGVwdGgCq2lucHV0X3NoYXBlkwEcHKtudW1fY2xhc3NlcwqQlqpmYzEud2VpZ2h0qGZjMS5iaWFzqmZjMi53ZWlnaHSoZmMyLmJpYXOqZmMzLndlaWdodKhmYzMuYmlhc9wAFQACzQEAzQMQAAHNAQAAAs0BAM0BAAABzQEAAAIKzQEAAAEKlIOoX3RhcmdldF+8Ym9pbGRvd24ubW9kZWxzLmxlbmV0LkxlTmV0NatpbnB1dF9zaGFwZZMDICCrbnVtX2NsYXNzZXMKkJisY29udjEud2VpZ2h0qmNvbnYxLmJpYXOsY29udjIud2VpZ2h0qmNvbnYyLmJpYXOqZmMxLndlaWdodKhmYzEuYmlhc6pmYzIud2VpZ2h0qGZjMi5iaWFz3AAgAAQUAwUFAAEUAAQyFAUFAAEyAALNAfTNBOIAAc0B9AACCs0B9AABCpSDqF90YXJnZXRfvmJvaWxkb3duLm1vZGVscy5sZW5ldC5MZU5ldDMwMKtpbnB1dF9zaGFwZZMBHByrbnVtX2NsYXNzZXMKkJaqZmMxLndlaWdodKhmYzEuYmlhc6pmYzIud2VpZ2h0qGZjMi5iaWFzqmZjMy53ZWlnaHSoZmMzLmJpYXPcABUAAs0BLM0DEAABzQEsAAJkzQEsAAFkAAIKZAABCpSDqF90YXJnZXRfvmJvaWxkb3duLm1vZGVscy5sZW5ldC5MZU5ldDMwMKtpbnB1dF9zaGFwZZMBCAirbnVtX2NsYXNzZXMKkJaqZmMxLndlaWdodKhmYzEuYmlhc6pmYzIud2VpZ2h0qGZjMi5iaWFzqmZjMy53ZWlnaHSoZmMzLmJpYXPcABUAAs0BLEAAAc0BLAACZM0BLAABZAACCmQAAQqUg6hfdGFyZ2V0X7xib2lsZG93bi5tb2RlbHMubGVuZXQuTGVOZXQ1q2lucHV0X3NoYXBlkwEcHKtudW1fY2xhc3NlcwqQmKxjb252MS53ZWlnaHSqY29udjEuYmlhc6xjb252Mi53ZWlnaHSqY29udjIuYmlhc6pmYzEud2VpZ2h0qGZjMS5iaWFzqmZjMi53ZWlnaHSoZmMyLmJpYXPcACAABBQBBQUAARQABDIUBQUAATIAAs0B9M0DIAABzQH0AAIKzQH0AAEK";
const boil = { decode, BoilError };
if (typeof module !== "object") globalThis.boil = boil;
else if ((module.exports = boil) && require.main === module) main(...process.argv.slice(2));
})();
