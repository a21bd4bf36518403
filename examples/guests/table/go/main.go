// What every language must be able to do: see ../README.md. A command: the task is argv[1], its input is on stdin.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// The exit code of a task that refuses its input for good.
const never = 65

func main() {
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		fail(1, err.Error())
	}
	switch os.Args[1] {
	case "sum":
		var numbers []float64
		read(input, &numbers)
		total := 0.0
		for _, number := range numbers {
			total += number
		}
		write(total)
	case "echo":
		os.Stdout.Write(input)
	case "busy":
		fail(1, "try again")
	case "never":
		fail(never, "never again")
	case "say":
		for line := 1; line <= 3; line++ {
			fmt.Fprintf(os.Stderr, "line %d: grüße\n", line)
		}
		write(3)
	case "babble":
		fmt.Println("no JSON")
	case "quit":
		var code int
		read(input, &code)
		os.Exit(code)
	case "panic":
		panic("as asked")
	default:
		fail(never, "no task "+os.Args[1])
	}
}

func read(input []byte, into any) {
	if err := json.Unmarshal(input, into); err != nil {
		fail(never, err.Error())
	}
}

func write(output any) {
	json.NewEncoder(os.Stdout).Encode(output)
}

func fail(code int, message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(code)
}
