// What every language must be able to do: see ../README.md. A typed component by componentize-qjs, from TypeScript by esbuild.
import { log, progress } from "lovage:task/host@0.1.0";

type Failure = { tag: "retryable" | "permanent"; val: string };

export function sum(numbers: number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

export function echo(text: string): string {
  return text;
}

export function busy(): void {
  throw { tag: "retryable", val: "try again" } satisfies Failure;
}

export function never(): void {
  throw { tag: "permanent", val: "never again" } satisfies Failure;
}

export function say(): number {
  for (let line = 1; line <= 3; line++) log("info", `line ${line}: grüße`);
  return 3;
}

export function steps(count: number): number {
  for (let step = 1; step <= count; step++) progress(step, count, "step");
  return count;
}

export function panic(): void {
  throw new Error("as asked");
}
