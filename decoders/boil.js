// Read a model.boil without boildown: this file and nothing else, in Node and in browsers.
//
//     node boil.js model.boil                 lists its tensors
//     node boil.js model.boil -o directory    writes the bytes of each, and index.json
//     require("./boil.js").decode(bytes)      in a program
//     <script src="boil.js"></script>         in a page, which then has boil.decode(bytes)
//
// What the bytes of a file mean is in boildown's docs/format.md, whose words are the names here;
// boil.py is the same in Python. Files are untrusted: whatever boildown does not write is refused.
"use strict";

(function () {
  const DTYPES = { // the array, the bytes of an element and of a float in it if zeros have signs
    float32: [Float32Array, 4, 4], float64: [Float64Array, 8, 8], float16: [Uint16Array, 2, 2],
    bfloat16: [Uint16Array, 2, 2], uint8: [Uint8Array, 1, 0], int8: [Int8Array, 1, 0],
    int16: [Int16Array, 2, 0], int32: [Int32Array, 4, 0], int64: [BigInt64Array, 8, 0],
    bool: [Uint8Array, 1, 0], complex64: [Float32Array, 8, 4], complex128: [Float64Array, 16, 8],
    uint16: [Uint16Array, 2, 0], uint32: [Uint32Array, 4, 0], uint64: [BigUint64Array, 8, 0],
    float8_e4m3fn: [Uint8Array, 1, 1], float8_e5m2: [Uint8Array, 1, 1],
    float8_e4m3fnuz: [Uint8Array, 1, 0], float8_e5m2fnuz: [Uint8Array, 1, 0],
    float8_e8m0fnu: [Uint8Array, 1, 0], float4_e2m1fn_x2: [Uint8Array, 1, 0],
    complex32: [Uint16Array, 4, 2],
  };
  const NAMES = Object.keys(DTYPES);
  const WORDS = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array, 8: BigUint64Array };
  const SIGNED = { 2: Int16Array, 4: Int32Array, 8: BigInt64Array };
  const [OWN, FLOAT16, BFLOAT16, FLOAT32, INT8, INT16, INT32, GRID] = [0, 1, 2, 3, 4, 5, 6, 7];
  const STORED = { [FLOAT16]: Uint16Array, [BFLOAT16]: Uint16Array, [FLOAT32]: Uint32Array,
    [INT8]: Int8Array, [INT16]: Int16Array, [INT32]: Int32Array };
  const FORMS = {
    float32: [FLOAT16, BFLOAT16, GRID], float64: [FLOAT16, FLOAT32], int16: [INT8],
    int32: [INT8, INT16], int64: [INT8, INT16, INT32],
  };
  const LONGEST = 24; // bits of a code
  const WITHIN = [5, 9, 13]; // coders that are not within one of the last two

  /** The bytes are not an intact file that boildown wrote. */
  class BoilError extends Error {
    name = "BoilError";
  }

  function check(holds, message) {
    if (!holds) throw new BoilError(message);
  }

  /** A cursor over untrusted bytes; bits are read from the highest of a byte down. */
  class Reader {
    constructor(data) {
      this.data = data;
      this.at = this.held = this.left = 0;
    }

    take(count) {
      const { at } = this;
      check(at + count <= this.data.length, `${count} bytes should follow byte ${at}, and fewer do`);
      return this.data.subarray(at, (this.at += count));
    }

    byte() {
      return this.take(1)[0];
    }

    /** The next number, of a kind that DataView has. */
    number(kind, size, little = false) {
      const bytes = this.take(size);
      return new DataView(bytes.buffer, bytes.byteOffset, size)[`get${kind}`](0, little);
    }

    varint() {
      let value = 0;
      for (let group = 0; group < 9; group++) {
        const byte = this.byte();
        value += (byte & 0x7f) * 2 ** (7 * group);
        if (byte < 0x80) return value;
      }
      throw new BoilError(`an integer of more than 9 bytes ends at byte ${this.at}`);
    }

    bits(width) {
      let value = 0;
      for (let i = 0; i < width; i++) {
        if (this.left === 0) [this.held, this.left] = [this.byte(), 8];
        value = value * 2 + ((this.held >> --this.left) & 1);
      }
      return value;
    }

    align() {
      check((this.held & ((1 << this.left) - 1)) === 0,
        "the bits that fill the last byte of a table are not zero");
      this.left = 0;
    }
  }

  /**
   * The tensors and the config in the bytes of a file.
   *
   * @param {Uint8Array} data untrusted.
   * @param {object} base what decode gave for the file that one of differences is relative to.
   * @returns {{tensors: object, names: string[], config: object | null}} Each tensor is
   *   {dtype, shape, data}: data is the typed array of the dtype, of the bits where JavaScript has
   *   none (float16, bfloat16, float8), of real and imaginary parts where it is complex. `names`
   *   has the order of the file.
   * @throws {BoilError} unless this is an intact file.
   */
  function decode(data, base = null) {
    data = new Uint8Array(data.buffer, data.byteOffset, data.length);
    check(String.fromCharCode(...data.subarray(0, 4)) === "BOIL",
      "this is not a boil file: it does not begin with BOIL");
    check(data[4] === 1 || data[4] === 2, `the format's version is ${data[4]}, not 1 or 2`);
    return data[4] === 1 ? version1(data) : version2(data, base);
  }

  // ---- version 1

  function version1(data) {
    const read = new Reader(data), digested = data.length - 16;
    read.take(5);
    const head = read.varint(), packed = read.take(Math.floor(head / 2));
    check(digested > 0 && same(blake2b(data.subarray(0, digested)), data.subarray(digested)),
      "the digest is wrong: the file was damaged, cut short or added to");
    const { config, entries } = header(new Reader(head % 2 ? inflated(packed, 64 * packed.length) : packed));
    const stored = entries.filter((entry) => entry.tied === null);
    const sum = (of) => stored.reduce((total, entry) => total + of(entry), 0);
    const promised = sum((entry) => numel(entry) * Math.max(DTYPES[entry.dtype][1], 4));
    const end = read.at + sum((entry) => entry.size + 4) + 16;
    let expected = Math.max(end, Math.ceil(promised / 8192));
    if (data.length < expected && promised <= 2 ** 24) { // once elements of any size counted as 4
      expected = Math.max(end, Math.ceil((4 * sum(numel)) / 8192));
    }
    check(data.length === expected,
      `the file has ${data.length} bytes, its header asks for ${expected}`);
    const tensors = Object.create(null);
    for (const entry of entries) {
      if (entry.tied !== null) {
        tensors[entry.name] = tensors[entries[entry.tied].name];
        continue;
      }
      const payload = new Reader(read.take(entry.size)), name = JSON.stringify(entry.name);
      check(crc32(payload.data) === read.number("Uint32", 4, true),
        `tensor ${name}: the checksum is wrong`);
      const words = tensor(payload, entry.dtype, wordCount(entry));
      check(payload.at === entry.size,
        `tensor ${name}: ${entry.size - payload.at} bytes are left over`);
      tensors[entry.name] = finished(entry, words.buffer);
    }
    check(read.take(digested - read.at).every((byte) => byte === 0),
      "the bytes that fill the file are not zero");
    return { tensors, names: entries.map((entry) => entry.name), config };
  }

  /** `[config, entry, ...]`, an entry being `[name, dtype, bytes, *shape]` or `[name, -1 - i]`. */
  function header(read) {
    const count = listSize(read), config = configOf(read), entries = [], names = new Set();
    for (let i = 0; i < count - 1; i++) {
      const row = item(read, false);
      check(Array.isArray(row) && row.length > 1 && typeof row[0] === "string",
        `entry ${i} is not a list of a name and numbers`);
      const [name, dtype, size, ...shape] = row, quoted = JSON.stringify(name);
      check(row.slice(1).every((number) => typeof number === "number"),
        `tensor ${quoted}: the entry holds something other than integers`);
      check(!names.has(name), `two tensors are called ${quoted}`);
      names.add(name);
      if (dtype < 0 && row.length === 2) {
        entries.push(tiedTo(name, -1 - dtype, entries));
        continue;
      }
      check(dtype >= 0 && dtype < NAMES.length && size >= 1,
        `tensor ${quoted} has no payload, or the unknown dtype ${dtype}`);
      checkShape(shape);
      entries.push({ name, dtype: NAMES[dtype], shape, size, tied: null });
    }
    check(read.at === read.data.length, "the header goes on after its list");
    return { config, entries };
  }

  // ---- version 2

  function version2(data, base) {
    check(data.length >= 10, "the file is cut short");
    const read = new Reader(data.slice(Math.max(5, data.length - 13), -4).reverse());
    const number = read.varint(), sums = Math.floor(number / 2) % 2;
    const size = Math.floor(number / 4), end = data.length - 4 - read.at - size;
    check(end >= 5, `the file is cut short: ${data.length} bytes, ${size} for its index`);
    const crc = new Reader(data.subarray(-4)).number("Uint32", 4, true);
    const wrong = "the checksum is wrong: the file was damaged, cut short or added to";
    check(sums || crc32(data.subarray(0, -4)) === crc, wrong);
    const packed = data.subarray(end, end + size);
    const plain = number % 2 ? inflated(packed, 64 * size + 65536, dictionary()) : packed;
    const { config, entries, sections, block, digest } = index(new Reader(plain), sums);
    const stored = entries.filter((entry) => entry.tied === null);
    const promised = stored.reduce(
      (sum, entry) => sum + numel(entry) * Math.max(DTYPES[entry.dtype][1], 4), 0);
    const least = Math.max(0, Math.ceil((promised - 2 ** 24) / 8192));
    check(least <= data.length, `the file has ${data.length} bytes, its tensors ask for ${least}`);
    const pieces = stored.flatMap((entry) => piecesOf(entry, block));
    if (!sections.length && pieces.length) sections.push([1, pieces.length, end - 5, 0]);
    const sum = (column) => sections.reduce((total, section) => total + section[column], 0);
    const last = 5 + sum(2);
    check(last <= end && sum(1) === pieces.length,
      "the sections take more bytes than there are, or hold other pieces");
    check(!sums || crc32(data.subarray(last, -4), crc32(data.subarray(0, 5))) === crc, wrong);
    check(end - last === Math.max(0, least - (data.length - (end - last))) &&
      data.subarray(last, end).every((byte) => byte === 0),
      "the bytes that fill the file are too many, too few or not zero");
    check(digest === null || (base && same(digestOf(base), digest)),
      `the file is relative to other tensors: give those of the digest ${digest}`);
    const found = new Map();
    let at = 5, first = 0;
    for (const [kind, count, bytes, checksum] of sections) {
      const held = pieces.slice(first, (first += count));
      const dense = held.reduce((total, piece) => total + piece.size * wordWidth(piece.entry), 0);
      check(bytes <= 4096 + 2 * dense && (count === 1 || held.every((piece) => piece.whole)),
        `the section at byte ${at} has ${bytes} bytes, or mixes parts`);
      const body = data.subarray(at, (at += bytes));
      check(!sums || crc32(body) === checksum,
        `tensor ${JSON.stringify(held[0].entry.name)}: the checksum is wrong`);
      section(body, kind, held, base).forEach((words, i) => {
        const { entry, start } = held[i], bytes = new Uint8Array(words.buffer);
        if (start === 0) found.set(entry, new Uint8Array(byteCount(entry)));
        found.get(entry).set(bytes, start * wordWidth(entry));
      });
    }
    const tensors = Object.create(null);
    for (const entry of entries) {
      tensors[entry.name] = entry.tied === null
        ? finished(entry, (found.get(entry) || new Uint8Array()).buffer)
        : tensors[entries[entry.tied].name];
    }
    return { tensors, names: entries.map((entry) => entry.name), config };
  }

  /** `[config, sections, names, kinds]`, and the digest of a base. */
  function index(read, sums) {
    const count = listSize(read);
    check(count === 4 || count === 5, `the index is a list of ${count} items, not of 4 or 5`);
    const config = configOf(read);
    const [told, names, kinds] = ["number", "string", "number"].map((kind) => {
      const items = unpacked(read, false, 0);
      check(Array.isArray(items) && items.every((item) => typeof item === kind),
        "the index holds something else than lists of integers and texts");
      return items;
    });
    let digest = null;
    if (count === 5) {
      check(read.byte() === 0xc4 && read.byte() === 16, "the base's digest is not of 16 bytes");
      digest = read.take(16);
    }
    check(read.at === read.data.length && new Set(names).size === names.length &&
      names.length <= 2 ** 20, "the index goes on after its list, or has a name twice or too many");
    const row = sums ? 4 : 3, block = told.length ? told[0] : 20, sections = [], entries = [];
    for (let i = 1; i < told.length; i += row) sections.push([...told.slice(i, i + row), 0]);
    check(block >= 10 && block <= 20 && told.length % row === (told.length ? 1 : 0) &&
      (sections.length || !(told.length || sums)) &&
      sections.every(([kind, pieces, size, crc]) => kind >= 0 && kind <= 2 && pieces > 0 &&
        size > 0 && crc >= 0 && crc < 2 ** 32) &&
      sections.some(([kind]) => kind === 2) === (digest !== null),
      "the index tells of sections that there cannot be");
    let at = 0;
    for (const name of names) {
      const dtype = kinds[at++];
      if (dtype < 0) {
        entries.push(tiedTo(name, -1 - dtype, entries));
        continue;
      }
      const sides = kinds[at++], shape = kinds.slice(at, at + sides);
      check(dtype < NAMES.length && sides >= 0 && sides <= 64 && shape.length === sides,
        `tensor ${JSON.stringify(name)} has the unknown dtype ${dtype}, or not its shape`);
      checkShape(shape);
      entries.push({ name, dtype: NAMES[dtype], shape, size: 0, tied: null });
      at += sides;
    }
    check(at === kinds.length, "there are more dtypes and shapes than names, or fewer");
    return { config, entries, sections, block, digest };
  }

  /** The parts of a tensor that are coded apart, of 2^log words at most if there are any. */
  function piecesOf(entry, log) {
    const words = wordCount(entry), block = 2 ** log, pieces = [];
    let columns = entry.shape.length > 1 && words ? words / entry.shape[0] : words;
    if (columns > 2 ** 20) columns = words;
    const step = words <= block || columns === words ? block
      : Math.max(1, Math.floor(block / columns)) * columns;
    for (let start = 0; start < words; start += step) {
      const size = Math.min(step, words - start);
      pieces.push({ entry, start, size, columns: Math.min(columns, size), whole: size === words });
    }
    return pieces;
  }

  /** The words of pieces that are coded together. */
  function section(body, kind, pieces, base) {
    if (kind) {
      const stream = new Mixing(body);
      const words = pieces.map((piece) => stream.words(
        { ...piece, dtype: piece.entry.dtype }, kind === 2 ? inBase(base, piece) : null));
      stream.close();
      return words;
    }
    const read = new Reader(body);
    const found = pieces.map((piece) => tensor(read, piece.entry.dtype, piece.size));
    check(read.at === body.length,
      `${body.length - read.at} bytes are left over after a section's tensors`);
    return found;
  }

  /** The words of a base where a piece is, or null if it has no such tensor. */
  function inBase({ tensors }, { entry, start, size }) {
    const tensor = tensors[entry.name], width = wordWidth(entry);
    if (!tensor || tensor.dtype !== entry.dtype || `${tensor.shape}` !== `${entry.shape}`) return null;
    const { buffer, byteOffset, byteLength } = tensor.data;
    const bytes = new Uint8Array(buffer, byteOffset, byteLength);
    return new WORDS[width](bytes.slice(start * width, (start + size) * width).buffer);
  }

  /** What tells tensors apart. */
  function digestOf({ names, tensors }) {
    const texts = names.map((name) => [name, encoded(name)]).sort(([, a], [, b]) => order(a, b));
    const parts = texts.flatMap(([name, text]) => {
      const { dtype, shape, data } = tensors[name];
      return [varint(text.length), text, ...[NAMES.indexOf(dtype), shape.length, ...shape].map(varint),
        new Uint8Array(data.buffer, data.byteOffset, data.byteLength)];
    });
    const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
    return blake2b(whole);
  }

  /** Below 0 where bytes come before others, above 0 where they come after. */
  function order(a, b) {
    const at = a.findIndex((byte, i) => byte !== b[i]);
    return at < 0 ? a.length - b.length : at < b.length ? a[at] - b[at] : 1;
  }

  function varint(value) {
    const groups = [];
    for (; value > 127; value = Math.floor(value / 128)) groups.push((value % 128) + 128);
    return [...groups, value];
  }

  /** A name in UTF-8, a lone surrogate as three bytes. */
  function encoded(name) {
    return Array.from(name).flatMap((letter) => {
      const code = letter.codePointAt(0);
      if (code < 0xd800 || code > 0xdfff) return Array.from(new TextEncoder().encode(letter));
      return [0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63)];
    });
  }

  /** What indices are deflated with. */
  function dictionary() {
    return Uint8Array.from(atob(DICTIONARY), (letter) => letter.charCodeAt(0));
  }

  // ---- headers

  function wordWidth(entry) {
    return Math.min(DTYPES[entry.dtype][1], 8);
  }

  function byteCount(entry) {
    return numel(entry) * DTYPES[entry.dtype][1];
  }

  function numel(entry) {
    return entry.shape.reduce((product, side) => product * side, 1);
  }

  function wordCount(entry) {
    return numel(entry) * Math.max(1, DTYPES[entry.dtype][1] / 8);
  }

  function finished({ dtype, shape }, buffer) {
    return { dtype, shape, data: new DTYPES[dtype][0](buffer) };
  }

  function tiedTo(name, tied, entries) {
    const other = entries[tied];
    check(other && other.tied === null,
      `tensor ${JSON.stringify(name)} is tied to entry ${tied}, which it cannot be`);
    return { ...other, name, size: 0, tied };
  }

  function checkShape(shape) {
    let product = shape.length <= 64 ? 1 : Infinity;
    for (const side of shape) product *= side >= 0 && side <= 2 ** 48 ? side || 1 : Infinity;
    check(product <= 2 ** 48, `the shape [${shape}] is beyond what a file can hold`);
  }

  function same(left, right) {
    return left.length === right.length && left.every((byte, i) => byte === right[i]);
  }

  function listSize(read) {
    const tag = read.byte();
    let size = tag >> 4 === 9 ? tag & 15 : 0;
    if (tag === 0xdc) size = read.number("Uint16", 2);
    if (tag === 0xdd) size = read.number("Uint32", 4);
    check(size > 0, "the header is not a list in msgpack, or an empty one");
    return size;
  }

  function configOf(read) {
    const config = item(read);
    check(config === null || Object.getPrototypeOf(Object(config)) === null,
      "the config is not a mapping");
    return config;
  }

  /** The next item of the header's list, each of which has a size that it must not exceed. */
  function item(read, floats = true) {
    const start = read.at, value = unpacked(read, floats, 0);
    check(read.at - start <= 2 ** 20, "the header has a part of over 1 MiB");
    return value;
  }

  const MSGPACK = { 0xc4: ["Uint8", 1], 0xc5: ["Uint16", 2], 0xc6: ["Uint32", 4],
    0xca: ["Float32", 4], 0xcb: ["Float64", 8],
    0xcc: ["Uint8", 1], 0xcd: ["Uint16", 2], 0xce: ["Uint32", 4], 0xcf: ["BigUint64", 8],
    0xd0: ["Int8", 1], 0xd1: ["Int16", 2], 0xd2: ["Int32", 4], 0xd3: ["BigInt64", 8],
    0xd9: ["Uint8", 1], 0xda: ["Uint16", 2], 0xdb: ["Uint32", 4], 0xdc: ["Uint16", 2],
    0xdd: ["Uint32", 4], 0xde: ["Uint16", 2], 0xdf: ["Uint32", 4] };

  /** The next value of msgpack, which has no extensions. Integers beyond 2^53 are BigInts. */
  function unpacked(read, floats, depth) {
    const tag = read.byte();
    if (tag < 0x80 || tag >= 0xe0) {
      check(depth <= 64, "the header is nested too deeply");
      return tag < 0x80 ? tag : tag - 256;
    }
    check(depth <= 64 && (tag < 0xc0 || tag in MSGPACK || (tag < 0xc4 && tag !== 0xc1)) &&
      (floats || (tag !== 0xca && tag !== 0xcb)),
      "the header is nested too deeply, or holds what is not plain data");
    if (tag >= 0xc0 && tag < 0xc4) return [null, null, false, true][tag & 3];
    let value = tag & (tag >= 0xa0 ? 31 : 15);
    if (tag in MSGPACK) value = read.number(...MSGPACK[tag]);
    if (tag >= 0xca && tag <= 0xd3) {
      return typeof value === "bigint" && Number.isSafeInteger(Number(value)) ? Number(value) : value;
    }
    if (tag >= 0xde || tag < 0x90) {
      const found = Object.create(null);
      for (let i = 0; i < value; i++) {
        const key = unpacked(read, floats, depth + 1);
        check(typeof key === "string", `the config has a key that is a ${typeof key}, not a string`);
        found[key] = unpacked(read, floats, depth + 1);
      }
      return found;
    }
    if (tag >= 0xdc || tag < 0xa0) {
      const found = [];
      for (let i = 0; i < value; i++) found.push(unpacked(read, floats, depth + 1));
      return found;
    }
    if (tag >= 0xc4 && tag <= 0xc6) return read.take(value).slice();
    check(value <= 2 ** 20, "the header has a name of over 1 MiB");
    return text(read.take(value));
  }

  /** UTF-8, in which lone surrogates may occur. */
  function text(bytes) {
    let found = "";
    for (let i = 0; i < bytes.length; ) {
      const first = bytes[i++];
      const more = first < 0x80 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
      let code = more ? first & (0x3f >> more) : first, left = more;
      for (; left > 0 && (bytes[i] & 0xc0) === 0x80; left--) code = (code << 6) | (bytes[i++] & 0x3f);
      check(left === 0 && code >= [0, 0x80, 0x800, 0x10000][more] && code <= 0x10ffff &&
        (first < 0x80 || (first >= 0xc2 && first < 0xf5)), "the header has a string that is no UTF-8");
      found += String.fromCodePoint(code);
    }
    return found;
  }

  /** Raw deflate (RFC 1951) undone; what it may refer to before its start is the dictionary. */
  function inflated(data, most, dictionary = new Uint8Array()) {
    const out = Array.from(dictionary), limit = out.length + most;
    const wrong = `a part does not inflate, or to over ${most} bytes, or more follows it`;
    let at = 0, held = 0, left = 0;
    const bits = (width) => {
      for (; left < width; left += 8) {
        check(at < data.length, wrong);
        held |= data[at++] << left;
      }
      const value = held & ((1 << width) - 1);
      held >>>= width;
      left -= width;
      return value;
    };
    const table = (lengths, fewest) => { // how many codes have each length; the symbols in order
      const counts = new Uint16Array(16), symbols = [];
      for (let n = 1; n < 16; n++) {
        lengths.forEach((length, symbol) => length === n && symbols.push(symbol));
        counts[n] = symbols.length - counts.reduce((sum, count) => sum + count);
      }
      const used = counts.reduce((sum, count, n) => sum + (count << (15 - n)), 0);
      const few = symbols.length >= fewest && symbols.length < 2 && counts[1] === symbols.length;
      check(used === 1 << 15 || few, wrong);
      return [counts, symbols];
    };
    const symbol = ([counts, symbols]) => {
      for (let n = 1, code = 0, first = 0, rank = 0; n < 16; n++) {
        code = 2 * code + bits(1);
        first *= 2;
        if (code - first < counts[n]) return symbols[rank + code - first];
        first += counts[n];
        rank += counts[n];
      }
      throw new BoilError(wrong);
    };
    const block = (longs, fars) => {
      for (let code = symbol(longs); code !== 256; code = symbol(longs)) {
        if (code < 256) {
          out.push(code);
        } else {
          check(code < 286, wrong);
          const more = code < 265 || code > 284 ? 0 : (code - 261) >> 2;
          const base = code > 284 ? 258 : more ? 3 + ((4 + ((code - 265) & 3)) << more) : code - 254;
          const length = base + bits(more), far = symbol(fars);
          check(far < 30, wrong);
          const most = Math.max(0, (far >> 1) - 1);
          const distance = 1 + (most ? (2 + (far & 1)) << most : far) + bits(most);
          check(distance <= out.length, wrong);
          for (let i = 0; i < length; i++) out.push(out[out.length - distance]);
        }
        check(out.length <= limit, wrong);
      }
    };
    for (let last = 0; !last; ) {
      last = bits(1);
      const kind = bits(2);
      check(kind < 3, wrong);
      if (kind === 0) {
        held = left = 0;
        const size = bits(16);
        check(bits(16) === (size ^ 0xffff) && at + size <= data.length, wrong);
        for (let i = 0; i < size; i++) out.push(data[at++]);
        check(out.length <= limit, wrong);
      } else if (kind === 1) {
        const lengths = [[144, 8], [112, 9], [24, 7], [8, 8]].flatMap(([n, w]) => Array(n).fill(w));
        block(table(lengths), table(Array(32).fill(5)));
      } else {
        const sizes = [bits(5) + 257, bits(5) + 1], count = bits(4) + 4, lengths = Array(19).fill(0);
        const order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
        for (const place of order.slice(0, count)) lengths[place] = bits(3);
        const all = [], codes = table(lengths);
        while (all.length < sizes[0] + sizes[1]) {
          const code = symbol(codes), last = all[all.length - 1];
          check(code !== 16 || all.length, wrong);
          if (code < 16) all.push(code);
          else if (code === 16) all.push(...Array(3 + bits(2)).fill(last));
          else all.push(...Array(code === 17 ? 3 + bits(3) : 11 + bits(7)).fill(0));
        }
        check(sizes[0] < 287 && sizes[1] < 31 && all.length === sizes[0] + sizes[1] && all[256], wrong);
        block(table(all.slice(0, sizes[0]), 1), table(all.slice(sizes[0]), 0));
      }
    }
    check(at === data.length, wrong);
    return new Uint8Array(out.slice(dictionary.length));
  }

  // ---- checksums

  const CRCS = Uint32Array.from({ length: 256 }, (_, crc) => {
    for (let i = 0; i < 8; i++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    return crc;
  });

  /** Of what follows that of which the checksum is `before`. */
  function crc32(data, before = 0) {
    let crc = ~before;
    for (let i = 0; i < data.length; i++) crc = CRCS[(crc ^ data[i]) & 255] ^ (crc >>> 8);
    return ~crc >>> 0;
  }

  const SIGMA = ["0123456789abcdef", "ea489fd61c02b753", "b8c052fdae367194", "7931dcbe265a40f8",
    "905724afe1bc683d", "2c6a0b834d75fe19", "c51fed4a0763928b", "db7ec13950f4862a",
    "6fe9b308c2d714a5", "a2847615fb9e3cd0"].map((row) => Array.from(row, (hex) => parseInt(hex, 16)));
  const ROUND = [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15],
    [0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]];
  const INITIAL = new Uint32Array(BigUint64Array.of(0x6a09e667f3bcc908n, 0xbb67ae8584caa73bn,
    0x3c6ef372fe94f82bn, 0xa54ff53a5f1d36f1n, 0x510e527fade682d1n, 0x9b05688c2b3e6c1fn,
    0x1f83d9abfb41bd6bn, 0x5be0cd19137e2179n).buffer);

  /** BLAKE2b without a key, 16 bytes (RFC 7693). A word of 64 bits is two of 32, the lower first. */
  function blake2b(data) {
    const h = INITIAL.slice(), v = new Uint32Array(32), block = new Uint8Array(128);
    const m = new Uint32Array(block.buffer);
    const add = (a, w, b) => {
      const low = v[2 * a] + w[2 * b];
      v[2 * a] = low;
      v[2 * a + 1] += w[2 * b + 1] + (low > 0xffffffff);
    };
    const turn = (d, a, bits) => { // v[d] = (v[d] ^ v[a]) rotated right by 1 to 31
      const low = v[2 * d] ^ v[2 * a], high = v[2 * d + 1] ^ v[2 * a + 1];
      v[2 * d] = (low >>> bits) | (high << (32 - bits));
      v[2 * d + 1] = (high >>> bits) | (low << (32 - bits));
    };
    const swap = (d) => ([v[2 * d], v[2 * d + 1]] = [v[2 * d + 1], v[2 * d]]);
    h[0] ^= 0x01010010;
    for (let at = 0, ends = false; !ends; ) {
      block.fill(0).set(data.subarray(at, at + 128));
      at = Math.min(at + 128, data.length);
      ends = at === data.length;
      v.set(h);
      v.set(INITIAL, 16);
      v[24] ^= at;
      v[25] ^= at / 2 ** 32;
      if (ends) [v[28], v[29]] = [~v[28], ~v[29]];
      for (let round = 0; round < 12; round++) {
        const order = SIGMA[round % 10];
        for (let i = 0; i < 8; i++) {
          const [a, b, c, d] = ROUND[i];
          add(a, v, b);
          add(a, m, order[2 * i]);
          v[2 * d] ^= v[2 * a];
          v[2 * d + 1] ^= v[2 * a + 1];
          swap(d);
          add(c, v, d);
          turn(b, c, 24);
          add(a, v, b);
          add(a, m, order[2 * i + 1]);
          turn(d, a, 16);
          add(c, v, d);
          turn(b, c, 31);
          swap(b);
        }
      }
      for (let i = 0; i < 16; i++) h[i] ^= v[i] ^ v[i + 16];
    }
    return new Uint8Array(h.buffer, 0, 16);
  }

  // ---- a tensor

  /** So many words of a tensor, coded in none of the ways that it may not be within. */
  function tensor(read, dtype, size, outer = []) {
    const first = read.byte(), coder = first % 4 === 1 ? first : first % 4, extra = first >> 2;
    if (coder === 0) return values(read, extra, size, dtype);
    if (coder === 1) return coded(read, size, dtype);
    if (coder === 2 || coder === 3) {
      const { gaps, filler, count } = readGaps(read, extra, size);
      const survivors = coder === 3 ? coded(read, count, dtype)
        : values(read, read.byte(), count, dtype);
      return placed(gaps, filler, survivors, size);
    }
    check(WITHIN.includes(coder) && !outer.includes(coder),
      `the first byte of a tensor, ${first}, stands for no way of storing it`);
    if (coder === 9) return grid(read, dtype, size);
    if (coder === 13) return planes(read, dtype, size);
    return signed(read, tensor(read, dtype, size, [5]), dtype);
  }

  function values(read, form, count, dtype) {
    check(form === OWN || (FORMS[dtype] || []).includes(form),
      `values are stored in form ${form}, which there is not for ${dtype}`);
    if (form === GRID) {
      const step = read.number("Float32", 4, true);
      check(step > 0 && step < Infinity, "the step of a grid is not a number above 0");
      return multiplied(new Int8Array(read.take(count).slice().buffer), [step], [step], count);
    }
    const width = Math.min(DTYPES[dtype][1], 8), kind = STORED[form] || WORDS[width];
    const stored = new kind(read.take(count * kind.BYTES_PER_ELEMENT).slice().buffer);
    check(dtype !== "bool" || stored.every((word) => word < 2),
      "an element is a bool, and neither 0 nor 1");
    if (form === INT8 || form === INT16 || form === INT32) {
      const wide = SIGNED[width].from(stored, width === 8 ? (word) => BigInt(word) : undefined);
      return new WORDS[width](wide.buffer);
    }
    if (form === BFLOAT16) return Uint32Array.from(stored, (word) => word << 16);
    return form === OWN ? stored : widened(stored, form, width);
  }

  /** Floats in a wider type, in which a NaN keeps its bits. */
  function widened(stored, form, width) {
    const [bits, bias] = form === FLOAT16 ? [10, 15] : [23, 127];
    const [more, wide] = width === 4 ? [23, 127] : [52, 1023], known = new Map();
    const wider = (word) => {
      let mantissa = word & ((1 << bits) - 1), exponent = (word >>> bits) & (2 * bias + 1);
      const sign = BigInt(word >>> (form === FLOAT16 ? 15 : 31));
      if (exponent === 2 * bias + 1) {
        exponent = 2 * wide + 1;
        if (mantissa && form === FLOAT32) mantissa |= 1 << 22; // as processors do
      } else if (exponent) {
        exponent += wide - bias;
      } else if (mantissa) { // a subnormal number, which is none in the wider type
        const shift = bits - 31 + Math.clz32(mantissa);
        mantissa = (mantissa << shift) & ((1 << bits) - 1);
        exponent = wide - bias + 1 - shift;
      }
      const high = sign * BigInt(2 * wide + 2) + BigInt(exponent);
      const whole = (high << BigInt(more)) | (BigInt(mantissa) << BigInt(more - bits));
      return width === 4 ? Number(whole) : whole;
    };
    return WORDS[width].from(stored, (word) => {
      if (!known.has(word)) known.set(word, wider(word));
      return known.get(word);
    });
  }

  /** Whole numbers of blocks times the block's step for those below 0 or the others, in fp32. */
  function multiplied(numbers, below, above, length) {
    const floats = new Float32Array(numbers.length);
    for (let i = 0; i < floats.length; i++) {
      floats[i] = numbers[i] * (numbers[i] < 0 ? below : above)[Math.floor(i / length)];
    }
    return new Uint32Array(floats.buffer);
  }

  function grid(read, dtype, size) {
    const head = read.varint(), length = Math.floor(head / 4), bySign = head % 2;
    check(dtype === "float32" && length >= 2 && length <= size && size % length === 0,
      `blocks of ${length} elements make no grid of ${size} of ${dtype}`);
    const inner = (kind, count) => tensor(read, kind, count, WITHIN).buffer;
    const steps = new Float32Array(inner("float32", (size / length) * (1 + bySign)));
    const numbers = head % 4 < 2 ? new Int8Array(inner("int8", size))
      : new Int16Array(inner("int16", size));
    return onGrid(steps, numbers, length, bySign);
  }

  /** Whole numbers times the steps of their blocks, one each or two, as words. */
  function onGrid(steps, numbers, length, bySign) {
    check(steps.every((step) => step >= 2 ** -126 && step < Infinity),
      "a step of a grid is not a normal number above 0");
    check(numbers.every((number) => Math.abs(number) < 256), "a grid has whole numbers beyond 255");
    const side = (odd) => (bySign ? steps.filter((_, i) => i % 2 === odd) : steps);
    return multiplied(numbers, side(0), side(1), length);
  }

  /** The lowest bytes of all words, then the next, ..., of words whose sign is the lowest bit. */
  function planes(read, dtype, size) {
    const width = Math.min(DTYPES[dtype][1], 8), turned = new Uint8Array(width * size);
    check(width > 1, `words are stored as planes, and there are none of ${dtype}`);
    for (let place = 0; place < width; place++) {
      tensor(read, "uint8", size, WITHIN).forEach((byte, i) => { turned[i * width + place] = byte; });
    }
    const words = new WORDS[width](turned.buffer);
    if (width === 8) return words.map((word) => (word >> 1n) | ((word & 1n) << 63n));
    return words.map((word) => (word >>> 1) + (word & 1) * 2 ** (8 * width - 1));
  }

  /** Zeros with their signs, a bit for each. */
  function signed(read, words, dtype) {
    const width = DTYPES[dtype][2], [zero, one] = width === 8 ? [0n, 1n << 63n] : [0, 2 ** (8 * width - 1)];
    check(width, `signs of zeros are stored, and zeros of ${dtype} have none`);
    const floats = new WORDS[width](words.buffer);
    for (let i = 0; i < floats.length; i++) {
      if (floats[i] === zero && read.bits(1)) floats[i] = one;
    }
    read.align();
    return words;
  }

  // ---- codes

  /** A codebook, and so many codes. */
  function coded(read, count, dtype) {
    const head = read.byte(), method = head & 15;
    check(method < 3, `values are coded by method ${method}, which there is not`);
    if (method === 2) {
      const parts = frequencies(read), book = values(read, head >> 4, parts.length, dtype);
      return book.constructor.from(count ? byRanges(read, parts, count) : [], (code) => book[code]);
    }
    const fixed = method === 0 ? read.varint() : 1;
    check(fixed >= 1 && fixed <= 65536, `a codebook of ${fixed} values, where 1 to 65536 are allowed`);
    const lengths = method === 0 ? even(32 - Math.clz32(fixed - 1)) : rankedLengths(read);
    const size = method === 0 ? fixed : lengths.length;
    const book = values(read, head >> 4, size, dtype);
    const codes = symbols(read, lengths, count);
    const most = codes.reduce((left, right) => Math.max(left, right), 0);
    check(most < size, `code ${most} stands for no value: the codebook has ${size}`);
    return book.constructor.from(codes, (code) => book[code]);
  }

  /** Falling frequencies that make up 4096. */
  function frequencies(read) {
    const size = read.varint(), parts = [];
    let before = 4096;
    for (let i = 0; i < Math.min(size, 1025); i++) parts.push((before -= read.varint()));
    check(size >= 1 && size <= 1024 && before > 0 && parts.reduce((a, b) => a + b) === 4096,
      `${size} frequencies, which do not make up 4096`);
    return parts;
  }

  /** So many symbols of a static range coder, whose four streams take turns. */
  function byRanges(read, parts, count) {
    const table = parts.flatMap((part, symbol) =>
      Array.from({ length: part }, (_, inside) => [symbol, part, inside]));
    const data = read.data.subarray(read.at, read.at + 16 + 2 * count);
    const states = [0, 0, 0, 0].map(() => read.number("Uint32", 4, true));
    const found = new Uint16Array(Math.ceil(count / 4) * 4);
    let at = 16;
    for (let i = 0; i < found.length; i++) {
      const [symbol, part, inside] = table[states[i & 3] % 4096];
      let state = part * Math.floor(states[i & 3] / 4096) + inside;
      if (state < 65536) {
        state = state * 65536 + (data[at] | (data[at + 1] << 8));
        at += 2;
      }
      states[i & 3] = state;
      found[i] = symbol;
    }
    check(at <= data.length && states.every((state) => state === 65536),
      "a stream of symbols is cut short, or does not end as it began");
    read.take(at - 16);
    return found.subarray(0, count);
  }

  function even(width) {
    return Array(2 ** width).fill(width);
  }

  /** The symbols of gaps, the one that stands for zeros alone, and how many elements have a place. */
  function readGaps(read, extra, most) {
    const width = (extra & 7) + 1, coder = extra >> 3, size = read.varint(), filler = 2 ** width - 1;
    check(size >= 1 && size <= most && coder < 2,
      `${size} gaps among ${most} elements, coded by method ${coder}`);
    const gaps = symbols(read, coder ? gapLengths(read, 2 ** width) : even(width), size);
    check(gaps[size - 1] !== filler, "the last gap has no element after it");
    return { gaps, filler, count: gaps.reduce((count, gap) => count + (gap !== filler), 0) };
  }

  /** Zeros with elements where the gaps between them say. */
  function placed(gaps, filler, survivors, size) {
    const words = new survivors.constructor(size);
    let at = 0, next = 0;
    for (let i = 0; i < gaps.length && at <= size; i++) {
      at += gaps[i];
      if (gaps[i] !== filler) words[at++] = survivors[next++];
    }
    check(at <= size, `the positions lead past the end of ${size} elements`);
    return words;
  }

  /** Code lengths that ascend: how many codes have 0, 1, 2, ... bits. */
  function rankedLengths(read) {
    const lengths = [];
    for (let free = 1, length = 0; free; length++) {
      const count = read.bits(32 - Math.clz32(free));
      check(length <= LONGEST && count <= free && lengths.length + count <= 65536,
        `${count} codes have ${length} bits: more than there can be`);
      for (let i = 0; i < count; i++) lengths.push(length);
      free = (free - count) * 2;
    }
    read.align();
    return lengths;
  }

  /** Code lengths of gaps, each by its difference to the last, and runs of symbols without. */
  function gapLengths(read, alphabet) {
    const lengths = [];
    for (let last = 1; lengths.length < alphabet; ) {
      let run = 0;
      if (read.bits(1)) {
        if (!read.bits(1)) {
          last += read.bits(1) ? -1 : 1;
        } else if (read.bits(1)) {
          last = read.bits(5);
        } else {
          let zeros = 0;
          while (zeros <= LONGEST && !read.bits(1)) zeros++;
          run = 2 ** zeros + read.bits(zeros);
        }
      }
      check(lengths.length + run <= alphabet && (run || (last >= 1 && last <= LONGEST)),
        `a code of gaps has ${last} bits, or its table is too long`);
      if (run === 0) lengths.push(last);
      for (let i = 0; i < run; i++) lengths.push(0);
    }
    read.align();
    check(lengths.some((length) => length), "the table of the gaps' code lengths is empty");
    return lengths;
  }

  /** So many symbols of a canonical prefix code. */
  function symbols(read, lengths, count) {
    const found = new Uint16Array(count), longest = lengths.reduce((a, b) => Math.max(a, b), 0);
    if (longest === 0) return found;
    const width = Math.min(longest, 12), table = new Uint32Array(2 ** width), longer = new Map();
    const ranked = Array.from(lengths.keys()).sort((a, b) => lengths[a] - lengths[b] || a - b);
    let code = 0; // of as many bits as the longest
    for (const symbol of ranked.filter((symbol) => lengths[symbol])) {
      const length = lengths[symbol], next = code + 2 ** (longest - length);
      check(next <= 2 ** longest, "the code lengths make no complete prefix code");
      if (length <= width) {
        table.fill(symbol * 32 + length, code >> (longest - width), next >> (longest - width));
      } else {
        longer.set((code >> (longest - length)) * 32 + length, symbol);
      }
      code = next;
    }
    check(code === 2 ** longest, "the code lengths make no complete prefix code");
    const data = read.data.subarray(read.at), ends = `a stream of ${count} symbols ends too soon`;
    let at = 0, bit = 0;
    for (let i = 0; i < count; i++) {
      const held = (data[at] << 24) | (data[at + 1] << 16) | (data[at + 2] << 8) | data[at + 3];
      const window = (held << bit) >>> (32 - longest), entry = table[window >> (longest - width)];
      let symbol = entry >> 5, length = entry & 31;
      for (let n = width + 1; length === 0; n++) {
        symbol = longer.get((window >> (longest - n)) * 32 + n);
        if (symbol !== undefined) length = n;
      }
      found[i] = symbol;
      bit += length;
      at += bit >> 3;
      bit &= 7;
      if (at + (bit > 0) > data.length) throw new BoilError(ends);
    }
    read.take(at + (bit > 0));
    check(((data[at] << bit) & 0xff) === 0 || bit === 0,
      "the bits that fill the last byte of a stream are not zero");
    return found;
  }

  // ---- the mixing coder

  const rounded = (size, of) => Float64Array.from({ length: size }, (_, i) => Math.round(of(i)));
  const STRETCH = rounded(4096, (i) => 256 * Math.log((i + 0.5) / (4095.5 - i)));
  const SQUASH = rounded(5631, (i) =>
    Math.min(Math.max(65536 / (1 + Math.exp((2815 - i) / 256)), 1), 65535));
  const RATE = Array.from({ length: 1001 }, (_, n) => Math.floor(655360 / (10 * n + 16)));
  const [FORM, SIGNED_, ZERO, CODED, SHAPE, LIVE, ALIVE, TURNED, ALONE, BY_SIGN] =
    [0, 16, 32, 48, 64, 80, 96, 112, 128, 144]; // places of counters
  const [SIZE, DROP, WIDTH, FIRST, LENGTH] = [160, 224, 288, 352, 416];
  const [KEYS, LENGTHS, COUNTERS] = [480, 608, 1472];
  const PARTS = { complex32: "float16", complex64: "float32", complex128: "float64" };
  const UNKNOWN = 2 ** 31; // a counter: 22 bits of probability, 10 of how often it was moved
  const ARRAYS = { // dtypes that a form is for, where it is not for all
    1: ["float32", "float64", "float16", "bfloat16"],
    5: NAMES.filter((name) => /^u?int/.test(name)),
    6: ["float32"],
  };
  const [SIMPLE, FLAT] = [5, 6]; // forms that hold no other array, and none but of one of these

  /** Reads arrays from one stream: decisions from its front, bits as they are from its end. */
  class Mixing {
    constructor(data) {
      this.data = data;
      this.low = 0;
      this.high = 0xffffffff;
      this.value = [0, 1, 2, 3].reduce((value, i) => value * 256 + (data[i] || 0), 0);
      this.at = 4;
      this.end = data.length;
      this.held = this.left = 0;
      this.counters = new Uint32Array(COUNTERS).fill(UNKNOWN);
      this.weights = new Float64Array(64 * 6).fill(10486);
    }

    /** Refuse a stream that does not end as it is written. */
    close() {
      let size = 0, least = 0;
      for (; ; size++) {
        const unit = 2 ** (32 - 8 * size);
        least = Math.ceil(this.low / unit) * unit;
        if (least + unit - 1 <= this.high) break;
      }
      const ending = this.data.subarray(this.at - 4, this.end);
      check(this.at - 4 + size === this.end && this.held === 0 &&
        ending.every((byte, i) => byte === (least >>> (24 - 8 * i)) % 256),
        "a stream does not end where it should");
    }

    /** A decision that is 1 with a probability of chance / 65536. */
    decide(chance) {
      const middle = this.low + Math.floor(((this.high - this.low) * chance) / 65536);
      const bit = this.value <= middle ? 1 : 0;
      if (bit) this.high = middle;
      else this.low = middle + 1;
      while (((this.low ^ this.high) & 0xff000000) === 0) {
        const byte = this.at < this.data.length ? this.data[this.at] : 0;
        check(++this.at <= this.data.length + 4, "a stream is cut short");
        this.low = (this.low << 8) >>> 0;
        this.high = ((this.high << 8) | 255) >>> 0;
        this.value = ((this.value << 8) | byte) >>> 0;
      }
      return bit;
    }

    /** A decision by a counter. */
    counted(place, counters = this.counters, most = 250) {
      const bit = this.decide(Math.max(counters[place] >>> 16, 1));
      counters[place] = renewed(counters[place], bit, most);
      return bit;
    }

    /** A number from 0 to `most`. */
    small(place, most) {
      let count = 0;
      while (count < most && this.counted(place + count)) count++;
      return count;
    }

    /** A number of so many bits. */
    tree(place, bits) {
      let node = 1;
      for (let i = 0; i < bits; i++) node = 2 * node + this.counted(place + node);
      return node - 2 ** bits;
    }

    /** A number below 2^63, a BigInt. */
    large(place) {
      const length = this.tree(place, 6);
      let found = length ? 1n : 0n;
      for (let i = 1; i < length; i++) found = 2n * found + BigInt(this.decide(32768));
      return found;
    }

    /** The same as a Number, rounded where it is beyond 2^53, which all bounds are below. */
    number(place) {
      return Number(this.large(place));
    }

    /** So many bits as they are, the lowest first; 32 at most. */
    bits(width) {
      let value = 0;
      for (let done = 0; done < width; ) {
        if (this.left === 0) {
          check(this.end > 0, "a stream is cut short");
          [this.held, this.left] = [this.data[--this.end], 8];
        }
        const taken = Math.min(this.left, width - done);
        value += (this.held & ((1 << taken) - 1)) * 2 ** done;
        this.held >>= taken;
        this.left -= taken;
        done += taken;
      }
      return value;
    }

    /** So many bits as they are, a BigInt. */
    plain(width) {
      const low = BigInt(this.bits(Math.min(width, 32)));
      return width > 32 ? low | (BigInt(this.bits(width - 32)) << 32n) : low;
    }

    /** An array of words, of which those of complex numbers are twice as many real ones. */
    words(kind, base) {
      const { dtype, size, columns } = kind, bits = bitsOf(dtype), words = WORDS[bits / 8];
      if (dtype in PARTS) {
        const times = bits / bitsOf(PARTS[dtype]);
        const inner = { dtype: PARTS[dtype], size: size * times, columns: columns * times };
        const held = base && new WORDS[bitsOf(inner.dtype) / 8](base.buffer);
        return new words(this.words(inner, held).buffer);
      }
      const signed = DTYPES[dtype][2] && this.small(SIGNED_, 1);
      const keys = this.keys(kind, base, 8), unfold = unfolder(dtype), found = new words(size);
      for (let i = 0; i < size; i++) {
        let word = unfold(keys[i]);
        if (signed && word === 0n && this.bits(1)) word = 1n << BigInt(bits - 1);
        found[i] = bits < 64 ? Number(word) : word;
      }
      check(dtype !== "bool" || found.every((word) => word < 2),
        "an element is a bool, and neither 0 nor 1");
      return found;
    }

    /** An array in one of the first forms; of words a key has the sign as its lowest bit. */
    keys(kind, base, most) {
      const form = this.small(FORM, 8);
      check(form < most && (ARRAYS[form] || NAMES).includes(kind.dtype) && (form < 7 || base),
        `form ${form} stands for no way of storing an array of ${kind.dtype}`);
      const forms = [this.codebook, this.floats, this.integers, this.asTheyAre, this.deflated,
        this.steps, this.grid, this.difference];
      return forms[form].call(this, kind, base);
    }

    /** Distinct keys, rising, and the place of each element's among them. */
    codebook({ dtype, size, columns }) {
      const count = this.number(SIZE) + 1, drop = DTYPES[dtype][2] ? this.number(DROP) : 0;
      check(count <= Math.min(1024, size) && drop < bitsOf(dtype),
        `a codebook of ${count} values with ${drop} zeros at their end`);
      let key = -1n;
      const book = Array.from({ length: count }, (_, i) => {
        key += this.large(KEYS + (i ? 64 : 0)) + 1n;
        return ((key >> 1n) << BigInt(drop + 1)) | (key & 1n);
      });
      check(key < 1n << BigInt(Math.min(bitsOf(dtype) - drop, 62)),
        "a value of a codebook has too many bits");
      return BigUint64Array.from(this.matrix(size, columns, count), (symbol) => book[symbol]);
    }

    /** Exponents as a matrix of symbols, then signs and mantissas. */
    floats({ dtype, size, columns }) {
      const bits = bitsOf(dtype) - 1, drop = this.number(DROP), low = this.number(WIDTH);
      const coded = this.small(CODED, 6), zeros = this.small(ZERO, 1), least = this.large(FIRST);
      const span = this.number(SIZE) + 1;
      check(drop + low < bits && 8 * coded <= low && span <= 1024 &&
        least + BigInt(span - zeros) <= 1n << BigInt(bits - drop - low),
        `${span} exponents from ${least}, ${low} bits of mantissas above ${drop}`);
      const heads = this.matrix(size, columns, span);
      const count = heads.reduce((sum, head) => sum + (head >= zeros), 0);
      const lowest = new Float64Array(count), width = low - 8 * coded + 1;
      for (let i = 0; i < coded; i++) {
        this.matrix(count, count, 256).forEach((byte, at) => { lowest[at] += byte * 256 ** i; });
      }
      let next = 0;
      const [above, below, start] = [BigInt(drop + low), BigInt(drop), least - BigInt(zeros)];
      return BigUint64Array.from(heads, (head) => {
        if (head < zeros) return 0n;
        const rest = this.plain(width);
        const mantissa = ((rest >> 1n) << BigInt(8 * coded)) | BigInt(lowest[next++]);
        const key = ((BigInt(head) + start) << above) | (mantissa << below);
        return (key << 1n) | (rest & 1n);
      });
    }

    /** The highest bits of keys as a matrix of symbols, the others as they are. */
    integers({ dtype, size, columns }) {
      const fine = this.small(CODED, 3), count = this.number(SIZE) + 1, one = 1 << fine;
      check(count <= (bitsOf(dtype) - fine + 1) * one, `integers of ${count} kinds`);
      return BigUint64Array.from(this.matrix(size, columns, count), (symbol) => {
        const width = Math.max((symbol >> fine) - 1, 0);
        const head = width ? (symbol & (one - 1)) | one : symbol;
        return (BigInt(head) << BigInt(width)) | this.plain(width);
      });
    }

    /** Keys. */
    asTheyAre({ dtype, size }) {
      check(this.end * 8 + 8 >= size * bitsOf(dtype), "a stream is cut short");
      return new BigUint64Array(size).map(() => this.plain(bitsOf(dtype)));
    }

    /** The lowest bytes of all keys, then the next, ..., deflated. */
    deflated({ dtype, size, columns }) {
      const turned = this.small(TURNED, 1), length = this.number(LENGTH), width = bitsOf(dtype) / 8;
      check(length <= this.end + 1, "a stream is cut short");
      const planes = inflated(new Uint8Array(length).map(() => this.bits(8)), size * width);
      check(planes.length === size * width, "an array does not inflate to its size");
      const bytes = new Uint8Array(8 * size), rows = size / columns;
      for (let i = 0; i < size; i++) {
        const from = turned ? (i % columns) * rows + Math.floor(i / columns) : i;
        for (let byte = 0; byte < width; byte++) bytes[8 * i + byte] = planes[byte * size + from];
      }
      return new BigUint64Array(bytes.buffer);
    }

    /** Integers by their differences to the one before. */
    steps(kind) {
      const bits = bitsOf(kind.dtype), fold = folder(kind.dtype);
      let word = 0n;
      return this.keys({ ...kind, dtype: `uint${bits}` }, null, SIMPLE).map((key) => {
        word = BigInt.asUintN(bits, word + zigzag(key));
        return fold(word);
      });
    }

    /** Steps of blocks, and whole numbers. */
    grid(kind) {
      const length = this.number(LENGTH), bySign = this.small(BY_SIGN, 1);
      check(length >= 2 && kind.size % length === 0,
        `blocks of ${length} elements do not make up ${kind.size}`);
      const count = (kind.size / length) * (1 + bySign), unfold = unfolder("float32");
      const steps = this.keys({ dtype: "float32", size: count, columns: count }, null, FLAT);
      const codes = this.keys({ ...kind, dtype: "int16" }, null, FLAT);
      const sizes = Uint32Array.from(steps, (key) => Number(unfold(key)));
      const words = onGrid(new Float32Array(sizes.buffer),
        Int16Array.from(codes, (key) => Number(zigzag(key))), length, bySign);
      return BigUint64Array.from(words, (word) => folder("float32")(BigInt(word)));
    }

    /** Differences to the words of a base, both in the order of their numbers. */
    difference(kind, base) {
      const bits = bitsOf(kind.dtype), half = 1n << BigInt(bits - 1), fold = folder(kind.dtype);
      return this.keys({ ...kind, dtype: `uint${bits}` }, null, SIMPLE).map((key, i) => {
        const word = BigInt(base[i]);
        if (!DTYPES[kind.dtype][2]) return fold(BigInt.asUintN(bits, word + zigzag(key)));
        const rank = word & half ? ~(word ^ half) : word; // -0.0 is -1
        const number = BigInt.asUintN(bits, rank + zigzag(key)), below = number >> BigInt(bits - 1);
        return (((below ? ~number : number) & (half - 1n)) << 1n) | below;
      });
    }

    /** A matrix of so many symbols, each below `size`. */
    matrix(count, columns, size) {
      const found = new Uint16Array(count), shape = [count / columns, columns].map((n) =>
        (count ? Array.from({ length: n }, (_, i) => i) : []));
      if (size < 2 || count === 0) return found;
      if (count > columns && this.small(LIVE, 1)) {
        [ALIVE, ALIVE + 8].forEach((place, axis) => {
          let before = 0;
          shape[axis] = shape[axis].filter(() => {
            const bit = this.counted(place + before);
            before = ((before << 1) & 6) | bit;
            return bit;
          });
        });
      }
      const [rows, live] = shape.map((alive) => alive.length);
      const turned = Math.min(rows, live) > 1 && this.small(TURNED, 1);
      if (!rows || !live) return found;
      const alone = this.small(ALONE, 1), { children, levels } = treeOf(this.lengths(size));
      const across = turned ? rows : live;
      const symbols = alone ? this.alone(rows * live, children)
        : this.plane(rows * live, across, children, levels);
      symbols.forEach((symbol, i) => {
        const [down, along] = [Math.floor(i / across), i % across];
        const [row, column] = turned ? [along, down] : [down, along];
        found[shape[0][row] * columns + shape[1][column]] = symbol;
      });
      return found;
    }

    /** The code lengths of so many symbols. */
    lengths(size) {
      const shape = size > 2 ? this.small(SHAPE, 2) : 0;
      if (shape < 2) { // even ones, but for one of 1 for symbol 0
        const bits = 32 - Math.clz32(size - shape - 1), short = 2 ** bits - size + shape;
        const even = Array.from({ length: size - shape }, (_, i) => shape + bits - (i < short ? 1 : 0));
        return shape ? [1, ...even] : even;
      }
      let before = 0;
      return Array.from({ length: size }, () => {
        before = this.tree(LENGTHS + 32 * Math.min(before, 26), 5);
        return before;
      });
    }

    /** Symbols by how often each was. */
    alone(count, children) {
      const counters = new Uint32Array(children.length).fill(UNKNOWN);
      return new Uint16Array(count).map(() => {
        let node = 0;
        while (node >= 0) node = children[node][this.counted(node, counters, 1000)];
        return -1 - node;
      });
    }

    /** Symbols by six counters that are mixed. */
    plane(count, columns, children, levels) {
      const nodes = children.length, single = count === columns;
      const top = single ? 0 : Math.min(4, nodes); // nodes that each column has counters for
      const others = 2 * nodes + columns * top;
      const counters = new Uint32Array(others + 577 * nodes).fill(UNKNOWN);
      const means = new Float64Array(columns).fill(32768), seen = new Float64Array(columns);
      const found = new Uint16Array(count), places = new Float64Array(6), inputs = new Float64Array(6);
      const { weights } = this;
      const level = (at) => levels[found[at]];
      const towards = (mean, to, seen, most) =>
        mean + Math.floor(((to - mean) * RATE[Math.min(seen, most)]) / 65536);
      let overall = 32768, mean = 32768;
      for (let at = 0; at < count; at++) {
        const column = at % columns, kept = single ? 0 : column;
        if (column === 0) {
          counters.fill(UNKNOWN, nodes, 2 * nodes);
          mean = overall;
        }
        if (seen[kept] === 0) means[kept] = overall;
        const left = column > 0 ? level(at - 1) >> 13 : 0, far = column > 1 ? level(at - 2) >> 13 : 0;
        const above = at >= columns ? level(at - columns) >> 13 : 0;
        const third = others + nodes + above * 8 + left;
        const fourth = others + 65 * nodes + (mean >> 12) * 16 + (means[kept] >> 12);
        const fifth = others + 321 * nodes + ((mean + means[kept]) >> 12) * 8 + far;
        const ages = age(column) * 4 + age(seen[kept]);
        let node = 0;
        while (node >= 0) {
          places[0] = node;
          places[1] = nodes + node;
          places[2] = node < top ? 2 * nodes + column * top + node : others + node;
          places[3] = third + 64 * node;
          places[4] = fourth + 256 * node;
          places[5] = fifth + 256 * node;
          const set = 6 * (Math.min(node, 3) * 16 + ages);
          let total = 0;
          for (let i = 0; i < 6; i++) {
            inputs[i] = STRETCH[counters[places[i]] >>> 20];
            total += inputs[i] * weights[set + i];
          }
          const y = Math.min(Math.max(Math.floor(total / 65536), -2815), 2815);
          const chance = SQUASH[y + 2815], bit = this.decide(chance);
          const error = (bit * 65536 - chance) * 3;
          for (let i = 0; i < 6; i++) {
            weights[set + i] += (inputs[i] * error + 131072) >> 18;
            counters[places[i]] = renewed(counters[places[i]], bit, 1000);
          }
          node = children[node][bit];
        }
        found[at] = -1 - node;
        mean = towards(mean, level(at), column, 100);
        means[kept] = towards(means[kept], level(at), seen[kept], 100);
        overall = towards(overall, level(at), at, 1000);
        seen[kept]++;
      }
      return found;
    }
  }

  function age(count) {
    return count < 2 ? count : count < 16 ? 2 : 3;
  }

  /** A counter after a decision. */
  function renewed(counter, bit, most) {
    const seen = counter & 1023, chance = counter >>> 10;
    const moved = chance + Math.floor(((bit * 4194304 - chance) * RATE[seen]) / 65536);
    return moved * 1024 + (seen < most ? seen + 1 : seen);
  }

  function bitsOf(dtype) {
    return 8 * Math.min(DTYPES[dtype][1], 8);
  }

  /** A key as the signed number that it stands for in zigzag. */
  function zigzag(key) {
    return key & 1n ? ~(key >> 1n) : key >> 1n;
  }

  /** A word as a key: floats with the sign as the lowest bit, signed integers in zigzag. */
  function folder(dtype) {
    const bits = bitsOf(dtype), most = BigInt(bits - 1);
    if (DTYPES[dtype][2]) return (word) => BigInt.asUintN(bits, (word << 1n) | (word >> most));
    if (!dtype.startsWith("int")) return (word) => word;
    return (word) => BigInt.asUintN(bits, word >> most ? ~(word << 1n) : word << 1n);
  }

  function unfolder(dtype) {
    const bits = bitsOf(dtype), most = BigInt(bits - 1);
    if (DTYPES[dtype][2]) return (key) => (key >> 1n) | ((key & 1n) << most);
    return dtype.startsWith("int") ? (key) => BigInt.asUintN(bits, zigzag(key)) : (key) => key;
  }

  /** Nodes of a code, level by level, each two nodes or -1 - symbol; the level of each symbol. */
  function treeOf(lengths) {
    const used = lengths.filter((length) => length);
    check(used.length > 1 && used.every((length) => length <= LONGEST) &&
      used.reduce((sum, length) => sum + 2 ** -length, 0) === 1,
      "the lengths of codes belong to no code");
    const children = [];
    for (let inner = 1, length = 1; inner; length++) {
      const slots = [];
      lengths.forEach((bits, symbol) => bits === length && slots.push(-1 - symbol));
      const leaves = slots.length, first = children.length + inner - leaves;
      while (slots.length < 2 * inner) slots.push(first + slots.length);
      for (let i = 0; i < slots.length; i += 2) children.push(slots.slice(i, i + 2));
      inner = 2 * inner - leaves;
    }
    let below = 0;
    const levels = lengths.map((length) => {
      const part = length ? 2 ** (24 - length) : 0, level = ((below + (part >> 1)) >> 12) << 4;
      below += part;
      return level;
    });
    return { children, levels };
  }

  // ---- the command line

  function main(file, ...options) {
    const fs = require("fs"), path = require("path");
    const option = (name) => (options.includes(name) ? options[options.indexOf(name) + 1] : null);
    const plain = (_, value) => (typeof value === "bigint" ? String(value)
      : value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value);
    try {
      const base = option("--base") ? decode(fs.readFileSync(option("--base"))) : null;
      const { tensors, names, config } = decode(fs.readFileSync(file), base);
      const rows = names.map((name, i) => {
        const { dtype, shape, data } = tensors[name];
        console.log([JSON.stringify(name), dtype, JSON.stringify(shape), data.byteLength].join("\t"));
        return { name, dtype, shape, file: `${i}.bin` };
      });
      console.log(`config\t${JSON.stringify(config, plain)}`);
      const out = option("-o");
      if (out === null) return;
      fs.mkdirSync(out, { recursive: true });
      rows.forEach(({ name, file }) => fs.writeFileSync(path.join(out, file), tensors[name].data));
      const index = JSON.stringify({ config, tensors: rows }, plain, 1);
      fs.writeFileSync(path.join(out, "index.json"), `${index}\n`);
    } catch (error) {
      if (!(error instanceof BoilError) && !error.code) throw error;
      console.error(`boil.js: ${error.message}`);
      process.exitCode = 1;
    }
  }

  // boildown's codec/dictionary.bin, in base 64
  const DICTIONARY = "lMCQ3AAX2SFlbWJlZGRpbmdzLndvcmRfZW1iZWRkaW5ncy53ZWlnaHTZJWVtYmVkZGluZ3MucG9zaXRpb25fZW1iZWRkaW5ncy53ZWlnaHTZJ2VtYmVkZGluZ3MudG9rZW5fdHlwZV9lbWJlZGRpbmdzLndlaWdodLtlbWJlZGRpbmdzLkxheWVyTm9ybS53ZWlnaHS5ZW1iZWRkaW5ncy5MYXllck5vcm0uYmlhc9krZW5jb2Rlci5sYXllci4wLmF0dGVudGlvbi5zZWxmLnF1ZXJ5LndlaWdodNkpZW5jb2Rlci5sYXllci4wLmF0dGVudGlvbi5zZWxmLnF1ZXJ5LmJpYXPZKWVuY29kZXIubGF5ZXIuMC5hdHRlbnRpb24uc2VsZi5rZXkud2VpZ2h02SdlbmNvZGVyLmxheWVyLjAuYXR0ZW50aW9uLnNlbGYua2V5LmJpYXPZK2VuY29kZXIubGF5ZXIuMC5hdHRlbnRpb24uc2VsZi52YWx1ZS53ZWlnaHTZKWVuY29kZXIubGF5ZXIuMC5hdHRlbnRpb24uc2VsZi52YWx1ZS5iaWFz2S1lbmNvZGVyLmxheWVyLjAuYXR0ZW50aW9uLm91dHB1dC5kZW5zZS53ZWlnaHTZK2VuY29kZXIubGF5ZXIuMC5hdHRlbnRpb24ub3V0cHV0LmRlbnNlLmJpYXPZMWVuY29kZXIubGF5ZXIuMC5hdHRlbnRpb24ub3V0cHV0LkxheWVyTm9ybS53ZWlnaHTZL2VuY29kZXIubGF5ZXIuMC5hdHRlbnRpb24ub3V0cHV0LkxheWVyTm9ybS5iaWFz2SllbmNvZGVyLmxheWVyLjAuaW50ZXJtZWRpYXRlLmRlbnNlLndlaWdodNknZW5jb2Rlci5sYXllci4wLmludGVybWVkaWF0ZS5kZW5zZS5iaWFz2SNlbmNvZGVyLmxheWVyLjAub3V0cHV0LmRlbnNlLndlaWdodNkhZW5jb2Rlci5sYXllci4wLm91dHB1dC5kZW5zZS5iaWFz2SdlbmNvZGVyLmxheWVyLjAub3V0cHV0LkxheWVyTm9ybS53ZWlnaHTZJWVuY29kZXIubGF5ZXIuMC5vdXRwdXQuTGF5ZXJOb3JtLmJpYXOzcG9vbGVyLmRlbnNlLndlaWdodLFwb29sZXIuZGVuc2UuYmlhc9wAXAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAlMCQ3AARtnRyYW5zZm9ybWVyLnd0ZS53ZWlnaHS2dHJhbnNmb3JtZXIud3BlLndlaWdodLt0cmFuc2Zvcm1lci5oLjAubG5fMS53ZWlnaHS5dHJhbnNmb3JtZXIuaC4wLmxuXzEuYmlhc9kidHJhbnNmb3JtZXIuaC4wLmF0dG4uY19hdHRuLndlaWdodNkgdHJhbnNmb3JtZXIuaC4wLmF0dG4uY19hdHRuLmJpYXPZInRyYW5zZm9ybWVyLmguMC5hdHRuLmNfcHJvai53ZWlnaHTZIHRyYW5zZm9ybWVyLmguMC5hdHRuLmNfcHJvai5iaWFzu3RyYW5zZm9ybWVyLmguMC5sbl8yLndlaWdodLl0cmFuc2Zvcm1lci5oLjAubG5fMi5iaWFzv3RyYW5zZm9ybWVyLmguMC5tbHAuY19mYy53ZWlnaHS9dHJhbnNmb3JtZXIuaC4wLm1scC5jX2ZjLmJpYXPZIXRyYW5zZm9ybWVyLmguMC5tbHAuY19wcm9qLndlaWdodL90cmFuc2Zvcm1lci5oLjAubWxwLmNfcHJvai5iaWFzt3RyYW5zZm9ybWVyLmxuX2Yud2VpZ2h0tXRyYW5zZm9ybWVyLmxuX2YuYmlhc65sbV9oZWFkLndlaWdodNwARAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAlMCQm7ltb2RlbC5lbWJlZF90b2tlbnMud2VpZ2h02SZtb2RlbC5sYXllcnMuMC5zZWxmX2F0dG4ucV9wcm9qLndlaWdodNkmbW9kZWwubGF5ZXJzLjAuc2VsZl9hdHRuLmtfcHJvai53ZWlnaHTZJm1vZGVsLmxheWVycy4wLnNlbGZfYXR0bi52X3Byb2oud2VpZ2h02SZtb2RlbC5sYXllcnMuMC5zZWxmX2F0dG4ub19wcm9qLndlaWdodNkjbW9kZWwubGF5ZXJzLjAubWxwLmdhdGVfcHJvai53ZWlnaHTZIW1vZGVsLmxheWVycy4wLm1scC51cF9wcm9qLndlaWdodNkjbW9kZWwubGF5ZXJzLjAubWxwLmRvd25fcHJvai53ZWlnaHTZJW1vZGVsLmxheWVycy4wLmlucHV0X2xheWVybm9ybS53ZWlnaHTZLm1vZGVsLmxheWVycy4wLnBvc3RfYXR0ZW50aW9uX2xheWVybm9ybS53ZWlnaHSxbW9kZWwubm9ybS53ZWlnaHTcACwAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQJTAkNwAGqxjb252MS53ZWlnaHSqYm4xLndlaWdodKhibjEuYmlhc7BibjEucnVubmluZ19tZWFur2JuMS5ydW5uaW5nX3ZhcrdibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjEuMC5jb252MS53ZWlnaHSzbGF5ZXIxLjAuYm4xLndlaWdodLFsYXllcjEuMC5ibjEuYmlhc7lsYXllcjEuMC5ibjEucnVubmluZ19tZWFuuGxheWVyMS4wLmJuMS5ydW5uaW5nX3ZhctkgbGF5ZXIxLjAuYm4xLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIxLjAuY29udjIud2VpZ2h0s2xheWVyMS4wLmJuMi53ZWlnaHSxbGF5ZXIxLjAuYm4yLmJpYXO5bGF5ZXIxLjAuYm4yLnJ1bm5pbmdfbWVhbrhsYXllcjEuMC5ibjIucnVubmluZ192YXLZIGxheWVyMS4wLmJuMi5udW1fYmF0Y2hlc190cmFja2VkvGxheWVyMi4wLmRvd25zYW1wbGUuMC53ZWlnaHS8bGF5ZXIyLjAuZG93bnNhbXBsZS4xLndlaWdodLpsYXllcjIuMC5kb3duc2FtcGxlLjEuYmlhc9kibGF5ZXIyLjAuZG93bnNhbXBsZS4xLnJ1bm5pbmdfbWVhbtkhbGF5ZXIyLjAuZG93bnNhbXBsZS4xLnJ1bm5pbmdfdmFy2SlsYXllcjIuMC5kb3duc2FtcGxlLjEubnVtX2JhdGNoZXNfdHJhY2tlZKlmYy53ZWlnaHSnZmMuYmlhc9wAaAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAAAJAQAACQEAAAkBAlISoX3RhcmdldF/ZJWJvaWxkb3duLm1vZGVscy5zcXVlZXplbmV0LlNxdWVlemVOZXSnZHJvcG91dMs/4AAAAAAAAKtpbnB1dF9zaGFwZZMDzODM4KtudW1fY2xhc3Nlc80D6JDcADSsY29udjEud2VpZ2h0qmNvbnYxLmJpYXO3ZmlyZTIuc3F1ZWV6ZTF4MS53ZWlnaHS1ZmlyZTIuc3F1ZWV6ZTF4MS5iaWFztmZpcmUyLmV4cGFuZDF4MS53ZWlnaHS0ZmlyZTIuZXhwYW5kMXgxLmJpYXO2ZmlyZTIuZXhwYW5kM3gzLndlaWdodLRmaXJlMi5leHBhbmQzeDMuYmlhc7dmaXJlMy5zcXVlZXplMXgxLndlaWdodLVmaXJlMy5zcXVlZXplMXgxLmJpYXO2ZmlyZTMuZXhwYW5kMXgxLndlaWdodLRmaXJlMy5leHBhbmQxeDEuYmlhc7ZmaXJlMy5leHBhbmQzeDMud2VpZ2h0tGZpcmUzLmV4cGFuZDN4My5iaWFzt2ZpcmU0LnNxdWVlemUxeDEud2VpZ2h0tWZpcmU0LnNxdWVlemUxeDEuYmlhc7ZmaXJlNC5leHBhbmQxeDEud2VpZ2h0tGZpcmU0LmV4cGFuZDF4MS5iaWFztmZpcmU0LmV4cGFuZDN4My53ZWlnaHS0ZmlyZTQuZXhwYW5kM3gzLmJpYXO3ZmlyZTUuc3F1ZWV6ZTF4MS53ZWlnaHS1ZmlyZTUuc3F1ZWV6ZTF4MS5iaWFztmZpcmU1LmV4cGFuZDF4MS53ZWlnaHS0ZmlyZTUuZXhwYW5kMXgxLmJpYXO2ZmlyZTUuZXhwYW5kM3gzLndlaWdodLRmaXJlNS5leHBhbmQzeDMuYmlhc7dmaXJlNi5zcXVlZXplMXgxLndlaWdodLVmaXJlNi5zcXVlZXplMXgxLmJpYXO2ZmlyZTYuZXhwYW5kMXgxLndlaWdodLRmaXJlNi5leHBhbmQxeDEuYmlhc7ZmaXJlNi5leHBhbmQzeDMud2VpZ2h0tGZpcmU2LmV4cGFuZDN4My5iaWFzt2ZpcmU3LnNxdWVlemUxeDEud2VpZ2h0tWZpcmU3LnNxdWVlemUxeDEuYmlhc7ZmaXJlNy5leHBhbmQxeDEud2VpZ2h0tGZpcmU3LmV4cGFuZDF4MS5iaWFztmZpcmU3LmV4cGFuZDN4My53ZWlnaHS0ZmlyZTcuZXhwYW5kM3gzLmJpYXO3ZmlyZTguc3F1ZWV6ZTF4MS53ZWlnaHS1ZmlyZTguc3F1ZWV6ZTF4MS5iaWFztmZpcmU4LmV4cGFuZDF4MS53ZWlnaHS0ZmlyZTguZXhwYW5kMXgxLmJpYXO2ZmlyZTguZXhwYW5kM3gzLndlaWdodLRmaXJlOC5leHBhbmQzeDMuYmlhc7dmaXJlOS5zcXVlZXplMXgxLndlaWdodLVmaXJlOS5zcXVlZXplMXgxLmJpYXO2ZmlyZTkuZXhwYW5kMXgxLndlaWdodLRmaXJlOS5leHBhbmQxeDEuYmlhc7ZmaXJlOS5leHBhbmQzeDMud2VpZ2h0tGZpcmU5LmV4cGFuZDN4My5iaWFzrWNvbnYxMC53ZWlnaHSrY29udjEwLmJpYXPcAOoABGADBwcAAWAABBBgAQEAARAABEAQAQEAAUAABEAQAwMAAUAABBDMgAEBAAEQAARAEAEBAAFAAARAEAMDAAFAAAQgzIABAQABIAAEzIAgAQEAAcyAAATMgCADAwABzIAABCDNAQABAQABIAAEzIAgAQEAAcyAAATMgCADAwABzIAABDDNAQABAQABMAAEzMAwAQEAAczAAATMwDADAwABzMAABDDNAYABAQABMAAEzMAwAQEAAczAAATMwDADAwABzMAABEDNAYABAQABQAAEzQEAQAEBAAHNAQAABM0BAEADAwABzQEAAARAzQIAAQEAAUAABM0BAEABAQABzQEAAATNAQBAAwMAAc0BAAAEzQPozQIAAQEAAc0D6JSEqF90YXJnZXRfuWJvaWxkb3duLm1vZGVscy52Z2cuVkdHMTanZHJvcG91dMs/4AAAAAAAAKtpbnB1dF9zaGFwZZMDzODM4KtudW1fY2xhc3Nlc80D6JDcACCuY29udjFfMS53ZWlnaHSsY29udjFfMS5iaWFzrmNvbnYxXzIud2VpZ2h0rGNvbnYxXzIuYmlhc65jb252Ml8xLndlaWdodKxjb252Ml8xLmJpYXOuY29udjJfMi53ZWlnaHSsY29udjJfMi5iaWFzrmNvbnYzXzEud2VpZ2h0rGNvbnYzXzEuYmlhc65jb252M18yLndlaWdodKxjb252M18yLmJpYXOuY29udjNfMy53ZWlnaHSsY29udjNfMy5iaWFzrmNvbnY0XzEud2VpZ2h0rGNvbnY0XzEuYmlhc65jb252NF8yLndlaWdodKxjb252NF8yLmJpYXOuY29udjRfMy53ZWlnaHSsY29udjRfMy5iaWFzrmNvbnY1XzEud2VpZ2h0rGNvbnY1XzEuYmlhc65jb252NV8yLndlaWdodKxjb252NV8yLmJpYXOuY29udjVfMy53ZWlnaHSsY29udjVfMy5iaWFzqmZjNi53ZWlnaHSoZmM2LmJpYXOqZmM3LndlaWdodKhmYzcuYmlhc6pmYzgud2VpZ2h0qGZjOC5iaWFz3ACKAARAAwMDAAFAAARAQAMDAAFAAATMgEADAwABzIAABMyAzIADAwABzIAABM0BAMyAAwMAAc0BAAAEzQEAzQEAAwMAAc0BAAAEzQEAzQEAAwMAAc0BAAAEzQIAzQEAAwMAAc0CAAAEzQIAzQIAAwMAAc0CAAAEzQIAzQIAAwMAAc0CAAAEzQIAzQIAAwMAAc0CAAAEzQIAzQIAAwMAAc0CAAAEzQIAzQIAAwMAAc0CAAACzRAAzWIAAAHNEAAAAs0QAM0QAAABzRAAAALNA+jNEAAAAc0D6JSEqF90YXJnZXRfv2JvaWxkb3duLm1vZGVscy5hbGV4bmV0LkFsZXhOZXSnZHJvcG91dMs/4AAAAAAAAKtpbnB1dF9zaGFwZZMDzOPM46tudW1fY2xhc3Nlc80D6JDcABCsY29udjEud2VpZ2h0qmNvbnYxLmJpYXOsY29udjIud2VpZ2h0qmNvbnYyLmJpYXOsY29udjMud2VpZ2h0qmNvbnYzLmJpYXOsY29udjQud2VpZ2h0qmNvbnY0LmJpYXOsY29udjUud2VpZ2h0qmNvbnY1LmJpYXOqZmM2LndlaWdodKhmYzYuYmlhc6pmYzcud2VpZ2h0qGZjNy5iaWFzqmZjOC53ZWlnaHSoZmM4LmJpYXPcAEIABGADCwsAAWAABM0BADAFBQABzQEAAATNAYDNAQADAwABzQGAAATNAYDMwAMDAAHNAYAABM0BAMzAAwMAAc0BAAACzRAAzSQAAAHNEAAAAs0QAM0QAAABzRAAAALNA+jNEAAAAc0D6JSDqF90YXJnZXRf2SZib2lsZG93bi5sb3dyYW5rLmZhY3Rvcml6ZS5yZXN0cnVjdHVyZaVtb2RlbIOoX3RhcmdldF++Ym9pbGRvd24ubW9kZWxzLmxlbmV0LkxlTmV0MzAwq2lucHV0X3NoYXBlkwEICKtudW1fY2xhc3Nlcwqpc3RydWN0dXJlgqNmYzGCpnNjaGVtZaZsaW5lYXKkcmFuay+jZmMygqZzY2hlbWWmbGluZWFypHJhbmsQkJisZmMxLnYud2VpZ2h0rGZjMS51LndlaWdodKpmYzEudS5iaWFzrGZjMi52LndlaWdodKxmYzIudS53ZWlnaHSqZmMyLnUuYmlhc6pmYzMud2VpZ2h0qGZjMy5iaWFz3AAdAAIvQAACzQEsLwABzQEsAAIQzQEsAAJkEAABZAACCmQAAQqUiKhfdGFyZ2V0X9kgYm9pbGRvd24ubW9kZWxzLnRyYW5zZm9ybWVyLkJFUlSld2lkdGjMgKVkZXB0aAKlaGVhZHPApHRpZWTCp2Ryb3BvdXTLAAAAAAAAAACraW5wdXRfc2hhcGWRQKtudW1fY2xhc3Nlc80BAJDcABCsZW1iZWQud2VpZ2h0r3Bvc2l0aW9uLndlaWdodLVibG9ja3MuMC5ub3JtMS53ZWlnaHSzYmxvY2tzLjAucWt2LndlaWdodLNibG9ja3MuMC5vdXQud2VpZ2h0tWJsb2Nrcy4wLm5vcm0yLndlaWdodLJibG9ja3MuMC51cC53ZWlnaHS0YmxvY2tzLjAuZG93bi53ZWlnaHS1YmxvY2tzLjEubm9ybTEud2VpZ2h0s2Jsb2Nrcy4xLnFrdi53ZWlnaHSzYmxvY2tzLjEub3V0LndlaWdodLVibG9ja3MuMS5ub3JtMi53ZWlnaHSyYmxvY2tzLjEudXAud2VpZ2h0tGJsb2Nrcy4xLmRvd24ud2VpZ2h0q25vcm0ud2VpZ2h0q2hlYWQud2VpZ2h03AA7AALNAQHMgAACQMyAAAHMgAACzQGAzIAAAsyAzIAAAcyAAALNAgDMgAACzIDNAgAAAcyAAALNAYDMgAACzIDMgAABzIAAAs0CAMyAAALMgM0CAAABzIAAAs0BAMyAlIWoX3RhcmdldF+9Ym9pbGRvd24ubW9kZWxzLnJlc25ldC5SZXNOZXSld2lkdGgQpWRlcHRoCKtpbnB1dF9zaGFwZZMBCAirbnVtX2NsYXNzZXMKkNwALKxjb252MS53ZWlnaHSqYm4xLndlaWdodKhibjEuYmlhc7BibjEucnVubmluZ19tZWFur2JuMS5ydW5uaW5nX3ZhcrdibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjEuMC5jb252MS53ZWlnaHSzbGF5ZXIxLjAuYm4xLndlaWdodLFsYXllcjEuMC5ibjEuYmlhc7lsYXllcjEuMC5ibjEucnVubmluZ19tZWFuuGxheWVyMS4wLmJuMS5ydW5uaW5nX3ZhctkgbGF5ZXIxLjAuYm4xLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIxLjAuY29udjIud2VpZ2h0s2xheWVyMS4wLmJuMi53ZWlnaHSxbGF5ZXIxLjAuYm4yLmJpYXO5bGF5ZXIxLjAuYm4yLnJ1bm5pbmdfbWVhbrhsYXllcjEuMC5ibjIucnVubmluZ192YXLZIGxheWVyMS4wLmJuMi5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMi4wLmNvbnYxLndlaWdodLNsYXllcjIuMC5ibjEud2VpZ2h0sWxheWVyMi4wLmJuMS5iaWFzuWxheWVyMi4wLmJuMS5ydW5uaW5nX21lYW64bGF5ZXIyLjAuYm4xLnJ1bm5pbmdfdmFy2SBsYXllcjIuMC5ibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjIuMC5jb252Mi53ZWlnaHSzbGF5ZXIyLjAuYm4yLndlaWdodLFsYXllcjIuMC5ibjIuYmlhc7lsYXllcjIuMC5ibjIucnVubmluZ19tZWFuuGxheWVyMi4wLmJuMi5ydW5uaW5nX3ZhctkgbGF5ZXIyLjAuYm4yLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIzLjAuY29udjEud2VpZ2h0s2xheWVyMy4wLmJuMS53ZWlnaHSxbGF5ZXIzLjAuYm4xLmJpYXO5bGF5ZXIzLjAuYm4xLnJ1bm5pbmdfbWVhbrhsYXllcjMuMC5ibjEucnVubmluZ192YXLZIGxheWVyMy4wLmJuMS5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMy4wLmNvbnYyLndlaWdodLNsYXllcjMuMC5ibjIud2VpZ2h0sWxheWVyMy4wLmJuMi5iaWFzuWxheWVyMy4wLmJuMi5ydW5uaW5nX21lYW64bGF5ZXIzLjAuYm4yLnJ1bm5pbmdfdmFy2SBsYXllcjMuMC5ibjIubnVtX2JhdGNoZXNfdHJhY2tlZKlmYy53ZWlnaHSnZmMuYmlhc9wAkwAEEAEDAwABEAABEAABEAABEAgAAAQQEAMDAAEQAAEQAAEQAAEQCAAABBAQAwMAARAAARAAARAAARAIAAAEIBADAwABIAABIAABIAABIAgAAAQgIAMDAAEgAAEgAAEgAAEgCAAABEAgAwMAAUAAAUAAAUAAAUAIAAAEQEADAwABQAABQAABQAABQAgAAAIKQAABCpSGqF90YXJnZXRft2JvaWxkb3duLm1vZGVscy5tbHAuTUxQpndpZHRoc8Cld2lkdGjNAQClZGVwdGgCq2lucHV0X3NoYXBlkSirbnVtX2NsYXNzZXMKkJaqZmMxLndlaWdodKhmYzEuYmlhc6pmYzIud2VpZ2h0qGZjMi5iaWFzqmZjMy53ZWlnaHSoZmMzLmJpYXPcABUAAs0BACgAAc0BAAACzQEAzQEAAAHNAQAAAgrNAQAAAQqUh6hfdGFyZ2V0X9klYm9pbGRvd24ubW9kZWxzLnRhYnVsYXIuVGFidWxhclJlc05ldKV3aWR0aEClZGVwdGgCqHdpZGVuaW5nAqdkcm9wb3V0ywAAAAAAAAAAq2lucHV0X3NoYXBlkQqrbnVtX2NsYXNzZXMBkNwAG6xmaXJzdC53ZWlnaHSqZmlyc3QuYmlhc7RibG9ja3MuMC5ub3JtLndlaWdodLJibG9ja3MuMC5ub3JtLmJpYXO6YmxvY2tzLjAubm9ybS5ydW5uaW5nX21lYW65YmxvY2tzLjAubm9ybS5ydW5uaW5nX3ZhctkhYmxvY2tzLjAubm9ybS5udW1fYmF0Y2hlc190cmFja2VktWJsb2Nrcy4wLndpZGVuLndlaWdodLNibG9ja3MuMC53aWRlbi5iaWFztmJsb2Nrcy4wLm5hcnJvdy53ZWlnaHS0YmxvY2tzLjAubmFycm93LmJpYXO0YmxvY2tzLjEubm9ybS53ZWlnaHSyYmxvY2tzLjEubm9ybS5iaWFzumJsb2Nrcy4xLm5vcm0ucnVubmluZ19tZWFuuWJsb2Nrcy4xLm5vcm0ucnVubmluZ192YXLZIWJsb2Nrcy4xLm5vcm0ubnVtX2JhdGNoZXNfdHJhY2tlZLVibG9ja3MuMS53aWRlbi53ZWlnaHSzYmxvY2tzLjEud2lkZW4uYmlhc7ZibG9ja3MuMS5uYXJyb3cud2VpZ2h0tGJsb2Nrcy4xLm5hcnJvdy5iaWFzq25vcm0ud2VpZ2h0qW5vcm0uYmlhc7Fub3JtLnJ1bm5pbmdfbWVhbrBub3JtLnJ1bm5pbmdfdmFyuG5vcm0ubnVtX2JhdGNoZXNfdHJhY2tlZKtoZWFkLndlaWdodKloZWFkLmJpYXPcAFQAAkAKAAFAAAFAAAFAAAFAAAFACAAAAsyAQAABzIAAAkDMgAABQAABQAABQAABQAABQAgAAALMgEAAAcyAAAJAzIAAAUAAAUAAAUAAAUAAAUAIAAACAUAAAQGUiKhfdGFyZ2V0X79ib2lsZG93bi5tb2RlbHMudHJhbnNmb3JtZXIuR1BUpXdpZHRozIClZGVwdGgCpWhlYWRzwKR0aWVkwqdkcm9wb3V0ywAAAAAAAAAAq2lucHV0X3NoYXBlkUCrbnVtX2NsYXNzZXPNAQCQ3AAQrGVtYmVkLndlaWdodK9wb3NpdGlvbi53ZWlnaHS1YmxvY2tzLjAubm9ybTEud2VpZ2h0s2Jsb2Nrcy4wLnFrdi53ZWlnaHSzYmxvY2tzLjAub3V0LndlaWdodLVibG9ja3MuMC5ub3JtMi53ZWlnaHSyYmxvY2tzLjAudXAud2VpZ2h0tGJsb2Nrcy4wLmRvd24ud2VpZ2h0tWJsb2Nrcy4xLm5vcm0xLndlaWdodLNibG9ja3MuMS5xa3Yud2VpZ2h0s2Jsb2Nrcy4xLm91dC53ZWlnaHS1YmxvY2tzLjEubm9ybTIud2VpZ2h0smJsb2Nrcy4xLnVwLndlaWdodLRibG9ja3MuMS5kb3duLndlaWdodKtub3JtLndlaWdodKtoZWFkLndlaWdodNwAOwACzQEAzIAAAkDMgAABzIAAAs0BgMyAAALMgMyAAAHMgAACzQIAzIAAAsyAzQIAAAHMgAACzQGAzIAAAsyAzIAAAcyAAALNAgDMgAACzIDNAgAAAcyAAALNAQDMgJSFqF90YXJnZXRfv2JvaWxkb3duLm1vZGVscy5yZXNuZXQuUmVzTmV0MjCld2lkdGgQpWRlcHRoFKtpbnB1dF9zaGFwZZMDICCrbnVtX2NsYXNzZXMKkNwAdKxjb252MS53ZWlnaHSqYm4xLndlaWdodKhibjEuYmlhc7BibjEucnVubmluZ19tZWFur2JuMS5ydW5uaW5nX3ZhcrdibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjEuMC5jb252MS53ZWlnaHSzbGF5ZXIxLjAuYm4xLndlaWdodLFsYXllcjEuMC5ibjEuYmlhc7lsYXllcjEuMC5ibjEucnVubmluZ19tZWFuuGxheWVyMS4wLmJuMS5ydW5uaW5nX3ZhctkgbGF5ZXIxLjAuYm4xLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIxLjAuY29udjIud2VpZ2h0s2xheWVyMS4wLmJuMi53ZWlnaHSxbGF5ZXIxLjAuYm4yLmJpYXO5bGF5ZXIxLjAuYm4yLnJ1bm5pbmdfbWVhbrhsYXllcjEuMC5ibjIucnVubmluZ192YXLZIGxheWVyMS4wLmJuMi5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMS4xLmNvbnYxLndlaWdodLNsYXllcjEuMS5ibjEud2VpZ2h0sWxheWVyMS4xLmJuMS5iaWFzuWxheWVyMS4xLmJuMS5ydW5uaW5nX21lYW64bGF5ZXIxLjEuYm4xLnJ1bm5pbmdfdmFy2SBsYXllcjEuMS5ibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjEuMS5jb252Mi53ZWlnaHSzbGF5ZXIxLjEuYm4yLndlaWdodLFsYXllcjEuMS5ibjIuYmlhc7lsYXllcjEuMS5ibjIucnVubmluZ19tZWFuuGxheWVyMS4xLmJuMi5ydW5uaW5nX3ZhctkgbGF5ZXIxLjEuYm4yLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIxLjIuY29udjEud2VpZ2h0s2xheWVyMS4yLmJuMS53ZWlnaHSxbGF5ZXIxLjIuYm4xLmJpYXO5bGF5ZXIxLjIuYm4xLnJ1bm5pbmdfbWVhbrhsYXllcjEuMi5ibjEucnVubmluZ192YXLZIGxheWVyMS4yLmJuMS5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMS4yLmNvbnYyLndlaWdodLNsYXllcjEuMi5ibjIud2VpZ2h0sWxheWVyMS4yLmJuMi5iaWFzuWxheWVyMS4yLmJuMi5ydW5uaW5nX21lYW64bGF5ZXIxLjIuYm4yLnJ1bm5pbmdfdmFy2SBsYXllcjEuMi5ibjIubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjIuMC5jb252MS53ZWlnaHSzbGF5ZXIyLjAuYm4xLndlaWdodLFsYXllcjIuMC5ibjEuYmlhc7lsYXllcjIuMC5ibjEucnVubmluZ19tZWFuuGxheWVyMi4wLmJuMS5ydW5uaW5nX3ZhctkgbGF5ZXIyLjAuYm4xLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIyLjAuY29udjIud2VpZ2h0s2xheWVyMi4wLmJuMi53ZWlnaHSxbGF5ZXIyLjAuYm4yLmJpYXO5bGF5ZXIyLjAuYm4yLnJ1bm5pbmdfbWVhbrhsYXllcjIuMC5ibjIucnVubmluZ192YXLZIGxheWVyMi4wLmJuMi5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMi4xLmNvbnYxLndlaWdodLNsYXllcjIuMS5ibjEud2VpZ2h0sWxheWVyMi4xLmJuMS5iaWFzuWxheWVyMi4xLmJuMS5ydW5uaW5nX21lYW64bGF5ZXIyLjEuYm4xLnJ1bm5pbmdfdmFy2SBsYXllcjIuMS5ibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjIuMS5jb252Mi53ZWlnaHSzbGF5ZXIyLjEuYm4yLndlaWdodLFsYXllcjIuMS5ibjIuYmlhc7lsYXllcjIuMS5ibjIucnVubmluZ19tZWFuuGxheWVyMi4xLmJuMi5ydW5uaW5nX3ZhctkgbGF5ZXIyLjEuYm4yLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIyLjIuY29udjEud2VpZ2h0s2xheWVyMi4yLmJuMS53ZWlnaHSxbGF5ZXIyLjIuYm4xLmJpYXO5bGF5ZXIyLjIuYm4xLnJ1bm5pbmdfbWVhbrhsYXllcjIuMi5ibjEucnVubmluZ192YXLZIGxheWVyMi4yLmJuMS5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMi4yLmNvbnYyLndlaWdodLNsYXllcjIuMi5ibjIud2VpZ2h0sWxheWVyMi4yLmJuMi5iaWFzuWxheWVyMi4yLmJuMi5ydW5uaW5nX21lYW64bGF5ZXIyLjIuYm4yLnJ1bm5pbmdfdmFy2SBsYXllcjIuMi5ibjIubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjMuMC5jb252MS53ZWlnaHSzbGF5ZXIzLjAuYm4xLndlaWdodLFsYXllcjMuMC5ibjEuYmlhc7lsYXllcjMuMC5ibjEucnVubmluZ19tZWFuuGxheWVyMy4wLmJuMS5ydW5uaW5nX3ZhctkgbGF5ZXIzLjAuYm4xLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIzLjAuY29udjIud2VpZ2h0s2xheWVyMy4wLmJuMi53ZWlnaHSxbGF5ZXIzLjAuYm4yLmJpYXO5bGF5ZXIzLjAuYm4yLnJ1bm5pbmdfbWVhbrhsYXllcjMuMC5ibjIucnVubmluZ192YXLZIGxheWVyMy4wLmJuMi5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMy4xLmNvbnYxLndlaWdodLNsYXllcjMuMS5ibjEud2VpZ2h0sWxheWVyMy4xLmJuMS5iaWFzuWxheWVyMy4xLmJuMS5ydW5uaW5nX21lYW64bGF5ZXIzLjEuYm4xLnJ1bm5pbmdfdmFy2SBsYXllcjMuMS5ibjEubnVtX2JhdGNoZXNfdHJhY2tlZLVsYXllcjMuMS5jb252Mi53ZWlnaHSzbGF5ZXIzLjEuYm4yLndlaWdodLFsYXllcjMuMS5ibjIuYmlhc7lsYXllcjMuMS5ibjIucnVubmluZ19tZWFuuGxheWVyMy4xLmJuMi5ydW5uaW5nX3ZhctkgbGF5ZXIzLjEuYm4yLm51bV9iYXRjaGVzX3RyYWNrZWS1bGF5ZXIzLjIuY29udjEud2VpZ2h0s2xheWVyMy4yLmJuMS53ZWlnaHSxbGF5ZXIzLjIuYm4xLmJpYXO5bGF5ZXIzLjIuYm4xLnJ1bm5pbmdfbWVhbrhsYXllcjMuMi5ibjEucnVubmluZ192YXLZIGxheWVyMy4yLmJuMS5udW1fYmF0Y2hlc190cmFja2VktWxheWVyMy4yLmNvbnYyLndlaWdodLNsYXllcjMuMi5ibjIud2VpZ2h0sWxheWVyMy4yLmJuMi5iaWFzuWxheWVyMy4yLmJuMi5ydW5uaW5nX21lYW64bGF5ZXIzLjIuYm4yLnJ1bm5pbmdfdmFy2SBsYXllcjMuMi5ibjIubnVtX2JhdGNoZXNfdHJhY2tlZKlmYy53ZWlnaHSnZmMuYmlhc9wBgwAEEAMDAwABEAABEAABEAABEAgAAAQQEAMDAAEQAAEQAAEQAAEQCAAABBAQAwMAARAAARAAARAAARAIAAAEEBADAwABEAABEAABEAABEAgAAAQQEAMDAAEQAAEQAAEQAAEQCAAABBAQAwMAARAAARAAARAAARAIAAAEEBADAwABEAABEAABEAABEAgAAAQgEAMDAAEgAAEgAAEgAAEgCAAABCAgAwMAASAAASAAASAAASAIAAAEICADAwABIAABIAABIAABIAgAAAQgIAMDAAEgAAEgAAEgAAEgCAAABCAgAwMAASAAASAAASAAASAIAAAEICADAwABIAABIAABIAABIAgAAARAIAMDAAFAAAFAAAFAAAFACAAABEBAAwMAAUAAAUAAAUAAAUAIAAAEQEADAwABQAABQAABQAABQAgAAARAQAMDAAFAAAFAAAFAAAFACAAABEBAAwMAAUAAAUAAAUAAAUAIAAAEQEADAwABQAABQAABQAABQAgAAAIKQAABCpSGqF90YXJnZXRft2JvaWxkb3duLm1vZGVscy5tbHAuTUxQpndpZHRoc8Cld2lkdGjNAQClZGVwdGgCq2lucHV0X3NoYXBlkwEICKtudW1fY2xhc3NlcwqQlqpmYzEud2VpZ2h0qGZjMS5iaWFzqmZjMi53ZWlnaHSoZmMyLmJpYXOqZmMzLndlaWdodKhmYzMuYmlhc9wAFQACzQEAQAABzQEAAALNAQDNAQAAAc0BAAACCs0BAAABCpSGqF90YXJnZXRft2JvaWxkb3duLm1vZGVscy5tbHAuTUxQpndpZHRoc8Cld2lkdGjNAQClZGVwdGgCq2lucHV0X3NoYXBlkwEcHKtudW1fY2xhc3NlcwqQlqpmYzEud2VpZ2h0qGZjMS5iaWFzqmZjMi53ZWlnaHSoZmMyLmJpYXOqZmMzLndlaWdodKhmYzMuYmlhc9wAFQACzQEAzQMQAAHNAQAAAs0BAM0BAAABzQEAAAIKzQEAAAEKlIOoX3RhcmdldF+8Ym9pbGRvd24ubW9kZWxzLmxlbmV0LkxlTmV0NatpbnB1dF9zaGFwZZMDICCrbnVtX2NsYXNzZXMKkJisY29udjEud2VpZ2h0qmNvbnYxLmJpYXOsY29udjIud2VpZ2h0qmNvbnYyLmJpYXOqZmMxLndlaWdodKhmYzEuYmlhc6pmYzIud2VpZ2h0qGZjMi5iaWFz3AAgAAQUAwUFAAEUAAQyFAUFAAEyAALNAfTNBOIAAc0B9AACCs0B9AABCpSDqF90YXJnZXRfvmJvaWxkb3duLm1vZGVscy5sZW5ldC5MZU5ldDMwMKtpbnB1dF9zaGFwZZMBHByrbnVtX2NsYXNzZXMKkJaqZmMxLndlaWdodKhmYzEuYmlhc6pmYzIud2VpZ2h0qGZjMi5iaWFzqmZjMy53ZWlnaHSoZmMzLmJpYXPcABUAAs0BLM0DEAABzQEsAAJkzQEsAAFkAAIKZAABCpSDqF90YXJnZXRfvmJvaWxkb3duLm1vZGVscy5sZW5ldC5MZU5ldDMwMKtpbnB1dF9zaGFwZZMBCAirbnVtX2NsYXNzZXMKkJaqZmMxLndlaWdodKhmYzEuYmlhc6pmYzIud2VpZ2h0qGZjMi5iaWFzqmZjMy53ZWlnaHSoZmMzLmJpYXPcABUAAs0BLEAAAc0BLAACZM0BLAABZAACCmQAAQqUg6hfdGFyZ2V0X7xib2lsZG93bi5tb2RlbHMubGVuZXQuTGVOZXQ1q2lucHV0X3NoYXBlkwEcHKtudW1fY2xhc3NlcwqQmKxjb252MS53ZWlnaHSqY29udjEuYmlhc6xjb252Mi53ZWlnaHSqY29udjIuYmlhc6pmYzEud2VpZ2h0qGZjMS5iaWFzqmZjMi53ZWlnaHSoZmMyLmJpYXPcACAABBQBBQUAARQABDIUBQUAATIAAs0B9M0DIAABzQH0AAIKzQH0AAEK";

  const boil = { decode, BoilError };
  if (typeof module === "object") {
    module.exports = boil;
    if (require.main === module) main(...process.argv.slice(2));
  } else {
    globalThis.boil = boil;
  }
})();
