package main

import (
	"image"
	"image/color"
	"image/draw"
)

// In pixels, but for the scales, which say how many pixels a dot of a letter takes.
const (
	gap        = 16
	barHeight  = 18
	titleScale = 4
	nameScale  = 2
)

var (
	paper = color.RGBA{R: 250, G: 249, B: 246, A: 255}
	ink   = color.RGBA{R: 38, G: 44, B: 36, A: 255}
)

// cell is a thumbnail with a bar of its colours and its name below.
type cell struct {
	name    string
	picture image.Image
	colours []color.RGBA
}

// layout says where each cell goes: all are as large as the largest thumbnail asks for.
type layout struct {
	columns       int
	top           int
	cellW, cellH  int
	width, height int
}

func newLayout(title string, columns int, cells []cell) layout {
	l := layout{columns: columns, top: gap}
	if title != "" {
		l.top += textHeight(titleScale) + gap
	}
	for _, cell := range cells {
		size := cell.picture.Bounds()
		l.cellW = max(l.cellW, size.Dx())
		l.cellH = max(l.cellH, size.Dy())
	}
	l.cellH += barHeight + gap/2 + textHeight(nameScale)
	rows := (len(cells) + columns - 1) / columns
	l.width = gap + columns*(l.cellW+gap)
	l.height = l.top + rows*(l.cellH+gap)
	return l
}

func (l layout) cell(i int) image.Rectangle {
	at := image.Pt(gap+i%l.columns*(l.cellW+gap), l.top+i/l.columns*(l.cellH+gap))
	return image.Rectangle{Min: at, Max: at.Add(image.Pt(l.cellW, l.cellH))}
}

// draw puts the picture in the middle, just above its bar.
func (c cell) draw(sheet *image.RGBA, at image.Rectangle) {
	text := image.Pt(at.Min.X, at.Max.Y-textHeight(nameScale))
	bar := image.Rect(at.Min.X, text.Y-gap/2-barHeight, at.Max.X, text.Y-gap/2)
	size := c.picture.Bounds().Size()
	picture := image.Rectangle{Max: size}.Add(image.Pt(at.Min.X+(at.Dx()-size.X)/2, bar.Min.Y-size.Y))
	draw.Draw(sheet, picture, c.picture, c.picture.Bounds().Min, draw.Src)
	for i, colour := range c.colours {
		from, to := bar.Dx()*i/len(c.colours), bar.Dx()*(i+1)/len(c.colours)
		fill(sheet, image.Rect(bar.Min.X+from, bar.Min.Y, bar.Min.X+to, bar.Max.Y), colour)
	}
	drawText(sheet.SubImage(at).(*image.RGBA), c.name, text, nameScale, ink)
}

func fill(sheet *image.RGBA, area image.Rectangle, colour color.RGBA) {
	draw.Draw(sheet, area, image.NewUniform(colour), image.Point{}, draw.Src)
}
