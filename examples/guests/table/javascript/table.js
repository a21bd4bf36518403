// What every language must be able to do: see ../README.md. A typed component by componentize-qjs.
import { log, progress } from "lovage:task/host@0.1.0";

export function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}

export function echo(text) {
  return text;
}

export function busy() {
  throw { tag: "retryable", val: "try again" };
}

export function never() {
  throw { tag: "permanent", val: "never again" };
}

export function say() {
  for (let line = 1; line <= 3; line++) log("info", `line ${line}: grüße`);
  return 3;
}

export function steps(count) {
  for (let step = 1; step <= count; step++) progress(step, count, "step");
  return count;
}

export function panic() {
  throw new Error("as asked");
}
