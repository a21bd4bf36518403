// Tasks are the functions that wit/task.wit exports. What is thrown as a Failure is the failure that it names.
interface Summary {
  count: number;
  mean: number;
  min: number;
  max: number;
}

type Failure = { tag: "retryable" | "permanent"; val: string };

export function run(numbers: number[]): Summary {
  if (numbers.length === 0) throw { tag: "permanent", val: "no numbers" } satisfies Failure;
  const sum = numbers.reduce((total, number) => total + number, 0);
  return { count: numbers.length, mean: sum / numbers.length, min: Math.min(...numbers), max: Math.max(...numbers) };
}
