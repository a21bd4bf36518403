// Reads JSON on stdin, writes JSON on stdout. Exit code 65 refuses the input for good, any other failure is tried again.
const REFUSED = 65;

function refuse(why: string): void {
  process.stderr.write(why + "\n");
  process.exit(REFUSED);
}

function readAll(): string {
  const chunk = new ArrayBuffer(4096);
  const bytes: u8[] = [];
  for (let count = process.stdin.read(chunk); count > 0; count = process.stdin.read(chunk)) {
    const read = Uint8Array.wrap(chunk);
    for (let at = 0; at < <i32>count; at++) bytes.push(read[at]);
  }
  return String.UTF8.decodeUnsafe(bytes.dataStart, bytes.length);
}

const text = readAll().trim();
if (!text.startsWith("[") || !text.endsWith("]")) refuse("an array of numbers is wanted");
const inner = text.slice(1, -1).trim();
if (inner.length == 0) refuse("no numbers");
const parts = inner.split(",");
let sum = 0.0;
let min = Infinity;
let max = -Infinity;
for (let at = 0; at < parts.length; at++) {
  const number = parseFloat(parts[at].trim());
  if (isNaN(number)) refuse("an array of numbers is wanted");
  sum += number;
  min = Math.min(min, number);
  max = Math.max(max, number);
}
const mean = sum / <f64>parts.length;
process.stdout.write(`{"count":${parts.length},"mean":${mean},"min":${min},"max":${max}}\n`);
