"""What every language must be able to do: see ../README.md. A script for the interpreter in ../../script-python."""

import sys


def sum(numbers):
    total = 0
    for number in numbers:
        total += number
    return total


def echo(text):
    return text


def busy(_):
    raise RuntimeError("try again")


def never(_):
    raise Permanent("never again")


def say(_):
    for line in range(1, 4):
        print(f"line {line}: grüße")
    return 3


def babble(_):
    sys.stdout.write("no JSON\n")


def quit(code):
    sys.exit(code)


def panic(_):
    None.as_asked()
