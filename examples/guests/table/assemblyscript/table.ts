// What every language must be able to do: see ../README.md. A command: the task is argv[1], its input is on stdin.
const NEVER = 65;

function fail(code: i32, message: string): void {
  process.stderr.write(message + "\n");
  process.exit(code);
}

function readAll(): u8[] {
  const chunk = new ArrayBuffer(16384);
  const bytes: u8[] = [];
  for (let count = process.stdin.read(chunk); count > 0; count = process.stdin.read(chunk)) {
    const read = Uint8Array.wrap(chunk);
    for (let at = 0; at < <i32>count; at++) bytes.push(read[at]);
  }
  return bytes;
}

function readText(): string {
  const bytes = readAll();
  return String.UTF8.decodeUnsafe(bytes.dataStart, bytes.length).trim();
}

function sum(): void {
  const inner = readText().slice(1, -1).trim();
  const parts = inner.length > 0 ? inner.split(",") : [];
  let total = 0.0;
  for (let at = 0; at < parts.length; at++) total += parseFloat(parts[at].trim());
  process.stdout.write(`${total}\n`);
}

function echo(): void {
  const bytes = readAll();
  const copy = new Uint8Array(bytes.length);
  for (let at = 0; at < bytes.length; at++) copy[at] = bytes[at];
  process.stdout.write(copy.buffer);
}

const task = process.argv.length > 1 ? process.argv[1] : "";
if (task == "sum") sum();
else if (task == "echo") echo();
else if (task == "busy") fail(1, "try again");
else if (task == "never") fail(NEVER, "never again");
else if (task == "say") {
  for (let line = 1; line <= 3; line++) process.stderr.write(`line ${line}: grüße\n`);
  process.stdout.write("3\n");
} else if (task == "babble") process.stdout.write("no JSON\n");
else if (task == "quit") process.exit(<i32>parseInt(readText()));
else if (task == "panic") abort("as asked");
else fail(NEVER, `no task ${task}`);
