// The readings of each station, in the order in which they are in the log. A line is `2026-11-23T06:00 Helgoland 4.5C`.
const LINE = /^(?<time>\S+) (?<station>\p{L}+) (?<degrees>-?\d+(\.\d+)?)C$/u;

export function run(log) {
  const stations = new Map();
  for (const line of log.split("\n").filter((line) => line.trim())) {
    const found = LINE.exec(line.trim());
    if (!found) throw new Permanent(`no reading: ${line}`);
    const { station, degrees } = found.groups;
    if (!stations.has(station)) stations.set(station, []);
    stations.get(station).push(Number(degrees));
  }
  console.log(`${stations.size} stations`);
  return [...stations].map(([station, readings]) => ({ station, readings }));
}
