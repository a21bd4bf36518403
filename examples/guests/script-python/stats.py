# A script task: `lovage module push stats target/guests/script-python.wasm --script examples/guests/script-python/stats.py`
def run(numbers):
    if not isinstance(numbers, list):
        raise Permanent("an array of numbers is wanted")
    if not numbers:
        raise Permanent("no numbers")
    print(len(numbers), "numbers")
    return {"count": len(numbers), "mean": sum(numbers) / len(numbers), "min": min(numbers), "max": max(numbers)}
