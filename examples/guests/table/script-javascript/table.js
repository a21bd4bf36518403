// What every language must be able to do: see ../README.md. A script for the interpreter in ../../script.
export function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}

export function echo(text) {
  return text;
}

export function busy() {
  throw new Error("try again");
}

export function never() {
  throw new Permanent("never again");
}

export function say() {
  for (let line = 1; line <= 3; line++) console.log(`line ${line}: grüße`);
  return 3;
}

export function panic() {
  null.asAsked();
}
