// Reads JSON on stdin, writes JSON on stdout. Exit code 65 refuses the input for good, any other failure is tried again.
package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
)

type summary struct {
	Count int     `json:"count"`
	Mean  float64 `json:"mean"`
	Min   float64 `json:"min"`
	Max   float64 `json:"max"`
}

func main() {
	var numbers []float64
	if err := json.NewDecoder(os.Stdin).Decode(&numbers); err != nil {
		refuse(err.Error())
	}
	if len(numbers) == 0 {
		refuse("no numbers")
	}
	out := summary{Count: len(numbers), Min: math.Inf(1), Max: math.Inf(-1)}
	for _, number := range numbers {
		out.Mean += number / float64(len(numbers))
		out.Min = math.Min(out.Min, number)
		out.Max = math.Max(out.Max, number)
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func refuse(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(65)
}
