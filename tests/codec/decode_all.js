// Decodes the files on standard input, each after its length in 4 bytes; a line of JSON for each.
// With a second argument the first of them is the base of the others, and has no line.
const { readFileSync } = require("fs");
const { decode, BoilError } = require(process.argv[2]);

const given = readFileSync(0);
let base = process.argv[3] ? null : false;
for (let at = 0; at < given.length; ) {
  const start = at + 4;
  at = start + given.readUInt32LE(at);
  const file = given.subarray(start, at);
  if (base === null) base = decode(file);
  else console.log(JSON.stringify(told(file)));
}

function told(file) {
  try {
    const { tensors, names, config } = decode(file, base || null);
    return { config: plain(config), tensors: names.map((name) => row(name, tensors[name])) };
  } catch (error) {
    if (!(error instanceof BoilError)) throw error;
    return { refused: error.message };
  }
}

function row(name, { dtype, shape, data }) {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return [name, dtype, shape, bytes.toString("base64")];
}

function plain(value) {
  if (typeof value === "bigint") return { integer: String(value) };
  if (typeof value === "number" && !Number.isSafeInteger(value)) return { number: String(value) };
  if (value instanceof Uint8Array) return { bytes: Buffer.from(value).toString("hex") };
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  return { map: Object.keys(value).map((key) => [key, plain(value[key])]) };
}
