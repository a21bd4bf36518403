// Sheet composes a contact sheet of thumbnails: a task in Go, with the standard library and without an SDK.
//
// It is a command of contract 1: it reads JSON from stdin and writes JSON to stdout. Exit code 65 tells the platform that
// this input will never do, so that it is not tried again.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"os"
	"strconv"
)

const (
	exitBadInput = 65
	columnsMax   = 16
	photosMax    = 256
	sidePxMax    = 4096 // of one thumbnail: a larger one is no thumbnail
	sheetPxMax   = 64 << 20
	quality      = 88
)

type input struct {
	Title   string  `json:"title"`
	Columns int     `json:"columns"`
	Photos  []photo `json:"photos"`
}

type photo struct {
	Name    string   `json:"name"`
	JPEG    []byte   `json:"jpeg"` // base64 in JSON
	Colours []string `json:"colours"`
}

type output struct {
	JPEG   []byte `json:"jpeg"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
}

func main() {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sheet: reading the input:", err)
		os.Exit(1)
	}
	result, err := run(text)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sheet:", err)
		os.Exit(exitBadInput)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		fmt.Fprintln(os.Stderr, "sheet: writing the output:", err)
		os.Exit(1)
	}
}

// run makes the output of an input; every error it returns is the input's fault.
func run(text []byte) (*output, error) {
	var in input
	if err := json.Unmarshal(text, &in); err != nil {
		return nil, fmt.Errorf("the input does not fit: %w", err)
	}
	if in.Columns < 1 || in.Columns > columnsMax {
		return nil, fmt.Errorf("columns is %d, expected 1 to %d", in.Columns, columnsMax)
	}
	if len(in.Photos) == 0 || len(in.Photos) > photosMax {
		return nil, fmt.Errorf("there are %d photos, expected 1 to %d", len(in.Photos), photosMax)
	}
	cells := make([]cell, len(in.Photos))
	for i, photo := range in.Photos {
		var err error
		if cells[i], err = newCell(photo); err != nil {
			return nil, fmt.Errorf("photo %d (%s): %w", i, photo.Name, err)
		}
	}
	sheet, err := compose(in.Title, min(in.Columns, len(cells)), cells)
	if err != nil {
		return nil, err
	}
	var file bytes.Buffer
	if err := jpeg.Encode(&file, sheet, &jpeg.Options{Quality: quality}); err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "sheet: %d photos on %d x %d pixels\n", len(cells), sheet.Rect.Dx(), sheet.Rect.Dy())
	return &output{JPEG: file.Bytes(), Width: sheet.Rect.Dx(), Height: sheet.Rect.Dy()}, nil
}

func newCell(photo photo) (cell, error) {
	size, err := jpeg.DecodeConfig(bytes.NewReader(photo.JPEG))
	if err != nil {
		return cell{}, fmt.Errorf("no JPEG: %w", err)
	}
	if size.Width > sidePxMax || size.Height > sidePxMax {
		return cell{}, fmt.Errorf("%d x %d pixels are more than a thumbnail has", size.Width, size.Height)
	}
	picture, err := jpeg.Decode(bytes.NewReader(photo.JPEG))
	if err != nil {
		return cell{}, fmt.Errorf("no JPEG: %w", err)
	}
	colours := make([]color.RGBA, len(photo.Colours))
	for i, text := range photo.Colours {
		if colours[i], err = parseColour(text); err != nil {
			return cell{}, err
		}
	}
	return cell{name: photo.Name, picture: picture, colours: colours}, nil
}

func parseColour(text string) (color.RGBA, error) {
	if len(text) == 7 && text[0] == '#' {
		if rgb, err := strconv.ParseUint(text[1:], 16, 24); err == nil {
			return color.RGBA{R: uint8(rgb >> 16), G: uint8(rgb >> 8), B: uint8(rgb), A: 255}, nil
		}
	}
	return color.RGBA{}, fmt.Errorf("colour %q is not like #2b4a6f", text)
}

var errTooLarge = errors.New("the sheet would be too large: use smaller thumbnails")

// compose lays the cells out in rows below the title.
func compose(title string, columns int, cells []cell) (*image.RGBA, error) {
	layout := newLayout(title, columns, cells)
	if layout.width*layout.height > sheetPxMax {
		return nil, errTooLarge
	}
	sheet := image.NewRGBA(image.Rect(0, 0, layout.width, layout.height))
	fill(sheet, sheet.Rect, paper)
	drawText(sheet, title, image.Pt(gap, gap), titleScale, ink)
	for i, cell := range cells {
		cell.draw(sheet, layout.cell(i))
	}
	return sheet, nil
}
