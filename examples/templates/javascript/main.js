// Tasks are the functions that wit/task.wit exports. What is thrown as { tag, val } is the failure that it names.
export function run(numbers) {
  if (numbers.length === 0) throw { tag: "permanent", val: "no numbers" };
  const sum = numbers.reduce((total, number) => total + number, 0);
  return { count: numbers.length, mean: sum / numbers.length, min: Math.min(...numbers), max: Math.max(...numbers) };
}
