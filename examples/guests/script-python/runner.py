# Runs a task of a script. MicroPython compiles this text whenever a task starts: it is built into the module (arguments.wat).
import json
import os
import sys

REFUSED = 65


class Permanent(Exception):
    """Given to scripts: whoever raises it refuses the input for good."""


def log(*words, sep=" ", end="\n", file=None):
    """The print of scripts: the output is on stdout, so this goes to the log."""
    print(*words, sep=sep, end=end, file=file or sys.stderr)


def end(code, message):
    log(message)
    sys.exit(code)


def fail(raised):
    """The trace is logged; the message comes last and is the failure's."""
    sys.print_exception(raised, sys.stderr)
    is_permanent = isinstance(raised, Permanent)
    end(REFUSED if is_permanent else 1, str(raised) or type(raised).__name__)


def paired(text):
    """The text with characters in place of pairs of surrogates, which json leaves as two halves."""
    joined, parts, done, at = [], [], 0, text.find(b"\\")
    while at >= 0:
        first = text[at + 2 : at + 6]
        if text[at + 1 : at + 3] not in (b"ud", b"uD") or int(first, 16) < 0xD800:
            at = text.find(b"\\", at + 2)
            continue
        code, low = int(first, 16), text[at + 6 : at + 12]
        low = int(low[2:], 16) if low.startswith(b"\\u") else 0
        if code > 0xDBFF or not 0xDC00 <= low <= 0xDFFF:
            raise ValueError
        parts += text[done:at], chr(0x10000 + ((code & 0x3FF) << 10 | low & 0x3FF)).encode()
        if len(parts) > 1000:
            # Each part takes 32 bytes at least.
            joined.append(b"".join(parts))
            parts = []
        done = at + 12
        at = text.find(b"\\", done)
    return b"".join(joined + parts + [text[done:]])


def read():
    """The input; None where there is none."""
    parts = []
    while not parts or parts[-1]:
        parts.append(sys.stdin.buffer.read(65536))
    text = b"".join(parts)
    try:
        if b"\\ud" in text or b"\\uD" in text:
            text = paired(text)
        return json.loads(text) if text.strip() else None
    except ValueError:
        end(REFUSED, "the input is not JSON")


def finished(result):
    """What a function returned, an async one after it has run: nothing is waited for, since there is nothing outside to wait for."""
    if not isinstance(result, type((lambda: (yield))())):
        return result
    try:
        while True:
            result.send(None)
    except StopIteration as stopped:
        return stopped.value


script = os.getenv("SCRIPT")
if script is None:
    end(REFUSED, "the module takes a task and a script: push it with --script FILE")
task, names = sys.argv[1], {"__name__": "script", "Permanent": Permanent, "print": log}
try:
    program = compile(script, "script", "exec")
except SyntaxError as raised:
    # No attempt mends what does not compile.
    sys.print_exception(raised, sys.stderr)
    sys.exit(REFUSED)
try:
    exec(program, names)
    if not callable(names.get(task)):
        end(REFUSED, "the script has no function " + task)
    output = finished(names[task](read()))
    # Without one, the script may have written it itself.
    if output is not None:
        sys.stdout.write(json.dumps(output, separators=(",", ":")))
except Exception as raised:
    fail(raised)
