// Csv reads a table of comma-separated values and checks its columns: a task in Go, with the standard library and without an SDK.
//
// It is a command of contract 1: it reads JSON from stdin and writes JSON to stdout. Exit code 65 tells the platform that this
// input will never do, so that it is not tried again. A row that does not fit is not an error: it is told apart from the good ones.
package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
)

const exitBadInput = 65

type input struct {
	CSV string `json:"csv"`
	// What each column holds: "text", "number" or "price" (which becomes cents).
	Columns map[string]string `json:"columns"`
}

type output struct {
	Rows     []map[string]any `json:"rows"`
	Rejected []rejected       `json:"rejected"`
}

type rejected struct {
	Line int    `json:"line"`
	Why  string `json:"why"`
}

func main() {
	var in input
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		refuse(fmt.Errorf("the input does not fit: %w", err))
	}
	out, err := read(in)
	if err != nil {
		refuse(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		fmt.Fprintln(os.Stderr, "csv: writing the output:", err)
		os.Exit(1)
	}
}

func refuse(err error) {
	fmt.Fprintln(os.Stderr, "csv:", err)
	os.Exit(exitBadInput)
}

func read(in input) (*output, error) {
	table := csv.NewReader(strings.NewReader(in.CSV))
	table.FieldsPerRecord = -1
	head, err := table.Read()
	if err != nil {
		return nil, fmt.Errorf("no header: %w", err)
	}
	out := &output{Rows: []map[string]any{}, Rejected: []rejected{}}
	for {
		fields, err := table.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		var broken *csv.ParseError
		if errors.As(err, &broken) {
			out.Rejected = append(out.Rejected, rejected{broken.StartLine, broken.Err.Error()})
			continue
		}
		line, _ := table.FieldPos(0)
		if row, err := convert(head, fields, in.Columns); err != nil {
			out.Rejected = append(out.Rejected, rejected{line, err.Error()})
		} else {
			out.Rows = append(out.Rows, row)
		}
	}
}

// convert makes a row of the columns that are asked for.
func convert(head, fields []string, columns map[string]string) (map[string]any, error) {
	if len(fields) != len(head) {
		return nil, fmt.Errorf("%d fields, expected %d", len(fields), len(head))
	}
	row := map[string]any{}
	for i, name := range head {
		kind, wanted := columns[name]
		if !wanted {
			continue
		}
		value, err := parse(kind, fields[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %q is no %s", name, fields[i], kind)
		}
		row[name] = value
	}
	return row, nil
}

func parse(kind, text string) (any, error) {
	switch kind {
	case "text":
		return text, nil
	case "number":
		return strconv.ParseUint(text, 10, 32)
	case "price":
		amount, err := strconv.ParseFloat(text, 64)
		return int64(math.Round(amount * 100)), err
	}
	return nil, fmt.Errorf("unknown kind %q", kind)
}
