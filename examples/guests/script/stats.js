// A script task: `lovage module push stats target/guests/script.wasm --script examples/guests/script/stats.js`
export function run(numbers) {
  if (!Array.isArray(numbers)) throw new Permanent("an array of numbers is wanted");
  if (numbers.length === 0) throw new Permanent("no numbers");
  const sum = numbers.reduce((total, number) => total + number, 0);
  console.log(`${numbers.length} numbers`);
  return { count: numbers.length, mean: sum / numbers.length, min: Math.min(...numbers), max: Math.max(...numbers) };
}
